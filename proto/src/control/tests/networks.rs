//! Networks besides `default`: what each router's lanes are handed of them, and what they never are.

use super::*;
use crate::arp_proxy::Location;
use crate::crypto::network_key::NetworkKey;
use crate::fdb::Owner;
use crate::forward::{BroadcastDomain, NetworkKeys, PeerLabel};
use crate::ids::Mac;
use crate::network::NetworkLabel;

const MAC: Mac = Mac([0x02, 0x6d, 10, 2, 1, 1]);
const ADDRESS: &str = "10.2.1.1";

fn id(k: u8) -> NetworkId {
    NetworkId([k; 16])
}

/// The same addresses in each network.
fn web(k: u8) -> Attached {
    Attached {
        network: id(k),
        mac: MAC,
        addr: "10.2.1.1/24".parse().unwrap(),
        container: format!("web{k}"),
        moves: 0,
    }
}

/// Labels that mean another network at each router.
fn label(n: usize, k: u8) -> NetworkLabel {
    NetworkLabel(1 + (u16::try_from(n).unwrap() + u16::from(k)) % 3)
}

/// Membership of router `n` in network `k`, which has these members.
fn membership(net: &Net, n: usize, (k, members): (u8, &[usize])) -> JoinedNetwork {
    let others = members.iter().filter(|member| **member != n);
    let peer = |member: &usize| {
        let label = PeerLabel {
            label: label(*member, k),
            epoch: net.nodes[*member].control.parts.config.epoch,
        };
        (net.nodes[*member].control.me(), label)
    };
    JoinedNetwork {
        network: id(k),
        label: label(n, k),
        peers: others.map(peer).collect(),
        keys: NetworkKeys::new(vec![Arc::new(NetworkKey::new([k; 32]))]),
    }
}

/// Tells each router the members of all networks.
fn set_members(net: &mut Net, networks: &[(u8, &[usize])]) {
    for n in 0..net.nodes.len() {
        let mine = networks.iter().filter(|(_, members)| members.contains(&n));
        let mine: Vec<_> = mine.map(|network| membership(net, n, *network)).collect();
        let now = net.now;
        net.nodes[n].control.set_networks(mine, now);
    }
}

fn attach(net: &mut Net, n: usize, attached: &[Attached]) {
    let now = net.now;
    net.nodes[n].control.set_attached(attached, now);
    net.run(2 * SECOND);
}

fn domain(net: &Net, n: usize, k: u8) -> Arc<BroadcastDomain> {
    let networks = &net.nodes[n].snapshot.networks;
    networks.get(id(k)).unwrap().domain.clone()
}

fn place(net: &Net, n: usize, k: u8) -> Option<Location> {
    let address = ADDRESS.parse().unwrap();
    match k {
        0 => net.nodes[n].forwarder.arp_proxy().locate(address, net.now),
        _ => domain(net, n, k).arp_proxy().locate(address, net.now),
    }
}

fn behind(net: &Net, n: usize) -> Option<Location> {
    let owner = Owner::Peer(net.nodes[n].control.me());
    Some(Location { owner, mac: MAC })
}

/// What router `n` announces: networks, and moves of the containers there.
fn announced(net: &Net, n: usize) -> Vec<(NetworkId, u32)> {
    let me = net.nodes[n].control.me();
    let attached = net.nodes[n].control.parts.gossip.lsdb().attached(&me);
    attached.iter().map(|a| (a.network, a.moves)).collect()
}

fn warnings(net: &Net, n: usize) -> Vec<String> {
    net.nodes[n].control.report(net.now).warnings
}

/// Three routers in a row: those at the ends have no link, and no session unless a frame asks for one.
fn chain() -> Net {
    let mut net = Net::new([1, 2, 3].map(without_discovery).into());
    net.connect(0, 1);
    net.connect(1, 2);
    net.run(4 * SECOND);
    net
}

