//! Events of hosts, and the environment in which they are handled.

use mesh_proto::ids::ConnId;
use mesh_proto::time::Instant;

use super::tcp::{ConnectionId, Segment};
use super::underlay::ScaleUnderlay;
use crate::sim::network::HostId;

/// An event of a host.
#[derive(Debug)]
pub(crate) struct HostEvent {
    pub(crate) at: Instant,
    /// Orders events of the same time together with `number`, independently of threads.
    pub(crate) from: HostId,
    pub(crate) number: u64,
    pub(crate) to: HostId,
    pub(crate) what: HostEventKind,
}

/// Kind of event.
#[derive(Debug)]
pub(crate) enum HostEventKind {
    Start,
    Timer,
    Datagram(Vec<u8>),
    Segment {
        connection: ConnectionId,
        /// True if it goes to the end that dialled.
        to_dialler: bool,
        segment: Segment,
    },
    /// The SYN of this connection was not answered.
    SynAgain(ConnectionId, usize),
    Retry(EndKey),
    Written {
        incarnation: u64,
        conn: ConnId,
        bytes: usize,
    },
    Failed {
        incarnation: u64,
        conn: ConnId,
        error: &'static str,
    },
}

/// End of a connection on a host: the connection, and true for the dialler's end.
pub(crate) type EndKey = (ConnectionId, bool);

/// Environment of a host while it handles an event.
pub(crate) struct Around<'a> {
    pub(crate) now: Instant,
    pub(crate) hosts: usize,
    pub(crate) underlay: &'a ScaleUnderlay,
    pub(crate) out: &'a mut Vec<HostEvent>,
}
