//! Egress: frames from the local port to other routers.

use super::arrival::SendError;
use super::batch::{Destination, EgressBatch, ready};
use super::snapshot::Snapshot;
use super::{Counter, DropReason, Forwarder, Outbox, Scratch, lock};
use crate::announced::question::{Direction, direct, is_resolution, observe};
use crate::fdb::Owner;
use crate::frame::ethernet::EthernetView;
use crate::ids::{Mac, PeerId};
use crate::limits::{MAX_FRAME, MAX_HOPS, MAX_SUPER_FRAME};
use crate::offload::PortFrame;
use crate::time::Instant;
use crate::wire::datagram::Kind;

impl Forwarder {
    /// Sends frames of the local port, in order. A super-frame is cut into frames of the mesh's MTU.
    pub fn egress(
        &self,
        snap: &Snapshot,
        frames: &mut dyn Iterator<Item = PortFrame<'_>>,
        now: Instant,
        scratch: &mut Scratch,
        out: &mut dyn Outbox,
    ) {
        let mut batch = EgressBatch::new(self, snap, now, scratch, out);
        for frame in frames {
            self.counters.count(Counter::FramesIn);
            match self.classify(snap, &frame, now) {
                Ok(Decision::Send(to)) => batch.pack(to, &frame),
                Ok(Decision::Ask(direction)) => batch.ask(direction, frame.bytes),
                Ok(Decision::Done) => {}
                Err(reason) => self.counters.drop(reason),
            }
        }
        batch.close();
    }

    /// Sends waiting frames whose peer has a session now, and drops those that waited too long.
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
        let mut batch = EgressBatch::new(self, snap, now, scratch, out);
        for peer in waiting {
            if ready(snap, peer, now).is_ok() {
                batch.send_waiting(peer);
            }
        }
        batch.close();
    }

    /// Seals a payload of the control plane for `peer` and sends it by the best path.
    ///
    /// # Errors
    /// [`SendError`] if there is no path to `peer` or no session with it.
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

    /// Decides where `frame` goes.
    fn classify(
        &self,
        snap: &Snapshot,
        frame: &PortFrame<'_>,
        now: Instant,
    ) -> Result<Decision, DropReason> {
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
        if self.underlay.carries(snap, &view) {
            return Err(DropReason::Underlay);
        }
        self.learn(view.source(), Owner::Local, now);
        let is_resolution = is_resolution(&view) && frame.header.is_plain();
        if !view.destination().is_group() {
            if is_resolution {
                observe(&self.announced, Owner::Local, &view, now);
            }
            return self.classify_unicast(snap, view.destination(), now);
        }
        if is_resolution && let Some(direction) = direct(&self.announced, &self.fdb, &view, now) {
            return if lock(&self.question_bucket).take(now) {
                Ok(Decision::Ask(direction))
            } else {
                Err(DropReason::QuestionLimited)
            };
        }
        let frames = frame.bytes.len().div_ceil(snap.max_frame().max(1));
        let frames = u64::try_from(frames).unwrap_or(u64::MAX);
        let take = || self.groups.take(view.destination(), frames, now);
        flood(snap, take, now)
    }

    fn classify_unicast(
        &self,
        snap: &Snapshot,
        destination: Mac,
        now: Instant,
    ) -> Result<Decision, DropReason> {
        match self.fdb.lookup(destination, now) {
            Some(Owner::Peer(peer)) => return Ok(Decision::Send(Destination::Peer(peer))),
            Some(Owner::Local) => {
                self.counters.count(Counter::FramesLocal);
                return Ok(Decision::Done);
            }
            None => {}
        }
        if let Some(Owner::Peer(peer)) = self.announced.owner(destination, now) {
            self.counters.count(Counter::FramesLocated);
            return Ok(Decision::Send(Destination::Peer(peer)));
        }
        let take = || match lock(&self.unknown_bucket).take(now) {
            true => Ok(()),
            false => Err(DropReason::UnknownLimited),
        };
        flood(snap, take, now)
    }
}

/// Destination of a frame that is not dropped.
enum Decision {
    Send(Destination),
    /// An ARP request or neighbour solicitation that goes only to the announced container.
    Ask(Direction),
    /// Nothing to send: delivered locally, or no neighbour to flood to.
    Done,
}

fn flood(
    snap: &Snapshot,
    take: impl FnOnce() -> Result<(), DropReason>,
    now: Instant,
) -> Result<Decision, DropReason> {
    if snap.flood_targets(snap.me, None, now).next().is_none() {
        return Ok(Decision::Done);
    }
    take()?;
    Ok(Decision::Send(Destination::Flood))
}

/// Returns the longest frame accepted from the port: one of the mesh's MTU, or a super-frame if it is to be
/// segmented.
fn longest(snap: &Snapshot, frame: &PortFrame<'_>) -> usize {
    if frame.is_super_frame() {
        MAX_SUPER_FRAME
    } else {
        snap.max_frame().min(MAX_FRAME)
    }
}
