mod moved_endpoints;

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::time::{Duration, Instant};

use mesh_proto::address::mac_for;

use super::*;
use crate::bridge::{BridgeConfig, Outcome, PortKind, ensure_bridge, remove_all};
use crate::interface::sysctl::{SysctlGroup, get};
use crate::netlink::{HostLinks, VethSpec};
use crate::plan::StepPlan;
use crate::port::{FrameBatch, FramePort, FrameReader, PcapPort};
use crate::testing::{NamedNetns, needs_root};

/// Host with a bridge, and the namespace of a container.
struct Fixture {
    host: NamedNetns,
    container: NamedNetns,
}

fn only(bridge: &str) -> BTreeSet<String> {
    BTreeSet::from([bridge.to_owned()])
}

impl Fixture {
    fn new() -> Self {
        let host = NamedNetns::new();
        host.run(|| {
            ensure_bridge(&BridgeConfig {
                name: "mesh".to_owned(),
                mtu: 1376,
                mac: None,
                port: PortKind::Veth,
            })
            .unwrap();
        });
        Self {
            host,
            container: NamedNetns::new(),
        }
    }

    fn request<'a>(&'a self, address: &str) -> Plug<'a> {
        let address: IpNet = address.parse().unwrap();
        Plug {
            bridge: "mesh",
            netns: &self.container.netns,
            ifname: None,
            mac: mac_for(address.addr()),
            mtu: 1376,
            address,
            second: None,
            multicast_route: true,
            alias: "c1",
            offloads_off: true,
        }
    }

    fn plug(&self, address: &str) -> Result<Plugged, AttachError> {
        self.host.run(|| plug(&self.request(address)))
    }

    fn state(&self) -> [BTreeSet<String>; 2] {
        [self.host.run(state), self.container.run(state)]
    }
}

/// Returns links, addresses and routes of the namespace as text.
fn state() -> BTreeSet<String> {
    let mut netlink = Netlink::open().unwrap();
    let mut all = BTreeSet::new();
    all.extend(
        netlink
            .link()
            .list()
            .unwrap()
            .iter()
            .map(|l| format!("{l:?}")),
    );
    all.extend(
        netlink
            .address()
            .list()
            .unwrap()
            .iter()
            .map(|a| format!("{a:?}")),
    );
    all.extend(
        netlink
            .route()
            .list()
            .unwrap()
            .iter()
            .map(|r| format!("{r:?}")),
    );
    for dir in ["ipv4/conf", "ipv4/neigh", "ipv6/conf", "ipv6/neigh"] {
        let Ok(entries) = std::fs::read_dir(format!("/proc/sys/net/{dir}")) else {
            continue;
        };
        all.extend(
            entries
                .flatten()
                .map(|e| format!("{dir} {:?}", e.file_name())),
        );
    }
    all
}

#[test]
fn a_container_is_plugged_and_unplugged() {
    if needs_root("a_container_is_plugged_and_unplugged") {
        return;
    }
    let f = Fixture::new();
    let before = f.state();
    let plugged = f.plug("10.2.1.1/24").unwrap();
    assert_eq!(
        (plugged.ifname.as_str(), plugged.outcome),
        ("mesh0", Outcome::Created)
    );
    f.container.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let link = netlink.link().require("mesh0").unwrap();
        assert!(link.up);
        assert_eq!(link.mtu, 1376);
        assert_eq!(link.mac, Some(mac_for("10.2.1.1".parse().unwrap())));
        let addresses = netlink.address().list().unwrap();
        assert!(
            addresses
                .iter()
                .any(|a| a.link == link.index && a.address == "10.2.1.1/24".parse().unwrap())
        );
        let routes = netlink.route().list().unwrap();
        assert!(
            routes
                .iter()
                .any(|r| r.link == Some(link.index)
                    && r.destination == "224.0.0.0/4".parse().unwrap())
        );
        let read = |table, key| get(table, "mesh0", key).unwrap();
        assert_eq!(
            read(SysctlGroup::Ipv4Neigh, "base_reachable_time_ms"),
            "5000"
        );
        assert_eq!(read(SysctlGroup::Ipv4Neigh, "delay_first_probe_time"), "2");
        assert_eq!(read(SysctlGroup::Ipv4Neigh, "ucast_solicit"), "1");
        assert_eq!(read(SysctlGroup::Ipv6Conf, "disable_ipv6"), "1");
    });
    f.host.run(|| {
        let expected = Attachment {
            host_ifname: plugged.host_ifname.clone(),
            alias: "c1".to_owned(),
            connected: true,
            arrived: true,
        };
        assert_eq!(list(&HostLinks::read().unwrap(), &only("mesh")), [expected]);
        assert_eq!(list(&HostLinks::read().unwrap(), &only("mes")), []);
        assert_eq!(unplug("mesh", "c2").unwrap(), 0);
        assert_eq!(unplug("mesh", "c1").unwrap(), 1);
        assert_eq!(unplug("mesh", "c1").unwrap(), 0);
    });
    assert_eq!(f.state(), before);
}

