//! Targets and the table of links.

use super::super::links::Retry;
use super::super::neighbours::{TargetKey, TargetState};
use super::*;

#[test]
fn dials_that_all_succeed_do_not_exceed_the_links() {
    let mut net = Net::new(vec![open_mesh(1)]);
    let now = net.now;
    let control = &mut net.nodes[0].control;
    let targets: Vec<String> = (0..limits::MAX_LINKS + 10)
        .map(|n| format!("10.1.{}.{}", n / 250, n % 250 + 1))
        .collect();
    control.connect(&targets, true, now).unwrap();
    let mut dials = Vec::new();
    while let Some(output) = control.poll_output() {
        if let Output::Dial { conn, .. } = output {
            dials.push(conn);
        }
    }
    assert_eq!(dials.len(), targets.len());
    for conn in dials {
        control.handle_connected(conn, address(1), now);
    }
    assert_eq!(control.parts.links.iter().count(), limits::MAX_LINKS);
    let outputs: Vec<Output> = core::iter::from_fn(|| control.poll_output()).collect();
    let closed = outputs.iter().filter(|o| matches!(o, Output::Close { .. }));
    assert_eq!(closed.count(), 10);
}

#[test]
fn replacing_targets_keeps_what_is_listed_and_bad_ones_change_nothing() {
    let mut net = Net::new(vec![open_mesh(1)]);
    let now = net.now;
    let control = &mut net.nodes[0].control;
    control
        .connect(&["a".into(), "b".into()], false, now)
        .unwrap();
    assert!(
        control
            .connect(&["c".into(), "d d".into()], true, now)
            .is_err()
    );
    assert_eq!(control.explicit_targets(), ["a", "b"]);
    control
        .connect(&["b".into(), "c".into()], true, now)
        .unwrap();
    assert_eq!(control.explicit_targets(), ["b", "c"]);
    control.forget(&["b".into(), "unknown".into()]);
    assert_eq!(control.explicit_targets(), ["c"]);
}

#[test]
fn a_full_router_says_so() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    let now = net.now;
    let control = &mut net.nodes[1].control;
    for n in 0..limits::MAX_LINKS {
        let conn = control.parts.links.new_conn();
        let [_, _, a, b] = u32::try_from(n).unwrap().to_be_bytes();
        control.handle_connected(conn, SocketAddr::from(([172, 16, a, b], 1)), now);
    }
    net.connect(0, 1);
    net.run(SECOND);
    let states = net.states(0);
    assert!(
        states
            .iter()
            .any(|(_, e)| e.contains("as many links as it may")),
        "{states:?}"
    );
    // A crowd gets no further than its half-open links, and most of it is reset.
    let from = SocketAddr::from(([172, 17, 0, 1], 1));
    let control = &mut net.nodes[1].control;
    let taken = (0..1_000).filter(|_| control.handle_accepted(from, now).is_some());
    assert_eq!(taken.count() as u64, limits::ACCEPT_BURST_PER_SOURCE);
    let aborted = core::iter::from_fn(|| control.poll_output()).filter(
        |output| matches!(output, Output::Close { ending, .. } if *ending == Ending::Abort),
    );
    assert_eq!(
        aborted.count(),
        usize::try_from(limits::ACCEPT_BURST_PER_SOURCE).unwrap()
            - limits::MAX_HALF_OPEN_PER_SOURCE
    );
    let rest = limits::MAX_LINKS + limits::MAX_HALF_OPEN_PER_SOURCE;
    assert!(control.parts.links.iter().count() <= rest);
}

#[test]
fn one_host_takes_few_links_and_a_known_router_finds_room() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(1, 0);
    net.run(limits::FAMILIAR_AFTER + SECOND);
    let (now, known) = (net.now, net.nodes[1].control.me());
    let is_familiar = |control: &Control, peer: &PeerId| {
        let is_known = |peer: &PeerId| control.parts.neighbours.knows(peer);
        control.parts.links.is_familiar(peer, is_known, now)
    };
    let control = &mut net.nodes[0].control;
    assert!(!is_familiar(control, &known), "a stranger dialled");
    // Made-up routers from few hosts: a known router takes the place of one of them.
    let conn = control.parts.links.of_peer(&known).unwrap();
    control.drop_link(conn, "a restart", Retry::Later, now);
    assert!(is_familiar(control, &known));
    let mut refused = 0;
    for n in 0..u32::try_from(2 * limits::MAX_LINKS).unwrap() {
        let [_, _, a, b] = n.to_be_bytes();
        let source = u8::try_from(n % 20).unwrap();
        let from = SocketAddr::from(([172, 16, 0, source], 1));
        let conn = control.parts.links.new_conn();
        control.open_link(conn, from, crate::link::LinkRole::Acceptor, now);
        let peer = PeerId([a, b, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        if control.has_place(conn, peer, now) {
            control.parts.links.authenticated(conn, peer);
        } else {
            refused += 1;
            control.drop_link(conn, "no place", Retry::Later, now);
        }
        assert!(
            control
                .parts
                .links
                .of_source(crate::source::Source::of(from))
                <= limits::MAX_LINKS_PER_SOURCE
        );
    }
    assert!(refused >= limits::MAX_LINKS && !control.parts.links.has_room());
    let conn = control.parts.links.new_conn();
    control.open_link(conn, address(1), crate::link::LinkRole::Acceptor, now);
    assert!(control.has_place(conn, known, now), "the known one");
    assert!(control.parts.links.has_room(), "somebody went for it");
}

#[test]
fn targets_that_dial_each_other_at_once_are_both_reached() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(0, 1);
    net.connect(1, 0);
    net.run(Duration::from_millis(100));
    for n in 0..2 {
        let peer = net.nodes[1 - n].control.me();
        let targets = net.nodes[n].control.parts.neighbours.targets();
        let explicit = targets.filter(|(key, _)| matches!(key, TargetKey::Explicit(_)));
        let states: Vec<_> = explicit.map(|(_, target)| target.state.clone()).collect();
        assert_eq!(states, [TargetState::Satisfied(peer)], "{n}");
    }
}

