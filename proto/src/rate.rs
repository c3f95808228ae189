//! Rate limits: token buckets, and a limiter of equal events.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::time::Instant;

/// Token bucket with a rate of `rate` tokens per second and a capacity of `burst`.
#[derive(Clone, Debug)]
pub(crate) struct TokenBucket {
    rate: u64,
    burst: u64,
    /// Tokens times 10⁹, so that each nanosecond adds `rate`.
    level: u128,
    filled: Instant,
}

const NANOS: u128 = 1_000_000_000;

impl TokenBucket {
    /// Creates a full bucket.
    pub(crate) fn new(rate: u64, burst: u64) -> Self {
        Self {
            rate,
            burst,
            level: u128::from(burst) * NANOS,
            filled: Instant::ZERO,
        }
    }

    /// Takes one token. Returns false if there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.take_some(1, now)
    }

    /// Takes `tokens` tokens. Returns false, and takes none, if there are fewer.
    pub(crate) fn take_some(&mut self, tokens: u64, now: Instant) -> bool {
        let gained = now.since(self.filled).as_nanos() * u128::from(self.rate);
        self.level = (self.level + gained).min(u128::from(self.burst) * NANOS);
        self.filled = self.filled.max(now);
        match self.level.checked_sub(u128::from(tokens) * NANOS) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }
}

/// Token bucket of `RATE` tokens per second and a capacity of `BURST`, for tables with one bucket per entry. Its
/// state is one time, up to which the tokens taken are paid for (generic cell rate algorithm, ITU-T I.371).
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedBucket<const RATE: u64, const BURST: u64> {
    paid_until: Instant,
}

impl<const RATE: u64, const BURST: u64> FixedBucket<RATE, BURST> {
    const EACH: Duration = Duration::from_nanos(1_000_000_000 / RATE);

    /// Takes one token. Returns false if there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let paid_until = self.paid_until.max(now) + Self::EACH;
        let has_one = paid_until.since(now) <= Duration::from_nanos(BURST * 1_000_000_000 / RATE);
        if has_one {
            self.paid_until = paid_until;
        }
        has_one
    }
}

/// Limiter that lets equal events pass at most once per interval.
#[derive(Clone, Debug)]
pub(super) struct Throttle<K> {
    interval: Duration,
    capacity: usize,
    last: BTreeMap<K, Instant>,
    /// Time at which a full table may be searched for expired events again, so that a flood of new ones does not
    /// search it each time.
    next_search: Instant,
}

impl<K: Ord> Throttle<K> {
    /// Creates a limiter that remembers at most `capacity` events; while all of those are recent, new events do not
    /// pass.
    pub(super) fn new(interval: Duration, capacity: usize) -> Self {
        Self {
            interval,
            capacity,
            last: BTreeMap::new(),
            next_search: Instant::ZERO,
        }
    }

    /// Returns true if the event may pass now.
    pub(super) fn pass(&mut self, key: K, now: Instant) -> bool {
        if let Some(last) = self.last.get_mut(&key) {
            if now.since(*last) < self.interval {
                return false;
            }
            *last = now;
            return true;
        }
        if self.last.len() >= self.capacity && now >= self.next_search {
            let interval = self.interval;
            self.next_search = now + interval;
            self.last.retain(|_, last| now.since(*last) < interval);
        }
        if self.last.len() >= self.capacity {
            return false;
        }
        self.last.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let mut bucket = TokenBucket::new(1_000, 10);
        let start = at(60_000);
        assert_eq!((0..50).filter(|_| bucket.take(start)).count(), 10);
        assert!(!bucket.take(start));
        let taken = (1..=1_000)
            .filter(|ms| bucket.take(start + Duration::from_millis(*ms)))
            .count();
        assert_eq!(taken, 1_000);
        assert_eq!((0..50).filter(|_| bucket.take(at(3_600_000))).count(), 10);
    }

    #[test]
    fn time_that_stops_or_goes_back_gives_no_tokens() {
        let mut bucket = TokenBucket::new(1_000, 1);
        assert!(bucket.take(at(100)));
        assert!(!bucket.take(at(50)));
        assert!(!bucket.take(at(100)));
        assert!(bucket.take(at(101)));
    }

    proptest! {
        #[test]
        fn a_fixed_bucket_equals_a_token_bucket(waits in prop::collection::vec(0u64..400, 1..300)) {
            let mut fixed = FixedBucket::<8, 32>::default();
            let (mut other, mut now) = (TokenBucket::new(8, 32), at(0));
            for wait in waits {
                now += Duration::from_millis(if wait < 200 { 0 } else { wait });
                prop_assert_eq!(fixed.take(now), other.take(now));
            }
        }
    }

    #[test]
    fn equal_events_wait_others_do_not() {
        let mut throttle = Throttle::new(Duration::from_millis(100), 10);
        assert!(throttle.pass('a', at(0)));
        assert!(!throttle.pass('a', at(99)));
        assert!(throttle.pass('b', at(99)));
        assert!(throttle.pass('a', at(100)));
        assert!(!throttle.pass('a', at(199)));
    }

    #[test]
    fn a_full_memory_holds_new_events_back_until_old_ones_pass() {
        let mut throttle = Throttle::new(Duration::from_millis(100), 2);
        assert!(throttle.pass(1, at(0)) && throttle.pass(2, at(10)));
        assert!(!throttle.pass(3, at(50)));
        assert!(!throttle.pass(3, at(149)), "searched 99 ms ago");
        assert!(throttle.pass(3, at(150)) && throttle.pass(4, at(150)));
        assert!(!throttle.pass(5, at(150)));
        assert!(throttle.last.len() <= 2);
    }
}
