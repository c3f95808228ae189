use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use mesh_proto::fastpath::{BEAT_ETHERTYPE, BEAT_GROUP, Beat};
use mesh_proto::ids::PeerId;

use super::*;
use crate::bridge::{BridgeConfig, PortKind, ensure_bridge, remove_all};
use crate::firewall::sources::{self, PortGuard};
use crate::netlink::{FdbContent, FdbRow, Remote, VethSpec};
use crate::socket::packet::PacketSocket;
use crate::testing::{NamedNetns, needs_root};

const MAC: Mac = Mac([0x02, 0x6d, 10, 2, 1, 2]);
const BEAT: Beat = Beat {
    peer: PeerId([7; 16]),
    nonce: 9,
};

fn config() -> VxlanConfig {
    VxlanConfig {
        bridge: "mesh".into(),
        mtu: 1376,
        port: 6784,
        vni: 0x6d_6573,
        local: None,
    }
}

fn remote(address: &str) -> Remote {
    Remote {
        address: address.parse().unwrap(),
        port: 6784,
        vni: 0x6d_6573,
    }
}

fn bridge() {
    let config = BridgeConfig {
        name: "mesh".into(),
        mtu: 1376,
        mac: None,
        port: PortKind::Veth,
    };
    ensure_bridge(&config).unwrap();
}

/// Creates two namespaces with a cable between them, 192.0.2.1 and 192.0.2.2, fd00::1 and fd00::2, and a bridge in
/// each.
fn hosts() -> [NamedNetns; 2] {
    let (a, b) = (NamedNetns::new(), NamedNetns::new());
    a.run(|| {
        let spec = VethSpec {
            name: "eth0",
            peer_name: "eth0",
            peer_netns: Some(b.netns.as_fd()),
            peer_mac: None,
            mtu: 1500,
        };
        Netlink::open().unwrap().link().create_veth(&spec).unwrap();
    });
    for (host, number) in [(&a, 1), (&b, 2)] {
        host.run(|| {
            let mut netlink = Netlink::open().unwrap();
            let link = netlink.link().require("eth0").unwrap().index;
            for net in [format!("192.0.2.{number}/24"), format!("fd00::{number}/64")] {
                let net: IpNet = net.parse().unwrap();
                netlink.address().add(link, net).unwrap();
            }
            netlink.link().set_up(link).unwrap();
            bridge();
        });
    }
    [a, b]
}

fn rows_of(mac: Mac) -> Vec<FdbRow> {
    let mut rows = Netlink::open().unwrap().fdb().list().unwrap();
    rows.retain(|row| row.mac == mac);
    rows
}

#[test]
fn a_device_is_created_once_repaired_and_removed() {
    if needs_root("a_device_is_created_once_repaired_and_removed") {
        return;
    }
    NamedNetns::new().run(|| {
        bridge();
        for family in Family::ALL {
            let device = ensure(&config(), family).unwrap();
            assert_eq!(ensure(&config(), family).unwrap(), device);
            let mut netlink = Netlink::open().unwrap();
            let link = netlink.link().require(&name("mesh", family)).unwrap();
            assert_eq!(
                (link.kind.as_deref(), link.mtu, link.up),
                (Some("vxlan"), 1376, true)
            );
            netlink.link().set_nomaster(link.index).unwrap();
            netlink.link().set_down(link.index).unwrap();
            assert_eq!(ensure(&config(), family).unwrap(), device);
            // Another UDP port needs another device.
            let other = VxlanConfig {
                port: 7000,
                ..config()
            };
            assert_ne!(ensure(&other, family).unwrap().index, device.index);
            assert!(remove("mesh", family).unwrap());
            assert!(!remove("mesh", family).unwrap());
            ensure(&config(), family).unwrap();
        }
        release_port("mesh").unwrap();
        // Both ends of the port, the two devices, the bridge.
        assert_eq!(remove_all("mesh").unwrap(), 5);
        assert!(ensure(&config(), Family::V4).is_err(), "without a bridge");
    });
}

#[test]
fn an_interface_of_another_owner_is_left_alone() {
    if needs_root("an_interface_of_another_owner_is_left_alone") {
        return;
    }
    NamedNetns::new().run(|| {
        bridge();
        let spec = VethSpec {
            name: "mesh-x4",
            peer_name: "other",
            peer_netns: None,
            peer_mac: None,
            mtu: 1500,
        };
        Netlink::open().unwrap().link().create_veth(&spec).unwrap();
        assert!(ensure(&config(), Family::V4).is_err());
        assert!(remove("mesh", Family::V4).is_err());
    });
}

