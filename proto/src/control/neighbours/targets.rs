//! Targets: explicit ones (`mesh connect`) and peers learnt by gossip, each with the time of its next dial.
//!
//! An explicit target is a name or address as typed and is dialled for ever; a discovered one is a peer, dialled at the
//! addresses it and its neighbours announce, and dropped when it leaves the mesh. Each dial waits longer than the one
//! before ([`REDIAL_MIN`] growing by half), with jitter, so that a mesh that restarts does not dial in step.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use core::time::Duration;

use crate::entropy::Entropy;
use crate::ids::{ConnId, PeerId};
use crate::limits::{MAX_TARGETS, REDIAL_MAX_DISCOVERED, REDIAL_MAX_EXPLICIT, REDIAL_MIN};
use crate::time::Instant;

use crate::control::links::Retry;

#[cfg(test)]
use super::target_text::{DialTo, parse_target};

/// Purpose of a dial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TargetKey {
    /// `host`, `host:port`, `[v6]:port`, as typed.
    Explicit(String),
    /// A peer learnt by gossip.
    Discovered(PeerId),
}

/// State of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetState {
    /// Will be dialled at this moment.
    Waiting(Instant),
    /// A dial or handshake is under way.
    Dialling(ConnId),
    /// A link to this peer is up, dialled by either side.
    Satisfied(PeerId),
    /// This peer has links enough, or answers where the one sought should be; dialled again only if it leaves reach.
    Suppressed(PeerId),
    /// Will not be dialled again until the operator says so.
    GivenUp,
}

/// One target.
#[derive(Clone, Debug)]
pub(crate) struct DialTarget {
    /// Its state.
    pub(crate) state: TargetState,
    /// Reason why the last try failed; empty before the first.
    pub(crate) error: String,
    /// The last address tried, where one was reached.
    pub(crate) address: Option<SocketAddr>,
    pub(super) backoff: Duration,
    pub(super) tries: usize,
    /// Dials since there was a link.
    row: usize,
    /// Dials in a row that another router answered than the one sought.
    pub(super) mismatches: usize,
    delayed: bool,
    /// Peer that answered last.
    pub(super) peer: Option<PeerId>,
    /// Time at which a link satisfied it.
    satisfied: Instant,
}

/// All targets of a router.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    pub(super) targets: BTreeMap<TargetKey, DialTarget>,
}

impl TargetKey {
    fn longest_wait(&self) -> Duration {
        match self {
            Self::Explicit(_) => REDIAL_MAX_EXPLICIT,
            Self::Discovered(_) => REDIAL_MAX_DISCOVERED,
        }
    }
}

impl Targets {
    /// Adds explicit targets, due at once; one that is there already is tried again at once.
    ///
    /// Returns how many did not fit under [`MAX_TARGETS`].
    pub(crate) fn add_explicit<I: IntoIterator<Item = String>>(
        &mut self,
        targets: I,
        now: Instant,
    ) -> usize {
        let mut refused = 0;
        for text in targets {
            let key = TargetKey::Explicit(text);
            if !self.targets.contains_key(&key) && self.explicit().count() >= MAX_TARGETS {
                refused += 1;
                continue;
            }
            let target = self
                .targets
                .entry(key)
                .or_insert_with(|| DialTarget::due(now));
            if matches!(
                target.state,
                TargetState::Waiting(_) | TargetState::GivenUp | TargetState::Suppressed(_)
            ) {
                target.state = TargetState::Waiting(now);
                target.backoff = REDIAL_MIN;
            }
        }
        refused
    }

    /// Forgets explicit targets that are not in `keep`.
    pub(crate) fn retain_explicit(&mut self, keep: &[String]) {
        self.targets.retain(|key, _| match key {
            TargetKey::Explicit(text) => keep.contains(text),
            TargetKey::Discovered(_) => true,
        });
    }

    /// Forgets one explicit target; live links stay. Returns true if it was there.
    pub(crate) fn forget(&mut self, text: &str) -> bool {
        self.targets
            .remove(&TargetKey::Explicit(text.to_owned()))
            .is_some()
    }

    /// The same for a peer learnt by gossip; a dial that is under way goes on.
    pub(crate) fn forget_discovered(&mut self, peer: PeerId) {
        let key = TargetKey::Discovered(peer);
        let dials = |t: &DialTarget| matches!(t.state, TargetState::Dialling(_));
        if self.targets.get(&key).is_some_and(|t| !dials(t)) {
            self.targets.remove(&key);
        }
    }

