//! A bounded set of things that happened a while ago at most; when full the oldest makes room.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeBounds;

use crate::time::Instant;

/// Keys, each with a moment and what else is known; trees, not hashes, since senders of frames choose the keys.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    limit: usize,
    entries: BTreeMap<K, (Instant, V)>,
    /// In the order of their moments; those that were replaced or taken since are still in it, but no more than `limit`.
    order: VecDeque<(K, Instant)>,
}

impl<K: Ord + Copy, V> Recent<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            entries: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// When that happened, and what is known of it.
    pub(super) fn get(&self, key: &K) -> Option<&(Instant, V)> {
        self.entries.get(key)
    }

    /// It happened now.
    pub(super) fn insert(&mut self, key: K, value: V, now: Instant) {
        self.entries.insert(key, (now, value));
        self.order.push_back((key, now));
        while self.order.len() > self.limit {
            self.drop_first();
        }
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }

    pub(super) fn remove_range(&mut self, keys: impl RangeBounds<K>) {
        let gone: Vec<K> = self.entries.range(keys).map(|(key, _)| *key).collect();
        for key in gone {
            self.entries.remove(&key);
        }
    }

    /// Forgets what happened before `then`.
    pub(super) fn forget_before(&mut self, then: Instant) {
        while self.order.front().is_some_and(|(_, at)| *at < then) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some((key, at)) = self.order.pop_front() else {
            return;
        };
        if self.entries.get(&key).is_some_and(|(when, _)| *when == at) {
            self.entries.remove(&key);
        }
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        assert!(self.order.len() <= self.limit);
        for (key, (at, _)) in &self.entries {
            assert!(self.order.iter().any(|(k, t)| k == key && t == at));
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn the_oldest_makes_room_and_what_happened_again_is_young() {
        let mut recent = Recent::new(2);
        recent.insert(1, 'a', at(1));
        recent.insert(2, 'b', at(2));
        recent.insert(1, 'c', at(3));
        recent.check();
        assert_eq!(recent.get(&1), Some(&(at(3), 'c')));
        recent.insert(3, 'd', at(4));
        recent.check();
        assert_eq!(recent.get(&2), None);
        assert_eq!(recent.get(&1), Some(&(at(3), 'c')));
        recent.forget_before(at(4));
        recent.check();
        assert_eq!(
            (recent.get(&1), recent.get(&3)),
            (None, Some(&(at(4), 'd')))
        );
        recent.remove_range(3..4);
        recent.check();
        assert_eq!(recent.get(&3), None);
    }
}
