//! Records between neighbours: what a new link is told, what is passed on, and how gaps are found.
//!
//! Each link keeps the set of origins whose newest record the neighbour lacks; a record is encoded when it is sent, so a
//! slow link always carries the newest state and its memory is bounded by the number of routers. Every few seconds the
//! digests of both ends are compared, and only where they differ a summary is exchanged.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::ids::{ConnId, PeerId};
use crate::limits::{MAX_GOSSIP_BATCH, MAX_RECORDS_PER_MESSAGE, MAX_WANT};
use crate::time::Instant;
use crate::topology::lsdb::{Lsdb, Merge};
use crate::topology::record::SignedRecord;
use crate::wire::message::{LinkMessage, Summary};

use super::Control;
use super::targets::Retry;

/// What gossip did, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    /// Records that told something new.
    pub accepted: u64,
    /// Records we had already.
    pub known: u64,
    /// Records refused: malformed, wrongly signed, or no room.
    pub refused: u64,
    /// Records refused without a look at their signature: their link brought too many forged ones.
    pub unverified: u64,
    /// Records put off because their router published too many.
    pub put_off: u64,
    /// Messages with a tag this version does not know.
    pub unknown: u64,
}

impl Control {
    /// A message arrived on a link that is up. Nothing in it, however wrong, ends the link.
    pub(super) fn handle_message(&mut self, conn: ConnId, message: LinkMessage, now: Instant) {
        match message {
            LinkMessage::Ping { nonce } => {
                if let Some(slot) = self.links.get_mut(conn) {
                    slot.send(&LinkMessage::Pong { nonce });
                }
            }
            LinkMessage::Pong { nonce } => {
                if let Some(slot) = self.links.get_mut(conn) {
                    slot.ponged(nonce, now);
                }
            }
            LinkMessage::Records(records) => self.take_records(conn, &records, now),
            LinkMessage::Digest(digest) => {
                if digest != self.digest() {
                    self.send_summary(conn);
                }
            }
            LinkMessage::Summary(summary) => self.take_summary(conn, &summary),
            LinkMessage::Want(wanted) => {
                if let Some(slot) = self.links.get_mut(conn) {
                    let held = wanted.into_iter().filter(|p| self.lsdb.get(p).is_some());
                    slot.dirty.extend(held);
                }
            }
            LinkMessage::Observed(address) => self.take_observed(conn, address, now),
            LinkMessage::Bye { reason } => {
                self.drop_link(conn, &printable(&reason), Retry::Later, now);
            }
            LinkMessage::Unknown(_) => self.gossip_counters.unknown += 1,
        }
    }

    /// A link came up: tell the neighbour what we have, and how we see it.
    pub(super) fn greet(&mut self, conn: ConnId) {
        if let Some(slot) = self.links.get_mut(conn) {
            let address = slot.address;
            slot.send(&LinkMessage::Observed(address));
        }
        self.send_summary(conn);
    }

    pub(super) fn send_digest(&mut self, conn: ConnId) {
        let digest = self.digest();
        if let Some(slot) = self.links.get_mut(conn) {
            slot.send(&LinkMessage::Digest(digest));
        }
    }

    /// The digest of what all members of this part of the mesh agree on once it is quiet.
    pub fn digest(&self) -> [u8; 16] {
        self.lsdb.digest(self.routes.reachable())
    }

    fn send_summary(&mut self, conn: ConnId) {
        let summaries = self.lsdb.summaries(self.routes.reachable());
        if let Some(slot) = self.links.get_mut(conn) {
            for summary in summaries {
                slot.send(&LinkMessage::Summary(summary));
            }
        }
    }

    fn take_summary(&mut self, conn: ConnId, summary: &Summary) {
        let missing = self.lsdb.missing(summary, &self.routes);
        let Some(slot) = self.links.get_mut(conn) else {
            return;
        };
        slot.dirty.extend(missing.send);
        for ask in missing.ask.chunks(MAX_WANT) {
            slot.send(&LinkMessage::Want(ask.to_vec()));
        }
    }

    fn take_records(&mut self, conn: ConnId, records: &[Vec<u8>], now: Instant) {
        for bytes in records {
            match SignedRecord::parse(bytes) {
                Ok(record) => self.take_record(record, Some(conn), now),
                Err(_) => self.gossip_counters.refused += 1,
            }
        }
    }

