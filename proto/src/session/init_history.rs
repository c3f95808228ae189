//! Newest Init of each router, against replays; kept longer than its session.

use std::collections::BTreeMap;

use super::Refused;
use crate::crypto::aead::{Suite, Suites};
use crate::ids::PeerId;
use crate::limits;

/// Newest Init of each router.
#[derive(Default)]
pub(super) struct InitHistory {
    latest: BTreeMap<PeerId, LastInit>,
}

/// Content of the newest Init of a router.
struct LastInit {
    /// Boot epoch and handshake counter; an Init that does not exceed them is a replay.
    freshness: (u64, u64),
    suites: Suites,
}

impl InitHistory {
    /// Records an Init of `peer`. If the table is full, a router without a session makes room.
    ///
    /// # Errors
    /// [`Refused::Replayed`] if it is not newer than the last one.
    pub(super) fn record(
        &mut self,
        peer: PeerId,
        freshness: (u64, u64),
        suites: Suites,
        has_session: impl Fn(&PeerId) -> bool,
    ) -> Result<(), Refused> {
        let last = self.latest.get(&peer);
        if last.is_some_and(|last| last.freshness >= freshness) {
            return Err(Refused::Replayed);
        }
        if self.latest.len() >= limits::MAX_PEERS && !self.latest.contains_key(&peer) {
            let idle = self.latest.keys().find(|id| !has_session(id));
            if let Some(idle) = idle.copied() {
                self.latest.remove(&idle);
            }
        }
        self.latest.insert(peer, LastInit { freshness, suites });
        Ok(())
    }

    /// Records that a Response of `peer` chose `suite`. The suites of its last Init may be outdated: the peer may have
    /// restarted with another configuration.
    pub(super) fn chose(&mut self, peer: PeerId, suite: Suite) {
        if let Some(last) = self.latest.get_mut(&peer) {
            last.suites = Suites::only(suite);
        }
    }

    /// Returns the suites that `peer` offered in its newest Init.
    pub(super) fn suites(&self, peer: PeerId) -> Option<Suites> {
        Some(self.latest.get(&peer)?.suites)
    }
}
