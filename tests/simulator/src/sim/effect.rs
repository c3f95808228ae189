//! Effects of a process on the world.

use std::net::{Ipv4Addr, SocketAddr};

use mesh_proto::control::targets::DialTo;
use mesh_proto::ids::ConnId;
use mesh_proto::network::NetworkId;

use super::disk::{JournalKind, Write};
use super::frames::FrameId;
use super::invariants::forward_once::RelayKey;
use super::invariants::ways::RouteView;
use super::state::StateChange;

/// Effect of a process.
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
    /// A frame is injected into the host's bridge of this network.
    Inject(NetworkId, Vec<u8>),
    /// A received broadcast is forwarded.
    Flooded(FrameId),
    /// The state that survives a crash changes.
    Keep(StateChange),
    /// A write to the journal of addresses.
    Write(JournalKind, Write),
    /// A container's request is answered.
    Answer(u64, Result<Ipv4Addr, String>),
    /// A line for the log.
    Note(String),
}
