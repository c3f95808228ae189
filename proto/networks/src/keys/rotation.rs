//! Times at which this router makes a key: a first one, or one that replaces another.
//!
//! Of several members the one with the lowest id has the first turn, each further one comes later. If it does not take
//! it, the next one does. Two keys made at once do no harm: all members choose the same of them.

use core::time::Duration;

use mesh_proto::limits::{
    NETWORK_KEY_ALONE, NETWORK_KEY_HOLD, NETWORK_KEY_MAKE_STEP, NETWORK_KEY_MAKE_STEPS,
    NETWORK_KEY_PATIENCE, NETWORK_KEY_PERIOD, NETWORK_KEY_STEP,
};
use mesh_proto::time::Instant;

use super::company::Company;

/// Times of one network.
#[derive(Debug)]
pub(super) struct KeyRotation {
    /// Time since which there is no key, and whether there were members then.
    lacking: Option<(Instant, bool)>,
    /// Time since which there is no key that need not be replaced.
    stale_since: Option<Instant>,
    /// Time at which a key last replaced another one, or was made to do so.
    changed: Option<Instant>,
    /// Time at which the sealing key began to seal.
    sealing_since: Instant,
}

impl KeyRotation {
    /// Begins without a key.
    pub(super) fn new() -> Self {
        Self {
            lacking: None,
            stale_since: None,
            changed: None,
            sealing_since: Instant::ZERO,
        }
    }

    /// Returns true if this router, which has no key, makes one now.
    pub(super) fn makes_first(&mut self, company: &Company<'_>, now: Instant) -> bool {
        let has_company = !company.members.is_empty();
        let since = match self.lacking {
            Some((since, had_company)) if had_company || !has_company => since,
            _ => now,
        };
        self.lacking = Some((since, has_company));
        let below = u32::try_from(company.below()).unwrap_or(u32::MAX);
        let turn = NETWORK_KEY_MAKE_STEP * below.min(NETWORK_KEY_MAKE_STEPS);
        let wait = match (has_company, company.announcers.is_empty()) {
            (false, _) => NETWORK_KEY_ALONE,
            (true, true) => NETWORK_KEY_MAKE_STEP + turn,
            (true, false) => NETWORK_KEY_PATIENCE + turn,
        };
        now >= since + wait
    }

    /// Returns true if this router makes a key now that replaces the one that seals. `is_expected` tells that another
    /// one announces such a key.
    pub(super) fn replaces(
        &mut self,
        company: &Company<'_>,
        is_expected: bool,
        now: Instant,
    ) -> bool {
        let since = *self.stale_since.get_or_insert(now);
        let patience = match is_expected {
            true => NETWORK_KEY_STEP,
            false => Duration::ZERO,
        };
        // All have to wait for the same change, and then take turns.
        let since = self
            .changed
            .map_or(since, |at| since.max(at + NETWORK_KEY_HOLD));
        now >= since + patience + turn(company)
    }

    /// Takes note that there is a key that need not be replaced.
    pub(super) fn note_fresh(&mut self) {
        self.stale_since = None;
    }

    /// Takes note that this router made a key that replaces another one.
    pub(super) fn note_made(&mut self, now: Instant) {
        self.changed = Some(now);
    }

    /// Takes note that a key begins to seal, the first one or another one than before.
    pub(super) fn note_sealing(&mut self, is_first: bool, now: Instant) {
        self.sealing_since = now;
        self.lacking = None;
        if !is_first {
            self.changed = Some(now);
        }
    }

    /// Returns the time at which this router has the sealing key replaced for its age.
    pub(super) fn expires(&self, company: &Company<'_>) -> Instant {
        self.sealing_since + NETWORK_KEY_PERIOD + turn(company)
    }
}

/// Returns the time for which members with lower ids have the first turn.
fn turn(company: &Company<'_>) -> Duration {
    NETWORK_KEY_STEP * u32::try_from(company.announcing_below()).unwrap_or(u32::MAX)
}
