//! Names of a host, from attachments, engines and the operator.

use std::net::IpAddr;

use mesh_engine::container::{EngineContainer, NetworkConnection};
use mesh_proto::api::AttachedInterface;

use super::*;
use crate::containers::naming::Services;

const DEFAULT: NetworkId = NetworkId::DEFAULT;
const OTHER: NetworkId = NetworkId([7; 16]);

#[test]
fn a_name_that_begins_an_id_by_chance_is_a_name() {
    let row = |name: &str| AttachedContainer {
        container: "c7a90b1122334455".to_owned(),
        name: name.to_owned(),
        runtime: Runtime::Process,
        interfaces: Vec::new(),
        notes: Vec::new(),
    };
    for name in ["c", "c7", "web", "c7a90b11223"] {
        assert!(is_named(&row(name)), "{name}");
    }
    for id in ["c7a90b112233", "c7a90b1122334455"] {
        assert!(!is_named(&row(id)), "{id}");
    }
}

fn web() -> AttachedContainer {
    AttachedContainer {
        container: "0123456789abcdef".repeat(4),
        name: "web".to_owned(),
        runtime: Runtime::Docker,
        interfaces: vec![AttachedInterface {
            name: "mesh0".into(),
            address: "10.2.1.1/24".into(),
            mac: String::new(),
            network: String::new(),
        }],
        notes: Vec::new(),
    }
}

fn host_names() -> HostNames {
    HostNames::new(ManualNames::default(), Domain::parse("mesh.local").unwrap())
}

fn look(names: &mut HostNames, rows: &[AttachedContainer]) -> LookEffects {
    look_in(names, rows, &InterfaceNetworks::default())
}

fn look_in(
    names: &mut HostNames,
    rows: &[AttachedContainer],
    networks: &InterfaceNetworks,
) -> LookEffects {
    names.look(AttachedNow {
        rows,
        networks: networks.clone(),
        docker_networks: BTreeMap::from([("d0".to_owned(), DEFAULT), ("d7".to_owned(), OTHER)]),
        exposed: Vec::new(),
        wishes: BTreeMap::new(),
    })
}

fn shown(announcement: &NewAnnouncement) -> Vec<String> {
    let entries = announcement.own.entries.iter();
    entries.map(|(_, entry)| entry.name.to_string()).collect()
}

#[test]
fn a_name_is_announced_before_the_engine_answers_and_the_rest_after() {
    let mut names = host_names();
    let rows = [web()];
    let id = rows[0].container.clone();
    let effects = look(&mut names, &rows);
    assert_eq!(effects.inspect, std::slice::from_ref(&id));
    assert!(effects.docker.is_empty(), "nothing is known of it");
    assert_eq!(shown(&names.take_announcement().unwrap()), ["web"]);
    assert_eq!(names.take_announcement(), None);
    assert!(
        look(&mut names, &rows).inspect.is_empty(),
        "it is being asked"
    );
    let details = ContainerNaming {
        name: "web".into(),
        names: vec![MeshName::given("www", &names.domain).unwrap()],
        has_hostname: true,
        ..ContainerNaming::default()
    };
    assert!(!names.inspected(&id, Some(details)));
    let effects = look(&mut names, &rows);
    assert_eq!((effects.docker.len(), effects.docker[0].heard), (1, 1));
    assert_eq!(shown(&names.take_announcement().unwrap()).len(), 2);
    look(&mut names, &[]);
    let gone = names.take_announcement().unwrap();
    assert_eq!(gone.statement, Some(Vec::new()));
}

#[test]
fn a_change_during_a_query_asks_once_more() {
    let mut names = host_names();
    let rows = [web()];
    let id = rows[0].container.clone();
    look(&mut names, &rows);
    let changed = || EngineEvent::Changed(id.clone());
    assert!(names.handle_event(changed()).inspect.is_empty());
    assert!(names.inspected(&id, None), "it is asked again");
    assert!(!names.inspected(&id, None));
    let effects = names.handle_event(changed());
    assert_eq!(
        (effects.inspect, effects.resolve_owners),
        (vec![id.clone()], true)
    );
    let other = names.handle_event(EngineEvent::Changed("other".into()));
    assert!(other.inspect.is_empty());
    let renamed = || EngineEvent::Renamed(id.clone(), "new".into());
    assert!(names.handle_event(renamed()).renamed.is_some());
    assert!(names.inspected(&id, None), "the old name may be in it");
    assert!(!names.inspected(&id, None));
    assert!(names.handle_event(renamed()).renamed.is_some());
    assert!(
        names.handle_event(changed()).inspect == [id.clone()],
        "nothing was asked"
    );
}

#[test]
fn the_operator_adds_and_removes_names_until_the_container_is_removed() {
    let mut names = host_names();
    let rows = [web()];
    look(&mut names, &rows);
    let change = |name: Option<&str>| DnsChange {
        name: name.map(str::to_owned),
        ..DnsChange::default()
    };
    assert_eq!(
        names.add(change(None), DEFAULT, None),
        Err(NameChangeError::Nothing)
    );
    let target = attached_target(&rows, &InterfaceNetworks::default(), "web");
    let before = names
        .add(change(Some("shop")), DEFAULT, target.clone())
        .unwrap();
    let added = names.manual().clone();
    assert_ne!(added, before);
    names.roll_back(before.clone());
    assert_eq!(*names.manual(), before);
    names
        .add(change(Some("shop")), DEFAULT, target.clone())
        .unwrap();
    assert!(shown(&names.take_announcement().unwrap()).contains(&"shop".to_owned()));
    let error = names
        .remove(&change(Some("nope")), DEFAULT, None)
        .unwrap_err();
    assert_eq!(error, NameChangeError::NotThere("this host".into()));
    names
        .remove(&change(Some("shop")), DEFAULT, target.clone())
        .unwrap();
    names
        .add(change(Some("shop")), DEFAULT, target.clone())
        .unwrap();
    let removed = names.handle_event(EngineEvent::Removed(target.unwrap().id));
    assert!(removed.is_changed);
    assert_eq!(*names.manual(), before);
}

