//! Labels that are not known yet or not any more, frames that wait, and narrow paths.

use super::*;
use crate::limits::{
    MAX_NETWORK_PENDING_BYTES, MAX_NETWORKS_HERE, MAX_PENDING_FRAMES, PENDING_AGE,
};
use crate::time::Instant;
use crate::wire::datagram::{Header, Kind};

/// Two neighbours with two networks, where the first knows container 9 behind the second.
fn pair() -> NetworkWorld {
    let world = NetworkWorld::new(2, &[(0, 1)], &[&[0, 1], &[0, 1]]);
    for k in 0..=2 {
        world.knows(0, k, 9, 1);
    }
    world
}

fn labels(world: &NetworkWorld) -> Vec<(Kind, NetworkLabel)> {
    let headers = world
        .net
        .log
        .iter()
        .map(|(_, _, d)| Header::parse(d).unwrap());
    headers.map(|header| (header.kind, header.label)).collect()
}

#[test]
fn frames_that_wait_for_a_session_arrive_each_in_its_network() {
    let mut world = pair();
    let transport = world.net.nodes[0]
        .snap
        .peers
        .get_mut(&id(1))
        .unwrap()
        .transport
        .take();
    for _ in 0..2 {
        for k in 0..=2 {
            world.send(0, k, &[unicast(k, 1, 9)]);
        }
    }
    assert!(world.net.log.is_empty());
    world.net.nodes[0]
        .snap
        .peers
        .get_mut(&id(1))
        .unwrap()
        .transport = transport;
    // Frames of one network release only their own.
    world.send(0, 2, &[unicast(2, 3, 9)]);
    let first = [
        (1, 2, unicast(2, 1, 9)),
        (1, 2, unicast(2, 1, 9)),
        (1, 2, unicast(2, 3, 9)),
    ];
    assert_eq!(world.all_taken(), first);
    world.net.flush(0);
    world.net.run();
    let expected = [0, 1].map(|k| vec![(1, k, unicast(k, 1, 9)); 2]);
    assert_eq!(world.all_taken(), expected.concat());
    let mut used: Vec<u16> = labels(&world).iter().map(|(_, label)| label.0).collect();
    used.dedup();
    assert_eq!(used.len(), 3, "one network at a time");
}

#[test]
fn frames_that_wait_are_bounded_in_each_network() {
    let mut world = pair();
    world.net.nodes[0]
        .snap
        .peers
        .get_mut(&id(1))
        .unwrap()
        .transport = None;
    for _ in 0..MAX_PENDING_FRAMES + 3 {
        world.send(0, 1, &[unicast(1, 1, 9)]);
    }
    assert_eq!(world.dropped(0), BTreeMap::from([("pending_full", 3)]));
    let long = frame(mac(1), mac(9), &[0; 1_376]);
    let fit = MAX_NETWORK_PENDING_BYTES / long.len();
    world.knows(0, 2, 8, 1);
    assert!(
        fit > MAX_PENDING_FRAMES,
        "the other network has its own room"
    );
    world.send(0, 2, &vec![long; MAX_PENDING_FRAMES]);
    assert_eq!(world.dropped(0), BTreeMap::from([("pending_full", 3)]));
    world.net.wait(PENDING_AGE.as_millis().try_into().unwrap());
    world.net.nodes[0].forwarder.sweep(world.net.now);
    let expired = u64::try_from(2 * MAX_PENDING_FRAMES).unwrap();
    assert_eq!(world.dropped(0)["pending_expired"], expired);
}

#[test]
fn a_label_of_an_earlier_run_of_the_peer_is_not_used() {
    let mut world = pair();
    world.publish_changed(0, |_, membership| {
        for known in membership.peers.values_mut() {
            known.epoch = EPOCH - 1;
        }
    });
    world.send(0, 1, &[unicast(1, 1, 9)]);
    world.net.flush(0);
    assert!(world.net.log.is_empty() && world.dropped(0).is_empty());
    world.publish(0);
    world.net.flush(0);
    world.net.run();
    assert_eq!(world.all_taken(), [(1, 1, unicast(1, 1, 9))]);
    assert_eq!(labels(&world), [(Kind::Data, world.label(1, 1))]);
}

#[test]
fn frames_for_a_router_that_left_the_network_are_dropped() {
    let mut world = pair();
    let transport = world.net.nodes[0]
        .snap
        .peers
        .get_mut(&id(1))
        .unwrap()
        .transport
        .take();
    world.send(0, 1, &[unicast(1, 1, 9)]);
    world.net.nodes[0]
        .snap
        .peers
        .get_mut(&id(1))
        .unwrap()
        .transport = transport;
    world.publish_changed(0, |k, membership| {
        if k == 1 {
            membership.peers.clear();
        }
    });
    world.net.flush(0);
    assert_eq!(world.dropped(0), BTreeMap::from([("not_a_member", 1)]));
    world.send(0, 1, &[unicast(1, 1, 9)]);
    assert_eq!(world.dropped(0), BTreeMap::from([("not_a_member", 2)]));
    assert!(world.net.log.is_empty());
    world.send(0, 2, &[unicast(2, 1, 9)]);
    assert_eq!(world.all_taken(), [(1, 2, unicast(2, 1, 9))]);
}

#[test]
fn fragments_of_data_have_its_label() {
    let mut world = pair();
    world.net.nodes[0]
        .snap
        .peers
        .get_mut(&id(1))
        .unwrap()
        .datagram = 600;
    let long = marked(1, frame(mac(1), mac(9), &[7; 1_300]));
    world.send(0, 1, std::slice::from_ref(&long));
    assert_eq!(world.all_taken(), [(1, 1, long)]);
    assert_eq!(labels(&world), vec![(Kind::Fragment, world.label(1, 1)); 3]);
}

#[test]
fn an_icmp_error_goes_to_the_port_where_the_packet_entered() {
    let mut world = pair();
    let peer = world.net.nodes[0].snap.peers.get_mut(&id(1)).unwrap();
    (peer.datagram, peer.mtu) = (1_372, 1_324);
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&1_376u16.to_be_bytes());
    packet.extend([0, 7, 0x40, 0, 64, 17, 0, 0, 10, 2, 1, 1, 10, 2, 1, 2]);
    packet.resize(1_376, 0);
    world.send(0, 2, &[frame(mac(1), mac(9), &packet)]);
    let told: Vec<_> = world.taken(0).into_iter().map(|(k, _)| k).collect();
    assert_eq!(told, [2]);
}

#[test]
fn a_host_joins_a_bounded_number_of_networks_and_leaves_them() {
    let forwarder = Forwarder::new(&mut SeededEntropy::new(1));
    let join = |k: usize| forwarder.join(network(k), &mut SeededEntropy::new(2));
    assert!(join(0).is_none(), "the network default is there always");
    for k in 1..=MAX_NETWORKS_HERE {
        let domain = join(k).unwrap();
        domain.fdb().learn(mac(1), Owner::Local, Instant::ZERO);
        assert!(Arc::ptr_eq(&domain, &join(k).unwrap()));
    }
    assert!(join(MAX_NETWORKS_HERE + 1).is_none());
    assert!(forwarder.leave(network(1)) && !forwarder.leave(network(1)));
    assert_eq!(join(MAX_NETWORKS_HERE + 1).unwrap().fdb().len(), 0);
    assert!(forwarder.leave(network(2)));
    assert_eq!(
        join(1).unwrap().fdb().len(),
        0,
        "nothing is left of the former one"
    );
}
