//! Queries of the database.

use super::Lsdb;
use super::budget::RecordSource;
use super::entry::OriginEntry;
use crate::ids::{PeerId, PeerPrefix};
#[cfg(doc)]
use crate::limits::{FULL_SHOWN, MAX_DATABASE};
use crate::time::Instant;
use crate::topology::bodies::{Attached, IdentityBody, Neighbour};
use crate::topology::record::SignedRecord;
use crate::wire::topic::{RecordKey, Topic};

impl Lsdb {
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
    pub(in crate::topology) fn links_of_all(&self) -> impl Iterator<Item = &[Neighbour]> {
        let records = self.entries.values().map(|entry| entry.get(Topic::LINKS));
        records.map(|record| record.map_or(&[][..], SignedRecord::links))
    }

    /// Returns true if the identity of a router is known.
    pub fn knows(&self, peer: &PeerId) -> bool {
        self.entries.contains_key(peer)
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

    /// Returns true if a record need not be verified because it would be refused anyway: its origin is unknown and
    /// there is no room.
    pub fn is_hopeless(&self, record: &SignedRecord, source: RecordSource) -> bool {
        matches!(source, RecordSource::Neighbour(_))
            && !self.knows(&record.origin())
            && self.budget.is_exhausted(record, &self.entries)
    }

    /// Returns the cost of all records in bytes; at most [`MAX_DATABASE`], plus what exceeds it of this router's own
    /// records.
    pub fn bytes(&self) -> usize {
        self.budget.bytes()
    }

    /// Returns the number of records refused for lack of room.
    pub fn refused_full(&self) -> u64 {
        self.budget.refused()
    }

    /// Returns true if a record was refused for lack of room within the last [`FULL_SHOWN`].
    pub fn is_full(&self, now: Instant) -> bool {
        self.budget.is_full(now)
    }
}
