//! Replay protection: a sliding window over the last [`SlidingWindow::WIDTH`] counters.
//!
//! A counter is *fresh* if it is higher than all before it, or if it is less than the width below the highest and was
//! not seen. Checking and recording are separate, because a datagram may be recorded only after it was authenticated:
//! a forged one must not move the window. The algorithm is that of RFC 6479, on a ring of 64-bit words.

use crate::limits::REPLAY_WINDOW;

/// Replay window of one direction of a session.
pub type ReplayWindow = SlidingWindow<129>;
const _: () = assert!(ReplayWindow::WIDTH == REPLAY_WINDOW);

/// Error: the counter was seen before, or is older than the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("counter was seen before or is too old")]
pub struct Replayed;

/// Window of 64 × (`WORDS` − 1) counters.
///
/// It has one word more than the window, so that the word being filled never overlaps the oldest one.
#[derive(Clone, Debug)]
pub struct SlidingWindow<const WORDS: usize> {
    /// Highest counter seen, plus 1; 0 before the first.
    next: u64,
    seen: [u64; WORDS],
}

impl<const WORDS: usize> Default for SlidingWindow<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const WORDS: usize> SlidingWindow<WORDS> {
    /// Width of the window in counters, the highest included.
    pub const WIDTH: u64 = 64 * (WORDS as u64 - 1);

    /// Creates an empty window.
    pub fn new() -> Self {
        Self {
            next: 0,
            seen: [0; WORDS],
        }
    }

    /// Checks that `counter` is fresh, without recording it.
    ///
    /// # Errors
    /// [`Replayed`] if it is not.
    pub fn check(&self, counter: u64) -> Result<(), Replayed> {
        // The highest value has no successor; a session ends long before it.
        if counter == u64::MAX || self.is_too_old(counter) {
            return Err(Replayed);
        }
        let (word, bit) = Self::place(counter);
        if counter < self.next && self.seen[word] & bit != 0 {
            return Err(Replayed);
        }
        Ok(())
    }

    /// Returns true if `counter` is older than the window.
    pub fn is_too_old(&self, counter: u64) -> bool {
        self.next.saturating_sub(counter) > Self::WIDTH
    }

    /// Records `counter`, which must have been authenticated. Returns true if it is the highest so far.
    ///
    /// # Errors
    /// [`Replayed`] if it is not fresh, for instance because another lane recorded a copy first.
    pub fn commit(&mut self, counter: u64) -> Result<bool, Replayed> {
        self.check(counter)?;
        let newest = counter >= self.next;
        if newest {
            self.advance(counter);
        }
        let (word, bit) = Self::place(counter);
        self.seen[word] |= bit;
        Ok(newest)
    }

    /// Clears the words between the highest counter so far and `counter`, and makes `counter` the highest.
    fn advance(&mut self, counter: u64) {
        let target = counter / 64;
        if let Some(highest) = self.next.checked_sub(1) {
            let steps = (target - highest / 64).min(WORDS as u64);
            for back in 0..steps {
                self.seen[Self::ring(target - back)] = 0;
            }
        }
        self.next = counter + 1;
    }

    fn ring(word: u64) -> usize {
        usize::try_from(word % WORDS as u64).unwrap_or_default()
    }

