//! All that leaves the state machine: entries for the journal, and effects that the gate released.

use std::net::Ipv4Addr;

use super::durable::{Durable, Released};
use super::effect::{IpamEffect, RequestId};
use super::refusal::AddressRefusal;
use mesh_proto::ids::PeerId;

/// A thing for the shell to carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IpamOutput {
    /// Append to the journal and sync; then call [`super::Ipam::persisted`]. Entries come in order; several may share a
    /// sync.
    Persist {
        /// The entry's number, one more than the last.
        position: u64,
        /// Its bytes, to which the shell adds length and checksum.
        entry: Vec<u8>,
    },
    /// Tell everybody this statement, in place of the one before.
    Statement(Vec<u8>),
    /// Send to a router; may be lost.
    Send {
        /// The receiver.
        to: PeerId,
        /// An [`super::IpamMessage`], of at most [`mesh_proto::limits::MAX_IPAM_BYTES`].
        bytes: Vec<u8>,
    },
    /// The request has an address.
    Allocated {
        /// The request.
        request: RequestId,
        /// The address.
        addr: Ipv4Addr,
        /// Prefix length of its subnet.
        prefix: u8,
    },
    /// The request is over without one.
    Failed {
        /// The request.
        request: RequestId,
        /// The reason, with what to do.
        why: AddressRefusal,
    },
    /// The router's space is handed over, as far as it could be, and its state may be deleted.
    Left {
        /// Slices that nobody took: they are free after a removal of this router.
        orphaned: usize,
    },
}

impl From<Released<IpamEffect>> for IpamOutput {
    fn from(released: Released<IpamEffect>) -> Self {
        match released {
            Released::Entry {
                position,
                bytes: entry,
            } => Self::Persist { position, entry },
            Released::Effect(effect) => effect.into(),
        }
    }
}

impl From<Durable<IpamEffect>> for IpamOutput {
    fn from(effect: Durable<IpamEffect>) -> Self {
        match effect.into_inner() {
            IpamEffect::Statement(bytes) => Self::Statement(bytes),
            IpamEffect::Send { to, bytes } => Self::Send { to, bytes },
            IpamEffect::Answer {
                request,
                result: Ok((addr, prefix)),
            } => Self::Allocated {
                request,
                addr,
                prefix,
            },
            IpamEffect::Answer {
                request,
                result: Err(why),
            } => Self::Failed { request, why },
            IpamEffect::Left { orphaned } => Self::Left { orphaned },
        }
    }
}
