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

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerId = PeerId([1; 16]);

    #[test]
    fn only_a_newer_init_is_accepted() {
        let mut inits = InitHistory::default();
        let mut record = |freshness| inits.record(A, freshness, Suites::AES_FIRST, |_| false);
        assert_eq!(record((1, 5)), Ok(()));
        for old in [(1, 5), (1, 4), (0, 9)] {
            assert_eq!(record(old), Err(Refused::Replayed), "{old:?}");
        }
        assert_eq!(record((1, 6)), Ok(()));
        assert_eq!(record((2, 0)), Ok(()));
    }

    #[test]
    fn a_full_table_forgets_a_router_without_a_session() {
        let mut inits = InitHistory::default();
        let id = |n: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&n.to_be_bytes());
            PeerId(id)
        };
        let has_session = |peer: &PeerId| *peer == id(0);
        for n in 0..=limits::MAX_PEERS {
            let recorded = inits.record(id(n), (1, 1), Suites::AES_FIRST, has_session);
            assert_eq!(recorded, Ok(()));
        }
        assert!(inits.suites(id(0)).is_some());
        assert!(inits.suites(id(1)).is_none());
        assert!(inits.suites(id(limits::MAX_PEERS)).is_some());
    }

    #[test]
    fn a_response_narrows_the_suites_of_the_last_init() {
        let mut inits = InitHistory::default();
        inits.chose(A, Suite::ChaCha20Poly1305);
        assert!(inits.suites(A).is_none());
        inits
            .record(A, (1, 1), Suites::AES_FIRST, |_| false)
            .unwrap();
        inits.chose(A, Suite::ChaCha20Poly1305);
        let only = Suites::only(Suite::ChaCha20Poly1305);
        assert_eq!(inits.suites(A), Some(only));
    }
}
