//! Memory budget of the database in bytes, and eviction when it is full.
//!
//! Identities cost an attacker nothing, so no share may depend on their number. Earlier routers keep their place:
//! when the database is full, unreachable routers are evicted first, those unreachable for longest before others,
//! then the most recently added ones. A router that was never reachable gets a place only out of a small share, and
//! expires soon if that share is scarce. The routers that one neighbour made known have a share of their own. A
//! neighbour itself always has room for its identity and its links.

use std::collections::BTreeMap;

use super::entry::{OriginEntry, cost};
use super::shards::ShardedMap;
use crate::ids::PeerId;
use crate::limits::{
    FULL_FOR, FULL_SHOWN, MAX_DATABASE, MAX_DATABASE_PER_LINK, MAX_PEERS, MAX_UNREACHED,
};
use crate::time::Instant;
use crate::topology::record::SignedRecord;
use crate::wire::topic::Topic;

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

/// Cost in bytes of the records in the database, and the refusals for lack of room.
#[derive(Clone, Debug, Default)]
pub(super) struct Budget {
    /// Cost of all records.
    bytes: usize,
    /// Cost of the records of routers that were never reachable.
    unreached: usize,
    /// Cost of the records of the routers first learnt from each neighbour.
    by_link: BTreeMap<PeerId, usize>,
    /// Time until which no eviction is tried, because the last one failed.
    full_until: Instant,
    shown_until: Instant,
    refused: u64,
}

/// Decision about room for one record.
#[derive(Clone, Copy, Debug)]
pub(super) enum RoomDecision {
    /// There is room.
    Granted,
    /// There is room if other records are evicted.
    AfterEviction(RoomRequest),
    /// There is no room.
    Refused,
}

/// Request for room by one record.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoomRequest {
    origin: PeerId,
    /// Age rank of the record's router: routers with a higher number, added later, may be evicted for it.
    born: u64,
    grow: usize,
    is_new: bool,
}

impl RoomRequest {
    /// Returns the routers that may be evicted for it: unreachable ones, those unreachable for longest first, then the
    /// most recently added ones.
    pub(super) fn victims(
        &self,
        entries: &ShardedMap,
        gone: &BTreeMap<PeerId, Instant>,
    ) -> Vec<PeerId> {
        let gone = gone.iter().filter(|(peer, _)| **peer != self.origin);
        let mut gone: Vec<(Instant, PeerId)> = gone.map(|(peer, at)| (*at, *peer)).collect();
        gone.sort_unstable();
        let others = entries.iter().filter(|(peer, entry)| {
            entry.reachable && entry.born > self.born && **peer != self.origin
        });
        let mut others: Vec<(u64, PeerId)> = others.map(|(p, entry)| (entry.born, *p)).collect();
        others.sort_unstable_by(|a, b| b.cmp(a));
        let gone = gone.into_iter().map(|(_, peer)| peer);
        gone.chain(others.into_iter().map(|(_, peer)| peer))
            .collect()
    }
}

impl Budget {
    /// Decides if there is room for a record that is newer than the stored one.
    pub(super) fn decide(
        &self,
        record: &SignedRecord,
        source: RecordSource,
        entries: &ShardedMap,
        now: Instant,
    ) -> RoomDecision {
        let origin = record.origin();
        let entry = entries.get(&origin);
        let before = entry.and_then(|entry| entry.get(record.topic()));
        let grow = cost(record).saturating_sub(before.map_or(0, cost));
        if grow == 0 || source == RecordSource::Own {
            return RoomDecision::Granted;
        }
        let is_new = entry.is_none();
        let is_old = entry.is_some_and(|entry| entry.reached);
        let introduced = source == RecordSource::Origin;
        let via = entry.map_or(Some(source), |entry| entry.via.map(RecordSource::Neighbour));
        if let (false, Some(RecordSource::Neighbour(via))) = (introduced, via)
            && via != origin
            && self.brought(&via) + grow > MAX_DATABASE_PER_LINK
        {
            return RoomDecision::Refused;
        }
        if !is_old && !introduced && self.unreached + grow > unreached_share(record.topic()) {
            return RoomDecision::Refused;
        }
        if self.fits(grow, is_new, entries) {
            return RoomDecision::Granted;
        }
        if !introduced && (!is_old || now < self.full_until) {
            return RoomDecision::Refused;
        }
        let born = match (introduced, entry) {
            (false, Some(entry)) => entry.born,
            (true, _) => 0,
            (false, None) => return RoomDecision::Refused,
        };
        RoomDecision::AfterEviction(RoomRequest {
            origin,
            born,
            grow,
            is_new,
        })
    }

    /// Returns true if enough was evicted for a request, and some more.
    pub(super) fn has_slack(&self, request: RoomRequest, entries: &ShardedMap) -> bool {
        self.fits(request.grow + SLACK, request.is_new, entries)
    }

    /// Ends an eviction. Returns true if there is room for the request now; if not, no other eviction is tried for
    /// [`FULL_FOR`].
    pub(super) fn evicted(
        &mut self,
        request: RoomRequest,
        entries: &ShardedMap,
        now: Instant,
    ) -> bool {
        let made = self.fits(request.grow, request.is_new, entries);
        if !made {
            self.full_until = now + FULL_FOR;
        }
        made
    }

    /// Returns true if a record of an unknown router has no room, whatever it contains.
    pub(super) fn is_exhausted(&self, record: &SignedRecord, entries: &ShardedMap) -> bool {
        let grow = cost(record);
        self.unreached + grow > MAX_UNREACHED || !self.fits(grow, true, entries)
    }

    fn fits(&self, grow: usize, is_new: bool, entries: &ShardedMap) -> bool {
        self.bytes + grow <= MAX_DATABASE && !(is_new && entries.len() >= MAX_PEERS)
    }

    /// Returns the bytes of the records of all routers that the neighbour `via` made known.
    fn brought(&self, via: &PeerId) -> usize {
        self.by_link.get(via).copied().unwrap_or_default()
    }

    /// Updates the counts after the cost of a router's records changed from `before` to `now`.
    pub(super) fn charge(&mut self, entry: &OriginEntry, before: usize, now: usize) {
        self.bytes = self.bytes + now - before;
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

    /// Records that a router was reachable for the first time.
    pub(super) fn reached(&mut self, entry: &OriginEntry) {
        self.unreached -= entry.bytes();
    }

    /// Counts a record that was refused for lack of room.
    pub(super) fn refuse(&mut self, now: Instant) {
        self.refused += 1;
        self.shown_until = now + FULL_SHOWN;
    }

    /// Returns true if a record was refused for lack of room within the last [`FULL_SHOWN`].
    pub(super) fn is_full(&self, now: Instant) -> bool {
        now < self.shown_until
    }

    /// Returns true if the room for routers that were never reachable is scarce.
    pub(super) fn is_scarce(&self) -> bool {
        self.unreached > MAX_UNREACHED / 4
    }

    /// Returns the cost of all records in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of records refused for lack of room.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}

/// Returns the bytes for records about a topic of routers that were never reachable.
fn unreached_share(topic: Topic) -> usize {
    match topic {
        Topic::IDENTITY | Topic::LINKS => MAX_UNREACHED,
        _ => MAX_UNREACHED / 2,
    }
}

#[cfg(test)]
mod tests;
