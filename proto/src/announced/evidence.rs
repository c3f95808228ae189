//! What frames show of announced addresses: who was asked and did not answer, and what somebody else says.

use std::net::IpAddr;

use super::AnnouncedLimits;
use super::recent::Recent;
use crate::ids::Mac;
use crate::limits::{ANSWER_WITHIN, ASKED_MEMORY, CONTRADICTED_FOR, UNANSWERED_FOR};
use crate::time::Instant;

/// Why everybody is asked for an announced address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Somebody says that it lives elsewhere. Ends when its owner is heard.
    Contradicted,
    /// Its owner was asked and did not answer. Ends when its owner is heard.
    Unanswered,
    /// Its MAC moves too often. Ends by time alone.
    Flapping,
}

#[derive(Debug)]
pub(super) struct Evidence {
    doubts: Recent<IpAddr, Doubt>,
    /// Who asked the owner of which address, and has not been answered as far as was seen.
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
            // Saying it again at once changes little.
            Some((since, same)) if *same == doubt && now.since(*since) < doubt.lasts() / 16 => {}
            Some((since, Doubt::Flapping)) if now.since(*since) < Doubt::Flapping.lasts() => {}
            _ => self.doubts.insert(ip, doubt, now),
        }
    }

    /// The owner of `ip` was heard.
    pub(super) fn heard(&mut self, ip: IpAddr) {
        let doubt = self.doubts.get(&ip).map(|(_, doubt)| *doubt);
        if doubt.is_some_and(|doubt| doubt != Doubt::Flapping) {
            self.doubts.remove(&ip);
        }
        self.asked.remove_range((ip, FIRST)..=(ip, LAST));
    }

    /// Somebody asks for `ip`: whether its owner alone is to be asked. It is not where it did not answer the same asker.
    pub(super) fn ask(&mut self, ip: IpAddr, asker: Mac, now: Instant) -> bool {
        let waits = self
            .asked
            .get(&(ip, asker))
            .map(|(since, ())| now.since(*since));
        match waits {
            Some(waits) if waits < ANSWER_WITHIN => true,
            Some(waits) if waits < ASKED_MEMORY => {
                self.doubt(ip, Doubt::Unanswered, now);
                false
            }
            _ => {
                self.asked.insert((ip, asker), (), now);
                true
            }
        }
    }

    /// `ip` is announced again: what was seen before is not about this.
    pub(super) fn forget(&mut self, ip: IpAddr) {
        self.doubts.remove(&ip);
        self.asked.remove_range((ip, FIRST)..=(ip, LAST));
    }

    pub(super) fn sweep(&mut self, now: Instant) {
        self.doubts.forget_before(now - CONTRADICTED_FOR);
        self.asked.forget_before(now - ASKED_MEMORY);
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

/// The lowest and the highest MAC there can be.
const FIRST: Mac = Mac([0; 6]);
const LAST: Mac = Mac([0xff; 6]);
