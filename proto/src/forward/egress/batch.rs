//! Egress batch: packs frames into datagrams, as the path of their destination allows.

use std::sync::Mutex;

use super::classify::Destination;
use crate::arp_proxy::resolution::{Protocol, UnicastTarget};
use crate::crypto::network_key::NetworkKey;
use crate::forward::lane::{LaneNetwork, LaneView, PeerLabelError, Scratch};
use crate::forward::snapshot::{PeerRoute, Snapshot, Unreachable};
use crate::forward::transmit::{DatagramDraft, Transmitter};
use crate::forward::{Counter, DropReason, lock};
use crate::frame::ethernet::{self, EthernetView};
use crate::frame::fit::{Fit, fit};
use crate::ids::PeerId;
use crate::limits::{MAX_HOPS, MIN_INNER_MTU, TOO_BIG_BURST, TOO_BIG_RATE};
use crate::offload::{OffloadError, PortFrame, Segments, finish_checksum};
use crate::rate::TokenBucket;
use crate::wire::datagram::{
    FLOOD_PREFIX_LEN, FRAME_PREFIX_LEN, InnerFrame, Kind, NETWORK_FLOOD_PREFIX_LEN,
    NetworkFloodPrefix, push_frame, push_frame_prefix,
};

/// State of all batches, shared by all lanes and all networks.
#[derive(Debug)]
pub(super) struct BatchState {
    /// Rate limit of ICMP errors about the path MTU.
    too_big: Mutex<TokenBucket>,
}

impl BatchState {
    pub(super) fn new() -> Self {
        Self {
            too_big: Mutex::new(TokenBucket::new(TOO_BIG_RATE, TOO_BIG_BURST)),
        }
    }
}

/// Frames of one network in one call of a lane: consecutive frames for the same destination share a datagram as long as they fit.
pub(super) struct EgressBatch<'a> {
    state: &'a BatchState,
    network: LaneNetwork<'a>,
    view: LaneView<'a>,
    tx: Transmitter<'a>,
    scratch: &'a mut Scratch,
    open: Open<'a>,
}

/// Container that is being filled with frames.
enum Open<'a> {
    Nothing,
    /// Data datagram at the end of the outgoing buffer.
    Data {
        peer: PeerId,
        draft: DatagramDraft<'a>,
        /// Longest body, in bytes.
        room: usize,
    },
    /// Body of a broadcast, in the scratch buffer.
    Flood {
        frames: u64,
        /// Seal of the frames; `None` in the network `default`.
        seal: Option<(&'a NetworkKey, NetworkFloodPrefix)>,
    },
    /// Queue of frames that wait for a session.
    Pending {
        peer: PeerId,
    },
    /// Destination to which nothing can be sent; its frames are dropped.
    Refused {
        to: Destination,
        reason: DropReason,
    },
}

impl<'a> EgressBatch<'a> {
    pub(super) fn new(
        state: &'a BatchState,
        network: LaneNetwork<'a>,
        tx: Transmitter<'a>,
        scratch: &'a mut Scratch,
    ) -> Self {
        Self {
            state,
            network,
            view: tx.view(),
            tx,
            scratch,
            open: Open::Nothing,
        }
    }

    pub(super) fn pack(&mut self, to: Destination, frame: &PortFrame<'_>) {
        let longest = self.longest_to(to, frame.bytes);
        if frame.header.is_plain() {
            self.put_plain(to, frame.bytes, longest);
            return;
        }
        let cut = |longest| Segments::new(frame.bytes, &frame.header, longest);
        let segments = match cut(longest) {
            // Cannot be segmented to the path MTU: segment to the mesh's MTU, and handle each frame separately.
            Err(OffloadError::TooLong) => cut(self.view.snapshot.max_frame()),
            segments => segments,
        };
        let Ok(segments) = segments else {
            self.view.counters.drop(DropReason::Offload);
            return;
        };
        if let Some(bytes) = segments.unchanged().filter(|b| b.len() <= longest) {
            let partial = segments.is_partial();
            self.put(to, InnerFrame { bytes, partial });
            return;
        }
        for index in 0..segments.len() {
            self.put_segment(to, &segments, index, longest);
        }
    }

    /// Sends an ARP request or neighbour solicitation to the MAC that is announced for the address. Only the
    /// destination MAC changes: ARP needs no broadcast to be understood (RFC 1122 section 2.3.2.1), nor IPv6 a group
    /// as destination MAC (RFC 6085).
    pub(super) fn ask(&mut self, to: UnicastTarget, frame: &[u8]) {
        self.view.counters.count(match to.protocol {
            Protocol::Arp => Counter::ArpDirected,
            Protocol::Ndp => Counter::NdDirected,
        });
        let mut bytes = core::mem::take(&mut self.scratch.segment);
        bytes.clear();
        bytes.extend_from_slice(&to.mac.0);
        bytes.extend_from_slice(frame.get(to.mac.0.len()..).unwrap_or_default());
        let to = Destination::Peer(to.peer);
        let longest = self.longest_to(to, &bytes);
        self.put_plain(to, &bytes, longest);
        self.scratch.segment = bytes;
    }

