//! One router: requests, its disk, memberships that follow its containers.

use mesh_proto::network::NetworkId;

use super::world::{DeskNode, MTU, wanted};
use crate::statement::NetworksStatement;
use crate::{NetworksAnswer, NotRemoved, SHORT_ID};

/// Returns the labels that the router announces.
fn stated(node: &DeskNode) -> Vec<(NetworkId, u16)> {
    let Some(last) = node.announced.last() else {
        return Vec::new();
    };
    let statement = NetworksStatement::decode(last).unwrap();
    let memberships = statement.memberships.iter();
    memberships.map(|m| (m.network, m.label.get())).collect()
}

#[test]
fn a_caller_is_answered_and_others_are_told_once_it_is_stored() {
    let mut node = DeskNode::new(1);
    let call = node.begin_create(&wanted("web"));
    assert!(node.carry_out());
    assert!(node.answers.is_empty() && node.announced.is_empty());
    assert!(node.directory.resolve("web").is_ok(), "known here at once");
    node.settle();
    let NetworksAnswer::Created(Ok(created)) = &node.answers[&call] else {
        panic!("{:?}", node.answers);
    };
    assert!(created.is_new);
    assert_eq!(node.announced.len(), 1);
    let id = created.id;
    assert_eq!(
        node.notes[0].split(" (").next(),
        Some("host1 created the network web")
    );
    let again = node.create("web").unwrap();
    assert_eq!((again.id, again.is_new), (id, false));
    node.restart(2);
    assert_eq!(node.directory.resolve("web"), Ok(id), "kept");
    assert_eq!(node.remove("web", false), Ok(id));
    assert!(node.directory.resolve("web").is_err() && node.directory.is_removed(&id));
    assert!(
        node.notes
            .last()
            .unwrap()
            .contains("host1 removed the network web")
    );
}

#[test]
fn a_broken_disk_is_told_and_changes_nothing_further() {
    let mut node = DeskNode::new(1);
    node.create("old").unwrap();
    let told = node.announced.len();
    node.broken = Some("the disk is full".into());
    let error = node.create("web").unwrap_err();
    assert!(
        error.starts_with("the network is created, but that cannot be stored: the disk is full")
    );
    assert_eq!(node.announced.len(), told, "others are not told");
    for error in [
        node.create("other").unwrap_err(),
        node.remove("old", false).unwrap_err().text(&[]),
        node.join(node.directory.resolve("old").unwrap())
            .unwrap_err(),
    ] {
        let says = "the networks cannot be stored: the disk is full; make room, then try again";
        assert_eq!(error, says);
    }
    assert!(node.directory.resolve("other").is_err());
    assert!(node.joined.is_empty());
    node.broken = None;
    node.settle();
    assert_eq!(node.announced.len(), told + 1, "as soon as there is room");
    node.create("other").unwrap();
}

#[test]
fn memberships_follow_the_containers() {
    let mut node = DeskNode::new(1);
    let [web, db] = ["web", "db"].map(|name| node.create(name).unwrap().id);
    node.join(web).unwrap();
    node.join(NetworkId::DEFAULT).unwrap();
    assert_eq!(node.members(), [web]);
    let labels = stated(&node);
    assert_eq!(labels.len(), 1);
    node.pass(9);
    assert_eq!(node.members(), [web], "a container is starting");
    node.pass(2);
    assert!(node.members().is_empty(), "it never came");
    node.join(web).unwrap();
    node.set_used(&[web]);
    node.pass(20);
    assert_eq!(node.members(), [web]);
    assert_eq!(stated(&node), labels, "the same label");
    node.set_used(&[web, db, NetworkId::DEFAULT]);
    assert_eq!(node.members().len(), 2);
    node.set_used(&[db]);
    assert_eq!(
        node.members(),
        [db],
        "at once, so that the other can be removed"
    );
    node.remove("web", false).unwrap();
}