#[test]
fn plugging_again_changes_nothing() {
    if needs_root("plugging_again_changes_nothing") {
        return;
    }
    let f = Fixture::new();
    let first = f.plug("10.2.1.1/24").unwrap();
    let before = f.state();
    let again = f.plug("10.2.1.1/24").unwrap();
    assert_eq!(again.outcome, Outcome::Existing);
    assert_eq!(
        (again.host_ifname, again.ifname),
        (first.host_ifname.clone(), first.ifname)
    );
    assert_eq!(f.state(), before);
    assert_eq!(f.plug("10.2.1.2/24").unwrap().ifname, "mesh1");

    // Another program removes it from the bridge.
    f.host.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let host = netlink.link().require(&first.host_ifname).unwrap();
        netlink.link().set_nomaster(host.index).unwrap();
        assert_eq!(
            reconnect_all(&HostLinks::read().unwrap(), &only("mesh"), &BTreeSet::new()).unwrap(),
            1
        );
        assert_eq!(
            reconnect_all(&HostLinks::read().unwrap(), &only("mesh"), &BTreeSet::new()).unwrap(),
            0
        );
        // While resting it stays down; it is reconnected afterwards.
        let are_down = || {
            list(&HostLinks::read().unwrap(), &only("mesh"))
                .iter()
                .all(|a| !a.connected)
        };
        assert!(rest("mesh", "c1", true).unwrap() && are_down());
        let resting = BTreeSet::from(["c1".to_owned()]);
        assert_eq!(
            reconnect_all(&HostLinks::read().unwrap(), &only("mesh"), &resting).unwrap(),
            0
        );
        assert!(rest("mesh", "c1", false).unwrap() && !are_down());
        assert_eq!(
            reconnect_all(&HostLinks::read().unwrap(), &only("mesh"), &resting).unwrap(),
            2
        );
        assert_eq!(
            reconnect_all(&HostLinks::read().unwrap(), &only("mesh"), &BTreeSet::new()).unwrap(),
            2
        );
        assert!(!rest("mesh", "nobody", true).unwrap());
        netlink.link().set_down(host.index).unwrap();
    });
    assert_eq!(f.plug("10.2.1.1/24").unwrap().outcome, Outcome::Existing);
    f.host.run(|| {
        assert!(
            list(&HostLinks::read().unwrap(), &only("mesh"))
                .iter()
                .all(|a| a.connected)
        );
        assert_eq!(unplug("mesh", "c1").unwrap(), 2);
    });
}

#[test]
fn an_unmarked_pair_is_created_again() {
    if needs_root("an_unmarked_pair_is_created_again") {
        return;
    }
    let f = Fixture::new();
    let plugged = f.plug("10.2.1.1/24").unwrap();
    f.host.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let left = netlink.link().require(&plugged.host_ifname).unwrap();
        netlink.link().delete(left.index).unwrap();
        // The state left by a router killed at this point.
        let spec = VethSpec {
            name: &plugged.host_ifname,
            peer_name: "left",
            peer_netns: Some(f.container.netns.as_fd()),
            peer_mac: None,
            mtu: 1376,
        };
        netlink.link().create_veth(&spec).unwrap();
    });
    let again = f.plug("10.2.1.1/24").unwrap();
    assert_eq!(
        (again.ifname.as_str(), again.outcome),
        ("mesh0", Outcome::Created)
    );
    // A pair in use is left alone.
    f.host.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let link = netlink.link().require(&again.host_ifname).unwrap();
        netlink.link().set_alias(link.index, "somebody's").unwrap();
    });
    f.container.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let inside = netlink.link().require("mesh0").unwrap();
        netlink
            .address()
            .delete(inside.index, "10.2.1.1/24".parse().unwrap())
            .unwrap();
    });
    assert!(
        f.plug("10.2.1.1/24")
            .unwrap_err()
            .to_string()
            .contains("not the mesh's")
    );
}

