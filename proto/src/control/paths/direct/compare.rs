//! The other addresses of a peer that has a direct path: is one of them clearly better?
//!
//! Of two routers the one with the lower identity compares, and the other follows to where its datagrams come from: so both
//! move together. An address is better when its round-trip time is, several times in a row. A path that carries data is
//! measured with what that adds, an idle one is not: what a path had come to when it was left is remembered, so that
//! traffic does not go to and fro. One that fell silent is not trusted again at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use core::time::Duration;

use crate::entropy::Entropy;
use crate::limits::{
    COMPARE_HOLD, COMPARE_INTERVAL, COMPARE_INTERVAL_MAX, COMPARE_MEMORY, COMPARE_SLACK,
    COMPARE_TIMES, HEARTBEAT,
};
use crate::time::Instant;

/// Addresses of one peer beside that of its direct path; no more than there are candidates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alternatives(BTreeMap<SocketAddr, Alternative>);

#[derive(Clone, Copy, Debug)]
struct Alternative {
    rtt: Option<Duration>,
    next: Instant,
    wait: Duration,
    /// Answers in a row that were clearly better than the direct path.
    better: u8,
    /// Its round-trip time under load, and the time until which that counts.
    strained: Option<(Duration, Instant)>,
    moves: u32,
    falls: u32,
    /// It answered once: it may again, so the pause between questions does not grow.
    is_known: bool,
    /// Not to be trusted before.
    hold: Instant,
}

impl Alternative {
    fn new(now: Instant) -> Self {
        Self {
            rtt: None,
            next: now,
            wait: COMPARE_INTERVAL,
            better: 0,
            strained: None,
            moves: 0,
            falls: 0,
            is_known: false,
            hold: now,
        }
    }

    /// Returns the round-trip time to expect if data went there.
    fn expected(&self, now: Instant) -> Option<Duration> {
        let strained = self.strained.filter(|(_, until)| now < *until);
        Some(
            self.rtt?
                .max(strained.map_or(Duration::ZERO, |(rtt, _)| rtt)),
        )
    }
}

/// `time`, doubled so many times, up to 64 times as long.
fn doubled(time: Duration, times: u32) -> Duration {
    time * (1 << times.min(6))
}

impl Alternatives {
    /// The address to ask now, if any: at most one at a time.
    pub(crate) fn due(
        &mut self,
        candidates: &[SocketAddr],
        current: SocketAddr,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<SocketAddr> {
        self.0
            .retain(|address, other| candidates.contains(address) || now < other.hold);
        for address in candidates.iter().filter(|address| **address != current) {
            self.0.entry(*address).or_insert_with(|| {
                let mut other = Alternative::new(now);
                other.next = now + entropy.jitter(COMPARE_INTERVAL / 2, 90);
                other
            });
        }
        let due = self.0.iter_mut().filter(|(address, other)| {
            **address != current && other.next <= now && candidates.contains(address)
        });
        let (address, other) = due.min_by_key(|(_, other)| other.next)?;
        if other.better > 0 {
            other.next = now + HEARTBEAT;
        } else {
            other.next = now + entropy.jitter(other.wait, 20);
            // Until it answers.
            let longest = if other.is_known {
                COMPARE_INTERVAL
            } else {
                COMPARE_INTERVAL_MAX
            };
            other.wait = (other.wait * 2).min(longest);
        }
        Some(*address)
    }

    /// An address answered; whether data is to go there from now on. `current` is what the direct path takes.
    pub(crate) fn answered(
        &mut self,
        from: SocketAddr,
        sample: Duration,
        current: Duration,
        now: Instant,
    ) -> bool {
        let Some(other) = self.0.get_mut(&from) else {
            return false;
        };
        other.wait = COMPARE_INTERVAL;
        other.is_known = true;
        other.rtt = Some(other.rtt.map_or(sample, |old| (old * 3 + sample) / 4));
        let is_better = now >= other.hold
            && other.expected(now).is_some_and(|expected| {
                expected + COMPARE_SLACK < current && expected * 3 < current * 2
            });
        if !is_better {
            other.better = 0;
            return false;
        }
        other.better += 1;
        other.next = other.next.min(now + HEARTBEAT);
        other.better >= COMPARE_TIMES
    }

    /// The direct path left `from`, where it had come to `strained`, for a better one.
    pub(crate) fn left(&mut self, from: SocketAddr, strained: Duration, now: Instant) {
        self.0.values_mut().for_each(|other| other.better = 0);
        let other = self.0.entry(from).or_insert_with(|| Alternative::new(now));
        other.strained = Some((strained, now + doubled(COMPARE_MEMORY, other.moves)));
        other.moves += 1;
        other.is_known = true;
        other.rtt = None;
        other.next = now + COMPARE_INTERVAL;
    }

    /// The direct path at `address` fell silent.
    pub(crate) fn fell(&mut self, address: SocketAddr, now: Instant) {
        let other = self
            .0
            .entry(address)
            .or_insert_with(|| Alternative::new(now));
        other.hold = now + doubled(COMPARE_HOLD, other.falls);
        other.falls += 1;
        other.is_known = true;
        other.rtt = None;
        other.better = 0;
        other.next = now;
        other.wait = COMPARE_INTERVAL / 4;
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
