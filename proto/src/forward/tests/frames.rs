//! Frames that are refused at the local port, in and out, each counted under its reason.

use super::net::*;
use crate::fdb::Owner;
use crate::forward::*;
use crate::ids::Mac;
use crate::limits::{MAX_FDB_PER_OWNER, MAX_FRAME};
use crate::wire::datagram::{InnerFrame, push_frame};

const GROUP: Mac = Mac([0x01, 0, 0x5e, 0, 0, 1]);

fn stp() -> Vec<u8> {
    frame(mac(0), Mac([0x01, 0x80, 0xc2, 0, 0, 0]), b"spanning tree")
}

#[test]
fn refused_at_egress() {
    let mut net = Net::wire(2, &[(0, 1)]);
    let max = usize::from(MTU) + 18;
    let long = |len: usize| {
        let mut f = frame(mac(0), Mac::BROADCAST, &[]);
        f.resize(len, 0);
        f
    };
    let frames = [
        vec![],
        vec![0; 13],
        long(max + 1),
        long(MAX_FRAME + 1),
        frame(GROUP, mac(1), b"group source"),
        stp(),
        long(max),
    ];
    net.send(0, &frames);
    assert_eq!(net.taken(1), [long(max)]);
    let expected = [
        ("runt_frame", 2),
        ("frame_too_big", 2),
        ("group_source", 1),
        ("link_local_group", 1),
    ];
    assert_eq!(net.dropped(0), expected);
    assert_eq!(net.count(0, Counter::FramesIn), 7);
    assert_eq!(net.dropped(1), []);
}

#[test]
fn refused_at_ingress() {
    let mut net = Net::wire(2, &[(0, 1)]);
    let bodies: [&[u8]; 4] = [b"", b"\x00", b"\x00\x05abc", b"\x00\x03abc"];
    for body in bodies {
        seal_data(&mut net, body);
    }
    for bad in [
        frame(GROUP, mac(1), b"group source"),
        stp(),
        frame(mac(3), mac(1), b"good"),
    ] {
        let mut body = Vec::new();
        push_frame(&mut body, InnerFrame::complete(&bad));
        seal_data(&mut net, &body);
    }
    let mut large = frame(mac(0), mac(1), b"");
    large.resize(MAX_FRAME + 1, 0);
    let mut body = Vec::new();
    push_frame(&mut body, InnerFrame::complete(&large));
    seal_data(&mut net, &body);
    assert_eq!(net.taken(1), [frame(mac(3), mac(1), b"good")]);
    let expected = [
        ("runt_frame", 1),
        ("frame_too_big", 1),
        ("group_source", 1),
        ("link_local_group", 1),
        ("malformed", 3),
    ];
    assert_eq!(net.dropped(1), expected);
}

fn seal_data(net: &mut Net, body: &[u8]) {
    let transport = net.nodes[0].snap.peers[&id(1)].transport.clone().unwrap();
    let mut datagram = Vec::new();
    transport
        .seal(
            crate::wire::datagram::Kind::Data,
            16,
            &[],
            body,
            net.now,
            &mut datagram,
        )
        .unwrap();
    net.arrive(1, address(0), &datagram);
}

#[test]
fn frames_between_local_containers_stay_with_the_bridge() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.send(0, &[frame(mac(5), Mac::BROADCAST, b"I am here")]);
    net.send(0, &[frame(mac(6), mac(5), b"hello")]);
    assert_eq!(net.log.len(), 1);
    assert_eq!(net.count(0, Counter::FramesLocal), 1);
    assert_eq!(net.dropped(0), []);
}

#[test]
fn frames_from_a_peer_never_go_on_to_a_peer() {
    let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
    net.knows(0, 9, 1);
    net.knows(1, 9, 2);
    net.send(0, &[frame(mac(0), mac(9), b"misdirected")]);
    assert_eq!((net.taken(1).len(), net.taken(2).len()), (1, 0));
    assert_eq!(net.log.len(), 1);
}

#[test]
fn a_flood_of_sources_leaves_other_ports_alone() {
    let mut net = Net::wire(2, &[(0, 1)]);
    for c in 0..100 {
        net.knows(0, c, 1);
    }
    net.wait(1_000);
    for batch in 0..400u32 {
        let frames: Vec<_> = (0..100u32)
            .map(|n| {
                let [a, b, c, d] = (batch * 100 + n).to_be_bytes();
                frame(Mac([0x06, 0, a, b, c, d]), mac(7), b"flood")
            })
            .collect();
        net.egress(0, &frames);
    }
    let fdb = net.nodes[0].forwarder.fdb();
    assert_eq!(fdb.len(), MAX_FDB_PER_OWNER + 100);
    assert!((0..100).all(|c| fdb.lookup(mac(c), net.now) == Some(Owner::Peer(id(1)))));
    let replaced = 40_000 - u64::try_from(MAX_FDB_PER_OWNER).unwrap();
    assert_eq!(net.count(0, Counter::FdbReplaced), replaced);
    assert_eq!(
        net.count(0, Counter::FdbLearnt),
        u64::try_from(MAX_FDB_PER_OWNER).unwrap()
    );
}

#[test]
fn a_flapping_address_is_damped_and_counted() {
    let mut net = Net::wire(4, &[(0, 1), (0, 2), (0, 3)]);
    for n in 0..20 {
        net.send(1 + n % 3, &[frame(mac(9), Mac::BROADCAST, b"me!")]);
        net.wait(10);
    }
    assert_eq!(net.taken(0).len(), 20);
    assert_eq!(net.count(0, Counter::FdbMoved), 8);
    // Every third of the remaining frames comes from the owner to which the address is pinned.
    assert_eq!(net.count(0, Counter::FdbDamped), 8);
}
