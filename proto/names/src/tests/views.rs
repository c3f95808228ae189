//! Merged view of all statements.

use proptest::prelude::*;

use super::*;
use mesh_proto::limits::{MAX_HOST_NAMES, MAX_NAME_PAIRS};

fn leads(names: &Names, text: &str) -> Vec<(PeerId, IpAddr)> {
    let held = shown(names).holders(text).iter();
    held.flat_map(|h| h.entry.addresses.iter().map(|ip| (h.origin, *ip)))
        .collect()
}

/// Returns the names of the network `default`.
fn shown(names: &Names) -> &NetworkNames {
    names.zone().network(&NetworkId::DEFAULT)
}

fn web(address: &str) -> Vec<u8> {
    stated(&[container("c", &["web"], &[address])])
}

#[test]
fn names_of_others_are_shown_while_they_can_be_reached() {
    let mut names = names();
    assert_eq!(
        names.handle_statement(B, seq(1), &web("10.32.0.1")),
        Ok(false)
    );
    assert_eq!(leads(&names, "web"), []);
    assert!(names.set_reachable(B, true));
    assert_eq!(leads(&names, "web"), [(B, ip("10.32.0.1"))]);
    assert!(names.set_reachable(B, false));
    assert_eq!(leads(&names, "web"), []);
    assert_eq!(shown(&names).named(ip("10.32.0.1")), []);
    assert_eq!(names.zone().hidden(), 1);
    assert!(names.set_reachable(B, true), "back at once");
    assert_eq!(leads(&names, "web").len(), 1);
    assert!(names.forget(&B));
    assert_eq!(leads(&names, "web"), []);
    assert_eq!(names.zone().pairs(), 0);
}

#[test]
fn a_router_that_was_cut_off_brings_nothing_back() {
    let mut names = names();
    names.set_reachable(B, true);
    names
        .handle_statement(B, seq(5), &web("10.32.0.1"))
        .unwrap();
    assert_eq!(names.handle_statement(B, seq(6), &stated(&[])), Ok(true));
    assert_eq!(
        names.handle_statement(B, seq(5), &web("10.32.0.1")),
        Ok(false)
    );
    assert_eq!(
        names.handle_statement(B, seq(6), &web("10.32.0.1")),
        Ok(false)
    );
    assert_eq!(leads(&names, "web"), []);
    let restarted = Version { epoch: 2, seq: 1 };
    assert_eq!(
        names.handle_statement(B, restarted, &web("10.32.0.2")),
        Ok(true)
    );
    assert_eq!(leads(&names, "web"), [(B, ip("10.32.0.2"))]);
}

#[test]
fn shared_names_merge_and_keep_their_origins() {
    let mut names = names();
    own(&mut names, vec![container("a", &["web"], &["10.32.0.1"])]);
    for (peer, address) in [(B, "10.32.0.2"), (C, "10.32.0.3")] {
        names.set_reachable(peer, true);
        names.handle_statement(peer, seq(1), &web(address)).unwrap();
    }
    let found = leads(&names, "web");
    assert_eq!(
        found,
        [
            (ME, ip("10.32.0.1")),
            (B, ip("10.32.0.2")),
            (C, ip("10.32.0.3"))
        ]
    );
    names.set_reachable(B, false);
    assert_eq!(leads(&names, "web").len(), 2);
    own(&mut names, Vec::new());
    assert_eq!(leads(&names, "web"), [(C, ip("10.32.0.3"))]);
}

#[test]
fn other_routers_cannot_replace_the_own_statement() {
    let mut names = names();
    own(&mut names, vec![container("a", &["web"], &["10.32.0.1"])]);
    let high = Version {
        epoch: u64::MAX,
        seq: u64::MAX,
    };
    assert_eq!(names.handle_statement(ME, high, &stated(&[])), Ok(false));
    assert!(!names.set_reachable(ME, false));
    assert!(!names.forget(&ME));
    assert_eq!(leads(&names, "web").len(), 1);
}

#[test]
fn a_statement_that_is_refused_ends_the_one_before_it() {
    let mut names = names();
    names.set_reachable(B, true);
    names
        .handle_statement(B, seq(1), &web("10.32.0.1"))
        .unwrap();
    assert_eq!(
        names.handle_statement(B, seq(2), &[1, 2, 3]),
        Err(StatementError::Malformed)
    );
    assert_eq!(names.refused(), 1);
    assert_eq!(leads(&names, "web"), []);
    assert_eq!(names.zone().pairs(), 0);
}

