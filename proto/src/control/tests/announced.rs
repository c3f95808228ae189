//! What a router's containers are reaches the lanes of all others, and goes when it or the router does.

use super::*;
use crate::arp_proxy::Location;
use crate::fdb::Owner;
use crate::ids::Mac;

const MAC: Mac = Mac([0x02, 0x6d, 10, 2, 1, 1]);

fn web() -> Attached {
    Attached {
        network: NetworkId::DEFAULT,
        mac: MAC,
        addr: "10.2.1.1/24".parse().unwrap(),
        container: "web".into(),
        moves: 0,
    }
}

fn attach(net: &mut Net, n: usize, attached: &[Attached]) {
    let now = net.now;
    net.nodes[n].control.set_attached(attached, now);
    net.run(2 * SECOND);
}

fn place(net: &Net, n: usize) -> Option<Location> {
    let announced = net.nodes[n].forwarder.arp_proxy();
    announced.locate("10.2.1.1".parse().unwrap(), net.now)
}

fn behind(net: &Net, n: usize) -> Option<Location> {
    let owner = Owner::Peer(net.nodes[n].control.me());
    Some(Location { owner, mac: MAC })
}

#[test]
fn lanes_know_where_containers_are_until_they_are_taken_off() {
    let mut net = linked_pair();
    attach(&mut net, 0, &[web()]);
    assert_eq!(place(&net, 1), behind(&net, 0));
    let here = Owner::Local;
    assert_eq!(place(&net, 0).map(|p| p.owner), Some(here));
    attach(&mut net, 0, &[]);
    assert_eq!((place(&net, 0), place(&net, 1)), (None, None));
}

#[test]
fn a_router_out_of_reach_announces_nothing_until_it_is_back() {
    let mut net = linked_pair();
    attach(&mut net, 0, &[web()]);
    net.no_udp.push((0, 1));
    net.run(10 * SECOND);
    assert_eq!(place(&net, 1), None);
    assert!(place(&net, 0).is_some());
    net.no_udp.clear();
    net.run(15 * SECOND);
    assert_eq!(place(&net, 1), behind(&net, 0));
}

fn moves(net: &Net, n: usize) -> Option<u32> {
    let me = net.nodes[n].control.me();
    let attached = net.nodes[1 - n].control.parts.gossip.lsdb().attached(&me);
    attached.first().map(|a| a.moves)
}

#[test]
fn a_container_that_moved_is_known_at_its_new_place_even_while_the_old_one_still_claims_it() {
    let mut net = linked_pair();
    attach(&mut net, 0, &[web()]);
    assert_eq!(moves(&net, 0), Some(0));
    attach(&mut net, 1, &[web()]);
    assert_eq!(moves(&net, 1), Some(1));
    assert_eq!(place(&net, 0), behind(&net, 1));
    assert_eq!(place(&net, 1).map(|p| p.owner), Some(Owner::Local));
    attach(&mut net, 0, &[]);
    attach(&mut net, 1, &[]);
    attach(&mut net, 0, &[web()]);
    assert_eq!(moves(&net, 0), Some(2));
    assert_eq!(place(&net, 1), behind(&net, 0));
}

/// Another container with the address of [`web`].
fn rival() -> Attached {
    Attached {
        mac: Mac([0x02, 0x6d, 6, 6, 6, 6]),
        container: "rival".into(),
        ..web()
    }
}

#[test]
fn an_address_that_two_routers_announce_is_nobodys_and_both_are_named() {
    let mut net = linked_pair();
    attach(&mut net, 0, &[web()]);
    // However often it says that it moved.
    let taken = Attached {
        moves: u32::MAX,
        ..rival()
    };
    attach(&mut net, 1, &[taken]);
    let places = |net: &Net| (place(net, 0), place(net, 1));
    assert_eq!(places(&net), (None, None));
    net.run(limits::MOVE_SETTLES);
    let first = "10.2.1.1 is announced by ";
    for n in 0..2 {
        let warnings = net.nodes[n].control.report(net.now).warnings;
        let said = warnings.iter().find(|w| w.starts_with(first));
        let said = said.unwrap_or_else(|| panic!("{warnings:?}"));
        let names = said.contains("(host1) (MAC") && said.contains("(host2) (MAC");
        assert!(names && said.contains("nobody is believed"), "{said}");
        let notes = net.nodes[n].notes.iter();
        assert_eq!(notes.filter(|note| note.contains(first)).count(), 1);
    }
    attach(&mut net, 1, &[]);
    assert_eq!(place(&net, 1), behind(&net, 0));
    let warnings = net.nodes[1].control.report(net.now).warnings;
    assert!(!warnings.iter().any(|w| w.starts_with(first)));
}

#[test]
fn the_rightful_owner_of_a_contested_address_is_believed() {
    let mut net = linked_pair();
    attach(&mut net, 0, &[web()]);
    attach(&mut net, 1, &[rival()]);
    let right = net.nodes[0].control.me();
    net.run(limits::CONTEST_CHECK_INTERVAL);
    for node in &mut net.nodes {
        node.control.settle_contests(&|_, _| Some(right), net.now);
    }
    assert_eq!(place(&net, 1), behind(&net, 0));
    net.run(limits::MOVE_SETTLES);
    let warnings = net.nodes[1].control.report(net.now).warnings;
    let believed = |w: &String| w.contains("believed is ") && w.contains("(host1), which owns");
    assert!(warnings.iter().any(believed), "{warnings:?}");
}

#[test]
fn a_mac_that_two_routers_go_on_announcing_has_no_owner() {
    let mut net = linked_pair();
    attach(&mut net, 0, &[web()]);
    attach(&mut net, 1, &[web()]);
    assert_eq!(place(&net, 0), behind(&net, 1));
    net.run(limits::MOVE_SETTLES);
    assert_eq!((place(&net, 0), place(&net, 1)), (None, None));
}

#[test]
fn a_container_that_moves_to_and_fro_is_not_answered_for_and_named() {
    let mut net = linked_pair();
    for n in 0..7 {
        attach(&mut net, (n + 1) % 2, &[]);
        attach(&mut net, n % 2, &[web()]);
        let flaps = n > 5;
        assert_eq!(place(&net, 1).is_none(), flaps, "move {n}");
        let said = net.nodes[1].notes.iter().any(|note| note.contains("flaps"));
        assert_eq!(said, flaps, "move {n}");
    }
    let warnings = |net: &Net| net.nodes[1].control.report(net.now).warnings;
    let words = format!("MAC {MAC} flaps between ");
    assert!(warnings(&net).iter().any(|w| w.starts_with(&words)));
    net.run(limits::FLAP_SHOWN);
    assert!(!warnings(&net).iter().any(|w| w.starts_with(&words)));
}

#[test]
fn what_the_mac_table_sees_at_two_places_is_named() {
    let mut net = linked_pair();
    let other = Owner::Peer(net.nodes[1].control.me());
    for n in 0u32..12 {
        let owner = if n.is_multiple_of(2) {
            Owner::Local
        } else {
            other
        };
        let now = net.now + n * limits::FDB_LATE;
        let node = &net.nodes[0].forwarder;
        node.learn(NetworkId::DEFAULT, MAC, owner, now);
    }
    net.run(3 * SECOND);
    let warnings = net.nodes[0].control.report(net.now).warnings;
    let words = format!("MAC {MAC} flaps between ");
    let said = warnings.iter().find(|w| w.starts_with(&words));
    let said = said.unwrap_or_else(|| panic!("{warnings:?}"));
    assert!(
        said.contains("(host1)") && said.contains("(host2)"),
        "{said}"
    );
}
