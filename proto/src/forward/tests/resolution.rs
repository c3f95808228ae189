//! ARP requests and neighbour solicitations, directed to one container or flooded; and frames to unknown MACs.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::net::*;
use crate::arp_proxy::Binding;
use crate::checksum::checksum_of;
use crate::fdb::Owner;
use crate::forward::*;
use crate::frame::arp::{ArpPacket, Operation};
use crate::frame::ndp;
use crate::ids::Mac;
use crate::limits::{RESOLUTION_BURST, UNKNOWN_BURST, UNKNOWN_RATE};

/// Returns the addresses of container number `c`.
fn v4(c: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 2, 1, c)
}

fn v6(c: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, c.into())
}

/// Announces to router `n` that container `c` is behind `owner`.
fn announce(net: &Net, n: usize, c: u8, owner: usize) {
    let owner = if owner == n {
        Owner::Local
    } else {
        Owner::Peer(id(owner))
    };
    let claim = |ip: IpAddr| Binding {
        ip,
        mac: mac(c.into()),
        moves: 0,
    };
    let claims = vec![claim(v4(c).into()), claim(v6(c).into())];
    assert!(
        net.nodes[n]
            .forwarder
            .arp_proxy()
            .set(owner, claims, net.now)
    );
}

/// Two routers, with container 1 behind the first and container 2 behind the second; both know it.
fn pair() -> Net {
    let net = Net::wire(2, &[(0, 1)]);
    for n in 0..2 {
        announce(&net, n, 1, 0);
        announce(&net, n, 2, 1);
    }
    net
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

fn broadcast(packet: ArpPacket) -> Vec<u8> {
    packet.to_frame(Mac::BROADCAST).to_vec()
}

/// Solicitation by container 1, or with the unspecified source address.
pub(super) fn solicitation(source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let [.., x, y, z] = target.octets();
    let group = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(x),
        u16::from_be_bytes([y, z]),
    );
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&target.octets());
    if !source.is_unspecified() {
        message.extend_from_slice(&[1, 1]);
        message.extend_from_slice(&mac(1).0);
    }
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    let addresses = [source.octets(), group.octets()].concat();
    let sum = checksum_of(&[&addresses, &length, &[0, 58], &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    [
        &[0x33, 0x33, 0xff, x, y, z][..],
        &mac(1).0,
        &[0x86, 0xdd, 0x60, 0, 0, 0],
        &length,
        &[58, 255],
        &addresses,
        &message,
    ]
    .concat()
}

fn directed(net: &Net, n: usize) -> (u64, u64) {
    let count = |counter| net.count(n, counter);
    (count(Counter::ArpDirected), count(Counter::NdDirected))
}

/// Sends a frame from the first router's port, and asserts that it arrives unchanged.
fn assert_crosses(net: &mut Net, frame: &[u8]) {
    let before = directed(net, 0);
    net.send(0, &[frame.to_vec()]);
    assert_eq!(net.taken(1), [frame]);
    assert_eq!(net.taken(0), [[0u8; 0]; 0]);
    assert_eq!(directed(net, 0), before);
}

/// Returns `question` as it arrives when it is directed to the container at `mac(to)`.
fn to_one(to: u8, question: &[u8]) -> Vec<u8> {
    [&mac(to.into()).0, &question[6..]].concat()
}

/// Asserts that a request of container 1 for container 2 goes to router `n` only, with the announced MAC.
fn assert_directed(net: &mut Net, question: &[u8], n: usize) {
    let before = directed(net, 0);
    net.send(0, &[question.to_vec()]);
    for other in 0..net.nodes.len() {
        let wanted = Vec::from_iter((other == n).then(|| to_one(2, question)));
        assert_eq!(net.taken(other), wanted, "at {other}");
    }
    assert_ne!(directed(net, 0), before);
}

/// Sends a reply of container 2 to container 1, from behind router `n`.
fn answer(net: &mut Net, n: usize) {
    let reply = ArpPacket {
        operation: Operation::Reply,
        target_mac: mac(1),
        ..request(2, 1)
    };
    let reply = reply.to_frame(mac(1)).to_vec();
    net.send(n, std::slice::from_ref(&reply));
    assert_eq!(net.taken(0), [reply]);
}

#[test]
fn a_request_for_a_remote_container_goes_to_it_alone() {
    let mut net = Net::wire(3, &[(0, 1), (0, 2), (1, 2)]);
    announce(&net, 0, 2, 1);
    assert_directed(&mut net, &broadcast(request(1, 2)), 1);
    assert_eq!(directed(&net, 0), (1, 0));
    assert_directed(&mut net, &solicitation(v6(1), v6(2)), 1);
    assert_eq!(directed(&net, 0), (1, 1));
    assert_eq!(net.count(0, Counter::FramesFlooded), 0);
    assert!(net.dropped(0).is_empty());
}

#[test]
fn an_owner_is_asked_alone_as_long_as_it_answers() {
    let mut net = Net::wire(3, &[(0, 1), (0, 2), (1, 2)]);
    announce(&net, 0, 2, 1);
    let question = broadcast(request(1, 2));
    for _ in 0..3 {
        assert_directed(&mut net, &question, 1);
        answer(&mut net, 1);
        net.wait(1_000);
    }
    // Its address has moved, unannounced, to another MAC behind the third router.
    assert_directed(&mut net, &question, 1);
    net.wait(1_000);
    net.send(0, std::slice::from_ref(&question));
    assert_eq!((net.taken(1).len(), net.taken(2).len()), (1, 1));
    // Other containers' requests benefit from the failed try.
    let other = broadcast(request(7, 2));
    net.send(0, std::slice::from_ref(&other));
    assert_eq!(
        (net.taken(1), net.taken(2)),
        (vec![other.clone()], vec![other.clone()])
    );
    // It returns, and its reply shows so.
    answer(&mut net, 1);
    assert_directed(&mut net, &other, 1);
}

#[test]
fn an_unanswered_solicitation_is_flooded_until_an_advertisement() {
    let mut net = Net::wire(3, &[(0, 1), (0, 2), (1, 2)]);
    announce(&net, 0, 2, 1);
    let question = solicitation(v6(1), v6(2));
    assert_directed(&mut net, &question, 1);
    net.wait(1_000);
    net.send(0, std::slice::from_ref(&question));
    assert_eq!((net.taken(1).len(), net.taken(2).len()), (1, 1));
    let told = ndp::advertise(v6(2), mac(2), (v6(1), mac(1))).to_vec();
    net.send(1, std::slice::from_ref(&told));
    assert_eq!(net.taken(0), [told]);
    assert_directed(&mut net, &question, 1);
}

#[test]
fn address_probes_are_flooded() {
    let mut net = pair();
    let probe = ArpPacket {
        sender_ip: Ipv4Addr::UNSPECIFIED,
        ..request(1, 2)
    };
    assert_crosses(&mut net, &broadcast(probe));
    assert_crosses(&mut net, &solicitation(Ipv6Addr::UNSPECIFIED, v6(2)));
}

#[test]
fn gratuitous_arp_and_other_arp_is_flooded() {
    let mut net = pair();
    assert_crosses(&mut net, &broadcast(ArpPacket::announcement(mac(1), v4(1))));
    let reply = ArpPacket {
        operation: Operation::Reply,
        ..request(1, 2)
    };
    assert_crosses(&mut net, &broadcast(reply));
    assert_crosses(&mut net, &frame(mac(1), Mac::BROADCAST, b"something else"));
}

#[test]
fn requests_for_unannounced_and_local_addresses_are_flooded() {
    let mut net = pair();
    announce(&net, 0, 1, 0);
    assert_crosses(&mut net, &broadcast(request(1, 9)));
    assert_crosses(&mut net, &broadcast(request(7, 1)));
    assert_crosses(&mut net, &solicitation(v6(1), v6(9)));
    let link_local = "fe80::2".parse().unwrap();
    assert_crosses(&mut net, &solicitation(v6(1), link_local));
}

#[test]
fn tagged_questions_are_left_alone() {
    let mut net = pair();
    let mut tagged = broadcast(request(1, 2));
    tagged.splice(12..12, [0x81, 0, 0, 9]);
    assert_crosses(&mut net, &tagged);
}

#[test]
fn a_request_in_the_name_of_another_is_not_answered() {
    let mut net = pair();
    let mut forged = broadcast(request(1, 2));
    forged[6..12].copy_from_slice(&mac(8).0);
    assert_crosses(&mut net, &forged);
}

#[test]
fn a_unicast_request_goes_to_its_destination() {
    let mut net = pair();
    let probe = request(1, 2).to_frame(mac(2)).to_vec();
    net.send(0, std::slice::from_ref(&probe));
    assert_eq!(net.taken(1), [probe]);
    assert_eq!(directed(&net, 0), (0, 0));
    assert_eq!(net.count(0, Counter::FramesLocated), 1);
}

#[test]
fn requests_follow_a_move_and_are_not_directed_to_a_router_that_is_gone() {
    let mut net = Net::wire(3, &[(0, 1), (0, 2)]);
    announce(&net, 0, 2, 1);
    let question = broadcast(request(1, 2));
    assert_directed(&mut net, &question, 1);
    let node = &net.nodes[0].forwarder;
    node.arp_proxy()
        .set(Owner::Peer(id(1)), Vec::new(), net.now);
    node.fdb().forget_owner(Owner::Peer(id(1)));
    net.send(0, std::slice::from_ref(&question));
    assert_eq!((net.taken(1).len(), net.taken(2).len()), (1, 1));
    announce(&net, 0, 2, 2);
    assert_directed(&mut net, &question, 2);
}

#[test]
fn learnt_addresses_take_precedence_over_announced_ones() {
    let mut net = Net::wire(3, &[(0, 1), (0, 2)]);
    announce(&net, 0, 2, 1);
    net.knows(0, 2, 2);
    net.send(0, &[broadcast(request(1, 2))]);
    assert_eq!((net.taken(1).len(), net.taken(2).len()), (1, 1));
}

#[test]
fn requests_for_a_contested_address_are_flooded_until_its_owner_is_heard() {
    let mut net = Net::wire(3, &[(0, 1), (0, 2), (1, 2)]);
    announce(&net, 0, 2, 1);
    let question = broadcast(request(1, 2));
    let taken = broadcast(ArpPacket::announcement(mac(77), v4(2)));
    net.send(2, std::slice::from_ref(&taken));
    assert_eq!(net.taken(0), [taken.as_slice()]);
    let _ = net.taken(1);
    net.send(0, std::slice::from_ref(&question));
    assert_eq!((net.taken(1).len(), net.taken(2).len()), (1, 1));
    // A reply to any container serves like a gratuitous ARP.
    answer(&mut net, 1);
    assert_directed(&mut net, &question, 1);
    answer(&mut net, 1);
    let reply = ArpPacket {
        operation: Operation::Reply,
        sender_mac: mac(77),
        ..request(2, 1)
    };
    net.send(2, &[reply.to_frame(mac(1)).to_vec()]);
    assert_eq!(net.taken(0).len(), 1);
    net.send(0, std::slice::from_ref(&question));
    assert_eq!((net.taken(1).len(), net.taken(2).len()), (1, 1));
}

#[test]
fn requests_for_a_container_with_a_changed_mac_are_flooded() {
    let mut net = pair();
    // Container 2 sends a request with another MAC than its record has: it is flooded, so all routers learn of the
    // conflict.
    let odd = ArpPacket {
        sender_mac: mac(77),
        ..request(2, 1)
    };
    net.send(1, &[broadcast(odd)]);
    assert_eq!(net.taken(0), [broadcast(odd)]);
    assert_crosses(&mut net, &broadcast(request(1, 2)));
}

#[test]
fn directed_requests_are_rate_limited() {
    let mut net = pair();
    for _ in 0..RESOLUTION_BURST + 5 {
        net.egress(0, &[broadcast(request(1, 2))]);
    }
    assert_eq!(directed(&net, 0), (RESOLUTION_BURST, 0));
    assert_eq!(net.dropped(0), [("question_limited", 5)]);
}

#[test]
fn unknown_destinations_have_a_limit_of_their_own() {
    let mut net = Net::wire(2, &[(0, 1)]);
    let unknown = frame(mac(1), mac(200), b"unknown");
    for _ in 0..UNKNOWN_BURST + 3 {
        net.send(0, std::slice::from_ref(&unknown));
    }
    let passed = usize::try_from(UNKNOWN_BURST).unwrap();
    assert_eq!(net.taken(1).len(), passed);
    assert_eq!(net.dropped(0), [("unknown_limited", 3)]);
    // Neither groups nor known destinations are affected.
    net.knows(0, 3, 1);
    net.send(
        0,
        &[
            frame(mac(1), Mac::BROADCAST, b"all"),
            frame(mac(1), mac(3), b"one"),
        ],
    );
    assert_eq!(net.taken(1).len(), 2);
    net.wait(100);
    for _ in 0..UNKNOWN_RATE {
        net.send(0, std::slice::from_ref(&unknown));
    }
    assert_eq!(
        net.taken(1).len(),
        usize::try_from(UNKNOWN_RATE / 10).unwrap()
    );
}
