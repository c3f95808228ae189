//! A storm in one network: it takes neither rate nor room of another.

use super::*;
use crate::ids::Mac;
use crate::limits::{BROADCAST_RATE_EACH, MAX_NETWORK_FDB_PER_OWNER, UNKNOWN_BURST};

fn pair() -> NetworkWorld {
    NetworkWorld::new(2, &[(0, 1)], &[&[0, 1], &[0, 1]])
}

#[test]
fn a_storm_of_broadcasts_in_one_network_leaves_the_others_alone() {
    let mut world = pair();
    let each = usize::try_from(BROADCAST_RATE_EACH).unwrap();
    for _ in 0..2 * each {
        world.net.egress_in(0, network(1), &[broadcast(1, 1)]);
        world.net.run();
        world.net.log.clear();
    }
    assert_eq!(world.all_taken().len(), each + each / 3);
    assert!(world.dropped(0)["broadcast_limited"] > 0);
    for k in [0, 2] {
        for _ in 0..each {
            world.send(0, k, &[broadcast(k, 1)]);
            world.net.log.clear();
        }
        let taken = world.all_taken();
        assert!(taken.iter().all(|(_, to, _)| *to == k));
        assert_eq!(taken.len(), each, "network {k}");
    }
}

#[test]
fn a_storm_to_unknown_macs_in_one_network_leaves_the_others_alone() {
    let mut world = pair();
    let burst = usize::try_from(UNKNOWN_BURST).unwrap();
    for k in [1, 2, 0] {
        for _ in 0..burst + 10 {
            world.send(0, k, &[unicast(k, 1, 77)]);
            world.net.log.clear();
        }
        assert_eq!(world.all_taken().len(), burst, "network {k}");
    }
}

#[test]
fn a_storm_of_sources_in_one_network_leaves_the_tables_of_others_alone() {
    let mut world = pair();
    for k in 0..=2 {
        world.knows(0, k, 9, 1);
    }
    let storm = |batch: u32| {
        let source = move |n: u32| {
            let [a, b, c, d] = (batch * 100 + n).to_be_bytes();
            Mac([0x06, 0, a, b, c, d])
        };
        (0..100).map(move |n| marked(1, frame(source(n), mac(1), b"storm")))
    };
    for batch in 0..100 {
        world
            .net
            .egress_in(0, network(1), &storm(batch).collect::<Vec<_>>());
        world.net.log.clear();
    }
    world.net.flying.clear();
    assert_eq!(
        world.domain(0, 1).fdb().len(),
        MAX_NETWORK_FDB_PER_OWNER + 1
    );
    assert_eq!(world.domain(0, 2).fdb().len(), 1);
    assert_eq!(world.net.nodes[0].forwarder.fdb().len(), 1);
}
