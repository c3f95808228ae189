//! Reasons why a datagram is not sent.

use crate::forward::snapshot::Unreachable;
use crate::session::transport::DeadKey;

/// Reason why a datagram was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No path to the peer.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The session's keys expired or reached their limits.
    #[error(transparent)]
    DeadKey(#[from] DeadKey),
    /// The bytes are no end-to-end datagram.
    #[error("not a datagram between two routers")]
    Malformed,
    /// More fragments are needed than a datagram may have.
    #[error("too many fragments for its path")]
    TooLong,
}