#[test]
fn each_refusal_has_its_own_error_and_leaves_nothing() {
    if needs_root("each_refusal_has_its_own_error_and_leaves_nothing") {
        return;
    }
    let f = Fixture::new();
    f.container.run(|| {
        let mut netlink = Netlink::open().unwrap();
        netlink
            .address()
            .add(1, "10.9.9.9/32".parse().unwrap())
            .unwrap();
    });
    let before = f.state();
    let error = f.host.run(|| {
        let request = Plug {
            ifname: Some("lo"),
            ..f.request("10.2.1.1/24")
        };
        plug(&request).unwrap_err()
    });
    assert!(matches!(error, AttachError::NameTaken(name) if name == "lo"));
    let error = f.plug("10.9.9.9/24").unwrap_err();
    assert!(matches!(error, AttachError::AddressInUse { ifname, .. } if ifname == "lo"));
    let error = f.host.run(|| {
        let request = Plug {
            bridge: "none",
            ..f.request("10.2.1.1/24")
        };
        plug(&request).unwrap_err()
    });
    assert!(matches!(error, AttachError::NoBridge(_)));
    let error = f.host.run(|| {
        let request = Plug {
            netns: &f.host.netns,
            ..f.request("10.2.1.1/24")
        };
        plug(&request).unwrap_err()
    });
    assert!(matches!(error, AttachError::HostNetwork));
    assert_eq!(f.state(), before);
}

#[test]
fn a_failure_at_any_step_leaves_nothing() {
    if needs_root("a_failure_at_any_step_leaves_nothing") {
        return;
    }
    let f = Fixture::new();
    for address in ["10.2.1.1/24", "fd00::5/64"] {
        let before = f.state();
        let mut steps = 0;
        loop {
            let failed = f.host.run(|| {
                let mut plan = StepPlan::failing_at(steps);
                let result = plug::run(&f.request(address), &mut plan);
                if result.is_ok() {
                    plan.commit();
                }
                result.is_err()
            });
            if !failed {
                break;
            }
            assert_eq!(f.state(), before, "step {steps} of {address}");
            steps += 1;
        }
        assert!(steps >= 11, "{steps}");
        assert_eq!(f.host.run(|| unplug("mesh", "c1").unwrap()), 1);
        assert_eq!(f.state(), before);
    }
}

#[test]
fn two_containers_talk_and_the_port_hears_the_announcement() {
    if needs_root("two_containers_talk_and_the_port_hears_the_announcement") {
        return;
    }
    let (f, other) = (Fixture::new(), NamedNetns::new());
    let mut reader = f.host.run(|| PcapPort::open("mesh-r").unwrap().split().0);
    for (netns, address) in [
        (&f.container.netns, "10.2.1.1/24"),
        (&other.netns, "10.2.1.2/24"),
        (&f.container.netns, "fd00::1/64"),
        (&other.netns, "fd00::2/64"),
    ] {
        f.host.run(|| {
            let request = Plug {
                netns,
                ..f.request(address)
            };
            plug(&request).unwrap();
        });
    }
    let mut heard = Vec::new();
    let mut batch = FrameBatch::with_capacity(64);
    let deadline = Instant::now() + Duration::from_secs(2);
    let announced = |frames: &[Vec<u8>]| {
        let arp = frames
            .iter()
            .any(|f| f[12..14] == [8, 6] && f[28..32] == [10, 2, 1, 1]);
        let advert = frames
            .iter()
            .any(|f| f[12..14] == [0x86, 0xdd] && f[54] == 136);
        arp && advert
    };
    while !announced(&heard) && Instant::now() < deadline {
        reader.recv(&mut batch, Duration::from_millis(100)).unwrap();
        heard.extend(batch.iter().map(|(_, frame)| frame).map(<[u8]>::to_vec));
    }
    assert!(announced(&heard), "{heard:x?}");
    for to in ["10.2.1.2", "fd00::2"] {
        let ping = f.container.run(|| {
            Command::new("ping")
                .args(["-c", "1", "-W", "2", to])
                .output()
        });
        match ping {
            Ok(output) => assert!(output.status.success(), "{to}: {output:?}"),
            Err(e) => println!("ping skipped: {e}"),
        }
    }
    assert_eq!(f.host.run(|| remove_all("mesh").unwrap()), 7);
    let links = f
        .container
        .run(|| Netlink::open().unwrap().link().list().unwrap());
    assert!(links.iter().all(|l| !l.name.starts_with("mesh")));
}
