//! All that leaves the state machines of all spaces.

use ipnet::IpNet;

#[cfg(doc)]
use super::IpamSet;
use crate::effect::RequestId;
use crate::refusal::AddressRefusal;
use mesh_proto::ids::PeerId;

/// A thing for the shell to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetOutput {
    /// Append to the journal of `default` and sync; then call [`IpamSet::persisted`].
    Persist {
        /// The entry's number, one more than the last.
        position: u64,
        /// Its bytes.
        entry: Vec<u8>,
    },
    /// Append to the journal of the other spaces and sync; then call [`IpamSet::spaces_persisted`].
    PersistSpace {
        /// The entry's number, one more than the last.
        position: u64,
        /// Its bytes.
        entry: Vec<u8>,
    },
    /// Tell everybody this record, in place of the one before.
    Record(Vec<u8>),
    /// Send to a router; may be lost.
    Send {
        /// The receiver.
        to: PeerId,
        /// A message.
        bytes: Vec<u8>,
    },
    /// The request has an address.
    Allocated {
        /// The request.
        request: RequestId,
        /// The address with the prefix length of its subnet.
        address: IpNet,
    },
    /// The request is over without one.
    Failed {
        /// The request.
        request: RequestId,
        /// The reason, with what to do.
        why: AddressRefusal,
    },
    /// All space is handed over, as far as it could be.
    Left {
        /// Slices that nobody took.
        orphaned: usize,
    },
}
