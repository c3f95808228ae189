//! Facts about datagrams that the steps of ingress, relaying and fragmentation hand to one another.

use super::Via;
use super::snapshot::Unreachable;
use crate::ids::{PeerId, SessionIndex};
use crate::session::transport::DeadKey;
use crate::wire::datagram::{HEADER_LEN, TAG_LEN};

/// Bytes of header and tag around sealed content.
pub(super) const SEALED: usize = HEADER_LEN + TAG_LEN;

/// Origin of a fragment: the sending router, the session, and the hops left.
#[derive(Clone, Copy, Debug)]
pub(super) struct FragmentArrival {
    pub(super) sender: PeerId,
    pub(super) arrival: Arrival,
    pub(super) hop_limit: u8,
}

/// Path by which a datagram arrived, and the session index in its header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) via: Via,
    pub(super) index: SessionIndex,
}

/// Reason why a datagram was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No path to the peer.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The session's keys expired or reached their limits.
    #[error(transparent)]
    Seal(#[from] DeadKey),
    /// The bytes are no end-to-end datagram.
    #[error("not a datagram between two routers")]
    Malformed,
    /// More fragments are needed than a datagram may have.
    #[error("too many fragments for its path")]
    TooLong,
}
