//! Hooks for the tests of the whole, and neighbours alone: what is dialled, and what is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::control::gossip::Gossip;
use crate::control::links::{Links, Retry};
use crate::control::paths::Paths;
use crate::entropy::SeededEntropy;
use crate::ids::PeerName;
use crate::topology::record::Ed25519;
use crate::topology::routes::Routes;
use crate::topology::testing;

impl Neighbours {
    /// Makes these peers the discovered targets.
    pub(crate) fn set_discovered(
        &mut self,
        peers: &[PeerId],
        now: Instant,
        entropy: &mut dyn Entropy,
    ) {
        self.targets
            .set_discovered(peers, Duration::ZERO, now, entropy);
    }

    /// Forgets an explicit target and nothing else.
    pub(crate) fn forget_target(&mut self, text: &str) -> bool {
        self.targets.forget(text)
    }
}

const NOW: Instant = Instant::from_nanos(1_000_000_000);

struct Alone {
    neighbours: Neighbours,
    links: Links,
    paths: Paths,
    gossip: Gossip,
    routes: Routes,
    entropy: SeededEntropy,
}

impl Alone {
    fn new(stored_neighbours: Vec<StoredNeighbour>) -> Self {
        let identity = Arc::new(testing::identity(1));
        let (me, body) = (identity.id(), testing::body_of(&identity));
        let gossip = Gossip::new(identity, 1, body, Arc::new(Ed25519), NOW).unwrap();
        let setup = NeighbourSetup {
            me,
            port: 6783,
            discovery: true,
            stored_neighbours: remembered,
            forgotten: Vec::new(),
        };
        Self {
            neighbours: Neighbours::new(setup, NOW),
            links: Links::new((PeerName([2; 6]), me), BTreeMap::new(), true),
            paths: Paths::new(me, true),
            routes: Routes::compute(gossip.lsdb(), me),
            gossip,
            entropy: SeededEntropy::new(1),
        }
    }

    fn act<T>(
        &mut self,
        act: impl FnOnce(&mut Neighbours, ControlView<'_>, &mut dyn Entropy) -> T,
    ) -> T {
        let view = ControlView {
            links: &self.links,
            paths: &self.paths,
            gossip: &self.gossip,
            routes: &self.routes,
        };
        act(&mut self.neighbours, view, &mut self.entropy)
    }

    fn effects(&mut self) -> Vec<NeighbourEffect> {
        core::iter::from_fn(|| self.neighbours.poll_effect()).collect()
    }

    fn dial(&mut self, conn: u64, now: Instant) -> bool {
        let due = self.neighbours.due(now);
        let [(key, row)] = &due[..] else {
            return false;
        };
        self.act(|neighbours, view, entropy| {
            neighbours.dial(ConnId(conn), (key, *row), view, now, entropy);
        });
        matches!(self.effects()[..], [NeighbourEffect::Dial { conn: ConnId(n), .. }] if n == conn)
    }
}

#[test]
fn a_target_is_kept_dialled_and_dialled_again() {
    let mut alone = Alone::new(Vec::new());
    let targets = ["192.0.2.1".to_owned()];
    let done = alone.act(|n, view, _| n.connect(&targets, false, view, NOW));
    assert_eq!(done, Ok(()));
    assert!(matches!(&alone.effects()[..], [NeighbourEffect::Targets(all)] if *all == targets));
    assert!(alone.dial(1, NOW));
    assert_eq!(alone.neighbours.next_dial(), None);
    alone.act(|n, _, entropy| n.failed(ConnId(1), "timed out", Retry::Later, NOW, entropy));
    let next = alone.neighbours.next_dial().unwrap();
    assert!(next > NOW && alone.dial(2, next));
    let forgot = alone.act(|n, view, _| n.forget(&targets[0], false, view));
    assert_eq!(forgot, Forgot::Done);
    assert_eq!(alone.neighbours.explicit().count(), 0);
}

#[test]
fn the_neighbours_from_before_the_start_are_selected_first() {
    let before = StoredNeighbour {
        peer: PeerId([9; 16]),
        addresses: vec![([192, 0, 2, 9], 6783).into()],
    };
    let mut alone = Alone::new(vec![before.clone()]);
    assert!(alone.neighbours.knows(&before.peer));
    assert_eq!(alone.neighbours.known_addresses(), before.addresses);
    alone.act(|n, view, entropy| n.discover(view, NOW, entropy));
    let next = alone.neighbours.next_dial().unwrap();
    assert!(alone.dial(1, next));
}
