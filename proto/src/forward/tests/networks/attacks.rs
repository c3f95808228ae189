//! Data datagrams with labels that are not theirs: by a peer, by a relay, by somebody in between, in fragments.

use super::*;
use crate::fragment::Fragment;
use crate::limits::MAX_HOPS;
use crate::session::transport::Transport;
use crate::wire::datagram::{
    HEADER_LEN, Header, InnerFrame, Kind, PEER_ID_LEN, TAG_LEN, push_frame,
};

/// Routers in a line; router 1 is a member of network 2 only, router 2 of both.
fn line() -> NetworkWorld {
    NetworkWorld::new(3, &[(0, 1), (1, 2)], &[&[0, 2], &[0, 1, 2]])
}

fn transport(world: &NetworkWorld, n: usize, peer: usize) -> Arc<Transport> {
    let peers = &world.net.nodes[n].snap.peers;
    peers[&id(peer)].transport.clone().unwrap()
}

fn body_of(frame: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    push_frame(&mut body, InnerFrame::complete(frame));
    body
}

/// Returns a datagram from router `n` to `peer` as the control of router `n` may choose.
fn sealed(
    world: &NetworkWorld,
    (n, peer): (usize, usize),
    (kind, label): (Kind, NetworkLabel),
    body: &[u8],
) -> Vec<u8> {
    let transport = transport(world, n, peer);
    let mut out = Vec::new();
    let draft = transport.begin_labelled(kind, MAX_HOPS, label, &mut out);
    out.extend_from_slice(body);
    transport.finish(draft, 0, world.net.now, &mut out).unwrap();
    out
}

/// Returns a Relay datagram from router `n` to its neighbour, for router `to`.
fn relayed(
    world: &NetworkWorld,
    (n, neighbour, to): (usize, usize, usize),
    inner: &[u8],
) -> Vec<u8> {
    let clear = [&id(to).0, inner].concat();
    let mut out = Vec::new();
    transport(world, n, neighbour)
        .seal(Kind::Relay, MAX_HOPS, &clear, &[], world.net.now, &mut out)
        .unwrap();
    out
}

#[test]
fn a_label_of_a_network_of_which_the_peer_is_no_member_is_refused() {
    let mut world = line();
    let stolen = (Kind::Data, world.label(2, 1));
    let body = body_of(&unicast(1, 1, 9));
    for count in 1..=3 {
        let bad = sealed(&world, (1, 2), stolen, &body);
        world.net.arrive(2, address(1), &bad);
        assert_eq!(world.dropped(2), BTreeMap::from([("not_a_member", count)]));
    }
    assert_eq!(world.all_taken(), []);
    assert_eq!(world.domain(2, 1).fdb().len(), 0, "nothing was learnt");
    // With the label of its own network the same frame arrives there.
    let own = (Kind::Data, world.label(2, 2));
    let good = sealed(&world, (1, 2), own, &body_of(&unicast(2, 1, 9)));
    world.net.arrive(2, address(1), &good);
    assert_eq!(world.all_taken(), [(2, 2, unicast(2, 1, 9))]);
}

#[test]
fn a_stolen_label_is_refused_when_relayed_and_when_fragmented() {
    let mut world = NetworkWorld::new(3, &[(0, 1), (1, 2)], &[&[2], &[0, 1, 2]]);
    let label = world.label(2, 1);
    let body = body_of(&unicast(1, 1, 9));
    let inner = sealed(&world, (0, 2), (Kind::Data, label), &body);
    let relay = relayed(&world, (0, 1, 2), &inner);
    world.net.arrive(1, address(0), &relay);
    world.net.run();
    assert_eq!(world.dropped(2), BTreeMap::from([("not_a_member", 1)]));
    for fragment in crate::fragment::split(Kind::Data, 1, &body, 20).unwrap() {
        let mut bytes = Vec::new();
        fragment.encode(&mut bytes);
        let datagram = sealed(&world, (1, 2), (Kind::Fragment, label), &bytes);
        world.net.arrive(2, address(1), &datagram);
    }
    assert_eq!(world.dropped(2), BTreeMap::from([("not_a_member", 2)]));
    assert_eq!(world.all_taken(), []);
}

#[test]
fn a_label_that_was_not_assigned_is_refused() {
    let mut world = line();
    let body = body_of(&unicast(2, 1, 9));
    for (count, label) in (1..).zip([3, 4, 0x100, u16::MAX]) {
        let bad = sealed(&world, (1, 2), (Kind::Data, NetworkLabel(label)), &body);
        world.net.arrive(2, address(1), &bad);
        assert_eq!(world.dropped(2), BTreeMap::from([("unknown_label", count)]));
    }
    assert_eq!(world.all_taken(), []);
}

