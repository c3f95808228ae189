//! Duplicate suppression for broadcasts and relayed datagrams: one sliding window for each stream of sequence
//! numbers.
//!
//! Streams are named by other routers, so their number is bounded ([`MAX_DUPLICATE_WINDOWS`]); the least recently
//! used is forgotten first. A neighbour that invents sequence numbers could push a window far ahead. Therefore a
//! window that accepted nothing for [`DUPLICATE_MEMORY`] may be set back: by then the hop limit has ended every loop.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::limits::{DUPLICATE_MEMORY, MAX_DUPLICATE_WINDOWS, MAX_RELAYED_HANDSHAKES};
use crate::session::replay::SlidingWindow;
use crate::time::Instant;

/// 1,024 sequence numbers: several round trips of broadcasts, and more reordering than parallel paths cause.
type SequenceWindow = SlidingWindow<17>;

/// Shortest time between two updates of a stream's place in the order of use.
const RENEW: Duration = Duration::from_secs(1);

/// Sliding windows of many streams, each identified by a key `K`.
#[derive(Clone, Debug)]
pub(super) struct Duplicates<K> {
    capacity: usize,
    streams: BTreeMap<K, Stream>,
    order: BTreeSet<(Instant, K)>,
}

#[derive(Clone, Debug)]
struct Stream {
    epoch: u64,
    window: SequenceWindow,
    /// Time at which a fresh number was last accepted.
    taken: Instant,
    /// Time under which the stream stands in the order of use.
    ordered: Instant,
}

impl<K: Ord + Copy> Duplicates<K> {
    pub(super) fn new() -> Self {
        Self::with_capacity(MAX_DUPLICATE_WINDOWS)
    }

    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            streams: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// Records number `sequence` of `epoch` of stream `key`. Returns false if it was seen before or is older than the
    /// window.
    pub(super) fn is_fresh(&mut self, key: K, epoch: u64, sequence: u64, now: Instant) -> bool {
        if !self.streams.contains_key(&key) {
            self.insert(key, epoch, now);
        }
        let Some(stream) = self.streams.get_mut(&key) else {
            return false;
        };
        let behind =
            epoch < stream.epoch || (epoch == stream.epoch && stream.window.is_too_old(sequence));
        if epoch > stream.epoch || (behind && now.since(stream.taken) >= DUPLICATE_MEMORY) {
            stream.epoch = epoch;
            stream.window = SequenceWindow::new();
        }
        if epoch != stream.epoch || stream.window.commit(sequence).is_err() {
            return false;
        }
        stream.taken = now;
        if now.since(stream.ordered) >= RENEW {
            self.order.remove(&(stream.ordered, key));
            stream.ordered = now;
            self.order.insert((now, key));
        }
        true
    }

    /// Returns true if [`Duplicates::is_fresh`] would refuse number `sequence`; records nothing.
    pub(super) fn was_seen(&self, key: K, epoch: u64, sequence: u64, now: Instant) -> bool {
        let Some(stream) = self.streams.get(&key) else {
            return false;
        };
        let behind =
            epoch < stream.epoch || (epoch == stream.epoch && stream.window.is_too_old(sequence));
        if epoch > stream.epoch || behind {
            return behind && now.since(stream.taken) < DUPLICATE_MEMORY;
        }
        stream.window.check(sequence).is_err()
    }

    fn insert(&mut self, key: K, epoch: u64, now: Instant) {
        if self.streams.len() >= self.capacity
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.streams.remove(&oldest);
        }
        let stream = Stream {
            epoch,
            window: SequenceWindow::new(),
            taken: now,
            ordered: now,
        };
        self.streams.insert(key, stream);
        self.order.insert((now, key));
    }
}

