use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use mesh_proto::ids::Mac;

use super::super::{ensure_bridge, ports};
use super::*;
use crate::attach::{Plug, plug};
use crate::netlink::BridgeSpec;
use crate::testing::{NamedNetns, needs_root};

const WEB: NetworkId = NetworkId([0x11; 16]);
const OTHER: NetworkId = NetworkId([0x22; 16]);

fn mark(network: NetworkId) -> NetworkMark {
    NetworkMark::new("mesh", network, "mesh network web")
}

fn config(network: NetworkId) -> BridgeConfig {
    BridgeConfig {
        name: mark(network).bridge(),
        mtu: 1_376,
        mac: None,
        port: PortKind::Veth,
    }
}

fn main_bridge() -> BridgeConfig {
    BridgeConfig {
        name: "mesh".to_owned(),
        ..config(WEB)
    }
}

fn names() -> Vec<String> {
    let links = Netlink::open().unwrap().link().list().unwrap();
    let mut names: Vec<_> = links.into_iter().map(|l| l.name).collect();
    names.sort();
    names
}

fn link(name: &str) -> LinkEntry {
    Netlink::open().unwrap().link().require(name).unwrap()
}

fn is_sound(network: NetworkId) -> bool {
    HostLinks::read()
        .unwrap()
        .is_sound(&config(network), &mark(network))
}

fn ensure_one(network: NetworkId) -> Result<Ensured, SysError> {
    ensure_network_bridge(&config(network), &mark(network))
}

fn run(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let done = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(done.status.success(), "{line}: {done:?}");
}

fn of(mark: &NetworkMark) -> LinkEntry {
    LinkEntry {
        name: mark.bridge(),
        kind: Some("bridge".to_owned()),
        alias: Some(mark.alias()),
        ..LinkEntry::default()
    }
}

#[test]
fn a_mark_is_read_as_it_was_written() {
    for text in ["mesh network web", "", "a:b:c", "a\nb", &"ä".repeat(200)] {
        let mark = NetworkMark::new("mesh", WEB, text);
        assert!(mark.alias().len() <= MAX_ALIAS);
        assert_eq!(NetworkMark::of(&of(&mark)), Some(mark));
    }
    let good = of(&mark(WEB));
    assert!(belongs_to(&good, "mesh") && !belongs_to(&good, "mesh2"));
    let renamed = LinkEntry {
        name: mark(OTHER).bridge(),
        ..good.clone()
    };
    let tap = LinkEntry {
        kind: Some("tun".to_owned()),
        ..good.clone()
    };
    let main = LinkEntry {
        name: "mesh".to_owned(),
        alias: Some("mesh:mesh:bridge".to_owned()),
        ..good
    };
    for no in [renamed, tap, main, LinkEntry::default()] {
        assert_eq!(NetworkMark::of(&no), None, "{no:?}");
    }
}

#[test]
fn the_bridge_of_a_network_is_made_once_repaired_and_removed() {
    if needs_root("the_bridge_of_a_network_is_made_once_repaired_and_removed") {
        return;
    }
    NamedNetns::new().run(|| {
        ensure_bridge(&main_bridge()).unwrap();
        let before = names();
        let made = ensure_one(WEB).unwrap();
        assert_eq!(made.bridge, Outcome::Created);
        ensure_one(OTHER).unwrap();
        assert!(is_sound(WEB) && is_sound(OTHER));
        let again = ensure_one(WEB).unwrap();
        assert_eq!(
            (again.bridge, again.port),
            (Outcome::Existing, Outcome::Existing)
        );
        let name = mark(WEB).bridge();
        let bridge = link(&name);
        assert_eq!((bridge.mtu, bridge.up), (1_376, true));
        assert!(bridge.alias.unwrap().ends_with("mesh network web"));
        let all = HostLinks::read().unwrap().networks("mesh");
        assert_eq!(all.len(), 2);
        assert!(HostLinks::read().unwrap().networks("mesh2").is_empty());

        let (inner, outer) = ifname::port_pair(&name);
        for break_it in [
            format!("ip link del {inner}"),
            format!("ip link set {outer} down"),
            format!("ip link set {name} down"),
            format!("ip link set {name} mtu 1200"),
            format!("ip link set {name} alias mesh:{name}:bridge:mesh:{WEB}:old"),
            format!("ip link set {inner} nomaster"),
            format!("ip link del {name}"),
            format!("sysctl -qw net.ipv4.conf.{name}.forwarding=1"),
            format!("sysctl -qw net.ipv4.conf.{name}.rp_filter=0"),
        ] {
            run(&break_it);
            assert!(!is_sound(WEB), "{break_it}");
            ensure_one(WEB).unwrap();
            assert!(is_sound(WEB), "{break_it}");
        }
        run(&format!("bridge link set dev {inner} hairpin on"));
        let found = HostLinks::read().unwrap();
        assert!(found.has_changed_ports(&name) && !found.has_changed_ports(&mark(OTHER).bridge()));
        assert_eq!(ports::set_back(&name).unwrap().len(), 1);
        assert!(!HostLinks::read().unwrap().has_changed_ports(&name));

        assert!(remove_network_bridge("mesh").is_err());
        for network in [WEB, OTHER] {
            assert!(remove_network_bridge(&mark(network).bridge()).unwrap());
            assert!(!remove_network_bridge(&mark(network).bridge()).unwrap());
        }
        assert_eq!(names(), before);
    });
}

