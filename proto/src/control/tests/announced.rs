//! What a router's containers are reaches the lanes of all others, and goes when it or the router does.

use super::*;
use crate::announced::Place;
use crate::fdb::Owner;
use crate::ids::Mac;

const MAC: Mac = Mac([0x02, 0x6d, 10, 2, 1, 1]);

fn web() -> Attached {
    Attached {
        mac: MAC,
        addr: "10.2.1.1/24".parse().unwrap(),
        container: "web".into(),
    }
}

fn attach(net: &mut Net, n: usize, attached: &[Attached]) {
    let now = net.now;
    net.nodes[n].control.set_attached(attached, now);
    net.run(2 * SECOND);
}

fn place(net: &Net, n: usize) -> Option<Place> {
    let announced = net.nodes[n].forwarder.announced();
    announced.place("10.2.1.1".parse().unwrap(), net.now)
}

fn behind(net: &Net, n: usize) -> Option<Place> {
    let owner = Owner::Peer(net.nodes[n].control.me());
    Some(Place { owner, mac: MAC })
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
