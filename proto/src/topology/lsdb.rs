//! The link-state database: the newest record of each router.
//!
//! Merging is commutative, associative and idempotent, so that all routers end with the same records in whatever order
//! these arrive: the higher version wins; of two different records of one version (a cloned key, or a lost state file)
//! the one with the lower hash.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::record::SignedRecord;
use super::routes::Routes;
use crate::forward::throttle::TokenBucket;
use crate::ids::PeerId;
use crate::limits::{FORGET_AFTER, MAX_PEERS, MAX_SUMMARY, RECORD_BURST, RECORD_RATE};
use crate::time::Instant;
use crate::wire::message::{Held, Summary};

/// The newest record of each router, at most [`MAX_PEERS`]; when full, routers not yet known are refused.
#[derive(Clone, Debug, Default)]
pub struct Lsdb {
    entries: BTreeMap<PeerId, Entry>,
    conflicts: u64,
    refused: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    record: SignedRecord,
    last_reachable: Instant,
    rate: TokenBucket,
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
    /// There are [`MAX_PEERS`] records of other routers.
    Full,
}

/// What two routers lack of one another's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Send our records of these.
    pub send: Vec<PeerId>,
    /// Ask for theirs of these.
    pub ask: Vec<PeerId>,
}

impl Lsdb {
    /// Merges a record, whose signature the caller has verified.
    pub fn insert(&mut self, record: SignedRecord, now: Instant) -> Merge {
        let peer = record.origin();
        let verdict = self.compare(&record);
        self.conflicts += u64::from(self.conflicts_with(&record));
        if verdict != Merge::Newer {
            return verdict;
        }
        let old = self.entries.remove(&peer);
        if old.is_none() && self.entries.len() >= MAX_PEERS {
            self.refused += 1;
            return Merge::Refused(Refusal::Full);
        }
        let (last_reachable, mut rate) = old.map_or_else(
            || (now, TokenBucket::new(RECORD_RATE, RECORD_BURST)),
            |e| (e.last_reachable, e.rate),
        );
        rate.take(now);
        self.entries.insert(
            peer,
            Entry {
                record,
                last_reachable,
                rate,
            },
        );
        verdict
    }

    /// Whether [`Lsdb::insert`] would call this record newer; asked before its signature is verified.
    pub fn wants(&self, record: &SignedRecord) -> bool {
        self.compare(record) == Merge::Newer
    }

    /// Whether another record of this router may be taken now: [`RECORD_RATE`] a second and [`RECORD_BURST`] at once
    /// are. Only records that were taken count, so that nobody uses up another's share with forgeries.
    pub fn is_within_rate(&self, peer: &PeerId, now: Instant) -> bool {
        let entry = self.entries.get(peer);
        entry.is_none_or(|e| e.rate.clone().take(now))
    }

    /// Whether a record of this router could be kept at all.
    pub fn has_room_for(&self, peer: &PeerId) -> bool {
        self.entries.len() < MAX_PEERS || self.entries.contains_key(peer)
    }

    /// The record of a router.
    pub fn get(&self, peer: &PeerId) -> Option<&SignedRecord> {
        self.entries.get(peer).map(|e| &e.record)
    }

    /// All records, in ascending order of their origins.
    pub fn iter(&self) -> impl Iterator<Item = &SignedRecord> {
        self.entries.values().map(|e| &e.record)
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no record at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Records met that differ from another one of the same version: somebody's key is in use twice.
    pub fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// Records refused because there was no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// A hash over the records of `peers`, which must come in ascending order ([`Routes::reachable`] does): SHA-256
    /// over each origin and record hash, the first 16 bytes. Equal on two routers that reach the same peers and hold
    /// the same records of them.
    pub fn digest(&self, peers: impl IntoIterator<Item = PeerId>) -> [u8; 16] {
        let mut hash = Sha256::new();
        for peer in peers {
            if let Some(record) = self.get(&peer) {
                hash.update(peer.0);
                hash.update(record.hash());
            }
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.finalize()[..16]);
        digest
    }

    /// What we hold of `peers` (in ascending order), as messages that together cover the whole range of identities.
    ///
    /// Only reachable peers belong in it, lest two routers keep reviving what each of them wants to forget.
    pub fn summaries(&self, peers: impl IntoIterator<Item = PeerId>) -> Vec<Summary> {
        let held: Vec<Held> = peers
            .into_iter()
            .filter_map(|peer| self.get(&peer).map(held))
            .collect();
        let mut chunks: Vec<Vec<Held>> = held.chunks(MAX_SUMMARY).map(<[Held]>::to_vec).collect();
        if chunks.is_empty() {
            chunks.push(Vec::new());
        }
        let last = chunks.len() - 1;
        let mut first = PeerId([0; 16]);
        let mut summaries = Vec::new();
        for (i, held) in chunks.into_iter().enumerate() {
            let end = held
                .last()
                .filter(|_| i != last)
                .map_or(PeerId([0xff; 16]), |h| h.peer);
            summaries.push(Summary {
                first,
                last: end,
                held,
            });
            first = successor(end);
        }
        summaries
    }

    /// Compares a neighbour's summary with what we hold: what it lacks of the reachable peers, and what we lack.
    pub fn missing(&self, summary: &Summary, routes: &Routes) -> Missing {
        let mut missing = Missing::default();
        let mut theirs = BTreeMap::new();
        for held in &summary.held {
            theirs.insert(held.peer, *held);
        }
        for their in theirs.values() {
            let Some(ours) = self.get(&their.peer).map(held) else {
                missing.ask.push(their.peer);
                continue;
            };
            let newer = ours.version.cmp(&their.version);
            let fork = newer.is_eq() && ours.fingerprint != their.fingerprint;
            if newer.is_gt() || fork {
                missing.send.push(their.peer);
            }
            if newer.is_lt() || fork {
                missing.ask.push(their.peer);
            }
        }
        if summary.first <= summary.last {
            let unlisted = self
                .entries
                .range(summary.first..=summary.last)
                .map(|(peer, _)| *peer);
            missing
                .send
                .extend(unlisted.filter(|p| !theirs.contains_key(p) && routes.is_reachable(p)));
        }
        missing
    }

    /// Drops the records of routers that have not been reachable for [`FORGET_AFTER`]; whether there were any. To be
    /// called every few seconds.
    pub fn expire(&mut self, routes: &Routes, now: Instant) -> bool {
        let mut gone = Vec::new();
        for (peer, entry) in &mut self.entries {
            if routes.is_reachable(peer) {
                entry.last_reachable = now;
            } else if now.since(entry.last_reachable) >= FORGET_AFTER {
                gone.push(*peer);
            }
        }
        for peer in &gone {
            self.entries.remove(peer);
        }
        !gone.is_empty()
    }

    fn compare(&self, record: &SignedRecord) -> Merge {
        let Some(held) = self.get(&record.origin()) else {
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

    fn conflicts_with(&self, record: &SignedRecord) -> bool {
        self.get(&record.origin())
            .is_some_and(|held| held.version() == record.version() && held.hash() != record.hash())
    }
}

fn held(record: &SignedRecord) -> Held {
    let [a, b, c, d, ..] = record.hash();
    Held {
        peer: record.origin(),
        version: record.version(),
        fingerprint: [a, b, c, d],
    }
}

fn successor(peer: PeerId) -> PeerId {
    PeerId(u128::from_be_bytes(peer.0).saturating_add(1).to_be_bytes())
}

#[cfg(test)]
#[path = "lsdb_tests.rs"]
mod tests;
