//! Transmission of datagrams to peers and to neighbours: encapsulation for a relay, fragmentation for a narrow path,
//! and the request for a missing session.

mod draft;
mod encap;
mod error;
mod fragments;
mod relayed;

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Mutex;

pub(super) use self::draft::DatagramDraft;
use self::encap::Encap;
pub use self::error::SendError;
use self::fragments::{Fragmenter, seal_fragment};
use self::relayed::RelayHistory;
use super::lane::LaneView;
use super::snapshot::{FirstHop, NextHop, PeerRoute, Unreachable};
use super::{DropReason, LaneEvent, Outbox, lock, throttle};
use crate::entropy::Entropy;
use crate::ids::PeerId;
use crate::limits::MAX_HOPS;
use crate::network::{BroadcastStream, NetworkId, NetworkKeyId, NetworkLabel};
use crate::rate::Throttle;
use crate::session::transport::DeadKey;
use crate::time::Instant;
use crate::wire::datagram::{FloodPrefix, HEADER_LEN, Header, Kind, NetworkFloodPrefix, TAG_LEN};

/// Bytes of header and tag around sealed content.
const SEALED: usize = HEADER_LEN + TAG_LEN;

/// State of transmission, shared by all lanes.
#[derive(Debug)]
pub(super) struct TransmitState {
    fragmenter: Fragmenter,
    relayed: RelayHistory,
    needed_sessions: Mutex<Throttle<PeerId>>,
    broadcasts: BroadcastNumbers,
}

/// Numbers of the broadcasts of this router, those of the network `default` and those of all others.
#[derive(Debug)]
struct BroadcastNumbers {
    of_default: AtomicU64,
    of_others: AtomicU64,
    /// Random number of this run, in the broadcasts of other networks.
    salt: u64,
}

impl TransmitState {
    pub(super) fn new(entropy: &mut dyn Entropy) -> Self {
        let broadcasts = BroadcastNumbers {
            of_default: AtomicU64::new(0),
            of_others: AtomicU64::new(0),
            salt: entropy.u64(),
        };
        Self {
            broadcasts,
            fragmenter: Fragmenter::default(),
            relayed: RelayHistory::new(),
            needed_sessions: Mutex::new(throttle()),
        }
    }
}

/// Transmission within one call of a lane.
pub(super) struct Transmitter<'a> {
    state: &'a TransmitState,
    view: LaneView<'a>,
    out: &'a mut dyn Outbox,
}

impl<'a> Transmitter<'a> {
    pub(super) fn new(
        state: &'a TransmitState,
        view: LaneView<'a>,
        out: &'a mut dyn Outbox,
    ) -> Self {
        Self { state, view, out }
    }

