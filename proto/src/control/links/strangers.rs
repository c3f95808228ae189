//! Strangers: how many unknown diallers may go on to a handshake, and how long a source waits after a handshake with a wrong
//! secret.
//!
//! A source that is known by its address takes nothing from what strangers share, and waits only after many wrong secrets.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::ids::PeerId;
use crate::limits::{
    ACCEPT_BURST, ACCEPT_BURST_PER_SOURCE, ACCEPT_RATE, ACCEPT_RATE_PER_SOURCE, FORGET_AFTER,
    MAX_CALLERS, MAX_FAMILIAR, MAX_LINKS_PER_SOURCE, MAX_PENALTY, PENALTY_MEMORY, PENALTY_MIN,
    WRONG_SECRET_BURST, WRONG_SECRET_RATE, WRONG_SECRETS_FORGIVEN,
};
use crate::rate::{FixedBucket, TokenBucket};
use crate::source::Source;
use crate::time::Instant;

use super::slot::LinkSlot;

/// Verdict on a connection from a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knock {
    /// It may go on to a handshake.
    Open,
    /// There are too many of its kind: it is reset.
    Refused,
    /// Wrong secrets came from its source.
    Penalised,
}

/// Sources of connections, at most [`MAX_CALLERS`]; when full the one is forgotten that has waited out its penalty the
/// longest.
#[derive(Debug)]
pub(super) struct Strangers {
    sources: BTreeMap<Source, Caller>,
    accepts: TokenBucket,
    wrong_secrets: TokenBucket,
    /// Connections that were reset without a handshake.
    refused: u64,
    /// Connections refused because of wrong secrets.
    penalised: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Caller {
    accepts: FixedBucket<ACCEPT_RATE_PER_SOURCE, ACCEPT_BURST_PER_SOURCE>,
    wrong_secrets: u32,
    /// The last wrong secret.
    failed: Instant,
    waits_until: Instant,
    last: Instant,
}

impl Caller {
    fn penalty(wrong_secrets: u32) -> Duration {
        let doublings = wrong_secrets.saturating_sub(1).min(16);
        (PENALTY_MIN * 2_u32.pow(doublings)).min(MAX_PENALTY)
    }
}

impl Default for Strangers {
    fn default() -> Self {
        Self {
            sources: BTreeMap::new(),
            accepts: TokenBucket::new(ACCEPT_RATE, ACCEPT_BURST),
            wrong_secrets: TokenBucket::new(WRONG_SECRET_RATE, WRONG_SECRET_BURST),
            refused: 0,
            penalised: 0,
        }
    }
}

impl Strangers {
    /// Judges a connection; `is_known` is asked only where it matters.
    pub(super) fn knock(
        &mut self,
        source: Source,
        is_known: impl FnOnce() -> bool,
        now: Instant,
    ) -> Knock {
        let seen = self.seen(source, now);
        let (waits, failed) = (now < seen.waits_until, seen.wrong_secrets);
        let own_share = !waits && seen.accepts.take(now);
        let shared = own_share && self.wrong_secrets.clone().take(now) && self.accepts.take(now);
        if shared || (!waits || failed <= WRONG_SECRETS_FORGIVEN) && is_known() {
            return Knock::Open;
        }
        if waits {
            self.penalised += 1;
            return Knock::Penalised;
        }
        self.refused += 1;
        Knock::Refused
    }

    /// Takes note of a handshake with a wrong secret.
    pub(super) fn failed(&mut self, source: Source, now: Instant) {
        self.wrong_secrets.take(now);
        let seen = self.seen(source, now);
        if now.since(seen.failed) >= PENALTY_MEMORY {
            seen.wrong_secrets = 0;
        }
        seen.wrong_secrets = seen.wrong_secrets.saturating_add(1);
        seen.failed = now;
        seen.waits_until = now + Caller::penalty(seen.wrong_secrets);
    }

    /// Returns the numbers of connections that were refused without a handshake: too many, and after wrong secrets.
    pub(super) fn refused(&self) -> (u64, u64) {
        (self.refused, self.penalised)
    }

    /// Returns the number of sources about which something is known.
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    fn seen(&mut self, source: Source, now: Instant) -> &mut Caller {
        if self.sources.len() >= MAX_CALLERS && !self.sources.contains_key(&source) {
            let rested = |seen: &Caller| seen.waits_until.max(seen.last);
            let longest = self.sources.iter().min_by_key(|(_, seen)| rested(seen));
            if let Some(longest) = longest.map(|(source, _)| *source) {
                self.sources.remove(&longest);
            }
        }
        let seen = self.sources.entry(source).or_default();
        seen.last = now;
        seen
    }
}

/// Routers that were linked for a while and are not now, with where from: when they come back they are no strangers. At
/// most [`MAX_FAMILIAR`], of one source [`MAX_LINKS_PER_SOURCE`]; when full no more are remembered, until one was gone for
/// [`FORGET_AFTER`].
#[derive(Debug, Default)]
pub(super) struct Familiar {
    gone: BTreeMap<PeerId, (Source, Instant)>,
    /// The addresses of those that are known, gathered a moment ago.
    sources: (BTreeSet<Source>, Option<Instant>),
}

impl Familiar {
    /// Remembers the peer of a link that ended.
    pub(super) fn parted(&mut self, peer: PeerId, slot: &LinkSlot, now: Instant) {
        if !slot.is_old(now) {
            return;
        }
        let source = Source::of(slot.address);
        self.gone
            .retain(|_, (_, since)| now.since(*since) < FORGET_AFTER);
        let of_source = self.gone.values().filter(|(other, _)| *other == source);
        let has_room = self.gone.len() < MAX_FAMILIAR && of_source.count() < MAX_LINKS_PER_SOURCE;
        if has_room || self.gone.contains_key(&peer) {
            self.gone.insert(peer, (source, now));
        }
    }

    pub(super) fn knows(&self, peer: &PeerId, now: Instant) -> bool {
        let gone = self.gone.get(peer);
        gone.is_some_and(|(_, since)| now.since(*since) < FORGET_AFTER)
    }

    /// Returns true if the source is one of those that are known: of the routers here, or of the addresses that `others`
    /// gathers, once a second at most.
    pub(super) fn knows_source(
        &mut self,
        source: Source,
        others: impl FnOnce() -> BTreeSet<Source>,
        now: Instant,
    ) -> bool {
        let (sources, gathered) = &mut self.sources;
        if gathered.is_none_or(|at| now.since(at) >= Duration::from_secs(1)) {
            *sources = others();
            sources.extend(self.gone.values().map(|(source, _)| *source));
            *gathered = Some(now);
        }
        sources.contains(&source)
    }

    /// Returns the number of routers that are remembered.
    pub(super) fn len(&self) -> usize {
        self.gone.len()
    }
}

#[cfg(test)]
#[path = "strangers_tests.rs"]
mod tests;
