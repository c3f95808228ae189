//! Probes: those that are due, those that come, and what follows from both.

use core::time::Duration;
use std::net::SocketAddr;

use crate::entropy::Entropy;
use crate::fastpath::Offer;
use crate::ids::PeerId;
use crate::limits::{FLOW_PATIENCE, HEARTBEAT};
use crate::time::Instant;

use super::direct::Direct;
use super::probe::{ChallengeAnswer, Probe};
use super::{PathContext, PathEffect, PathNews, Paths};

impl Paths {
    /// Takes a probe that came straight from an address.
    pub(crate) fn take_probe(
        &mut self,
        peer: PeerId,
        (from, body): (SocketAddr, &[u8]),
        around: PathContext<'_>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        match Probe::decode(body) {
            Some(Probe::Request { nonce, answer }) => {
                if let Some(ChallengeAnswer { challenge, delay }) = answer {
                    // Never none: that tells an answer from a reply.
                    let delay = Duration::from_millis(delay.max(1).into());
                    self.take_answer(peer, (challenge, delay), from, now, entropy);
                }
                let challenge = match self.needs_path(&peer, around.links, now) {
                    true => self.direct.challenge(&peer, from, now, entropy),
                    false => 0,
                };
                let reply = Probe::Reply {
                    nonce,
                    challenge,
                    observed: from,
                };
                self.send(&peer, from, reply);
            }
            Some(Probe::Reply {
                nonce,
                challenge,
                observed,
            }) => {
                self.take_answer(peer, (nonce, Duration::ZERO), from, now, entropy);
                self.direct.challenged(&peer, challenge, now);
                if around.links.of_peer(&peer).is_some() {
                    self.observed(peer, observed, true, now);
                }
            }
            Some(Probe::Compare { nonce }) => self.send(&peer, from, Probe::Compared { nonce }),
            Some(Probe::Compared { nonce }) => {
                if self.direct.compared(peer, nonce, from, now) {
                    let news = PathEffect::News(peer, PathNews::Better(from));
                    self.effects.extend([news, PathEffect::Moved(peer)]);
                    self.follow(peer, now, entropy);
                    // The peer follows to where this comes from.
                    self.probe(&peer, around, now, entropy);
                }
            }
            Some(Probe::SizeRequest { nonce, size }) => {
                self.send(&peer, from, Probe::SizeReply { nonce, size });
            }
            Some(Probe::SizeReply { nonce, size }) => {
                let before = self.sizes.published(&peer);
                if self.sizes.answered(&peer, from, (nonce, size), now) {
                    self.compare_sizes(&peer, before);
                    self.probe_sizes(&peer, now, entropy);
                }
            }
            // An offer, or empty: then it only confirmed keys.
            None => self.take_offer(peer, from, body, now),
        }
    }

    /// Takes the answer to what was asked directly.
    fn take_answer(
        &mut self,
        peer: PeerId,
        answer: (u64, Duration),
        from: SocketAddr,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        if self.direct.replied(peer, answer, from, now) {
            self.effects.push_back(PathEffect::Moved(peer));
        }
        self.follow(peer, now, entropy);
        if let Some(asked) = self.direct(&peer).map(Direct::asked) {
            self.sizes.small_answered(&peer, asked);
        }
    }

    fn take_offer(&mut self, peer: PeerId, from: SocketAddr, body: &[u8], now: Instant) {
        let Some(offer) = Offer::decode(body) else {
            return;
        };
        let direct = self.direct(&peer).map(|d| d.address);
        if let Some(refusal) = self.fast.take(peer, from, direct, offer, now) {
            self.send_payload(&peer, from, refusal);
        }
        self.refresh_fast(now);
    }

    /// Takes note that an authenticated datagram of `peer`, the newest of its session, came from this address.
    pub(crate) fn endpoint_seen(
        &mut self,
        peer: PeerId,
        address: SocketAddr,
        around: PathContext<'_>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        if !self.may_go_direct(&peer, around.links) {
            return;
        }
        self.direct.seen(peer, address);
        if !self.needs_path(&peer, around.links, now) {
            return;
        }
        // Ask back at once: a peer behind NAT can be answered only where it just came from, and one that moved is not
        // where it was.
        if let Some(probe) = self.direct.roam(&peer, address, now, entropy) {
            self.send(&peer, address, probe);
        }
    }

    /// Probes the direct path of `peer`, or all candidates while there is none.
    pub(crate) fn probe(
        &mut self,
        peer: &PeerId,
        around: PathContext<'_>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        if around.sessions.current(*peer).is_none() {
            return;
        }
        for (to, probe) in self.direct.probes(peer, now, entropy) {
            self.send(peer, to, probe);
        }
    }

    /// Probes the direct path of `peer` twice, as proof that it works: one probe may be lost.
    pub(crate) fn prove(&mut self, peer: &PeerId, now: Instant, entropy: &mut dyn Entropy) {
        for _ in 0..2 {
            if let Some((to, probe)) = self.direct.probe_direct(peer, now, entropy) {
                self.send(peer, to, probe);
            }
        }
    }

    /// Drops the direct paths that fell silent, and returns their peers.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<PeerId> {
        self.direct.expire(now)
    }

    /// Probes the direct paths that are due.
    pub(crate) fn probe_due(
        &mut self,
        around: PathContext<'_>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        for peer in self.direct.due(now) {
            if self.needs_path(&peer, around.links, now) {
                self.probe(&peer, around, now, entropy);
            } else {
                self.direct.rest(&peer, now);
            }
        }
    }

    /// Searches for paths where there are none, compares addresses, and renews offers; each second.
    pub(crate) fn heartbeat(
        &mut self,
        around: PathContext<'_>,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        let mut probed: Vec<PeerId> = around.links.beside().collect();
        probed.extend(self.wanted.keys().filter(|peer| {
            !around.links.is_beside(peer) && self.needs_path(peer, around.links, now)
        }));
        for peer in probed {
            if self.direct(&peer).is_none() {
                self.probe(&peer, around, now, entropy);
                self.try_spare(&peer, now, entropy);
            }
            // One of the two compares, and the other follows.
            if self.me < peer
                && let Some((to, probe)) = self.direct.compare(&peer, now, entropy)
            {
                self.send(&peer, to, probe);
            }
            self.confirm_size(&peer, around, now);
            let direct = self.direct(&peer).map(|direct| direct.address);
            let offer = direct.and_then(|at| Some((at, self.fast.offer(&peer, at, now)?)));
            if let Some((to, offer)) = offer {
                self.send_payload(&peer, to, offer);
            }
        }
        self.refresh_spare(now);
        self.refresh_fast(now);
    }

    /// Probes a peer of which no address has answered yet from the spare port: from there one may.
    fn try_spare(&mut self, peer: &PeerId, now: Instant, entropy: &mut dyn Entropy) {
        if self.direct.searching(peer, now) < FLOW_PATIENCE {
            return;
        }
        let used = self.direct.on_spare().collect();
        let spare = self.flows.search(used, now);
        self.effects.extend(spare.map(PathEffect::SparePort));
        for (to, probe) in self.direct.spare_probes(peer, now, entropy) {
            if self.leads_out(to) {
                self.effects.push_back(PathEffect::Probe {
                    peer: *peer,
                    to,
                    payload: probe.encode(),
                    spare: true,
                });
            }
        }
    }

    /// Forgets the paths of a peer.
    pub(crate) fn forget(&mut self, peer: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        self.direct.forget(&peer);
        self.follow(peer, now, entropy);
    }

    /// Takes the direct path to `peer` as it is now for the discovery of its path MTU.
    fn follow(&mut self, peer: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        let direct = self.direct(&peer).map(|direct| direct.address);
        self.sizes.follow(peer, direct, now, entropy);
    }

    /// Takes note that the direct path to `peer` fell silent.
    pub(crate) fn died(&mut self, peer: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        self.follow(peer, now, entropy);
    }

    /// Confirms the size of a path while frames go by it.
    fn confirm_size(&mut self, peer: &PeerId, around: PathContext<'_>, now: Instant) {
        let stats = around.sessions.current(*peer).map(|t| t.stats());
        let last_frame = stats.and_then(|stats| stats.last_frame_sent);
        if last_frame.is_some_and(|at| now.since(at) < 2 * HEARTBEAT) {
            self.sizes.confirm(peer, now);
        }
    }

    /// Sends the probes of sizes that are due.
    pub(crate) fn tick_sizes(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        for peer in self.sizes.take_due(now) {
            self.probe_sizes(&peer, now, entropy);
        }
    }

    fn probe_sizes(&mut self, peer: &PeerId, now: Instant, entropy: &mut dyn Entropy) {
        let Some(rtt) = self.direct(peer).map(|direct| direct.rtt) else {
            return;
        };
        let before = self.sizes.published(peer);
        while let Some((to, probe, sign)) = self.sizes.poll(peer, rtt, now) {
            self.send(peer, to, probe);
            if sign && let Some((to, probe)) = self.direct.probe_direct(peer, now, entropy) {
                self.send(peer, to, probe);
            }
        }
        self.compare_sizes(peer, before);
    }

    fn compare_sizes(&mut self, peer: &PeerId, before: (Option<u16>, Option<u16>)) {
        if self.sizes.published(peer) != before {
            self.effects.push_back(PathEffect::Changed);
        }
    }

    fn send(&mut self, peer: &PeerId, to: SocketAddr, probe: Probe) {
        self.send_payload(peer, to, probe.encode());
    }

    fn send_payload(&mut self, peer: &PeerId, to: SocketAddr, payload: Vec<u8>) {
        if self.leads_out(to) {
            self.effects.push_back(PathEffect::Probe {
                peer: *peer,
                to,
                payload,
                spare: false,
            });
        }
    }

    // Deadlines

    /// Returns the time of the next [`Paths::probe_due`].
    pub(crate) fn next_probe(&self) -> Option<Instant> {
        self.direct.next_probe()
    }

    /// Returns the time of the next [`Paths::expire`].
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.direct.next_expiry()
    }

    /// Returns the time of the next [`Paths::tick_sizes`].
    pub(crate) fn next_size(&self) -> Instant {
        self.sizes.next_deadline()
    }
}
