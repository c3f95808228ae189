//! The database: of each router and topic the newest record.
//!
//! Merging is commutative, associative and idempotent, so that all routers end with the same records in whatever order
//! these arrive: of one router and topic the higher version wins, of two different records of one version (a cloned key,
//! or a lost state file) the one with the lower hash. A router's identity ends what its earlier runs said: records of a
//! lower epoch than that of the identity are void. Nothing is kept of a router whose identity is not known.

use std::collections::{BTreeMap, BTreeSet};

use super::bodies::{Attached, IdentityBody, Neighbour};
use super::budget::Giver;
use super::entry::Entry;
use super::parts::Parts;
use super::record::SignedRecord;
use super::routes::Routes;
use super::sums::Sums;
use super::topic::{RecordKey, Topic};
use crate::ids::{PeerId, PeerPrefix};
#[cfg(doc)]
use crate::limits::MAX_PEERS;
use crate::limits::{FORGET_AFTER, MAX_UNREACHED, UNREACHED_FOR};
use crate::time::Instant;

/// The newest records of at most [`MAX_PEERS`] routers and [`crate::limits::MAX_DATABASE`] bytes; what goes when it is full
/// is said in `budget`.
#[derive(Clone, Debug, Default)]
pub struct Lsdb {
    pub(super) entries: Parts,
    /// Routers out of reach, and since when.
    pub(super) gone: BTreeMap<PeerId, Instant>,
    /// Routers whose links may not be what they were; at most those that are or were there.
    relinked: BTreeSet<PeerId>,
    pub(super) sums: Sums,
    pub(super) records: usize,
    /// Bytes that all of them count; those of routers that were never within reach; those that each neighbour brought.
    pub(super) bytes: usize,
    pub(super) unreached: usize,
    pub(super) by_link: BTreeMap<PeerId, usize>,
    /// What went for others.
    pub(super) evicted: Vec<RecordKey>,
    /// Until then nobody looks for room, as there was none.
    pub(super) full_until: Instant,
    pub(super) told_full_until: Instant,
    /// Routers that came so far.
    born: u64,
    conflicts: u64,
    refused: u64,
    pub(super) refused_full: u64,
}

/// What became of an inserted record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// It is the newest now: pass it on.
    Newer,
    /// It was there already.
    Same,
    /// A newer one is there.
    Older,
    /// It cannot be kept.
    Refused(Refusal),
}

/// Why a record cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no room.
    Full,
    /// Its origin's identity, with whose key it would be verified, is not known.
    Stranger,
}

impl Lsdb {
    /// Merges a record of this router itself.
    pub fn insert(&mut self, record: SignedRecord, now: Instant) -> Merge {
        self.take(record, Giver::Own, now)
    }

    /// Merges a record, whose signature the caller has verified. Others may go for it: [`Lsdb::take_evicted`].
    pub fn take(&mut self, record: SignedRecord, giver: Giver, now: Instant) -> Merge {
        let peer = record.origin();
        let mut verdict = self.compare(&record);
        self.conflicts += u64::from(self.conflicts_with(&record));
        if verdict == Merge::Newer && !self.make_room(&record, giver, now) {
            verdict = Merge::Refused(Refusal::Full);
            self.refuse_for_room(now);
        }
        if verdict != Merge::Newer {
            self.refused += u64::from(matches!(verdict, Merge::Refused(_)));
            return verdict;
        }
        if matches!(record.topic(), Topic::IDENTITY | Topic::LINKS) {
            self.relinked.insert(peer);
        }
        if let Some(entry) = self.entries.get_mut(&peer) {
            let (sum, len, bytes) = (entry.sum(), entry.len(), entry.bytes());
            entry.rate.take(now);
            entry.put(record);
            self.records = self.records + entry.len() - len;
            if entry.reachable {
                self.sums.subtract(&peer, sum);
                self.sums.add(&peer, entry.sum());
            }
            let bytes_now = entry.bytes();
            self.count(&peer, bytes, bytes_now);
            return verdict;
        }
        let via = match giver {
            Giver::Own => None,
            Giver::Origin => Some(peer),
            Giver::Neighbour(neighbour) => Some(neighbour),
        };
        let mut entry = Entry::new(record, self.born, via);
        self.born += 1;
        entry.rate.take(now);
        self.records += 1;
        let bytes = entry.bytes();
        self.entries.insert(peer, entry);
        self.count(&peer, 0, bytes);
        self.gone.insert(peer, now);
        verdict
    }

