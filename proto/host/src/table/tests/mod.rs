//! The table of what is on the mesh on one host.

mod networks;

use std::path::Path;

use mesh_proto::address::mac_for;
use mesh_proto::ids::Mac;

use super::*;
use crate::docker::endpoint::{ContainerRef, DeferredAddress, EndpointOptions, SecondAddress};
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
        second: None,
        address: address.parse().unwrap(),
        multicast: true,
        deferred: DeferredAddress::No,
        lease_owner: String::new(),
        network: NetworkId::DEFAULT,
        mac: None,
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

#[test]
fn a_mac_address_has_one_owner_in_a_network() {
    let mut table = AttachmentTable::default();
    let nowhere = |_: NetworkId, _: IpAddr| None;
    let chosen = Mac([2, 0x42, 0, 0, 0, 1]);
    let with = |address: &str, mac| DockerEndpoint {
        mac,
        ..end(address)
    };
    table
        .insert_endpoint("e1", with("10.2.1.1/24", Some(chosen)), &nowhere)
        .unwrap();
    let taken = table.insert_endpoint("e2", with("10.2.1.2/24", Some(chosen)), &nowhere);
    assert!(matches!(taken, Err(AttachRefusal::MacInUse { mac, .. }) if mac == chosen));
    let derived = mac_for("10.2.1.3".parse().unwrap());
    table
        .insert_endpoint("e3", with("10.2.1.3/24", None), &nowhere)
        .unwrap();
    let taken = table.insert_endpoint("e4", with("10.2.1.4/24", Some(derived)), &nowhere);
    assert!(taken.is_err());
    let elsewhere = DockerEndpoint {
        mesh_network: NetworkId([7; 16]),
        ..with("10.2.1.2/24", Some(chosen))
    };
    table.insert_endpoint("e5", elsewhere, &nowhere).unwrap();
    let announced = table.announced(&BTreeMap::new());
    let macs: Vec<Mac> = announced.iter().map(|announced| announced.mac).collect();
    assert_eq!(macs, [chosen, chosen, derived]);
    assert_eq!(
        table.endpoints.get("e1").unwrap().interface("e1").mac,
        chosen
    );
}

#[test]
fn both_addresses_of_an_endpoint_are_its_own() {
    let mut table = AttachmentTable::default();
    let nowhere = |_: NetworkId, _: IpAddr| None;
    let with = |address: &str, second: &str| DockerEndpoint {
        second: Some(SecondAddress {
            address: second.parse().unwrap(),
            lease_owner: "docker::2".into(),
        }),
        ..end(address)
    };
    let both = with("10.2.1.1/24", "fd00::1/64");
    table.insert_endpoint("e1", both, &nowhere).unwrap();
    for taken in [with("10.2.1.2/24", "fd00::1/64"), end("fd00::1/64")] {
        let refused = table.insert_endpoint("e2", taken, &nowhere);
        assert!(
            matches!(refused, Err(AttachRefusal::InUse { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(table.address_count(), 2);
    let announced = table.announced(&BTreeMap::new());
    let shown: Vec<String> = announced.iter().map(|a| a.address.to_string()).collect();
    assert_eq!(shown, ["10.2.1.1/24", "fd00::1/64"]);
    assert_eq!(announced[0].mac, announced[1].mac, "one interface");
    let owners: Vec<_> = table.leases().map(|(_, subject)| subject).collect();
    let stored = ["docker::1", "docker::2"].map(LeaseSubject::Stored);
    assert_eq!(owners, stored);
    let interface = table.endpoints.get("e1").unwrap().interface("e1");
    assert_eq!(interface.second, "fd00::1/64".parse().ok());
    let stored = serde_json::to_string(&table).unwrap();
    assert_eq!(
        serde_json::from_str::<AttachmentTable>(&stored).unwrap(),
        table
    );
}
