//! Broadcasts: exactly one copy for each router, on trees and while the topology settles.

use proptest::prelude::*;

use super::net::*;
use crate::fdb::Owner;
use crate::forward::*;
use crate::ids::Mac;
use crate::limits::{BROADCAST_RATE_EACH, MAX_HOPS, MULTICAST_RATE_EACH};
use crate::wire::datagram::{FloodPrefix, Header, InnerFrame, Kind, push_frame};

const RING: [(usize, usize); 5] = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)];
const LINE: [(usize, usize); 5] = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)];

fn full_mesh(n: usize) -> Vec<(usize, usize)> {
    (0..n)
        .flat_map(|a| (a + 1..n).map(move |b| (a, b)))
        .collect()
}

fn networks() -> [(usize, Vec<(usize, usize)>); 4] {
    [
        (2, vec![(0, 1)]),
        (5, RING.to_vec()),
        (6, LINE.to_vec()),
        (6, full_mesh(6)),
    ]
}

fn hello(from: usize) -> Vec<u8> {
    frame(mac(from), Mac::BROADCAST, b"hello")
}

fn assert_everyone_has(net: &mut Net, origin: usize, frames: &[Vec<u8>]) {
    for n in 0..net.nodes.len() {
        let expected = if n == origin { &[][..] } else { frames };
        assert_eq!(
            net.taken(n),
            expected,
            "router {n} of {}, origin {origin}",
            net.nodes.len()
        );
    }
}

#[test]
fn on_trees_each_router_gets_one_copy_by_one_datagram() {
    for (n, edges) in networks() {
        let mut net = Net::wire(n, &edges);
        for origin in 0..n {
            net.log.clear();
            net.send(origin, &[hello(origin)]);
            assert_everyone_has(&mut net, origin, &[hello(origin)]);
            assert_eq!(net.log.len(), n - 1);
        }
        assert!((0..n).all(|i| net.dropped(i).is_empty()));
    }
}

#[test]
fn while_settling_each_router_still_gets_one_copy() {
    for (n, edges) in networks() {
        let mut net = Net::wire(n, &edges);
        net.settle();
        for origin in 0..n {
            net.send(origin, &[hello(origin)]);
            assert_everyone_has(&mut net, origin, &[hello(origin)]);
        }
        let stray = |i: usize| {
            net.dropped(i)
                .iter()
                .any(|(name, _)| !["flood_duplicate", "flood_own"].contains(name))
        };
        assert!(!(0..n).any(stray));
    }
}

#[test]
fn while_settling_in_a_full_mesh_copies_are_counted_exactly() {
    let mut net = Net::wire(4, &full_mesh(4));
    net.settle();
    net.send(0, &[hello(0)]);
    // Each of the three forwards it to the two others, which have it already.
    assert_eq!(net.log.len(), 3 + 3 * 2);
    for n in 1..4 {
        assert_eq!(net.dropped(n), [("flood_duplicate", 2)]);
        assert_eq!(net.count(n, Counter::FloodPassed), 2);
    }
}

#[test]
fn sources_are_learnt_behind_the_origin_not_the_sender() {
    let mut net = Net::wire(6, &LINE);
    net.send(0, &[hello(0)]);
    for n in 1..6 {
        let owner = net.nodes[n].forwarder.fdb().lookup(mac(0), net.now);
        assert_eq!(owner, Some(Owner::Peer(id(0))));
    }
    assert_eq!(
        net.nodes[0].forwarder.fdb().lookup(mac(0), net.now),
        Some(Owner::Local)
    );
    net.log.clear();
    net.send(5, &[frame(mac(5), mac(0), b"answer")]);
    assert_eq!(net.taken(0), [frame(mac(5), mac(0), b"answer")]);
    assert_eq!(net.log.len(), 5);
}

#[test]
fn unknown_destinations_are_flooded_and_frames_share_a_datagram() {
    let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
    let frames = [hello(0), frame(mac(0), mac(77), b"who?"), hello(0)];
    net.send(0, &frames);
    assert_everyone_has(&mut net, 0, &frames);
    assert_eq!(net.log.len(), 2);
    assert_eq!(net.count(0, Counter::FramesFlooded), 3);
}

#[test]
fn an_origin_without_a_tree_is_flooded() {
    let mut net = Net::wire(5, &RING);
    for node in &mut net.nodes {
        node.forget_trees();
    }
    net.send(2, &[hello(2)]);
    assert_everyone_has(&mut net, 2, &[hello(2)]);
}

