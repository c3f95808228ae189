//! Warm start: the neighbours that this router had selected when its links were last at rest. At its next start it dials them at
//! once, and selects them again.
//!
//! In a mesh that starts as a whole each router knows few others for a moment; a selection among those would make links that
//! are soon unwanted, and announce them to all. And a router whose targets are gone still finds the others.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::ids::PeerId;
use crate::limits::{MAX_WARM_START, WARM_START_DELAY, WARM_START_STABLE};
use crate::time::Instant;

/// A router that this one was linked to of its own choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredNeighbour {
    /// Its identity.
    pub peer: PeerId,
    /// Addresses for dialling, the likeliest first; at most [`crate::limits::MAX_CANDIDATES`].
    pub addresses: Vec<SocketAddr>,
}

/// Neighbours from before the start, and those to keep for the next one.
#[derive(Debug, Default)]
pub(crate) struct WarmStart {
    before: BTreeMap<PeerId, Vec<SocketAddr>>,
    /// Until then only those are chosen to be linked to.
    until: Option<Instant>,
    /// Those last handed out to be kept.
    kept: Vec<PeerId>,
    /// The present ones, and since when it is these.
    present: (Vec<PeerId>, Instant),
}

impl WarmStart {
    pub(crate) fn new(before: Vec<StoredNeighbour>, now: Instant) -> Self {
        let before: BTreeMap<_, _> = before
            .into_iter()
            .take(MAX_WARM_START)
            .map(|router| (router.peer, router.addresses))
            .collect();
        Self {
            until: (!before.is_empty()).then(|| now + WARM_START_DELAY),
            kept: before.keys().copied().collect(),
            before,
            ..Self::default()
        }
    }

    /// Those that are to be linked to before anybody else is chosen; none once everybody has had time to be known.
    pub(crate) fn recalled(&self) -> impl Iterator<Item = PeerId> + '_ {
        let before = self.until.is_some().then_some(&self.before);
        before.into_iter().flat_map(BTreeMap::keys).copied()
    }

    /// Returns true if a router was chosen before the start.
    pub(crate) fn knows(&self, peer: &PeerId) -> bool {
        self.before.contains_key(peer)
    }

    /// Returns the addresses at which a router answered before the start.
    pub(crate) fn addresses(&self, peer: &PeerId) -> &[SocketAddr] {
        self.before.get(peer).map_or(&[], Vec::as_slice)
    }

    /// Returns the addresses of those from before the start.
    pub(crate) fn all_addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.before.values().flatten().copied()
    }

    /// Returns the time at which that of those from before is over.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.until
    }

    /// Returns true once, when the time of those from before is over.
    pub(crate) fn ends(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }

    /// Returns true if these have been the neighbours for so long that they are to be kept, and are not. With none the last
    /// ones stay.
    pub(crate) fn is_news(&mut self, neighbours: &[PeerId], now: Instant) -> bool {
        if self.present.0 != neighbours {
            self.present = (neighbours.to_vec(), now);
        }
        let rested = now.since(self.present.1) >= WARM_START_STABLE;
        let news = rested && !neighbours.is_empty() && self.kept != neighbours;
        if news {
            self.kept = neighbours.to_vec();
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn id(n: u8) -> PeerId {
        PeerId([n; 16])
    }

    fn before(n: u8) -> StoredNeighbour {
        StoredNeighbour {
            peer: id(n),
            addresses: vec![SocketAddr::from(([10, 0, 0, n], 6783))],
        }
    }

    #[test]
    fn those_from_before_have_their_time() {
        let mut warm_start = WarmStart::new(vec![before(1), before(2)], Instant::ZERO);
        assert_eq!(warm_start.recalled().collect::<Vec<_>>(), [id(1), id(2)]);
        assert_eq!(
            warm_start.next_deadline(),
            Some(Instant::ZERO + WARM_START_DELAY)
        );
        assert!(!warm_start.ends(Instant::ZERO));
        assert!(warm_start.ends(Instant::ZERO + WARM_START_DELAY));
        assert!(!warm_start.ends(Instant::ZERO + WARM_START_DELAY), "once");
        assert_eq!(warm_start.recalled().count(), 0);
        assert_eq!(warm_start.addresses(&id(2)), before(2).addresses);
        assert!(
            WarmStart::new(Vec::new(), Instant::ZERO)
                .next_deadline()
                .is_none()
        );
    }

    #[test]
    fn links_that_rest_are_kept_and_nobody_is_not() {
        let mut warm_start = WarmStart::new(vec![before(1)], Instant::ZERO);
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert!(!warm_start.is_news(&[id(1)], at(60)), "known");
        assert!(!warm_start.is_news(&[id(1), id(2)], at(61)), "new");
        assert!(!warm_start.is_news(&[id(2)], at(62)), "another");
        assert!(warm_start.is_news(&[id(2)], at(62) + WARM_START_STABLE));
        assert!(!warm_start.is_news(&[id(2)], at(90)), "kept");
        assert!(!warm_start.is_news(&[], at(100)));
        assert!(!warm_start.is_news(&[], at(200)));
    }
}