/// Digests of recently relayed handshake messages, which have no sequence numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentMessages {
    known: BTreeSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl RecentMessages {
    /// Records a message. Returns false if it was seen before.
    pub(super) fn is_fresh(&mut self, digest: [u8; 32]) -> bool {
        if !self.known.insert(digest) {
            return false;
        }
        if self.order.len() >= MAX_RELAYED_HANDSHAKES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(digest);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::from_nanos(0);

    fn secs(n: u64) -> Instant {
        T0 + Duration::from_secs(n)
    }

    #[test]
    fn each_number_of_a_stream_once() {
        let mut duplicates = Duplicates::new();
        for n in [5, 4, 6, 1_029, 100] {
            assert!(duplicates.is_fresh('a', 1, n, T0), "{n}");
            assert!(!duplicates.is_fresh('a', 1, n, T0), "{n}");
        }
        assert!(
            !duplicates.is_fresh('a', 1, 5, T0),
            "1,024 below the highest"
        );
        assert!(duplicates.is_fresh('b', 1, 5, T0));
    }

    #[test]
    fn a_higher_epoch_resets_the_window_and_a_lower_one_is_refused() {
        let mut duplicates = Duplicates::new();
        assert!(duplicates.is_fresh('a', 1, 900, T0));
        assert!(duplicates.is_fresh('a', 2, 0, T0));
        assert!(!duplicates.is_fresh('a', 1, 901, T0));
        assert!(!duplicates.is_fresh('a', 2, 0, T0));
    }

    #[test]
    fn a_window_pushed_ahead_recovers_when_it_was_quiet() {
        let mut duplicates = Duplicates::new();
        assert!(duplicates.is_fresh('a', 1, 7, T0));
        assert!(duplicates.is_fresh('a', 1, 1 << 40, T0));
        assert!(!duplicates.is_fresh('a', 1, 8, secs(4)));
        assert!(duplicates.is_fresh('a', 1, 8, secs(5)));
        assert!(
            !duplicates.is_fresh('a', 1, 8, secs(20)),
            "a known duplicate never sets a window back"
        );
        assert!(duplicates.is_fresh('a', u64::MAX, 0, secs(20)));
        assert!(!duplicates.is_fresh('a', 1, 9, secs(24)));
        assert!(duplicates.is_fresh('a', 1, 9, secs(25)));
    }

    #[test]
    fn the_longest_unused_stream_is_forgotten() {
        let mut duplicates = Duplicates::with_capacity(2);
        assert!(duplicates.is_fresh('a', 1, 1, secs(0)));
        assert!(duplicates.is_fresh('b', 1, 1, secs(1)));
        assert!(duplicates.is_fresh('a', 1, 2, secs(2)));
        assert!(duplicates.is_fresh('c', 1, 1, secs(3)));
        assert!(!duplicates.is_fresh('a', 1, 2, secs(3)));
        assert!(duplicates.is_fresh('b', 1, 1, secs(3)), "b was forgotten");
        assert_eq!((duplicates.streams.len(), duplicates.order.len()), (2, 2));
    }

    #[test]
    fn looking_agrees_with_recording_and_records_nothing() {
        let mut duplicates = Duplicates::new();
        let steps = [
            (1, 7, 0),
            (1, 7, 0),
            (1, 1 << 40, 1),
            (1, 8, 2),
            (0, 9, 3),
            (1, 8, 9),
            (2, 0, 9),
            (1, 9, 10),
        ];
        for (epoch, sequence, at) in steps {
            for _ in 0..2 {
                let seen = duplicates.was_seen('a', epoch, sequence, secs(at));
                assert_eq!(
                    seen,
                    !duplicates.clone().is_fresh('a', epoch, sequence, secs(at))
                );
            }
            duplicates.is_fresh('a', epoch, sequence, secs(at));
        }
    }

    #[test]
    fn messages_are_remembered_up_to_the_bound() {
        let mut recent = RecentMessages::default();
        let digest = |n: usize| {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&n.to_be_bytes());
            digest
        };
        for n in 0..=MAX_RELAYED_HANDSHAKES {
            assert!(recent.is_fresh(digest(n)));
        }
        assert!(!recent.is_fresh(digest(1)));
        assert!(recent.is_fresh(digest(0)), "the first was forgotten");
        assert_eq!(recent.known.len(), MAX_RELAYED_HANDSHAKES);
        assert_eq!(recent.order.len(), MAX_RELAYED_HANDSHAKES);
    }
}