#[test]
fn trees_that_form_a_ring_pass_each_broadcast_once() {
    let mut net = Net::wire(5, &RING);
    for n in 0..5 {
        net.nodes[n].set_tree(id(0), vec![id((n + 1) % 5)]);
    }
    net.send(0, &[hello(0)]);
    assert_everyone_has(&mut net, 0, &[hello(0)]);
    // The last router does not send it back to its origin.
    assert_eq!(net.log.len(), 4);
    for n in 1..5 {
        net.nodes[n].set_tree(id(0), (1..5).filter(|i| *i != n).map(id).collect());
    }
    let mut mesh = Net::wire(5, &full_mesh(5));
    for n in 0..5 {
        mesh.nodes[n].set_tree(id(0), (0..5).filter(|i| *i != n).map(id).collect());
    }
    mesh.send(0, &[hello(0)]);
    assert_everyone_has(&mut mesh, 0, &[hello(0)]);
    for (from, _, _) in &mesh.log {
        let passed = mesh.log.iter().filter(|(f, _, _)| f == from).count();
        assert!(passed <= 4, "router {from} passed the broadcast twice");
    }
}

#[test]
fn a_broadcast_ends_at_the_hop_limit() {
    let n = usize::from(MAX_HOPS) + 3;
    let edges: Vec<_> = (1..n).map(|b| (b - 1, b)).collect();
    let mut net = Net::wire(n, &edges);
    net.send(0, &[hello(0)]);
    let reached = (1..n).filter(|i| net.taken(*i).len() == 1).count();
    assert_eq!(reached, usize::from(MAX_HOPS) + 1);
    assert_eq!(net.dropped(usize::from(MAX_HOPS) + 1), [("hop_limit", 1)]);
    let limits: Vec<u8> = net
        .log
        .iter()
        .map(|(_, _, d)| Header::parse(d).unwrap().hop_limit)
        .collect();
    assert_eq!(limits, (0..=MAX_HOPS).rev().collect::<Vec<_>>());
}

/// Number of frames per second that all interfaces behind a port may send together.
fn together(each: u32) -> usize {
    usize::try_from(each + each / 3).unwrap()
}

#[test]
fn the_flood_limit_of_a_port_leaves_unicast_alone() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 1, 1);
    let storm = together(BROADCAST_RATE_EACH) + 500;
    for _ in 0..storm {
        net.egress(0, &[hello(0)]);
        net.run();
    }
    assert_eq!(net.taken(1).len(), storm - 500);
    assert_eq!(net.dropped(0), [("broadcast_limited", 500)]);
    net.send(0, &[frame(mac(0), mac(1), b"unicast")]);
    assert_eq!(net.taken(1).len(), 1);
    net.wait(100);
    for _ in 0..together(BROADCAST_RATE_EACH) {
        net.send(0, &[hello(0)]);
    }
    assert_eq!(net.taken(1).len(), together(BROADCAST_RATE_EACH) / 10);
}

#[test]
fn multicasts_have_a_limit_of_their_own_that_can_be_off() {
    let group = Mac([0x01, 0, 0x5e, 1, 2, 3]);
    let mut net = Net::wire(2, &[(0, 1)]);
    let data = frame(mac(0), group, &[7; 1_300]);
    let rate = together(MULTICAST_RATE_EACH);
    for _ in 0..rate + 7 {
        net.egress(0, std::slice::from_ref(&data));
        net.run();
        net.log.clear();
    }
    assert_eq!(net.taken(1).len(), rate);
    assert_eq!(net.dropped(0), [("multicast_limited", 7)]);
    net.send(0, &[hello(0)]);
    assert_eq!(net.taken(1), [hello(0)], "broadcasts pass");

    let off = GroupLimits {
        broadcasts: 3,
        multicasts: 0,
    };
    let entropy = &mut crate::entropy::SeededEntropy::new(5);
    net.nodes[0].forwarder = Forwarder::with_limits(off, entropy);
    net.nodes[0].snap.epoch = 2;
    for _ in 0..rate + 7 {
        net.egress(0, std::slice::from_ref(&data));
        net.run();
        net.log.clear();
    }
    assert_eq!(net.taken(1).len(), rate + 7);
    assert!(net.dropped(0).is_empty());
}

