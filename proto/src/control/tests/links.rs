//! Targets and the table of links.

use super::super::targets::{TargetKey, TargetState};
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
    assert_eq!(control.links.iter().count(), limits::MAX_LINKS);
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
        let conn = control.new_conn();
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
    // A crowd is not told one by one.
    let from = SocketAddr::from(([172, 17, 0, 1], 1));
    let control = &mut net.nodes[1].control;
    let told = (0..100).filter(|_| control.handle_accepted(from, now).is_some());
    assert!(told.count() <= usize::try_from(limits::FULL_ALERTS).unwrap());
    assert_eq!(control.links.iter().count(), limits::MAX_LINKS);
}

#[test]
fn targets_that_dial_each_other_at_once_are_both_reached() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(0, 1);
    net.connect(1, 0);
    net.run(Duration::from_millis(100));
    for n in 0..2 {
        let peer = net.nodes[1 - n].control.me();
        let targets = net.nodes[n].control.targets.iter();
        let explicit = targets.filter(|(key, _)| matches!(key, TargetKey::Explicit(_)));
        let states: Vec<_> = explicit.map(|(_, target)| target.state.clone()).collect();
        assert_eq!(states, [TargetState::Satisfied(peer)], "{n}");
    }
}

#[test]
fn a_router_without_targets_finds_those_it_was_linked_to() {
    let mut net = linked_pair();
    net.run(limits::REMEMBER_AFTER + 2 * SECOND);
    let remembered = net.nodes[1].neighbours.clone();
    let expected = Remembered {
        peer: net.nodes[0].control.me(),
        addresses: vec![address(0)],
    };
    assert_eq!(remembered, [expected]);
    // Who was dialled keeps the address that the other announces, not the port it dialled from.
    assert_eq!(net.nodes[0].neighbours[0].addresses, [address(1)]);

    let again = Setup {
        remembered,
        ..open_mesh(2)
    };
    let mut net = Net::new(vec![open_mesh(1), again]);
    net.run(SECOND);
    assert_eq!((net.established(0), net.established(1)), (1, 1));
}
