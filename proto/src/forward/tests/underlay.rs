//! The mesh's own underlay traffic at the local port, and traffic that only resembles it.

use core::net::{IpAddr, SocketAddr};

use super::net::*;
use crate::forward::*;
use crate::frame::ethernet::{SERVICE_VLAN, VLAN};
use crate::frame::transport::tests::frame as packet;
use crate::frame::transport::{TCP, UDP};
use crate::ids::SessionIndex;
use crate::wire::datagram::{Header, Kind};

const NOT_THERE: &[(&str, u64)] = &[];

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// First bytes of a mesh datagram.
fn datagram(receiver: u32) -> Vec<u8> {
    let header = Header {
        kind: Kind::Data,
        hop_limit: 8,
        label: crate::network::NetworkLabel::DEFAULT,
        receiver: SessionIndex(receiver),
        counter: 7,
    };
    let mut bytes = header.encode().to_vec();
    bytes.resize(100, 0xaa);
    bytes
}

/// Three routers in a row. The first has the addresses 192.0.2.1 and 2001:db8::1, and knows of routers at .2 and .3.
fn routers() -> Net {
    let net = Net::wire(3, &[(0, 1), (1, 2)]);
    let underlay = net.nodes[0].forwarder.underlay();
    let own: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
    underlay.set_host(&own, 6783);
    let of = |n: u8| {
        vec![
            at(&format!("192.0.2.{n}:6783")),
            at(&format!("[2001:db8::{n}]:6783")),
        ]
    };
    underlay.set_router(id(1), of(2));
    underlay.set_router(id(2), of(3));
    net
}

/// Returns true if router 0 drops the frame at its port.
fn drops(net: &mut Net, frame: &[u8]) -> bool {
    let before = net.nodes[0]
        .forwarder
        .counters()
        .dropped(DropReason::Underlay);
    net.send(0, &[frame.to_vec()]);
    net.nodes[0]
        .forwarder
        .counters()
        .dropped(DropReason::Underlay)
        > before
}

#[test]
fn datagrams_and_links_between_routers_are_dropped() {
    let mut net = routers();
    let data = datagram(99);
    for tags in [&[][..], &[VLAN], &[SERVICE_VLAN, VLAN]] {
        for [from, to] in [
            ["192.0.2.1:6783", "192.0.2.2:6783"],
            ["[2001:db8::1]:6783", "[2001:db8::2]:6783"],
            // Between two other routers, forwarded by this host.
            ["192.0.2.2:6783", "192.0.2.3:6783"],
            // One end has another port: NAT, or a link.
            ["192.0.2.1:40001", "192.0.2.2:6783"],
            ["192.0.2.2:6783", "192.0.2.1:40001"],
        ] {
            for protocol in [UDP, TCP] {
                let frame = packet(tags, protocol, at(from), at(to), &data);
                assert!(drops(&mut net, &frame), "{protocol} {from} {to} {tags:?}");
            }
        }
    }
    let looped = net.nodes[0].forwarder.underlay().take_looped();
    let expected = ["192.0.2.2:6783", "192.0.2.3:6783", "[2001:db8::2]:6783"].map(at);
    assert_eq!(looped.keys().copied().collect::<Vec<_>>(), expected);
    assert_eq!(net.flying.len(), 0);
}

#[test]
fn a_datagram_of_our_own_session_is_known_at_any_address() {
    let mut net = routers();
    let (from, to) = (at("10.9.9.9:1111"), at("10.8.8.8:2222"));
    let strange = packet(&[], UDP, from, to, &datagram(99));
    assert!(!drops(&mut net, &strange));
    net.nodes[0].snap.sealing.insert(SessionIndex(99));
    assert!(drops(&mut net, &strange));
}

