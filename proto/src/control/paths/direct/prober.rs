//! Prober of one peer: its direct path, the candidates beside it, and the probes that wait for a reply.

use std::net::SocketAddr;

use core::time::Duration;

use crate::entropy::Entropy;
use crate::limits::{
    DEAD_AFTER, FOLLOW_WITHIN, LOST_AS, MAX_CANDIDATES, PATH_BEAT, PATH_DOUBT, PATH_RETRY,
    ROAM_INTERVAL,
};
use crate::time::Instant;

use super::super::probe::{ChallengeAnswer, Probe};
use super::compare::Alternatives;
use super::outstanding::{OutstandingProbes, ProbePurpose, SentProbe};

/// A working direct path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Direct {
    /// Address at which the peer answers.
    pub(crate) address: SocketAddr,
    /// Smoothed round-trip time (RFC 6298 weights).
    pub(crate) rtt: Duration,
    /// True if it answers datagrams from the spare port ([`super::super::flows`]), not from the router's own.
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

    /// Returns the time of the next probe.
    pub(super) fn next(&self) -> Instant {
        self.next
    }
}

/// Prober of one peer.
#[derive(Debug, Default)]
pub(super) struct PathProber {
    direct: Option<Direct>,
    candidates: Vec<SocketAddr>,
    outstanding: OutstandingProbes,
    /// Time of the last probe of an address at which the peer was newly seen.
    roamed: Option<Instant>,
    /// Time at which the last direct path fell silent.
    lost: Option<Instant>,
    /// Time since which addresses are probed and none answers.
    searched: Option<Instant>,
    others: Alternatives,
    /// The address that was left for a better one, and when: the peer still sends from there for a moment.
    left: Option<(SocketAddr, Instant)>,
    /// Challenge in the last reply, and the time at which it came.
    challenge: Option<(u64, Instant)>,
}

/// Effect of a reply on the direct path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyOutcome {
    /// Nothing was asked with this nonce, or the path in use works.
    Ignored,
    /// The path in use works.
    Confirmed,
    /// The path appeared, or moved.
    Moved,
}

impl PathProber {
    /// Returns the direct path, if it works.
    pub(super) fn direct(&self) -> Option<&Direct> {
        self.direct.as_ref()
    }

    /// Returns the addresses worth trying, the likeliest first.
    pub(super) fn candidates(&self) -> &[SocketAddr] {
        &self.candidates
    }

    /// Returns the number of probes that wait for a reply.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Returns the time at which the last direct path fell silent.
    pub(super) fn lost(&self) -> Option<Instant> {
        self.lost
    }

    /// Puts `address` in front of the candidates; beyond [`MAX_CANDIDATES`] the last one goes.
    pub(super) fn prefer(&mut self, address: SocketAddr) {
        self.candidates.retain(|a| *a != address);
        self.candidates.insert(0, address);
        self.candidates.truncate(MAX_CANDIDATES);
    }

    /// Adds addresses at the end of the candidates while there is room.
    pub(super) fn suggest(&mut self, addresses: &[SocketAddr]) {
        for address in addresses {
            if self.candidates.len() < MAX_CANDIDATES && !self.candidates.contains(address) {
                self.candidates.push(*address);
            }
        }
    }

    // Probes to send

