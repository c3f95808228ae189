//! Direct paths: the underlay address, if any, that reaches each peer directly. Probes, their replies, and silence.
//!
//! Probes are small ([`super::probe`]). A path is direct while replies come: both directions of it then work. ProbePurpose long
//! its datagrams may be is found out by probes of a size ([`crate::pmtu`]).
//!
//! Of two that keep a path alive one *leads*, the lower identity: its requests answer what the replies ask, so that two
//! small datagrams in [`PATH_BEAT`] prove both directions to both. The other asks only when that fails to come.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use core::time::Duration;

use crate::entropy::Entropy;
use crate::ids::PeerId;
use crate::limits::{
    DEAD_AFTER, FOLLOW_WITHIN, LOST_AS, MAX_CANDIDATES, MAX_OUTSTANDING_PROBES, MAX_SESSIONS,
    PATH_BEAT, PATH_DOUBT, PATH_RETRY, ROAM_INTERVAL,
};
use crate::time::Instant;

use super::compare::Alternatives;
use super::probe::{ChallengeAnswer, Probe};

/// A working direct path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Direct {
    /// Address at which the peer answers.
    pub(crate) address: SocketAddr,
    /// Smoothed round-trip time (RFC 6298 weights).
    pub(crate) rtt: Duration,
    /// True if it answers datagrams from the spare port ([`super::flows`]), not from the router's own.
    pub(crate) spare: bool,
    /// Round-trip time with lost probes counted as slow ones, as data finds it.
    strain: Duration,
    last_reply: Instant,
    asked: Instant,
    /// Time of the next probe.
    next: Instant,
}

impl Direct {
    /// Returns the time at which the newest answered request was sent.
    pub(crate) fn asked(&self) -> Instant {
        self.asked
    }
}

/// Probing of one peer.
#[derive(Debug, Default)]
struct Probing {
    direct: Option<Direct>,
    candidates: Vec<SocketAddr>,
    outstanding: VecDeque<SentProbe>,
    /// Time of the last probe of an address at which the peer was newly seen.
    roamed: Option<Instant>,
    /// Time at which the last direct path fell silent.
    lost: Option<Instant>,
    /// Time since which addresses are probed and none answers.
    searched: Option<Instant>,
    others: Alternatives,
    /// The address that was left for a better one, and when: the peer still sends from there for a moment.
    left: Option<(SocketAddr, Instant)>,
    /// Question in the last reply, and the time at which it came.
    challenge: Option<(u64, Instant)>,
}

/// A probe that waits for its reply.
#[derive(Clone, Copy, Debug)]
struct SentProbe {
    nonce: u64,
    to: SocketAddr,
    at: Instant,
    purpose: ProbePurpose,
}

/// Purpose and port of a probe.
#[derive(Clone, Copy, Debug, Default)]
struct ProbePurpose {
    /// The peer sends from there: if it answers there too, that is its path now.
    roam: bool,
    /// From the spare port.
    spare: bool,
    /// Sent only to measure the address.
    compare: bool,
    /// Sent to the direct path, whose losses count.
    beat: bool,
}

impl Probing {
    fn request(
        &mut self,
        to: SocketAddr,
        purpose: ProbePurpose,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Probe {
        if self.outstanding.len() >= MAX_OUTSTANDING_PROBES {
            self.outstanding.pop_front();
        }
        let nonce = entropy.u64();
        self.outstanding.push_back(SentProbe {
            nonce,
            to,
            at: now,
            purpose,
        });
        let answer = self.challenge.map(|(challenge, came)| ChallengeAnswer {
            challenge,
            delay: u16::try_from(now.since(came).as_millis()).unwrap_or(u16::MAX),
        });
        Probe::Request { nonce, answer }
    }

    /// Questions without an answer are given up; lost on the direct path they count as slow ones.
    fn forget_lost(&mut self, now: Instant) {
        let lost = |sent: &SentProbe| now.since(sent.at) >= DEAD_AFTER;
        if let Some(direct) = &mut self.direct {
            let beats = self
                .outstanding
                .iter()
                .filter(|s| lost(s) && s.purpose.beat);
            for _ in beats.filter(|s| s.to == direct.address) {
                direct.strain = (direct.strain * 3 + LOST_AS) / 4;
            }
        }
        self.outstanding.retain(|sent| !lost(sent));
    }

    /// Returns the port for a probe to `to`.
    fn purpose(&self, to: SocketAddr) -> ProbePurpose {
        let spare = self.direct.is_some_and(|d| d.address == to && d.spare);
        ProbePurpose {
            spare,
            ..ProbePurpose::default()
        }
    }
}

/// Direct paths to all peers that are probed.
#[derive(Debug, Default)]
pub(crate) struct DirectPaths {
    peers: BTreeMap<PeerId, Probing>,
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
        let waiting = self.peers.values().map(|path| path.outstanding.len());
        waiting.max().unwrap_or(0)
    }