    fn place(counter: u64) -> (usize, u64) {
        (Self::ring(counter / 64), 1 << (counter % 64))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn seen(counters: &[u64]) -> ReplayWindow {
        let mut window = ReplayWindow::new();
        for c in counters {
            window.commit(*c).unwrap();
        }
        window
    }

    #[test]
    fn each_counter_once() {
        let mut window = ReplayWindow::new();
        for c in [0, 1, 63, 64, 65, 2, 8_191, 8_192, 8_193, 66] {
            assert!(window.commit(c).is_ok(), "{c}");
            assert_eq!(window.commit(c), Err(Replayed), "{c}");
        }
    }

    #[test]
    fn newest_only_for_the_highest() {
        let mut window = ReplayWindow::new();
        assert_eq!(window.commit(5), Ok(true));
        assert_eq!(window.commit(4), Ok(false));
        assert_eq!(window.commit(6), Ok(true));
    }

    #[test]
    fn the_window_ends_where_it_should() {
        for high in [8_191, 8_192, 8_193, 64 * 8_192, (1 << 48) - 1] {
            let window = seen(&[high]);
            let oldest = high - (REPLAY_WINDOW - 1);
            assert_eq!(window.check(oldest), Ok(()), "{high}");
            if let Some(older) = oldest.checked_sub(1) {
                assert_eq!(window.check(older), Err(Replayed), "{high}");
            }
            assert_eq!(window.check(high), Err(Replayed));
            assert_eq!(window.check(high + 1), Ok(()));
        }
    }

    #[test]
    fn a_jump_forgets_nothing_that_is_still_inside() {
        for jump in [1, 63, 64, 65, 8_190, 8_191] {
            let mut window = seen(&[1_000]);
            window.commit(1_000 + jump).unwrap();
            assert_eq!(window.check(1_000), Err(Replayed), "{jump}");
            assert_eq!(
                window.check(1_001),
                if jump == 1 { Err(Replayed) } else { Ok(()) }
            );
        }
    }

    #[test]
    fn a_jump_clears_reused_words() {
        for jump in [8_192, 8_193, 8_255, 8_256, 8_257, 1 << 20, 1 << 47] {
            let mut window = ReplayWindow::new();
            for c in 0..REPLAY_WINDOW {
                window.commit(c).unwrap();
            }
            window.commit(REPLAY_WINDOW - 1 + jump).unwrap();
            for c in REPLAY_WINDOW..REPLAY_WINDOW + 200 {
                let inside = c + REPLAY_WINDOW > REPLAY_WINDOW - 1 + jump;
                let is_highest = c == REPLAY_WINDOW - 1 + jump;
                assert_eq!(window.check(c).is_ok(), inside && !is_highest, "{jump} {c}");
            }
        }
    }

    #[test]
    fn checking_records_nothing() {
        let window = ReplayWindow::new();
        assert_eq!(window.check(1 << 40), Ok(()));
        assert_eq!(window.check(0), Ok(()));
    }

    #[test]
    fn the_last_value_is_refused_not_wrapped() {
        let mut window = ReplayWindow::new();
        assert_eq!(window.commit(u64::MAX), Err(Replayed));
        assert_eq!(window.commit(u64::MAX - 1), Ok(true));
        assert_eq!(window.commit(0), Err(Replayed));
    }

    /// Counters close to the edges of words and of the window.
    fn counters() -> impl Strategy<Value = Vec<u64>> {
        let step = prop_oneof![
            4 => 0u64..4,
            2 => 60u64..70,
            1 => 8_120u64..8_330,
            1 => 0u64..20_000,
        ];
        let walk = prop::collection::vec((step, any::<bool>()), 1..300);
        (0u64..1 << 47, walk).prop_map(|(start, walk)| {
            let mut at = start;
            walk.into_iter()
                .map(|(step, up)| {
                    at = if up {
                        at + step
                    } else {
                        at.saturating_sub(step)
                    };
                    at
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(counters in counters()) {
            let mut window = ReplayWindow::new();
            let mut model = BTreeSet::new();
            for c in counters {
                let highest = model.last().copied();
                let too_old = highest.is_some_and(|h: u64| h >= c && h - c >= REPLAY_WINDOW);
                let fresh = !too_old && !model.contains(&c);
                prop_assert_eq!(window.check(c).is_ok(), fresh);
                let expected = if fresh { Ok(highest.is_none_or(|h| c > h)) } else { Err(Replayed) };
                prop_assert_eq!(window.commit(c), expected);
                if fresh {
                    model.insert(c);
                }
            }
        }
    }
}
