//! What one router says: its records, and how often they came.

use super::record::SignedRecord;
use super::topic::Topic;
use crate::forward::throttle::FixedBucket;
use crate::limits::{RECORD_BURST, RECORD_RATE};

/// What one router says.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) identity: SignedRecord,
    links: Option<SignedRecord>,
    attached: Option<SignedRecord>,
    /// Its records about other topics, in order of these.
    others: Box<[SignedRecord]>,
    pub(super) rate: FixedBucket<RECORD_RATE, RECORD_BURST>,
    pub(super) reachable: bool,
}

impl Entry {
    pub(super) fn new(identity: SignedRecord) -> Self {
        Self {
            identity,
            links: None,
            attached: None,
            others: Box::default(),
            rate: FixedBucket::default(),
            reachable: false,
        }
    }

    /// Its records, in order of topics.
    pub(super) fn records(&self) -> impl Iterator<Item = &SignedRecord> {
        let own = self.links.iter().chain(&self.attached);
        core::iter::once(&self.identity)
            .chain(own)
            .chain(&self.others)
    }

    pub(super) fn get(&self, topic: Topic) -> Option<&SignedRecord> {
        match topic {
            Topic::IDENTITY => Some(&self.identity),
            Topic::LINKS => self.links.as_ref(),
            Topic::ATTACHED => self.attached.as_ref(),
            _ => self.others.iter().find(|record| record.topic() == topic),
        }
    }

    /// Puts a record in its place, and drops what it makes void.
    pub(super) fn put(&mut self, record: SignedRecord) {
        match record.topic() {
            Topic::IDENTITY => {
                self.end_before(record.version().epoch);
                self.identity = record;
            }
            Topic::LINKS => self.links = Some(record),
            Topic::ATTACHED => self.attached = Some(record),
            topic => match self
                .others
                .binary_search_by_key(&topic, SignedRecord::topic)
            {
                Ok(at) => self.others[at] = record,
                Err(at) => {
                    let mut others = core::mem::take(&mut self.others).into_vec();
                    others.insert(at, record);
                    self.others = others.into();
                }
            },
        }
    }

    /// What was said in earlier runs than this is void.
    fn end_before(&mut self, epoch: u64) {
        let is_valid = |record: &SignedRecord| record.version().epoch >= epoch;
        self.links.take_if(|record| !is_valid(record));
        self.attached.take_if(|record| !is_valid(record));
        if !self.others.iter().all(is_valid) {
            let others = core::mem::take(&mut self.others).into_iter();
            self.others = others.filter(is_valid).collect();
        }
    }

    /// Number of its records.
    pub(super) fn len(&self) -> usize {
        self.records().count()
    }

    pub(super) fn sum(&self) -> u128 {
        let hashes = self.records().map(|r| u128::from_be_bytes(r.hash()));
        hashes.fold(0, u128::wrapping_add)
    }
}
