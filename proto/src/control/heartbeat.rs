//! Whether datagrams reach a peer directly: probes that are due, those that come, and what follows from both.

use core::time::Duration;
use std::net::SocketAddr;

use crate::ids::PeerId;
use crate::limits::{HEARTBEAT, MAX_SESSIONS, PROBE_WHILE_USED, SESSION_IDLE};
use crate::time::Instant;

use super::probe::{Answer, Probe};
use super::{Control, Note};

impl Control {
    pub(super) fn take_probe(&mut self, peer: PeerId, from: SocketAddr, body: &[u8], now: Instant) {
        match Probe::decode(body) {
            Some(Probe::Request { nonce, answer }) => {
                if let Some(Answer { ask, held }) = answer {
                    // Never none: that tells an answer from a reply.
                    let held = Duration::from_millis(held.max(1).into());
                    self.take_answer(peer, (ask, held), from, now);
                }
                let ask = if self.needs_path(&peer, now) {
                    self.paths.ask_back(&peer, from, now, &mut *self.entropy)
                } else {
                    0
                };
                let reply = Probe::Reply {
                    nonce,
                    ask,
                    observed: from,
                };
                self.seal_probe(&peer, from, reply, now);
            }
            Some(Probe::Reply {
                nonce,
                ask,
                observed,
            }) => {
                self.take_answer(peer, (nonce, Duration::ZERO), from, now);
                self.paths.asked(&peer, ask, now);
                if self.links.of_peer(&peer).is_some()
                    && self.observed.saw(peer, observed, true, now)
                {
                    self.refresh_endpoints();
                }
            }
            Some(Probe::Compare { nonce }) => {
                self.seal_probe(&peer, from, Probe::Compared { nonce }, now);
            }
            Some(Probe::Compared { nonce }) => {
                if self.paths.compared(peer, nonce, from, now) {
                    let who = self.display(&peer);
                    self.note(Note::Info(format!("{from} is the better path to {who}")));
                    self.path_moved(peer, now);
                    self.follow_direct(peer, now);
                    // The peer follows to where this comes from.
                    self.probe(&peer, now);
                }
            }
            Some(Probe::SizeRequest { nonce, size }) => {
                self.seal_probe(&peer, from, Probe::SizeReply { nonce, size }, now);
            }
            Some(Probe::SizeReply { nonce, size }) => {
                self.size_answered(peer, from, (nonce, size), now);
            }
            // An offer, or empty: then it only confirmed keys.
            None => self.take_offer(peer, from, body, now),
        }
    }

    /// Something that was asked directly is answered.
    fn take_answer(
        &mut self,
        peer: PeerId,
        answer: (u64, Duration),
        from: SocketAddr,
        now: Instant,
    ) {
        if self.paths.replied(peer, answer, from, now) {
            self.path_moved(peer, now);
        }
        self.small_answered(peer, now);
    }

    /// The direct path to `peer` is there, or elsewhere than before.
    fn path_moved(&mut self, peer: PeerId, now: Instant) {
        self.topology_dirty = true;
        self.neighbours_dirty = true;
        self.snapshot_dirty = true;
        if let Some(slot) = self
            .links
            .of_peer(&peer)
            .and_then(|c| self.links.get_mut(c))
        {
            slot.set_direct(true, now);
        }
    }

    pub(super) fn probe(&mut self, peer: &PeerId, now: Instant) {
        if self.sessions.current(*peer).is_none() {
            return;
        }
        for (to, probe) in self.paths.probes(peer, now, &mut *self.entropy) {
            self.seal_probe(peer, to, probe, now);
        }
    }

    pub(super) fn tick_paths(&mut self, now: Instant) {
        for peer in self.paths.expire(now) {
            self.path_died(peer, now);
        }
        for peer in self.paths.due(now) {
            if self.needs_path(&peer, now) {
                self.probe(&peer, now);
            } else {
                self.paths.rest(&peer, now);
            }
        }
        if now < self.next_probe {
            return;
        }
        self.next_probe = now + self.entropy.jitter(HEARTBEAT, 10);
        self.doubt_targets(now);
        self.prune_links(now);
        self.remember_links(now);
        self.reconsider_costs(now);
        self.note_use();
        self.wanted
            .retain(|_, used| now.since(*used) < SESSION_IDLE);
        self.keep_sessions(now);
        let mut probed: Vec<PeerId> = self.links.neighbours().map(|(peer, _)| *peer).collect();
        probed.extend(self.kept.iter().map(|(peer, _)| *peer));
        probed.extend(
            self.wanted
                .keys()
                .filter(|peer| !self.is_beside(peer) && self.needs_path(peer, now)),
        );
        for peer in probed {
            if self.paths.direct(&peer).is_none() {
                self.probe(&peer, now);
                self.try_spare(&peer, now);
            }
            // One of the two compares, and the other follows.
            if self.me < peer
                && let Some((to, probe)) = self.paths.compare(&peer, now, &mut *self.entropy)
            {
                self.seal_probe(&peer, to, probe, now);
            }
            self.confirm_size(&peer, now);
            self.offer_fast(&peer, now);
        }
        self.keep_spare(now);
        self.refresh_fast(now);
        self.gossip.expire(now);
        self.drain_gossip(now);
        self.tick_sources(now);
    }

    /// The peer does not answer where it did: another address, a relay or a new handshake may reach it.
    fn path_died(&mut self, peer: PeerId, now: Instant) {
        self.follow_direct(peer, now);
        self.keep_no_longer(&peer);
        self.topology_dirty = true;
        self.neighbours_dirty = true;
        self.snapshot_dirty = true;
        self.suggest_addresses(peer);
        if let Some(slot) = self
            .links
            .of_peer(&peer)
            .and_then(|c| self.links.get_mut(c))
        {
            slot.set_direct(false, now);
        }
        // A path that nobody uses fell silent because nobody asked; the next frame asks again.
        if self.needs_path(&peer, now)
            && let Some(dh_key) = self.body_of(&peer).map(|body| body.dh_key)
        {
            self.sessions.renew(peer, dh_key, now, &mut *self.entropy);
        }
    }

    /// Whether a direct path to this peer is worth being asked for: it is a neighbour, or frames went there lately.
    pub(super) fn needs_path(&self, peer: &PeerId, now: Instant) -> bool {
        self.is_beside(peer)
            || (self.may_go_direct(peer)
                && self
                    .wanted
                    .get(peer)
                    .is_some_and(|used| now.since(*used) < PROBE_WHILE_USED))
    }

    /// The lanes stamp transports with the time of the last frame; that is what makes and keeps a session wanted,
    /// whichever side began it.
    fn note_use(&mut self) {
        for status in self.sessions.statuses() {
            let sent = status.current.and_then(|t| t.stats().last_frame_sent);
            let Some(sent) = sent else { continue };
            if let Some(used) = self.wanted.get_mut(&status.peer) {
                *used = (*used).max(sent);
            } else if self.wanted.len() < MAX_SESSIONS {
                self.wanted.insert(status.peer, sent);
            }
        }
    }
}
