use std::path::Path;

use mesh_proto::ids::Mac;

use super::*;
use crate::docker::endpoint::{ContainerRef, DeferredAddress, EndpointOptions};
use crate::exposure::HostExposure;
use crate::member::Tenant;
use crate::network::view::NetworkView;

const PROCESS: ProcessIdentity = ProcessIdentity {
    pid: 7,
    started: 70,
};
const WEB: NetworkId = NetworkId([7; 16]);
const RESTARTED: ProcessIdentity = ProcessIdentity {
    pid: 8,
    started: 80,
};

/// 10.9.9.9 is used elsewhere.
fn far(network: NetworkId, ip: IpAddr) -> Option<String> {
    (network.is_default() && ip.to_string() == "10.9.9.9")
        .then(|| "container far on 7a::1(host2)".to_owned())
}

fn addresses(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|a| a.parse().unwrap()).collect()
}

fn scoped(text: &str) -> ScopedAddress {
    text.parse().unwrap()
}

/// The address in the network `web`.
fn in_web(text: &str) -> ScopedAddress {
    ScopedAddress::new(WEB, text.parse().unwrap())
}

fn view() -> NetworkView<'static> {
    NetworkView {
        name: &|_| "web".to_owned(),
        bridge: &|network| match network.is_default() {
            true => "mesh".to_owned(),
            false => "mesh-web".to_owned(),
        },
        host_mac: &|network| network.is_default().then_some(Mac([2, 0, 0, 0, 0, 1])),
    }
}

/// Attaches addresses to a container of Docker whose id is `id-` and its name.
fn attach(
    table: &mut AttachmentTable,
    id: &str,
    process: ProcessIdentity,
    texts: &[&str],
) -> Result<AttachedTo, AttachRefusal> {
    attach_in(table, NetworkId::DEFAULT, id, process, texts)
}

fn attach_in(
    table: &mut AttachmentTable,
    network: NetworkId,
    id: &str,
    process: ProcessIdentity,
    texts: &[&str],
) -> Result<AttachedTo, AttachRefusal> {
    let to = AttachTo {
        network,
        key: id,
        owner: id,
        name: id.trim_start_matches("id-"),
        container: Some((Runtime::Docker, process)),
        addresses: &addresses(texts),
        multicast_route: true,
        without_dns: false,
        hosts: HostsWish::default(),
    };
    let mut next = table.clone();
    let done = next.attach(to, &far)?;
    *table = next;
    Ok(done)
}

fn pod(address: &str) -> PluggedMember {
    let home = Home::Namespace {
        netns: "mesh-ns-1".into(),
        tenant: Tenant::Container("c".into()),
    };
    let ports = MemberPort::for_addresses(NetworkId::DEFAULT, &addresses(&[address]), false);
    PluggedMember::new("pod", Runtime::Podman, home, ports)
}

fn end(address: &str) -> DockerEndpoint {
    let wanted = EndpointOptions {
        address: address.parse().unwrap(),
        multicast: true,
        deferred: DeferredAddress::No,
        lease_owner: String::new(),
        network: NetworkId::DEFAULT,
    };
    DockerEndpoint::new("net", &wanted, "docker::1".into())
}

#[test]
fn an_address_has_one_owner() {
    let mut table = AttachmentTable::default();
    let done = attach(&mut table, "id-web", PROCESS, &["10.2.1.1/24"]).unwrap();
    assert_eq!(done.new, addresses(&["10.2.1.1/24"]));
    let again = attach(&mut table, "id-web", PROCESS, &["10.2.1.1/24"]).unwrap();
    assert_eq!(again, AttachedTo::default());
    for (id, address, words) in [
        (
            "id-db",
            "10.2.1.1/24",
            "10.2.1.1 is already used by container web on this host",
        ),
        (
            "id-web",
            "10.2.1.1/16",
            "container web has 10.2.1.1/24 already; detach it first",
        ),
        (
            "id-db",
            "10.9.9.9/24",
            "10.9.9.9 is already used by container far on 7a::1(host2)",
        ),
    ] {
        let error = attach(&mut table, id, PROCESS, &[address]).unwrap_err();
        assert_eq!(error.to_string(), words);
    }
    table
        .insert_endpoint("e1", end("10.2.1.2/24"), &far)
        .unwrap();
    let error = attach(&mut table, "id-db", PROCESS, &["10.2.1.2/24"]).unwrap_err();
    assert!(
        error.to_string().contains("starting or stopping"),
        "{error}"
    );
    let (one, ways) = (scoped("10.2.1.3/24"), (true, false));
    table.expose(one, ways, None, &far).unwrap();
    let error = attach(&mut table, "id-db", PROCESS, &["10.2.1.3/24"]).unwrap_err();
    assert!(error.to_string().contains("mesh expose"), "{error}");
    let other = scoped("10.2.1.3/16");
    let error = table.expose(other, ways, None, &far).unwrap_err();
    assert_eq!(error, AttachRefusal::ExposedOtherwise(one.address));
}

