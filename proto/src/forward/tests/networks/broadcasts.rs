//! Broadcasts of networks: sealed for members, forwarded by all, and of no use under another network.

use super::*;
use crate::ids::PeerId;
use crate::limits::MAX_HOPS;
use crate::network::{BroadcastStream, NetworkKeyId};
use crate::wire::datagram::{
    Header, InnerFrame, Kind, NETWORK_FLOOD_PREFIX_LEN, NetworkFloodPrefix, push_frame,
};

/// Routers in a line; router 1 is a relay without members.
fn line() -> NetworkWorld {
    NetworkWorld::new(4, &[(0, 1), (1, 2), (2, 3)], &[&[0, 2, 3], &[0, 2, 3]])
}

/// Sends a broadcast of network 1 from router 0, and returns its body as router 1 opens it.
fn caught(world: &mut NetworkWorld) -> Vec<u8> {
    world.net.egress_in(0, network(1), &[broadcast(1, 5)]);
    let (_, to, datagram) = world.net.flying.pop_front().unwrap();
    assert_eq!(
        (to, Header::parse(&datagram).unwrap().kind),
        (1, Kind::NetworkFlood)
    );
    open(world, (1, 0), datagram)
}

fn open(world: &NetworkWorld, (n, peer): (usize, usize), mut datagram: Vec<u8>) -> Vec<u8> {
    let transport = world.net.nodes[n].snap.peers[&id(peer)].transport.clone();
    let opened = transport.unwrap();
    let opened = opened.open(&mut datagram, 0, world.net.now).unwrap();
    opened.body.to_vec()
}

/// Lets router 1 pass a broadcast with this body to router 2.
fn pass_on(world: &mut NetworkWorld, body: &[u8]) {
    let transport = world.net.nodes[1].snap.peers[&id(2)].transport.clone();
    let mut out = Vec::new();
    transport
        .unwrap()
        .seal(
            Kind::NetworkFlood,
            MAX_HOPS,
            &[],
            body,
            world.net.now,
            &mut out,
        )
        .unwrap();
    world.net.arrive(2, address(1), &out);
    world.net.run();
}

/// Returns a broadcast as a member with this key may make it.
fn made(prefix: NetworkFloodPrefix, key: &NetworkKey, frames: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    prefix.encode(&mut body);
    push_frame(&mut body, InnerFrame::complete(frames));
    key.seal(
        &prefix.stream,
        prefix.sequence,
        NETWORK_FLOOD_PREFIX_LEN,
        &mut body,
    );
    body
}

fn prefix(k: usize, origin: PeerId, key: NetworkKeyId) -> NetworkFloodPrefix {
    let stream = BroadcastStream {
        network: network(k),
        origin,
        epoch: EPOCH,
        salt: 3,
    };
    NetworkFloodPrefix {
        stream,
        sequence: 0,
        key,
    }
}

#[test]
fn a_relay_without_the_key_forwards_what_it_cannot_read() {
    let mut world = line();
    let body = caught(&mut world);
    let plain = broadcast(1, 5);
    assert!(
        !body
            .windows(6)
            .any(|part| plain.windows(6).any(|p| p == part))
    );
    world.net.log.clear();
    world.send(0, 1, &[broadcast(1, 5), unicast(1, 5, 77)]);
    let expected = [2, 3].map(|n| [(n, 1, broadcast(1, 5)), (n, 1, unicast(1, 5, 77))]);
    assert_eq!(world.all_taken(), expected.concat());
    assert_eq!(world.net.log.len(), 3);
    let kinds = world
        .net
        .log
        .iter()
        .map(|(_, _, d)| Header::parse(d).unwrap());
    assert!(
        kinds
            .into_iter()
            .all(|h| (h.kind, h.label.0) == (Kind::NetworkFlood, 0))
    );
    assert_eq!(world.net.count(1, Counter::FloodPassed), 1);
    assert_eq!(
        (
            world.net.count(1, Counter::FdbLearnt),
            world.dropped(1).len()
        ),
        (0, 0)
    );
    let owner = Some(Owner::Peer(id(0)));
    assert_eq!(
        world.domain(3, 1).fdb().lookup(mac(5), world.net.now),
        owner
    );
}

