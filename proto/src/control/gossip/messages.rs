//! Messages of neighbours: which records are taken, and how gaps are found.
//!
//! Every few seconds the digests of both ends are compared, and where they differ hashes of ever smaller parts, until the
//! differences are found. A record that one end lacks is not sent then, but advertised: it may be on its way from another
//! neighbour, and the router that lacks it requests it from one. How updates are propagated is in [`super::push`].

use std::collections::BTreeMap;

use crate::entropy::Entropy;
use crate::ids::{ConnId, Version};
use crate::limits::{COALESCE, MAX_REQUESTS_WHEN_FULL};
use crate::time::Instant;
use crate::topology::lsdb::{Merge, RecordSource, Refusal};
use crate::topology::record::SignedRecord;
use crate::wire::digest_tree::DigestNode;
use crate::wire::message::{Hashes, LinkMessage, Summary};
use crate::wire::topic::{RecordKey, Topic};

use super::duplicate_identity::describe;
use super::{Gossip, GossipEffect};
use crate::control::note::Note;

impl Gossip {
    /// Takes a message of gossip from a link that is up. Nothing in it, however wrong, ends the link.
    pub(crate) fn message(
        &mut self,
        conn: ConnId,
        message: LinkMessage,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        match message {
            LinkMessage::Records(records) => self.take_records(conn, &records, now),
            LinkMessage::Digest(digest) => {
                if digest != self.digest() {
                    let hashes = LinkMessage::Hashes(self.lsdb.hashes(DigestNode::ROOT));
                    self.effects.push_back(GossipEffect::Send(conn, hashes));
                }
            }
            LinkMessage::Hashes(hashes) => self.take_hashes(conn, &hashes, now),
            LinkMessage::Summary(summary) => self.take_summary(conn, &summary, now, entropy),
            LinkMessage::Request(keys) => {
                if let Some(link) = self.links.get_mut(&conn) {
                    let keys = keys.into_iter();
                    let present = keys.filter(|key| self.lsdb.get(*key).is_some());
                    link.queue.send(present, now);
                }
            }
            LinkMessage::IHave(records) => self.take_advertised(conn, &records, now),
            LinkMessage::Unicast { hops, bytes } => self.take_unicast(conn, (hops, bytes), now),
            LinkMessage::Unknown(_) => self.counters.unknown += 1,
            // Not gossip.
            LinkMessage::Ping { .. }
            | LinkMessage::Pong { .. }
            | LinkMessage::KeepLink(_)
            | LinkMessage::Observed(_)
            | LinkMessage::Bye { .. } => {}
        }
    }

    fn take_hashes(&mut self, conn: ConnId, hashes: &Hashes, now: Instant) {
        let descent = self.lsdb.descend(hashes);
        let hashes = descent.hashes.into_iter().map(LinkMessage::Hashes);
        let lists = descent.lists.into_iter().map(LinkMessage::Summary);
        let messages = hashes.chain(lists);
        self.effects
            .extend(messages.map(|message| GossipEffect::Send(conn, message)));
        if let Some(link) = self.links.get_mut(&conn) {
            link.lacks(descent.missing_remote, now);
        }
    }

    fn take_summary(
        &mut self,
        conn: ConnId,
        summary: &Summary,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let mut difference = self.lsdb.compare_summary(summary);
        if self.lsdb.is_full(now) {
            // There is hardly room for what is not known: a few at a time, of any origin.
            let (known, mut unknown): (Vec<_>, Vec<_>) = difference
                .missing_local
                .into_iter()
                .partition(|(key, _)| self.lsdb.get(*key).is_some());
            let spare = unknown.len().saturating_sub(MAX_REQUESTS_WHEN_FULL);
            if spare > 0 {
                let first = usize::try_from(entropy.u64() % spare as u64).unwrap_or_default();
                unknown.rotate_left(first);
                unknown.truncate(MAX_REQUESTS_WHEN_FULL);
            }
            difference.missing_local = known.into_iter().chain(unknown).collect();
        }
        if let Some(link) = self.links.get_mut(&conn) {
            link.lacks(difference.missing_remote, now);
            link.queue.send(difference.forked, now);
        }
        self.request(conn, difference.missing_local, now);
    }

