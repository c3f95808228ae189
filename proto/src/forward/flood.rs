//! Broadcasts: forwarded along the tree of their origin, sealed separately for each neighbour, at most once per
//! router.

use core::sync::atomic::Ordering::Relaxed;

use super::arrival::{Arrival, SEALED, SendError};
use super::snapshot::Snapshot;
use super::{Counter, DropReason, Forwarder, Outbox, lock};
use crate::fdb::Owner;
use crate::ids::PeerId;
use crate::limits::MAX_HOPS;
use crate::time::Instant;
use crate::wire::datagram::{FloodPrefix, Kind};

impl Forwarder {
    /// Begins the body of a broadcast that originates here.
    pub(super) fn begin_flood(&self, snap: &Snapshot, body: &mut Vec<u8>) {
        let prefix = FloodPrefix {
            origin: snap.me,
            epoch: snap.epoch,
            sequence: self.flood_sequence.fetch_add(1, Relaxed),
        };
        prefix.encode(body);
    }

    /// Sends a broadcast that originates here to the children in this router's tree.
    pub(super) fn originate_flood(
        &self,
        snap: &Snapshot,
        now: Instant,
        body: &[u8],
        out: &mut dyn Outbox,
    ) {
        for target in snap.flood_targets(snap.me, None, now) {
            self.send_flood(snap, target, MAX_HOPS, body, now, out);
        }
    }

    /// Processes a Flood datagram.
    pub(super) fn flood_in(
        &self,
        snap: &Snapshot,
        arrival: Arrival,
        datagram: &mut [u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) {
        let Some((sender, opened)) = self.open(snap, arrival, datagram, 0, now, out) else {
            return;
        };
        let from = (sender, opened.header.hop_limit);
        self.flooded(snap, from, opened.body, now, out);
    }

    /// Processes the content of a neighbour's Flood datagram: delivers it to the local port and forwards it down the
    /// tree.
    pub(super) fn flooded(
        &self,
        snap: &Snapshot,
        (sender, hop_limit): (PeerId, u8),
        body: &[u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) {
        let Some((prefix, frames)) = FloodPrefix::split(body) else {
            self.counters.drop(DropReason::Malformed);
            return;
        };
        if prefix.origin == snap.me {
            self.counters.drop(DropReason::FloodOwn);
            return;
        }
        let FloodPrefix {
            origin,
            epoch,
            sequence,
        } = prefix;
        if !lock(&self.flood_seen).is_fresh(origin, epoch, sequence, now) {
            self.counters.drop(DropReason::FloodDuplicate);
            return;
        }
        self.deliver(snap, Owner::Peer(origin), frames, now, out);

        let mut targets = snap.flood_targets(origin, Some(sender), now).peekable();
        if targets.peek().is_none() {
            return;
        }
        let Some(hops) = hop_limit.min(MAX_HOPS).checked_sub(1) else {
            self.counters.drop(DropReason::HopLimit);
            return;
        };
        for target in targets {
            if self.send_flood(snap, target, hops, body, now, out) {
                self.counters.count(Counter::FloodPassed);
            }
        }
    }

    fn send_flood(
        &self,
        snap: &Snapshot,
        target: PeerId,
        hops: u8,
        body: &[u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) -> bool {
        let outgoing = out.outgoing();
        let hop = snap.neighbour(target, now).map_err(SendError::from);
        let sent = hop.and_then(|hop| {
            if SEALED + body.len() > hop.datagram {
                return self.send_hop_fragmented(hop, (Kind::Flood, hops), body, now, outgoing);
            }
            let start = outgoing.end();
            let buffer = outgoing.buffer();
            hop.transport
                .seal(Kind::Flood, hops, &[], body, now, buffer)?;
            outgoing.commit(hop.address, start);
            Ok(())
        });
        if let Err(error) = sent {
            self.undelivered(error, now, out);
        }
        sent.is_ok()
    }
}