#[test]
fn a_container_is_known_in_its_networks_and_asks_about_them() {
    let mut names = host_names();
    let mut row = web();
    row.interfaces.push(AttachedInterface {
        name: "mesh1".into(),
        address: "10.2.1.1/16".into(),
        mac: String::new(),
        network: String::new(),
    });
    row.interfaces[1].address = "10.40.0.1/16".into();
    let mut plain = web();
    plain.container = "ef".repeat(32);
    plain.interfaces[0].address = "10.40.0.1/16".into();
    let (id, rows) = (row.container.clone(), [row, plain]);
    let other = (id.clone(), IpAddr::from([10, 40, 0, 1]), OTHER);
    let networks: InterfaceNetworks = [other].into_iter().collect();
    look_in(&mut names, &rows, &networks);
    let own = names.take_announcement().unwrap().own;
    let texts = own.entries.iter().map(|(network, entry)| {
        let to = entry.addresses.iter().map(ToString::to_string);
        format!(
            "{} {} {}",
            network.0[0],
            &entry.container[..2],
            to.collect::<String>()
        )
    });
    let expected = ["0 01 10.2.1.1", "0 ef 10.40.0.1", "7 01 10.40.0.1"];
    assert_eq!(texts.collect::<Vec<_>>(), expected);
    assert_eq!(own.addresses.len(), 3);

    names.inspected(&id, Some(ContainerNaming::default()));
    let docker = look_in(&mut names, &rows, &networks).docker;
    assert_eq!(docker[0].networks.as_slice(), [DEFAULT, OTHER]);

    let target = attached_target(&rows, &networks, &rows[1].container);
    let change = || DnsChange {
        name: Some("shop".to_owned()),
        ..DnsChange::default()
    };
    let refused = Err(NameChangeError::OtherNetwork("web".to_owned()));
    assert_eq!(names.add(change(), OTHER, target.clone()), refused);
    names.add(change(), DEFAULT, target).unwrap();
    let target = attached_target(&rows, &networks, &id);
    names.add(change(), OTHER, target.clone()).unwrap();
    let own = names.take_announcement().unwrap().own;
    assert_eq!(own.entries.of(&OTHER).len(), 2);
    names.remove(&change(), OTHER, target.clone()).unwrap();
    let error = names.remove(&change(), OTHER, target).unwrap_err();
    assert!(matches!(error, NameChangeError::NotThere(_)));
}

#[test]
fn an_alias_is_known_in_the_network_that_it_was_given_on() {
    let mut names = host_names();
    let mut row = web();
    row.interfaces.push(AttachedInterface {
        name: "mesh1".into(),
        address: "10.40.0.1/16".into(),
        mac: String::new(),
        network: String::new(),
    });
    let (id, rows) = (row.container.clone(), [row]);
    let other = (id.clone(), IpAddr::from([10, 40, 0, 1]), OTHER);
    let networks: InterfaceNetworks = [other].into_iter().collect();
    look_in(&mut names, &rows, &networks);
    let connection = |network_id: &str, alias: &str, option: Option<&str>| NetworkConnection {
        network_id: network_id.to_owned(),
        aliases: vec![alias.to_owned()],
        options: option
            .map(|address| ("mesh.address".to_owned(), address.to_owned()))
            .into_iter()
            .collect(),
        ..NetworkConnection::default()
    };
    let container = |option| EngineContainer {
        id: id.clone(),
        name: "web".to_owned(),
        aliases: ["zero", "seven", "bridged"].map(str::to_owned).to_vec(),
        networks: vec![
            connection("d0", "zero", Some("10.2.1.1/24")),
            connection("d7", "seven", option),
            connection("bridge", "bridged", None),
        ],
        ..EngineContainer::default()
    };
    let domain = names.domain.clone();
    let answer = |option| ContainerNaming::of(&container(option), &domain, &Services::default());
    names.inspected(&id, Some(answer(None)));
    let docker = look_in(&mut names, &rows, &networks).docker;
    assert!(docker[0].is_untold && docker[0].asks_here(&[]));
    let own = names.take_announcement().unwrap().own;
    let known = |network: &NetworkId| -> Vec<String> {
        let entries = own.entries.of(network).iter();
        let mut known: Vec<String> = entries.map(|entry| entry.name.to_string()).collect();
        known.sort();
        known
    };
    assert_eq!(known(&DEFAULT), ["bridged", "web", "zero"]);
    assert_eq!(known(&OTHER), ["bridged", "seven", "web"]);
    names.inspected(&id, Some(answer(Some("10.40.0.1/16"))));
    let docker = look_in(&mut names, &rows, &networks).docker;
    assert!(
        !docker[0].is_untold,
        "mesh run told it which name server to ask"
    );
}