#[test]
fn plain_vxlan_between_routers_is_dropped() {
    let mut net = routers();
    let vxlan =
        |from: &str, to: &str| packet(&[], UDP, at(from), at(to), &[8, 0, 0, 0, 0, 0, 1, 0]);
    assert!(drops(&mut net, &vxlan("192.0.2.1:51000", "192.0.2.2:6784")));
    assert!(!drops(
        &mut net,
        &vxlan("192.0.2.1:51000", "192.0.2.2:4789")
    ));
    assert!(!drops(&mut net, &vxlan("10.2.1.1:51000", "192.0.2.2:6784")));
}

#[test]
fn container_traffic_passes_even_of_another_mesh() {
    let mut net = routers();
    let data = datagram(99);
    for (protocol, from, to) in [
        // Another mesh, run by containers.
        (UDP, "10.2.1.1:6783", "10.2.1.2:6783"),
        (TCP, "10.2.1.1:40000", "10.2.1.2:6783"),
        (TCP, "10.2.1.2:6783", "10.2.1.1:40000"),
        // Other traffic of the hosts, where their network is reached through the mesh.
        (TCP, "192.0.2.1:40000", "192.0.2.2:22"),
        (UDP, "192.0.2.1:40000", "192.0.2.2:53"),
        // From a container to a host.
        (TCP, "10.2.1.1:40000", "192.0.2.2:6783"),
    ] {
        assert!(
            !drops(&mut net, &packet(&[], protocol, at(from), at(to), &data)),
            "{protocol} {from} {to}"
        );
    }
    // To a router's address and port, but no mesh datagram.
    for other in [&b"hello"[..], &[0x21; 100], &[]] {
        let frame = packet(&[], UDP, at("192.0.2.1:6783"), at("192.0.2.2:6783"), other);
        assert!(!drops(&mut net, &frame), "{other:?}");
    }
    assert_eq!(net.dropped(0), NOT_THERE);
}

#[test]
fn an_address_is_known_as_long_as_one_source_names_it() {
    let mut net = routers();
    let to_three = packet(&[], TCP, at("192.0.2.1:1"), at("192.0.2.3:6783"), &[]);
    let underlay = |net: &Net, n: usize, all: &[&str]| {
        let all = all.iter().map(|text| at(text)).collect();
        net.nodes[0].forwarder.underlay().set_router(id(n), all);
    };
    underlay(&net, 1, &["192.0.2.3:6783"]);
    underlay(&net, 2, &[]);
    assert!(drops(&mut net, &to_three), "another still says so");
    underlay(&net, 1, &[]);
    assert!(!drops(&mut net, &to_three));
    underlay(&net, 2, &["192.0.2.3:7000", "[::ffff:192.0.2.4]:7001"]);
    for to in ["192.0.2.3:7000", "192.0.2.4:7001"] {
        assert!(drops(
            &mut net,
            &packet(&[], TCP, at("192.0.2.1:1"), at(to), &[])
        ));
    }
    let table = net.nodes[0].forwarder.underlay();
    table.set_links(vec![at("198.51.100.7:6783")]);
    let link = packet(&[], TCP, at("192.0.2.1:1"), at("198.51.100.7:6783"), &[]);
    assert!(drops(&mut net, &link));
    let table = net.nodes[0].forwarder.underlay();
    table.set_links(Vec::new());
    table.set_host(&[], 6783);
    table.set_router(id(2), Vec::new());
    assert!(table.is_empty());
    assert!(!drops(&mut net, &link));
}

#[test]
fn underlay_traffic_is_dropped_at_ingress_too() {
    let mut net = routers();
    let frame = packet(
        &[],
        UDP,
        at("10.9.9.9:1"),
        at("192.0.2.1:6783"),
        &datagram(99),
    );
    net.send(1, &[frame]);
    assert_eq!(net.taken(0), Vec::<Vec<u8>>::new());
    assert_eq!(net.dropped(0), [("underlay", 1)]);
    assert_eq!(net.taken(2).len(), 1, "it knows no such router");
}
