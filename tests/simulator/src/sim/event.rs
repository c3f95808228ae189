//! Events of a run.

use std::net::SocketAddr;

use super::action::Action;
use super::disk::JournalKind;
use super::network::HostId;
use super::tcp::{ProcessId, SocketId, SocketInput, StreamId};

/// Kind of event.
#[derive(Debug)]
pub(crate) enum SimEvent {
    Timer(HostId),
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// The next item from this side of a stream is due.
    Stream(StreamId, usize),
    /// A SYN arrives, after `tries` lost ones.
    Syn {
        from: SocketId,
        to: SocketAddr,
        tries: usize,
    },
    /// The kernel of a host informs its process about a socket.
    Socket(SocketId, SocketInput),
    Action(Action),
    /// Containers send the next frames.
    Traffic,
    /// A container of the workload starts or stops.
    Workload,
    /// A router announces the names of its containers.
    Named(HostId),
    /// A write to the disk is synced.
    Synced(ProcessId, JournalKind),
}
