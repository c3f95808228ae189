//! Every kind of frame from every network, on direct, relayed and flooded ways: none arrives in another network, and
//! none changes what another network has learnt.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::super::resolution::solicitation;
use super::*;
use crate::arp_proxy::Binding;
use crate::frame::arp::{ArpPacket, Operation};
use crate::wire::datagram::Header;

const LINE: [(usize, usize); 4] = [(0, 1), (1, 2), (2, 3), (3, 4)];
/// Networks 1 to 8; router 1 is a relay without members.
const MEMBERS: [&[usize]; 8] = [
    &[0, 2, 4],
    &[0, 2],
    &[2, 3, 4],
    &[0, 3],
    &[0, 2, 3, 4],
    &[3, 4],
    &[0, 4],
    &[2, 4],
];

/// Container with the same MAC and addresses in each network, at the last member.
const EQUAL: u8 = 9;
/// Container that sends in each network, at each member.
const SENDER: u8 = 1;

fn v4(c: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, c)
}

fn v6(c: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, c.into())
}

/// Returns the container that only network `k` has, at its last member.
fn own(k: usize) -> u8 {
    u8::try_from(100 + k).unwrap()
}

/// Five routers with nine networks; each network announces and has learnt its containers.
fn world() -> NetworkWorld {
    let world = NetworkWorld::new(5, &LINE, &MEMBERS);
    for k in 0..=MEMBERS.len() {
        let last = home(&world, k);
        for n in (0..5).filter(|n| world.is_member(*n, k)) {
            let owner = match n == last {
                true => Owner::Local,
                false => Owner::Peer(id(last)),
            };
            announce(&world, n, k, owner);
        }
    }
    world
}

/// Returns the router where the containers of network `k` are.
fn home(world: &NetworkWorld, k: usize) -> usize {
    (0..5).rfind(|n| world.is_member(*n, k)).unwrap()
}

fn announce(world: &NetworkWorld, n: usize, k: usize, owner: Owner) {
    let claim = |c: u8, ip: IpAddr| Binding {
        ip,
        mac: mac(c.into()),
        moves: 0,
    };
    let claims = [EQUAL, own(k)]
        .into_iter()
        .flat_map(|c| [claim(c, v4(c).into()), claim(c, v6(c).into())]);
    let now = world.net.now;
    let is_set = match k {
        0 => world.net.nodes[n]
            .forwarder
            .arp_proxy()
            .set(owner, claims.collect(), now),
        _ => world
            .domain(n, k)
            .arp_proxy()
            .set(owner, claims.collect(), now),
    };
    assert!(is_set);
}

fn request(from: u8, target: u8) -> ArpPacket {
    ArpPacket {
        operation: Operation::Request,
        sender_mac: mac(from.into()),
        sender_ip: v4(from),
        target_mac: Mac([0; 6]),
        target_ip: v4(target),
    }
}

fn arp(packet: ArpPacket) -> Vec<u8> {
    packet.to_frame(Mac::BROADCAST).to_vec()
}

fn tagged(mut frame: Vec<u8>, vid: u8) -> Vec<u8> {
    frame.splice(12..12, [0x81, 0, 0, vid]);
    frame
}

