//! The way by which a datagram came.

use std::net::SocketAddr;

use crate::ids::PeerId;

/// The way by which a datagram came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// Straight from this address.
    Direct(SocketAddr),
    /// Relayed by this neighbour, which authenticated the envelope.
    Relay(PeerId),
}
