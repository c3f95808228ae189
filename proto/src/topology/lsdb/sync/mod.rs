//! Anti-entropy between two neighbours: hashes of ever smaller parts of the digest tree, then summaries of each,
//! then records.
//!
//! Only records of reachable routers are compared; otherwise two routers would keep reviving what both want to
//! expire. A list also has the unreachable ones, so that they are not sent needlessly, but they are not requested.

use std::collections::BTreeMap;

use super::Lsdb;
use super::entry::OriginEntry;
use crate::ids::{PeerId, Version};
use crate::limits::{MAX_SUMMARY, SUMMARY_LEAF};
use crate::topology::record::SignedRecord;
use crate::wire::digest_tree::DigestNode;
use crate::wire::message::{DigestEntry, Hashes, Summary};
use crate::wire::topic::RecordKey;

/// Differences between a neighbour's list and the own records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Records that the neighbour lacks or has in an older version.
    pub missing_remote: Vec<RecordKey>,
    /// Records that the neighbour has with the same version and other content; one of the two must win.
    pub forked: Vec<RecordKey>,
    /// Records to request from the neighbour, with their versions there.
    pub missing_local: Vec<(RecordKey, Version)>,
}

/// Result of one descent in the digest tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descent {
    /// Records that the neighbour lacks: its part of the tree is empty.
    pub missing_remote: Vec<RecordKey>,
    /// Parts that differ and are still too large to list.
    pub hashes: Vec<Hashes>,
    /// Parts small enough to list.
    pub lists: Vec<Summary>,
}

impl Lsdb {
    /// Returns the digest of the records of all reachable routers.
    pub fn digest(&self) -> [u8; 16] {
        self.digest_tree.total().to_be_bytes()
    }

    /// Returns the hashes of the children of `node`.
    pub fn hashes(&self, node: DigestNode) -> Hashes {
        let mut sums = [[0; 8]; 16];
        for (sum, child) in sums.iter_mut().zip(node.children()) {
            *sum = self.hash_of(child);
        }
        Hashes { node, sums }
    }

    fn hash_of(&self, node: DigestNode) -> [u8; 8] {
        let sum = self.digest_tree.of(node).unwrap_or_else(|| {
            let within = self.within(node).filter(|(_, entry)| entry.reachable);
            within.fold(0, |sum, (_, entry)| sum.wrapping_add(entry.sum()))
        });
        let [.., a, b, c, d, e, f, g, h] = sum.to_be_bytes();
        [a, b, c, d, e, f, g, h]
    }

    fn within(&self, node: DigestNode) -> impl Iterator<Item = (&PeerId, &OriginEntry)> {
        let (first, last) = node.range();
        self.entries.range(first..=last)
    }

    /// Compares a neighbour's hashes with the own ones, and descends where they differ.
    pub fn descend(&self, theirs: &Hashes) -> Descent {
        let mut descent = Descent::default();
        for (their, child) in theirs.sums.iter().zip(theirs.node.children()) {
            if *their == self.hash_of(child) {
                continue;
            }
            if *their == [0; 8] {
                let (first, last) = child.range();
                descent
                    .missing_remote
                    .extend(self.reachable_keys(first, last));
            } else if child.is_divisible() && self.within(child).nth(SUMMARY_LEAF).is_some() {
                descent.hashes.push(self.hashes(child));
            } else {
                descent.lists.extend(self.summaries(child));
            }
        }
        descent
    }

    fn reachable_keys(&self, first: PeerId, last: PeerId) -> impl Iterator<Item = RecordKey> + '_ {
        let within = self.entries.range(first..=last).map(|(_, entry)| entry);
        within
            .filter(|entry| entry.reachable)
            .flat_map(OriginEntry::records)
            .map(SignedRecord::key)
    }

    /// Lists the records of the routers in `node`, as messages that together cover all of it.
    pub fn summaries(&self, node: DigestNode) -> Vec<Summary> {
        let (first, last) = node.range();
        let mut summary = Summary {
            first,
            last,
            entries: Vec::new(),
        };
        let mut summaries = Vec::new();
        for (peer, entry) in self.within(node) {
            let records = entry.records();
            let entries: Vec<_> = records.map(|r| digest(r, entry.reachable)).collect();
            if summary.entries.len() + entries.len() > MAX_SUMMARY {
                let next = Summary {
                    first: *peer,
                    last,
                    entries: Vec::new(),
                };
                summary.last = predecessor(*peer);
                summaries.push(core::mem::replace(&mut summary, next));
            }
            summary.entries.extend(entries);
        }
        summaries.push(summary);
        summaries
    }

    /// Compares a neighbour's list with the own records.
    pub fn compare_summary(&self, summary: &Summary) -> Difference {
        let mut difference = Difference::default();
        let mut theirs = BTreeMap::new();
        for entry in &summary.entries {
            theirs.insert(entry.key, *entry);
        }
        for their in theirs.values() {
            self.compare_entry(their, &mut difference);
        }
        if summary.first <= summary.last {
            let ours = self.reachable_keys(summary.first, summary.last);
            difference
                .missing_remote
                .extend(ours.filter(|key| !theirs.contains_key(key)));
        }
        difference
    }

    fn compare_entry(&self, their: &DigestEntry, difference: &mut Difference) {
        let Some(ours) = self.get(their.key).map(|r| digest(r, true)) else {
            let void = self
                .get(RecordKey::new(
                    their.key.origin,
                    crate::wire::topic::Topic::IDENTITY,
                ))
                .is_some_and(|identity| identity.version().epoch > their.version.epoch);
            if their.reachable && !void {
                difference.missing_local.push((their.key, their.version));
            }
            return;
        };
        let newer = ours.version.cmp(&their.version);
        let fork = newer.is_eq() && ours.fingerprint != their.fingerprint;
        if newer.is_gt() {
            difference.missing_remote.push(their.key);
        }
        if fork {
            difference.forked.push(their.key);
        }
        if newer.is_lt() || fork {
            difference.missing_local.push((their.key, their.version));
        }
    }
}

fn digest(record: &SignedRecord, reachable: bool) -> DigestEntry {
    let [a, b, c, d, ..] = record.hash();
    DigestEntry {
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
mod tests;