    /// Returns the longest frame that fits the path to `to`, for the Ethernet header of `frame`.
    fn longest_to(&self, to: Destination, frame: &[u8]) -> usize {
        let Destination::Peer(peer) = to else {
            return self.view.snapshot.max_frame();
        };
        // Most small frames need no look at the path MTU.
        if frame.len() <= ethernet::HEADER_LEN + usize::from(MIN_INNER_MTU) {
            return self.view.snapshot.max_frame();
        }
        let mtu = self.view.snapshot.mtu_to(peer);
        if mtu == self.view.snapshot.mtu {
            return self.view.snapshot.max_frame();
        }
        let payload = EthernetView::new_checked(frame).map_or(0, |view| view.payload().len());
        frame.len() - payload + usize::from(mtu)
    }

    /// Packs a frame that needs no offload. One that exceeds the path MTU is fragmented, or its sender gets an ICMP
    /// error.
    fn put_plain(&mut self, to: Destination, bytes: &[u8], longest: usize) {
        let counters = self.view.counters;
        match fit(bytes, longest) {
            Fit::Whole | Fit::Opaque => self.put(to, InnerFrame::complete(bytes)),
            Fit::Fragments(fragments) => {
                counters.count(Counter::FramesFragmented);
                for fragment in fragments {
                    self.put(to, InnerFrame::complete(&fragment));
                }
            }
            Fit::TooBig(answer) => {
                counters.drop(DropReason::PathMtu);
                if lock(&self.state.too_big).take(self.view.now) {
                    counters.count(Counter::TooBigSent);
                    let network = self.network.id();
                    self.tx.out().inject(network, InnerFrame::complete(&answer));
                }
            }
        }
    }

    fn put(&mut self, to: Destination, frame: InnerFrame<'_>) {
        self.make_room(to, frame.bytes.len());
        match &mut self.open {
            Open::Nothing => {}
            Open::Data { .. } => {
                push_frame(self.tx.buffer(), frame);
            }
            Open::Flood { frames, .. } => {
                push_frame(&mut self.scratch.body, frame);
                *frames += 1;
            }
            Open::Pending { peer } => {
                let LaneView { counters, now, .. } = self.view;
                self.network.domain.keep(*peer, frame, counters, now);
            }
            Open::Refused { reason, .. } => self.view.counters.drop(*reason),
        }
    }

    fn put_segment(
        &mut self,
        to: Destination,
        segments: &Segments<'_>,
        index: usize,
        longest: usize,
    ) {
        let (len, partial) = (segments.frame_len(index), segments.is_partial());
        if len <= longest {
            self.make_room(to, len);
            if let Open::Data { .. } = self.open {
                // Bulk traffic: written directly to where it is sealed.
                let buffer = self.tx.buffer();
                push_frame_prefix(buffer, len, partial);
                segments.write(index, buffer);
                return;
            }
        }
        let mut bytes = core::mem::take(&mut self.scratch.segment);
        bytes.clear();
        segments.write(index, &mut bytes);
        if len <= longest {
            let bytes = &bytes;
            self.put(to, InnerFrame { bytes, partial });
        } else if partial && finish_checksum(&mut bytes).is_err() {
            self.view.counters.drop(DropReason::Offload);
        } else {
            self.put_plain(to, &bytes, longest);
        }
        self.scratch.segment = bytes;
    }

    /// Makes sure that the open datagram is for `to` and has room for a frame of `len` bytes.
    fn make_room(&mut self, to: Destination, len: usize) {
        if !self.takes(to, len) {
            self.close();
            self.begin(to);
        }
    }

    fn takes(&mut self, to: Destination, len: usize) -> bool {
        match (&self.open, to) {
            (Open::Data { peer, draft, room }, Destination::Peer(to)) => {
                *peer == to && self.tx.body_len(draft) + FRAME_PREFIX_LEN + len <= *room
            }
            (Open::Flood { frames, seal }, Destination::Flood) => {
                let prefix = match seal {
                    None => FLOOD_PREFIX_LEN,
                    Some(_) => NETWORK_FLOOD_PREFIX_LEN,
                };
                let used = self.scratch.body.len() - prefix;
                *frames == 0 || used + FRAME_PREFIX_LEN + len <= full_body(self.view.snapshot)
            }
            (Open::Pending { peer }, Destination::Peer(to)) => *peer == to,
            (Open::Refused { to: refused, .. }, to) => *refused == to,
            _ => false,
        }
    }

