//! Bounded map of recent events; when full, the oldest is replaced.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeBounds;

use crate::time::Instant;

/// Keys with a time and a value. Trees instead of hash tables, because senders of frames choose the keys.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    limit: usize,
    entries: BTreeMap<K, (Instant, V)>,
    /// Keys by time. May have replaced and removed ones, but at most `limit` in total.
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

    /// Returns time and value of the latest event with this key.
    pub(super) fn get(&self, key: &K) -> Option<&(Instant, V)> {
        self.entries.get(key)
    }

    /// Records an event.
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

    /// Removes events before `then`.
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
    fn the_oldest_event_is_replaced_and_a_repeated_one_is_new() {
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
