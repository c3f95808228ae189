//! Direct paths: the underlay address, if any, that reaches each peer directly. Probes, their replies, and silence.
//!
//! Probes are small ([`super::probe`]). A path is direct while replies come: both directions of it then work. How long
//! its datagrams may be is found out by probes of a size ([`crate::pmtu`]).
//!
//! Of two that keep a path alive one *leads*, the lower identity: its requests answer the challenges of the replies, so
//! that two small datagrams in [`crate::limits::PATH_BEAT`] prove both directions to both. The other probes only when
//! that fails to come.
//!
//! | file | subject |
//! |---|---|
//! | `prober` | one peer: its direct path and its probes |
//! | `outstanding` | probes that wait for their replies |
//! | `compare` | comparison of the direct path with other addresses of the peer |

mod compare;
mod outstanding;
mod prober;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use core::time::Duration;

use crate::entropy::Entropy;
use crate::ids::PeerId;
use crate::limits::{DEAD_AFTER, MAX_SESSIONS};
#[cfg(doc)]
use crate::limits::{MAX_CANDIDATES, ROAM_INTERVAL};
use crate::time::Instant;

use super::probe::Probe;
pub(crate) use prober::Direct;
use prober::{PathProber, ReplyOutcome};

/// Direct paths to all peers that are probed.
#[derive(Debug, Default)]
pub(crate) struct DirectPaths {
    peers: BTreeMap<PeerId, PathProber>,
    /// Time before which no direct path falls silent: replies only put it off, so that a look at all peers is rare.
    next_expiry: Option<Instant>,
    /// Time before which no direct path is to be probed.
    next_probe: Option<Instant>,
}

impl DirectPaths {
    /// Returns the number of peers that are probed.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Returns the most probes of one peer that wait for a reply.
    pub(crate) fn waiting(&self) -> usize {
        let waiting = self.peers.values().map(PathProber::outstanding);
        waiting.max().unwrap_or(0)
    }

    /// Returns the direct path to `peer`, if it works.
    pub(crate) fn direct(&self, peer: &PeerId) -> Option<&Direct> {
        self.peers.get(peer)?.direct()
    }

    /// Returns all direct paths that work: the peers, and where they answer.
    pub(crate) fn directs(&self) -> impl Iterator<Item = (&PeerId, SocketAddr)> {
        self.working().map(|(peer, direct)| (peer, direct.address))
    }

    fn working(&self) -> impl Iterator<Item = (&PeerId, &Direct)> {
        let all = self.peers.iter();
        all.filter_map(|(peer, path)| Some((peer, path.direct()?)))
    }

    /// Returns the direct paths that datagrams take from the spare port.
    pub(crate) fn on_spare(&self) -> impl Iterator<Item = SocketAddr> {
        let spare = self.working().filter(|(_, direct)| direct.spare);
        spare.map(|(_, direct)| direct.address)
    }

    /// Returns the addresses worth trying for `peer`, the likeliest first.
    pub(crate) fn candidates(&self, peer: &PeerId) -> &[SocketAddr] {
        self.peers.get(peer).map_or(&[], PathProber::candidates)
    }

    /// Puts `address` in front of `peer`'s candidates; beyond [`MAX_CANDIDATES`] the last one goes.
    pub(crate) fn prefer(&mut self, peer: PeerId, address: SocketAddr) {
        if let Some(path) = self.prober(peer) {
            path.prefer(address);
        }
    }

    /// Adds addresses at the end of `peer`'s candidates while there is room.
    pub(crate) fn suggest(&mut self, peer: PeerId, addresses: &[SocketAddr]) {
        if let Some(path) = self.prober(peer) {
            path.suggest(addresses);
        }
    }

    /// Returns the prober of a peer, a new one while there is room.
    fn prober(&mut self, peer: PeerId) -> Option<&mut PathProber> {
        if self.peers.len() >= MAX_SESSIONS && !self.peers.contains_key(&peer) {
            return None;
        }
        Some(self.peers.entry(peer).or_default())
    }

    /// Takes note that an authenticated datagram of `peer`, the newest of its session, came from `address`: it may have
    /// moved.
    pub(crate) fn seen(&mut self, peer: PeerId, address: SocketAddr) {
        if self.direct(&peer).is_none_or(|d| d.address != address) {
            self.prefer(peer, address);
        }
    }

    /// Drops all that is known of this peer.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }

    // Probes to send

    /// Returns the time of the next call of [`DirectPaths::due`].
    pub(crate) fn next_probe(&self) -> Option<Instant> {
        self.next_probe
    }