    /// Whether [`Lsdb::insert`] would call this record newer; asked before its signature is verified.
    pub fn wants(&self, record: &SignedRecord) -> bool {
        self.compare(record) == Merge::Newer
    }

    /// What [`Lsdb::insert`] would say.
    pub fn compare(&self, record: &SignedRecord) -> Merge {
        let Some(entry) = self.entries.get(&record.origin()) else {
            return match record.topic() {
                Topic::IDENTITY => Merge::Newer,
                _ => Merge::Refused(Refusal::Stranger),
            };
        };
        if record.version().epoch < entry.identity.version().epoch {
            return Merge::Older;
        }
        let Some(held) = entry.get(record.topic()) else {
            return Merge::Newer;
        };
        // The lower hash wins, hence held before new.
        let new_against_held = record
            .version()
            .cmp(&held.version())
            .then(held.hash().cmp(&record.hash()));
        match new_against_held {
            core::cmp::Ordering::Greater => Merge::Newer,
            core::cmp::Ordering::Equal => Merge::Same,
            core::cmp::Ordering::Less => Merge::Older,
        }
    }

    /// Whether another record of this router may be taken now: [`crate::limits::RECORD_RATE`] are in a second, and
    /// [`crate::limits::RECORD_BURST`] at once. Only records that were taken count, so that nobody uses up another's
    /// share with forgeries.
    pub fn is_within_rate(&self, peer: &PeerId, now: Instant) -> bool {
        let entry = self.entries.get(peer);
        entry.is_none_or(|e| e.rate.clone().take(now))
    }

    /// The record of a router about a topic.
    pub fn get(&self, key: RecordKey) -> Option<&SignedRecord> {
        self.entries.get(&key.origin)?.get(key.topic)
    }

    /// Who a router is.
    pub fn identity(&self, peer: &PeerId) -> Option<&IdentityBody> {
        self.entries.get(peer)?.identity.as_identity()
    }

    /// The links of a router.
    pub fn links(&self, peer: &PeerId) -> &[Neighbour] {
        let record = self.get(RecordKey::new(*peer, Topic::LINKS));
        record.map_or(&[], SignedRecord::links)
    }

    /// The links of each router, in ascending order of these.
    pub(super) fn links_of_all(&self) -> impl Iterator<Item = &[Neighbour]> {
        let records = self.entries.values().map(|entry| entry.get(Topic::LINKS));
        records.map(|record| record.map_or(&[][..], SignedRecord::links))
    }

    /// Whether the identity of a router is known.
    pub fn knows(&self, peer: &PeerId) -> bool {
        self.entries.contains_key(peer)
    }

    /// The routers that came, went, or said something else of their links, since this was asked last.
    pub fn take_relinked(&mut self) -> BTreeSet<PeerId> {
        core::mem::take(&mut self.relinked)
    }

    /// The containers of a router.
    pub fn attached(&self, peer: &PeerId) -> &[Attached] {
        let record = self.get(RecordKey::new(*peer, Topic::ATTACHED));
        record.map_or(&[], SignedRecord::attached)
    }

    /// What a router says something about.
    pub fn topics(&self, peer: &PeerId) -> Vec<Topic> {
        let entry = self.entries.get(peer);
        entry.map_or_else(Vec::new, |e| e.records().map(SignedRecord::topic).collect())
    }