    /// Returns the view of this call.
    pub(super) fn view(&self) -> LaneView<'a> {
        self.view
    }

    /// Returns the sink of the other effects of this call.
    pub(super) fn out(&mut self) -> &mut dyn Outbox {
        self.out
    }

    /// Sends a complete datagram, such as a handshake message, to `peer`, directly or through the next hop.
    pub(super) fn send_datagram(&mut self, peer: PeerId, datagram: &[u8]) -> Result<(), SendError> {
        let header = Header::parse(datagram).ok();
        if !header.is_some_and(|header| header.kind.is_end_to_end()) {
            return Err(SendError::Malformed);
        }
        let first_hop = self.view.snapshot.first_hop(peer, self.view.now)?;
        self.send_whole(peer, first_hop, |buffer, _| {
            buffer.extend_from_slice(datagram);
            Ok(())
        })
    }

    /// Seals a payload of the control plane for `peer` and sends it.
    pub(super) fn send_probe(&mut self, peer: PeerId, payload: &[u8]) -> Result<(), SendError> {
        let PeerRoute {
            transport,
            first_hop,
        } = self.view.snapshot.route(peer, self.view.now)?;
        self.send_whole(peer, first_hop, |buffer, now| {
            transport.seal(Kind::Probe, MAX_HOPS, &[], payload, now, buffer)
        })
    }

    /// Sends the datagram that `fill` appends, directly or encapsulated.
    fn send_whole(
        &mut self,
        peer: PeerId,
        first_hop: FirstHop<'a>,
        fill: impl FnOnce(&mut Vec<u8>, Instant) -> Result<(), DeadKey>,
    ) -> Result<(), SendError> {
        let outgoing = self.out.outgoing();
        let encap = Encap::begin(peer, first_hop, outgoing);
        if let Err(error) = fill(outgoing.buffer(), self.view.now) {
            encap.abandon(outgoing);
            return Err(error.into());
        }
        encap.send(&self.state.relayed, self.view.now, outgoing)?;
        Ok(())
    }

    /// Begins a Data datagram to `peer`, with its label of the network, at the end of the outgoing buffer; the caller
    /// appends frames to [`Transmitter::buffer`].
    pub(super) fn begin_data(
        &mut self,
        peer: PeerId,
        label: NetworkLabel,
        route: PeerRoute<'a>,
    ) -> DatagramDraft<'a> {
        DatagramDraft::begin(peer, label, route, self.out.outgoing())
    }

    /// Returns the identification of a further broadcast of this router in the network `default`.
    pub(super) fn next_flood(&self) -> FloodPrefix {
        FloodPrefix {
            origin: self.view.snapshot.me,
            epoch: self.view.snapshot.epoch,
            sequence: self.state.broadcasts.of_default.fetch_add(1, Relaxed),
        }
    }

    /// Returns the identification of a further broadcast of this router in another network. All of them have numbers of
    /// one sequence, because routers that are no members recognise duplicates by origin and number alone.
    pub(super) fn next_network_flood(
        &self,
        network: NetworkId,
        key: NetworkKeyId,
    ) -> NetworkFloodPrefix {
        let stream = BroadcastStream {
            network,
            origin: self.view.snapshot.me,
            epoch: self.view.snapshot.epoch,
            salt: self.state.broadcasts.salt,
        };
        NetworkFloodPrefix {
            stream,
            sequence: self.state.broadcasts.of_others.fetch_add(1, Relaxed),
            key,
        }
    }

    /// Returns the buffer at whose end a datagram was begun.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        self.out.outgoing().buffer()
    }

    /// Returns the bytes of frames in a datagram that was begun.
    pub(super) fn body_len(&mut self, draft: &DatagramDraft<'_>) -> usize {
        draft.body_len(self.out.outgoing())
    }

    /// Seals and sends a datagram that was begun. One that exceeds the path MTU is removed from the buffer, and its
    /// body is sent in fragments; `scratch` holds it in between.
    pub(super) fn finish_data(
        &mut self,
        draft: DatagramDraft<'a>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let outgoing = self.out.outgoing();
        if draft.fits(outgoing) {
            return draft.send(&self.state.relayed, self.view.now, outgoing);
        }
        let sealed_with = (MAX_HOPS, draft.label());
        let (peer, route, longest) = draft.take_body(outgoing, scratch);
        let counters = self.view.counters;
        let fragmenter = &self.state.fragmenter;
        for fragment in fragmenter.split(Kind::Data, scratch, longest, counters)? {
            self.send_whole(peer, route.first_hop, |buffer, now| {
                seal_fragment(route.transport, sealed_with, &fragment, now, buffer)
            })?;
        }
        Ok(())
    }

    /// Sends a broadcast, of kind Flood or NetworkFlood, to a neighbour. Returns false if it cannot be sent, which is
    /// counted.
    pub(super) fn flood(&mut self, neighbour: PeerId, kind: Kind, hops: u8, body: &[u8]) -> bool {
        let hop = self.view.snapshot.neighbour(neighbour, self.view.now);
        let sent = hop
            .map_err(SendError::from)
            .and_then(|hop| self.send_to_neighbour(hop, kind, hops, body));
        if let Err(error) = sent {
            self.undelivered(error);
        }
        sent.is_ok()
    }

    /// Seals the content of a Relay, Flood or NetworkFlood datagram for a neighbour and sends it, in fragments if it exceeds the path
    /// MTU.
    pub(super) fn send_to_neighbour(
        &mut self,
        hop: NextHop<'_>,
        kind: Kind,
        hops: u8,
        content: &[u8],
    ) -> Result<(), SendError> {
        let LaneView { counters, now, .. } = self.view;
        let outgoing = self.out.outgoing();
        if SEALED + content.len() > hop.datagram {
            let fragmenter = &self.state.fragmenter;
            for fragment in fragmenter.split(kind, content, hop.datagram, counters)? {
                let start = outgoing.end();
                let sealed_with = (hops, NetworkLabel::DEFAULT);
                seal_fragment(
                    hop.transport,
                    sealed_with,
                    &fragment,
                    now,
                    outgoing.buffer(),
                )?;
                outgoing.commit(hop.address, start);
            }
            return Ok(());
        }
        let start = outgoing.end();
        // The content of a Relay is authenticated, not encrypted.
        let nothing: &[u8] = &[];
        let (clear, body) = match kind {
            Kind::Relay => (content, nothing),
            _ => (nothing, content),
        };
        hop.transport
            .seal(kind, hops, clear, body, now, outgoing.buffer())?;
        outgoing.commit(hop.address, start);
        Ok(())
    }

    /// Records that the datagram `inner` is relayed to `destination`. Returns false if it was relayed before.
    pub(super) fn is_first_passage(
        &self,
        destination: PeerId,
        header: &Header,
        inner: &[u8],
    ) -> bool {
        let now = self.view.now;
        self.state.relayed.is_fresh(destination, header, inner, now)
    }

    /// Requests a session with `peer` from the control plane.
    pub(super) fn need_session(&mut self, peer: PeerId) {
        if lock(&self.state.needed_sessions).pass(peer, self.view.now) {
            self.out.event(LaneEvent::NeedSession(peer));
        }
    }

    /// Counts a frame or datagram that could not be sent, and requests the missing session.
    pub(super) fn undelivered(&mut self, error: SendError) {
        self.view.counters.drop(reason(error));
        if let SendError::Unreachable(Unreachable::NoSession(peer)) = error {
            self.need_session(peer);
        }
    }
}

fn reason(error: SendError) -> DropReason {
    match error {
        SendError::Unreachable(Unreachable::NoSession(_)) => DropReason::NoSession,
        SendError::Unreachable(_) => DropReason::NoRoute,
        SendError::DeadKey(_) => DropReason::DeadKey,
        SendError::Malformed => DropReason::Malformed,
        SendError::TooLong => DropReason::TooBig,
    }
}