    /// Returns the peers whose direct path is to be probed now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<PeerId> {
        if self.next_probe.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let due = self.working().filter(|(_, d)| d.next() <= now);
        let due = due.map(|(peer, _)| *peer).collect();
        let later = self.working().map(|(_, d)| d.next());
        self.next_probe = later.filter(|at| *at > now).min();
        due
    }

    /// Returns the probes to send to `peer` now: one to the direct path, or one to each candidate while there is none.
    pub(crate) fn probes(
        &mut self,
        peer: &PeerId,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Vec<(SocketAddr, Probe)> {
        let Some(path) = self.peers.get_mut(peer) else {
            return Vec::new();
        };
        let probes = path.probes(now, entropy);
        if let Some(direct) = path.direct() {
            earliest(&mut self.next_probe, direct.next());
        }
        probes
    }

    /// Returns the probes to send to the candidates of `peer` from the spare port.
    pub(crate) fn spare_probes(
        &mut self,
        peer: &PeerId,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Vec<(SocketAddr, Probe)> {
        let path = self.peers.get_mut(peer);
        path.map_or_else(Vec::new, |path| path.spare_probes(now, entropy))
    }

    /// Returns one probe more to the direct path of `peer`, beside its heartbeats.
    pub(crate) fn probe_direct(
        &mut self,
        peer: &PeerId,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<(SocketAddr, Probe)> {
        self.peers.get_mut(peer)?.probe_direct(now, entropy)
    }

    /// Returns the probe to another address of `peer` than its direct path's, if one is due.
    pub(crate) fn compare(
        &mut self,
        peer: &PeerId,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<(SocketAddr, Probe)> {
        self.peers.get_mut(peer)?.compare(now, entropy)
    }

    /// Returns the probe to an address at which `peer` was seen, unless it is the direct path already or another such
    /// probe was sent within [`ROAM_INTERVAL`].
    pub(crate) fn roam(
        &mut self,
        peer: &PeerId,
        address: SocketAddr,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<Probe> {
        self.peers.get_mut(peer)?.roam(address, now, entropy)
    }

    /// Returns the challenge in a reply to `peer`, whose request came from `to`; 0 for none.
    pub(crate) fn challenge(
        &mut self,
        peer: &PeerId,
        to: SocketAddr,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> u64 {
        let path = self.peers.get_mut(peer);
        path.map_or(0, |path| path.challenge(to, now, entropy))
    }

    /// Puts off the next probe of the direct path of `peer` until it appears again.
    pub(crate) fn rest(&mut self, peer: &PeerId, now: Instant) {
        if let Some(path) = self.peers.get_mut(peer) {
            path.rest(now);
        }
    }

    // What comes back

    /// Takes the challenge in a reply of `peer`, which the next request answers.
    pub(crate) fn challenged(&mut self, peer: &PeerId, challenge: u64, now: Instant) {
        if let Some(path) = self.peers.get_mut(peer) {
            path.challenged(challenge, now);
        }
    }

    /// Takes a reply of `peer`, or the answer in its request, that came directly from `from`; `answer` has the nonce,
    /// and the delay after which it was sent. Returns true if the direct path appeared or moved.
    pub(crate) fn replied(
        &mut self,
        peer: PeerId,
        answer: (u64, Duration),
        from: SocketAddr,
        now: Instant,
    ) -> bool {
        let Some(path) = self.peers.get_mut(&peer) else {
            return false;
        };
        let outcome = path.replied(answer, from, now);
        if outcome != ReplyOutcome::Ignored
            && let Some(direct) = path.direct()
        {
            earliest(&mut self.next_probe, direct.next());
        }
        let moved = outcome == ReplyOutcome::Moved;
        if moved {
            earliest(&mut self.next_expiry, now + DEAD_AFTER);
        }
        moved
    }

    /// Takes the reply of another address of `peer` to a comparison. Returns true if the direct path moved there.
    pub(crate) fn compared(
        &mut self,
        peer: PeerId,
        nonce: u64,
        from: SocketAddr,
        now: Instant,
    ) -> bool {
        let path = self.peers.get_mut(&peer);
        let moved = path.is_some_and(|path| path.compared(nonce, from, now));
        if moved {
            self.next_probe = Some(now);
        }
        moved
    }

    // Silence

    /// Returns the time for which the addresses of `peer` have been probed, now included, without an answer.
    pub(crate) fn searching(&mut self, peer: &PeerId, now: Instant) -> Duration {
        let path = self.peers.get_mut(peer);
        path.map_or(Duration::ZERO, |path| path.searching(now))
    }

    /// Begins the search for an address of `peer` that answers again.
    pub(crate) fn restart_search(&mut self, peer: &PeerId) {
        if let Some(path) = self.peers.get_mut(peer) {
            path.restart_search();
        }
    }

    /// Returns the time of the next call of [`DirectPaths::expire`]: no path falls silent before, though perhaps none does then.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    /// Drops the direct paths that fell silent: [`DEAD_AFTER`] has passed since the last reply. Returns their peers.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<PeerId> {
        if self.next_expiry.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let mut dead = Vec::new();
        let mut next = None;
        for (peer, path) in &mut self.peers {
            let Some(silent) = path.silent_at() else {
                continue;
            };
            if silent <= now {
                path.fall(now);
                dead.push(*peer);
            } else {
                earliest(&mut next, silent);
            }
        }
        self.next_expiry = next;
        dead
    }

    /// Returns the time at which the last direct path to `peer` fell silent.
    pub(crate) fn lost(&self, peer: &PeerId) -> Option<Instant> {
        self.peers.get(peer)?.lost()
    }
}

/// Brings a deadline forward to `at`.
fn earliest(deadline: &mut Option<Instant>, at: Instant) {
    *deadline = Some(deadline.map_or(at, |old| old.min(at)));
}

#[cfg(test)]
mod tests;
