//! What there is room for in the database, in bytes, and what goes when there is none.
//!
//! Identities cost nothing, so no share may depend on how many there are. The first to come keeps its place: when all is
//! full, those out of reach go first, the longest gone before others, then the last to come. A router that nobody has
//! been seen to reach yet gets a place only out of a small share, and is soon forgotten when that is scarce; and no
//! neighbour brings all there is room for. A neighbour itself always has room to say who it is.

use super::lsdb::Lsdb;
use super::record::SignedRecord;
use super::topic::{RecordKey, Topic};
use crate::ids::PeerId;
use crate::limits::{
    FULL_FOR, FULL_SHOWN, MAX_DATABASE, MAX_DATABASE_PER_LINK, MAX_PEERS, MAX_UNREACHED,
    RECORD_COST,
};
use crate::time::Instant;

/// The giver of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Giver {
    /// This router says it.
    Own,
    /// Its origin, in the handshake of a link.
    Origin,
    /// This neighbour.
    Neighbour(PeerId),
}

/// Room that is made at once, so that not every record of a flood looks for it.
const SLACK: usize = MAX_DATABASE / 64;

/// What a record counts, with what is kept beside its bytes.
pub(super) fn cost(record: &SignedRecord) -> usize {
    record.bytes().len() + RECORD_COST
}

/// What may be evicted for a record.
#[derive(Clone, Copy, Debug)]
struct Claim {
    origin: PeerId,
    /// Those that came later than this may go for it.
    born: u64,
    grow: usize,
    is_new: bool,
}

impl Lsdb {
    /// Whether there is room for a record that is newer than what there is; others may have gone for it.
    pub(super) fn make_room(&mut self, record: &SignedRecord, giver: Giver, now: Instant) -> bool {
        let origin = record.origin();
        let entry = self.entries.get(&origin);
        let before = entry.and_then(|entry| entry.get(record.topic()));
        let grow = cost(record).saturating_sub(before.map_or(0, cost));
        if grow == 0 || giver == Giver::Own {
            return true;
        }
        let is_new = entry.is_none();
        let is_old = entry.is_some_and(|entry| entry.reached);
        let introduced = giver == Giver::Origin;
        let via = entry.map_or(Some(giver), |entry| entry.via.map(Giver::Neighbour));
        if let (false, Some(Giver::Neighbour(via))) = (introduced, via)
            && via != origin
            && self.brought(&via) + grow > MAX_DATABASE_PER_LINK
        {
            return false;
        }
        let is_basic = matches!(record.topic(), Topic::IDENTITY | Topic::LINKS);
        if !is_old && !introduced {
            let share = if is_basic {
                MAX_UNREACHED
            } else {
                MAX_UNREACHED / 2
            };
            if self.unreached + grow > share {
                return false;
            }
        }
        if self.fits(grow, is_new) {
            return true;
        }
        if !introduced && (!is_old || now < self.full_until) {
            return false;
        }
        let born = match (introduced, entry) {
            (false, Some(entry)) => entry.born,
            (true, _) => 0,
            (false, None) => return false,
        };
        let made = self.evict(Claim {
            origin,
            born,
            grow,
            is_new,
        });
        if !made {
            self.full_until = now + FULL_FOR;
        }
        made
    }

    /// Whether a record is not worth verifying: it is of a router that is not known, for which there is no room.
    pub fn is_hopeless(&self, record: &SignedRecord, giver: Giver) -> bool {
        let grow = cost(record);
        matches!(giver, Giver::Neighbour(_))
            && !self.knows(&record.origin())
            && (self.unreached + grow > MAX_UNREACHED || !self.fits(grow, true))
    }

    /// A record was refused because there was no room.
    pub fn refuse_for_room(&mut self, now: Instant) {
        self.refused_full += 1;
        self.told_full_until = now + FULL_SHOWN;
    }

    fn fits(&self, grow: usize, is_new: bool) -> bool {
        self.bytes + grow <= MAX_DATABASE && !(is_new && self.entries.len() >= MAX_PEERS)
    }

    /// Bytes of the records of those that this neighbour brought first.
    fn brought(&self, via: &PeerId) -> usize {
        self.by_link.get(via).copied().unwrap_or_default()
    }

    /// Those out of reach go, then the last to come.
    fn evict(&mut self, claim: Claim) -> bool {
        let gone = self.gone.iter().filter(|(peer, _)| **peer != claim.origin);
        let mut gone: Vec<(Instant, PeerId)> = gone.map(|(peer, at)| (*at, *peer)).collect();
        gone.sort_unstable();
        let others = self.entries.iter().filter(|(peer, entry)| {
            entry.reachable && entry.born > claim.born && **peer != claim.origin
        });
        let mut others: Vec<(u64, PeerId)> = others.map(|(p, entry)| (entry.born, *p)).collect();
        others.sort_unstable_by(|a, b| b.cmp(a));
        let victims = gone.into_iter().map(|(_, peer)| peer);
        for victim in victims.chain(others.into_iter().map(|(_, peer)| peer)) {
            if self.fits(claim.grow + SLACK, claim.is_new) {
                break;
            }
            self.evict_one(victim);
        }
        self.fits(claim.grow, claim.is_new)
    }

    /// Drops what a router says; of one that has a link to this router only what is not about itself.
    fn evict_one(&mut self, victim: PeerId) {
        let is_neighbour =
            |entry: &super::entry::Entry| entry.reachable && entry.via == Some(victim);
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
        let (sum_now, bytes_now, len_now) = (entry.sum(), entry.bytes(), entry.len());
        self.records = self.records + len_now - len;
        self.sums.subtract(&peer, sum);
        self.sums.add(&peer, sum_now);
        self.count(&peer, bytes, bytes_now);
        let keys = dropped.into_iter().map(|topic| RecordKey::new(peer, topic));
        self.evicted.extend(keys);
    }

    /// The records of a router count `now` instead of `before` bytes.
    pub(super) fn count(&mut self, peer: &PeerId, before: usize, now: usize) {
        self.bytes = self.bytes + now - before;
        let Some(entry) = self.entries.get(peer) else {
            return;
        };
        if !entry.reached {
            self.unreached = self.unreached + now - before;
        }
        if let Some(via) = entry.via {
            let brought = self.by_link.entry(via).or_default();
            *brought = *brought + now - before;
            if *brought == 0 {
                self.by_link.remove(&via);
            }
        }
    }

    /// Bytes that all records count; at most [`MAX_DATABASE`], and what this router says itself.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records that were refused because there was no room.
    pub fn refused_full(&self) -> u64 {
        self.refused_full
    }

    /// Whether there was no room for a record a moment ago.
    pub fn is_full(&self, now: Instant) -> bool {
        now < self.told_full_until
    }

    /// What went for others since this was asked last.
    pub fn take_evicted(&mut self) -> Vec<RecordKey> {
        core::mem::take(&mut self.evicted)
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