/// Returns the attacks of a container of network `k` on network `other`, whose containers and labels it knows.
fn attacks(k: usize, other: usize) -> Vec<(&'static str, Vec<u8>)> {
    let (sender, equal, theirs) = (
        mac(SENDER.into()),
        mac(EQUAL.into()),
        mac(own(other).into()),
    );
    let vid = u8::try_from(other).unwrap();
    let group = Mac([0x01, 0, 0x5e, 0, 0, 1]);
    let lie = |c: u8| arp(ArpPacket::announcement(mac(0x66), v4(c)));
    let reply = ArpPacket {
        operation: Operation::Reply,
        target_mac: theirs,
        ..request(SENDER, own(other))
    };
    let all = vec![
        (
            "unicast to a MAC that only the other has",
            frame(sender, theirs, b"x"),
        ),
        (
            "unicast to a MAC that both have",
            frame(sender, equal, b"x"),
        ),
        ("broadcast", frame(sender, Mac::BROADCAST, b"x")),
        ("multicast", frame(sender, group, b"x")),
        (
            "ARP for an address of the other",
            arp(request(SENDER, own(other))),
        ),
        ("ARP for an address of both", arp(request(SENDER, EQUAL))),
        (
            "ND for an address of the other",
            solicitation(v6(SENDER), v6(own(other))),
        ),
        (
            "ND for an address of both",
            solicitation(v6(SENDER), v6(EQUAL)),
        ),
        (
            "ARP reply to a MAC of the other",
            reply.to_frame(theirs).to_vec(),
        ),
        ("claim of an address of the other", lie(own(other))),
        ("claim of an address of both", lie(EQUAL)),
        (
            "VLAN tag, unicast",
            tagged(frame(sender, theirs, b"x"), vid),
        ),
        (
            "VLAN tag, broadcast",
            tagged(frame(sender, Mac::BROADCAST, b"x"), vid),
        ),
        ("VLAN tag, ARP", tagged(arp(request(SENDER, EQUAL)), vid)),
        (
            "spoofed source of the other",
            frame(theirs, Mac::BROADCAST, b"x"),
        ),
        ("spoofed source of both", frame(equal, Mac::BROADCAST, b"x")),
        ("spoofed source, unicast", frame(theirs, equal, b"x")),
    ];
    all.into_iter()
        .map(|(name, frame)| (name, marked(k, frame)))
        .collect()
}

/// Returns what router `n` has learnt and believes of the containers of network `k`.
fn beliefs(world: &NetworkWorld, n: usize, k: usize) -> Vec<(Option<Owner>, Option<Mac>)> {
    let domain = (k > 0).then(|| world.domain(n, k));
    let forwarder = &world.net.nodes[n].forwarder;
    let (fdb, arp_proxy) = match &domain {
        None => (forwarder.fdb(), forwarder.arp_proxy()),
        Some(domain) => (domain.fdb(), domain.arp_proxy()),
    };
    let now = world.net.now;
    let containers = (0..=MEMBERS.len()).map(own).chain([SENDER, EQUAL, 0x66]);
    let belief = |c: u8| {
        let located = arp_proxy.locate(v4(c).into(), now);
        (
            fdb.lookup(mac(c.into()), now),
            located.map(|place| place.mac),
        )
    };
    containers.map(belief).collect()
}

/// Lets every network attack every other from every member. Returns the number of frames delivered.
fn attack_all(world: &mut NetworkWorld) -> usize {
    let mut delivered = 0;
    for k in 0..=MEMBERS.len() {
        let senders: Vec<usize> = (0..5).filter(|n| world.is_member(*n, k)).collect();
        let others: Vec<(usize, usize)> = (0..=MEMBERS.len())
            .filter(|other| *other != k)
            .flat_map(|other| (0..5).map(move |n| (n, other)))
            .filter(|(n, other)| world.is_member(*n, *other))
            .collect();
        let before: Vec<_> = others
            .iter()
            .map(|(n, other)| beliefs(world, *n, *other))
            .collect();
        for other in (0..=MEMBERS.len()).filter(|other| *other != k) {
            for (name, attack) in attacks(k, other) {
                for n in &senders {
                    world.send(*n, k, std::slice::from_ref(&attack));
                    for (at, to, frame) in world.all_taken() {
                        assert_eq!(to, k, "{name}: from network {k} to {to}, at router {at}");
                        assert_eq!(mark_of(&frame), k, "{name}");
                        assert!(world.is_member(at, k), "{name}: at router {at}");
                        delivered += 1;
                    }
                }
            }
        }
        let after: Vec<_> = others
            .iter()
            .map(|(n, other)| beliefs(world, *n, *other))
            .collect();
        assert_eq!(before, after, "network {k} taught another");
        world.net.wait(1_000);
        world.net.log.clear();
    }
    delivered
}

