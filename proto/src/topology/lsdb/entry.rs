//! Database entry of one router: its records and their rate limit.

use crate::ids::PeerId;
use crate::limits::{RECORD_BURST, RECORD_COST, RECORD_RATE};
use crate::rate::FixedBucket;
use crate::topology::record::SignedRecord;
use crate::wire::topic::Topic;

/// Records of one router.
#[derive(Clone, Debug)]
pub(super) struct OriginEntry {
    pub(super) identity: SignedRecord,
    links: Option<SignedRecord>,
    attached: Option<SignedRecord>,
    /// `None` for most routers, to save memory.
    others: Option<Box<Others>>,
    pub(super) rate: FixedBucket<RECORD_RATE, RECORD_BURST>,
    pub(super) reachable: bool,
    /// True if it was reachable at any time.
    pub(super) reached: bool,
    /// Serial number: routers added before it.
    pub(super) born: u64,
    /// Neighbour from which it was first learnt; the router itself if it has a link to this one.
    pub(super) via: Option<PeerId>,
}

/// Records about other topics, at least one, in order of topic.
#[derive(Clone, Debug)]
struct Others(Vec<SignedRecord>);

impl OriginEntry {
    pub(super) fn new(identity: SignedRecord, born: u64, via: Option<PeerId>) -> Self {
        Self {
            identity,
            links: None,
            attached: None,
            others: None,
            rate: FixedBucket::default(),
            reachable: false,
            reached: false,
            born,
            via,
        }
    }

    /// Returns the records in order of topic.
    pub(super) fn records(&self) -> impl Iterator<Item = &SignedRecord> {
        let own = self.links.iter().chain(&self.attached);
        core::iter::once(&self.identity)
            .chain(own)
            .chain(self.others())
    }

    fn others(&self) -> &[SignedRecord] {
        self.others.as_ref().map_or(&[], |others| &others.0)
    }

    pub(super) fn get(&self, topic: Topic) -> Option<&SignedRecord> {
        match topic {
            Topic::IDENTITY => Some(&self.identity),
            Topic::LINKS => self.links.as_ref(),
            Topic::ATTACHED => self.attached.as_ref(),
            _ => self.others().iter().find(|record| record.topic() == topic),
        }
    }

    /// Stores a record, and removes those that it makes void.
    pub(super) fn put(&mut self, record: SignedRecord) {
        match record.topic() {
            Topic::IDENTITY => {
                self.end_before(record.version().epoch);
                self.identity = record;
            }
            Topic::LINKS => self.links = Some(record),
            Topic::ATTACHED => self.attached = Some(record),
            topic => {
                let others = self
                    .others
                    .get_or_insert_with(|| Box::new(Others(Vec::new())));
                let others = &mut others.0;
                match others.binary_search_by_key(&topic, SignedRecord::topic) {
                    Ok(at) => others[at] = record,
                    Err(at) => {
                        others.reserve_exact(1);
                        others.insert(at, record);
                    }
                }
            }
        }
    }

    /// Removes records of epochs before `epoch`, which are void.
    fn end_before(&mut self, epoch: u64) {
        let is_valid = |record: &SignedRecord| record.version().epoch >= epoch;
        self.links.take_if(|record| !is_valid(record));
        self.attached.take_if(|record| !is_valid(record));
        if let Some(others) = &mut self.others {
            others.0.retain(is_valid);
            self.others.take_if(|others| others.0.is_empty());
        }
    }

    /// Removes all records except identity and links. Returns the topics of those removed.
    pub(super) fn strip(&mut self) -> Vec<Topic> {
        let dropped = self.attached.take();
        let others = self.others.take().map_or_else(Vec::new, |others| others.0);
        dropped
            .iter()
            .chain(&others)
            .map(SignedRecord::topic)
            .collect()
    }

    /// Returns the cost of its records in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.records().map(cost).sum()
    }

    /// Returns the number of its records.
    pub(super) fn len(&self) -> usize {
        self.records().count()
    }

    pub(super) fn sum(&self) -> u128 {
        let hashes = self.records().map(|r| u128::from_be_bytes(r.hash()));
        hashes.fold(0, u128::wrapping_add)
    }
}

/// Returns the cost of a record in bytes, with the overhead of its entry.
pub(super) fn cost(record: &SignedRecord) -> usize {
    record.bytes().len() + RECORD_COST
}
