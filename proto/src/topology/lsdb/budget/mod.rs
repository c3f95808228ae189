//! Memory budget of the database in bytes, and eviction when it is full.
//!
//! Identities cost an attacker nothing, so no share may depend on their number. Earlier routers keep their place:
//! when the database is full, unreachable routers are evicted first, those unreachable for longest before others,
//! then the most recently added ones. A router that was never reachable gets a place only out of a small share, and
//! expires soon if that share is scarce. The routers that one neighbour made known have a share of their own. A
//! neighbour itself always has room for its identity and its links.

use super::Lsdb;
use super::entry::cost;
use crate::ids::PeerId;
use crate::limits::{
    FULL_FOR, FULL_SHOWN, MAX_DATABASE, MAX_DATABASE_PER_LINK, MAX_PEERS, MAX_UNREACHED,
};
use crate::time::Instant;
use crate::topology::record::SignedRecord;
use crate::wire::topic::{RecordKey, Topic};

/// Source of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordSource {
    /// This router is the origin.
    Own,
    /// The origin itself, in the handshake of a link.
    Origin,
    /// A neighbour passed it on.
    Neighbour(PeerId),
}

/// Extra room made by an eviction, so that not every record of a burst causes another one.
const SLACK: usize = MAX_DATABASE / 64;

/// Request for room by one record.
#[derive(Clone, Copy, Debug)]
struct RoomRequest {
    origin: PeerId,
    /// Age rank of the record's router: routers with a higher number, added later, may be evicted for it.
    born: u64,
    grow: usize,
    is_new: bool,
}

impl Lsdb {
    /// Makes room for a record that is newer than the stored one, by eviction if need be. Returns false if there is
    /// no room.
    pub(super) fn make_room(
        &mut self,
        record: &SignedRecord,
        source: RecordSource,
        now: Instant,
    ) -> bool {
        let origin = record.origin();
        let entry = self.entries.get(&origin);
        let before = entry.and_then(|entry| entry.get(record.topic()));
        let grow = cost(record).saturating_sub(before.map_or(0, cost));
        if grow == 0 || source == RecordSource::Own {
            return true;
        }
        let is_new = entry.is_none();
        let is_old = entry.is_some_and(|entry| entry.reached);
        let introduced = source == RecordSource::Origin;
        let via = entry.map_or(Some(source), |entry| entry.via.map(RecordSource::Neighbour));
        if let (false, Some(RecordSource::Neighbour(via))) = (introduced, via)
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
        let made = self.evict(RoomRequest {
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

    /// Returns true if a record need not be verified because it would be refused anyway: its origin is unknown and
    /// there is no room.
    pub fn is_hopeless(&self, record: &SignedRecord, source: RecordSource) -> bool {
        let grow = cost(record);
        matches!(source, RecordSource::Neighbour(_))
            && !self.knows(&record.origin())
            && (self.unreached + grow > MAX_UNREACHED || !self.fits(grow, true))
    }

    /// Counts a record that was refused for lack of room.
    pub fn refuse_for_room(&mut self, now: Instant) {
        self.refused_full += 1;
        self.told_full_until = now + FULL_SHOWN;
    }

    fn fits(&self, grow: usize, is_new: bool) -> bool {
        self.bytes + grow <= MAX_DATABASE && !(is_new && self.entries.len() >= MAX_PEERS)
    }

    /// Returns the bytes of the records of all routers that the neighbour `via` made known.
    fn brought(&self, via: &PeerId) -> usize {
        self.by_link.get(via).copied().unwrap_or_default()
    }

    /// Evicts unreachable routers, then the most recently added ones. Returns true if the request fits then.
    fn evict(&mut self, request: RoomRequest) -> bool {
        let gone = self
            .gone
            .iter()
            .filter(|(peer, _)| **peer != request.origin);
        let mut gone: Vec<(Instant, PeerId)> = gone.map(|(peer, at)| (*at, *peer)).collect();
        gone.sort_unstable();
        let others = self.entries.iter().filter(|(peer, entry)| {
            entry.reachable && entry.born > request.born && **peer != request.origin
        });
        let mut others: Vec<(u64, PeerId)> = others.map(|(p, entry)| (entry.born, *p)).collect();
        others.sort_unstable_by(|a, b| b.cmp(a));
        let victims = gone.into_iter().map(|(_, peer)| peer);
        for victim in victims.chain(others.into_iter().map(|(_, peer)| peer)) {
            if self.fits(request.grow + SLACK, request.is_new) {
                break;
            }
            self.evict_one(victim);
        }
        self.fits(request.grow, request.is_new)
    }

    /// Removes a router's records; if it has a link to this router, its identity and links are kept.
    fn evict_one(&mut self, victim: PeerId) {
        let is_neighbour =
            |entry: &super::entry::OriginEntry| entry.reachable && entry.via == Some(victim);
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
        self.digest_tree.subtract(&peer, sum);
        self.digest_tree.add(&peer, sum_now);
        self.count(&peer, bytes, bytes_now);
        let keys = dropped.into_iter().map(|topic| RecordKey::new(peer, topic));
        self.evicted.extend(keys);
    }

    /// Updates the byte counts after the cost of a router's records changed from `before` to `now`.
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

    /// Returns the cost of all records in bytes; at most [`MAX_DATABASE`], plus what exceeds it of this router's own
    /// records.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of records refused for lack of room.
    pub fn refused_full(&self) -> u64 {
        self.refused_full
    }

    /// Returns true if a record was refused for lack of room within the last [`FULL_SHOWN`].
    pub fn is_full(&self, now: Instant) -> bool {
        now < self.told_full_until
    }

    /// Takes the keys of the records evicted since the last call.
    pub fn take_evicted(&mut self) -> Vec<RecordKey> {
        core::mem::take(&mut self.evicted)
    }
}

#[cfg(test)]
mod tests;
