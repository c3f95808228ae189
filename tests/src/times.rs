//! Durations of operations that must usually be fast: a single delay on a busy machine is no defect, a slow median is.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Durations of one kind of operation.
#[derive(Debug, Default)]
pub struct Times(RefCell<Vec<Duration>>);

impl Times {
    /// Runs `work` and records its duration.
    ///
    /// # Errors
    /// `work` fails.
    pub fn of<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let result = work()?;
        self.0.borrow_mut().push(began.elapsed());
        Ok(result)
    }

    /// Checks that the median is at most `limit`.
    ///
    /// # Errors
    /// The median is larger, or nothing was recorded; with all durations in order.
    pub fn usually_within(&self, limit: Duration) -> Result<()> {
        let mut times = self.0.borrow().clone();
        times.sort_unstable();
        let median = times.get(times.len().saturating_sub(1) / 2);
        ensure!(
            median.is_some_and(|median| *median <= limit),
            "usually not within {limit:?}: {times:?}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_counts() {
        let times = |millis: &[u64]| {
            let all = millis.iter().copied().map(Duration::from_millis);
            Times(RefCell::new(all.collect()))
        };
        let limit = Duration::from_millis(10);
        assert!(times(&[]).usually_within(limit).is_err());
        assert!(times(&[10]).usually_within(limit).is_ok());
        assert!(times(&[900, 1, 10]).usually_within(limit).is_ok());
        assert!(times(&[900, 11, 10]).usually_within(limit).is_err());
    }
}
