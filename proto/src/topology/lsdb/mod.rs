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
mod queries;
mod shards;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use self::budget::RecordSource;
pub use self::sync::{Descent, Difference};

use self::budget::{Budget, RoomDecision};
use self::digest_tree::DigestTree;
use self::entry::OriginEntry;
use self::shards::ShardedMap;
use super::record::SignedRecord;
use crate::ids::PeerId;
#[cfg(doc)]
use crate::limits::MAX_PEERS;
use crate::limits::{FORGET_AFTER, UNREACHED_FOR};
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
    budget: Budget,
    /// Keys of evicted records.
    evicted: Vec<RecordKey>,
    /// Number of routers added so far.
    born: u64,
    conflicts: u64,
    refused: u64,
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
            self.budget.refuse(now);
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
            self.budget.charge(entry, bytes, entry.bytes());
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
        self.budget.charge(&entry, 0, entry.bytes());
        self.entries.insert(peer, entry);
        self.gone.insert(peer, now);
        verdict
    }

    /// Makes room for a record that is newer than the stored one, by eviction if need be. Returns false if there is
    /// no room.
    fn make_room(&mut self, record: &SignedRecord, source: RecordSource, now: Instant) -> bool {
        let request = match self.budget.decide(record, source, &self.entries, now) {
            RoomDecision::Granted => return true,
            RoomDecision::AfterEviction(request) => request,
            RoomDecision::Refused => return false,
        };
        for victim in request.victims(&self.entries, &self.gone) {
            if self.budget.has_slack(request, &self.entries) {
                break;
            }
            self.evict(victim);
        }
        self.budget.evicted(request, &self.entries, now)
    }

    /// Removes a router's records; if it has a link to this router, its identity and links are kept.
    fn evict(&mut self, victim: PeerId) {
        let is_neighbour = |entry: &OriginEntry| entry.reachable && entry.via == Some(victim);
        if self.entries.get(&victim).is_some_and(is_neighbour) {
            self.strip(victim);
            return;
        }
        let dropped = self.remove(&victim);
        self.evicted.extend(dropped);
    }

    fn strip(&mut self, peer: PeerId) {
        let Some(entry) = self.entries.get_mut(&peer) else {
            return;
        };
        let (sum, bytes, len) = (entry.sum(), entry.bytes(), entry.len());
        let dropped = entry.strip();
        self.records = self.records + entry.len() - len;
        self.digest_tree.subtract(&peer, sum);
        self.digest_tree.add(&peer, entry.sum());
        self.budget.charge(entry, bytes, entry.bytes());
        let keys = dropped.into_iter().map(|topic| RecordKey::new(peer, topic));
        self.evicted.extend(keys);
    }

    /// Counts a record that was refused for lack of room before it was verified.
    pub fn refuse_for_room(&mut self, now: Instant) {
        self.budget.refuse(now);
    }

    /// Takes the keys of the records evicted since the last call.
    pub fn take_evicted(&mut self) -> Vec<RecordKey> {
        core::mem::take(&mut self.evicted)
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

    /// Takes the routers that were added or removed, or whose links may have changed, since the last call.
    pub fn take_relinked(&mut self) -> BTreeSet<PeerId> {
        core::mem::take(&mut self.relinked)
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
                self.budget.reached(entry);
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
        let scarce = self.budget.is_scarce();
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
        self.gone.remove(peer);
        self.relinked.insert(*peer);
        let Some(entry) = self.entries.remove(peer) else {
            return Vec::new();
        };
        self.budget.charge(&entry, entry.bytes(), 0);
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
