//! Sessions with all peers: their keys, the handshakes begun here, and the outputs.

mod answer;
mod upkeep;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use super::handshaker::Handshaker;
use super::peers::{Attempt, PeerTable, PendingHandshake, RemovedPeer};
use super::{Refused, SessionOutput, Via};
use crate::entropy::Entropy;
use crate::ids::PeerId;
use crate::limits;
use crate::time::Instant;
use crate::wire::datagram::Kind;

/// Counters of the session manager since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounters {
    /// Handshakes begun here, each of one or more Inits.
    pub begun: u64,
    /// Init messages sent.
    pub inits: u64,
    /// Handshakes begun here that gave keys.
    pub completed: u64,
    /// Handshakes of peers that were answered.
    pub answered: u64,
    /// Handshakes begun here that got no answer for [`limits::HANDSHAKE_GIVE_UP`].
    pub given_up: u64,
    /// Cookie messages sent.
    pub challenges: u64,
    /// Sessions dropped because the table was full.
    pub evicted: u64,
}

/// Sessions with all peers.
pub(super) struct SessionTable {
    handshaker: Handshaker,
    peers: PeerTable,
    outputs: VecDeque<SessionOutput>,
    counters: SessionCounters,
    refused: BTreeMap<Refused, u64>,
}

impl SessionTable {
    pub(super) fn new(handshaker: Handshaker) -> Self {
        Self {
            handshaker,
            peers: PeerTable::default(),
            outputs: VecDeque::new(),
            counters: SessionCounters::default(),
            refused: BTreeMap::new(),
        }
    }

    pub(super) fn handshaker(&self) -> &Handshaker {
        &self.handshaker
    }

    pub(super) fn handshaker_mut(&mut self) -> &mut Handshaker {
        &mut self.handshaker
    }

    pub(super) fn peers(&self) -> &PeerTable {
        &self.peers
    }

    pub(super) fn counters(&self) -> SessionCounters {
        self.counters
    }

    /// Returns the number of refused handshake datagrams by reason.
    pub(super) fn refused(&self) -> &BTreeMap<Refused, u64> {
        &self.refused
    }

    pub(super) fn count(&mut self, reason: Refused) {
        *self.refused.entry(reason).or_default() += 1;
    }

    pub(super) fn has_room(&self) -> bool {
        self.outputs.len() < limits::MAX_SESSION_OUTPUTS
    }

    pub(super) fn poll_output(&mut self) -> Option<SessionOutput> {
        self.outputs.pop_front()
    }

    /// Sends a Cookie to the address of an unauthenticated sender.
    pub(super) fn challenge(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.counters.challenges += 1;
        self.outputs
            .push_back(SessionOutput::Challenge { to, bytes });
    }

    /// Makes sure that `id` has an entry with this key. Returns false for this router itself.
    pub(super) fn enter(&mut self, id: PeerId, dh_key: [u8; 32], now: Instant) -> bool {
        if id == self.handshaker.id() {
            return false;
        }
        if let Some(evicted) = self.peers.enter(id, dh_key, now) {
            self.note_removed(&evicted);
            self.counters.evicted += 1;
        }
        true
    }

    /// Drops all keys and handshakes of `id`.
    pub(super) fn remove(&mut self, id: PeerId) {
        if let Some(removed) = self.peers.remove(id) {
            self.note_removed(&removed);
        }
    }

    fn note_removed(&mut self, removed: &RemovedPeer) {
        if removed.had_keys {
            self.outputs.push_back(SessionOutput::Changed(removed.id));
        }
    }

