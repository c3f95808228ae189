//! Records between neighbours: what a new link is told, which records are taken, and how gaps are found.
//!
//! Every few seconds the digests of both ends are compared, and where they differ hashes of ever smaller parts, until the
//! differences are found. What one of them lacks is not sent then, but named: the same may be on its way from another
//! neighbour, and whoever lacks it asks one. How news are passed on is in [`super::spread`].

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::ids::{ConnId, PeerId, Version};
use crate::limits::{COALESCE, MAX_ASKED_WHEN_FULL};
use crate::time::Instant;
use crate::topology::lsdb::Giver;
use crate::topology::lsdb::{Merge, Refusal};
use crate::topology::record::SignedRecord;
use crate::wire::digest_tree::DigestNode;
use crate::wire::message::{Hashes, LinkMessage, Summary};
use crate::wire::topic::{RecordKey, Topic};

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
                    let hashes = self.lsdb.hashes(DigestNode::ROOT);
                    self.send_to(conn, [LinkMessage::Hashes(hashes)]);
                }
            }
            LinkMessage::Hashes(hashes) => self.take_hashes(conn, &hashes, now),
            LinkMessage::Summary(summary) => self.take_summary(conn, &summary, now),
            LinkMessage::Want(wanted) => {
                if let Some(slot) = self.links.get_mut(conn) {
                    let held = wanted
                        .into_iter()
                        .filter(|key| self.lsdb.get(*key).is_some());
                    slot.untold.send_all(held, now);
                }
            }
            LinkMessage::Have(held) => self.take_have(conn, &held, now),
            LinkMessage::Wanted(wanted) => self.take_wanted(conn, wanted, now),
            LinkMessage::Unicast { hops, bytes } => self.take_unicast(conn, hops, bytes, now),
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
        // One end compares, for both.
        if self.links.get(conn).is_some_and(|slot| slot.outbound) {
            self.send_digest(conn);
        }
    }

    pub(super) fn send_digest(&mut self, conn: ConnId) {
        let digest = self.digest();
        if let Some(slot) = self.links.get_mut(conn) {
            slot.send(&LinkMessage::Digest(digest));
        }
    }

    /// The digest of what all members of this part of the mesh agree on once it is quiet.
    pub fn digest(&self) -> [u8; 16] {
        self.lsdb.digest()
    }

    pub(super) fn send_to(
        &mut self,
        conn: ConnId,
        messages: impl IntoIterator<Item = LinkMessage>,
    ) {
        if let Some(slot) = self.links.get_mut(conn) {
            messages.into_iter().for_each(|message| slot.send(&message));
        }
    }

    fn take_hashes(&mut self, conn: ConnId, hashes: &Hashes, now: Instant) {
        let closer = self.lsdb.closer(hashes);
        self.send_to(conn, closer.hashes.into_iter().map(LinkMessage::Hashes));
        self.send_to(conn, closer.lists.into_iter().map(LinkMessage::Summary));
        if let Some(slot) = self.links.get_mut(conn) {
            slot.lacks(closer.lacked, now);
        }
    }

    fn take_summary(&mut self, conn: ConnId, summary: &Summary, now: Instant) {
        let mut missing = self.lsdb.missing(summary);
        if self.lsdb.is_full(now) {
            // There is hardly room for what is not known: a few at a time, of any origin.
            let (known, mut unknown): (Vec<_>, Vec<_>) = missing
                .ask
                .into_iter()
                .partition(|(key, _)| self.lsdb.get(*key).is_some());
            let spare = unknown.len().saturating_sub(MAX_ASKED_WHEN_FULL);
            if spare > 0 {
                let first = usize::try_from(self.entropy.u64() % spare as u64).unwrap_or_default();
                unknown.rotate_left(first);
                unknown.truncate(MAX_ASKED_WHEN_FULL);
            }
            missing.ask = known.into_iter().chain(unknown).collect();
        }
        if let Some(slot) = self.links.get_mut(conn) {
            slot.lacks(missing.lacked, now);
            slot.untold.send_all(missing.forked, now);
        }
        self.ask(conn, missing.ask, now);
    }

    fn take_records(&mut self, conn: ConnId, records: &[Vec<u8>], now: Instant) {
        let mut strangers = BTreeMap::new();
        for bytes in records {
            match self.verifier.parse(bytes) {
                Ok(record) if self.is_stranger(&record) => {
                    // Who says that? Its identity will come first.
                    let identity = RecordKey::new(record.origin(), Topic::IDENTITY);
                    strangers.insert(identity, Version::default());
                    strangers.insert(record.key(), record.version());
                    self.gossip_counters.put_off += 1;
                }
                Ok(record) => self.take_record(record, Some(conn), now),
                Err(_) => self.gossip_counters.refused += 1,
            }
        }
        if !self.lsdb.is_full(now) {
            self.ask(conn, strangers, now);
        }
    }

    fn is_stranger(&self, record: &SignedRecord) -> bool {
        record.origin() != self.me && self.lsdb.compare(record) == Merge::Refused(Refusal::Stranger)
    }

    /// A record from a neighbour (or from a peer's own handshake): keep it if it is newer, and pass it on.
    pub(super) fn take_record(&mut self, record: SignedRecord, from: Option<ConnId>, now: Instant) {
        let (key, origin) = (record.key(), record.origin());
        if origin == self.me {
            self.meet_own_record(&record, from, now);
            return;
        }
        // The signature is the dear part: look first whether the record is news at all.
        match self.lsdb.compare(&record) {
            Merge::Newer => {}
            Merge::Refused(_) => {
                self.gossip_counters.refused += 1;
                return;
            }
            same_or_older => {
                self.gossip_counters.known += 1;
                if same_or_older == Merge::Same {
                    self.has_it(from, key);
                } else if self.is_fork(&record) {
                    self.send(from, key, now);
                } else {
                    self.correct(from, key, now);
                }
                return;
            }
        }
        let neighbour = from.and_then(|conn| self.links.get(conn)?.peer);
        let giver = neighbour.map_or(Giver::Origin, Giver::Neighbour);
        if self.lsdb.is_hopeless(&record, giver) {
            self.lsdb.refuse_for_room(now);
            return;
        }
        // What a neighbour says of itself while it links costs it a handshake; everything else is free for its sender.
        if from.is_some() && !self.lsdb.is_within_rate(&origin, now) {
            self.gossip_counters.put_off += 1;
            return;
        }
        if !self.verify(&record, from, now) {
            return;
        }
        let version = record.version();
        let epoch = version.epoch;
        let restarted = key.topic == Topic::IDENTITY
            && self.epoch_of(&origin).is_some_and(|before| before < epoch);
        let before = if restarted {
            self.lsdb.topics(&origin)
        } else {
            Vec::new()
        };
        let merged = self.lsdb.take(record, giver, now);
        self.drop_evicted();
        match merged {
            Merge::Newer => {
                self.gossip_counters.accepted += 1;
                self.asked.came(&key, version);
                if restarted {
                    // The keys of its earlier run are gone; frames would go into a session nobody holds.
                    self.sessions.forget_before(origin, epoch);
                    // What it said before is void, until it says it again.
                    before
                        .iter()
                        .for_each(|topic| self.changed(RecordKey::new(origin, *topic)));
                }
                self.has_it(from, key);
                self.spread(key, from, now + COALESCE);
                self.changed(key);
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
        let origin = self.lsdb.identity(&record.origin());
        let Some(sign_key) = record.as_identity().or(origin).map(|body| body.sign_key) else {
            return false;
        };
        let slot = from.and_then(|conn| self.links.get_mut(conn));
        if slot.as_ref().is_some_and(|slot| !slot.is_credible(now)) {
            self.gossip_counters.unverified += 1;
            return false;
        }
        let good = self.verifier.verify(record, &sign_key).is_ok();
        if !good {
            self.gossip_counters.refused += 1;
            if let Some(slot) = slot {
                slot.forged(now);
            }
        }
        good
    }

    /// The neighbour said something outdated: it is told of what is newer, or of what made it void. Mostly that is on its
    /// way already, for what it said was overtaken.
    pub(super) fn correct(&mut self, from: Option<ConnId>, key: RecordKey, now: Instant) {
        let newer = if self.lsdb.get(key).is_some() {
            key
        } else {
            RecordKey::new(key.origin, Topic::IDENTITY)
        };
        if let Some(slot) = from.and_then(|conn| self.links.get_mut(conn)) {
            slot.is_behind(newer, now);
        }
    }

    /// Whether there is another record of the same version: its origin's key is in use twice.
    fn is_fork(&self, record: &SignedRecord) -> bool {
        let held = self.lsdb.get(record.key());
        held.is_some_and(|held| held.version() == record.version() && held != record)
    }

    pub(super) fn send(&mut self, to: Option<ConnId>, key: RecordKey, now: Instant) {
        if let Some(slot) = to.and_then(|conn| self.links.get_mut(conn)) {
            slot.untold.send(key, now);
        }
    }

    pub(super) fn publish_own(&mut self, records: Vec<SignedRecord>, now: Instant) {
        for record in records {
            let key = record.key();
            self.lsdb.insert(record, now);
            self.spread(key, None, now);
            self.changed(key);
        }
    }

    /// What follows from something newly said, by topic.
    pub(super) fn changed(&mut self, key: RecordKey) {
        match key.topic {
            Topic::IDENTITY | Topic::LINKS => {
                self.topology_dirty = true;
                self.tell_underlay(key.origin);
                // Which of its addresses a neighbour says itself is not said for it.
                self.neighbours_dirty |=
                    key.topic == Topic::IDENTITY && self.links.of_peer(&key.origin).is_some();
            }
            Topic::ATTACHED => {
                self.announced_dirty.insert(key.origin);
            }
            _ => self.tell_said(key),
        }
    }

    /// The boot epoch of a router, as its identity says.
    pub(super) fn epoch_of(&self, peer: &PeerId) -> Option<u64> {
        let identity = self.lsdb.get(RecordKey::new(*peer, Topic::IDENTITY))?;
        Some(identity.version().epoch)
    }

    /// Drops what routers said that have been gone for long.
    pub(super) fn forget_the_gone(&mut self, now: Instant) {
        let gone = self.lsdb.expire(now);
        self.dropped(gone);
    }

    fn drop_evicted(&mut self) {
        let evicted = self.lsdb.take_evicted();
        self.dropped(evicted);
    }

    fn dropped(&mut self, gone: Vec<RecordKey>) {
        if gone.is_empty() {
            return;
        }
        // A neighbour that does not read would else hold the names of all who ever came and went.
        for (_, slot) in self.links.iter_mut() {
            slot.untold.forget(|key| self.lsdb.get(*key).is_none());
        }
        gone.into_iter().for_each(|key| self.changed(key));
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