#[test]
fn a_lone_router_floods_nothing_and_drops_nothing() {
    let mut net = Net::new(1);
    net.send(0, &[hello(0)]);
    assert!(net.log.is_empty() && net.dropped(0).is_empty());
}

#[test]
fn a_neighbour_without_a_session_is_counted_and_the_others_are_served() {
    let mut net = Net::wire(3, &[(0, 1), (0, 2)]);
    net.nodes[0].snap.peers.get_mut(&id(1)).unwrap().transport = None;
    net.send(0, &[hello(0)]);
    assert_eq!(net.taken(2), [hello(0)]);
    assert_eq!(net.dropped(0), [("no_session", 1)]);
    assert_eq!(net.events(0), [LaneEvent::NeedSession(id(1))]);
}

#[test]
fn a_restarted_origin_is_heard_at_once() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.send(0, &[hello(0)]);
    net.send(0, &[hello(0)]);
    net.taken(1);
    net.nodes[0].forwarder = Forwarder::new(&mut crate::entropy::SeededEntropy::new(5));
    net.nodes[0].snap.epoch = 2;
    net.send(0, &[hello(0)]);
    assert_eq!(net.taken(1), [hello(0)]);
    assert_eq!(net.dropped(1), []);
}

#[test]
fn broadcasts_are_sealed_for_each_neighbour() {
    let mut net = Net::wire(3, &[(0, 1), (0, 2)]);
    net.send(0, &[hello(0)]);
    let datagrams: Vec<_> = net.log.iter().map(|(_, _, d)| d.clone()).collect();
    assert!(
        datagrams
            .iter()
            .all(|d| Header::parse(d).unwrap().kind == Kind::Flood)
    );
    assert_ne!(datagrams[0][16..], datagrams[1][16..]);
}

proptest! {
    /// With any mixture of views of the topology, no frame loops and none is delivered twice (I4, I5).
    #[test]
    fn any_trees_deliver_at_most_once(
        edges in prop::collection::btree_set((0usize..6, 0usize..6), 5..15),
        views in prop::collection::vec(prop::collection::vec(0usize..6, 0..6), 6),
        settling in prop::collection::vec(any::<bool>(), 6),
        origin in 0usize..6,
    ) {
        let edges: Vec<_> = edges.into_iter().filter(|(a, b)| a < b).collect();
        let mut net = Net::wire(6, &edges);
        for n in 0..6 {
            let tree = views[n].iter().filter(|p| **p != n).map(|p| id(*p)).collect();
            net.nodes[n].set_tree(id(origin), tree);
            if settling[n] {
                net.nodes[n].snap.settle_until = net.now + core::time::Duration::from_secs(1);
            }
        }
        net.send(origin, &[hello(origin)]);
        for n in 0..6 {
            prop_assert!(net.taken(n).len() <= usize::from(n != origin));
        }
    }
}

#[test]
fn a_broadcast_is_not_sent_back_to_its_sender() {
    let mut net = Net::wire(4, &[(0, 1), (1, 2), (2, 3)]);
    net.settle();
    net.send(0, &[hello(0)]);
    let flights: Vec<_> = net.log.iter().map(|(from, to, _)| (*from, *to)).collect();
    assert_eq!(flights, [(0, 1), (1, 2), (2, 3)]);
    assert!((0..4).all(|n| net.dropped(n).is_empty()));
}

#[test]
fn an_own_broadcast_that_comes_back_is_dropped() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.send(1, &[hello(1)]);
    let mut body = Vec::new();
    let prefix = FloodPrefix {
        origin: id(1),
        epoch: 1,
        sequence: 0,
    };
    prefix.encode(&mut body);
    push_frame(&mut body, InnerFrame::complete(&hello(1)));
    let transport = net.nodes[0].snap.peers[&id(1)].transport.clone().unwrap();
    let mut datagram = Vec::new();
    transport
        .seal(Kind::Flood, 16, &[], &body, net.now, &mut datagram)
        .unwrap();
    net.arrive(1, address(0), &datagram);
    assert!(net.taken(1).is_empty());
    assert_eq!(net.dropped(1), [("flood_own", 1)]);
    let owner = net.nodes[1].forwarder.fdb().lookup(mac(1), net.now);
    assert_eq!(owner, Some(Owner::Local));
}
