//! Completion of handshakes: answers to the Inits of peers, and the Responses and Cookies that answer this router's.

use super::SessionTable;
use crate::crypto::aead::Suite;
use crate::entropy::Entropy;
use crate::ids::PeerId;
use crate::limits;
use crate::session::handshaker::{MadeResponse, ReadInit};
use crate::session::message::{CookieMessage, InitPayload, ResponsePayload, Sealed};
use crate::session::transport::Ends;
use crate::session::{Refused, SessionOutput, Via};
use crate::time::Instant;

impl SessionTable {
    /// Answers an Init; its keys become the next ones.
    ///
    /// # Errors
    /// [`Refused`] if the key of the peer is unusable.
    pub(in crate::session) fn answer(
        &mut self,
        init: ReadInit,
        suite: Suite,
        via: Via,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Refused> {
        let InitPayload {
            peer: id,
            freshness: (epoch, _),
            ..
        } = init.says;
        let remote = init.header.receiver;
        let index = self.peers.allocate(id, entropy);
        let made = self.handshaker.make_response(init, index, suite, entropy);
        let MadeResponse { bytes, keys } = made.inspect_err(|_| self.peers.release(index))?;

        let yielded = self.peers.drop_pending(id);
        let ends = Ends {
            peer: id,
            epoch,
            local: index,
            remote,
        };
        let transport = self.handshaker.transport(ends, suite, &keys, false, now);
        let Some(peer) = self.peers.get_mut(&id) else {
            return Err(Refused::UnknownPeer);
        };
        if yielded {
            // If the other side does not confirm the new keys, this router begins again.
            peer.begin_at = Some(now + limits::HANDSHAKE_YIELD);
        }
        let dropped = peer.slots.install_next(transport);
        self.peers.release_keys(&dropped);
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

    /// Completes a handshake begun here; its keys become the current ones. Returns the peer and the suite.
    ///
    /// # Errors
    /// [`Refused`] if the Response answers no pending Init, or is not authentic.
    pub(in crate::session) fn complete(
        &mut self,
        response: &Sealed<'_>,
        via: Via,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Result<(PeerId, Suite), Refused> {
        let index = response.header.receiver;
        let id = self.peers.owner_of_attempt(index);
        let id = id.ok_or(Refused::UnknownIndex)?;
        let attempt = self.peers.attempt(id, index);
        let attempt = attempt.ok_or(Refused::UnknownIndex)?;
        if attempt.failures >= limits::RESPONSE_ATTEMPTS {
            return Err(Refused::RateLimited);
        }
        let payload = attempt
            .noise
            .read_message(response.noise)
            .inspect_err(|_| attempt.failures += 1)?;
        let says = ResponsePayload::decode(&payload).ok_or(Refused::Malformed)?;
        let suite = self.handshaker.suite(says.suite);
        let suite = suite.ok_or(Refused::NoCommonSuite)?;
        let answered = self.peers.take_attempt(id, index);
        let keys = answered.ok_or(Refused::UnknownIndex)?.noise.split()?;
        let ends = Ends {
            peer: id,
            epoch: says.epoch,
            local: index,
            remote: says.index,
        };
        let transport = self.handshaker.transport(ends, suite, &keys, true, now);
        let peer = self.peers.get_mut(&id).ok_or(Refused::UnknownIndex)?;
        peer.begin_at = None;
        let dropped = peer.slots.install_current(transport);
        self.peers.release_keys(&dropped);
        self.counters.completed += 1;
        self.outputs.push_back(SessionOutput::Changed(id));
        self.probe(id, Some(via), now);
        self.tend(id, true, now, entropy);
        self.peers.settle(id);
        Ok((id, suite))
    }

    /// Keeps a cookie; the next attempt, at its regular time, carries it.
    ///
    /// # Errors
    /// [`Refused`] if it answers no pending Init, or is not authentic.
    pub(in crate::session) fn keep_cookie(
        &mut self,
        message: &CookieMessage<'_>,
        now: Instant,
    ) -> Result<(), Refused> {
        let id = self.peers.owner_of_attempt(message.receiver);
        let id = id.ok_or(Refused::UnknownIndex)?;
        let peer = self.peers.get_mut(&id).ok_or(Refused::UnknownIndex)?;
        let pending = peer.pending.as_mut().ok_or(Refused::UnknownIndex)?;
        let attempt = pending
            .by_index(message.receiver)
            .ok_or(Refused::UnknownIndex)?;
        if attempt.challenged {
            return Err(Refused::BadCookie);
        }
        peer.cookie = Some((message.open(&peer.dh_key, &attempt.mac1)?, now));
        attempt.challenged = true;
        Ok(())
    }
}