#[test]
fn equal_addresses_in_several_networks_are_each_known_in_their_own() {
    let mut net = chain();
    set_members(&mut net, &[(1, &[0, 1, 2]), (2, &[0, 2])]);
    attach(&mut net, 0, &[web(1)]);
    attach(&mut net, 1, &[web(0)]);
    attach(&mut net, 2, &[web(2)]);
    assert_eq!(place(&net, 1, 1), behind(&net, 0));
    assert_eq!(place(&net, 2, 1), behind(&net, 0));
    assert_eq!(place(&net, 0, 2), behind(&net, 2));
    for n in [0, 2] {
        assert_eq!(place(&net, n, 0), behind(&net, 1));
    }
    assert_eq!(place(&net, 0, 1).map(|p| p.owner), Some(Owner::Local));
    net.run(2 * limits::MOVE_SETTLES);
    for n in 0..3 {
        assert_eq!(announced(&net, n).len(), 1);
        assert!(announced(&net, n).iter().all(|(_, moves)| *moves == 0));
        let warnings = warnings(&net, n);
        assert!(
            !warnings.iter().any(|w| w.contains(ADDRESS)),
            "{warnings:?}"
        );
    }
    attach(&mut net, 0, &[]);
    assert_eq!((place(&net, 1, 1), place(&net, 2, 1)), (None, None));
    assert_eq!(place(&net, 0, 2), behind(&net, 2));
}

#[test]
fn who_joins_knows_at_once_what_is_announced_and_who_leaves_keeps_nothing() {
    let mut net = chain();
    set_members(&mut net, &[(1, &[0, 2])]);
    attach(&mut net, 0, &[web(1)]);
    assert_eq!(place(&net, 2, 1), behind(&net, 0));
    let now = net.now;
    assert!(net.nodes[1].snapshot.networks.get(id(1)).is_none());
    let mine = membership(&net, 1, (1, &[0, 1, 2]));
    net.nodes[1].control.set_networks(vec![mine], now);
    let joined = net.nodes[1]
        .forwarder
        .join(id(1), &mut SeededEntropy::new(1))
        .unwrap();
    assert!(
        joined
            .arp_proxy()
            .locate(ADDRESS.parse().unwrap(), now)
            .is_some()
    );
    net.run(SECOND);
    assert!(Arc::ptr_eq(&joined, &domain(&net, 1, 1)));
    let now = net.now;
    net.nodes[1].control.set_networks(Vec::new(), now);
    net.run(SECOND);
    assert!(net.nodes[1].snapshot.networks.get(id(1)).is_none());
    assert_eq!(Arc::strong_count(&joined), 1, "nobody has its tables");
    // A container of a network of which the router is no member is not announced until it is.
    attach(&mut net, 1, &[web(1), web(0)]);
    assert_eq!(announced(&net, 1), [(id(0), 0)]);
    set_members(&mut net, &[(1, &[1, 2])]);
    net.run(2 * SECOND);
    assert_eq!(announced(&net, 1), [(id(0), 0), (id(1), 0)]);
    assert_eq!(announced(&net, 0), [], "it is no member any more");
    assert_eq!(place(&net, 2, 1), behind(&net, 1));
}

#[test]
fn a_router_that_is_no_member_any_more_or_out_of_reach_has_nothing_behind_it() {
    let mut net = chain();
    let all: [(u8, &[usize]); 2] = [(1, &[0, 1, 2]), (2, &[0, 1])];
    set_members(&mut net, &all);
    attach(&mut net, 0, &[web(0), web(1), web(2)]);
    let owner = Owner::Peer(net.nodes[0].control.me());
    let learn = |net: &Net, k| domain(net, 1, k).fdb().learn(MAC, owner, net.now);
    let known = |net: &Net, k| {
        let learnt = domain(net, 1, k).fdb().lookup(MAC, net.now);
        (place(net, 1, k).is_some(), learnt.is_some())
    };
    learn(&net, 1);
    learn(&net, 2);
    // Router 1 hears that router 0 has left network 1.
    let now = net.now;
    let mine = [(1, &[1, 2][..]), (2, &[0, 1])].map(|network| membership(&net, 1, network));
    net.nodes[1].control.set_networks(mine.into(), now);
    net.run(SECOND);
    assert_eq!(
        (known(&net, 1), known(&net, 2)),
        ((false, false), (true, true))
    );
    set_members(&mut net, &all);
    net.run(SECOND);
    learn(&net, 1);
    assert_eq!(known(&net, 1), (true, true));
    net.no_udp.push((0, 1));
    net.run(10 * SECOND);
    for k in [1, 2] {
        assert_eq!(known(&net, k), (false, false), "network {k}");
    }
    net.no_udp.clear();
    net.run(15 * SECOND);
    assert_eq!(place(&net, 1, 1), behind(&net, 0));
    assert_eq!(place(&net, 1, 2), behind(&net, 0));
}