#[test]
fn a_full_table_takes_no_more() {
    let mut table = AttachmentTable::default();
    for n in 0..MAX_ATTACHED {
        let address = format!("10.1.{}.{}/16", n / 256, n % 256);
        table.endpoints.insert(&n.to_string(), end(&address));
    }
    let error = attach(&mut table, "id-web", PROCESS, &["10.2.1.1/24"]).unwrap_err();
    assert_eq!(error, AttachRefusal::Full);
}

#[test]
fn the_host_has_bounded_addresses_and_names() {
    let mut table = AttachmentTable::default();
    let ways = (false, false);
    for n in 1..=MAX_EXPOSED {
        let address = scoped(&format!("10.2.{n}.1/24"));
        table.expose(address, ways, None, &far).unwrap();
    }
    let [old, new] = ["10.2.1.1/24", "10.3.1.1/24"].map(scoped);
    let error = table.expose(new, ways, None, &far).unwrap_err();
    assert!(error.to_string().contains("addresses"), "{error}");
    let name = |n: usize| MeshName::relative(&format!("n{n}")).unwrap();
    for n in 0..MAX_EXPOSED_NAMES {
        table.expose(old, ways, Some(&name(n)), &far).unwrap();
    }
    let one_more = name(MAX_EXPOSED_NAMES);
    let error = table.expose(old, ways, Some(&one_more), &far).unwrap_err();
    assert!(
        error.to_string().contains("names for 10.2.1.1/24"),
        "{error}"
    );
}

#[test]
fn one_multicast_route_for_a_container() {
    let mut table = AttachmentTable::default();
    attach(&mut table, "id-web", PROCESS, &["10.2.1.1/24"]).unwrap();
    attach(&mut table, "id-web", PROCESS, &["10.2.2.1/24"]).unwrap();
    let ports = &table.members.get("id-web").unwrap().ports;
    let multicast: Vec<bool> = ports.iter().map(|port| port.multicast).collect();
    assert_eq!(multicast, [true, false]);
    table.endpoints.insert("e1", end("10.2.1.9/24"));
    let owner = ContainerRef {
        id: "id-db".into(),
        name: "db".into(),
    };
    table.endpoints.set_owner("e1", owner);
    attach(&mut table, "id-db", PROCESS, &["10.2.3.1/24"]).unwrap();
    assert!(!table.members.get("id-db").unwrap().ports[0].multicast);
}

#[test]
fn a_restarted_container_has_the_addresses_that_are_still_free() {
    let mut table = AttachmentTable::default();
    attach(
        &mut table,
        "id-web",
        PROCESS,
        &["10.2.1.1/24", "10.2.1.2/24"],
    )
    .unwrap();
    table
        .members
        .set_ifname("id-web", scoped("10.2.1.1/24"), "mesh0");
    assert_eq!(table.resume("id-web", PROCESS, &far), None, "it runs on");
    // Restarted unnoticed: it kept them.
    assert_eq!(table.resume("id-web", RESTARTED, &far), Some(Vec::new()));
    assert!(
        table.members.get("id-web").unwrap().ports[0]
            .ifname
            .is_empty()
    );
    table.members.set_stopped("id-web");
    assert_eq!(table.bindings().count(), 0);
    assert_eq!(table.bindings_of("id-web").len(), 2);
    attach(&mut table, "id-db", PROCESS, &["10.2.1.1/24"]).unwrap();
    let lost = table.resume("id-web", RESTARTED, &far);
    assert_eq!(lost, Some(vec![scoped("10.2.1.1/24")]));
    assert_eq!(table.bindings_of("id-web").len(), 1);
    assert_eq!(table.resume("nobody", PROCESS, &far), None);
}

#[test]
fn a_pod_that_runs_again_has_the_addresses_that_are_still_free() {
    let mut table = AttachmentTable::default();
    table.insert_member("p", pod("10.2.1.1/24"), &far).unwrap();
    assert!(table.insert_member("q", pod("10.9.9.9/24"), &far).is_err());
    table.members.set_detached("p");
    attach(&mut table, "id-db", PROCESS, &["10.2.1.1/24"]).unwrap();
    let lost = table.reattach("p", &far);
    assert_eq!(lost.len(), 1);
    let pod = table.members.get("p").unwrap();
    assert!(pod.is_live() && pod.ports.is_empty());
}

#[test]
fn names_and_rows_follow_what_docker_tells() {
    let mut table = AttachmentTable::default();
    table
        .endpoints
        .insert("0123456789abcdef", end("10.2.1.1/24"));
    assert_eq!(table.ps(view())[0].name, "0123456789ab");
    let owner = ContainerRef {
        id: "c".into(),
        name: "web".into(),
    };
    table.endpoints.set_owner("0123456789abcdef", owner);
    table.rename("c", "api");
    assert_eq!(
        table.find_container("api"),
        Some(("c".into(), "api".into()))
    );
    let names = table.container_names(|owner| owner.rsplit(':').next());
    assert_eq!(names.into_keys().collect::<Vec<_>>(), ["1", "c"]);
    let host = scoped("10.2.1.254/24");
    table.expose(host, (true, false), None, &far).unwrap();
    assert_eq!(
        table.announced(&BTreeMap::new()).len(),
        1,
        "its MAC is not known yet"
    );
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let announced = table.announced(&BTreeMap::from([(NetworkId::DEFAULT, mac)]));
    assert_eq!((announced.len(), announced[1].mac), (2, mac));
    let ps = table.ps(view());
    assert_eq!((ps[0].name.as_str(), ps[1].name.as_str()), (EXPOSE, "api"));
}

