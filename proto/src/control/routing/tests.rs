//! Routing alone: what is due, and what new routes change.

use super::*;
use crate::entropy::SeededEntropy;
use crate::limits::DEFAULT_MTU;
use crate::topology::testing;

impl Routing {
    /// Returns the snapshot that was published last.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn routing(me: PeerId, lsdb: &Lsdb) -> Routing {
    let forwarder = Arc::new(Forwarder::new(&mut SeededEntropy::new(1)));
    let routes = Arc::new(Routes::compute(lsdb, me));
    Routing::new(me, forwarder, routes, (1, DEFAULT_MTU), NOW)
}

/// A database in which two routers are linked with one another.
fn linked(a: u64, b: u64) -> (Lsdb, PeerId, PeerId) {
    let (a, b) = (testing::identity(a), testing::identity(b));
    let mut lsdb = Lsdb::default();
    for (from, to) in [(&a, &b), (&b, &a)] {
        lsdb.insert(testing::record(from, 1, 1, "host"), NOW);
        lsdb.insert(testing::linked(from, [to.id()]), NOW);
    }
    (lsdb, a.id(), b.id())
}

#[test]
fn routes_are_held_down_and_a_snapshot_is_due_with_them() {
    let (lsdb, me, _) = linked(1, 2);
    let mut routing = routing(me, &lsdb);
    assert!(routing.routes_due(NOW) && routing.snapshot_due(NOW));
    routing.computed(2, NOW);
    assert!(!routing.routes_due(NOW), "nothing changed");
    routing.topology_changed();
    assert!(!routing.routes_due(NOW), "held down");
    let next = routing.next_routes().unwrap();
    assert!(next > NOW && routing.routes_due(next));
    routing.debounce(next);
    assert!(!routing.snapshot_due(next), "a moment later");
}

#[test]
fn who_comes_within_reach_and_who_goes_is_told() {
    let (lsdb, me, peer) = linked(1, 2);
    let mut alone = Lsdb::default();
    alone.insert(testing::record(&testing::identity(1), 1, 1, "host"), NOW);
    let mut routing = routing(me, &alone);
    let change = routing.adopt(Routes::compute(&lsdb, me), NOW);
    assert!(change.reach);
    assert_eq!(change.came, BTreeSet::from([peer]));
    assert_eq!(change.joined, [peer]);
    assert!(routing.announced_due(NOW));
    let change = routing.adopt(Routes::compute(&lsdb, me), NOW);
    assert!(!change.reach && change.came.is_empty() && change.joined.is_empty());
    let change = routing.adopt(Routes::none(me), NOW);
    assert!(change.reach && change.came.is_empty());
}