#[test]
fn moves_and_flapping_are_those_of_one_network() {
    let mut net = linked_pair();
    set_members(&mut net, &[(1, &[0, 1]), (2, &[0, 1])]);
    attach(&mut net, 0, &[web(1)]);
    attach(&mut net, 1, &[web(2)]);
    assert_eq!(
        announced(&net, 1),
        [(id(2), 0)],
        "another network's MAC moves nowhere"
    );
    attach(&mut net, 1, &[web(1), web(2)]);
    assert_eq!(announced(&net, 1), [(id(1), 1), (id(2), 0)]);
    assert_eq!(place(&net, 0, 1), behind(&net, 1));
    for n in 0..7 {
        attach(&mut net, (n + 1) % 2, &[]);
        attach(&mut net, n % 2, &[web(1)]);
    }
    let words = format!("MAC {MAC} in network {} flaps between ", id(1));
    let flaps = |w: &String| w.contains(" flaps between ");
    let said: Vec<String> = warnings(&net, 0).into_iter().filter(flaps).collect();
    assert!(
        matches!(&said[..], [one] if one.starts_with(&words)),
        "{said:?}"
    );
    assert!(
        net.nodes[0]
            .notes
            .iter()
            .any(|note| note.starts_with(&words))
    );
}

#[test]
fn what_the_mac_table_of_a_network_sees_at_two_places_is_named() {
    let mut net = linked_pair();
    set_members(&mut net, &[(1, &[0, 1])]);
    net.run(SECOND);
    let other = Owner::Peer(net.nodes[1].control.me());
    for n in 0u32..12 {
        let owner = [Owner::Local, other][usize::from(!n.is_multiple_of(2))];
        let now = net.now + n * limits::FDB_LATE;
        net.nodes[0].forwarder.learn(id(1), MAC, owner, now);
    }
    net.run(3 * SECOND);
    let words = format!("MAC {MAC} in network {} flaps between ", id(1));
    assert!(warnings(&net, 0).iter().any(|w| w.starts_with(&words)));
}

#[test]
fn an_address_is_contested_within_one_network_only() {
    let mut net = linked_pair();
    set_members(&mut net, &[(1, &[0, 1]), (2, &[0, 1])]);
    let rival = Attached {
        mac: Mac([0x02, 0x6d, 6, 6, 6, 6]),
        ..web(1)
    };
    attach(&mut net, 0, &[web(0), web(1), web(2)]);
    attach(&mut net, 1, &[rival]);
    net.run(limits::MOVE_SETTLES);
    let contested = |w: &String| w.contains(" is announced by ");
    for n in 0..2 {
        let said: Vec<String> = warnings(&net, n).into_iter().filter(contested).collect();
        let first = format!("{ADDRESS} in network {} is announced by ", id(1));
        assert!(
            matches!(&said[..], [one] if one.starts_with(&first)),
            "{said:?}"
        );
    }
    assert_eq!(
        (place(&net, 1, 1), place(&net, 1, 2)),
        (None, behind(&net, 0))
    );
    let right = net.nodes[0].control.me();
    let rightful = |network: NetworkId, _| (network == id(1)).then_some(right);
    for node in &mut net.nodes {
        node.control.settle_contests(&rightful, net.now);
    }
    assert_eq!(place(&net, 1, 1), behind(&net, 0));
}