#[test]
fn a_broadcast_under_another_network_is_refused() {
    let (one, two) = (key_of(1).id(), key_of(2).id());
    let networks = [
        (2, one, "no_network_key"),
        (2, two, "network_forged"),
        (1, two, "no_network_key"),
    ];
    for (k, key, reason) in networks {
        let mut world = line();
        let mut bad = caught(&mut world);
        bad[..16].copy_from_slice(&network(k).0);
        bad[NETWORK_FLOOD_PREFIX_LEN - 4..][..4].copy_from_slice(&key.0.to_be_bytes());
        pass_on(&mut world, &bad);
        assert_eq!(world.all_taken(), [], "{k}");
        assert_eq!(world.dropped(2), BTreeMap::from([(reason, 1)]), "{k}");
    }
    let mut world = line();
    let mut bad = caught(&mut world);
    bad[..16].fill(0);
    pass_on(&mut world, &bad);
    assert_eq!(world.dropped(2), BTreeMap::from([("malformed", 1)]));
}

#[test]
fn a_broadcast_under_another_network_is_refused_even_with_one_key_for_both() {
    let mut world = line();
    for n in [0, 2, 3] {
        world.publish_changed(n, |_, membership| {
            membership.keys = NetworkKeys::new(vec![Arc::new(key_of(1))]);
        });
    }
    let mut bad = caught(&mut world);
    bad[..16].copy_from_slice(&network(2).0);
    pass_on(&mut world, &bad);
    assert_eq!(world.all_taken(), []);
    assert_eq!(world.dropped(2), BTreeMap::from([("network_forged", 1)]));
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused_by_the_first_member() {
    let mut world = line();
    let body = caught(&mut world);
    let key_id = 8 * (NETWORK_FLOOD_PREFIX_LEN - 4)..8 * NETWORK_FLOOD_PREFIX_LEN;
    world.net.log.clear();
    for bit in 0..body.len() * 8 {
        let mut bad = body.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if bit >= 128 && !key_id.contains(&bit) {
            pass_on(&mut world, &bad);
            assert!(world.net.log.is_empty(), "bit {bit} goes on");
        } else if bit % 8 == 0 {
            // Another network or key, of which a router cannot tell whether it exists.
            let mut world = line();
            pass_on(&mut world, &bad);
            assert_eq!(world.all_taken(), [], "bit {bit}");
        }
        assert_eq!(world.all_taken(), [], "bit {bit}");
    }
    for len in 0..body.len() {
        pass_on(&mut world, &body[..len]);
        assert_eq!(
            (world.all_taken(), world.net.log.len()),
            (vec![], 0),
            "{len} bytes"
        );
    }
    pass_on(&mut world, &body);
    assert_eq!(world.all_taken().len(), 2, "the whole is still accepted");
}

#[test]
fn a_forged_broadcast_does_not_pass_for_the_true_one() {
    let mut world = line();
    let body = caught(&mut world);
    let mut bad = body.clone();
    *bad.last_mut().unwrap() ^= 1;
    pass_on(&mut world, &bad);
    pass_on(&mut world, &body);
    pass_on(&mut world, &body);
    let expected = [2, 3].map(|n| (n, 1, broadcast(1, 5)));
    assert_eq!(world.all_taken(), expected);
    assert_eq!(
        world.dropped(2),
        BTreeMap::from([("flood_duplicate", 1), ("network_forged", 1)])
    );
}

#[test]
fn an_origin_that_is_no_member_is_refused_and_the_broadcast_goes_on() {
    let mut world = line();
    let (key, stranger) = (key_of(1), id(1));
    let body = made(prefix(1, stranger, key.id()), &key, &broadcast(1, 5));
    pass_on(&mut world, &body);
    assert_eq!(world.all_taken(), []);
    assert_eq!(world.dropped(2)["not_a_member"], 1);
    // Another member may know it already.
    world.publish_changed(3, |_, membership| {
        let label = NetworkLabel(9);
        membership.peers.insert(
            stranger,
            PeerLabel {
                label,
                epoch: EPOCH,
            },
        );
    });
    let mut next = prefix(1, stranger, key.id());
    next.sequence = 1;
    let body = made(next, &key, &broadcast(1, 5));
    for node in &mut world.net.nodes {
        node.snap.settle_until = world.net.now + core::time::Duration::from_secs(1);
    }
    pass_on(&mut world, &body);
    assert_eq!(world.all_taken(), [(3, 1, broadcast(1, 5))]);
}

#[test]
fn an_own_broadcast_that_comes_back_is_dropped() {
    let mut world = line();
    let key = key_of(1);
    let body = made(prefix(1, id(2), key.id()), &key, &broadcast(1, 5));
    pass_on(&mut world, &body);
    assert_eq!(world.all_taken(), []);
    assert_eq!(world.dropped(2), BTreeMap::from([("flood_own", 1)]));
}

#[test]
fn a_member_without_the_key_forwards_and_counts() {
    let mut world = line();
    world.publish_changed(2, |_, membership| membership.keys = NetworkKeys::default());
    world.send(0, 1, &[broadcast(1, 5)]);
    assert_eq!(world.all_taken(), [(3, 1, broadcast(1, 5))]);
    assert_eq!(world.dropped(2), BTreeMap::from([("no_network_key", 1)]));
    // It seals nothing without a key.
    world.send(2, 1, &[broadcast(1, 6)]);
    assert_eq!(world.all_taken(), []);
    assert_eq!(world.dropped(2), BTreeMap::from([("no_network_key", 2)]));
}

#[test]
fn while_a_key_is_replaced_both_open() {
    let mut world = line();
    let (old, new) = (Arc::new(key_of(1)), Arc::new(key_of(9)));
    world.publish_changed(2, |k, membership| {
        if k == 1 {
            membership.keys = NetworkKeys::new(vec![new.clone(), old.clone()]);
        }
    });
    world.send(0, 1, &[broadcast(1, 5)]);
    assert_eq!(world.all_taken().len(), 2);
    world.send(2, 1, &[broadcast(1, 6)]);
    assert_eq!(world.all_taken(), [], "sealed with the new key");
    world.publish_changed(0, |_, membership| {
        membership.keys = NetworkKeys::new(vec![old.clone(), new.clone()]);
    });
    world.send(2, 1, &[broadcast(1, 7)]);
    assert_eq!(world.all_taken(), [(0, 1, broadcast(1, 7))]);
}

#[test]
fn in_rings_and_while_settling_each_member_gets_one_copy() {
    let ring = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (1, 3)];
    let mut world = NetworkWorld::new(5, &ring, &[&[0, 2, 3], &[0, 1, 2, 3, 4]]);
    for settling in [false, true] {
        if settling {
            world.net.settle();
        }
        for k in [1, 2] {
            for origin in world.members[k - 1].clone() {
                world.send(origin, k, &[broadcast(k, origin)]);
                let others = world.members[k - 1].iter().filter(|n| **n != origin);
                let expected: Vec<_> = others.map(|n| (*n, k, broadcast(k, origin))).collect();
                assert_eq!(world.all_taken(), expected);
            }
        }
    }
    let names: BTreeSet<_> = (0..5).flat_map(|n| world.dropped(n).into_keys()).collect();
    assert_eq!(names, BTreeSet::from(["flood_duplicate"]));
}

