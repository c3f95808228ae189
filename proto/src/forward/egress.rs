//! Frames of the local port on their way out.

use super::envelope::Envelope;
use super::pending::Waiting;
use super::relay::SendError;
use super::snapshot::{Snapshot, Unreachable};
use super::{Counter, DropReason, Forwarder, Outbox, Scratch, lock};
use crate::fdb::Owner;
use crate::frame::ethernet::{self, EthernetView};
use crate::ids::PeerId;
use crate::limits::{MAX_FRAME, MAX_HOPS, MAX_SUPER_FRAME};
use crate::offload::{PortFrame, Segments};
use crate::session::transport::{Draft, Transport};
use crate::time::Instant;
use crate::wire::datagram::{
    FLOOD_PREFIX_LEN, FRAME_PREFIX_LEN, InnerFrame, Kind, push_frame, push_frame_prefix,
};

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Peer(PeerId),
    Everybody,
}

impl Forwarder {
    /// Sends frames of the local port on their way, in order. A super-frame is cut in frames of the mesh's MTU.
    pub fn egress(
        &self,
        snap: &Snapshot,
        frames: &mut dyn Iterator<Item = PortFrame<'_>>,
        now: Instant,
        scratch: &mut Scratch,
        out: &mut dyn Outbox,
    ) {
        let mut turn = Turn::new(self, snap, now, scratch, out);
        for frame in frames {
            self.counters.count(Counter::FramesIn);
            match self.classify(snap, &frame, now) {
                Ok(Some(target)) => turn.pack(target, &frame),
                Ok(None) => {}
                Err(reason) => self.counters.drop(reason),
            }
        }
        turn.close();
    }

    /// Sends frames that waited for a session and have one now, and drops those that waited too long.
    ///
    /// To be called when a snapshot with a new session or path is published.
    pub fn flush_pending(
        &self,
        snap: &Snapshot,
        now: Instant,
        scratch: &mut Scratch,
        out: &mut dyn Outbox,
    ) {
        let waiting = {
            let mut pending = lock(&self.pending);
            let expired = pending.expire(now);
            self.counters.drop_many(DropReason::PendingExpired, expired);
            pending.peers()
        };
        let mut turn = Turn::new(self, snap, now, scratch, out);
        for peer in waiting {
            if ready(snap, peer, now).is_ok() {
                turn.send_waiting(peer);
            }
        }
        turn.close();
    }

    /// Seals a payload of control for `peer` and sends it by the best path.
    ///
    /// # Errors
    /// When there is no path or no session.
    pub fn send_probe(
        &self,
        snap: &Snapshot,
        peer: PeerId,
        payload: &[u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) -> Result<(), SendError> {
        let transport = snap.transport(peer, now)?;
        self.dispatch(snap, peer, now, out, |buffer| {
            transport.seal(Kind::Probe, MAX_HOPS, &[], payload, now, buffer)
        })
    }

    /// Where `frame` goes; `None` when that is nowhere, rightly.
    fn classify(
        &self,
        snap: &Snapshot,
        frame: &PortFrame<'_>,
        now: Instant,
    ) -> Result<Option<Target>, DropReason> {
        let view = EthernetView::new_checked(frame.bytes).map_err(|_| DropReason::Runt)?;
        if frame.bytes.len() > longest(snap, frame) {
            return Err(DropReason::TooBig);
        }
        if view.source().is_group() {
            return Err(DropReason::GroupSource);
        }
        if view.is_link_local() {
            return Err(DropReason::LinkLocal);
        }
        self.learn(view.source(), Owner::Local, now);
        if !view.destination().is_group() {
            match self.fdb.lookup(view.destination(), now) {
                Some(Owner::Peer(peer)) => return Ok(Some(Target::Peer(peer))),
                Some(Owner::Local) => {
                    self.counters.count(Counter::FramesLocal);
                    return Ok(None);
                }
                None => {}
            }
        }
        if snap.flood_targets(snap.me, None, now).next().is_none() {
            return Ok(None);
        }
        if !lock(&self.flood_bucket).take(now) {
            return Err(DropReason::FloodRate);
        }
        Ok(Some(Target::Everybody))
    }
}

/// The longest frame the port may hand over: of the mesh's MTU, unless it is to be cut.
fn longest(snap: &Snapshot, frame: &PortFrame<'_>) -> usize {
    if frame.is_super_frame() {
        MAX_SUPER_FRAME
    } else {
        snap.max_frame().min(MAX_FRAME)
    }
}

/// Whether frames for `peer` can be sent now.
fn ready(snap: &Snapshot, peer: PeerId, now: Instant) -> Result<(), Unreachable> {
    snap.transport(peer, now)?;
    snap.exit(peer, now)?;
    Ok(())
}

/// One call of the lane: frames for the same target share a datagram as long as they fit and follow one another.
struct Turn<'a> {
    forwarder: &'a Forwarder,
    snap: &'a Snapshot,
    now: Instant,
    scratch: &'a mut Scratch,
    out: &'a mut dyn Outbox,
    open: Open<'a>,
}

