//! Hold-down: when a router may repeat an action, such as publishing a record or computing routes.
//!
//! In general an action waits for the hold-down time after the last one. An urgent action may come sooner a few times in a
//! row, at the cost of later ones: in the long run there is no more than one in each hold-down time.

use core::time::Duration;

use crate::time::Instant;

/// Allowance for urgent actions in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Burst {
    /// Times, at least 1.
    pub count: u32,
    /// Least time between two of them.
    pub gap: Duration,
}

/// The hold-down of one kind of action.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HoldDown {
    not_before: Instant,
    urgent_not_before: Instant,
    /// End of the hold-down times of all actions so far, laid end to end.
    paid_until: Instant,
}

impl HoldDown {
    /// Returns the earliest time of the next action.
    pub(crate) fn not_before(&self, urgent: bool) -> Instant {
        if urgent {
            self.urgent_not_before
        } else {
            self.not_before
        }
    }

    /// Records an action.
    pub(crate) fn done(&mut self, hold_down: Duration, burst: Burst, now: Instant) {
        let owed = self.paid_until.since(now) + hold_down;
        self.paid_until = now + owed;
        self.not_before = now + hold_down;
        let wait = owed.saturating_sub(hold_down * (burst.count - 1));
        self.urgent_not_before = now + wait.max(burst.gap);
    }

    /// Forgets all earlier actions.
    pub(crate) fn reset(&mut self) {
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
        let mut hold_down = HoldDown::default();
        let mut said = Vec::new();
        for millis in 0..end {
            if hold_down.not_before(urgent) <= at(millis) {
                hold_down.done(HOLD_DOWN, BURST, at(millis));
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
            let mut hold_down = HoldDown::default();
            let mut said = 0;
            for (n, urgent) in (0..).zip(&urgent) {
                let now = at(n * 50);
                if hold_down.not_before(*urgent) <= now {
                    hold_down.done(HOLD_DOWN, BURST, now);
                    said += 1;
                }
            }
            let seconds = urgent.len().div_ceil(20);
            prop_assert!(said <= seconds + LINKS_BURST as usize, "{said} in {seconds} s");
        }
    }
}
