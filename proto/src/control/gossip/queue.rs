//! Outbound queue of one neighbour: the records to push to it, to advertise to it and to request from it.
//!
//! The queue is made of sets of keys, not of messages: a record is looked up when it is sent, so a slow link always carries
//! the newest version, and its memory is bounded by the number of records.

use std::collections::BTreeSet;

use crate::ids::Version;
use crate::limits::{
    LAZY_PUSH_DELAY, MAX_GOSSIP_BATCH, MAX_RECORDS_PER_MESSAGE, MAX_RECORDS_PER_REQUEST,
};
use crate::time::Instant;
use crate::topology::lsdb::Lsdb;
use crate::wire::message::LinkMessage;
use crate::wire::topic::RecordKey;

/// Propagation of an update to one neighbour (eager and lazy push as in Plumtree).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Push {
    /// Send the record.
    Eager,
    /// Advertise the version a little later, unless the neighbour shows before that it has it.
    Lazy,
    /// Leave it to another neighbour.
    Skip,
}

/// Outbound queue of one neighbour.
#[derive(Debug, Default)]
pub(crate) struct PeerQueue {
    /// Updates; how each is pushed is decided when it is due.
    updates: BTreeSet<RecordKey>,
    /// Records to send: the neighbour is a child in the tree, or requested them.
    eager: BTreeSet<RecordKey>,
    /// Records to request from the neighbour.
    requests: BTreeSet<RecordKey>,
    /// Records to advertise when due.
    lazy: BTreeSet<RecordKey>,
    push_at: Option<Instant>,
    advertise_at: Option<Instant>,
}

impl PeerQueue {
    /// Returns the number of records that wait.
    pub(crate) fn len(&self) -> usize {
        self.updates.len() + self.eager.len() + self.lazy.len() + self.requests.len()
    }

    /// Queues an update, which is pushed in some way when it is due; updates of others wait a moment for more of them.
    pub(crate) fn update(&mut self, key: RecordKey, at: Instant) {
        self.updates.insert(key);
        self.wake(at);
    }

    /// Queues records to send.
    pub(crate) fn send(&mut self, keys: impl IntoIterator<Item = RecordKey>, now: Instant) {
        self.eager.extend(keys);
        self.wake(now);
    }

    /// Queues a record to advertise after the usual delay.
    pub(crate) fn advertise(&mut self, key: RecordKey, now: Instant) {
        self.lazy.insert(key);
        self.advertise_at.get_or_insert(now + LAZY_PUSH_DELAY);
    }

    /// Queues a record to advertise at once.
    pub(crate) fn advertise_now(&mut self, key: RecordKey, now: Instant) {
        self.lazy.insert(key);
        self.advertise_at = Some(now);
    }

    /// Queues records to request from the neighbour, which has them.
    pub(crate) fn request(&mut self, keys: impl IntoIterator<Item = RecordKey>) {
        self.requests.extend(keys);
    }

    fn wake(&mut self, at: Instant) {
        self.push_at = Some(self.push_at.map_or(at, |old| old.min(at)));
    }

