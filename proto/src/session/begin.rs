//! Initiation of handshakes.

use std::collections::VecDeque;

use super::message::{self, InitPayload};
use super::peer::{Attempt, Pending};
use super::sessions::Sessions;
use super::{Refused, SessionOutput};
use crate::entropy::Entropy;
use crate::ids::PeerId;
use crate::limits;
use crate::noise::{Handshake, Pattern, Role};
use crate::time::Instant;
use crate::wire::datagram::Kind;

impl Sessions {
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

    pub(super) fn begin(&mut self, id: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.pending.is_some() {
            return;
        }
        peer.begin_at = None;
        peer.pending = Some(Pending {
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
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(pending) = &mut peer.pending else {
            return;
        };
        if pending.tries.len() >= limits::KEPT_ATTEMPTS
            && let Some(oldest) = pending.tries.pop_front()
        {
            self.indices.release(oldest.index);
        }
        let index = self.indices.allocate(id, entropy);
        let header = message::header(Kind::Init, index, entropy);
        let mut noise = Handshake::new(
            Pattern::IkPsk2,
            Role::Initiator,
            &message::prologue(&header, &id),
            self.identity.dh_secret(),
            Some(peer.dh_key),
            &self.psk,
        );
        self.handshakes += 1;
        let payload = InitPayload {
            peer: self.identity.id(),
            freshness: (self.epoch, self.handshakes),
            suites: self.suites,
        };
        let mut bytes = header.encode().to_vec();
        if noise
            .write_message(entropy.key(), &payload.encode(), &mut bytes)
            .is_err()
        {
            self.indices.release(index);
            self.drop_pending(id);
            self.count(Refused::BadKey);
            return;
        }
        peer.cookie
            .take_if(|(_, got)| now.since(*got) >= limits::COOKIE_AGE);
        let cookie = peer.cookie.as_ref().map(|(cookie, _)| cookie);
        let mac1 = message::append_mac1(&mut bytes, &peer.dh_key);
        message::append_mac2(&mut bytes, cookie);

        let last = limits::HANDSHAKE_RETRIES.len() - 1;
        let wait = limits::HANDSHAKE_RETRIES[pending.attempts.min(last)];
        pending.attempts += 1;
        pending.retry_at = now + entropy.jitter(wait, 10);
        pending.tries.push_back(Attempt {
            noise,
            index,
            sent: now,
            mac1,
            challenged: false,
            failures: 0,
        });
        self.counters.inits += 1;
        self.outputs.push_back(SessionOutput::Send {
            peer: id,
            via: None,
            bytes,
        });
    }

    pub(super) fn drop_pending(&mut self, id: PeerId) -> bool {
        let pending = self.peers.get_mut(&id).and_then(|p| p.pending.take());
        let Some(pending) = pending else {
            return false;
        };
        for attempt in &pending.tries {
            self.indices.release(attempt.index);
        }
        true
    }
}