    /// The direct path to `peer`, if it works.
    pub(crate) fn direct(&self, peer: &PeerId) -> Option<&Direct> {
        self.peers.get(peer)?.direct.as_ref()
    }

    /// Returns all direct paths that work: the peers, and where they answer.
    pub(crate) fn directs(&self) -> impl Iterator<Item = (&PeerId, SocketAddr)> {
        let all = self.peers.iter();
        all.filter_map(|(peer, path)| Some((peer, path.direct?.address)))
    }

    /// Addresses worth trying for `peer`, the likeliest first.
    pub(crate) fn candidates(&self, peer: &PeerId) -> &[SocketAddr] {
        self.peers.get(peer).map_or(&[], |p| &p.candidates)
    }

    /// Puts `address` in front of `peer`'s candidates; beyond [`MAX_CANDIDATES`] the last one goes.
    pub(crate) fn prefer(&mut self, peer: PeerId, address: SocketAddr) {
        if self.peers.len() >= MAX_SESSIONS && !self.peers.contains_key(&peer) {
            return;
        }
        let candidates = &mut self.peers.entry(peer).or_default().candidates;
        candidates.retain(|a| *a != address);
        candidates.insert(0, address);
        candidates.truncate(MAX_CANDIDATES);
    }

    /// Adds addresses at the end of `peer`'s candidates while there is room.
    pub(crate) fn suggest(&mut self, peer: PeerId, addresses: &[SocketAddr]) {
        if self.peers.len() >= MAX_SESSIONS && !self.peers.contains_key(&peer) {
            return;
        }
        let candidates = &mut self.peers.entry(peer).or_default().candidates;
        for address in addresses {
            if candidates.len() < MAX_CANDIDATES && !candidates.contains(address) {
                candidates.push(*address);
            }
        }
    }