    /// Drops the keys agreed with `id` in boot epochs before `epoch`.
    pub(super) fn remove_before(&mut self, id: PeerId, epoch: u64) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let dropped = peer.slots.take_before(epoch);
        self.peers.release_keys(&dropped);
        if !dropped.is_empty() {
            self.outputs.push_back(SessionOutput::Changed(id));
        }
        self.peers.settle(id);
    }

    /// Updates the timers after a change of `id`.
    pub(super) fn settle(&mut self, id: PeerId) {
        self.peers.settle(id);
    }

    /// Begins a handshake unless one is pending or the keys need no replacement.
    pub(super) fn begin_if_needed(&mut self, id: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.pending.is_some() || peer.begin_at.is_some() || !peer.needs_handshake(now) {
            return;
        }
        // Keys that the peer is about to confirm make an own handshake unnecessary.
        if let Some(next) = peer.slots.next() {
            let patience = next.established() + limits::HANDSHAKE_YIELD;
            if now < patience {
                peer.begin_at = Some(patience);
                return;
            }
        }
        self.begin(id, now, entropy);
    }

    /// Begins a handshake unless one is pending.
    pub(super) fn begin(&mut self, id: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.pending.is_some() {
            return;
        }
        peer.begin_at = None;
        peer.pending = Some(PendingHandshake {
            started: now,
            attempts: 0,
            tries: VecDeque::new(),
            retry_at: now,
        });
        self.counters.begun += 1;
        self.send_init(id, now, entropy);
    }

    /// Sends the next Init of the pending handshake, each with a new ephemeral key, index and counter.
    pub(super) fn send_init(&mut self, id: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        if !self.peers.make_room_for_attempt(id) {
            return;
        }
        let index = self.peers.allocate(id, entropy);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.expire_cookie(now);
        let cookie = peer.cookie.as_ref().map(|(cookie, _)| cookie);
        let to = (id, peer.dh_key);
        let Ok(init) = self.handshaker.make_init(to, index, cookie, entropy) else {
            self.peers.release(index);
            self.peers.drop_pending(id);
            self.count(Refused::BadKey);
            return;
        };
        let Some(pending) = &mut peer.pending else {
            return;
        };
        let last = limits::HANDSHAKE_RETRIES.len() - 1;
        let wait = limits::HANDSHAKE_RETRIES[pending.attempts.min(last)];
        pending.attempts += 1;
        pending.retry_at = now + entropy.jitter(wait, 10);
        pending.tries.push_back(Attempt {
            noise: init.noise,
            index,
            sent: now,
            mac1: init.mac1,
            challenged: false,
            failures: 0,
        });
        self.counters.inits += 1;
        self.outputs.push_back(SessionOutput::Send {
            peer: id,
            via: None,
            bytes: init.bytes,
        });
    }

    /// Repeats the Init of a pending handshake, or gives it up if it is too old.
    pub(super) fn retry(&mut self, id: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        let pending = self.peers.get(&id).and_then(|p| p.pending.as_ref());
        let Some(pending) = pending else {
            return;
        };
        if now.since(pending.started) >= limits::HANDSHAKE_GIVE_UP {
            self.peers.drop_pending(id);
            self.counters.given_up += 1;
        } else {
            self.send_init(id, now, entropy);
        }
    }

    /// Returns true if both sides began at once and this router's Init takes precedence. It loses precedence after
    /// some unanswered attempts: the other side may have a reason to refuse it.
    pub(super) fn has_precedence(&self, id: PeerId) -> bool {
        let pending = self.peers.get(&id).and_then(|p| p.pending.as_ref());
        pending.is_some_and(|p| p.attempts <= limits::PRECEDENCE_ATTEMPTS)
            && self.handshaker.id() < id
    }

    /// Repeats this router's Init, for which the other side waits, unless the last one is still on its way.
    pub(super) fn insist(&mut self, id: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        let pending = self.peers.get(&id).and_then(|p| p.pending.as_ref());
        let last = pending.and_then(|p| p.tries.back());
        if last.is_some_and(|a| now.since(a.sent) >= limits::HANDSHAKE_RETRIES[0]) {
            self.send_init(id, now, entropy);
        }
    }

    /// Sends an empty Probe with the current keys.
    pub(super) fn probe(&mut self, id: PeerId, via: Option<Via>, now: Instant) {
        let Some(current) = self.peers.get(&id).and_then(|p| p.slots.current()) else {
            return;
        };
        let mut bytes = Vec::new();
        let sealed = current.seal(Kind::Probe, limits::MAX_HOPS, &[], &[], now, &mut bytes);
        // Keys that can no longer seal are removed by the upkeep.
        if sealed.is_ok() {
            self.outputs.push_back(SessionOutput::Send {
                peer: id,
                via,
                bytes,
            });
        }
    }
}