    /// Returns the peer that answered last for an explicit target.
    pub(crate) fn answered(&self, text: &str) -> Option<PeerId> {
        let target = self.targets.get(&TargetKey::Explicit(text.to_owned()))?;
        target.peer
    }

    /// The explicit targets, as typed.
    pub(crate) fn explicit(&self) -> impl Iterator<Item = &str> {
        self.targets.keys().filter_map(|key| match key {
            TargetKey::Explicit(text) => Some(text.as_str()),
            TargetKey::Discovered(_) => None,
        })
    }

    /// All targets, for the report.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TargetKey, &DialTarget)> {
        self.targets.iter()
    }

    /// Makes `peers` the discovered targets: new ones wait `delay` with jitter, vanished ones are dropped.
    pub(crate) fn set_discovered(
        &mut self,
        peers: &[PeerId],
        delay: Duration,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        self.targets.retain(|key, target| match key {
            TargetKey::Explicit(_) => true,
            TargetKey::Discovered(peer) => {
                peers.contains(peer) || matches!(target.state, TargetState::Dialling(_))
            }
        });
        for peer in peers {
            self.targets
                .entry(TargetKey::Discovered(*peer))
                .or_insert_with(|| {
                    let wait = entropy.jitter(delay, 100);
                    DialTarget::due(now + wait)
                });
        }
    }

    /// Peers that were never dialled yet are given `delay` to dial us first.
    pub(crate) fn delay_new(&mut self, peers: &[PeerId], delay: Duration, now: Instant) {
        for peer in peers {
            if let Some(target) = self.targets.get_mut(&TargetKey::Discovered(*peer))
                && target.tries == 0
                && matches!(target.state, TargetState::Waiting(at) if at < now + delay)
                && !target.delayed
            {
                target.delayed = true;
                target.state = TargetState::Waiting(now + delay);
            }
        }
    }

    /// Peers that were given time and never dialled yet are dialled soon.
    pub(crate) fn hasten(
        &mut self,
        is_one: impl Fn(&PeerId) -> bool,
        spread: Duration,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        for (key, target) in &mut self.targets {
            let is_one = matches!(key, TargetKey::Discovered(peer) if is_one(peer));
            if let TargetState::Waiting(at) = target.state
                && is_one
                && target.tries == 0
                && target.delayed
            {
                target.state = TargetState::Waiting(at.min(now + entropy.jitter(spread, 100)));
            }
        }
    }

    /// Targets that failed are dialled soon: the host has other addresses than before.
    pub(crate) fn try_again(&mut self, now: Instant) {
        for target in self.targets.values_mut() {
            if let TargetState::Waiting(at) = target.state
                && !target.error.is_empty()
            {
                target.state = TargetState::Waiting(at.min(now + REDIAL_MIN));
                target.backoff = REDIAL_MIN;
            }
        }
    }

    /// Targets that are due, each with how many dials there were since its last link (to walk through its addresses).
    pub(crate) fn due(&self, now: Instant) -> Vec<(TargetKey, usize)> {
        self.targets
            .iter()
            .filter(|(_, t)| matches!(t.state, TargetState::Waiting(at) if at <= now))
            .map(|(key, t)| (key.clone(), t.row))
            .collect()
    }

    /// Returns the peer that answered last at this target.
    pub(crate) fn peer_at(&self, key: &TargetKey) -> Option<PeerId> {
        self.targets.get(key)?.peer
    }

    /// Returns the time of the next dial.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.targets
            .values()
            .filter_map(|t| match t.state {
                TargetState::Waiting(at) => Some(at),
                _ => None,
            })
            .min()
    }

    /// A dial has begun.
    pub(crate) fn dialling(&mut self, key: &TargetKey, conn: ConnId) {
        if let Some(target) = self.targets.get_mut(key) {
            target.state = TargetState::Dialling(conn);
            target.tries += 1;
            target.row += 1;
        }
    }

    /// The dial reached this address.
    pub(crate) fn reached(&mut self, conn: ConnId, address: SocketAddr) {
        if let Some(target) = self.by_conn(conn) {
            target.address = Some(address);
        }
    }

    /// A link to `peer` is up: `conn`'s target needs no dial, nor does the peer's own, nor one that waits and at which it
    /// answered last.
    pub(crate) fn satisfied(&mut self, conn: ConnId, peer: PeerId, now: Instant) {
        for (key, target) in &mut self.targets {
            let waits = matches!(target.state, TargetState::Waiting(_));
            if target.state == TargetState::Dialling(conn)
                || *key == TargetKey::Discovered(peer)
                || waits && target.peer == Some(peer)
            {
                target.satisfy(peer, now);
            }
        }
    }

    /// The peers that explicit targets turned out to be, but those that have links enough.
    pub(crate) fn explicit_peers(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.targets
            .iter()
            .filter_map(|(key, target)| match (key, &target.state) {
                (TargetKey::Explicit(_), TargetState::Satisfied(peer)) => Some(*peer),
                (TargetKey::Explicit(_), TargetState::Waiting(_) | TargetState::Dialling(_)) => {
                    target.peer
                }
                _ => None,
            })
    }

    /// Explicit targets that a peer answered at an address which is not its own: a clone of it perhaps, and somebody
    /// else once that is gone. They are dialled again every [`REDIAL_MAX_EXPLICIT`].
    pub(crate) fn doubt(&mut self, is_own: impl Fn(PeerId, SocketAddr) -> bool, now: Instant) {
        for (key, target) in &mut self.targets {
            if let (TargetKey::Explicit(_), TargetState::Satisfied(peer), Some(address)) =
                (key, &target.state, target.address)
                && now.since(target.satisfied) >= REDIAL_MAX_EXPLICIT
                && !is_own(*peer, address)
            {
                target.state = TargetState::Waiting(now);
            }
        }
    }

    /// The dial or link of `conn` ended: its target waits, longer than before, or is given up.
    pub(crate) fn failed(
        &mut self,
        conn: ConnId,
        error: &str,
        retry: Retry,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let Some((key, target)) = self
            .targets
            .iter_mut()
            .find(|(_, t)| t.state == TargetState::Dialling(conn))
        else {
            return;
        };
        target.error = error.to_owned();
        target.mismatches = 0;
        target.state = match retry {
            Retry::Later => {
                let wait = entropy.jitter(target.backoff, 25);
                target.backoff = (target.backoff * 3 / 2).min(key.longest_wait());
                TargetState::Waiting(now + wait)
            }
            Retry::Slowly => {
                target.backoff = key.longest_wait();
                TargetState::Waiting(now + entropy.jitter(target.backoff, 25))
            }
            Retry::Never => TargetState::GivenUp,
        };
    }

    /// The last link to `peer` ended: whatever it satisfied is dialled again soon.
    pub(crate) fn lost(
        &mut self,
        peer: PeerId,
        error: &str,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        for target in self.targets.values_mut() {
            if target.state == TargetState::Satisfied(peer) {
                target.error = error.to_owned();
                target.backoff = REDIAL_MIN;
                target.state = TargetState::Waiting(now + entropy.jitter(REDIAL_MIN / 2, 80));
            }
        }
    }

    /// Returns the target that this connection dials.
    pub(crate) fn key_of(&self, conn: ConnId) -> Option<&TargetKey> {
        self.targets
            .iter()
            .find(|(_, t)| t.state == TargetState::Dialling(conn))
            .map(|(key, _)| key)
    }

    fn by_conn(&mut self, conn: ConnId) -> Option<&mut DialTarget> {
        self.targets
            .values_mut()
            .find(|t| t.state == TargetState::Dialling(conn))
    }
}

impl DialTarget {
    fn due(at: Instant) -> Self {
        Self {
            state: TargetState::Waiting(at),
            error: String::new(),
            address: None,
            backoff: REDIAL_MIN,
            tries: 0,
            row: 0,
            mismatches: 0,
            delayed: false,
            peer: None,
            satisfied: at,
        }
    }

    pub(super) fn satisfy(&mut self, peer: PeerId, now: Instant) {
        self.state = TargetState::Satisfied(peer);
        self.peer = Some(peer);
        self.satisfied = now;
        self.error.clear();
        self.mismatches = 0;
        self.row = 0;
        self.backoff = REDIAL_MIN;
    }
}

#[cfg(test)]
#[path = "targets_tests.rs"]
mod tests;