/// A frame to the container `web`.
fn frame_to_web(text: &[u8]) -> Vec<u8> {
    frame(MAC.0, 9, text)
}

#[test]
fn a_frame_of_another_network_waits_for_its_session_and_arrives_in_its_network() {
    let mut net = chain();
    set_members(&mut net, &[(1, &[0, 2]), (2, &[0, 1, 2])]);
    attach(&mut net, 2, &[web(1)]);
    let session = net.nodes[2].control.me();
    let has_session = |net: &Net| {
        let peer = net.nodes[0].snapshot.peers.get(&session);
        peer.is_some_and(|peer| peer.transport.is_some())
    };
    assert!(!has_session(&net), "nobody asked for one");
    net.send_frame_in(0, id(1), &frame_to_web(b"waits"));
    net.run(SECOND);
    assert!(has_session(&net));
    let arrived = [(id(1), frame_to_web(b"waits"))];
    assert_eq!(net.nodes[2].elsewhere, arrived);
    let all = frame([0xff; 6], 9, b"to all");
    net.send_frame_in(0, id(2), &all);
    net.run(SECOND);
    assert_eq!(net.nodes[1].elsewhere, [(id(2), all.clone())]);
    assert_eq!(net.nodes[2].elsewhere[1..], [(id(2), all)]);
    assert!(net.nodes.iter().all(|node| node.injected.is_empty()));
}

#[test]
fn a_label_of_an_earlier_run_is_not_used() {
    let mut net = linked_pair();
    set_members(&mut net, &[(1, &[0, 1])]);
    attach(&mut net, 1, &[web(1)]);
    let now = net.now;
    let mut outdated = membership(&net, 0, (1, &[0, 1]));
    outdated.peers.values_mut().for_each(|peer| peer.epoch -= 1);
    net.nodes[0].control.set_networks(vec![outdated], now);
    net.run(SECOND / 10);
    net.send_frame_in(0, id(1), &frame_to_web(b"waits"));
    net.run(SECOND / 10);
    assert_eq!(net.nodes[1].elsewhere, []);
    let mine = membership(&net, 0, (1, &[0, 1]));
    let now = net.now;
    net.nodes[0].control.set_networks(vec![mine], now);
    net.run(SECOND);
    assert_eq!(net.nodes[1].elsewhere, [(id(1), frame_to_web(b"waits"))]);
}

#[test]
fn memberships_that_cannot_be_published_are_left_out_and_named() {
    let mut net = linked_pair();
    let now = net.now;
    let one = |k: u8, label: u16| JoinedNetwork {
        label: NetworkLabel(label),
        ..membership(&net, 0, (k, &[0]))
    };
    let mut wanted = vec![one(1, 7), one(2, 7), one(1, 8), one(0, 9), one(3, 0)];
    wanted.extend((4..=u8::MAX).map(|k| one(k, u16::from(k) + 100)));
    net.nodes[0].control.set_networks(wanted.clone(), now);
    net.nodes[0].control.set_networks(wanted, now);
    net.run(SECOND);
    let networks = net.nodes[0].snapshot.networks.clone();
    assert_eq!(networks.iter().count(), limits::MAX_NETWORKS_HERE);
    assert!(
        networks
            .get(id(1))
            .is_some_and(|n| n.label == NetworkLabel(7))
    );
    assert!([0, 2, 3].iter().all(|k| networks.get(id(*k)).is_none()));
    let refused = |note: &&String| note.starts_with("a network cannot be joined: ");
    let refused = net.nodes[0].notes.iter().filter(refused).count();
    assert_eq!(refused, 5, "each reason once");
    let now = net.now;
    let others = vec![membership(&net, 0, (200, &[0]))];
    net.nodes[0].control.set_networks(others, now);
    net.run(SECOND);
    assert_eq!(net.nodes[0].snapshot.networks.iter().count(), 1);
}