    /// The router whose identity begins like this; none if there are two.
    pub fn by_prefix(&self, prefix: PeerPrefix) -> Option<PeerId> {
        let mut all = self.entries.range(prefix.range()).map(|(peer, _)| *peer);
        let first = all.next();
        first.filter(|_| all.next().is_none())
    }

    /// All routers, in ascending order.
    pub fn origins(&self) -> impl Iterator<Item = PeerId> + Clone + '_ {
        self.entries.keys().copied()
    }

    /// All records, in ascending order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &SignedRecord> {
        self.entries.values().flat_map(Entry::records)
    }

    /// All records about a topic, in ascending order of their origins, each with whether that is within reach.
    pub fn about(&self, topic: Topic) -> impl Iterator<Item = (&SignedRecord, bool)> {
        let entries = self.entries.values();
        entries.filter_map(move |entry| Some((entry.get(topic)?, entry.reachable)))
    }

    /// Number of routers.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Number of records.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Whether there is no record at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Records met that differ from another one of the same version: somebody's key is in use twice.
    pub fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// Records refused because there was no room, or because nobody said whose they were.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether a router was within reach at any time since it is known.
    pub fn was_reachable(&self, peer: &PeerId) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.reached)
    }

    /// Whether a router was within reach when the routes were last noted.
    pub fn is_reachable(&self, peer: &PeerId) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.reachable)
    }

    /// Takes note of who is within reach: that decides what is compared with neighbours and what is forgotten.
    pub fn note_reach(&mut self, routes: &Routes, now: Instant) {
        let was_or_is = |(peer, entry): (&PeerId, &Entry)| {
            let reachable = routes.is_reachable(peer);
            (entry.reachable != reachable).then_some((*peer, reachable))
        };
        let changed: Vec<_> = self.entries.iter().filter_map(was_or_is).collect();
        for (peer, reachable) in changed {
            let Some(entry) = self.entries.get_mut(&peer) else {
                continue;
            };
            entry.reachable = reachable;
            if reachable && !entry.reached {
                entry.reached = true;
                self.unreached -= entry.bytes();
            }
            if reachable {
                self.gone.remove(&peer);
                self.sums.add(&peer, entry.sum());
            } else {
                self.gone.insert(peer, now);
                self.sums.subtract(&peer, entry.sum());
            }
        }
    }

    /// Drops the records of routers that have not been within reach for [`FORGET_AFTER`], and sooner of those that never
    /// were where room for such ones is scarce; which those were.
    pub fn expire(&mut self, now: Instant) -> Vec<RecordKey> {
        let scarce = self.unreached > MAX_UNREACHED / 4;
        let old = |(peer, since): &(&PeerId, &Instant)| {
            let age = now.since(**since);
            // A neighbour may have a link that carries no frames.
            let never = || {
                let entry = self.entries.get(peer);
                entry.is_some_and(|entry| !entry.reached && entry.via != Some(**peer))
            };
            age >= FORGET_AFTER || scarce && age >= UNREACHED_FOR && never()
        };
        let gone: Vec<PeerId> = self
            .gone
            .iter()
            .filter(old)
            .map(|(peer, _)| *peer)
            .collect();
        gone.iter().flat_map(|peer| self.remove(peer)).collect()
    }

    /// Drops all records of a router; which those were.
    pub(super) fn remove(&mut self, peer: &PeerId) -> Vec<RecordKey> {
        let bytes = self.entries.get(peer).map_or(0, Entry::bytes);
        self.count(peer, bytes, 0);
        self.gone.remove(peer);
        self.relinked.insert(*peer);
        let Some(entry) = self.entries.remove(peer) else {
            return Vec::new();
        };
        if entry.reachable {
            self.sums.subtract(peer, entry.sum());
        }
        self.records -= entry.len();
        entry.records().map(SignedRecord::key).collect()
    }

    fn conflicts_with(&self, record: &SignedRecord) -> bool {
        self.get(record.key())
            .is_some_and(|held| held.version() == record.version() && held.hash() != record.hash())
    }
}

#[cfg(test)]
#[path = "lsdb_tests.rs"]
mod tests;
