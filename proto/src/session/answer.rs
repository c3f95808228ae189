//! Handling of received handshake messages: Init, Response and Cookie.

use std::sync::Arc;

use super::guard::Admission;
use super::message::{self, CookieMessage, InitPayload, Message, ResponsePayload, Sealed};
use super::peer::Attempt;
use super::sessions::{LastInit, Sessions};
use super::transport::{Ends, Transport, TransportKeys, TransportLimits};
use super::{Directory, Refused, SessionOutput, Via};
use crate::crypto::aead::{Suite, Suites};
use crate::entropy::Entropy;
use crate::ids::{PeerId, SessionIndex};
use crate::limits;
use crate::noise::{Handshake, NoiseError, Pattern, Role, SplitKeys};
use crate::time::Instant;
use crate::wire::datagram::{Header, Kind};

/// Content of an authenticated Init.
struct Offer {
    noise: Handshake,
    header: Header,
    dh_key: [u8; 32],
    says: InitPayload,
}

impl Sessions {
    pub(super) fn dispatch(
        &mut self,
        bytes: &[u8],
        via: Via,
        directory: &dyn Directory,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Refused> {
        if !self.has_room() {
            return Err(Refused::Busy);
        }
        match message::parse(bytes)? {
            Message::Init(init) => self.handle_init(&init, via, directory, now, entropy),
            Message::Response(response) => self.handle_response(&response, via, now, entropy),
            Message::Cookie(cookie) => self.handle_cookie(&cookie, now),
        }
    }

    fn handle_init(
        &mut self,
        init: &Sealed<'_>,
        via: Via,
        directory: &dyn Directory,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Refused> {
        if let Admission::Challenge(bytes) = self.guard.admit_init(init, via, now, entropy)? {
            if let Via::Direct(to) = via {
                self.counters.challenges += 1;
                self.outputs
                    .push_back(SessionOutput::Challenge { to, bytes });
            }
            return Err(Refused::CookieNeeded);
        }
        let offer = self.read_init(init, directory)?;
        let InitPayload {
            peer,
            freshness,
            suites,
        } = offer.says;
        let last = self.latest.get(&peer);
        if last.is_some_and(|last| last.freshness >= freshness) {
            return Err(Refused::Replayed);
        }
        self.remember(peer, LastInit { freshness, suites });
        let suite = self.suites.choose(&suites).ok_or(Refused::NoCommonSuite)?;
        if !self.enter(peer, offer.dh_key, now) {
            return Err(Refused::UnknownPeer);
        }
        let result = if self.has_precedence(peer) {
            self.insist(peer, now, entropy);
            Err(Refused::Yielded)
        } else {
            self.answer(offer, suite, via, now, entropy)
        };
        self.settle(peer);
        result
    }

    fn read_init(&self, init: &Sealed<'_>, directory: &dyn Directory) -> Result<Offer, Refused> {
        let mut noise = Handshake::new(
            Pattern::IkPsk2,
            Role::Responder,
            &message::prologue(&init.header, &self.identity.id()),
            self.identity.dh_secret(),
            None,
            &self.psk,
        );
        let payload = noise.read_message(init.noise)?;
        let says = InitPayload::decode(&payload).ok_or(Refused::Malformed)?;
        let dh_key = noise.remote_static().ok_or(Refused::Unauthentic)?;
        // The Noise message proves possession of the key, the record whose key it is; a record with another router's
        // key proves nothing.
        if !directory.names(&says.peer, &dh_key) {
            return Err(Refused::UnknownPeer);
        }
        Ok(Offer {
            noise,
            header: init.header,
            dh_key,
            says,
        })
    }

    /// Stores the content of the newest Init of a router. If the table is full, an entry without a session makes
    /// room.
    fn remember(&mut self, peer: PeerId, init: LastInit) {
        if self.latest.len() >= limits::MAX_PEERS && !self.latest.contains_key(&peer) {
            let idle = self.latest.keys().find(|id| !self.peers.contains_key(id));
            if let Some(idle) = idle.copied() {
                self.latest.remove(&idle);
            }
        }
        self.latest.insert(peer, init);
    }

    /// Returns true if both sides began at once and this router's Init takes precedence. It loses precedence after
    /// some unanswered attempts: the other side may have a reason to refuse it.
    fn has_precedence(&self, id: PeerId) -> bool {
        let pending = self.peers.get(&id).and_then(|p| p.pending.as_ref());
        pending.is_some_and(|p| p.attempts <= limits::PRECEDENCE_ATTEMPTS)
            && self.identity.id() < id
    }

    /// Repeats this router's Init, for which the other side waits, unless the last one is still on its way.
    fn insist(&mut self, id: PeerId, now: Instant, entropy: &mut dyn Entropy) {
        let pending = self.peers.get(&id).and_then(|p| p.pending.as_ref());
        let last = pending.and_then(|p| p.tries.back());
        if last.is_some_and(|a| now.since(a.sent) >= limits::HANDSHAKE_RETRIES[0]) {
            self.send_init(id, now, entropy);
        }
    }

    fn answer(
        &mut self,
        offer: Offer,
        suite: Suite,
        via: Via,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Refused> {
        let Offer {
            mut noise,
            header,
            dh_key,
            says:
                InitPayload {
                    peer: id,
                    freshness: (epoch, _),
                    ..
                },
        } = offer;
        let index = self.indices.allocate(id, entropy);
        let mut bytes = message::header(Kind::Response, header.receiver, entropy)
            .encode()
            .to_vec();
        let payload = ResponsePayload {
            index,
            suite: suite.number(),
            epoch: self.epoch,
        };
        let keys = noise
            .write_message(entropy.key(), &payload.encode(), &mut bytes)
            .and_then(|()| noise.split())
            .inspect_err(|_| self.indices.release(index))?;
        message::append_mac1(&mut bytes, &dh_key);

        let yielded = self.drop_pending(id);
        let ends = Ends {
            peer: id,
            epoch,
            local: index,
            remote: header.receiver,
        };
        let transport = self.transport(ends, suite, &keys, false, now);
        let Some(peer) = self.peers.get_mut(&id) else {
            return Err(Refused::UnknownPeer);
        };
        if yielded {
            // If the other side does not confirm the new keys, this router begins again.
            peer.begin_at = Some(now + limits::HANDSHAKE_YIELD);
        }
        if let Some(dropped) = peer.slots.install_next(transport) {
            self.indices.release(dropped.local());
        }
        self.counters.answered += 1;
        // The change first, so that the lanes have the keys when the peer's confirmation arrives.
        self.outputs.push_back(SessionOutput::Changed(id));
        self.outputs.push_back(SessionOutput::Send {
            peer: id,
            via: Some(via),
            bytes,
        });
        self.tend(id, false, now, entropy);
        Ok(())
    }

    fn handle_response(
        &mut self,
        response: &Sealed<'_>,
        via: Via,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Refused> {
        self.guard.admit_response(response)?;
        let id = self.owner_of_attempt(response.header.receiver)?;
        let index = response.header.receiver;
        let attempt = self.attempt(id, index).ok_or(Refused::UnknownIndex)?;
        if attempt.failures >= limits::RESPONSE_ATTEMPTS {
            return Err(Refused::RateLimited);
        }
        let payload = attempt
            .noise
            .read_message(response.noise)
            .inspect_err(|_| attempt.failures += 1)?;
        let says = ResponsePayload::decode(&payload).ok_or(Refused::Malformed)?;
        let suite = Suite::from_number(says.suite)
            .filter(|suite| self.suites.contains(*suite))
            .ok_or(Refused::NoCommonSuite)?;
        let keys = self.take_attempt(id, index)?.noise.split()?;
        let ends = Ends {
            peer: id,
            epoch: says.epoch,
            local: index,
            remote: says.index,
        };
        let transport = self.transport(ends, suite, &keys, true, now);
        let peer = self.peers.get_mut(&id).ok_or(Refused::UnknownIndex)?;
        peer.begin_at = None;
        if let Some(dropped) = peer.slots.install_current(transport) {
            self.indices.release(dropped.local());
        }
        self.counters.completed += 1;
        if let Some(last) = self.latest.get_mut(&id) {
            // The suites of its last Init may be outdated: the peer may have restarted with another configuration.
            last.suites = Suites::only(suite);
        }
        self.outputs.push_back(SessionOutput::Changed(id));
        self.probe(id, Some(via), now);
        self.tend(id, true, now, entropy);
        self.settle(id);
        Ok(())
    }

    fn handle_cookie(&mut self, message: &CookieMessage<'_>, now: Instant) -> Result<(), Refused> {
        let id = self.owner_of_attempt(message.receiver)?;
        let peer = self.peers.get_mut(&id).ok_or(Refused::UnknownIndex)?;
        let pending = peer.pending.as_mut().ok_or(Refused::UnknownIndex)?;
        let attempt = pending
            .by_index(message.receiver)
            .ok_or(Refused::UnknownIndex)?;
        if attempt.challenged {
            return Err(Refused::BadCookie);
        }
        // The next attempt, at its regular time, carries the cookie.
        peer.cookie = Some((message.open(&peer.dh_key, &attempt.mac1)?, now));
        attempt.challenged = true;
        Ok(())
    }

    /// Returns the peer to which one of the pending Inits, with this index, was sent.
    fn owner_of_attempt(&self, index: SessionIndex) -> Result<PeerId, Refused> {
        let id = self.indices.owner(index).ok_or(Refused::UnknownIndex)?;
        let pending = self.peers.get(&id).and_then(|p| p.pending.as_ref());
        pending
            .is_some_and(|p| p.tries.iter().any(|a| a.index == index))
            .then_some(id)
            .ok_or(Refused::UnknownIndex)
    }

    fn attempt(&mut self, id: PeerId, index: SessionIndex) -> Option<&mut Attempt> {
        self.peers.get_mut(&id)?.pending.as_mut()?.by_index(index)
    }

    /// Takes the answered attempt out of the pending handshake, and abandons the other attempts.
    fn take_attempt(&mut self, id: PeerId, index: SessionIndex) -> Result<Attempt, Refused> {
        let pending = self.peers.get_mut(&id).and_then(|p| p.pending.take());
        let mut answered = None;
        for attempt in pending.map(|p| p.tries).into_iter().flatten() {
            if attempt.index == index {
                answered = Some(attempt);
            } else {
                self.indices.release(attempt.index);
            }
        }
        answered.ok_or(Refused::UnknownIndex)
    }

    fn transport(
        &self,
        ends: Ends,
        suite: Suite,
        keys: &SplitKeys,
        initiator: bool,
        now: Instant,
    ) -> Arc<Transport> {
        let keys = TransportKeys {
            suite,
            send: keys.send,
            recv: keys.recv,
        };
        let limits = self
            .limits
            .unwrap_or_else(|| TransportLimits::for_suite(suite));
        Arc::new(Transport::with_limits(ends, keys, initiator, now, limits))
    }
}

impl From<NoiseError> for Refused {
    fn from(error: NoiseError) -> Self {
        match error {
            NoiseError::LowOrder | NoiseError::NoRemoteStatic => Refused::BadKey,
            NoiseError::TooShort | NoiseError::TooLong => Refused::Malformed,
            NoiseError::Unauthentic | NoiseError::OutOfTurn | NoiseError::Unfinished => {
                Refused::Unauthentic
            }
        }
    }
}
