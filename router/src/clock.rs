//! The only place that reads the operating system's monotonic clock.

use std::time::Instant as OsInstant;

use mesh_proto::time::Instant;

/// Monotonic time since the router's start, as the state machines want it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: OsInstant,
}

impl Clock {
    /// A clock that begins now, a little above zero so that "long ago" can be told from "at the start".
    pub fn start() -> Self {
        Self {
            start: OsInstant::now(),
        }
    }

    /// The present moment.
    pub fn now(&self) -> Instant {
        Instant::ZERO + HEAD_START + self.start.elapsed()
    }

    /// The same moment as the runtime's timers count it.
    pub fn to_tokio(self, at: Instant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(
            self.start
                + at.since(Instant::ZERO + HEAD_START)
                    .min(LONGEST_SLEEP + self.start.elapsed()),
        )
    }
}

const HEAD_START: std::time::Duration = std::time::Duration::from_secs(3600);
/// Far deadlines are slept for in pieces.
const LONGEST_SLEEP: std::time::Duration = std::time::Duration::from_secs(3600);

/// Randomness from the operating system.
#[derive(Debug)]
pub struct OsEntropy;

impl mesh_proto::entropy::Entropy for OsEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        // Without randomness there are no keys: nothing sensible can go on.
        #[allow(clippy::expect_used)]
        getrandom::fill(out).expect("the operating system has no random numbers");
    }
}