/// What frames are being put in.
enum Open<'a> {
    Nothing,
    /// A datagram at the end of the outgoing buffer, whose body began at byte `body`.
    Data {
        peer: PeerId,
        envelope: Envelope<'a>,
        transport: &'a Transport,
        draft: Draft,
        body: usize,
    },
    /// The body of a broadcast, in the scratch.
    Flood {
        frames: u64,
    },
    /// The queue of frames that wait for a session.
    Pending {
        peer: PeerId,
    },
    /// A peer that is not known: its frames are dropped.
    Unknown {
        peer: PeerId,
    },
}

impl<'a> Turn<'a> {
    fn new(
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

    fn pack(&mut self, target: Target, frame: &PortFrame<'_>) {
        if frame.header.is_plain() {
            self.put(target, InnerFrame::complete(frame.bytes));
            return;
        }
        let Ok(segments) = Segments::new(frame.bytes, &frame.header, self.snap.max_frame()) else {
            self.forwarder.counters.drop(DropReason::Offload);
            return;
        };
        if let Some(bytes) = segments.unchanged() {
            let partial = segments.is_partial();
            return self.put(target, InnerFrame { bytes, partial });
        }
        for index in 0..segments.len() {
            self.put_segment(target, &segments, index);
        }
    }

    /// Puts one frame in the datagram that is open for `target`, or in a new one.
    fn put(&mut self, target: Target, frame: InnerFrame<'_>) {
        self.make_room(target, frame.bytes.len());
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

    fn put_segment(&mut self, target: Target, segments: &Segments<'_>, index: usize) {
        let len = segments.frame_len(index);
        self.make_room(target, len);
        if let Open::Data { .. } = self.open {
            // The bulk of all bytes: straight to where they are sealed.
            let buffer = self.out.outgoing().buffer();
            push_frame_prefix(buffer, len, segments.is_partial());
            segments.write(index, buffer);
            return;
        }
        let mut bytes = core::mem::take(&mut self.scratch.segment);
        bytes.clear();
        segments.write(index, &mut bytes);
        let partial = segments.is_partial();
        self.put(
            target,
            InnerFrame {
                bytes: &bytes,
                partial,
            },
        );
        self.scratch.segment = bytes;
    }

    /// Sees to it that what is open is for `target` and has room for a frame of `len` bytes.
    fn make_room(&mut self, target: Target, len: usize) {
        if !self.takes(target, len) {
            self.close();
            self.begin(target);
        }
    }

    fn takes(&mut self, target: Target, len: usize) -> bool {
        match (&self.open, target) {
            (Open::Data { peer, body, .. }, Target::Peer(to)) => {
                *peer == to && fits(self.snap, self.out.outgoing().end() - body, len)
            }
            (Open::Flood { frames }, Target::Everybody) => {
                let used = self.scratch.body.len() - FLOOD_PREFIX_LEN;
                *frames == 0 || fits(self.snap, used, len)
            }
            (Open::Pending { peer } | Open::Unknown { peer }, Target::Peer(to)) => *peer == to,
            _ => false,
        }
    }

    fn begin(&mut self, target: Target) {
        let Target::Peer(peer) = target else {
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
        let Ok(envelope) = Envelope::begin(self.snap, peer, self.now, outgoing) else {
            return Open::Pending { peer };
        };
        let buffer = outgoing.buffer();
        let draft = transport.begin(Kind::Data, MAX_HOPS, buffer);
        Open::Data {
            peer,
            envelope,
            transport,
            draft,
            body: buffer.len(),
        }
    }

    /// Sends what is open.
    fn close(&mut self) {
        match core::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing | Open::Pending { .. } | Open::Unknown { .. } => {}
            Open::Flood { frames } => {
                let counters = &self.forwarder.counters;
                counters.count_many(Counter::FramesFlooded, frames);
                self.forwarder
                    .originate_flood(self.snap, self.now, &self.scratch.body, self.out);
            }
            Open::Data {
                envelope,
                transport,
                draft,
                ..
            } => self.finish(envelope, transport, draft),
        }
    }

    fn finish(&mut self, envelope: Envelope<'a>, transport: &Transport, draft: Draft) {
        let (forwarder, now) = (self.forwarder, self.now);
        let outgoing = self.out.outgoing();
        let sealed = match transport.finish(draft, 0, now, outgoing.buffer()) {
            Ok(()) => envelope.send(forwarder, now, outgoing),
            Err(error) => {
                envelope.abandon(outgoing);
                Err(error)
            }
        };
        match sealed {
            Ok(()) => forwarder.counters.count(Counter::DataSent),
            Err(error) => forwarder.undelivered(error.into(), now, self.out),
        }
    }

    /// Sends the frames that waited for `peer`.
    fn send_waiting(&mut self, peer: PeerId) {
        let waiting: Waiting = lock(&self.forwarder.pending).take(peer);
        for kept in &waiting {
            let target = Target::Peer(peer);
            if !self.takes(target, kept.bytes.len()) {
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

/// Whether a frame of `len` bytes still fits a body in which `used` bytes are taken.
///
/// A datagram holds as much as one full frame of the mesh without a VLAN tag; a longer frame travels alone.
fn fits(snap: &Snapshot, used: usize, len: usize) -> bool {
    let room = FRAME_PREFIX_LEN + ethernet::HEADER_LEN + usize::from(snap.mtu);
    used + FRAME_PREFIX_LEN + len <= room
}
