//! Link-state database: the newest record of each router and topic.
//!
//! Merging is commutative, associative and idempotent, so all routers end with the same records in whatever order
//! these arrive. Of two records with the same origin and topic, the higher version wins; of two different ones with
//! the same version (a cloned key, or a lost state file), the one with the lower hash. A new identity ends the
//! origin's earlier epochs: records of an epoch lower than that of the identity are void. No records are kept of a
//! router whose identity is not known.

mod budget;
mod digest_tree;
mod entry;
mod shards;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use self::budget::RecordSource;
pub use self::sync::{Descent, Difference};

use self::digest_tree::DigestTree;
use self::entry::OriginEntry;
use self::shards::ShardedMap;
use super::bodies::{Attached, IdentityBody, Neighbour};
use super::record::SignedRecord;
use crate::ids::{PeerId, PeerPrefix};
#[cfg(doc)]
use crate::limits::MAX_PEERS;
use crate::limits::{FORGET_AFTER, MAX_UNREACHED, UNREACHED_FOR};
use crate::time::Instant;
use crate::wire::topic::{RecordKey, Topic};

/// Newest records of at most [`MAX_PEERS`] routers and [`crate::limits::MAX_DATABASE`] bytes. Eviction is described
/// in `budget`.
#[derive(Clone, Debug, Default)]
pub struct Lsdb {
    entries: ShardedMap,
    /// Unreachable routers, with the time since when they are.
    gone: BTreeMap<PeerId, Instant>,
    /// Routers whose links may have changed, among them removed ones.
    relinked: BTreeSet<PeerId>,
    digest_tree: DigestTree,
    records: usize,
    /// Cost in bytes of all records, of those of routers that were never reachable, and of those learnt from each
    /// neighbour.
    bytes: usize,
    unreached: usize,
    by_link: BTreeMap<PeerId, usize>,
    /// Keys of evicted records.
    evicted: Vec<RecordKey>,
    /// Time until which no eviction is tried, because the last one failed.
    full_until: Instant,
    told_full_until: Instant,
    /// Number of routers added so far.
    born: u64,
    conflicts: u64,
    refused: u64,
    refused_full: u64,
}

/// Result of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The record is the newest and was stored: propagate it.
    Newer,
    /// The same record was stored already.
    Same,
    /// A newer record is stored.
    Older,
    /// The record cannot be stored.
    Refused(Refusal),
}

/// Reason why a record cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The database is full.
    Full,
    /// The identity of its origin, which has the key to verify it, is not known.
    Stranger,
}

impl Lsdb {
    /// Merges a record of this router itself.
    pub fn insert(&mut self, record: SignedRecord, now: Instant) -> Merge {
        self.take(record, RecordSource::Own, now)
    }