    fn take_records(&mut self, conn: ConnId, records: &[Vec<u8>], now: Instant) {
        let mut strangers = BTreeMap::new();
        for bytes in records {
            match self.verifier.parse(bytes) {
                Ok(record) if self.is_stranger(&record) => {
                    // The identity of its origin has to come first.
                    let identity = RecordKey::new(record.origin(), Topic::IDENTITY);
                    strangers.insert(identity, Version::default());
                    strangers.insert(record.key(), record.version());
                    self.counters.put_off += 1;
                }
                Ok(record) => self.take(record, Some(conn), now),
                Err(_) => self.counters.refused += 1,
            }
        }
        if !self.lsdb.is_full(now) {
            self.request(conn, strangers, now);
        }
    }

    fn is_stranger(&self, record: &SignedRecord) -> bool {
        record.origin() != self.me && self.lsdb.compare(record) == Merge::Refused(Refusal::Stranger)
    }

    /// Takes a record from a neighbour (or from a peer's own handshake) if it is newer, and propagates it.
    pub(crate) fn take(&mut self, record: SignedRecord, from: Option<ConnId>, now: Instant) {
        if record.origin() == self.me {
            self.meet_own_record(&record, from, now);
            return;
        }
        // Verification is expensive: freshness is checked first.
        match self.lsdb.compare(&record) {
            Merge::Newer => self.take_newer(record, from, now),
            Merge::Refused(_) => self.counters.refused += 1,
            Merge::Same => {
                self.counters.known += 1;
                self.has_it(from, record.key());
            }
            Merge::Older => {
                self.counters.known += 1;
                if self.is_fork(&record) {
                    self.answer_with(record.key(), from, now);
                } else {
                    self.correct(from, record.key(), now);
                }
            }
        }
    }

    fn take_newer(&mut self, record: SignedRecord, from: Option<ConnId>, now: Instant) {
        let (key, origin, version) = (record.key(), record.origin(), record.version());
        let neighbour = from.and_then(|conn| Some(self.links.get(&conn)?.peer));
        let source = neighbour.map_or(RecordSource::Origin, RecordSource::Neighbour);
        if self.lsdb.is_hopeless(&record, source) {
            self.lsdb.refuse_for_room(now);
            return;
        }
        // What a neighbour says of itself while it links costs it a handshake; everything else is free for its sender.
        if from.is_some() && !self.lsdb.is_within_rate(&origin, now) {
            self.counters.put_off += 1;
            return;
        }
        if !self.verify(&record, from, now) {
            return;
        }
        let epoch = version.epoch;
        let restarted = key.topic == Topic::IDENTITY
            && self.epoch_of(&origin).is_some_and(|before| before < epoch);
        let before = match restarted {
            true => self.lsdb.topics(&origin),
            false => Vec::new(),
        };
        let merged = self.lsdb.take(record, source, now);
        let evicted = self.lsdb.take_evicted();
        self.dropped(evicted);
        match merged {
            Merge::Newer => {
                self.counters.accepted += 1;
                self.requests.fulfilled(&key, version);
                if restarted {
                    self.effects
                        .push_back(GossipEffect::Restarted(origin, epoch));
                    // Its earlier records are void until it publishes them again.
                    let void = before.iter().map(|topic| RecordKey::new(origin, *topic));
                    self.effects.extend(void.map(GossipEffect::Changed));
                }
                self.has_it(from, key);
                self.propagate(key, from, now + COALESCE);
                self.effects.push_back(GossipEffect::Changed(key));
            }
            Merge::Same | Merge::Older => self.counters.known += 1,
            Merge::Refused(_) => self.counters.refused += 1,
        }
    }

    /// Returns true if the record's signature is right; counts it as refused if not. The records of a link that brings forgery
    /// after forgery are refused without verification until it has been better for a while.
    fn verify(&mut self, record: &SignedRecord, from: Option<ConnId>, now: Instant) -> bool {
        let origin = self.lsdb.identity(&record.origin());
        let Some(sign_key) = record.as_identity().or(origin).map(|body| body.sign_key) else {
            return false;
        };
        let link = from.and_then(|conn| self.links.get_mut(&conn));
        if link.as_ref().is_some_and(|link| !link.is_credible(now)) {
            self.counters.unverified += 1;
            return false;
        }
        let good = self.verifier.verify(record, &sign_key).is_ok();
        if !good {
            self.counters.refused += 1;
            if let Some(link) = link {
                link.forged(now);
            }
        }
        good
    }

