//! The only reader of the operating system's monotonic clock.

use std::time::Instant as OsInstant;

use mesh_proto::time::Instant;

/// Monotonic time since the start of the router, in the type of the state machines.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: OsInstant,
}

impl Clock {
    /// Returns a clock that starts now. It starts above zero, so that "long ago" differs from "at the start".
    pub fn start() -> Self {
        Self {
            start: OsInstant::now(),
        }
    }

    /// Returns the current time.
    pub fn now(&self) -> Instant {
        Instant::ZERO + HEAD_START + self.start.elapsed()
    }

    /// Converts a time to the clock of the runtime's timers.
    pub fn to_tokio(self, at: Instant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(
            self.start
                + at.since(Instant::ZERO + HEAD_START)
                    .min(LONGEST_SLEEP + self.start.elapsed()),
        )
    }
}

const HEAD_START: std::time::Duration = std::time::Duration::from_secs(3600);
/// Longest sleep; the caller sleeps again for a later deadline.
const LONGEST_SLEEP: std::time::Duration = std::time::Duration::from_secs(3600);

/// Returns the time of day in seconds since 1970; 0 if the clock is before that.
pub fn seconds_since_1970() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Random numbers of the operating system.
#[derive(Debug)]
pub struct OsEntropy;

impl mesh_proto::entropy::Entropy for OsEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        // Keys need randomness: without it the router cannot continue.
        #[allow(clippy::expect_used)]
        getrandom::fill(out).expect("the operating system has no random numbers");
    }
}
