//! Broadcasts: sealed anew for each neighbour, down the tree of their origin, each at most once per router.

use core::sync::atomic::Ordering::Relaxed;

use super::ingress::Arrival;
use super::snapshot::Snapshot;
use super::{Counter, DropReason, Forwarder, Outbox, lock};
use crate::fdb::Owner;
use crate::ids::PeerId;
use crate::limits::MAX_HOPS;
use crate::time::Instant;
use crate::wire::datagram::{FloodPrefix, Kind};

impl Forwarder {
    /// Begins the body of a broadcast of our own.
    pub(super) fn begin_flood(&self, snap: &Snapshot, body: &mut Vec<u8>) {
        let prefix = FloodPrefix {
            origin: snap.me,
            epoch: snap.epoch,
            sequence: self.flood_sequence.fetch_add(1, Relaxed),
        };
        prefix.encode(body);
    }

    /// Sends a broadcast of our own to our children.
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

    /// Takes a Flood datagram: to the local port, and down the tree.
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
        let Some((prefix, frames)) = FloodPrefix::split(opened.body) else {
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
        self.deliver(Owner::Peer(origin), frames, now, out);

        let mut targets = snap.flood_targets(origin, Some(sender), now).peekable();
        if targets.peek().is_none() {
            return;
        }
        let Some(hops) = opened.header.hop_limit.min(MAX_HOPS).checked_sub(1) else {
            self.counters.drop(DropReason::HopLimit);
            return;
        };
        for target in targets {
            if self.send_flood(snap, target, hops, opened.body, now, out) {
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
        let start = outgoing.end();
        let sealed = snap.neighbour(target, now).map_err(Into::into);
        let sealed = sealed.and_then(|hop| {
            let buffer = outgoing.buffer();
            hop.transport
                .seal(Kind::Flood, hops, &[], body, now, buffer)?;
            Ok(hop.address)
        });
        match sealed {
            Ok(address) => {
                outgoing.commit(address, start);
                true
            }
            Err(error) => {
                self.undelivered(error, now, out);
                false
            }
        }
    }
}