#[test]
fn leases_belong_to_containers_processes_and_the_host() {
    let mut table = AttachmentTable::default();
    table.insert_member("p", pod("10.2.1.1/24"), &far).unwrap();
    table.endpoints.insert("e1", end("10.2.1.2/24"));
    let mut stored_by_an_earlier_version = end("10.2.1.3/24");
    stored_by_an_earlier_version.lease_owner.clear();
    table.endpoints.insert("e2", stored_by_an_earlier_version);
    let host = scoped("10.2.1.254/24");
    table.expose(host, (true, false), None, &far).unwrap();
    let subjects: Vec<LeaseSubject<'_>> = table.leases().map(|(_, subject)| subject).collect();
    assert_eq!(
        subjects,
        [
            LeaseSubject::Container(Runtime::Podman, "c"),
            LeaseSubject::Stored("docker::1"),
            LeaseSubject::Container(Runtime::Docker, "net"),
            LeaseSubject::Host,
        ]
    );
}

#[test]
fn reservations_last_as_long_as_their_callers() {
    let mut table = AttachmentTable::default();
    for (id, caller) in [("1", PROCESS), ("2", RESTARTED)] {
        let lease_owner = format!("docker::{id}");
        table.prepare(
            id,
            Reservation {
                lease_owner,
                caller,
                mesh_networks: BTreeSet::new(),
            },
        );
    }
    let live = table.live_reservations(|process| process == PROCESS);
    assert_eq!(live, BTreeSet::from(["docker::1".to_owned()]));
    assert!(table.unprepare("2").is_none());
    assert_eq!(table.unprepare("1").unwrap().caller, PROCESS);
}

#[test]
fn networks_are_remembered_up_to_a_bound() {
    let mut table = AttachmentTable::default();
    let ids = |range: std::ops::Range<usize>| range.map(|n| n.to_string()).collect();
    table.learn_networks(ids(0..MAX_NETWORKS));
    assert_eq!(table.networks().len(), MAX_NETWORKS);
    table.learn_networks(ids(1000..1001));
    assert_eq!(table.networks().len(), 1);
}

/// The file of a router of today is read by the next one, and the other way round.
#[test]
fn the_stored_form_stays() {
    const STORED: &str = r#"{
        "members": {
            "c1": {"name": "web", "runtime": "docker", "home": {"Container": {"pid": 7, "started": 70}},
                "ports": [{"ifname": "mesh0", "address": "10.2.1.1/24", "multicast": true}],
                "hosts": {"leave": true, "added": [["db", "10.2.1.7"]]}},
            "c2": {"name": "off", "runtime": "podman", "home": {"Container": null}, "ports": [], "without_dns": true},
            "p1": {"name": "pod", "runtime": "podman",
                "home": {"Namespace": {"netns": "mesh-ns-p1", "holder": {"Container": "c3"}}},
                "ports": [{"ifname": "", "address": "fd00::5/64", "multicast": false}], "asleep": true}
        },
        "endpoints": {
            "e1": {"network": "n", "address": "10.2.1.2/24", "multicast": false, "late": true, "peer": "peer0",
                "sandbox": "/var/run/docker/netns/1", "owner": {"id": "c4", "name": "api"}, "ifname": "mesh0",
                "holder": "docker:api:1"}
        },
        "exposed": {"10.2.1.254/24": {"masquerade": true, "forward": true, "names": ["gw"]}},
        "prepared": {"1": {"holder": "docker::1", "caller": {"pid": 9, "started": 90}}},
        "networks": ["n"],
        "bridges": ["br0"]
    }"#;
    let table: AttachmentTable = serde_json::from_str(STORED).unwrap();
    let value = serde_json::to_value(&table).unwrap();
    let stored: serde_json::Value = serde_json::from_str(STORED).unwrap();
    assert_eq!(value, stored);
    assert!(table.members.get("p1").unwrap().detached);
    let sandbox = Path::new("/var/run/docker/netns/1");
    assert!(table.endpoints.joined_to("e1", sandbox).unwrap().deferred);
    let exposure: Vec<(ScopedAddress, &HostExposure)> = table.exposed.iter().collect();
    assert!(exposure[0].1.forward);
    // What an earlier version stored.
    let earlier = r#"{"members": {}, "endpoints": {"e1": {"network": "n", "address": "10.2.1.2/24",
        "multicast": false, "late": false, "peer": "", "sandbox": null, "owner": null, "ifname": ""}}}"#;
    let earlier: AttachmentTable = serde_json::from_str(earlier).unwrap();
    assert!(earlier.endpoints.get("e1").unwrap().lease_owner.is_empty());
}

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
