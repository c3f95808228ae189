//! Evidence from frames about announced addresses: requests that the owner did not answer, and contradictions.

use std::net::IpAddr;

use super::AnnouncedLimits;
use super::recent::Recent;
use crate::ids::Mac;
use crate::limits::{ANSWER_WITHIN, CONTRADICTED_FOR, RESOLUTION_MEMORY, UNANSWERED_FOR};
use crate::time::Instant;

/// Reason why requests for an announced address are flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Another MAC was seen for the address. Ends when its owner is heard.
    Contradicted,
    /// The owner did not answer a request. Ends when the owner is heard.
    Unanswered,
    /// The MAC flaps. Ends after a fixed time only.
    Flapping,
}

#[derive(Debug)]
pub(super) struct Evidence {
    doubts: Recent<IpAddr, Doubt>,
    /// Requests sent to an owner without an answer seen so far, by address and asker.
    asked: Recent<(IpAddr, Mac), ()>,
}

impl Evidence {
    pub(super) fn new(limits: AnnouncedLimits) -> Self {
        Self {
            doubts: Recent::new(limits.doubted),
            asked: Recent::new(limits.asked),
        }
    }

    pub(super) fn is_doubted(&self, ip: IpAddr, now: Instant) -> bool {
        let doubt = self.doubts.get(&ip);
        doubt.is_some_and(|(since, doubt)| now.since(*since) < doubt.lasts())
    }

    pub(super) fn doubt(&mut self, ip: IpAddr, doubt: Doubt, now: Instant) {
        match self.doubts.get(&ip) {
            // Renewing it at once has no use.
            Some((since, same)) if *same == doubt && now.since(*since) < doubt.lasts() / 16 => {}
            Some((since, Doubt::Flapping)) if now.since(*since) < Doubt::Flapping.lasts() => {}
            _ => self.doubts.insert(ip, doubt, now),
        }
    }

    /// Handles an answer of the owner of `ip`.
    pub(super) fn heard(&mut self, ip: IpAddr) {
        let doubt = self.doubts.get(&ip).map(|(_, doubt)| *doubt);
        if doubt.is_some_and(|doubt| doubt != Doubt::Flapping) {
            self.doubts.remove(&ip);
        }
        self.asked.remove_range((ip, FIRST)..=(ip, LAST));
    }

    /// Returns true if a request for `ip` is to be sent to its owner only; false if the owner did not answer the same
    /// asker before.
    pub(super) fn ask(&mut self, ip: IpAddr, asker: Mac, now: Instant) -> bool {
        let waits = self
            .asked
            .get(&(ip, asker))
            .map(|(since, ())| now.since(*since));
        match waits {
            Some(waits) if waits < ANSWER_WITHIN => true,
            Some(waits) if waits < RESOLUTION_MEMORY => {
                self.doubt(ip, Doubt::Unanswered, now);
                false
            }
            _ => {
                self.asked.insert((ip, asker), (), now);
                true
            }
        }
    }

    /// Drops the evidence about `ip`, which concerns an older announcement.
    pub(super) fn forget(&mut self, ip: IpAddr) {
        self.doubts.remove(&ip);
        self.asked.remove_range((ip, FIRST)..=(ip, LAST));
    }

    pub(super) fn sweep(&mut self, now: Instant) {
        self.doubts.forget_before(now - CONTRADICTED_FOR);
        self.asked.forget_before(now - RESOLUTION_MEMORY);
    }

    #[cfg(test)]
    pub(super) fn check(&self) {
        self.doubts.check();
        self.asked.check();
    }
}

impl Doubt {
    fn lasts(self) -> core::time::Duration {
        match self {
            Self::Contradicted | Self::Flapping => CONTRADICTED_FOR,
            Self::Unanswered => UNANSWERED_FOR,
        }
    }
}

/// Lowest and highest MAC.
const FIRST: Mac = Mac([0; 6]);
const LAST: Mac = Mac([0xff; 6]);
