//! ARP requests and neighbour solicitations of a container, and announcements of addresses by other routers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mesh_proto::arp_proxy::resolution::{self, Protocol, UnicastTarget};
use mesh_proto::arp_proxy::{ArpProxy, Binding};
use mesh_proto::entropy::SeededEntropy;
use mesh_proto::fdb::{Fdb, Owner};
use mesh_proto::frame::arp::{ArpPacket, Operation};
use mesh_proto::frame::ethernet::EthernetView;
use mesh_proto::frame::ndp::{self, NdpMessage};
use mesh_proto::ids::Mac;

use super::fixture::{self, START};
use super::input::{Input, Script};

/// Announced containers: the first two behind the local port, the others behind peers.
const CONTAINERS: u8 = 6;

fn v4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 2, 1, n)
}

fn v6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n.into())
}

fn owner(n: u8) -> Owner {
    if n < 2 {
        Owner::Local
    } else {
        Owner::Peer(fixture::id(n / 2))
    }
}

fn announced() -> ArpProxy {
    let table = ArpProxy::default();
    for first in (0..CONTAINERS).step_by(2) {
        let claims = [first, first + 1].into_iter().flat_map(|n| {
            let addresses: [IpAddr; 2] = [v4(n).into(), v6(n).into()];
            addresses.map(|ip| Binding {
                ip,
                mac: fixture::mac(n),
                moves: 0,
            })
        });
        assert!(table.set(owner(first), claims.collect(), START));
    }
    table
}

/// A request goes to the router of the container that is announced with the requested address; a request that
/// contradicts the announcements does not.
pub(super) fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let table = announced();
    let fdb = Fdb::new(&mut SeededEntropy::new(1));
    let mut now = START;
    while !input.is_empty() {
        let from_peer = input.flag();
        let frame = input.chunk();
        now += Duration::from_millis(100);
        let Ok(view) = EthernetView::new_checked(frame) else {
            continue;
        };
        if !resolution::is_resolution(&view) {
            continue;
        }
        if from_peer {
            resolution::observe(&table, owner(2), &view, now);
        } else if let Some(direction) = resolution::direct(&table, &fdb, &view, now) {
            check(&view, direction);
        }
    }
    assert_eq!(table.len(), 2 * usize::from(CONTAINERS));
}

fn check(question: &EthernetView<'_>, direction: UnicastTarget) {
    assert!(question.destination().is_group() && question.vlan().is_none());
    let (ip, protocol): (IpAddr, Protocol) = match ArpPacket::from_frame(question) {
        Some(asked) => {
            assert_eq!(asked.operation, Operation::Request);
            assert!(!asked.is_gratuitous() && !asked.sender_ip.is_unspecified());
            (asked.target_ip.into(), Protocol::Arp)
        }
        None => {
            let message = NdpMessage::from_frame(question);
            let Some(NdpMessage::Solicitation(asked)) = message else {
                panic!("no question");
            };
            assert!(!asked.source.is_unspecified());
            (asked.target.into(), Protocol::Ndp)
        }
    };
    assert_eq!(direction.protocol, protocol);
    let n = direction.mac.0[5];
    assert!((2..CONTAINERS).contains(&n) && direction.mac == fixture::mac(n));
    assert_eq!(Owner::Peer(direction.peer), owner(n));
    assert!(ip == IpAddr::from(v4(n)) || ip == IpAddr::from(v6(n)));
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let asks = |from: u8, target: u8| ArpPacket {
        operation: Operation::Request,
        sender_mac: fixture::mac(from),
        sender_ip: v4(from),
        target_mac: Mac([0; 6]),
        target_ip: v4(target),
    };
    let step = |from_peer: bool, frame: &[u8]| {
        let flag = Script::new().put(&[u8::from(from_peer)]);
        flag.chunk(frame).done()
    };
    let all = |packet: ArpPacket| packet.to_frame(Mac::BROADCAST).to_vec();
    let question = all(asks(0, 3));
    let probe = all(ArpPacket {
        sender_ip: Ipv4Addr::UNSPECIFIED,
        ..asks(0, 3)
    });
    let odd = all(ArpPacket {
        sender_mac: fixture::mac(99),
        ..asks(3, 0)
    });
    let mut tagged = question.clone();
    tagged.splice(12..12, [0x81, 0, 0, 9]);
    let mut told = ndp::advertise(v6(3), fixture::mac(3), (v6(0), fixture::mac(0)));
    told[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    vec![
        step(false, &question),
        step(false, &probe),
        step(false, &tagged),
        step(false, &all(ArpPacket::announcement(fixture::mac(0), v4(0)))),
        [step(true, &odd), step(false, &question)].concat(),
        step(false, &solicitation(v6(0), v6(3))),
        step(false, &solicitation(Ipv6Addr::UNSPECIFIED, v6(3))),
        step(true, &told),
    ]
}

/// Returns a solicitation of container 0 for `target`.
fn solicitation(source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let [.., x, y, z] = target.octets();
    let mac = fixture::mac(0);
    let mut message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
    if !source.is_unspecified() {
        message.extend_from_slice(&[&[1, 1][..], &mac.0].concat());
    }
    let length = u16::try_from(message.len()).unwrap_or_default();
    let mut group = [0; 16];
    group[..2].copy_from_slice(&[0xff, 0x02]);
    group[11..].copy_from_slice(&[1, 0xff, x, y, z]);
    let addresses = [source.octets(), group].concat();
    let pseudo = [&addresses[..], &length.to_be_bytes(), &[0, 58], &message].concat();
    let sum = mesh_proto::checksum::checksum(&pseudo);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    [
        &[0x33, 0x33, 0xff, x, y, z][..],
        &mac.0,
        &[0x86, 0xdd, 0x60, 0, 0, 0],
        &length.to_be_bytes(),
        &[58, 255],
        &addresses,
        &message,
    ]
    .concat()
}
