//! Removed networks stay removed, and are forgotten in the end.

use super::mesh::{AGREED, Mesh};
use super::*;
use mesh_proto::limits::{MAX_STATED_TOMBSTONES, TOMBSTONE};

fn created(mesh: &mut Mesh, at: usize, name: &str) -> NetworkId {
    let now = mesh.now;
    let seed = u64::try_from(at).unwrap() + 100 + now.as_nanos();
    let node = &mut mesh.nodes[at];
    let mut dice = SeededEntropy::new(seed);
    let created = node
        .networks
        .create(&wanted(name), 1, &mut dice, now)
        .unwrap();
    node.drain(now);
    created.id
}

fn remove(mesh: &mut Mesh, at: usize, name: &str, force: bool) {
    let now = mesh.now;
    let node = &mut mesh.nodes[at];
    node.networks.remove(name, force, now).unwrap();
    node.drain(now);
}

#[test]
fn a_router_that_was_away_for_a_week_does_not_bring_a_network_back() {
    let mut mesh = Mesh::new(4);
    let web = created(&mut mesh, 3, "web");
    mesh.exchange(AGREED);
    let now = mesh.now;
    mesh.nodes[3].join(web, now);
    mesh.exchange(2);
    // It is cut off with a container on the network, which is removed by force.
    mesh.nodes[3].group = 1;
    mesh.exchange(1);
    let refused = mesh.nodes[0].networks.remove("web", false, mesh.now);
    assert!(refused.is_err(), "its container is remembered");
    remove(&mut mesh, 0, "web", true);
    mesh.exchange(AGREED);
    mesh.forget_unreachable();
    // All that heard of the network go, one after the other.
    let new = mesh.add();
    mesh.exchange(AGREED);
    for at in 0..3 {
        mesh.reset(at);
        mesh.exchange(AGREED);
        mesh.forget_unreachable();
    }
    mesh.wait_hours(7 * 24);
    let now = mesh.now;
    mesh.nodes[new].restart(now);
    mesh.nodes[3].restart(now);
    assert!(mesh.nodes[3].networks.get(&web).is_some());
    mesh.nodes[3].told.clear();
    mesh.nodes[3].group = 0;
    mesh.exchange(AGREED);
    mesh.check_agreement();
    for node in &mesh.nodes {
        assert!(node.networks.get(&web).is_none(), "{}", node.me);
        assert!(node.networks.resolve("web").is_err());
    }
    let removed = mesh.nodes[3].told.iter().any(
        |output| matches!(output, NetworksOutput::Removed { was_member: true, by, .. } if *by == ME),
    );
    assert!(removed, "its operator is told");
    assert!(mesh.nodes[3].containers.is_empty());
}

#[test]
fn a_network_outlives_its_author() {
    let mut mesh = Mesh::new(3);
    let web = created(&mut mesh, 0, "web");
    mesh.exchange(3);
    mesh.reset(0);
    mesh.exchange(AGREED);
    mesh.forget_unreachable();
    mesh.check_agreement();
    assert!(mesh.nodes[0].networks.get(&web).is_some());
    // Then it is known to the new router only, and on its disk.
    mesh.reset(1);
    mesh.reset(2);
    let now = mesh.now;
    mesh.nodes[0].restart(now);
    mesh.exchange(AGREED);
    mesh.check_agreement();
    assert_eq!(mesh.nodes[2].networks.resolve("web"), Ok(web));
}

#[test]
fn no_version_outdoes_a_tombstone() {
    let mut networks = networks(ME);
    let mut newest = definition(5, B);
    newest.version.counter = u64::MAX;
    let says = |definitions: Vec<NetworkDefinition>, removals| NetworksStatement {
        definitions,
        removals,
        ..NetworksStatement::default()
    };
    let live = says(vec![newest], Vec::new()).encode();
    networks.handle_statement(B, &live, START).unwrap();
    assert!(networks.get(&id(5)).is_some());
    let gone = says(Vec::new(), vec![removal(5, C)]).encode();
    networks.handle_statement(C, &gone, START).unwrap();
    assert!(networks.get(&id(5)).is_none());
    networks.handle_statement(B, &live, START).unwrap();
    networks.handle_statement(C, &[], START).unwrap();
    networks.forget(&C, START);
    assert!(networks.get(&id(5)).is_none());
}

#[test]
fn tombstones_are_forgotten_by_all_in_the_end_unless_they_are_needed() {
    let mut mesh = Mesh::new(3);
    created(&mut mesh, 0, "web");
    mesh.exchange(AGREED);
    remove(&mut mesh, 1, "web", false);
    mesh.exchange(AGREED);
    let hours = TOMBSTONE.as_secs() / 3_600;
    mesh.wait_hours(hours / 2);
    // Restarts, and routers that hear of it late, do not prolong it without end.
    let late = mesh.add();
    let now = mesh.now;
    mesh.nodes[0].restart(now);
    mesh.exchange(AGREED);
    assert_eq!(mesh.nodes[late].networks.figures().removed, 1);
    mesh.wait_hours(hours / 2 + 72);
    for node in &mesh.nodes {
        assert_eq!(node.networks.figures().removed, 0, "{}", node.me);
    }
    for node in &mut mesh.nodes {
        node.told.clear();
    }
    mesh.wait_hours(30);
    assert!(mesh.nodes.iter().all(|node| node.told.is_empty()));

    // One whose network is still stated stays.
    let mut networks = networks(ME);
    let live = NetworksStatement {
        definitions: vec![definition(5, B)],
        ..NetworksStatement::default()
    };
    networks.handle_statement(B, &live.encode(), START).unwrap();
    networks.remove("n5", false, START).unwrap();
    let late = START + TOMBSTONE + TOMBSTONE;
    networks.handle_time(&mut SeededEntropy::new(7), late);
    assert_eq!(networks.figures().removed, 1);
    networks.handle_statement(B, &[], late).unwrap();
    networks.handle_time(&mut SeededEntropy::new(7), late + Duration::from_secs(1));
    assert_eq!(networks.figures().removed, 0);
}

#[test]
fn a_tombstone_that_is_not_stated_for_lack_of_room_is_when_it_is_needed() {
    let mut networks = networks(ME);
    let mut now = START;
    let count = MAX_STATED_TOMBSTONES + 20;
    let mut first = None;
    for n in 0..count {
        let web = create(&mut networks, "web", u64::try_from(n).unwrap());
        first.get_or_insert((web, (**networks.get(&web).unwrap()).clone()));
        networks.remove("web", false, now).unwrap();
        now += Duration::from_secs(1);
    }
    let (web, definition) = first.unwrap();
    let outputs = drain(&mut networks);
    let statement = stated(&outputs).unwrap();
    assert_eq!(statement.removals.len(), MAX_STATED_TOMBSTONES);
    assert!(statement.removals.iter().all(|r| r.network != web));
    assert_eq!(networks.figures().removed, count);
    let back = NetworksStatement {
        definitions: vec![definition],
        ..NetworksStatement::default()
    };
    networks.handle_statement(B, &back.encode(), now).unwrap();
    networks.handle_time(&mut SeededEntropy::new(7), now + Duration::from_secs(1));
    let statement = stated(&drain(&mut networks)).unwrap();
    assert!(statement.removals.iter().any(|r| r.network == web));
    assert_eq!(statement.removals.len(), MAX_STATED_TOMBSTONES);
}
