//! Hostile datagrams: replayed, reflected, altered, truncated, sent in circles.

use proptest::prelude::*;

use super::net::*;
use crate::forward::*;
use crate::ids::{Mac, SessionIndex};
use crate::limits::{MAX_DATAGRAM, MAX_HANDSHAKE, MAX_HOPS};
use crate::wire::datagram::{HEADER_LEN, Header, Kind, PEER_ID_LEN, TAG_LEN};

/// One datagram of each sealed kind in flight from router 0 to router 1, with its network.
fn samples() -> Vec<(&'static str, Net, Vec<u8>)> {
    let data = |net: &mut Net| {
        net.knows(0, 1, 1);
        net.egress(0, &[frame(mac(0), mac(1), b"x")]);
    };
    let flood = |net: &mut Net| net.egress(0, &[frame(mac(0), Mac::BROADCAST, b"x")]);
    let probe = |net: &mut Net| {
        net.with(0, |node, now, out| {
            node.forwarder
                .send_probe(&node.snap, id(1), b"x", now, out)
                .unwrap();
        });
    };
    let relay = |net: &mut Net| {
        net.knows(0, 2, 2);
        net.egress(0, &[frame(mac(0), mac(2), b"x")]);
    };
    type Fill<'a> = &'a dyn Fn(&mut Net);
    let fills: [(&str, Fill<'_>); 4] = [
        ("data", &data),
        ("flood", &flood),
        ("probe", &probe),
        ("relay", &relay),
    ];
    fills
        .into_iter()
        .map(|(name, fill)| {
            let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
            fill(&mut net);
            let (_, to, datagram) = net.flying.pop_front().unwrap();
            assert_eq!(to, 1);
            (name, net, datagram)
        })
        .collect()
}

/// Number of effects at router 1: frames delivered, datagrams sent, events.
fn effects(net: &mut Net) -> usize {
    let n = net.taken(1).len() + net.flying.len() + net.events(1).len();
    net.flying.clear();
    n
}

#[test]
fn every_flipped_byte_is_rejected_and_the_whole_still_accepted() {
    for (name, mut net, datagram) in samples() {
        for at in (0..datagram.len()).filter(|at| !is_left_to_the_receiver(name, *at, &datagram)) {
            for mask in [0x01, 0x80, 0xff] {
                let mut bad = datagram.clone();
                bad[at] ^= mask;
                net.arrive(1, address(0), &bad);
                // A changed kind or index may turn it into a handshake or an unknown session, which only the control
                // plane sees.
                assert_eq!(net.taken(1).len() + net.flying.len(), 0, "{name} {at}");
                let believed = net.events(1).into_iter().any(|e| {
                    !matches!(
                        e,
                        LaneEvent::Handshake { .. } | LaneEvent::UnknownIndex { .. }
                    )
                });
                assert!(!believed, "{name} {at}");
            }
        }
        net.arrive(1, address(0), &datagram);
        assert!(effects(&mut net) > 0, "{name}");
    }
}

/// Returns true if the byte is one that the relaying router does not check: ciphertext of the inner datagram.
fn is_left_to_the_receiver(name: &str, at: usize, datagram: &[u8]) -> bool {
    const INNER: usize = 2 * HEADER_LEN + PEER_ID_LEN;
    name == "relay" && (INNER..datagram.len() - 2 * TAG_LEN).contains(&at)
}

#[test]
fn ciphertext_that_was_changed_on_the_way_to_a_relay_is_refused_by_the_receiver() {
    let (name, _, datagram) = samples().pop().unwrap();
    let changeable = (0..datagram.len()).filter(|at| is_left_to_the_receiver(name, *at, &datagram));
    assert!(changeable.clone().count() > 10);
    for at in changeable {
        let (_, mut net, mut datagram) = samples().pop().unwrap();
        datagram[at] ^= 1;
        net.arrive(1, address(0), &datagram);
        net.run();
        assert_eq!(net.taken(2).len(), 0, "byte {at}");
        assert_eq!(
            net.nodes[2]
                .forwarder
                .counters()
                .dropped(DropReason::Forged),
            1
        );
    }
}

#[test]
fn every_truncation_is_rejected() {
    for (name, mut net, datagram) in samples() {
        for len in 0..datagram.len() {
            net.arrive(1, address(0), &datagram[..len]);
            assert_eq!(effects(&mut net), 0, "{name} {len}");
        }
        let counters = net.nodes[1].forwarder.counters();
        let refused =
            counters.dropped(DropReason::Malformed) + counters.dropped(DropReason::Forged);
        assert_eq!(refused, u64::try_from(datagram.len()).unwrap(), "{name}");
    }
}

#[test]
fn replays_deliver_nothing_and_are_counted() {
    for (name, mut net, datagram) in samples() {
        net.arrive(1, address(0), &datagram);
        assert!(effects(&mut net) > 0, "{name}");
        for _ in 0..5 {
            net.arrive(1, address(0), &datagram);
            net.arrive(1, address(7), &datagram);
        }
        assert_eq!(effects(&mut net), 0, "{name}");
        assert_eq!(net.dropped(1), [("replayed", 10)], "{name}");
    }
}

#[test]
fn reflected_datagrams_are_rejected() {
    for (name, mut net, datagram) in samples() {
        // The sender's own index in place of the receiver's, as an attacker would have to try.
        let own = *net.nodes[0].snap.by_index.keys().next().unwrap();
        let mut reflected = datagram.clone();
        reflected[4..8].copy_from_slice(&own.0.to_be_bytes());
        net.arrive(0, address(1), &datagram);
        net.arrive(0, address(1), &reflected);
        assert_eq!(
            net.dropped(0),
            [("unknown_index", 1), ("forged", 1)],
            "{name}"
        );
        assert!(net.taken(0).is_empty() && net.flying.is_empty());
    }
}

#[test]
fn unknown_sessions_are_reported_at_a_limited_rate() {
    let mut net = Net::wire(2, &[(0, 1)]);
    let header = Header {
        kind: Kind::Data,
        hop_limit: 1,
        label: crate::network::NetworkLabel::DEFAULT,
        receiver: SessionIndex(999),
        counter: 0,
    };
    let datagram = [&header.encode()[..], &[0; 16]].concat();
    for _ in 0..50 {
        net.arrive(1, address(0), &datagram);
    }
    assert_eq!(
        net.events(1),
        [LaneEvent::UnknownIndex {
            via: Via::Direct(address(0)),
            index: SessionIndex(999)
        }]
    );
    assert_eq!(net.dropped(1), [("unknown_index", 50)]);
    net.wait(100);
    net.arrive(1, address(0), &datagram);
    assert_eq!(net.events(1).len(), 1);
}

#[test]
fn too_long_datagrams_are_refused_before_any_work() {
    let mut net = Net::wire(2, &[(0, 1)]);
    let init = |len: usize| {
        let header = Header {
            kind: Kind::Init,
            hop_limit: 1,
            label: crate::network::NetworkLabel::DEFAULT,
            receiver: SessionIndex(0),
            counter: 0,
        };
        let mut datagram = header.encode().to_vec();
        datagram.resize(len, 0);
        datagram
    };
    net.arrive(1, address(0), &init(MAX_HANDSHAKE + 1));
    net.arrive(1, address(0), &init(MAX_DATAGRAM + 1));
    assert_eq!(
        (net.dropped(1), net.events(1).len()),
        (vec![("malformed", 2)], 0)
    );
    net.arrive(1, address(0), &init(MAX_HANDSHAKE));
    assert_eq!(net.events(1).len(), 1);
}

/// Seals a Relay datagram from router 0 to its neighbour 1.
fn relay_from_0(net: &Net, hop_limit: u8, clear: &[u8]) -> Vec<u8> {
    let transport = net.nodes[0].snap.peers[&id(1)].transport.clone().unwrap();
    let mut datagram = Vec::new();
    transport
        .seal(Kind::Relay, hop_limit, clear, &[], net.now, &mut datagram)
        .unwrap();
    datagram
}

fn inner(kind: Kind, counter: u64, body: &[u8]) -> Vec<u8> {
    let header = Header {
        kind,
        hop_limit: 16,
        label: crate::network::NetworkLabel::DEFAULT,
        receiver: SessionIndex(77),
        counter,
    };
    [&header.encode()[..], body].concat()
}

#[test]
fn relays_carry_only_end_to_end_datagrams() {
    let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
    let whole = [&id(2).0[..], &inner(Kind::Data, 0, b"sealed")].concat();
    for cut in [0, 1, PEER_ID_LEN, PEER_ID_LEN + HEADER_LEN - 1] {
        let datagram = relay_from_0(&net, 16, &whole[..cut]);
        net.arrive(1, address(0), &datagram);
    }
    for kind in [Kind::Relay, Kind::Flood] {
        let datagram = relay_from_0(&net, 16, &[&id(2).0[..], &inner(kind, 0, b"")].concat());
        net.arrive(1, address(0), &datagram);
    }
    assert_eq!(net.dropped(1), [("malformed", 6)]);
    let datagram = relay_from_0(&net, 16, &whole);
    net.arrive(1, address(0), &datagram);
    assert_eq!(net.flying.len(), 1);
}

#[test]
fn relayed_handshakes_pass_once_each_and_name_the_neighbour() {
    let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
    let first = inner(Kind::Init, 0, b"ephemeral 1");
    let second = inner(Kind::Init, 0, b"ephemeral 2");
    for init in [&first, &first, &second] {
        let datagram = relay_from_0(&net, 16, &[&id(2).0[..], init].concat());
        net.arrive(1, address(0), &datagram);
    }
    net.run();
    let handshake = |bytes: Vec<u8>| LaneEvent::Handshake {
        via: Via::Relay(id(1)),
        bytes,
    };
    let events: Vec<_> = net
        .events(2)
        .into_iter()
        .filter(|e| matches!(e, LaneEvent::Handshake { .. }))
        .collect();
    assert_eq!(events, [handshake(first), handshake(second)]);
    assert_eq!(net.dropped(1), [("relay_duplicate", 1)]);
}

#[test]
fn a_relay_obeys_the_hop_limit() {
    let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
    for (counter, hop_limit) in [(0, 0), (1, 1), (2, 255)] {
        let clear = [&id(2).0[..], &inner(Kind::Data, counter, b"sealed")].concat();
        let datagram = relay_from_0(&net, hop_limit, &clear);
        net.arrive(1, address(0), &datagram);
    }
    let limits: Vec<u8> = net
        .flying
        .iter()
        .map(|(_, _, d)| Header::parse(d).unwrap().hop_limit)
        .collect();
    assert_eq!(limits, [0, MAX_HOPS - 1]);
    assert_eq!(net.dropped(1), [("hop_limit", 1)]);
}

#[test]
fn a_relay_without_a_next_hop_is_counted() {
    let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
    let to = |n: usize| [&id(n).0[..], &inner(Kind::Data, 5, b"sealed")].concat();
    let unknown = relay_from_0(&net, 16, &to(9));
    let back = relay_from_0(&net, 16, &to(0));
    net.nodes[1].snap.peers.get_mut(&id(2)).unwrap().transport = None;
    let no_session = relay_from_0(&net, 16, &to(2));
    for datagram in [unknown, back, no_session] {
        net.arrive(1, address(0), &datagram);
    }
    assert_eq!(
        net.dropped(1),
        [("no_route", 1), ("no_session", 1), ("relay_back", 1)]
    );
    assert!(net.flying.is_empty());
    assert!(net.events(1).contains(&LaneEvent::NeedSession(id(2))));
}

#[test]
fn an_envelope_that_leads_back_to_its_start_ends_there() {
    // 0 → 1 → 2 → 0: each of them has the next one as its next hop to 3.
    let mut net = Net::wire(4, &[(0, 1), (1, 2), (2, 0), (2, 3)]);
    for n in 0..3 {
        net.path(n, 3, Path::Via(id((n + 1) % 3)));
    }
    net.knows(0, 9, 3);
    net.send(0, &[frame(mac(0), mac(9), b"in circles")]);
    assert_eq!(net.log.len(), 3);
    assert_eq!(net.dropped(0), [("relay_duplicate", 1)]);
    assert_eq!(net.taken(3).len(), 0);
}

#[test]
fn two_routers_that_point_at_each_other_drop_at_once() {
    let mut net = Net::wire(4, &[(0, 1), (1, 2), (2, 3)]);
    net.path(2, 3, Path::Via(id(1)));
    net.knows(0, 9, 3);
    net.send(0, &[frame(mac(0), mac(9), b"ping-pong")]);
    assert_eq!(net.log.len(), 2);
    assert_eq!(net.dropped(2), [("relay_back", 1)]);
}

proptest! {
    /// With any routes, no router relays a datagram twice, and none is delivered twice (I4).
    #[test]
    fn any_routes_relay_at_most_once(
        routes in prop::collection::vec(0usize..6, 6),
        source in 0usize..5,
        frames in 1usize..4,
    ) {
        let edges: Vec<_> = (0..6).flat_map(|a| (a + 1..6).map(move |b| (a, b))).collect();
        let mut net = Net::wire(6, &edges);
        for n in (0..5).filter(|n| routes[*n] != *n && routes[*n] != 5) {
            net.path(n, 5, Path::Via(id(routes[n])));
        }
        net.knows(source, 9, 5);
        for _ in 0..frames {
            net.egress(source, &[frame(mac(0), mac(9), b"somewhere")]);
        }
        net.run();
        prop_assert!(net.taken(5).len() <= frames);
        for n in 0..6 {
            let passed = net.log.iter().filter(|(from, _, _)| *from == n).count();
            prop_assert!(passed <= frames, "router {} sent {} for {} frames", n, passed, frames);
        }
    }

    #[test]
    fn no_datagram_panics(mut datagram in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..9, index in 0u32..12) {
        let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
        if let Some(head) = datagram.get_mut(..8) {
            head[..4].copy_from_slice(&[0x10 | kind, 1, 0, 0]);
            head[4..].copy_from_slice(&index.to_be_bytes());
        }
        net.arrive(1, address(0), &datagram);
        prop_assert!(net.taken(1).is_empty() && net.flying.is_empty());
    }

    #[test]
    fn no_authentic_body_panics(body in prop::collection::vec(any::<u8>(), 0..200), kind in 4u8..8, hop_limit: u8) {
        let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
        let transport = net.nodes[0].snap.peers[&id(1)].transport.clone().unwrap();
        let kind = Kind::from_number(kind).unwrap();
        let (clear, sealed) = if kind == Kind::Relay { (&body[..], &[][..]) } else { (&[][..], &body[..]) };
        let mut datagram = Vec::new();
        transport.seal(kind, hop_limit, clear, sealed, net.now, &mut datagram).unwrap();
        net.arrive(1, address(0), &datagram);
        prop_assert!(net.nodes[1].forwarder.counters().dropped(DropReason::Forged) == 0);
    }

    #[test]
    fn no_frame_panics(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..10)) {
        let mut net = Net::wire(2, &[(0, 1)]);
        let n = u64::try_from(frames.len()).unwrap();
        net.send(0, &frames);
        let dropped: u64 = net.dropped(0).iter().map(|(_, n)| n).sum();
        let arrived = u64::try_from(net.taken(1).len()).unwrap();
        prop_assert_eq!(dropped + net.count(0, Counter::FramesLocal) + arrived, n);
    }
}
