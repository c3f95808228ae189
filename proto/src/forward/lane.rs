//! Interface to the lanes: the view by which one call decides, its buffers, and the sink of its effects.

use core::net::SocketAddr;

use super::domain::BroadcastDomain;
use super::networks::SnapshotNetwork;
use super::{Counters, DropReason, Outgoing, Snapshot, Underlay};
use crate::crypto::network_key::NetworkKey;
use crate::frame::ethernet::EthernetView;
use crate::ids::{PeerId, SessionIndex};
use crate::network::{NetworkId, NetworkLabel};
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
    /// Delivers a frame to the local port of `network`.
    fn inject(&mut self, network: NetworkId, frame: InnerFrame<'_>);
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
    pub(super) underlay: &'a Underlay,
    pub(super) now: Instant,
}

impl<'a> LaneView<'a> {
    /// Checks what holds for frames of either direction: a source of one station, a destination that bridges forward,
    /// and no underlay traffic of this mesh.
    pub(super) fn check(&self, frame: &EthernetView<'_>) -> Result<(), DropReason> {
        if frame.source().is_group() {
            return Err(DropReason::GroupSource);
        }
        if frame.is_link_local() {
            return Err(DropReason::LinkLocal);
        }
        if self.underlay.carries(self.snapshot, frame) {
            return Err(DropReason::Underlay);
        }
        Ok(())
    }

    /// Returns a network other than `default`, unless it has no members here.
    pub(super) fn network(&self, network: NetworkId) -> Option<LaneNetwork<'a>> {
        self.snapshot.networks.get(network).map(LaneNetwork::of)
    }

    /// Returns the network to which this router assigned `label`, other than `default`.
    pub(super) fn labelled(&self, label: NetworkLabel) -> Option<LaneNetwork<'a>> {
        self.snapshot.networks.by_label(label).map(LaneNetwork::of)
    }
}

/// The one network with whose frames and tables a part of a call deals. Whatever is learnt, looked up, packed or
/// delivered there belongs to this network.
#[derive(Clone, Copy)]
pub(super) struct LaneNetwork<'a> {
    pub(super) domain: &'a BroadcastDomain,
    /// Labels and keys; `None` for the network `default`, which has none, and of which every router is a member.
    membership: Option<&'a SnapshotNetwork>,
}

/// Reason why frames of a network have no label for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerLabelError {
    /// The peer announces no members there.
    NotMember,
    /// The known label is of another run of the peer.
    Outdated,
}

impl<'a> LaneNetwork<'a> {
    /// Returns the network `default`, of which this is the domain.
    pub(super) fn default_in(domain: &'a BroadcastDomain) -> Self {
        Self {
            domain,
            membership: None,
        }
    }

    fn of(membership: &'a SnapshotNetwork) -> Self {
        Self {
            domain: &membership.domain,
            membership: Some(membership),
        }
    }

    pub(super) fn id(&self) -> NetworkId {
        self.domain.network()
    }

    /// Returns true if `peer` announces members in the network.
    pub(super) fn has_member(&self, peer: PeerId) -> bool {
        let membership = self.membership;
        membership.is_none_or(|membership| membership.peers.contains_key(&peer))
    }

    /// Returns true if any other router may have members in the network.
    pub(super) fn has_others(&self) -> bool {
        let membership = self.membership;
        membership.is_none_or(|membership| !membership.peers.is_empty())
    }

    /// Returns the label in Data for `peer`, whose session is with its run of `epoch`.
    pub(super) fn label_to(
        &self,
        peer: PeerId,
        epoch: u64,
    ) -> Result<NetworkLabel, PeerLabelError> {
        let Some(membership) = self.membership else {
            return Ok(NetworkLabel::DEFAULT);
        };
        let known = membership
            .peers
            .get(&peer)
            .ok_or(PeerLabelError::NotMember)?;
        match known.epoch == epoch {
            true => Ok(known.label),
            false => Err(PeerLabelError::Outdated),
        }
    }

    /// Returns the keys of broadcasts; `None` for the network `default`.
    pub(super) fn membership(&self) -> Option<&'a SnapshotNetwork> {
        self.membership
    }

    /// Returns the key that seals broadcasts; `None` for the network `default`, and as long as none is known.
    pub(super) fn sealing(&self) -> Option<&'a NetworkKey> {
        self.membership?.keys.sealing()
    }
}