    /// Merges a record whose signature the caller has verified. May evict other records: see [`Lsdb::take_evicted`].
    pub fn take(&mut self, record: SignedRecord, source: RecordSource, now: Instant) -> Merge {
        let peer = record.origin();
        let mut verdict = self.compare(&record);
        self.conflicts += u64::from(self.conflicts_with(&record));
        if verdict == Merge::Newer && !self.make_room(&record, source, now) {
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
                self.digest_tree.subtract(&peer, sum);
                self.digest_tree.add(&peer, entry.sum());
            }
            let bytes_now = entry.bytes();
            self.count(&peer, bytes, bytes_now);
            return verdict;
        }
        let via = match source {
            RecordSource::Own => None,
            RecordSource::Origin => Some(peer),
            RecordSource::Neighbour(neighbour) => Some(neighbour),
        };
        let mut entry = OriginEntry::new(record, self.born, via);
        self.born += 1;
        entry.rate.take(now);
        self.records += 1;
        let bytes = entry.bytes();
        self.entries.insert(peer, entry);
        self.count(&peer, 0, bytes);
        self.gone.insert(peer, now);
        verdict
    }

    /// Returns true if the record is newer than the stored one. Cheap, therefore asked before the signature is
    /// verified.
    pub fn wants(&self, record: &SignedRecord) -> bool {
        self.compare(record) == Merge::Newer
    }

    /// Returns the result that [`Lsdb::insert`] would have, apart from lack of room.
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
        // The lower hash wins, hence the stored hash is compared with the new one.
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

    /// Returns true if another record of this router may be accepted now: [`crate::limits::RECORD_RATE`] per second
    /// and [`crate::limits::RECORD_BURST`] at once. Only accepted records count, so forgeries do not use up another
    /// router's rate.
    pub fn is_within_rate(&self, peer: &PeerId, now: Instant) -> bool {
        let entry = self.entries.get(peer);
        entry.is_none_or(|e| e.rate.clone().take(now))
    }

    /// Returns the record with this key.
    pub fn get(&self, key: RecordKey) -> Option<&SignedRecord> {
        self.entries.get(&key.origin)?.get(key.topic)
    }

    /// Returns the identity of a router.
    pub fn identity(&self, peer: &PeerId) -> Option<&IdentityBody> {
        self.entries.get(peer)?.identity.as_identity()
    }

    /// Returns the links that a router announces.
    pub fn links(&self, peer: &PeerId) -> &[Neighbour] {
        let record = self.get(RecordKey::new(*peer, Topic::LINKS));
        record.map_or(&[], SignedRecord::links)
    }

    /// Returns the announced links of each router, in ascending order of routers.
    pub(super) fn links_of_all(&self) -> impl Iterator<Item = &[Neighbour]> {
        let records = self.entries.values().map(|entry| entry.get(Topic::LINKS));
        records.map(|record| record.map_or(&[][..], SignedRecord::links))
    }

    /// Returns true if the identity of a router is known.
    pub fn knows(&self, peer: &PeerId) -> bool {
        self.entries.contains_key(peer)
    }

    /// Takes the routers that were added or removed, or whose links may have changed, since the last call.
    pub fn take_relinked(&mut self) -> BTreeSet<PeerId> {
        core::mem::take(&mut self.relinked)
    }

    /// Returns the containers that a router announces.
    pub fn attached(&self, peer: &PeerId) -> &[Attached] {
        let record = self.get(RecordKey::new(*peer, Topic::ATTACHED));
        record.map_or(&[], SignedRecord::attached)
    }

    /// Returns the topics about which a router has a record.
    pub fn topics(&self, peer: &PeerId) -> Vec<Topic> {
        let entry = self.entries.get(peer);
        entry.map_or_else(Vec::new, |e| e.records().map(SignedRecord::topic).collect())
    }

    /// Returns the router whose identity begins with `prefix`; `None` if there is none or more than one.
    pub fn by_prefix(&self, prefix: PeerPrefix) -> Option<PeerId> {
        let mut all = self.entries.range(prefix.range()).map(|(peer, _)| *peer);
        let first = all.next();
        first.filter(|_| all.next().is_none())
    }

    /// Returns all routers, in ascending order.
    pub fn origins(&self) -> impl Iterator<Item = PeerId> + Clone + '_ {
        self.entries.keys().copied()
    }

    /// Returns all records, in ascending order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &SignedRecord> {
        self.entries.values().flat_map(OriginEntry::records)
    }

    /// Returns all records about a topic in ascending order of their origins, each with true if the origin is
    /// reachable.
    pub fn about(&self, topic: Topic) -> impl Iterator<Item = (&SignedRecord, bool)> {
        let entries = self.entries.values();
        entries.filter_map(move |entry| Some((entry.get(topic)?, entry.reachable)))
    }

    /// Returns the number of routers.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the number of records.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Returns true if there is no record.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of records that conflicted with another one of the same version: a key is in use twice.
    pub fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// Returns the number of records refused because there was no room or their origin was unknown.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Returns true if a router was reachable at any time since it was added.
    pub fn was_reachable(&self, peer: &PeerId) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.reached)
    }

    /// Returns true if a router was reachable when [`Lsdb::note_reach`] was last called.
    pub fn is_reachable(&self, peer: &PeerId) -> bool {
        self.entries.get(peer).is_some_and(|entry| entry.reachable)
    }

    /// Updates which routers are reachable, which decides what anti-entropy compares and what expires.
    pub fn note_reach(&mut self, is_reachable: impl Fn(&PeerId) -> bool, now: Instant) {
        let was_or_is = |(peer, entry): (&PeerId, &OriginEntry)| {
            let reachable = is_reachable(peer);
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
                self.digest_tree.add(&peer, entry.sum());
            } else {
                self.gone.insert(peer, now);
                self.digest_tree.subtract(&peer, entry.sum());
            }
        }
    }

    /// Removes the records of routers that have been unreachable for [`FORGET_AFTER`]; if room for routers that were
    /// never reachable is scarce, those already after [`UNREACHED_FOR`]. Returns the keys of the removed records.
    pub fn expire(&mut self, now: Instant) -> Vec<RecordKey> {
        let scarce = self.unreached > MAX_UNREACHED / 4;
        let old = |(peer, since): &(&PeerId, &Instant)| {
            let age = now.since(**since);
            // A direct neighbour is spared: its link may not carry frames yet.
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

    /// Removes all records of a router, and returns their keys.
    fn remove(&mut self, peer: &PeerId) -> Vec<RecordKey> {
        let bytes = self.entries.get(peer).map_or(0, OriginEntry::bytes);
        self.count(peer, bytes, 0);
        self.gone.remove(peer);
        self.relinked.insert(*peer);
        let Some(entry) = self.entries.remove(peer) else {
            return Vec::new();
        };
        if entry.reachable {
            self.digest_tree.subtract(peer, entry.sum());
        }
        self.records -= entry.len();
        entry.records().map(SignedRecord::key).collect()
    }

    fn conflicts_with(&self, record: &SignedRecord) -> bool {
        self.get(record.key())
            .is_some_and(|held| held.version() == record.version() && held.hash() != record.hash())
    }
}
