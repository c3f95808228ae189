//! Egress batch: packs frames into datagrams, as the path of their destination allows.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Mutex;

use super::classify::Destination;
use super::pending::PendingFrames;
use crate::arp_proxy::resolution::{Protocol, UnicastTarget};
use crate::forward::lane::{LaneView, Scratch};
use crate::forward::snapshot::{PeerRoute, Snapshot, Unreachable};
use crate::forward::transmit::{DatagramDraft, Transmitter};
use crate::forward::{Counter, Counters, DropReason, lock};
use crate::frame::ethernet::{self, EthernetView};
use crate::frame::fit::{Fit, fit};
use crate::ids::PeerId;
use crate::limits::{MAX_HOPS, MIN_INNER_MTU, TOO_BIG_BURST, TOO_BIG_RATE};
use crate::offload::{OffloadError, PortFrame, Segments, finish_checksum};
use crate::rate::TokenBucket;
use crate::time::Instant;
use crate::wire::datagram::{
    FLOOD_PREFIX_LEN, FRAME_PREFIX_LEN, FloodPrefix, InnerFrame, push_frame, push_frame_prefix,
};

/// State of all batches, shared by all lanes.
#[derive(Debug)]
pub(super) struct BatchState {
    pending: Mutex<PendingFrames>,
    flood_sequence: AtomicU64,
    /// Rate limit of ICMP errors about the path MTU.
    too_big: Mutex<TokenBucket>,
}

impl BatchState {
    pub(super) fn new() -> Self {
        Self {
            pending: Mutex::default(),
            flood_sequence: AtomicU64::new(0),
            too_big: Mutex::new(TokenBucket::new(TOO_BIG_RATE, TOO_BIG_BURST)),
        }
    }

    /// Drops frames that waited too long for a session.
    pub(super) fn sweep(&self, counters: &Counters, now: Instant) {
        expire(&mut lock(&self.pending), counters, now);
    }

    /// Returns the peers for which frames wait, after dropping those that waited too long.
    pub(super) fn waiting_peers(&self, view: LaneView<'_>) -> Vec<PeerId> {
        let mut pending = lock(&self.pending);
        expire(&mut pending, view.counters, view.now);
        pending.peers()
    }

    fn keep(&self, peer: PeerId, frame: InnerFrame<'_>, view: LaneView<'_>) {
        let mut pending = lock(&self.pending);
        expire(&mut pending, view.counters, view.now);
        if !pending.push(peer, frame, view.now) {
            view.counters.drop(DropReason::PendingFull);
        }
    }
}

/// Frames of one call of a lane: consecutive frames for the same destination share a datagram as long as they fit.
pub(super) struct EgressBatch<'a> {
    state: &'a BatchState,
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
    },
    /// Queue of frames that wait for a session.
    Pending {
        peer: PeerId,
    },
    /// Unknown peer, whose frames are dropped.
    Unknown {
        peer: PeerId,
    },
}

impl<'a> EgressBatch<'a> {
    pub(super) fn new(
        state: &'a BatchState,
        tx: Transmitter<'a>,
        scratch: &'a mut Scratch,
    ) -> Self {
        Self {
            state,
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
                    self.tx.out().inject(InnerFrame::complete(&answer));
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
            Open::Flood { frames } => {
                push_frame(&mut self.scratch.body, frame);
                *frames += 1;
            }
            Open::Pending { peer } => self.state.keep(*peer, frame, self.view),
            Open::Unknown { .. } => self.view.counters.drop(DropReason::NoRoute),
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
            (Open::Flood { frames }, Destination::Flood) => {
                let used = self.scratch.body.len() - FLOOD_PREFIX_LEN;
                *frames == 0 || used + FRAME_PREFIX_LEN + len <= full_body(self.view.snapshot)
            }
            (Open::Pending { peer } | Open::Unknown { peer }, Destination::Peer(to)) => *peer == to,
            _ => false,
        }
    }

    fn begin(&mut self, to: Destination) {
        let Destination::Peer(peer) = to else {
            self.begin_flood();
            return;
        };
        self.open = match self.view.snapshot.route(peer, self.view.now) {
            Ok(route) => {
                if !lock(&self.state.pending).is_empty() {
                    self.send_waiting(peer, route);
                }
                self.begin_data(peer, route)
            }
            Err(Unreachable::UnknownPeer(_)) => Open::Unknown { peer },
            Err(Unreachable::NoRoute(_)) => Open::Pending { peer },
            Err(Unreachable::NoSession(missing)) => {
                self.tx.need_session(missing);
                Open::Pending { peer }
            }
        };
    }

    fn begin_data(&mut self, peer: PeerId, route: PeerRoute<'a>) -> Open<'a> {
        let draft = self.tx.begin_data(peer, route);
        let room = draft.room().min(full_body(self.view.snapshot));
        Open::Data { peer, draft, room }
    }

    /// Begins the body of a broadcast that originates here.
    fn begin_flood(&mut self) {
        let snapshot = self.view.snapshot;
        let prefix = FloodPrefix {
            origin: snapshot.me,
            epoch: snapshot.epoch,
            sequence: self.state.flood_sequence.fetch_add(1, Relaxed),
        };
        self.scratch.body.clear();
        prefix.encode(&mut self.scratch.body);
        self.open = Open::Flood { frames: 0 };
    }

    /// Sends the open datagram.
    pub(super) fn close(&mut self) {
        let counters = self.view.counters;
        match core::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing | Open::Pending { .. } | Open::Unknown { .. } => {}
            Open::Flood { frames } => {
                counters.count_many(Counter::FramesFlooded, frames);
                self.flood();
            }
            Open::Data { draft, .. } => match self.tx.finish_data(draft, &mut self.scratch.body) {
                Ok(()) => counters.count(Counter::DataSent),
                Err(error) => self.tx.undelivered(error),
            },
        }
    }

    /// Sends a broadcast that originates here to the children in this router's tree.
    fn flood(&mut self) {
        let LaneView { snapshot, now, .. } = self.view;
        for target in snapshot.flood_targets(snapshot.me, None, now) {
            self.tx.flood(target, MAX_HOPS, &self.scratch.body);
        }
    }

    /// Sends the frames that wait for `peer`, whose route is known now.
    pub(super) fn send_waiting(&mut self, peer: PeerId, route: PeerRoute<'a>) {
        let waiting = lock(&self.state.pending).take(peer);
        for pending in &waiting {
            if !self.takes(Destination::Peer(peer), pending.bytes.len()) {
                self.close();
                self.open = self.begin_data(peer, route);
            }
            if let Open::Data { .. } = self.open {
                push_frame(self.tx.buffer(), pending.frame());
                self.view.counters.count(Counter::FramesPended);
            }
        }
        self.close();
    }
}

fn expire(pending: &mut PendingFrames, counters: &Counters, now: Instant) {
    let expired = pending.expire(now);
    counters.drop_many(DropReason::PendingExpired, expired);
}

/// Returns the length of a body with one full-size frame without a VLAN tag. A datagram holds no more, unless a
/// longer frame travels alone.
fn full_body(snapshot: &Snapshot) -> usize {
    FRAME_PREFIX_LEN + ethernet::HEADER_LEN + usize::from(snapshot.mtu)
}
