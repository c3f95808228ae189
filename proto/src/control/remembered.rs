//! Whom this router had chosen to be linked to when its links were last at rest: at its next start it dials those at
//! once, and chooses them again.
//!
//! In a mesh that starts as a whole everybody knows few others for a moment; who chose among those would make links that
//! it soon does not want, and say so to all. And a router whose targets are gone still finds the others.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Control, Output};
use crate::ids::PeerId;
use crate::limits::{MAX_CANDIDATES, MAX_REMEMBERED, RECALL, REMEMBER_AFTER};
use crate::time::Instant;

/// A router that this one was linked to of its own choice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Who it is.
    pub peer: PeerId,
    /// Where it may be dialled, the likeliest first; at most [`MAX_CANDIDATES`].
    pub addresses: Vec<SocketAddr>,
}

/// What is remembered from before the start, and what is to be at the next one.
#[derive(Debug, Default)]
pub(super) struct Memory {
    before: BTreeMap<PeerId, Vec<SocketAddr>>,
    /// Until then only those are chosen to be linked to.
    until: Option<Instant>,
    /// Those last handed out to be kept.
    kept: Vec<PeerId>,
    /// The present ones, and since when it is these.
    present: (Vec<PeerId>, Instant),
}

impl Memory {
    pub(super) fn new(before: Vec<Remembered>, now: Instant) -> Self {
        let before: BTreeMap<_, _> = before
            .into_iter()
            .take(MAX_REMEMBERED)
            .map(|router| (router.peer, router.addresses))
            .collect();
        Self {
            until: (!before.is_empty()).then(|| now + RECALL),
            kept: before.keys().copied().collect(),
            before,
            ..Self::default()
        }
    }

    /// Those that are to be linked to before anybody else is chosen; none once everybody has had time to be known.
    pub(super) fn recalled(&self) -> impl Iterator<Item = PeerId> + '_ {
        let before = self.until.is_some().then_some(&self.before);
        before.into_iter().flat_map(BTreeMap::keys).copied()
    }

    /// Whether it was chosen before the start.
    pub(super) fn knows(&self, peer: &PeerId) -> bool {
        self.before.contains_key(peer)
    }

    /// Where a router answered before the start.
    pub(super) fn addresses(&self, peer: &PeerId) -> &[SocketAddr] {
        self.before.get(peer).map_or(&[], Vec::as_slice)
    }

    /// Where those of before the start may answer.
    pub(super) fn all_addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.before.values().flatten().copied()
    }

    /// When the time of those from before is over.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.until
    }

    /// Whether the time of those from before is over by now, and was not yet.
    fn ends(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }

    /// Whether these have been the neighbours for so long that they are to be kept, and are not. With nobody the last
    /// ones stay.
    fn is_news(&mut self, neighbours: &[PeerId], now: Instant) -> bool {
        if self.present.0 != neighbours {
            self.present = (neighbours.to_vec(), now);
        }
        let rested = now.since(self.present.1) >= REMEMBER_AFTER;
        let news = rested && !neighbours.is_empty() && self.kept != neighbours;
        if news {
            self.kept = neighbours.to_vec();
        }
        news
    }
}

impl Control {
    /// Links are chosen as usual once those from before the start have had their time.
    pub(super) fn tick_memory(&mut self, now: Instant) {
        if self.memory.ends(now) {
            self.discover(now);
        }
    }

    /// Hands out whom this router is linked to, if that has become another for good.
    pub(super) fn remember_links(&mut self, now: Instant) {
        if !self.config.discovery {
            return;
        }
        let neighbours = self.links.neighbours().map(|(peer, _)| *peer);
        // The other end remembers what only that chose.
        let chosen = neighbours.filter(|peer| self.wants_link(peer));
        let neighbours: Vec<PeerId> = chosen.take(MAX_REMEMBERED).collect();
        if self.memory.is_news(&neighbours, now) {
            let all = neighbours.iter().map(|peer| self.remembered(peer));
            let all = all.filter(|router| !router.addresses.is_empty()).collect();
            self.outputs.push_back(Output::Neighbours(all));
        }
    }

    fn remembered(&self, peer: &PeerId) -> Remembered {
        let conn = self.links.of_peer(peer);
        let slot = conn.and_then(|conn| self.links.get(conn));
        let dialled = slot.filter(|slot| slot.outbound).map(|slot| slot.address);
        let others = self.addresses_of(peer).into_iter();
        let others = others.filter(|address| Some(*address) != dialled);
        Remembered {
            peer: *peer,
            addresses: dialled
                .into_iter()
                .chain(others)
                .take(MAX_CANDIDATES)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn id(n: u8) -> PeerId {
        PeerId([n; 16])
    }

    fn before(n: u8) -> Remembered {
        Remembered {
            peer: id(n),
            addresses: vec![SocketAddr::from(([10, 0, 0, n], 6783))],
        }
    }

    #[test]
    fn those_from_before_have_their_time() {
        let mut memory = Memory::new(vec![before(1), before(2)], Instant::ZERO);
        assert_eq!(memory.recalled().collect::<Vec<_>>(), [id(1), id(2)]);
        assert_eq!(memory.next_deadline(), Some(Instant::ZERO + RECALL));
        assert!(!memory.ends(Instant::ZERO));
        assert!(memory.ends(Instant::ZERO + RECALL));
        assert!(!memory.ends(Instant::ZERO + RECALL), "once");
        assert_eq!(memory.recalled().count(), 0);
        assert_eq!(memory.addresses(&id(2)), before(2).addresses);
        assert!(
            Memory::new(Vec::new(), Instant::ZERO)
                .next_deadline()
                .is_none()
        );
    }

    #[test]
    fn links_that_rest_are_kept_and_nobody_is_not() {
        let mut memory = Memory::new(vec![before(1)], Instant::ZERO);
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert!(!memory.is_news(&[id(1)], at(60)), "known");
        assert!(!memory.is_news(&[id(1), id(2)], at(61)), "new");
        assert!(!memory.is_news(&[id(2)], at(62)), "another");
        assert!(memory.is_news(&[id(2)], at(62) + REMEMBER_AFTER));
        assert!(!memory.is_news(&[id(2)], at(90)), "kept");
        assert!(!memory.is_news(&[], at(100)));
        assert!(!memory.is_news(&[], at(200)));
    }
}
