//! How two neighbours find what one has and the other lacks: hashes of ever smaller parts, then lists, then records.
//!
//! Only what is said by routers within reach is compared, lest two routers keep reviving what each of them wants to
//! forget. A list names the others too, so that nothing is sent that is there, but nobody asks for those.

use std::collections::BTreeMap;

use super::entry::Entry;
use super::lsdb::Lsdb;
use super::record::SignedRecord;
use super::sums::Node;
use super::topic::RecordKey;
use crate::ids::{PeerId, Version};
use crate::limits::{MAX_SUMMARY, SUMMARY_LEAF};
use crate::wire::message::{Hashes, Held, Summary};

/// What two routers lack of one another's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// They lack our records of these.
    pub lacked: Vec<RecordKey>,
    /// They have others of the same version: one of the two is to win, and no version tells which.
    pub forked: Vec<RecordKey>,
    /// Ask for theirs of these, which have these versions.
    pub ask: Vec<(RecordKey, Version)>,
}

/// What follows from a neighbour's hashes: one step nearer to the records that differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closer {
    /// They lack our records of these: the neighbour has nothing there.
    pub lacked: Vec<RecordKey>,
    /// Parts that still differ in too much to be listed.
    pub hashes: Vec<Hashes>,
    /// Parts small enough to be listed.
    pub lists: Vec<Summary>,
}

impl Lsdb {
    /// A hash over the records of all routers within reach, the same wherever the same is within reach.
    pub fn digest(&self) -> [u8; 16] {
        self.sums.total().to_be_bytes()
    }

    /// Hashes of the parts of `node`.
    pub fn hashes(&self, node: Node) -> Hashes {
        let mut sums = [[0; 8]; 16];
        for (sum, child) in sums.iter_mut().zip(node.children()) {
            *sum = self.hash_of(child);
        }
        Hashes { node, sums }
    }

    fn hash_of(&self, node: Node) -> [u8; 8] {
        let sum = self.sums.of(node).unwrap_or_else(|| {
            let within = self.within(node).filter(|(_, entry)| entry.reachable);
            within.fold(0, |sum, (_, entry)| sum.wrapping_add(entry.sum()))
        });
        let [.., a, b, c, d, e, f, g, h] = sum.to_be_bytes();
        [a, b, c, d, e, f, g, h]
    }

    fn within(&self, node: Node) -> impl Iterator<Item = (&PeerId, &Entry)> {
        let (first, last) = node.range();
        self.entries.range(first..=last)
    }

    /// Compares a neighbour's hashes with ours.
    pub fn closer(&self, theirs: &Hashes) -> Closer {
        let mut closer = Closer::default();
        for (their, child) in theirs.sums.iter().zip(theirs.node.children()) {
            if *their == self.hash_of(child) {
                continue;
            }
            if *their == [0; 8] {
                let (first, last) = child.range();
                closer.lacked.extend(self.reachable_keys(first, last));
            } else if child.is_divisible() && self.within(child).nth(SUMMARY_LEAF).is_some() {
                closer.hashes.push(self.hashes(child));
            } else {
                closer.lists.extend(self.summaries(child));
            }
        }
        closer
    }

    fn reachable_keys(&self, first: PeerId, last: PeerId) -> impl Iterator<Item = RecordKey> + '_ {
        let within = self.entries.range(first..=last).map(|(_, entry)| entry);
        within
            .filter(|entry| entry.reachable)
            .flat_map(Entry::records)
            .map(SignedRecord::key)
    }

    /// What we hold of the routers in `node`, as messages that together cover all of it.
    pub fn summaries(&self, node: Node) -> Vec<Summary> {
        let (first, last) = node.range();
        let mut summary = Summary {
            first,
            last,
            held: Vec::new(),
        };
        let mut summaries = Vec::new();
        for (peer, entry) in self.within(node) {
            let held: Vec<Held> = entry.records().map(|r| held(r, entry.reachable)).collect();
            if summary.held.len() + held.len() > MAX_SUMMARY {
                let next = Summary {
                    first: *peer,
                    last,
                    held: Vec::new(),
                };
                summary.last = predecessor(*peer);
                summaries.push(core::mem::replace(&mut summary, next));
            }
            summary.held.extend(held);
        }
        summaries.push(summary);
        summaries
    }

    /// Compares a neighbour's list with what we hold: what it lacks of the routers within reach, and what we lack.
    pub fn missing(&self, summary: &Summary) -> Missing {
        let mut missing = Missing::default();
        let mut theirs = BTreeMap::new();
        for held in &summary.held {
            theirs.insert(held.key, *held);
        }
        for their in theirs.values() {
            self.missing_of(their, &mut missing);
        }
        if summary.first <= summary.last {
            let ours = self.reachable_keys(summary.first, summary.last);
            missing
                .lacked
                .extend(ours.filter(|key| !theirs.contains_key(key)));
        }
        missing
    }

    fn missing_of(&self, their: &Held, missing: &mut Missing) {
        let Some(ours) = self.get(their.key).map(|r| held(r, true)) else {
            let void = self
                .get(RecordKey::new(
                    their.key.origin,
                    super::topic::Topic::IDENTITY,
                ))
                .is_some_and(|identity| identity.version().epoch > their.version.epoch);
            if their.reachable && !void {
                missing.ask.push((their.key, their.version));
            }
            return;
        };
        let newer = ours.version.cmp(&their.version);
        let fork = newer.is_eq() && ours.fingerprint != their.fingerprint;
        if newer.is_gt() {
            missing.lacked.push(their.key);
        }
        if fork {
            missing.forked.push(their.key);
        }
        if newer.is_lt() || fork {
            missing.ask.push((their.key, their.version));
        }
    }
}

fn held(record: &SignedRecord, reachable: bool) -> Held {
    let [a, b, c, d, ..] = record.hash();
    Held {
        key: record.key(),
        version: record.version(),
        fingerprint: [a, b, c, d],
        reachable,
    }
}

fn predecessor(peer: PeerId) -> PeerId {
    PeerId(u128::from_be_bytes(peer.0).saturating_sub(1).to_be_bytes())
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