    /// Returns the probes to send now: one to the direct path, or one to each candidate while there is none.
    pub(super) fn probes(
        &mut self,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Vec<(SocketAddr, Probe)> {
        self.forget_lost(now);
        let to = match &mut self.direct {
            Some(direct) => {
                let doubt = direct.last_reply + PATH_DOUBT;
                let beat = now + entropy.jitter(PATH_BEAT, 10);
                direct.next = beat.min(doubt).max(now + PATH_RETRY);
                vec![direct.address]
            }
            None => self.candidates.clone(),
        };
        let beat = self.direct.is_some();
        let probe = |to| {
            let purpose = ProbePurpose {
                beat,
                ..self.purpose(to)
            };
            (to, self.request(to, purpose, now, entropy))
        };
        to.into_iter().map(probe).collect()
    }

    /// Returns the probes to send to the candidates from the spare port.
    pub(super) fn spare_probes(
        &mut self,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Vec<(SocketAddr, Probe)> {
        let purpose = ProbePurpose {
            spare: true,
            ..ProbePurpose::default()
        };
        let to = self.candidates.clone().into_iter();
        to.map(|to| (to, self.request(to, purpose, now, entropy)))
            .collect()
    }

    /// Returns one probe more to the direct path, beside its heartbeats.
    pub(super) fn probe_direct(
        &mut self,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<(SocketAddr, Probe)> {
        let to = self.direct?.address;
        Some((to, self.request(to, self.purpose(to), now, entropy)))
    }

    /// Returns the probe to another address than the direct path's, if one is due.
    pub(super) fn compare(
        &mut self,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<(SocketAddr, Probe)> {
        let current = self.direct?.address;
        let to = self.others.due(&self.candidates, current, now, entropy)?;
        let purpose = ProbePurpose {
            compare: true,
            ..ProbePurpose::default()
        };
        match self.request(to, purpose, now, entropy) {
            Probe::Request { nonce, .. } => Some((to, Probe::Compare { nonce })),
            _ => None,
        }
    }

    /// Returns the probe to an address at which the peer was seen, unless it is the direct path already or another such
    /// probe was sent within [`ROAM_INTERVAL`].
    pub(super) fn roam(
        &mut self,
        address: SocketAddr,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Option<Probe> {
        let known = self.direct.is_some_and(|d| d.address == address);
        let left = self.direct.and(self.left);
        let left = left.is_some_and(|(a, at)| a == address && now.since(at) < FOLLOW_WITHIN);
        if known || left || self.roamed.is_some_and(|at| now.since(at) < ROAM_INTERVAL) {
            return None;
        }
        self.roamed = Some(now);
        let purpose = ProbePurpose {
            roam: true,
            ..ProbePurpose::default()
        };
        Some(self.request(address, purpose, now, entropy))
    }

    /// Returns the challenge in a reply to a request from `to`.
    pub(super) fn challenge(
        &mut self,
        to: SocketAddr,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> u64 {
        match self.request(to, self.purpose(to), now, entropy) {
            Probe::Request { nonce, .. } => nonce,
            _ => 0,
        }
    }

    fn request(
        &mut self,
        to: SocketAddr,
        purpose: ProbePurpose,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Probe {
        let nonce = entropy.u64();
        self.outstanding.push(SentProbe {
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

    /// Returns the purpose of an ordinary probe to `to`, with the port from which it is sent.
    fn purpose(&self, to: SocketAddr) -> ProbePurpose {
        let spare = self.direct.is_some_and(|d| d.address == to && d.spare);
        ProbePurpose {
            spare,
            ..ProbePurpose::default()
        }
    }

    /// Gives up probes without a reply; lost on the direct path they count as slow ones.
    fn forget_lost(&mut self, now: Instant) {
        let lost = self.outstanding.take_lost(now);
        if let Some(direct) = &mut self.direct {
            let beats = lost.iter().filter(|s| s.purpose.beat);
            for _ in beats.filter(|s| s.to == direct.address) {
                direct.strain = (direct.strain * 3 + LOST_AS) / 4;
            }
        }
    }

    // What comes back

    /// Takes the challenge in a reply, which the next request answers.
    pub(super) fn challenged(&mut self, challenge: u64, now: Instant) {
        self.challenge = Some((challenge, now)).filter(|_| challenge != 0);
    }

    /// Takes a reply, or the answer to a challenge, that came directly from `from`, `delay` after it could have come.
    pub(super) fn replied(
        &mut self,
        (nonce, delay): (u64, Duration),
        from: SocketAddr,
        now: Instant,
    ) -> ReplyOutcome {
        let Some(sent) = self
            .outstanding
            .take(|s| s.nonce == nonce && !s.purpose.compare)
        else {
            return ReplyOutcome::Ignored;
        };
        let sample = now.since(sent.at).saturating_sub(delay);
        let moved = sent.purpose.roam && sent.to == from;
        let spare = sent.purpose.spare;
        self.searched = None;
        // The leader has asked a moment ago; the other need not as long as answers come.
        let next = if delay.is_zero() {
            (sent.at + PATH_BEAT).max(now)
        } else {
            now + PATH_DOUBT
        };
        match &mut self.direct {
            Some(direct) if (direct.address, direct.spare) == (from, spare) => {
                direct.rtt = (direct.rtt * 7 + sample) / 8;
                direct.strain = (direct.strain * 3 + sample) / 4;
                direct.last_reply = now;
                direct.asked = direct.asked.max(sent.at);
                direct.next = next;
                ReplyOutcome::Confirmed
            }
            // Two addresses answer: stay with the one that works, or every probe would move the path.
            Some(direct) if !moved && now.since(direct.last_reply) < DEAD_AFTER / 2 => {
                ReplyOutcome::Ignored
            }
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
                self.prefer(from);
                ReplyOutcome::Moved
            }
        }
    }

    /// Takes the reply of another address to a comparison. Returns true if the direct path moved there.
    pub(super) fn compared(&mut self, nonce: u64, from: SocketAddr, now: Instant) -> bool {
        let is_it = |s: &SentProbe| s.nonce == nonce && s.purpose.compare && s.to == from;
        let Some(sent) = self.outstanding.take(is_it) else {
            return false;
        };
        let Some(old) = self.direct.filter(|direct| direct.address != from) else {
            return false;
        };
        let sample = now.since(sent.at);
        if !self.others.answered(from, sample, old.strain, now) {
            return false;
        }
        self.others.left(old.address, old.strain, now);
        self.left = Some((old.address, now));
        self.direct = Some(Direct {
            address: from,
            rtt: sample,
            spare: false,
            strain: sample,
            last_reply: now,
            asked: sent.at,
            next: now,
        });
        self.prefer(from);
        true
    }

    // Silence

    /// Returns the time for which the addresses have been probed, now included, without an answer.
    pub(super) fn searching(&mut self, now: Instant) -> Duration {
        match self.direct {
            Some(_) => Duration::ZERO,
            None => now.since(*self.searched.get_or_insert(now)),
        }
    }

    /// Begins the search for an address that answers again.
    pub(super) fn restart_search(&mut self) {
        self.searched = None;
    }

    /// Puts off the next probe of the direct path until it appears again.
    pub(super) fn rest(&mut self, now: Instant) {
        if let Some(direct) = &mut self.direct {
            direct.next = now + DEAD_AFTER;
        }
    }

    /// Returns the time at which the direct path counts as silent.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        self.direct.map(|direct| direct.last_reply + DEAD_AFTER)
    }

    /// Drops the direct path, which fell silent; the candidates stay.
    pub(super) fn fall(&mut self, now: Instant) {
        if let Some(direct) = self.direct.take() {
            self.others.fell(direct.address, now);
        }
        self.lost = Some(now);
    }
}
