//! Networks besides `default`: stored, and apart.

use super::*;

/// What is in other networks is stored beside it, each with its network.
#[test]
fn networks_are_stored_where_there_are_any() {
    const STORED: &str = r#"{
        "members": {
            "c1": {"name": "web", "runtime": "docker", "home": {"Container": {"pid": 7, "started": 70}},
                "ports": [{"ifname": "mesh0", "address": "10.2.1.1/24", "multicast": true},
                    {"ifname": "mesh1", "address": "10.40.0.1/16", "multicast": false,
                        "network": "07070707070707070707070707070707"}]}
        },
        "endpoints": {
            "e1": {"network": "n", "address": "10.40.0.2/16", "multicast": false, "late": false, "peer": "peer0",
                "sandbox": null, "owner": null, "ifname": "", "holder": "",
                "mesh_network": "07070707070707070707070707070707"}
        },
        "exposed": {"10.40.0.1/16@08080808080808080808080808080808": {"masquerade": false, "names": []}},
        "prepared": {"1": {"holder": "docker::1", "caller": {"pid": 9, "started": 90},
            "mesh_networks": ["09090909090909090909090909090909"]}},
        "bridges": ["br0", "br1@0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"]
    }"#;
    let table: AttachmentTable = serde_json::from_str(STORED).unwrap();
    let stored: serde_json::Value = serde_json::from_str(STORED).unwrap();
    assert_eq!(serde_json::to_value(&table).unwrap(), stored);
    let used = table.used_networks().into_iter();
    let first: Vec<u8> = used.map(|network| network.0[0]).collect();
    assert_eq!(first, [7, 8, 9, 10]);
    assert_eq!(table.bindings_in(WEB).len(), 2);
    for bad in ["web", "07"] {
        let text = STORED.replace(&"07".repeat(16), bad);
        assert!(
            serde_json::from_str::<AttachmentTable>(&text).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn equal_addresses_in_two_networks_are_two() {
    let mut table = AttachmentTable::default();
    attach(&mut table, "id-web", PROCESS, &["10.2.1.1/24"]).unwrap();
    attach_in(&mut table, WEB, "id-db", PROCESS, &["10.2.1.1/24"]).unwrap();
    let owner = |network| {
        let binding = table.binding_of(network, "10.2.1.1".parse().unwrap());
        binding.map(|binding| binding.owner)
    };
    assert_eq!(owner(NetworkId::DEFAULT).as_deref(), Some("id-web"));
    assert_eq!(owner(WEB).as_deref(), Some("id-db"));
    assert_eq!(owner(NetworkId([8; 16])), None);
    // 10.9.9.9 is used elsewhere in default alone.
    attach_in(&mut table, WEB, "id-db", PROCESS, &["10.9.9.9/24"]).unwrap();
    let error = attach_in(&mut table, WEB, "id-web", PROCESS, &["10.9.9.9/24"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "10.9.9.9 is already used by container db on this host"
    );
    let error = attach_in(&mut table, WEB, "id-api", PROCESS, &["10.2.1.1/24"]).unwrap_err();
    assert!(error.to_string().contains("container db"), "{error}");
    // One container has an address once, in whatever network.
    let error = attach_in(&mut table, WEB, "id-web", PROCESS, &["10.2.1.1/24"]).unwrap_err();
    assert!(
        error.to_string().contains("already used by container db"),
        "{error}"
    );
    let other = NetworkId([8; 16]);
    let error = attach_in(&mut table, other, "id-web", PROCESS, &["10.2.1.1/24"]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("container web has 10.2.1.1/24 in another network")
    );
    table
        .expose(in_web("10.2.1.3/24"), (false, false), None, &far)
        .unwrap();
    let error = table
        .expose(scoped("10.2.1.3/24"), (false, false), None, &far)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("this host has 10.2.1.3/24 in another network")
    );

    let ps = table.ps(view());
    let shown: Vec<String> = ps
        .iter()
        .flat_map(|row| &row.interfaces)
        .map(|i| format!("{} {} {} '{}'", i.name, i.mac, i.address, i.network))
        .collect();
    assert_eq!(shown[0], "mesh-web  10.2.1.3/24 'web'");
    assert_eq!(shown[1], " 02:6d:0a:02:01:01 10.2.1.1/24 'web'");
    assert!(shown.iter().any(|line| line.ends_with("10.2.1.1/24 ''")));
    let macs = BTreeMap::from([(NetworkId::DEFAULT, Mac([2, 0, 0, 0, 0, 1]))]);
    let announced = table.announced(&macs);
    assert_eq!(announced.len(), 3, "that of the host is not known yet");
    assert_eq!(announced.iter().filter(|a| a.network == WEB).count(), 2);
}

#[test]
fn a_container_in_several_networks_leaves_one_of_them() {
    let mut table = AttachmentTable::default();
    attach(&mut table, "id-web", PROCESS, &["10.2.1.1/24"]).unwrap();
    let done = attach_in(&mut table, WEB, "id-web", PROCESS, &["10.40.0.1/16"]).unwrap();
    assert_eq!(done.new, addresses(&["10.40.0.1/16"]));
    assert_eq!(table.used_networks(), BTreeSet::from([WEB]));
    let tags: Vec<String> = table.tags().into_iter().collect();
    let web = "07".repeat(16);
    assert_eq!(
        tags,
        [
            "id-web/10.2.1.1/24".to_owned(),
            format!("id-web/10.40.0.1/16@{web}")
        ]
    );
    table
        .members
        .remove_ports("id-web", &[in_web("10.2.1.1/24")]);
    assert_eq!(
        table.bindings_of("id-web").len(),
        2,
        "that is another address"
    );
    table.members.set_stopped("id-web");
    assert_eq!(
        table.used_networks(),
        BTreeSet::from([WEB]),
        "it wants it again"
    );
    assert_eq!(table.bindings_in(WEB).len(), 1);
    table
        .members
        .remove_ports("id-web", &[in_web("10.40.0.1/16")]);
    assert_eq!(table.bindings_of("id-web").len(), 1);
    assert!(table.used_networks().is_empty());
}

/// Random changes in two networks: no address of a network has two owners, and what is in `default` is as if the other
/// network were not there.
#[test]
fn networks_do_not_see_one_another() {
    let mut seed = 1u64;
    let mut next = |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..200 {
        let (mut both, mut alone) = (AttachmentTable::default(), AttachmentTable::default());
        for _ in 0..40 {
            let network = [NetworkId::DEFAULT, WEB][usize::try_from(next(2)).unwrap()];
            // Containers of their own in each network, which have addresses of the same few.
            let id = format!("id-{}-{}", network.0[0], next(4));
            let address = format!("10.2.1.{}/24", next(6) + 1);
            let one = ScopedAddress::new(network, address.parse().unwrap());
            let op = next(4);
            let act = |table: &mut AttachmentTable| match op {
                0 | 1 => attach_in(table, network, &id, PROCESS, &[&address]).map(drop),
                2 => {
                    table.members.remove_ports(&id, &[one]);
                    Ok(())
                }
                _ => {
                    table.resume(&id, RESTARTED, &far);
                    table.members.set_stopped(&id);
                    Ok(())
                }
            };
            let done = act(&mut both);
            if network.is_default() {
                assert_eq!(act(&mut alone), done, "{id} {address} {op}");
            }
            let all: Vec<ScopedAddress> = both.bindings().map(|b| b.scoped()).collect();
            let different: BTreeSet<ScopedAddress> = all.iter().copied().collect();
            assert_eq!(all.len(), different.len());
        }
        let of_default: Vec<AddressBinding> =
            both.bindings().filter(|b| b.network.is_default()).collect();
        assert_eq!(of_default, alone.bindings().collect::<Vec<_>>());
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(
            serde_json::from_str::<AttachmentTable>(&text).unwrap(),
            both
        );
        assert!(
            !serde_json::to_string(&alone)
                .unwrap()
                .contains("mesh_network")
        );
        assert!(
            !serde_json::to_string(&alone)
                .unwrap()
                .contains("\"network\"")
        );
    }
}