#[test]
fn entries_come_go_and_roam_to_a_port_that_learns() {
    if needs_root("entries_come_go_and_roam_to_a_port_that_learns") {
        return;
    }
    NamedNetns::new().run(|| {
        bridge();
        let device = ensure(&config(), Family::V4).unwrap();
        let mut netlink = Netlink::open().unwrap();
        for address in ["192.0.2.2", "192.0.2.3"] {
            netlink
                .fdb()
                .put_remote(device.index, MAC, remote(address))
                .unwrap();
        }
        netlink.fdb().put_bridge_entry(device.port, MAC).unwrap();
        netlink.fdb().put_bridge_entry(device.index, MAC).unwrap();
        let rows = rows_of(MAC);
        let behind: Vec<_> = rows.iter().map(|row| (row.link, row.known)).collect();
        assert!(behind.contains(&(
            device.index,
            FdbContent::Bridge {
                external: true,
                local: false
            }
        )));
        assert!(behind.contains(&(
            device.index,
            FdbContent::Vxlan {
                address: remote("192.0.2.3").address,
                port: None,
                vni: None
            }
        )));
        assert_eq!(rows.len(), 2, "a new place replaces the old: {rows:?}");
        assert!(
            !netlink.fdb().delete_bridge_entry(device.port, MAC).unwrap(),
            "not there"
        );

        // A container with that address sends a frame.
        let spec = VethSpec {
            name: "c",
            peer_name: "d",
            peer_netns: None,
            peer_mac: None,
            mtu: 1376,
        };
        netlink.link().create_veth(&spec).unwrap();
        let (c, d) = (
            netlink.link().require("c").unwrap(),
            netlink.link().require("d").unwrap(),
        );
        let bridge = netlink.link().require("mesh").unwrap();
        netlink.link().set_master(c.index, bridge.index).unwrap();
        netlink.link().set_up(c.index).unwrap();
        netlink.link().set_up(d.index).unwrap();
        bridge::wait_forwarding(&mut netlink, "c").unwrap();
        let mut frame = vec![0xff; 6];
        frame.extend(MAC.0);
        frame.extend([0x88, 0xb6]);
        frame.resize(60, 0);
        PacketSocket::open(d.index, 0)
            .unwrap()
            .send(&frame)
            .unwrap();
        assert!(rows_of(MAC).iter().any(|row| row.link == c.index));

        assert!(
            !netlink
                .fdb()
                .delete_bridge_entry(device.index, MAC)
                .unwrap(),
            "it moved"
        );
        assert!(
            netlink
                .fdb()
                .delete_remote(device.index, MAC, None)
                .unwrap()
        );
        assert!(
            !netlink
                .fdb()
                .delete_remote(device.index, MAC, None)
                .unwrap()
        );
    });
}

fn heard(socket: &PacketSocket, within: Duration) -> Option<Beat> {
    let deadline = Instant::now() + within;
    let mut buffer = [0; 128];
    while Instant::now() < deadline {
        if let Some(frame) = socket.recv(&mut buffer).unwrap() {
            return Beat::from_frame(frame);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

#[test]
fn beats_reach_only_hosts_whose_firewall_admits_the_sender() {
    if needs_root("beats_reach_only_hosts_whose_firewall_admits_the_sender") {
        return;
    }
    let [a, b] = hosts();
    for (family, from, to) in [
        (Family::V4, "192.0.2.1", "192.0.2.2"),
        (Family::V6, "fd00::1", "fd00::2"),
    ] {
        let guard = PortGuard {
            bridge: "mesh",
            port: 6784,
            ipv6: family == Family::V6,
        };
        let allow = |who: &[&str]| {
            let who: BTreeSet<IpAddr> = who.iter().map(|a| a.parse().unwrap()).collect();
            sources::ensure(&guard, &who).map(drop).unwrap();
        };
        let receiver = b.run(|| {
            allow(&[from]);
            let device = ensure(&config(), family).unwrap();
            PacketSocket::open(device.index, BEAT_ETHERTYPE).unwrap()
        });
        let (sender, mac) = a.run(|| {
            let device = ensure(&config(), family).unwrap();
            let mut netlink = Netlink::open().unwrap();
            netlink
                .fdb()
                .add_group_remote(device.index, BEAT_GROUP, remote(to))
                .unwrap();
            netlink
                .fdb()
                .add_group_remote(device.index, BEAT_GROUP, remote(to))
                .unwrap();
            (PacketSocket::open(device.index, 0).unwrap(), device.mac)
        });
        let send = || sender.send(&BEAT.to_frame(mac)).unwrap();
        send();
        assert_eq!(
            heard(&receiver, Duration::from_secs(5)),
            Some(BEAT),
            "{family:?}"
        );
        b.run(|| allow(&["192.0.2.9", "fd00::9"]));
        send();
        assert_eq!(
            heard(&receiver, Duration::from_millis(300)),
            None,
            "{family:?}"
        );
        b.run(|| allow(&[from]));
        send();
        assert_eq!(
            heard(&receiver, Duration::from_secs(5)),
            Some(BEAT),
            "{family:?}"
        );
    }
}
