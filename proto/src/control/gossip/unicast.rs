//! Messages from one router to one other, about topics that are not the control plane's own: signed by their origin and
//! forwarded by links along the routes. They may be lost, late, and duplicated.
//!
//! Each router on the way verifies the signature, as with records, so that a forger pays on its own link.

use crate::ids::PeerId;
use crate::time::Instant;
use crate::topology::lsdb::Lsdb;
use crate::topology::record::Verifier;
use crate::topology::unicast::SignedUnicast;

use super::peering::Peering;

/// Admission of messages to one router, and their counters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unicasts {
    me: PeerId,
    /// Sent by this router.
    sent: u64,
    /// Forwarded for others.
    forwarded: u64,
    /// For this router.
    received: u64,
    /// Dropped: no route, no room on the link, too many hops, or too many from one link.
    dropped: u64,
    /// Refused: malformed, from a stranger, or wrongly signed.
    refused: u64,
}

impl Unicasts {
    pub(super) fn new(me: PeerId) -> Self {
        Self {
            me,
            sent: 0,
            forwarded: 0,
            received: 0,
            dropped: 0,
            refused: 0,
        }
    }

    /// Returns the message that came by a link if it is genuine and within the bounds.
    pub(super) fn admit(
        &mut self,
        (hops, bytes): (u8, Vec<u8>),
        link: &mut Peering,
        lsdb: &Lsdb,
        verifier: &dyn Verifier,
        now: Instant,
    ) -> Option<SignedUnicast> {
        if !link.takes_unicast(now) || hops == 0 {
            self.dropped += 1;
            return None;
        }
        let message = SignedUnicast::parse(bytes).ok();
        let genuine = message.filter(|m| self.is_genuine(m, link, lsdb, verifier, now));
        match &genuine {
            None => self.refused += 1,
            Some(message) if message.destination() == self.me => self.received += 1,
            Some(_) => {}
        }
        genuine
    }

    /// Returns true if the origin, which must be known, signed the message. A link that brings forgery after forgery is not
    /// listened to for a while.
    fn is_genuine(
        &self,
        message: &SignedUnicast,
        link: &mut Peering,
        lsdb: &Lsdb,
        verifier: &dyn Verifier,
        now: Instant,
    ) -> bool {
        let origin = message.origin();
        let Some(sign_key) = lsdb.identity(&origin).map(|body| body.sign_key) else {
            return false;
        };
        if !link.is_credible(now) {
            return false;
        }
        let good = origin != self.me
            && !message.topic().is_built_in()
            && verifier.verify_unicast(message, &sign_key).is_ok();
        if !good {
            link.forged(now);
        }
        good
    }

    /// Counts a message that was sent on a link, or dropped for want of a route or of room.
    pub(super) fn count(&mut self, forwarded: bool, sent: bool) {
        let counter = match (sent, forwarded) {
            (false, _) => &mut self.dropped,
            (true, true) => &mut self.forwarded,
            (true, false) => &mut self.sent,
        };
        *counter += 1;
    }

    /// Returns the counters with their names.
    pub(super) fn report(&self) -> [(&'static str, u64); 5] {
        [
            ("router messages sent", self.sent),
            ("router messages passed on", self.forwarded),
            ("router messages received", self.received),
            ("router messages dropped", self.dropped),
            ("router messages refused", self.refused),
        ]
    }
}
