//! Egress batch: packs frames into datagrams, as the path of their destination allows.

use super::arrival::{SEALED, SendError};
use super::encap::Encap;
use super::snapshot::{Snapshot, Unreachable};
use super::{Counter, DropReason, Forwarder, Outbox, Scratch, lock};
use crate::announced::question::{Direction, Protocol};
use crate::frame::ethernet::{self, EthernetView};
use crate::frame::fit::{Fit, fit};
use crate::ids::PeerId;
use crate::limits::{MAX_HOPS, MIN_INNER_MTU};
use crate::offload::{OffloadError, PortFrame, Segments, finish_checksum};
use crate::session::transport::{Draft, Transport};
use crate::time::Instant;
use crate::wire::datagram::{
    FLOOD_PREFIX_LEN, FRAME_PREFIX_LEN, InnerFrame, Kind, TAG_LEN, push_frame, push_frame_prefix,
};

/// Destination of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Peer(PeerId),
    Flood,
}

/// Frames of one call of a lane: consecutive frames for the same destination share a datagram as long as they fit.
pub(super) struct EgressBatch<'a> {
    forwarder: &'a Forwarder,
    snap: &'a Snapshot,
    now: Instant,
    scratch: &'a mut Scratch,
    out: &'a mut dyn Outbox,
    open: Open<'a>,
}

