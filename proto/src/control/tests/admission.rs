//! Who is let in, and what a refused router is told.

use super::*;

#[test]
fn different_secrets_are_told_on_both_sides() {
    let keyed = |seed| Setup {
        secret: || MeshSecret::from_key_bytes([7; 32]),
        ..open_mesh(seed)
    };
    let other = |seed| Setup {
        secret: || MeshSecret::from_key_bytes([8; 32]),
        ..open_mesh(seed)
    };
    for (a, b) in [
        (keyed(1), other(2)),
        (keyed(1), open_mesh(2)),
        (open_mesh(1), keyed(2)),
    ] {
        let mut net = Net::new(vec![a, b]);
        net.connect(0, 1);
        net.run(2 * SECOND);
        for n in 0..2 {
            assert_eq!(net.established(n), 0);
            let states = net.states(n);
            assert!(
                states
                    .iter()
                    .any(|(_, e)| e.contains("secret") || e.contains("key")),
                "{n}: {states:?}"
            );
        }
    }
}

#[test]
fn a_router_that_meets_itself_gives_up_and_says_so() {
    let mut net = Net::new(vec![open_mesh(1)]);
    net.connect(0, 0);
    net.run(5 * SECOND);
    let states = net.states(0);
    assert!(
        states
            .iter()
            .any(|(s, e)| *s == ConnectionState::Failed && e.contains("ourselves")),
        "{states:?}"
    );
}

#[test]
fn one_name_for_two_routers_is_refused_on_both_sides() {
    let named = |seed| Setup {
        name: Some(PeerName([2, 0, 0, 0, 0, 9])),
        ..open_mesh(seed)
    };
    let mut net = Net::new(vec![named(1), named(2)]);
    net.connect(0, 1);
    net.run(2 * SECOND);
    for n in 0..2 {
        let states = net.states(n);
        assert!(
            states.iter().any(|(_, e)| e.contains("name")),
            "{n}: {states:?}"
        );
    }
}

#[test]
fn strangers_cannot_pin_names_without_end() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    let full: BTreeMap<PeerName, [u8; 32]> = (0..limits::MAX_PINS)
        .map(|n| {
            let [a, b, ..] = n.to_le_bytes();
            (PeerName([4, 0, 0, 0, a, b]), [9; 32])
        })
        .collect();
    net.nodes[0].control.parts.links.set_pins(full.clone());
    net.connect(0, 1);
    net.run(3 * SECOND);
    assert_eq!(net.established(0), 1, "a name that stays unbound is let in");
    assert!(*net.nodes[0].control.parts.links.pins() == full);
}

#[test]
fn names_are_pinned_where_anyone_may_join_and_nowhere_else() {
    let keyed = |seed| Setup {
        secret: || MeshSecret::from_key_bytes([7; 32]),
        ..open_mesh(seed)
    };
    for (setup, pins) in [(open_mesh as fn(u8) -> Setup, 1), (keyed, 0)] {
        let mut net = Net::new(vec![setup(1), setup(2)]);
        net.connect(0, 1);
        net.run(3 * SECOND);
        for node in &net.nodes {
            assert_eq!(node.pinned.len(), pins);
        }
    }
}

#[test]
fn strangers_fill_the_table_of_names_and_no_more() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2), open_mesh(3)]);
    let full = (0..u32::try_from(limits::MAX_PEERS).unwrap()).map(|n| {
        let [a, b, c, d] = n.to_be_bytes();
        (PeerName([6, 6, a, b, c, d]), [1; 32])
    });
    net.nodes[0].control.parts.links.set_pins(full.collect());
    net.connect(0, 1);
    net.connect(0, 2);
    net.run(3 * SECOND);
    assert_eq!(net.established(0), 2, "the unpinned are let in");
    assert!(net.nodes[0].pinned.is_empty());
    let said = |net: &Net| {
        let about_names = |n: &&String| n.contains("bound to keys");
        net.nodes[0].notes.iter().filter(about_names).count()
    };
    assert_eq!(said(&net), 1);
}
