//! What runs on a host: a router, or somebody who means harm.

use std::net::{Ipv4Addr, SocketAddr};

use mesh_proto::control::Remembered;
use mesh_proto::control::targets::DialTo;
use mesh_proto::ids::{ConnId, PeerName};
use mesh_proto::time::Instant;

use super::disk::Write;
use super::frames::FrameId;
use super::invariants::forward_once::RelayKey;
use super::invariants::ways::View;
use super::router::Router;

/// What a process does to the world.
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
    /// A lane relays this, and sees the mesh so.
    Relayed(RelayKey, View),
    /// A frame enters the host's bridge.
    Inject(Vec<u8>),
    /// A broadcast that came from another router was sent on.
    Flooded(FrameId),
    Keep(Keep),
    /// The journal of addresses goes on.
    Write(Write),
    /// A request of a container has come to its end.
    Answer(u64, Result<Ipv4Addr, String>),
    /// A line of the log.
    Note(String),
}

/// What survives a crash.
#[derive(Debug)]
pub(crate) enum Keep {
    Pin(PeerName, [u8; 32]),
    Unpin(PeerName),
    Targets(Vec<String>),
    Neighbours(Vec<Remembered>),
    Epoch(u64),
}

/// A process with a socket for UDP and one for TCP; after each call its effects are drained.
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
    /// The router, if the process is one.
    fn router(&mut self) -> Option<&mut Router>;
    /// The same, to look at.
    fn as_router(&self) -> Option<&Router> {
        None
    }
    /// Whether a hostile member still has a link; true for everybody else.
    fn still_linked(&self) -> bool {
        true
    }
}
