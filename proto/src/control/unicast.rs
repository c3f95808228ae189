//! Messages from one router to one other, for whoever speaks about a topic of its own: signed by their origin, passed on
//! by links along the routes. They may be lost, late, and come twice.
//!
//! Each router on the way verifies the signature, as with records, so that a forger pays on its own link.

use crate::ids::{ConnId, PeerId};
use crate::limits::MAX_HOPS;
use crate::time::Instant;
use crate::topology::RecordError;
use crate::topology::unicast::SignedUnicast;
use crate::wire::message::LinkMessage;
use crate::wire::topic::Topic;

use super::{Control, Output};

/// What became of such messages, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    /// Sent by this router.
    pub(super) sent: u64,
    /// Passed on for others.
    pub(super) passed_on: u64,
    /// For this router.
    pub(super) received: u64,
    /// Dropped: no way there, no room on the link, too many hops, or too many from one link.
    pub(super) dropped: u64,
    /// Refused: malformed, from a stranger, or wrongly signed.
    pub(super) refused: u64,
}

impl Control {
    /// Says `body` about `topic` to one router. It may be lost.
    ///
    /// # Errors
    /// When the topic is one of the control plane's own, or the body too long.
    pub fn tell(
        &mut self,
        to: PeerId,
        topic: Topic,
        body: &[u8],
        now: Instant,
    ) -> Result<(), RecordError> {
        if topic.is_built_in() {
            return Err(RecordError::BuiltIn(topic));
        }
        let message = SignedUnicast::sign(topic, to, body, &self.config.identity)?;
        if self.send_unicast(message, MAX_HOPS, None) {
            self.unicasts.sent += 1;
        }
        self.flush(now);
        Ok(())
    }

    /// One came by a link.
    pub(super) fn take_unicast(&mut self, conn: ConnId, hops: u8, bytes: Vec<u8>, now: Instant) {
        let Some(slot) = self.links.get_mut(conn) else {
            return;
        };
        if !slot.takes_unicast(now) || hops == 0 {
            self.unicasts.dropped += 1;
            return;
        }
        let from = slot.peer;
        let message = SignedUnicast::parse(bytes);
        let Some(message) = message.ok().filter(|m| self.is_genuine(m, conn, now)) else {
            self.unicasts.refused += 1;
            return;
        };
        if message.destination() == self.me {
            self.unicasts.received += 1;
            self.outputs.push_back(Output::Told {
                from: message.origin(),
                topic: message.topic(),
                body: message.body().to_vec(),
            });
        } else if self.send_unicast(message, hops - 1, from) {
            self.unicasts.passed_on += 1;
        }
    }

    /// Whether the origin, which must be known, signed it. A link that brings forgery after forgery is not listened to
    /// for a while.
    fn is_genuine(&mut self, message: &SignedUnicast, conn: ConnId, now: Instant) -> bool {
        let origin = message.origin();
        let Some(sign_key) = self.body_of(&origin).map(|body| body.sign_key) else {
            return false;
        };
        let slot = self.links.get_mut(conn);
        let Some(slot) = slot.filter(|slot| slot.is_credible(now)) else {
            return false;
        };
        let good = origin != self.me
            && !message.topic().is_built_in()
            && self.verifier.verify_unicast(message, &sign_key).is_ok();
        if !good {
            slot.forged(now);
        }
        good
    }

    /// Sends one towards its destination, not back to where it came from; says whether that could be tried.
    fn send_unicast(&mut self, message: SignedUnicast, hops: u8, from: Option<PeerId>) -> bool {
        let next = self.routes.next_hop(&message.destination());
        let next = next
            .map(|(peer, _)| peer)
            .filter(|peer| Some(*peer) != from);
        let conn = next
            .filter(|_| hops > 0)
            .and_then(|peer| self.links.of_peer(&peer));
        let slot = conn.and_then(|conn| Some((conn, self.links.get_mut(conn)?)));
        let Some((conn, slot)) = slot.filter(|(_, slot)| slot.room() > 0) else {
            self.unicasts.dropped += 1;
            return false;
        };
        let bytes = message.into_bytes();
        slot.send(&LinkMessage::Unicast { hops, bytes });
        self.drain_link(conn);
        true
    }

    pub(super) fn unicast_report(&self) -> [(&'static str, u64); 5] {
        let c = &self.unicasts;
        [
            ("router messages sent", c.sent),
            ("router messages passed on", c.passed_on),
            ("router messages received", c.received),
            ("router messages dropped", c.dropped),
            ("router messages refused", c.refused),
        ]
    }
}
