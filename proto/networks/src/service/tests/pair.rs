//! Two routers that are linked: what one says the other knows.

use mesh_proto::network::NetworkId;

use super::world::DeskPair;

#[test]
fn a_network_is_known_on_the_other_host_and_goes_there_too() {
    let mut pair = DeskPair::new();
    let web = pair.nodes[0].create("web").unwrap().id;
    pair.pass(1);
    let other = &mut pair.nodes[1];
    assert_eq!(other.directory.resolve("web"), Ok(web));
    assert!(other.notes[0].starts_with("host1 created the network web"));
    assert!(!other.create("web").unwrap().is_new);
    other.set_used(&[web]);
    pair.pass(1);
    let one = &mut pair.nodes[0];
    let refused = one.remove("web", false).unwrap_err().text(&[]);
    assert!(
        refused.contains("has containers on host2; detach"),
        "{refused}"
    );
    one.set_used(&[web]);
    let peers = &one.joined[0].peers;
    assert_eq!(peers.len(), 1, "{peers:?}");
    assert_eq!(peers.values().next().unwrap().epoch, 1);
    assert_eq!(one.remove("web", true), Ok(web));
    pair.pass(1);
    let other = &pair.nodes[1];
    assert!(other.directory.is_removed(&web) && other.members().is_empty());
    assert!(
        other
            .notes
            .last()
            .unwrap()
            .starts_with("host1 removed the network web")
    );
}

#[test]
fn a_network_whose_last_container_has_left_may_be_removed() {
    let mut pair = DeskPair::new();
    let web = pair.nodes[0].create("web").unwrap().id;
    pair.nodes[1].set_used(&[web]);
    pair.pass(1);
    pair.nodes[1].set_open(&[], &[web]);
    pair.nodes[1].join(web).unwrap();
    pair.pass(1);
    let refused = pair.nodes[0].remove("web", false).unwrap_err().text(&[]);
    assert!(refused.contains("host2"), "one is starting: {refused}");
    pair.nodes[1].set_used(&[web]);
    pair.nodes[1].set_open(&[], &[web]);
    assert_eq!(pair.nodes[1].members(), [web], "one may come back");
    pair.pass(1);
    let listed = pair.nodes[0].list();
    let listed = listed.iter().find(|network| network.name == "web");
    assert!(listed.unwrap().hosts.is_empty());
    assert_eq!(pair.nodes[0].remove("web", false), Ok(web));
    pair.pass(1);
    assert!(pair.nodes[1].members().is_empty());
}

#[test]
fn a_restarted_router_is_a_member_until_it_had_time_to_say_so() {
    let mut pair = DeskPair::new();
    let web = pair.nodes[0].create("web").unwrap().id;
    pair.nodes[0].set_used(&[web]);
    pair.pass(1);
    pair.nodes[1].set_used(&[web]);
    pair.pass(1);
    let label = |pair: &DeskPair| {
        let joined = &pair.nodes[0].joined;
        let peers = joined.first().map(|joined| joined.peers.clone());
        peers.unwrap_or_default().into_values().next()
    };
    let before = label(&pair).unwrap();
    pair.restart_second(2);
    pair.pass(10);
    let refused = pair.nodes[0].remove("web", false).unwrap_err().text(&[]);
    assert!(
        refused.contains("host2"),
        "its containers wait for it: {refused}"
    );
    pair.nodes[1].set_used(&[web]);
    pair.pass(1);
    let after = label(&pair).unwrap();
    assert_eq!((after.label, after.epoch), (before.label, 2));
    // One that has no containers any more says nothing, and is no member a while later.
    pair.restart_second(3);
    pair.pass(45);
    assert_eq!(label(&pair), None);
    pair.nodes[0].set_used(&[]);
    pair.nodes[0].remove("web", false).unwrap();
}

#[test]
fn of_two_networks_with_one_name_the_loser_is_told() {
    let mut pair = DeskPair::new();
    pair.is_cut = true;
    pair.cut();
    let ids: Vec<NetworkId> = pair
        .nodes
        .iter_mut()
        .map(|node| node.create("web").unwrap().id)
        .collect();
    pair.is_cut = false;
    pair.pass(30);
    let winner = pair.nodes[0].directory.resolve("web").unwrap();
    let loser = ids.iter().position(|id| *id != winner).unwrap();
    for (n, node) in pair.nodes.iter().enumerate() {
        assert_eq!(node.directory.resolve("web"), Ok(winner));
        let short = ids[loser].to_string()[..12].to_owned();
        assert_eq!(node.directory.name(&ids[loser]), short);
        let warnings = node.desk.warnings(&node.control);
        assert_eq!(warnings.len(), usize::from(n == loser), "{warnings:?}");
        let report = node.desk.inspect(&short, &node.control).unwrap();
        assert_eq!(report.shadowed_by, winner.to_string());
    }
    let warning = pair.nodes[loser].desk.warnings(&pair.nodes[loser].control);
    let says = format!("lost its name to the one that host{} created", 2 - loser);
    assert!(warning[0].contains(&says), "{warning:?}");
    pair.nodes[loser]
        .remove(&ids[loser].to_string(), false)
        .unwrap();
    pair.pass(1);
    assert!(
        pair.nodes[loser]
            .desk
            .warnings(&pair.nodes[loser].control)
            .is_empty()
    );
}
