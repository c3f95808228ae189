//! Changes by others at ports of the bridge, which are set back by each look: told in the log, and in `status` for a while.

use core::time::Duration;

use mesh_proto::time::Instant;

/// Time after a change for which `status` speaks of it.
const TOLD_FOR: Duration = Duration::from_secs(600);
/// Time between two lines of the log about the same.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The last time that something had to be set back.
#[derive(Debug, Default)]
pub struct Interference(Option<SetBack>);

#[derive(Debug)]
struct SetBack {
    what: String,
    times: u64,
    last: Instant,
    logged: Instant,
}

impl Interference {
    /// Notes changes that were set back just now; a line for each port. Returns the line for the log, if it is due.
    pub fn note(&mut self, changed: &[String], now: Instant) -> Option<String> {
        if changed.is_empty() {
            return None;
        }
        let what = changed.join("; ");
        let before = self.0.take();
        let times = before.as_ref().map_or(0, |b| b.times) + 1;
        let known = before.filter(|b| b.what == what && now.since(b.logged) < LOG_EVERY);
        let line = known.is_none().then(|| {
            format!(
                "somebody else changed ports of the mesh's bridge, which loses frames; set back: {what}"
            )
        });
        self.0 = Some(SetBack {
            what,
            times,
            last: now,
            logged: known.map_or(now, |known| known.logged),
        });
        line
    }

    /// Returns the changes of late at ports of `bridge`, as a warning.
    pub fn warning(&self, bridge: &str, now: Instant) -> Option<String> {
        let seen = self.0.as_ref()?;
        let ago = now.since(seen.last);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_counts_and_nothing_is_nothing() {
        let mut interference = Interference::default();
        let start = Instant::ZERO + Duration::from_secs(5);
        assert_eq!(interference.note(&[], start), None);
        assert_eq!(interference.warning("mesh", start), None);
        let changed = [
            "hairpin on at mesh-t".to_owned(),
            "isolated at x".to_owned(),
        ];
        let mut logged = 0;
        for seconds in [0, 3, 59, 60, 63] {
            let now = start + Duration::from_secs(seconds);
            logged += usize::from(interference.note(&changed, now).is_some());
        }
        assert_eq!(logged, 2, "once a minute");
        let warning = interference
            .warning("mesh", start + Duration::from_secs(73))
            .unwrap();
        assert!(
            warning.contains("hairpin on at mesh-t; isolated at x was set back 10 s ago, 5 times"),
            "{warning}"
        );
        assert!(
            interference
                .note(&changed[..1], start + Duration::from_secs(64))
                .is_some()
        );
        assert_eq!(
            interference.warning("mesh", start + Duration::from_secs(664)),
            None
        );
    }
}