    /// A record from a neighbour (or from a peer's own handshake): keep it if it is newer, and pass it on.
    pub(super) fn take_record(&mut self, record: SignedRecord, from: Option<ConnId>, now: Instant) {
        let origin = record.origin();
        if origin == self.me {
            self.meet_own_record(&record, from, now);
            return;
        }
        // The signature is the dear part: look first whether the record is news at all.
        if !self.lsdb.wants(&record) {
            self.gossip_counters.known += 1;
            return;
        }
        // What a neighbour says of itself while it links costs it a handshake; everything else is free for its sender.
        if from.is_some() && !self.lsdb.is_within_rate(&origin, now) {
            self.gossip_counters.put_off += 1;
            return;
        }
        if !self.lsdb.has_room_for(&origin) {
            self.gossip_counters.refused += 1;
            return;
        }
        if !self.verify(&record, from, now) {
            return;
        }
        let restarted = self
            .body_of(&origin)
            .is_some_and(|old| old.version.epoch < record.body().version.epoch);
        let attached = self
            .body_of(&origin)
            .map(|old| old.attached != record.body().attached);
        self.held_dirty |= attached.unwrap_or(true);
        match self.lsdb.insert(record, now) {
            Merge::Newer => {
                self.gossip_counters.accepted += 1;
                if restarted {
                    // Its keys are gone; frames would go into a session nobody holds.
                    self.sessions.forget(origin);
                }
                self.spread(origin, from);
                self.topology_dirty = true;
            }
            Merge::Same | Merge::Older => self.gossip_counters.known += 1,
            Merge::Refused(_) => self.gossip_counters.refused += 1,
        }
    }

    /// Whether the record's signature is right; counts it as refused if not. A link that brings forgery after forgery
    /// gets no more of our time: its records are refused unseen until it has been better for a while.
    pub(super) fn verify(
        &mut self,
        record: &SignedRecord,
        from: Option<ConnId>,
        now: Instant,
    ) -> bool {
        let slot = from.and_then(|conn| self.links.get_mut(conn));
        if slot.as_ref().is_some_and(|slot| !slot.is_credible(now)) {
            self.gossip_counters.unverified += 1;
            return false;
        }
        let good = self.verifier.verify(record).is_ok();
        if !good {
            self.gossip_counters.refused += 1;
            if let Some(slot) = slot {
                slot.forged(now);
            }
        }
        good
    }

    /// Marks an origin's record as news for every neighbour but the one it came from.
    pub(super) fn spread(&mut self, origin: PeerId, from: Option<ConnId>) {
        for (conn, slot) in self.links.iter_mut() {
            if slot.up && Some(conn) != from {
                slot.dirty.insert(origin);
            }
        }
    }

    pub(super) fn publish_own(&mut self, record: SignedRecord, now: Instant) {
        let me = self.me;
        self.lsdb.insert(record, now);
        self.spread(me, None);
        self.topology_dirty = true;
    }

    /// Sends what waits, link by link, as far as each has room.
    pub(super) fn send_gossip(&mut self) {
        let mut conns = Vec::new();
        for (conn, slot) in self
            .links
            .iter_mut()
            .filter(|(_, slot)| slot.up && !slot.dirty.is_empty())
        {
            while slot.room() > 0 && !slot.dirty.is_empty() {
                let records = next_batch(&mut slot.dirty, &self.lsdb);
                if !records.is_empty() {
                    slot.send(&LinkMessage::Records(records));
                }
            }
            conns.push(conn);
        }
        for conn in conns {
            self.drain_link(conn);
        }
    }

    fn take_observed(&mut self, conn: ConnId, address: SocketAddr, now: Instant) {
        let Some(peer) = self.links.get(conn).and_then(|slot| slot.peer) else {
            return;
        };
        // TCP sees our ephemeral port; what others may dial is the address with our own port.
        let address = SocketAddr::new(address.ip(), self.config.port);
        if self.observed.saw(peer, address, false, now) {
            self.refresh_endpoints();
        }
    }
}

/// The text without control characters, which could write anything on an operator's terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Takes origins off the set until a message is full.
fn next_batch(dirty: &mut BTreeSet<PeerId>, lsdb: &Lsdb) -> Vec<Vec<u8>> {
    let (mut records, mut size) = (Vec::new(), 0);
    while size < MAX_GOSSIP_BATCH && records.len() < MAX_RECORDS_PER_MESSAGE {
        let Some(origin) = dirty.pop_first() else {
            break;
        };
        if let Some(record) = lsdb.get(&origin) {
            size += record.bytes().len();
            records.push(record.bytes().to_vec());
        }
    }
    records
}
