//! Conditions with a deadline: a test waits no longer than it must.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// Interval of checking a condition.
const POLL: Duration = Duration::from_millis(50);
/// Longest interval while waiting; before, it is a tenth of the time waited, since most checks start a program.
const LONGEST_POLL: Duration = Duration::from_millis(200);

/// Largest factor by which a busy machine may stretch a time.
const MOST_TIMES: f64 = 4.0;

/// Repeats `attempt` until it succeeds, and returns its value.
///
/// # Errors
/// `what` and the last failure, after `deadline` scaled by [`here`]. A running attempt is not interrupted.
pub fn wait_until<T>(
    deadline: Duration,
    what: &str,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if began.elapsed() >= here(deadline) => {
                return Err(error.context(format!("not within {deadline:?}: {what}")));
            }
            Err(_) => thread::sleep((began.elapsed() / 10).clamp(POLL, LONGEST_POLL)),
        }
    }
}

/// Scales a time for this machine under its present load: by the number of runnable tasks per core.
pub fn here(time: Duration) -> Duration {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or_default();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let cores = u32::try_from(cores).map_or(1.0, f64::from);
    time.mul_f64((load / cores).clamp(1.0, MOST_TIMES))
}

/// Checks `condition` repeatedly during the whole of `period`; for conditions that must not change.
///
/// # Errors
/// The first failure of `condition`, with `what`.
pub fn stays(
    period: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<()>,
) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < period {
        condition().with_context(|| format!("did not last {period:?}: {what}"))?;
        thread::sleep(POLL);
    }
    Ok(())
}

/// Prints a figure to standard error even if the test passes, when its captured output is discarded.
pub fn tell(text: &str) {
    use std::io::Write as _;
    // A failed write must not fail the test.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Returns an error with the text of `otherwise`, unless `condition` holds.
pub(crate) fn require(condition: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if condition {
        Ok(())
    } else {
        Err(anyhow!(otherwise()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_first_success() {
        let mut tries = 0;
        let value = wait_until(Duration::from_secs(5), "three tries", || {
            tries += 1;
            require(tries == 3, || format!("{tries}")).map(|()| tries)
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn names_what_was_waited_for_and_why_it_failed() {
        let error = wait_until(Duration::ZERO, "rain", || -> Result<()> {
            Err(anyhow!("sun"))
        });
        let text = format!("{:#}", error.unwrap_err());
        assert!(text.contains("rain") && text.contains("sun"), "{text}");
    }

    #[test]
    fn a_condition_that_breaks_does_not_stay() {
        let mut left = 2;
        let result = stays(Duration::from_secs(5), "credit", || {
            left -= 1;
            require(left > 0, || "spent".to_owned())
        });
        assert!(result.is_err());
        assert!(stays(Duration::from_millis(120), "peace", || Ok(())).is_ok());
    }
}