#[test]
fn the_mesh_has_a_bound_and_this_host_has_its_place() {
    let mut names = names();
    let many = (0..MAX_HOST_NAMES).map(|n| {
        let addresses: Vec<String> = (1..=2).map(|host| format!("10.32.0.{host}")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        container("c", &[&format!("n{n}")], &addresses)
    });
    let full = stated(&many.collect::<Vec<_>>());
    let pairs = 2 * decode(&full).unwrap().count();
    let mut refused = 0;
    for n in 0..=u8::try_from(MAX_NAME_PAIRS / pairs).unwrap() {
        let peer = PeerId([n + 10; 16]);
        names.set_reachable(peer, true);
        let result = names.handle_statement(peer, seq(1), &full);
        refused += usize::from(result == Err(StatementError::Full));
        assert!(names.zone().pairs() <= MAX_NAME_PAIRS);
    }
    assert_eq!(refused, 1);
    own(&mut names, vec![container("a", &["web"], &["10.32.0.1"])]);
    assert_eq!(leads(&names, "web").len(), 1);
}

#[test]
fn earlier_statements_stay_when_others_fill_the_table() {
    let mut names = names();
    let web = |address: &str| stated(&[container("a", &["web"], &[address])]);
    names.set_reachable(B, true);
    names
        .handle_statement(B, seq(1), &web("10.32.0.1"))
        .unwrap();
    let many = (0..MAX_HOST_NAMES).map(|n| container("c", &[&format!("n{n}")], &["10.32.9.9"]));
    let full = stated(&many.collect::<Vec<_>>());
    // Invented routers, first unreachable, then reachable.
    for (first, reachable) in [(100, false), (150, true)] {
        for n in first..first + 40 {
            let peer = PeerId([n; 16]);
            names.set_reachable(peer, reachable);
            let _ = names.handle_statement(peer, seq(1), &full);
        }
    }
    assert!(names.zone().pairs() > MAX_NAME_PAIRS - MAX_HOST_NAMES);
    assert_eq!(
        leads(&names, "web").len(),
        1,
        "earlier routers keep their names"
    );
    // It may state more, for which the most recently added routers are evicted.
    let two = stated(&[
        container("a", &["web"], &["10.32.0.1", "10.32.0.2"]),
        container("b", &["db"], &["10.32.0.3"]),
    ]);
    for n in 200..220 {
        let peer = PeerId([n; 16]);
        names.set_reachable(peer, true);
        let _ = names.handle_statement(peer, seq(1), &full);
    }
    assert_eq!(names.handle_statement(B, seq(2), &two), Ok(true));
    assert_eq!(leads(&names, "db").len(), 1);
    // A router added last, without room for its new statement, keeps the old one.
    let late = PeerId([250; 16]);
    names.set_reachable(late, true);
    assert_eq!(
        names.handle_statement(late, seq(1), &full),
        Err(StatementError::Full)
    );
    assert!(names.zone().pairs() <= MAX_NAME_PAIRS);
}

#[test]
fn names_below_a_name_are_found() {
    let mut names = names();
    own(
        &mut names,
        vec![container("a", &["a.b.c", "b-x.c"], &["10.32.0.1"])],
    );
    let zone = shown(&names);
    assert!(zone.has_below("c") && zone.has_below("b.c"));
    assert!(!zone.has_below("a.b.c") && !zone.has_below("a") && !zone.has_below("x.c"));
}

/// Event in the life of a view.
#[derive(Clone, Debug)]
enum Event {
    State(u8, u64, Vec<(u8, u8)>),
    Reachable(u8, bool),
    Forget(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let list = proptest::collection::vec((0..4u8, 1..5u8), 0..4);
    prop_oneof![
        (0..3u8, 1..20u64, list).prop_map(|(peer, seq, list)| Event::State(peer, seq, list)),
        (0..3u8, any::<bool>()).prop_map(|(peer, up)| Event::Reachable(peer, up)),
        (0..3u8).prop_map(Event::Forget),
    ]
}

proptest! {
    /// The index always has exactly the newest statements of the reachable routers.
    #[test]
    fn the_view_is_the_sum_of_the_newest_statements(events in proptest::collection::vec(event(), 0..40)) {
        let mut names = names();
        let mut model = std::collections::BTreeMap::<u8, (u64, Vec<(u8, u8)>, bool)>::new();
        for event in events {
            match event {
                Event::State(peer, number, list) => {
                    let containers: Vec<Container> = list
                        .iter()
                        .map(|(n, a)| container("c", &[&format!("n{n}")], &[&format!("10.32.0.{a}")]))
                        .collect();
                    let bytes = stated(&containers);
                    names.handle_statement(PeerId([peer + 10; 16]), seq(number), &bytes).unwrap();
                    let known = model.entry(peer).or_default();
                    if number > known.0 {
                        known.0 = number;
                        known.1 = list;
                    }
                }
                Event::Reachable(peer, up) => {
                    names.set_reachable(PeerId([peer + 10; 16]), up);
                    model.entry(peer).or_default().2 = up;
                }
                Event::Forget(peer) => {
                    names.forget(&PeerId([peer + 10; 16]));
                    model.remove(&peer);
                }
            }
        }
        for n in 0..4u8 {
            let mut found = leads(&names, &format!("n{n}"));
            found.sort();
            let mut expected: Vec<(PeerId, IpAddr)> = model
                .iter()
                .filter(|(_, known)| known.2)
                .flat_map(|(peer, known)| known.1.iter().map(move |pair| (peer, pair)))
                .filter(|(_, pair)| pair.0 == n)
                .map(|(peer, pair)| (PeerId([peer + 10; 16]), ip(&format!("10.32.0.{}", pair.1))))
                .collect();
            expected.sort();
            expected.dedup();
            prop_assert_eq!(found, expected);
        }
        let shown: usize = model.values().filter(|k| k.2).map(|k| k.1.len()).sum();
        prop_assert!(names.zone().iter().count() <= shown);
    }
}