    /// The probes to send to `peer` now: one to the direct path, or one to each candidate while there is none.
    pub(crate) fn probes(
        &mut self,
        peer: &PeerId,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Vec<(SocketAddr, Probe)> {
        let Some(path) = self.peers.get_mut(peer) else {
            return Vec::new();
        };
        path.forget_lost(now);
        let to = match &mut path.direct {
            Some(direct) => {
                let doubt = direct.last_reply + PATH_DOUBT;
                let beat = now + entropy.jitter(PATH_BEAT, 10);
                direct.next = beat.min(doubt).max(now + PATH_RETRY);
                earliest(&mut self.next_probe, direct.next);
                vec![direct.address]
            }
            None => path.candidates.clone(),
        };
        let beat = path.direct.is_some();
        to.into_iter()
            .map(|to| {
                let purpose = ProbePurpose {
                    beat,
                    ..path.purpose(to)
                };
                (to, path.request(to, purpose, now, entropy))
            })
            .collect()
    }

    /// The question to another address of `peer` than its direct path's, if one is due.
    pub(crate) fn compare(
        &mut self,
        peer: &PeerId,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<(SocketAddr, Probe)> {
        let path = self.peers.get_mut(peer)?;
        let current = path.direct?.address;
        let to = path.others.due(&path.candidates, current, now, entropy)?;
        let purpose = ProbePurpose {
            compare: true,
            ..ProbePurpose::default()
        };
        match path.request(to, purpose, now, entropy) {
            Probe::Request { nonce, .. } => Some((to, Probe::Compare { nonce })),
            _ => None,
        }
    }

    /// Takes the answer of another address of `peer` to such a question. Returns true if the direct path moved there.
    pub(crate) fn compared(
        &mut self,
        peer: PeerId,
        nonce: u64,
        from: SocketAddr,
        now: Instant,
    ) -> bool {
        let Some(path) = self.peers.get_mut(&peer) else {
            return false;
        };
        let is_it = |s: &SentProbe| s.nonce == nonce && s.purpose.compare && s.to == from;
        let at = path.outstanding.iter().position(is_it);
        let Some(sent) = at.and_then(|at| path.outstanding.remove(at)) else {
            return false;
        };
        let Some(old) = path.direct.filter(|direct| direct.address != from) else {
            return false;
        };
        let sample = now.since(sent.at);
        if !path.others.answered(from, sample, old.strain, now) {
            return false;
        }
        path.others.left(old.address, old.strain, now);
        path.left = Some((old.address, now));
        path.direct = Some(Direct {
            address: from,
            rtt: sample,
            spare: false,
            strain: sample,
            last_reply: now,
            asked: sent.at,
            next: now,
        });
        self.next_probe = Some(now);
        self.prefer(peer, from);
        true
    }

    /// The probes to send to the candidates of `peer` from the spare port.
    pub(crate) fn spare_probes(
        &mut self,
        peer: &PeerId,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Vec<(SocketAddr, Probe)> {
        let Some(path) = self.peers.get_mut(peer) else {
            return Vec::new();
        };
        let purpose = ProbePurpose {
            spare: true,
            ..ProbePurpose::default()
        };
        let to = path.candidates.clone().into_iter();
        to.map(|to| (to, path.request(to, purpose, now, entropy)))
            .collect()
    }

    /// Returns the time for which the addresses of `peer` have been probed, now included, without an answer.
    pub(crate) fn searching(&mut self, peer: &PeerId, now: Instant) -> Duration {
        let path = self.peers.get_mut(peer).filter(|p| p.direct.is_none());
        path.map_or(Duration::ZERO, |path| {
            now.since(*path.searched.get_or_insert(now))
        })
    }

    /// The search for an address of `peer` that answers begins again.
    pub(crate) fn restart_search(&mut self, peer: &PeerId) {
        if let Some(path) = self.peers.get_mut(peer) {
            path.searched = None;
        }
    }

    /// The direct paths that datagrams take from the spare port.
    pub(crate) fn on_spare(&self) -> impl Iterator<Item = SocketAddr> {
        let directs = self.peers.values().filter_map(|path| path.direct);
        directs.filter(|d| d.spare).map(|d| d.address)
    }

    /// Returns the time of the next call of [`DirectPaths::due`].
    pub(crate) fn next_probe(&self) -> Option<Instant> {
        self.next_probe
    }

    /// The peers whose direct path is to be asked now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<PeerId> {
        if self.next_probe.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let directs = self
            .peers
            .iter()
            .filter_map(|(p, path)| Some((p, path.direct?)));
        let due = directs.clone().filter(|(_, d)| d.next <= now);
        let due = due.map(|(peer, _)| *peer).collect();
        self.next_probe = directs.map(|(_, d)| d.next).filter(|at| *at > now).min();
        due
    }

    /// The direct path of `peer` is not asked before it appears again.
    pub(crate) fn rest(&mut self, peer: &PeerId, now: Instant) {
        if let Some(direct) = self.peers.get_mut(peer).and_then(|p| p.direct.as_mut()) {
            direct.next = now + DEAD_AFTER;
        }
    }

    /// Returns the question in a reply to `peer`, which asked from `to`.
    pub(crate) fn challenge(
        &mut self,
        peer: &PeerId,
        to: SocketAddr,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> u64 {
        let Some(path) = self.peers.get_mut(peer) else {
            return 0;
        };
        match path.request(to, path.purpose(to), now, entropy) {
            Probe::Request { nonce, .. } => nonce,
            _ => 0,
        }
    }

    /// A reply asked this in turn: the next request answers it.
    pub(crate) fn challenged(&mut self, peer: &PeerId, challenge: u64, now: Instant) {
        if let Some(path) = self.peers.get_mut(peer) {
            path.challenge = Some((challenge, now)).filter(|_| challenge != 0);
        }
    }

    /// One probe more to the direct path of `peer`, beside its heartbeats.
    pub(crate) fn probe_direct(
        &mut self,
        peer: &PeerId,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<(SocketAddr, Probe)> {
        let path = self.peers.get_mut(peer)?;
        let to = path.direct?.address;
        Some((to, path.request(to, path.purpose(to), now, entropy)))
    }

    /// The peer was seen at `address`: the probe to send there at once, unless it is the direct path already or
    /// another such probe was sent within [`ROAM_INTERVAL`].
    pub(crate) fn roam(
        &mut self,
        peer: &PeerId,
        address: SocketAddr,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<Probe> {
        let path = self.peers.get_mut(peer)?;
        let known = path.direct.is_some_and(|d| d.address == address);
        let left = path.direct.and(path.left);
        let left = left.is_some_and(|(a, at)| a == address && now.since(at) < FOLLOW_WITHIN);
        if known || left || path.roamed.is_some_and(|at| now.since(at) < ROAM_INTERVAL) {
            return None;
        }
        path.roamed = Some(now);
        let purpose = ProbePurpose {
            roam: true,
            ..ProbePurpose::default()
        };
        Some(path.request(address, purpose, now, entropy))
    }

    /// A reply from `peer`, or the answer in its request, came directly from `from`, `delay` after it could have come.
    /// Returns true if the direct path appeared or moved.
    pub(crate) fn replied(
        &mut self,
        peer: PeerId,
        (nonce, delay): (u64, Duration),
        from: SocketAddr,
        now: Instant,
    ) -> bool {
        let Some(path) = self.peers.get_mut(&peer) else {
            return false;
        };
        let is_it = |s: &SentProbe| s.nonce == nonce && !s.purpose.compare;
        let at = path.outstanding.iter().position(is_it);
        let Some(sent) = at.and_then(|at| path.outstanding.remove(at)) else {
            return false;
        };
        let sample = now.since(sent.at).saturating_sub(delay);
        let moved = sent.purpose.roam && sent.to == from;
        let spare = sent.purpose.spare;
        path.searched = None;
        // The leader has asked a moment ago; the other need not as long as answers come.
        let next = if delay.is_zero() {
            (sent.at + PATH_BEAT).max(now)
        } else {
            now + PATH_DOUBT
        };
        match &mut path.direct {
            Some(direct) if (direct.address, direct.spare) == (from, spare) => {
                direct.rtt = (direct.rtt * 7 + sample) / 8;
                direct.strain = (direct.strain * 3 + sample) / 4;
                direct.last_reply = now;
                direct.asked = direct.asked.max(sent.at);
                direct.next = next;
                earliest(&mut self.next_probe, next);
                false
            }
            // Two addresses answer: stay with the one that works, or every probe would move the path.
            Some(direct) if !moved && now.since(direct.last_reply) < DEAD_AFTER / 2 => false,
            other => {
                *other = Some(Direct {
                    address: from,
                    rtt: sample,
                    strain: sample,
                    spare,
                    last_reply: now,
                    asked: sent.at,
                    next,
                });
                earliest(&mut self.next_probe, next);
                earliest(&mut self.next_expiry, now + DEAD_AFTER);
                self.prefer(peer, from);
                true
            }
        }
    }

    /// An authenticated datagram of `peer`, the newest of its session, came from `address`: it may have moved.
    pub(crate) fn seen(&mut self, peer: PeerId, address: SocketAddr) {
        if self.direct(&peer).is_none_or(|d| d.address != address) {
            self.prefer(peer, address);
        }
    }

    /// Returns the time of the next call of [`DirectPaths::expire`]: no path falls silent before, though perhaps none does then.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    /// The peers whose direct path fell silent: [`DEAD_AFTER`] has passed since its last reply. It is dropped, the
    /// candidates stay.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<PeerId> {
        if self.next_expiry.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let mut dead = Vec::new();
        let mut next = None;
        for (peer, path) in &mut self.peers {
            let Some(silent) = path.direct.map(|d| d.last_reply + DEAD_AFTER) else {
                continue;
            };
            if silent <= now {
                if let Some(direct) = path.direct.take() {
                    path.others.fell(direct.address, now);
                }
                path.lost = Some(now);
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
        self.peers.get(peer)?.lost
    }

    /// Nothing of this peer is wanted any more.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }
}

/// Brings a deadline forward to `at`.
fn earliest(deadline: &mut Option<Instant>, at: Instant) {
    *deadline = Some(deadline.map_or(at, |old| old.min(at)));
}

#[cfg(test)]
#[path = "direct_tests.rs"]
mod tests;