#[test]
fn a_broadcast_ends_at_the_hop_limit() {
    let n = usize::from(MAX_HOPS) + 3;
    let edges: Vec<_> = (1..n).map(|b| (b - 1, b)).collect();
    let all: Vec<usize> = (0..n).collect();
    let mut world = NetworkWorld::new(n, &edges, &[&all]);
    world.send(0, 1, &[broadcast(1, 5)]);
    assert_eq!(world.all_taken().len(), usize::from(MAX_HOPS) + 1);
    assert_eq!(
        world.dropped(usize::from(MAX_HOPS) + 1),
        BTreeMap::from([("hop_limit", 1)])
    );
}

#[test]
fn a_long_broadcast_is_fragmented_on_a_narrow_path() {
    let mut world = line();
    for n in 0..4 {
        for peer in world.net.nodes[n].snap.peers.values_mut() {
            peer.datagram = 600;
        }
    }
    let long = marked(1, frame(mac(5), Mac::BROADCAST, &[7; 1_300]));
    world.send(0, 1, std::slice::from_ref(&long));
    assert_eq!(world.all_taken(), [2, 3].map(|n| (n, 1, long.clone())));
    let headers = world
        .net
        .log
        .iter()
        .map(|(_, _, d)| Header::parse(d).unwrap());
    assert!(
        headers
            .into_iter()
            .all(|h| (h.kind, h.label.0) == (Kind::Fragment, 0))
    );
}

#[test]
fn without_other_members_nothing_is_sent() {
    let mut world = NetworkWorld::new(2, &[(0, 1)], &[&[0], &[0, 1]]);
    world.send(0, 1, &[broadcast(1, 5), unicast(1, 5, 77)]);
    assert!(world.net.log.is_empty() && world.dropped(0).is_empty());
    assert_eq!(world.domain(0, 1).fdb().len(), 1);
}
