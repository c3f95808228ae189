//! Processes on a host: a router, or a malicious member.

use std::net::{Ipv4Addr, SocketAddr};

use mesh_proto::control::StoredNeighbour;
use mesh_proto::control::targets::DialTo;
use mesh_proto::ids::{ConnId, PeerName};
use mesh_proto::time::Instant;

use super::disk::Write;
use super::frames::FrameId;
use super::invariants::forward_once::RelayKey;
use super::invariants::ways::RouteView;
use super::router::SimRouter;

/// Effect of a process on the world.
#[derive(Debug)]
pub(crate) enum Effect {
    Dial {
        conn: ConnId,
        to: DialTo,
    },
    Send {
        conn: ConnId,
        bytes: Vec<u8>,
    },
    Close {
        conn: ConnId,
    },
    Datagram {
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// A lane relays a datagram, with the router's view of the mesh.
    Relayed(RelayKey, RouteView),
    /// A frame is injected into the host's bridge.
    Inject(Vec<u8>),
    /// A received broadcast is forwarded.
    Flooded(FrameId),
    Keep(Keep),
    /// A write to the journal of addresses.
    Write(Write),
    /// A container's request is answered.
    Answer(u64, Result<Ipv4Addr, String>),
    /// A line for the log.
    Note(String),
}

/// State that survives a crash.
#[derive(Debug)]
pub(crate) enum Keep {
    Pin(PeerName, [u8; 32]),
    Unpin(PeerName),
    Targets(Vec<String>),
    Neighbours(Vec<StoredNeighbour>),
    Epoch(u64),
}

/// A process with a UDP and a TCP socket. The caller drains its effects after each call.
pub(crate) trait Process {
    fn accepted(&mut self, from: SocketAddr, now: Instant) -> Option<ConnId>;
    fn connected(&mut self, conn: ConnId, to: SocketAddr, now: Instant);
    fn bytes(&mut self, conn: ConnId, bytes: &[u8], now: Instant);
    fn written(&mut self, conn: ConnId, bytes: usize, now: Instant);
    fn closed(&mut self, conn: ConnId, error: &str, now: Instant);
    fn datagram(&mut self, from: SocketAddr, bytes: Vec<u8>, now: Instant);
    fn timeout(&mut self, now: Instant);
    fn next_deadline(&self) -> Instant;
    fn drain(&mut self) -> Vec<Effect>;
    /// Returns the router, if the process is one.
    fn router(&mut self) -> Option<&mut SimRouter>;
    /// Returns a shared reference to the router, if the process is one.
    fn as_router(&self) -> Option<&SimRouter> {
        None
    }
    /// False if the process is a hostile member without a link.
    fn still_linked(&self) -> bool {
        true
    }
}