#[test]
fn a_restarted_router_joins_again_with_the_same_label() {
    let mut node = DeskNode::new(1);
    let ids = ["a", "b", "c"].map(|name| node.create(name).unwrap().id);
    node.set_used(&ids);
    let labels = stated(&node);
    assert_eq!(labels.len(), 3);
    node.restart(2);
    assert!(node.members().is_empty());
    node.set_used(&ids);
    assert_eq!(stated(&node), labels);
}

#[test]
fn a_used_network_is_removed_with_force_only() {
    let mut node = DeskNode::new(1);
    let web = node.create("web").unwrap().id;
    node.set_used(&[web]);
    let refused = NotRemoved::InUse {
        network: web,
        name: "web".into(),
        others: Vec::new(),
        is_here: true,
    };
    assert_eq!(node.remove("web", false), Err(refused));
    assert_eq!(node.remove("web", true), Ok(web));
    assert!(node.members().is_empty(), "its containers are detached");
    assert!(node.notes.last().unwrap().contains("are detached from it"));
    // They are gone a little later, and the network is not missed.
    node.pass(3);
    assert!(node.desk.warnings(&node.control).is_empty());
    let error = node.remove("web", false).unwrap_err().text(&[]);
    assert_eq!(
        error,
        "there is no network 'web'; `mesh network ls` lists all"
    );
    let error = node.remove("default", true).unwrap_err().text(&[]);
    assert!(error.contains("'default' cannot be removed"), "{error}");
}

#[test]
fn containers_in_an_unknown_network_are_told() {
    let mut node = DeskNode::new(1);
    node.set_used(&[NetworkId([7; 16])]);
    let warnings = node.desk.warnings(&node.control);
    assert!(
        warnings[0].contains("there is no network with the id 0707"),
        "{warnings:?}"
    );
    node.set_used(&[]);
    assert!(node.desk.warnings(&node.control).is_empty());
}

#[test]
fn networks_are_found_by_name_id_and_unique_prefix() {
    let mut node = DeskNode::new(1);
    let web = node.create("web").unwrap().id;
    let text = web.to_string();
    for typed in ["web", &text, &text[..4], &text[..SHORT_ID].to_uppercase()] {
        assert_eq!(node.directory.resolve(typed), Ok(web), "{typed}");
        assert_eq!(node.desk.inspect(typed, &node.control).unwrap().name, "web");
    }
    for typed in ["0000", "default", &"0".repeat(32)] {
        assert_eq!(
            node.directory.resolve(typed),
            Ok(NetworkId::DEFAULT),
            "{typed}"
        );
    }
    for typed in ["", &text[..3], "Web", "webb", &format!("{text}0"), "a/b"] {
        let error = node.directory.resolve(typed).unwrap_err().to_string();
        assert!(error.contains("there is no network"), "{typed}: {error}");
        assert_eq!(error.lines().count(), 1);
    }
    assert_eq!(node.directory.name(&web), "web");
    assert_eq!(node.directory.name(&NetworkId::DEFAULT), "default");
    assert_eq!(node.directory.name(&NetworkId([0xab; 16])), "abababababab");
}

#[test]
fn default_is_listed_first_and_counted_nowhere() {
    let mut node = DeskNode::new(1);
    assert!(node.desk.summary().is_none());
    let all = node.list();
    assert_eq!((all.len(), all[0].name.as_str()), (1, "default"));
    assert_eq!(all[0].subnets[0].subnet, "10.32.0.0/12");
    assert!(all[0].hosts[0].is_self);
    node.create("web").unwrap();
    assert_eq!(node.desk.summary().unwrap().known, 1);
    let report = node.desk.inspect("web", &node.control).unwrap();
    assert_eq!(report.created_by, "host1");
    assert!(report.hosts.is_empty() && report.created > 0);
    assert_eq!(node.desk.mesh_mtu(), MTU);
}