    /// Returns the time at which something is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        let waits = !(self.updates.is_empty() && self.eager.is_empty());
        let push = self.push_at.filter(|_| waits);
        let advertise = self.advertise_at.filter(|_| !self.lazy.is_empty());
        let request = (!self.requests.is_empty()).then_some(Instant::ZERO);
        [push, advertise, request].into_iter().flatten().min()
    }

    /// Removes a record that the neighbour has.
    pub(crate) fn has(&mut self, key: &RecordKey) {
        self.updates.remove(key);
        self.eager.remove(key);
        self.lazy.remove(key);
    }

    /// Removes the records that are gone from the database.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(&RecordKey) -> bool) {
        for set in [&mut self.updates, &mut self.eager, &mut self.lazy] {
            set.retain(|key| !is_gone(key));
        }
    }

    /// Decides how each update that is due is pushed.
    pub(crate) fn decide_push(&mut self, push: impl Fn(&RecordKey) -> Push, now: Instant) {
        if self.push_at.is_none_or(|at| now < at) {
            return;
        }
        for key in core::mem::take(&mut self.updates) {
            match push(&key) {
                Push::Eager => {
                    self.lazy.remove(&key);
                    self.eager.insert(key);
                }
                Push::Lazy => self.advertise(key, now),
                Push::Skip => {}
            }
        }
        if self.eager.is_empty() {
            // The next updates wait for others again.
            self.push_at = None;
        }
    }

    /// Takes off the next message that is due: records, then requests, then advertisements.
    pub(crate) fn next_message(&mut self, lsdb: &Lsdb, now: Instant) -> Option<LinkMessage> {
        while !self.eager.is_empty() {
            let records = self.take_batch(lsdb);
            if !records.is_empty() {
                return Some(LinkMessage::Records(records));
            }
        }
        if !self.requests.is_empty() {
            let requests = core::iter::from_fn(|| self.requests.pop_first());
            return Some(LinkMessage::Request(
                requests.take(MAX_RECORDS_PER_REQUEST).collect(),
            ));
        }
        let records = self.take_advertised(lsdb, now);
        (!records.is_empty()).then_some(LinkMessage::IHave(records))
    }

    /// Takes off what is to be advertised now, until a message is full.
    fn take_advertised(&mut self, lsdb: &Lsdb, now: Instant) -> Vec<(RecordKey, Version)> {
        let mut records = Vec::new();
        if self.advertise_at.is_none_or(|at| now < at) {
            return records;
        }
        while records.len() < MAX_RECORDS_PER_REQUEST
            && let Some(key) = self.lazy.pop_first()
        {
            records.extend(lsdb.get(key).map(|record| (key, record.version())));
        }
        if self.lazy.is_empty() {
            self.advertise_at = None;
        }
        records
    }

    /// Takes off records until a message is full.
    fn take_batch(&mut self, lsdb: &Lsdb) -> Vec<Vec<u8>> {
        let (mut records, mut size) = (Vec::new(), 0);
        while size < MAX_GOSSIP_BATCH && records.len() < MAX_RECORDS_PER_MESSAGE {
            let Some(key) = self.eager.pop_first() else {
                self.push_at = None;
                break;
            };
            if let Some(record) = lsdb.get(key) {
                size += record.bytes().len();
                records.push(record.bytes().to_vec());
            }
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PeerId;
    use crate::topology::testing;
    use crate::wire::topic::Topic;

    fn key(n: u8) -> RecordKey {
        RecordKey::new(PeerId([n; 16]), Topic::LINKS)
    }

    fn updates(keys: &[u8], at: Instant) -> PeerQueue {
        let mut queue = PeerQueue::default();
        keys.iter().for_each(|n| queue.update(key(*n), at));
        queue
    }

    #[test]
    fn updates_are_sent_or_advertised_later_or_left_to_others() {
        let now = Instant::ZERO;
        let mut queue = updates(&[1, 2, 3, 4], now);
        let push = |k: &RecordKey| match *k {
            k if k == key(1) => Push::Eager,
            k if k == key(4) => Push::Skip,
            _ => Push::Lazy,
        };
        queue.decide_push(push, now);
        assert_eq!(queue.eager, BTreeSet::from([key(1)]));
        assert_eq!(queue.lazy, BTreeSet::from([key(2), key(3)]));
        assert_eq!(queue.len(), 3);
        assert_eq!(queue.due(), Some(now), "what is sent is due at once");
        queue.eager.clear();
        assert_eq!(queue.due(), Some(now + LAZY_PUSH_DELAY));
    }

    #[test]
    fn what_the_neighbour_has_is_not_advertised() {
        let (now, later) = (Instant::ZERO, Instant::ZERO + LAZY_PUSH_DELAY);
        let records = [1, 2, 3].map(|n| testing::record(&testing::identity(n), 1, 1, "host"));
        let (mut lsdb, mut queue) = (Lsdb::default(), PeerQueue::default());
        for record in &records {
            lsdb.insert(record.clone(), now);
            queue.advertise(record.key(), now);
        }
        queue.has(&records[1].key());
        assert_eq!(queue.take_advertised(&lsdb, now), [], "not yet");
        let advertised = queue.take_advertised(&lsdb, later);
        let mut expected = [&records[0], &records[2]].map(|r| (r.key(), r.version()));
        expected.sort_unstable();
        assert_eq!(advertised, expected);
        assert_eq!(queue.take_advertised(&lsdb, later), []);
        assert_eq!((queue.due(), queue.len()), (None, 0));
    }

    #[test]
    fn updates_that_are_sent_are_not_advertised() {
        let now = Instant::ZERO;
        let mut queue = updates(&[1], now);
        queue.advertise(key(1), now);
        queue.decide_push(|_| Push::Eager, now);
        assert_eq!((queue.eager.len(), queue.lazy.len()), (1, 0));
    }

    #[test]
    fn updates_wait_for_their_time_and_what_is_gone_is_forgotten() {
        let now = Instant::ZERO;
        let later = now + LAZY_PUSH_DELAY;
        let mut queue = updates(&[1, 2], later);
        queue.decide_push(|_| Push::Eager, now);
        assert!(queue.eager.is_empty());
        queue.forget(|k| *k == key(1));
        queue.decide_push(|_| Push::Eager, later);
        assert_eq!(queue.eager, BTreeSet::from([key(2)]));
    }
}