#[test]
fn a_router_without_targets_finds_those_it_was_linked_to() {
    let mut net = linked_pair();
    net.run(limits::WARM_START_STABLE + 2 * SECOND);
    let remembered = net.nodes[1].neighbours.clone();
    let expected = StoredNeighbour {
        peer: net.nodes[0].control.me(),
        addresses: vec![address(0)],
    };
    assert_eq!(remembered, [expected]);
    // Who was dialled keeps the address that the other announces, not the port it dialled from.
    assert_eq!(net.nodes[0].neighbours[0].addresses, [address(1)]);

    let again = Setup {
        stored_neighbours: remembered,
        ..open_mesh(2)
    };
    let mut net = Net::new(vec![open_mesh(1), again]);
    net.run(SECOND);
    assert_eq!((net.established(0), net.established(1)), (1, 1));
}

/// Routers of a mesh that is too large for links to everybody, at rest.
fn large_mesh() -> Net {
    let mut net = Net::new((1..=36).map(open_mesh).collect());
    for n in 1..net.nodes.len() {
        net.connect(n, n / 2);
    }
    net.run(40 * SECOND);
    net
}

#[test]
fn who_is_told_of_links_enough_does_not_dial_again() {
    let mut net = large_mesh();
    for n in 1..net.nodes.len() {
        net.connect(n, 0);
    }
    net.run(60 * SECOND);
    let hub = net.nodes[0].control.me();
    let linked = |node: &Node| node.control.parts.links.of_peer(&hub).is_some();
    let other = net.nodes[1..].iter().position(|node| !linked(node));
    let (other, now) = (other.unwrap() + 1, net.now);
    let dials_hub = |net: &Net| {
        let mut targets = net.nodes[other].control.parts.neighbours.targets();
        targets.any(|(key, _)| *key == TargetKey::Discovered(hub))
    };
    let ControlParts {
        neighbours,
        entropy,
        ..
    } = &mut net.nodes[other].control.parts;
    neighbours.set_discovered(&[hub], now, &mut **entropy);
    assert!(dials_hub(&net));
    net.run(SECOND);
    assert!(!dials_hub(&net));
    assert!(!linked(&net.nodes[other]));
}

/// What was said of links since the last time.
fn news_of_links(net: &mut Net) -> Vec<String> {
    let notes = net.nodes.iter_mut().flat_map(|node| node.notes.drain(..));
    notes.filter(|note| note.starts_with("link to")).collect()
}

#[test]
fn a_router_that_was_set_up_again_is_not_dialled_for_ever_by_its_old_identity() {
    let mut net = large_mesh();
    news_of_links(&mut net);
    net.run(20 * SECOND);
    assert_eq!(news_of_links(&mut net), [""; 0], "at rest before");
    net.replace(5, &open_mesh(99));
    net.connect(5, 0);
    net.run(30 * SECOND);
    assert_ne!(news_of_links(&mut net), [""; 0]);
    net.run(60 * SECOND);
    assert_eq!(news_of_links(&mut net), [""; 0]);
}

#[test]
fn a_link_that_one_end_has_not_wanted_for_long_stays_for_a_while_when_the_other_ceases_to() {
    let mut net = large_mesh();
    let hub = net.nodes[0].control.me();
    let linked = |node: &Node| node.control.parts.links.of_peer(&hub).is_some();
    // A router to which neither of the two wants a link of its own accord.
    let other = net.nodes[1..].iter().position(|node| !linked(node));
    let other = other.unwrap() + 1;
    net.connect(other, 0);
    net.run(2 * limits::SPARE_AFTER);
    assert!(linked(&net.nodes[other]));
    net.nodes[other].control.forget(&[address(0).to_string()]);
    net.run(limits::SPARE_AFTER - 3 * limits::HEARTBEAT);
    assert!(linked(&net.nodes[other]));
    net.run(6 * limits::HEARTBEAT);
    assert!(!linked(&net.nodes[other]));
}