#[test]
fn a_bridge_of_somebody_else_is_refused_and_a_half_made_one_replaced() {
    if needs_root("a_bridge_of_somebody_else_is_refused_and_a_half_made_one_replaced") {
        return;
    }
    NamedNetns::new().run(|| {
        let name = mark(WEB).bridge();
        let create = || {
            let mut netlink = Netlink::open().unwrap();
            let spec = BridgeSpec {
                name: &name,
                mtu: 1_500,
                mac: None,
            };
            netlink.link().create_bridge(&spec).unwrap();
        };
        create();
        assert_eq!(
            HostLinks::read().unwrap().half_made(),
            std::slice::from_ref(&name)
        );
        ensure_one(WEB).unwrap();
        assert!(is_sound(WEB));
        remove_network_bridge(&name).unwrap();

        create();
        run(&format!("ip link set {name} up"));
        assert!(
            ensure_one(WEB)
                .unwrap_err()
                .to_string()
                .contains("not this network's")
        );
        assert!(remove_network_bridge(&name).is_err());
        // As if the names of two networks were equal.
        run(&format!(
            "ip link set {name} alias mesh:{name}:bridge:mesh:{OTHER}:x"
        ));
        assert!(ensure_one(WEB).is_err());
        assert!(super::super::check_usable(&name).is_err());
    });
}

#[test]
fn a_failure_at_any_step_leaves_no_bridge_of_a_network() {
    if needs_root("a_failure_at_any_step_leaves_no_bridge_of_a_network") {
        return;
    }
    NamedNetns::new().run(|| {
        let before = names();
        let mut steps = 0;
        loop {
            let mut plan = StepPlan::failing_at(steps);
            let result = ensure(&config(WEB), &mark(WEB), &mut plan);
            if result.is_ok() {
                break;
            }
            drop(plan);
            assert_eq!(names(), before, "step {steps}");
            steps += 1;
        }
        assert!(steps >= 9, "{steps}");
    });
}

/// A host that forwards, with 192.0.2.1 on another interface, and a container in a network that knows the bridge's MAC.
fn host_and_container() -> (NamedNetns, NamedNetns) {
    let (host, container) = (NamedNetns::new(), NamedNetns::new());
    host.run(|| {
        run("ip link add name va type veth peer name vb");
        run("ip link set va up");
        run("ip link set vb up");
        run("ip address add 192.0.2.1/24 dev va");
        run("sysctl -qw net.ipv4.conf.all.rp_filter=0");
        run("sysctl -qw net.ipv4.ip_forward=1");
        ensure_one(WEB).unwrap();
        plug(&Plug {
            bridge: &mark(WEB).bridge(),
            netns: &container.netns,
            ifname: None,
            mac: Mac([2, 0, 0, 0, 9, 1]),
            mtu: 1_376,
            address: "10.9.0.1/24".parse().unwrap(),
            second: None,
            multicast_route: false,
            alias: "c",
            offloads_off: true,
        })
        .unwrap();
    });
    let mac = host.run(|| link(&mark(WEB).bridge()).mac.unwrap());
    container.run(|| {
        run("ip route add 192.0.2.0/24 dev mesh0");
        run(&format!(
            "ip neigh replace 192.0.2.1 lladdr {mac} dev mesh0"
        ));
    });
    (host, container)
}

#[test]
fn the_host_is_deaf_on_the_bridge_of_a_network_until_it_has_an_address_there() {
    if needs_root("the_host_is_deaf_on_the_bridge_of_a_network_until_it_has_an_address_there") {
        return;
    }
    let (host, container) = host_and_container();
    let server = host.run(|| UdpSocket::bind("192.0.2.1:7").unwrap());
    server
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let arrives = || {
        container.run(|| {
            let client = UdpSocket::bind("10.9.0.1:0").unwrap();
            client.send_to(b"x", "192.0.2.1:7").unwrap();
        });
        server.recv(&mut [0; 8]).is_ok()
    };
    assert!(!arrives());
    let name = mark(WEB).bridge();
    // The check above can fail: without the setting the packet arrives.
    host.run(|| run(&format!("sysctl -qw net.ipv4.conf.{name}.rp_filter=0")));
    assert!(arrives());
    host.run(|| ensure_one(WEB).unwrap());
    assert!(!arrives());
    host.run(|| {
        run(&format!("ip address add 10.9.0.9/24 dev {name}"));
        ensure_one(WEB).unwrap();
    });
    assert!(arrives(), "an exposed host is reached");
}
