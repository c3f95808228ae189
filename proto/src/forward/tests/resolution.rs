//! Questions for addresses: which are answered here, which go to everybody as before; and frames to unknown MACs.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::net::*;
use crate::announced::Claim;
use crate::fdb::Owner;
use crate::forward::*;
use crate::frame::arp::{ArpPacket, Operation};
use crate::frame::ethernet::EthernetView;
use crate::frame::ndp::{self, NdpMessage};
use crate::ids::Mac;
use crate::limits::{ANSWER_BURST, CONTRADICTED_FOR, UNKNOWN_BURST, UNKNOWN_RATE};
use crate::offload::checksum_of;

/// The addresses of container number `c`.
fn v4(c: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 2, 1, c)
}

fn v6(c: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, c.into())
}

/// Router `n` is told that container `c` is behind `owner`.
fn announce(net: &Net, n: usize, c: u8, owner: usize) {
    let owner = if owner == n {
        Owner::Local
    } else {
        Owner::Peer(id(owner))
    };
    let claim = |ip: IpAddr| Claim {
        ip,
        mac: mac(c.into()),
        moves: 0,
    };
    let claims = vec![claim(v4(c).into()), claim(v6(c).into())];
    assert!(net.nodes[n].forwarder.announced().set(owner, claims));
}

/// Two routers; container 1 is behind the first, 2 behind the second, and both know it.
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

/// A solicitation of container 1, or of nobody.
fn solicitation(source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
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

fn answered(net: &Net, n: usize) -> (u64, u64) {
    let count = |counter| net.count(n, counter);
    (count(Counter::ArpAnswered), count(Counter::NdAnswered))
}

/// Sends a frame from the first router's port, and asserts that it went to the other as before.
fn assert_crosses(net: &mut Net, frame: &[u8]) {
    let before = answered(net, 0);
    net.send(0, &[frame.to_vec()]);
    assert_eq!(net.taken(1), [frame]);
    assert_eq!(net.taken(0), [[0u8; 0]; 0]);
    assert_eq!(answered(net, 0), before);
}

#[test]
fn a_request_for_a_container_elsewhere_is_answered_here_and_goes_nowhere() {
    let mut net = pair();
    net.send(0, &[broadcast(request(1, 2))]);
    let reply = ArpPacket {
        operation: Operation::Reply,
        sender_mac: mac(2),
        sender_ip: v4(2),
        target_mac: mac(1),
        target_ip: v4(1),
    };
    assert_eq!(net.taken(0), [reply.to_frame(mac(1))]);
    assert!(net.log.is_empty(), "nothing was sent");
    assert_eq!(answered(&net, 0), (1, 0));
    // As the answer itself would have taught.
    let known = net.nodes[0].forwarder.fdb().lookup(mac(2), net.now);
    assert_eq!(known, Some(Owner::Peer(id(1))));
    assert!(net.dropped(0).is_empty());
}

#[test]
fn a_solicitation_is_answered_here_too() {
    let mut net = pair();
    net.send(0, &[solicitation(v6(1), v6(2))]);
    let answer = ndp::advertise(v6(2), mac(2), (v6(1), mac(1)));
    assert_eq!(net.taken(0), [answer]);
    assert!(net.log.is_empty());
    assert_eq!(answered(&net, 0), (0, 1));
    let view = EthernetView::new_checked(&answer).unwrap();
    assert!(NdpMessage::from_frame(&view).is_some());
}

#[test]
fn who_looks_whether_an_address_is_free_asks_everybody() {
    let mut net = pair();
    let probe = ArpPacket {
        sender_ip: Ipv4Addr::UNSPECIFIED,
        ..request(1, 2)
    };
    assert_crosses(&mut net, &broadcast(probe));
    assert_crosses(&mut net, &solicitation(Ipv6Addr::UNSPECIFIED, v6(2)));
}

#[test]
fn announcements_and_what_is_no_question_cross() {
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
fn what_nobody_announces_and_what_is_behind_the_same_port_is_asked_of_everybody() {
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
fn a_unicast_request_goes_to_whom_it_is_for() {
    let mut net = pair();
    let probe = request(1, 2).to_frame(mac(2)).to_vec();
    net.send(0, std::slice::from_ref(&probe));
    assert_eq!(net.taken(1), [probe]);
    assert_eq!(answered(&net, 0), (0, 0));
    assert_eq!(net.count(0, Counter::FramesLocated), 1);
}

#[test]
fn a_router_that_is_gone_is_not_answered_for_and_a_move_is_answered_anew() {
    let mut net = Net::wire(3, &[(0, 1), (0, 2)]);
    announce(&net, 0, 2, 1);
    net.send(0, &[broadcast(request(1, 2))]);
    assert_eq!(net.taken(0).len(), 1);
    let node = &net.nodes[0].forwarder;
    node.announced().set(Owner::Peer(id(1)), Vec::new());
    node.fdb().forget_owner(Owner::Peer(id(1)));
    net.send(0, &[broadcast(request(1, 2))]);
    assert_eq!(net.taken(0).len(), 0);
    assert_eq!((net.taken(1).len(), net.taken(2).len()), (1, 1));
    announce(&net, 0, 2, 2);
    net.send(0, &[broadcast(request(1, 2))]);
    assert_eq!(net.taken(0).len(), 1);
    let known = net.nodes[0].forwarder.fdb().lookup(mac(2), net.now);
    assert_eq!(known, Some(Owner::Peer(id(2))));
}

#[test]
fn what_frames_show_is_believed_before_what_records_say() {
    let mut net = Net::wire(3, &[(0, 1), (0, 2)]);
    announce(&net, 0, 2, 1);
    net.knows(0, 2, 2);
    net.send(0, &[broadcast(request(1, 2))]);
    assert_eq!((net.taken(0).len(), net.taken(2).len()), (0, 1));
}

#[test]
fn a_container_that_changed_its_mac_answers_for_itself() {
    let mut net = pair();
    // Container 2 asks from another MAC than its record says: its question crosses, and everybody knows.
    let odd = ArpPacket {
        sender_mac: mac(77),
        ..request(2, 1)
    };
    net.send(1, &[broadcast(odd)]);
    assert_eq!(net.taken(0), [broadcast(odd)]);
    assert_crosses(&mut net, &broadcast(request(1, 2)));
    net.wait(u64::try_from(CONTRADICTED_FOR.as_millis()).unwrap());
    net.send(0, &[broadcast(request(1, 2))]);
    assert_eq!(net.taken(0).len(), 1);
}

#[test]
fn so_many_questions_are_answered() {
    let mut net = pair();
    for _ in 0..ANSWER_BURST + 5 {
        net.egress(0, &[broadcast(request(1, 2))]);
    }
    assert_eq!(answered(&net, 0), (ANSWER_BURST, 0));
    assert_eq!(net.dropped(0), [("answer_limited", 5)]);
    assert!(net.log.is_empty());
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
    // Neither groups nor known destinations suffer.
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
