//! Those who dial and are not known: how many are let in as far as a handshake, and how long a source waits after a
//! handshake with a wrong secret.
//!
//! A source that is known by its address takes nothing from what strangers share, and waits only after many wrong secrets.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::ids::PeerId;
use crate::limits::{
    ACCEPT_BURST, ACCEPT_BURST_PER_SOURCE, ACCEPT_RATE, ACCEPT_RATE_PER_SOURCE, FAMILIAR_AFTER,
    FORGET_AFTER, MAX_CALLERS, MAX_FAMILIAR, MAX_LINKS_PER_SOURCE, MAX_PENALTY, PENALTY_MEMORY,
    PENALTY_MIN, WRONG_SECRET_BURST, WRONG_SECRET_RATE, WRONG_SECRETS_FORGIVEN,
};
use crate::rate::{FixedBucket, TokenBucket};
use crate::source::Source;
use crate::time::Instant;

use super::Control;
use super::links::Slot;
use super::targets::TargetKey;

/// What becomes of a connection that somebody dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It may go on to a handshake.
    Open,
    /// There are too many of its kind: it is reset.
    Refused,
    /// Wrong secrets came from its source.
    Penalised,
}

/// What is known of sources, at most [`MAX_CALLERS`]; when full the one is forgotten that has waited out its penalty the
/// longest.
#[derive(Debug)]
pub(super) struct Strangers {
    sources: BTreeMap<Source, Seen>,
    accepts: TokenBucket,
    wrong_secrets: TokenBucket,
    /// Connections that were reset without a handshake.
    refused: u64,
    /// Connections refused because of wrong secrets.
    penalised: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    accepts: FixedBucket<ACCEPT_RATE_PER_SOURCE, ACCEPT_BURST_PER_SOURCE>,
    wrong_secrets: u32,
    /// The last wrong secret.
    failed: Instant,
    waits_until: Instant,
    last: Instant,
}

impl Seen {
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
    /// Somebody dialled; `is_known` is asked only where it matters.
    pub(super) fn knock(
        &mut self,
        source: Source,
        is_known: impl FnOnce() -> bool,
        now: Instant,
    ) -> Entry {
        let seen = self.seen(source, now);
        let (waits, failed) = (now < seen.waits_until, seen.wrong_secrets);
        let own_share = !waits && seen.accepts.take(now);
        let shared = own_share && self.wrong_secrets.clone().take(now) && self.accepts.take(now);
        if shared || (!waits || failed <= WRONG_SECRETS_FORGIVEN) && is_known() {
            return Entry::Open;
        }
        if waits {
            self.penalised += 1;
            return Entry::Penalised;
        }
        self.refused += 1;
        Entry::Refused
    }

    /// A handshake with a wrong secret came from there.
    pub(super) fn failed(&mut self, source: Source, now: Instant) {
        self.wrong_secrets.take(now);
        let seen = self.seen(source, now);
        if now.since(seen.failed) >= PENALTY_MEMORY {
            seen.wrong_secrets = 0;
        }
        seen.wrong_secrets = seen.wrong_secrets.saturating_add(1);
        seen.failed = now;
        seen.waits_until = now + Seen::penalty(seen.wrong_secrets);
    }

    /// Connections that were refused without a handshake: too many, and after wrong secrets.
    pub(super) fn refused(&self) -> (u64, u64) {
        (self.refused, self.penalised)
    }

    /// Number of sources about which something is known.
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    fn seen(&mut self, source: Source, now: Instant) -> &mut Seen {
        if self.sources.len() >= MAX_CALLERS && !self.sources.contains_key(&source) {
            let rested = |seen: &Seen| seen.waits_until.max(seen.last);
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
    /// A link ended.
    pub(super) fn parted(&mut self, peer: PeerId, slot: &Slot, now: Instant) {
        if !is_old(slot, now) {
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

    fn knows(&self, peer: &PeerId, now: Instant) -> bool {
        let gone = self.gone.get(peer);
        gone.is_some_and(|(_, since)| now.since(*since) < FORGET_AFTER)
    }

    /// Number of routers that are remembered.
    pub(super) fn len(&self) -> usize {
        self.gone.len()
    }
}

/// Whether a link has been up for so long that its other end is no stranger.
fn is_old(slot: &Slot, now: Instant) -> bool {
    let since = slot.up_since();
    since.is_some_and(|up| now.since(up) >= FAMILIAR_AFTER)
}

impl Control {
    /// What becomes of a connection from there.
    pub(super) fn knock(&mut self, from: SocketAddr, now: Instant) -> Entry {
        let source = Source::of(from);
        let (links, targets, memory) = (&self.links, &self.targets, &self.memory);
        let familiar = &mut self.familiar;
        let is_known = || {
            let (sources, gathered) = &mut familiar.sources;
            if gathered.is_none_or(|at| now.since(at) >= Duration::from_secs(1)) {
                let linked = links.iter().map(|(_, slot)| slot);
                let linked = linked.filter(|slot| slot.outbound || is_old(slot, now));
                let linked = linked.map(|slot| Source::of(slot.address));
                let explicit = targets.iter().filter_map(|(key, target)| match key {
                    TargetKey::Explicit(_) => target.address.map(Source::of),
                    TargetKey::Discovered(_) => None,
                });
                let before = memory.all_addresses().map(Source::of);
                let gone = familiar.gone.values().map(|(source, _)| *source);
                *sources = linked.chain(explicit).chain(before).chain(gone).collect();
                *gathered = Some(now);
            }
            sources.contains(&source)
        };
        self.strangers.knock(source, is_known, now)
    }

    /// Whether this router was told to be linked to that one, or was before.
    pub(super) fn is_familiar(&self, peer: &PeerId, now: Instant) -> bool {
        self.targets
            .explicit_peers()
            .any(|explicit| explicit == *peer)
            || self.memory.knows(peer)
            || self.familiar.knows(peer, now)
    }

    /// The link that goes when a router that is known needs its place: of those that others dialled and that are not
    /// known themselves, the youngest of the source with most of them.
    pub(super) fn least_needed(&self, now: Instant) -> Option<crate::ids::ConnId> {
        let mut crowds = BTreeMap::<Source, Vec<(Instant, crate::ids::ConnId)>>::new();
        for (conn, slot) in self.links.iter().filter(|(_, slot)| !slot.outbound) {
            let Some(peer) = slot.peer else { continue };
            if self.is_familiar(&peer, now) {
                continue;
            }
            let crowd = crowds.entry(Source::of(slot.address)).or_default();
            crowd.push((slot.opened(), conn));
        }
        let youngest = |crowd: &Vec<_>| crowd.iter().max().copied();
        let biggest = crowds
            .into_values()
            .max_by_key(|crowd| (crowd.len(), youngest(crowd)))?;
        youngest(&biggest).map(|(_, conn)| conn)
    }
}

#[cfg(test)]
#[path = "strangers_tests.rs"]
mod tests;