    /// Advertises the newer record to a neighbour that sent an outdated one, or the identity that made it void. Mostly that is
    /// on its way already.
    fn correct(&mut self, from: Option<ConnId>, key: RecordKey, now: Instant) {
        let newer = match self.lsdb.get(key) {
            Some(_) => key,
            None => RecordKey::new(key.origin, Topic::IDENTITY),
        };
        if let Some(link) = from.and_then(|conn| self.links.get_mut(&conn)) {
            link.is_behind(newer, now);
        }
    }

    /// Returns true if there is another record of the same version: its origin's key is in use twice.
    fn is_fork(&self, record: &SignedRecord) -> bool {
        let held = self.lsdb.get(record.key());
        held.is_some_and(|held| held.version() == record.version() && held != record)
    }

    /// Removes a record from the queue of a neighbour that showed that it has it.
    fn has_it(&mut self, from: Option<ConnId>, key: RecordKey) {
        if let Some(link) = from.and_then(|conn| self.links.get_mut(&conn)) {
            link.queue.has(&key);
        }
    }

    fn answer_with(&mut self, key: RecordKey, to: Option<ConnId>, now: Instant) {
        if let Some(link) = to.and_then(|conn| self.links.get_mut(&conn)) {
            link.queue.send([key], now);
        }
    }

    /// Requests the records that a neighbour advertises and that are missing here.
    fn take_advertised(&mut self, conn: ConnId, records: &[(RecordKey, Version)], now: Instant) {
        let mut missing = BTreeMap::new();
        for (key, version) in records {
            if key.origin == self.me {
                continue;
            }
            let ours = self.lsdb.get(*key).map(SignedRecord::version);
            let epoch = self.epoch_of(&key.origin);
            let is_void = epoch.is_some_and(|epoch| version.epoch < epoch);
            if ours == Some(*version) {
                self.has_it(Some(conn), *key);
                continue;
            }
            if ours > Some(*version) || is_void {
                self.correct(Some(conn), *key, now);
                continue;
            }
            if epoch.is_none() {
                let identity = RecordKey::new(key.origin, Topic::IDENTITY);
                missing.entry(identity).or_default();
            }
            missing.insert(*key, *version);
        }
        self.request(conn, missing, now);
    }

    fn take_unicast(&mut self, conn: ConnId, message: (u8, Vec<u8>), now: Instant) {
        let hops = message.0;
        let Some(link) = self.links.get_mut(&conn) else {
            return;
        };
        let from = link.peer;
        let admitted = self
            .unicasts
            .admit(message, link, &self.lsdb, &*self.verifier, now);
        match admitted {
            Some(message) if message.destination() == self.me => {
                self.effects.push_back(GossipEffect::Received {
                    from: message.origin(),
                    topic: message.topic(),
                    body: message.body().to_vec(),
                });
            }
            Some(message) => self.send_unicast(message, hops - 1, Some(from)),
            None => {}
        }
    }

    /// Overtakes a record of this router that this run did not make: after a lost state file, or of a duplicate identity.
    fn meet_own_record(&mut self, record: &SignedRecord, from: Option<ConnId>, now: Instant) {
        if record.version().epoch < self.own.epoch() {
            // A record of an earlier run: the present identity makes it void.
            self.answer_with_own(record.topic(), from, now);
            self.answer_with_own(Topic::IDENTITY, from, now);
            return;
        }
        if let Some(ours) = self.own.signed(record.topic()) {
            let fork = record.version() == ours.version() && record.hash() != ours.hash();
            if record.version() <= ours.version() && !fork {
                if record.version() < ours.version() {
                    self.answer_with_own(record.topic(), from, now);
                }
                return;
            }
        }
        if !self.verify(record, from, now) {
            return;
        }
        if let Some(epoch) = self.own.overtake(record.topic(), record.version()) {
            self.effects.push_back(GossipEffect::EpochRaised(epoch));
            self.note(Note::Warn(format!(
                "the stored state of this router is an old one; it goes on with epoch {epoch}"
            )));
        }
        let teller = from.and_then(|conn| Some(self.links.get(&conn)?.peer));
        let teller = teller.map(|peer| self.display(&peer));
        let who = describe(record.as_identity(), teller.as_deref());
        let introduced = record.topic() == Topic::IDENTITY;
        self.suspect(who, introduced, now);
    }

    /// Sends our present record to a neighbour that has an older one.
    fn answer_with_own(&mut self, topic: Topic, to: Option<ConnId>, now: Instant) {
        if self.own.signed(topic).is_some() {
            self.answer_with(RecordKey::new(self.me, topic), to, now);
        }
    }
}
