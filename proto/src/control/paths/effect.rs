//! Effects of paths, and what they need to know of other parts.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::fastpath::FastPeers;
use crate::ids::PeerId;
use crate::session::Sessions;

use super::flows::SparePort;
use crate::control::links::Links;

/// The other parts, as paths see them.
#[derive(Clone, Copy)]
pub(crate) struct PathContext<'a> {
    /// The links.
    pub(crate) links: &'a Links,
    /// The sessions.
    pub(crate) sessions: &'a Sessions,
}

/// An effect of paths on the other parts of the control plane.
#[derive(Debug)]
pub(crate) enum PathEffect {
    /// Seal this payload in a datagram of kind Probe and send it.
    Probe {
        /// The peer whose session seals it.
        peer: PeerId,
        /// The address.
        to: SocketAddr,
        /// The payload.
        payload: Vec<u8>,
        /// True if it leaves from the spare port.
        spare: bool,
    },
    /// Send a datagram.
    Datagram(SocketAddr, Vec<u8>),
    /// Send a datagram from the spare port.
    SpareDatagram(SocketAddr, Vec<u8>),
    /// The direct path to a peer appeared or moved.
    Moved(PeerId),
    /// Sizes or sources of paths changed.
    Changed,
    /// The addresses at which neighbours see this router changed.
    Endpoints,
    /// The spare port is to be like this.
    SparePort(Arc<SparePort>),
    /// The peers with plain VXLAN changed.
    Fast(Arc<FastPeers>),
    /// News of the path to a peer, for the log.
    News(PeerId, PathNews),
}

/// News of the path to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathNews {
    /// This address is better than the one in use.
    Better(SocketAddr),
    /// Frames go by plain VXLAN, or cease to.
    Fast(bool),
}

impl PathNews {
    /// Returns the line for the log; `who` names the peer.
    pub(crate) fn words(self, who: &str) -> String {
        match self {
            Self::Better(at) => format!("{at} is the better path to {who}"),
            Self::Fast(true) => {
                format!("frames for {who} go by the kernel's VXLAN, unencrypted")
            }
            Self::Fast(false) => {
                format!("frames for {who} go through the router again, encrypted")
            }
        }
    }
}