#[test]
fn no_frame_of_any_kind_enters_another_network_on_trees() {
    let mut world = world();
    let delivered = attack_all(&mut world);
    assert!(
        delivered > 5_000,
        "only {delivered} frames were delivered at all"
    );
    assert_eq!(world.taken(1), []);
}

#[test]
fn no_frame_of_any_kind_enters_another_network_while_the_topology_settles() {
    let mut world = world();
    for node in &mut world.net.nodes {
        node.snap.settle_until = world.net.now + Duration::from_secs(3_600);
    }
    assert!(attack_all(&mut world) > 5_000);
}

#[test]
fn equal_addresses_in_all_networks_are_reached_each_in_its_own() {
    let mut world = world();
    for k in 0..=MEMBERS.len() {
        let at = home(&world, k);
        world.send(at, k, &[broadcast(k, EQUAL.into())]);
        let expected: Vec<_> = (0..5)
            .filter(|n| *n != at && world.is_member(*n, k))
            .map(|n| (n, k, broadcast(k, EQUAL.into())))
            .collect();
        assert_eq!(world.all_taken(), expected);
        let from = (0..5).find(|n| world.is_member(*n, k)).unwrap();
        let question = marked(k, arp(request(SENDER, EQUAL)));
        let directed = world.net.count(from, Counter::ArpDirected);
        for frame in [unicast(k, SENDER.into(), EQUAL.into()), question] {
            world.send(from, k, std::slice::from_ref(&frame));
            let all = world.all_taken();
            let [(n, to, taken)] = &all[..] else {
                panic!("{} frames in network {k}", all.len());
            };
            assert_eq!((*n, *to), (at, k));
            assert_eq!(taken[6..], frame[6..]);
        }
        assert_eq!(world.net.count(from, Counter::ArpDirected), directed + 1);
    }
    assert!((0..5).all(|n| world.dropped(n).is_empty()));
}

#[test]
fn a_false_claim_in_one_network_leaves_the_addresses_of_others_alone() {
    // From the port of router 0 itself, and from another router.
    for liar in [0, 2] {
        let mut world = world();
        let lie = marked(1, arp(ArpPacket::announcement(mac(0x66), v4(EQUAL))));
        world.send(liar, 1, std::slice::from_ref(&lie));
        assert_eq!(world.all_taken().len(), 2);
        let mine = (0..=MEMBERS.len()).filter(|k| world.is_member(0, *k));
        for k in mine {
            let now = world.net.now;
            let located = match k {
                0 => world.net.nodes[0]
                    .forwarder
                    .arp_proxy()
                    .locate(v4(EQUAL).into(), now),
                _ => world.domain(0, k).arp_proxy().locate(v4(EQUAL).into(), now),
            };
            assert_eq!(located.is_some(), k != 1, "network {k}, by router {liar}");
        }
    }
}

#[test]
fn each_datagram_holds_frames_of_one_network_under_its_label() {
    let mut world = NetworkWorld::new(2, &[(0, 1)], &[&[0, 1], &[0, 1], &[0, 1]]);
    for k in 0..=3 {
        world.knows(0, k, EQUAL.into(), 1);
    }
    for round in 0..3 {
        for k in 0..=3 {
            let frames = vec![unicast(k, 1, EQUAL.into()); 3 + round];
            world.net.egress_in(0, network(k), &frames);
        }
    }
    for (_, to, datagram) in world.net.log.clone() {
        let header = Header::parse(&datagram).unwrap();
        let k = (0..=3).find(|k| match k {
            0 => header.label.is_default(),
            _ => header.label == world.label(1, *k),
        });
        world.net.arrive(to, address(0), &datagram);
        let taken = world.taken(1);
        assert!(taken.len() >= 3);
        assert!(
            taken
                .iter()
                .all(|(to, frame)| (Some(*to), mark_of(frame)) == (k, *to))
        );
    }
    assert_eq!(world.net.log.len(), 3 * 4);
}
