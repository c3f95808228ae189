//! Changes by others at ports of the bridge, which are set back by each look: told in the log, and in `status` for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time after a change for which `status` speaks of it.
const TOLD_FOR: Duration = Duration::from_secs(600);
/// Time between two lines of the log about the same.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The last time that something had to be set back.
#[derive(Debug, Default)]
pub(super) struct Interference(Mutex<Option<SetBack>>);

#[derive(Clone, Debug)]
struct SetBack {
    what: String,
    times: u64,
    last: Instant,
    logged: Instant,
}

impl Interference {
    /// Notes changes that were set back just now; a line for each port.
    pub(super) fn note(&self, changed: &[String]) {
        if changed.is_empty() {
            return;
        }
        let what = changed.join("; ");
        let now = Instant::now();
        let mut seen = self.lock();
        let before = seen.take();
        let is_news = before
            .as_ref()
            .is_none_or(|b| b.what != what || b.logged.elapsed() >= LOG_EVERY);
        if is_news {
            tracing::warn!(
                "somebody else changed ports of the mesh's bridge, which loses frames; set back: {what}"
            );
        }
        let times = before.as_ref().map_or(0, |b| b.times) + 1;
        let logged = match before {
            Some(before) if !is_news => before.logged,
            _ => now,
        };
        *seen = Some(SetBack {
            what,
            times,
            last: now,
            logged,
        });
    }

    /// Returns the changes of late at ports of `bridge`, as a warning.
    pub(super) fn warning(&self, bridge: &str) -> Option<String> {
        let seen = self.lock().clone()?;
        let ago = seen.last.elapsed();
        (ago < TOLD_FOR).then(|| {
            format!(
                "somebody else changes ports of the bridge {bridge} (a kubelet with its hairpin mode?): {} was set back {} s ago, {} \
                 times in all; frames are lost in between",
                seen.what,
                ago.as_secs(),
                seen.times
            )
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<SetBack>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_counts_and_nothing_is_nothing() {
        let interference = Interference::default();
        interference.note(&[]);
        assert!(interference.lock().is_none());
        for _ in 0..3 {
            interference.note(&["hairpin on at mesh-t".into(), "isolated at x".into()]);
        }
        let seen = interference.lock().clone().unwrap();
        assert_eq!(
            (seen.what.as_str(), seen.times),
            ("hairpin on at mesh-t; isolated at x", 3)
        );
    }
}