/// Container that is being filled with frames.
enum Open<'a> {
    Nothing,
    /// Data datagram at the end of the outgoing buffer; its body begins at offset `body`.
    Data {
        peer: PeerId,
        encap: Encap<'a>,
        transport: &'a Transport,
        draft: Draft,
        body: usize,
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
        forwarder: &'a Forwarder,
        snap: &'a Snapshot,
        now: Instant,
        scratch: &'a mut Scratch,
        out: &'a mut dyn Outbox,
    ) -> Self {
        Self {
            forwarder,
            snap,
            now,
            scratch,
            out,
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
            Err(OffloadError::TooLong) => cut(self.snap.max_frame()),
            segments => segments,
        };
        let Ok(segments) = segments else {
            self.forwarder.counters.drop(DropReason::Offload);
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
    pub(super) fn ask(&mut self, to: Direction, frame: &[u8]) {
        self.forwarder.counters.count(match to.protocol {
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
            return self.snap.max_frame();
        };
        // Most small frames need no look at the path MTU.
        if frame.len() <= ethernet::HEADER_LEN + usize::from(MIN_INNER_MTU) {
            return self.snap.max_frame();
        }
        let mtu = self.snap.mtu_to(peer);
        if mtu == self.snap.mtu {
            return self.snap.max_frame();
        }
        let payload = EthernetView::new_checked(frame).map_or(0, |view| view.payload().len());
        frame.len() - payload + usize::from(mtu)
    }

    /// Packs a frame that needs no offload. One that exceeds the path MTU is fragmented, or its sender gets an ICMP
    /// error.
    fn put_plain(&mut self, to: Destination, bytes: &[u8], longest: usize) {
        let counters = &self.forwarder.counters;
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
                if lock(&self.forwarder.too_big_bucket).take(self.now) {
                    counters.count(Counter::TooBigSent);
                    self.out.inject(InnerFrame::complete(&answer));
                }
            }
        }
    }

    fn put(&mut self, to: Destination, frame: InnerFrame<'_>) {
        self.make_room(to, frame.bytes.len());
        let forwarder = self.forwarder;
        match &mut self.open {
            Open::Nothing => {}
            Open::Data { .. } => {
                push_frame(self.out.outgoing().buffer(), frame);
            }
            Open::Flood { frames } => {
                push_frame(&mut self.scratch.body, frame);
                *frames += 1;
            }
            Open::Pending { peer } => forwarder.keep(*peer, frame, self.now),
            Open::Unknown { .. } => forwarder.counters.drop(DropReason::NoRoute),
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
                let buffer = self.out.outgoing().buffer();
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
            self.forwarder.counters.drop(DropReason::Offload);
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
            (
                Open::Data {
                    peer, body, room, ..
                },
                Destination::Peer(to),
            ) => *peer == to && self.out.outgoing().end() - body + FRAME_PREFIX_LEN + len <= *room,
            (Open::Flood { frames }, Destination::Flood) => {
                let used = self.scratch.body.len() - FLOOD_PREFIX_LEN;
                *frames == 0 || used + FRAME_PREFIX_LEN + len <= full_body(self.snap)
            }
            (Open::Pending { peer } | Open::Unknown { peer }, Destination::Peer(to)) => *peer == to,
            _ => false,
        }
    }

    fn begin(&mut self, to: Destination) {
        let Destination::Peer(peer) = to else {
            self.scratch.body.clear();
            self.forwarder
                .begin_flood(self.snap, &mut self.scratch.body);
            self.open = Open::Flood { frames: 0 };
            return;
        };
        self.open = match ready(self.snap, peer, self.now) {
            Ok(()) => {
                if !lock(&self.forwarder.pending).is_empty() {
                    self.send_waiting(peer);
                }
                self.begin_data(peer)
            }
            Err(Unreachable::UnknownPeer(_)) => Open::Unknown { peer },
            Err(Unreachable::NoRoute(_)) => Open::Pending { peer },
            Err(Unreachable::NoSession(missing)) => {
                self.forwarder.need_session(missing, self.now, self.out);
                Open::Pending { peer }
            }
        };
    }

    fn begin_data(&mut self, peer: PeerId) -> Open<'a> {
        let Ok(transport) = self.snap.transport(peer, self.now) else {
            return Open::Pending { peer };
        };
        let outgoing = self.out.outgoing();
        let Ok(encap) = Encap::begin(self.snap, peer, self.now, outgoing) else {
            return Open::Pending { peer };
        };
        let buffer = outgoing.buffer();
        let draft = transport.begin(Kind::Data, MAX_HOPS, buffer);
        let passes = encap.room().saturating_sub(SEALED);
        Open::Data {
            peer,
            encap,
            transport,
            draft,
            body: buffer.len(),
            room: passes.min(full_body(self.snap)),
        }
    }

    /// Sends the open datagram.
    pub(super) fn close(&mut self) {
        match core::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing | Open::Pending { .. } | Open::Unknown { .. } => {}
            Open::Flood { frames } => {
                let counters = &self.forwarder.counters;
                counters.count_many(Counter::FramesFlooded, frames);
                self.forwarder
                    .originate_flood(self.snap, self.now, &self.scratch.body, self.out);
            }
            Open::Data {
                peer,
                encap,
                transport,
                draft,
                body,
                ..
            } => {
                let sent = if draft.len(self.out.outgoing().buffer()) + TAG_LEN > encap.room() {
                    self.finish_fragmented((peer, transport), encap, body)
                } else {
                    self.finish(encap, transport, draft)
                };
                match sent {
                    Ok(()) => self.forwarder.counters.count(Counter::DataSent),
                    Err(error) => self.forwarder.undelivered(error, self.now, self.out),
                }
            }
        }
    }

    fn finish(
        &mut self,
        encap: Encap<'a>,
        transport: &Transport,
        draft: Draft,
    ) -> Result<(), SendError> {
        let outgoing = self.out.outgoing();
        if let Err(error) = transport.finish(draft, 0, self.now, outgoing.buffer()) {
            encap.abandon(outgoing);
            return Err(error.into());
        }
        encap.send(self.forwarder, self.now, outgoing)?;
        Ok(())
    }

    /// Removes a datagram that exceeds the path MTU from the buffer, and sends its body in fragments.
    fn finish_fragmented(
        &mut self,
        peer: (PeerId, &Transport),
        encap: Encap<'a>,
        body: usize,
    ) -> Result<(), SendError> {
        let longest = encap.room();
        let outgoing = self.out.outgoing();
        let content = &mut self.scratch.body;
        content.clear();
        content.extend_from_slice(outgoing.buffer().get(body..).unwrap_or_default());
        encap.abandon(outgoing);
        self.forwarder
            .send_data_fragmented(self.snap, peer, longest, content, self.now, self.out)
    }

    /// Sends the frames that wait for `peer`.
    pub(super) fn send_waiting(&mut self, peer: PeerId) {
        let waiting = lock(&self.forwarder.pending).take(peer);
        for kept in &waiting {
            let to = Destination::Peer(peer);
            if !self.takes(to, kept.bytes.len()) {
                self.close();
                self.open = self.begin_data(peer);
            }
            if let Open::Data { .. } = self.open {
                push_frame(self.out.outgoing().buffer(), kept.frame());
                self.forwarder.counters.count(Counter::FramesPended);
            }
        }
        self.close();
    }
}

impl Forwarder {
    fn keep(&self, peer: PeerId, frame: InnerFrame<'_>, now: Instant) {
        let mut pending = lock(&self.pending);
        let expired = pending.expire(now);
        self.counters.drop_many(DropReason::PendingExpired, expired);
        if !pending.push(peer, frame, now) {
            self.counters.drop(DropReason::PendingFull);
        }
    }
}

/// Returns the length of a body with one full-size frame without a VLAN tag. A datagram holds no more, unless a
/// longer frame travels alone.
fn full_body(snap: &Snapshot) -> usize {
    FRAME_PREFIX_LEN + ethernet::HEADER_LEN + usize::from(snap.mtu)
}

/// Checks that frames for `peer` can be sent now.
pub(super) fn ready(snap: &Snapshot, peer: PeerId, now: Instant) -> Result<(), Unreachable> {
    snap.transport(peer, now)?;
    snap.first_hop(peer, now)?;
    Ok(())
}