    fn begin(&mut self, to: Destination) {
        let Destination::Peer(peer) = to else {
            self.begin_flood();
            return;
        };
        let refused = |reason| Open::Refused { to, reason };
        if !self.network.has_member(peer) {
            self.open = refused(DropReason::NotMember);
            return;
        }
        self.open = match self.view.snapshot.route(peer, self.view.now) {
            Ok(route) => {
                if !lock(self.network.domain.pending()).is_empty() {
                    self.send_waiting(peer, route);
                }
                self.begin_data(peer, route)
            }
            Err(Unreachable::UnknownPeer(_)) => refused(DropReason::NoRoute),
            Err(Unreachable::NoRoute(_)) => Open::Pending { peer },
            Err(Unreachable::NoSession(missing)) => {
                self.tx.need_session(missing);
                Open::Pending { peer }
            }
        };
    }

    /// Begins a Data datagram, unless the label that the peer assigned to the network is not known.
    fn begin_data(&mut self, peer: PeerId, route: PeerRoute<'a>) -> Open<'a> {
        let label = match self.network.label_to(peer, route.transport.epoch()) {
            Ok(label) => label,
            Err(PeerLabelError::Outdated) => return Open::Pending { peer },
            Err(PeerLabelError::NotMember) => {
                let (to, reason) = (Destination::Peer(peer), DropReason::NotMember);
                return Open::Refused { to, reason };
            }
        };
        let draft = self.tx.begin_data(peer, label, route);
        let room = draft.room().min(full_body(self.view.snapshot));
        Open::Data { peer, draft, room }
    }

    /// Begins the body of a broadcast that originates here. In another network than `default` nothing is sent without
    /// a key.
    fn begin_flood(&mut self) {
        let body = &mut self.scratch.body;
        body.clear();
        let seal = match (self.network.membership(), self.network.sealing()) {
            (None, _) => {
                self.tx.next_flood().encode(body);
                None
            }
            (Some(_), Some(key)) => {
                let prefix = self.tx.next_network_flood(self.network.id(), key.id());
                prefix.encode(body);
                Some((key, prefix))
            }
            (Some(_), None) => {
                let (to, reason) = (Destination::Flood, DropReason::NoNetworkKey);
                self.open = Open::Refused { to, reason };
                return;
            }
        };
        self.open = Open::Flood { frames: 0, seal };
    }

    /// Sends the open datagram.
    pub(super) fn close(&mut self) {
        let counters = self.view.counters;
        match core::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing | Open::Pending { .. } | Open::Refused { .. } => {}
            Open::Flood { frames, seal } => {
                counters.count_many(Counter::FramesFlooded, frames);
                self.flood(seal);
            }
            Open::Data { draft, .. } => match self.tx.finish_data(draft, &mut self.scratch.body) {
                Ok(()) => counters.count(Counter::DataSent),
                Err(error) => self.tx.undelivered(error),
            },
        }
    }

    /// Sends a broadcast that originates here to the children in this router's tree. That of a network is sealed once
    /// for its members, before it is sealed for each child.
    fn flood(&mut self, seal: Option<(&NetworkKey, NetworkFloodPrefix)>) {
        let LaneView { snapshot, now, .. } = self.view;
        let body = &mut self.scratch.body;
        let kind = match seal {
            None => Kind::Flood,
            Some((key, prefix)) => {
                key.seal(
                    &prefix.stream,
                    prefix.sequence,
                    NETWORK_FLOOD_PREFIX_LEN,
                    body,
                );
                Kind::NetworkFlood
            }
        };
        for target in snapshot.flood_targets(snapshot.me, None, now) {
            self.tx.flood(target, kind, MAX_HOPS, body);
        }
    }

    /// Sends the frames that wait for `peer`, whose route is known now. They wait on if its label is not.
    pub(super) fn send_waiting(&mut self, peer: PeerId, route: PeerRoute<'a>) {
        let label = self.network.label_to(peer, route.transport.epoch());
        if label == Err(PeerLabelError::Outdated) {
            return;
        }
        let waiting = lock(self.network.domain.pending()).take(peer);
        for pending in &waiting {
            if !self.takes(Destination::Peer(peer), pending.bytes.len()) {
                self.close();
                self.open = self.begin_data(peer, route);
            }
            match self.open {
                Open::Data { .. } => {
                    push_frame(self.tx.buffer(), pending.frame());
                    self.view.counters.count(Counter::FramesPended);
                }
                Open::Refused { reason, .. } => self.view.counters.drop(reason),
                _ => {}
            }
        }
        self.close();
    }
}

/// Returns the length of a body with one full-size frame without a VLAN tag. A datagram holds no more, unless a
/// longer frame travels alone.
fn full_body(snapshot: &Snapshot) -> usize {
    FRAME_PREFIX_LEN + ethernet::HEADER_LEN + usize::from(snapshot.mtu)
}