#[test]
fn fragments_of_several_networks_are_no_datagram() {
    let mut world = line();
    let (one, two) = (world.label(2, 1), world.label(2, 2));
    let body = body_of(&unicast(1, 1, 9));
    let half = body.len() / 2;
    for (index, label, bytes) in [(0, one, &body[..half]), (1, two, &body[half..])] {
        let fragment = Fragment {
            kind: Kind::Data,
            id: 7,
            index,
            count: 2,
            bytes,
        };
        let mut piece = Vec::new();
        fragment.encode(&mut piece);
        let datagram = sealed(&world, (0, 2), (Kind::Fragment, label), &piece);
        let relay = relayed(&world, (0, 1, 2), &datagram);
        world.net.arrive(1, address(0), &relay);
        world.net.run();
    }
    assert_eq!(world.all_taken(), []);
    assert_eq!(world.dropped(2), BTreeMap::from([("fragment_refused", 1)]));
}

#[test]
fn fragments_of_a_flood_have_no_label() {
    let mut world = line();
    let label = world.label(2, 2);
    for kind in [Kind::Relay, Kind::Flood, Kind::NetworkFlood] {
        let fragment = Fragment {
            kind,
            id: 7,
            index: 0,
            count: 2,
            bytes: b"x",
        };
        let mut piece = Vec::new();
        fragment.encode(&mut piece);
        let datagram = sealed(&world, (1, 2), (Kind::Fragment, label), &piece);
        world.net.arrive(2, address(1), &datagram);
    }
    assert_eq!(world.dropped(2), BTreeMap::from([("malformed", 3)]));
}

#[test]
fn a_label_changed_on_the_way_is_refused_by_the_receiver() {
    let mut world = line();
    world.knows(0, 2, 9, 1);
    world.net.egress_in(0, network(2), &[unicast(2, 1, 9)]);
    let (_, to, datagram) = world.net.flying.pop_front().unwrap();
    assert_eq!(to, 1);
    for label in 0..=u16::MAX {
        let mut bad = datagram.clone();
        bad[2..4].copy_from_slice(&label.to_be_bytes());
        if bad != datagram && label % 257 < 4 {
            world.net.arrive(1, address(0), &bad);
        }
    }
    assert_eq!(world.all_taken(), []);
    assert_eq!(Vec::from_iter(world.dropped(1).into_keys()), ["forged"]);
    world.net.arrive(1, address(0), &datagram);
    assert_eq!(world.all_taken(), [(1, 2, unicast(2, 1, 9))]);
}

#[test]
fn a_label_changed_by_the_relay_is_refused_by_the_receiver() {
    for k in [1, 2] {
        let mut world = line();
        world.knows(0, k, 9, 2);
        world.net.egress_in(0, network(k), &[unicast(k, 1, 9)]);
        let (_, to, mut datagram) = world.net.flying.pop_front().unwrap();
        assert_eq!(to, 1);
        let clear_len = datagram.len() - HEADER_LEN - TAG_LEN;
        let opened = transport(&world, 1, 0);
        let opened = opened
            .open(&mut datagram, clear_len, world.net.now)
            .unwrap();
        let content = opened.clear.to_vec();
        let right = Header::parse(&content[PEER_ID_LEN..]).unwrap().label;
        assert_eq!(right, world.label(2, k));
        let others = [0, 1, 2, 3, 0x102].map(NetworkLabel);
        for label in others.into_iter().filter(|label| *label != right) {
            let mut inner = content[PEER_ID_LEN..].to_vec();
            inner[2..4].copy_from_slice(&label.0.to_be_bytes());
            let forged = relayed(&world, (1, 2, 2), &inner);
            world.net.arrive(2, address(1), &forged);
        }
        assert_eq!(world.all_taken(), []);
        assert_eq!(world.dropped(2), BTreeMap::from([("forged", 4)]));
        let honest = relayed(&world, (1, 2, 2), &content[PEER_ID_LEN..]);
        world.net.arrive(2, address(1), &honest);
        assert_eq!(world.all_taken(), [(2, k, unicast(k, 1, 9))]);
    }
}

#[test]
fn a_frame_from_a_port_without_a_network_is_counted() {
    let mut world = line();
    world.send(1, 1, &[broadcast(1, 1), unicast(1, 1, 9)]);
    assert_eq!(world.dropped(1), BTreeMap::from([("unknown_network", 2)]));
    assert!(world.net.log.is_empty());
}
