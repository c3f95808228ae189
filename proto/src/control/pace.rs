//! How soon a router may do something again: say something anew, compute routes.
//!
//! In general a hold-down after the last time. What others wait for may come sooner a few times in a row, at the cost of
//! later ones: in the long run it is done no more than once in each hold-down.

use core::time::Duration;

use crate::time::Instant;

/// How often something urgent may be done in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    /// Times, at least 1.
    pub count: u32,
    /// Least time between two of them.
    pub gap: Duration,
}

/// The pace of one thing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    not_before: Instant,
    urgent_not_before: Instant,
    /// What was done is paid for until then, at one in each hold-down.
    paid_until: Instant,
}

impl Pace {
    /// When it may be done next.
    pub(super) fn not_before(&self, urgent: bool) -> Instant {
        if urgent {
            self.urgent_not_before
        } else {
            self.not_before
        }
    }

    /// It was done.
    pub(super) fn done(&mut self, hold_down: Duration, burst: Burst, now: Instant) {
        let owed = self.paid_until.since(now) + hold_down;
        self.paid_until = now + owed;
        self.not_before = now + hold_down;
        let wait = owed.saturating_sub(hold_down * (burst.count - 1));
        self.urgent_not_before = now + wait.max(burst.gap);
    }

    /// All is to be said anew, at once.
    pub(super) fn begin(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{HOLD_DOWN, LINKS_BURST, LINKS_GAP};
    use proptest::prelude::*;

    const BURST: Burst = Burst {
        count: LINKS_BURST,
        gap: LINKS_GAP,
    };

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    /// When it is said, if there is something to say each millisecond.
    fn times(urgent: bool, end: u64) -> Vec<u64> {
        let mut pace = Pace::default();
        let mut said = Vec::new();
        for millis in 0..end {
            if pace.not_before(urgent) <= at(millis) {
                pace.done(HOLD_DOWN, BURST, at(millis));
                said.push(millis);
            }
        }
        said
    }

    #[test]
    fn a_few_come_at_once_and_then_one_in_a_hold_down() {
        let soon = [0, 200, 400, 600, 800, 1_000, 1_200, 1_400, 1_600];
        assert_eq!(times(true, 3_500), [&soon[..], &[2_000, 3_000]].concat());
        assert_eq!(times(false, 2_500), [0, 1_000, 2_000]);
    }

    proptest! {
        #[test]
        fn in_the_long_run_it_is_one_in_a_hold_down(urgent in proptest::collection::vec(any::<bool>(), 1..300)) {
            let mut pace = Pace::default();
            let mut said = 0;
            for (n, urgent) in (0..).zip(&urgent) {
                let now = at(n * 50);
                if pace.not_before(*urgent) <= now {
                    pace.done(HOLD_DOWN, BURST, now);
                    said += 1;
                }
            }
            let seconds = urgent.len().div_ceil(20);
            prop_assert!(said <= seconds + LINKS_BURST as usize, "{said} in {seconds} s");
        }
    }
}
