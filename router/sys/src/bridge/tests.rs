use super::*;
use crate::testing::{NamedNetns, needs_root};

fn config(name: &str) -> BridgeConfig {
    BridgeConfig {
        name: name.to_owned(),
        mtu: 1376,
        mac: Some(Mac([2, 1, 2, 3, 4, 5])),
        port: PortKind::Veth,
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

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap().trim_end().to_owned()
}

#[test]
fn aliases_tell_bridges_apart() {
    let of = |alias: &str| LinkEntry {
        alias: Some(alias.to_owned()),
        ..LinkEntry::default()
    };
    assert!(is_ours(&of(&alias("mesh", AliasRole::Host, "c1")), "mesh"));
    assert!(!is_ours(
        &of(&alias("mesh2", AliasRole::Host, "c1")),
        "mesh"
    ));
    assert!(!is_ours(&of("mesh:mes"), "mesh"));
    assert!(!is_ours(&of("mesh:mesh"), "mesh"));
    assert!(!is_ours(&LinkEntry::default(), "mesh"));
}

#[test]
fn a_bridge_is_created_once_and_removed_completely() {
    if needs_root("a_bridge_is_created_once_and_removed_completely") {
        return;
    }
    NamedNetns::new().run(|| {
        let before = names();
        let made = ensure_bridge(&config("mesh")).unwrap();
        assert_eq!(
            (made.bridge, made.port),
            (Outcome::Created, Outcome::Created)
        );
        assert_eq!(made.port_interface, "mesh-r");
        let again = ensure_bridge(&config("mesh")).unwrap();
        assert_eq!(
            (again.bridge, again.port),
            (Outcome::Existing, Outcome::Existing)
        );

        let (bridge, inner, outer) = (link("mesh"), link("mesh-p"), link("mesh-r"));
        assert_eq!(bridge.mac, Some(Mac([2, 1, 2, 3, 4, 5])));
        assert!(bridge.up && inner.up && outer.up && inner.forwarding);
        let addresses = Netlink::open().unwrap().address().list().unwrap();
        assert!(
            addresses.iter().all(|a| a.link != bridge.index),
            "{addresses:?}"
        );
        assert_eq!((bridge.mtu, inner.mtu, outer.mtu), (1376, 1376, 1376));
        assert_eq!((inner.master, outer.master), (Some(bridge.index), None));
        assert_eq!(read("/proc/sys/net/ipv4/conf/mesh-r/rp_filter"), "1");

        assert_eq!(remove_all("mesh2").unwrap(), 0);
        assert_eq!(remove_all("mesh").unwrap(), 3);
        assert_eq!(names(), before);
    });
}

#[test]
fn deleted_interfaces_are_created_again() {
    if needs_root("deleted_interfaces_are_created_again") {
        return;
    }
    NamedNetns::new().run(|| {
        ensure_bridge(&config("mesh")).unwrap();
        let mut netlink = Netlink::open().unwrap();
        let inner = link("mesh-p").index;
        netlink.link().set_nomaster(inner).unwrap();
        netlink.link().set_down(inner).unwrap();
        let mended = ensure_bridge(&config("mesh")).unwrap();
        assert_eq!(mended.port, Outcome::Existing);
        assert!(link("mesh-p").up && link("mesh-p").master.is_some());

        netlink.link().delete_by_name("mesh-r").unwrap();
        let mended = ensure_bridge(&config("mesh")).unwrap();
        assert_eq!(
            (mended.bridge, mended.port),
            (Outcome::Existing, Outcome::Created)
        );
        netlink.link().delete_by_name("mesh").unwrap();
        let mended = ensure_bridge(&config("mesh")).unwrap();
        assert_eq!(
            (mended.bridge, mended.port),
            (Outcome::Created, Outcome::Existing)
        );
        assert_eq!(link("mesh-p").master, Some(link("mesh").index));
        let smaller = BridgeConfig {
            mtu: 1200,
            ..config("mesh")
        };
        ensure_bridge(&smaller).unwrap();
        assert_eq!((link("mesh").mtu, link("mesh-r").mtu), (1200, 1200));
    });
}

#[test]
fn interfaces_of_others_stay() {
    if needs_root("interfaces_of_others_stay") {
        return;
    }
    NamedNetns::new().run(|| {
        let mut netlink = Netlink::open().unwrap();
        let spec = BridgeSpec {
            name: "theirs",
            mtu: 1500,
            mac: None,
        };
        netlink.link().create_bridge(&spec).unwrap();
        assert!(netlink.link().create_bridge(&spec).unwrap_err().is_exists());
        let used = ensure_bridge(&config("theirs")).unwrap();
        assert_eq!(used.bridge, Outcome::Existing);
        let theirs = || link("theirs");
        assert_eq!(
            (theirs().alias.as_deref(), theirs().mtu),
            (Some("mesh"), 1500)
        );
        // A marked bridge is accepted, whatever was done with it.
        netlink
            .address()
            .add(theirs().index, "10.9.0.1/24".parse().unwrap())
            .unwrap();
        ensure_bridge(&config("theirs")).unwrap();
        assert_eq!(remove_all("theirs").unwrap(), 2);
        assert_eq!(theirs().alias, None);
        assert!(names().contains(&"theirs".to_owned()));
        let error = ensure_bridge(&config("lo")).unwrap_err();
        assert!(error.to_string().contains("no bridge"), "{error}");
    });
}

#[test]
fn a_failure_at_any_step_leaves_nothing() {
    if needs_root("a_failure_at_any_step_leaves_nothing") {
        return;
    }
    NamedNetns::new().run(|| {
        let before = names();
        let mut steps = 0;
        loop {
            let mut plan = StepPlan::failing_at(steps);
            let result = ensure(&config("mesh"), &mut plan);
            if result.is_ok() {
                break;
            }
            drop(plan);
            assert_eq!(names(), before, "step {steps}");
            steps += 1;
        }
        assert!(steps >= 8, "{steps}");
    });
}

#[test]
fn a_bridge_in_use_is_refused_unless_marked() {
    if needs_root("a_bridge_in_use_is_refused_unless_marked") {
        return;
    }
    NamedNetns::new().run(|| {
        let mut netlink = Netlink::open().unwrap();
        for name in ["docker0", "br-0123456789ab", "theirs", "full"] {
            let mtu = 1500;
            let spec = BridgeSpec {
                name,
                mtu,
                mac: None,
            };
            netlink.link().create_bridge(&spec).unwrap();
        }
        let address = "10.9.0.1/24".parse().unwrap();
        netlink
            .address()
            .add(link("theirs").index, address)
            .unwrap();
        let pair = VethSpec {
            name: "a",
            peer_name: "b",
            peer_netns: None,
            peer_mac: None,
            mtu: 1500,
        };
        netlink.link().create_veth(&pair).unwrap();
        netlink
            .link()
            .set_master(link("a").index, link("full").index)
            .unwrap();
        let before = names();
        for (name, told) in [
            ("docker0", "Docker's"),
            ("br-0123456789ab", "Docker network's"),
            ("virbr7", "libvirt's"),
            ("theirs", "it has an address, 10.9.0.1/24"),
            ("full", "it has a port, a"),
        ] {
            let error = ensure_bridge(&config(name)).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
            assert!(
                error.contains(&format!("mesh attach-bridge {name}")),
                "{error}"
            );
        }
        assert_eq!(names(), before);
        assert!(
            ["docker0", "theirs", "full"]
                .iter()
                .all(|n| link(n).mtu == 1500)
        );
        netlink
            .link()
            .set_alias(link("full").index, "mesh")
            .unwrap();
        ensure_bridge(&config("full")).unwrap();
        assert_eq!(link("full").mtu, 1500);
    });
}

#[test]
fn changed_port_settings_are_reset_and_reported() {
    if needs_root("changed_port_settings_are_reset_and_reported") {
        return;
    }
    NamedNetns::new().run(|| {
        ensure_bridge(&config("mesh")).unwrap();
        let none: Vec<String> = Vec::new();
        assert_eq!(ports::set_back("mesh").unwrap(), none);
        for (option, told) in [
            ("hairpin on", "hairpin on"),
            ("isolated on", "isolated"),
            ("learning off", "learning off"),
            ("flood off", "unicast flood off"),
            ("mcast_flood off", "multicast flood off"),
            ("guard on", "BPDU guard on"),
            ("root_block on", "root block on"),
            ("fastleave on", "fast leave on"),
            ("neigh_suppress on", "neighbour suppression on"),
        ] {
            let words = format!("link set dev mesh-p {option}");
            let done = std::process::Command::new("bridge")
                .args(words.split(' '))
                .output();
            assert!(done.unwrap().status.success(), "{option}");
            assert_eq!(
                ports::set_back("mesh").unwrap(),
                [format!("{told} at mesh-p")]
            );
            assert_eq!(ports::set_back("mesh").unwrap(), none);
        }
        remove_all("mesh").unwrap();
        assert_eq!(ports::set_back("mesh").unwrap(), none);
    });
}
