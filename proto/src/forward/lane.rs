//! Interface to the lanes: the view by which one call decides, its buffers, and the sink of its effects.

use core::net::SocketAddr;

use super::{Counters, Outgoing, Snapshot};
use crate::ids::{PeerId, SessionIndex};
use crate::time::Instant;
use crate::wire::datagram::InnerFrame;
use crate::wire::via::Via;

/// Event from the data plane to the control plane. Events are rare, and harmless to lose when their queue is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneEvent {
    /// A handshake message, header included; not authenticated.
    Handshake {
        /// Path by which it arrived.
        via: Via,
        /// Complete datagram.
        bytes: Vec<u8>,
    },
    /// Frames or datagrams wait for a session with this peer.
    NeedSession(PeerId),
    /// A datagram with an unknown session index; not authenticated.
    UnknownIndex {
        /// Path by which it arrived.
        via: Via,
        /// Session index in its header.
        index: SessionIndex,
    },
    /// A payload of the peer's control plane, authenticated and not replayed.
    Probe {
        /// Peer that sealed it.
        peer: PeerId,
        /// Path by which it arrived.
        via: Via,
        /// Receiver index of its session.
        index: SessionIndex,
        /// Decrypted payload.
        body: Vec<u8>,
    },
    /// The newest datagram of a peer came from an address that is not its current path.
    EndpointSeen {
        /// Peer that sealed the datagram.
        peer: PeerId,
        /// Underlay address from which it came.
        address: SocketAddr,
    },
    /// The first datagram of a session was authenticated, which proves that the peer has its keys.
    Confirmed {
        /// Peer that sealed the datagram.
        peer: PeerId,
        /// Receiver index of the session.
        index: SessionIndex,
    },
}

/// Sink for the effects of the data plane: sockets and ports in the lanes, memory in tests and in the simulator.
pub trait Outbox {
    /// Returns the buffer of datagrams to send; new ones are built at its end.
    fn outgoing(&mut self) -> &mut Outgoing;
    /// Delivers a frame to the local port.
    fn inject(&mut self, frame: InnerFrame<'_>);
    /// Passes an event to the control plane; it may be dropped.
    fn event(&mut self, event: LaneEvent);
}

/// Buffers of one lane, reused between calls so that a frame costs no allocation.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Body of a broadcast, sealed separately for each neighbour; body of a Data datagram that is fragmented.
    pub(super) body: Vec<u8>,
    /// Segment of a super-frame that is not sealed in place.
    pub(super) segment: Vec<u8>,
}

/// View of one call of a lane: what the control plane published, the time, and the counters.
#[derive(Clone, Copy)]
pub(super) struct LaneView<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) counters: &'a Counters,
    pub(super) now: Instant,
}
