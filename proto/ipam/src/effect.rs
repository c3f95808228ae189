//! Effects as the parts make them, before the gate.

use std::net::Ipv4Addr;

use super::refusal::AddressRefusal;
use mesh_proto::ids::PeerId;

/// The shell's number of one allocation or claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// An effect of one part, which nobody outside sees before the gate releases it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum IpamEffect {
    Statement(Vec<u8>),
    Send {
        to: PeerId,
        bytes: Vec<u8>,
    },
    Answer {
        request: RequestId,
        /// The address with the prefix length of its subnet.
        result: Result<(Ipv4Addr, u8), AddressRefusal>,
    },
    Left {
        orphaned: usize,
    },
}
