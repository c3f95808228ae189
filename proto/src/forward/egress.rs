//! Frames of the local port on their way out.

use super::relay::SendError;
use super::snapshot::{Snapshot, Unreachable};
use super::{Counter, DropReason, Forwarder, Outbox, Scratch, lock};
use crate::fdb::Owner;
use crate::frame::ethernet::{self, EthernetView};
use crate::ids::PeerId;
use crate::limits::MAX_FRAME;
use crate::time::Instant;
use crate::wire::datagram::{FLOOD_PREFIX_LEN, FRAME_PREFIX_LEN, Frames, Kind, push_frame};

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Peer(PeerId),
    Everybody,
}

/// Frames gathered for one datagram, in the body of a [`Scratch`].
#[derive(Default)]
struct Pack {
    target: Option<Target>,
    frames: u64,
}

impl Forwarder {
    /// Sends frames of the local port on their way, in order.
    pub fn egress(
        &self,
        snap: &Snapshot,
        frames: &mut dyn Iterator<Item = &[u8]>,
        now: Instant,
        scratch: &mut Scratch,
        out: &mut dyn Outbox,
    ) {
        let mut pack = Pack::default();
        for frame in frames {
            self.counters.count(Counter::FramesIn);
            match self.classify(snap, frame, now) {
                Ok(Some(target)) => {
                    if pack.target != Some(target) || !fits(snap, target, frame, scratch) {
                        self.send_pack(snap, &pack, now, scratch, out);
                        pack = self.begin_pack(snap, target, scratch);
                    }
                    push_frame(&mut scratch.body, frame);
                    pack.frames += 1;
                }
                Ok(None) => {}
                Err(reason) => self.counters.drop(reason),
            }
        }
        self.send_pack(snap, &pack, now, scratch, out);
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
        for peer in waiting {
            if ready(snap, peer, now).is_ok() {
                self.send_waiting(snap, peer, now, scratch, out);
            }
        }
    }

    /// Where `frame` goes; `None` when that is nowhere, rightly.
    fn classify(
        &self,
        snap: &Snapshot,
        frame: &[u8],
        now: Instant,
    ) -> Result<Option<Target>, DropReason> {
        let view = EthernetView::new_checked(frame).map_err(|_| DropReason::Runt)?;
        if frame.len() > MAX_FRAME || frame.len() > snap.max_frame() {
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

    fn begin_pack(&self, snap: &Snapshot, target: Target, scratch: &mut Scratch) -> Pack {
        scratch.body.clear();
        if target == Target::Everybody {
            self.begin_flood(snap, &mut scratch.body);
        }
        Pack {
            target: Some(target),
            frames: 0,
        }
    }

    fn send_pack(
        &self,
        snap: &Snapshot,
        pack: &Pack,
        now: Instant,
        scratch: &mut Scratch,
        out: &mut dyn Outbox,
    ) {
        match pack.target {
            None => {}
            Some(Target::Everybody) => {
                self.counters
                    .count_many(Counter::FramesFlooded, pack.frames);
                self.originate_flood(snap, now, scratch, out);
            }
            Some(Target::Peer(peer)) => match ready(snap, peer, now) {
                Ok(()) => {
                    if !lock(&self.pending).is_empty() {
                        self.send_waiting(snap, peer, now, &mut Scratch::default(), out);
                    }
                    self.send_data(snap, peer, now, scratch, out);
                }
                Err(Unreachable::UnknownPeer(_)) => {
                    self.counters.drop_many(DropReason::NoRoute, pack.frames);
                }
                Err(Unreachable::NoRoute(_)) => self.keep(peer, &scratch.body, now),
                Err(Unreachable::NoSession(missing)) => {
                    self.keep(peer, &scratch.body, now);
                    self.need_session(missing, now, out);
                }
            },
        }
    }

    /// Seals the frames in `scratch.body` for `peer` and sends them.
    fn send_data(
        &self,
        snap: &Snapshot,
        peer: PeerId,
        now: Instant,
        scratch: &mut Scratch,
        out: &mut dyn Outbox,
    ) {
        let Scratch { body, datagram } = scratch;
        match self.seal_to_peer(snap, peer, Kind::Data, body, now, datagram, out) {
            Ok(()) => self.counters.count(Counter::DataSent),
            Err(error) => self.undelivered(error, now, out),
        }
    }

    fn keep(&self, peer: PeerId, body: &[u8], now: Instant) {
        let mut pending = lock(&self.pending);
        let expired = pending.expire(now);
        self.counters.drop_many(DropReason::PendingExpired, expired);
        for frame in Frames::new(body) {
            if !pending.push(peer, frame, now) {
                self.counters.drop(DropReason::PendingFull);
            }
        }
    }

    fn send_waiting(
        &self,
        snap: &Snapshot,
        peer: PeerId,
        now: Instant,
        scratch: &mut Scratch,
        out: &mut dyn Outbox,
    ) {
        let waiting = lock(&self.pending).take(peer);
        let target = Target::Peer(peer);
        scratch.body.clear();
        for (_, frame) in &waiting {
            if !scratch.body.is_empty() && !fits(snap, target, frame, scratch) {
                self.send_data(snap, peer, now, scratch, out);
                scratch.body.clear();
            }
            push_frame(&mut scratch.body, frame);
            self.counters.count(Counter::FramesPended);
        }
        if !scratch.body.is_empty() {
            self.send_data(snap, peer, now, scratch, out);
        }
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
        scratch: &mut Scratch,
        out: &mut dyn Outbox,
    ) -> Result<(), SendError> {
        let buffer = &mut scratch.datagram;
        self.seal_to_peer(snap, peer, Kind::Probe, payload, now, buffer, out)
    }
}

/// Whether frames for `peer` can be sent now.
fn ready(snap: &Snapshot, peer: PeerId, now: Instant) -> Result<(), Unreachable> {
    snap.transport(peer, now)?;
    snap.exit(peer, now)?;
    Ok(())
}

/// Whether `frame` still fits the datagram that is being gathered.
///
/// A datagram holds as much as one full frame of the mesh without a VLAN tag; a longer frame travels alone.
fn fits(snap: &Snapshot, target: Target, frame: &[u8], scratch: &Scratch) -> bool {
    let prefix = match target {
        Target::Peer(_) => 0,
        Target::Everybody => FLOOD_PREFIX_LEN,
    };
    let room = prefix + FRAME_PREFIX_LEN + ethernet::HEADER_LEN + usize::from(snap.mtu);
    scratch.body.len() + FRAME_PREFIX_LEN + frame.len() <= room
}
