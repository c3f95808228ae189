//! The ledger is a join: what it says does not depend on order and repetition.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;

use super::*;

const ROUTERS: u8 = 4;
const IDS: u8 = 6;

/// Returns a statement about a few networks, of a few names and stamps, in several versions.
fn statement() -> impl Strategy<Value = NetworksStatement> {
    let one = (1..=IDS, 1..4u64, 1..ROUTERS, 0..3u8, 0..3u64, any::<bool>());
    let live = vec(one, 0..5);
    let gone = vec((1..=IDS, 1..4u64, 1..ROUTERS, any::<u16>()), 0..2);
    (live, gone).prop_map(|(live, gone)| {
        let mut removals = BTreeMap::new();
        for (n, counter, author, age) in gone {
            let removal = NetworkRemoval {
                network: id(n),
                version: version(counter, PeerId([author; 16])),
                // Not expired.
                age: age % 700,
            };
            removals.insert(id(n), removal);
        }
        let mut definitions = BTreeMap::new();
        for (n, counter, author, name, stamp, internal) in live {
            let definition = NetworkDefinition {
                version: version(counter, PeerId([author; 16])),
                name: NetworkName::parse(&format!("name{name}")).unwrap(),
                stamp,
                internal,
                ..definition(n, ME)
            };
            definitions.insert(id(n), definition);
        }
        definitions.retain(|id, _| !removals.contains_key(id));
        NetworksStatement {
            memberships: Vec::new(),
            definitions: definitions.into_values().collect(),
            removals: removals.into_values().collect(),
            extension: Vec::new(),
        }
    })
}

/// What two routers must agree about.
fn summary(networks: &Networks) -> (Vec<(NetworkDefinition, Option<NetworkId>)>, Vec<String>) {
    let live = networks.report().into_iter();
    let live = live.map(|n| ((*n.definition).clone(), n.shadowed_by));
    let gone = networks.ledger.gone().iter();
    let gone = gone.map(|(id, stone)| format!("{id} {:?}", stone.removal(*id, START)));
    (live.collect(), gone.collect())
}

fn heard(statements: &[(u8, NetworksStatement)], order: &[usize]) -> Networks {
    let mut networks = networks(PeerId([9; 16]));
    for n in order {
        let (origin, statement) = &statements[*n];
        let origin = PeerId([*origin; 16]);
        networks
            .handle_statement(origin, &statement.encode(), START)
            .unwrap();
    }
    networks
}

proptest! {
    #[test]
    fn order_and_repetition_change_nothing(
        statements in vec((1..=ROUTERS, statement()), 1..8),
        swaps in vec((any::<Index>(), any::<Index>()), 0..12),
        again in vec(any::<Index>(), 0..6),
    ) {
        let all: Vec<usize> = (0..statements.len()).collect();
        let mut other = all.clone();
        for (a, b) in swaps {
            other.swap(a.index(all.len()), b.index(all.len()));
        }
        other.extend(again.iter().map(|n| n.index(all.len())));
        let (first, second) = (heard(&statements, &all), heard(&statements, &other));
        prop_assert_eq!(summary(&first), summary(&second));
    }

    /// A router that hears what two others state between them has what one has that heard all.
    #[test]
    fn parts_may_be_merged_before(
        statements in vec((1..=ROUTERS, statement()), 1..8),
        cut: Index,
    ) {
        let all: Vec<usize> = (0..statements.len()).collect();
        let (left, right) = all.split_at(cut.index(all.len() + 1));
        let mut both = networks(PeerId([9; 16]));
        for part in [left, right] {
            let content = heard(&statements, part).content(START);
            let mut stored = networks(PeerId([8; 16]));
            stored.restore(&content, START).unwrap();
            let whole = NetworksStatement {
                definitions: stored.ledger.live().values().map(|n| (*n.definition).clone()).collect(),
                removals: stored.ledger.gone().iter().map(|(id, s)| s.removal(*id, START)).collect(),
                ..NetworksStatement::default()
            };
            both.handle_statement(PeerId([7; 16]), &whole.encode(), START).unwrap();
        }
        let expected = heard(&statements, &all);
        prop_assert_eq!(summary(&both), summary(&expected));
    }

    /// A definition or removal that was heard is in the ledger, or gave way to a greater one.
    #[test]
    fn the_greatest_stays(statements in vec((1..=ROUTERS, statement()), 1..8)) {
        let all: Vec<usize> = (0..statements.len()).collect();
        let networks = heard(&statements, &all);
        let said: Vec<&NetworksStatement> = statements.iter().map(|(_, s)| s).collect();
        for n in 1..=IDS {
            let removed = said.iter().any(|s| s.removals.iter().any(|r| r.network == id(n)));
            let definitions = said.iter().flat_map(|s| s.definitions.iter().filter(|d| d.id == id(n)));
            let greatest = definitions.max().filter(|_| !removed);
            prop_assert_eq!(networks.get(&id(n)).map(|d| &**d), greatest);
            prop_assert_eq!(networks.ledger.gone().contains_key(&id(n)), removed);
        }
    }
}

#[test]
fn of_two_networks_with_one_name_the_older_one_has_it() {
    let named = |n, stamp| NetworkDefinition {
        stamp,
        name: NetworkName::parse("web").unwrap(),
        ..definition(n, if n == 3 { ME } else { B })
    };
    let mut networks = networks(ME);
    let says = |definitions| {
        let statement = NetworksStatement {
            definitions,
            ..NetworksStatement::default()
        };
        statement.encode()
    };
    networks
        .handle_statement(B, &says(vec![named(3, 50)]), START)
        .unwrap();
    networks.join(id(3), START).unwrap();
    drain(&mut networks);
    assert_eq!(networks.resolve("web"), Ok(id(3)));
    // At equal stamps the lower id.
    networks
        .handle_statement(C, &says(vec![named(2, 50)]), START)
        .unwrap();
    assert_eq!(networks.resolve("web"), Ok(id(2)));
    let shadowed = NetworksOutput::Shadowed {
        definition: Arc::new(named(3, 50)),
        by: id(2),
        is_own: true,
    };
    assert!(drain(&mut networks).contains(&shadowed));
    networks
        .handle_statement(B, &says(vec![named(4, 49)]), START)
        .unwrap();
    assert_eq!(networks.resolve("web"), Ok(id(4)));
    let outputs = drain(&mut networks);
    let is_own = |output: &NetworksOutput| match output {
        NetworksOutput::Shadowed { is_own, by, .. } => Some((*by, *is_own)),
        _ => None,
    };
    let told: Vec<_> = outputs.iter().filter_map(is_own).collect();
    assert_eq!(told, [(id(4), false), (id(4), true)], "2, then 3");
    // By its id the loser can still be used and removed.
    let hex = id(3).to_string();
    assert_eq!(networks.resolve(&hex), Ok(id(3)));
    let rows: Vec<_> = networks.report();
    let rows: Vec<_> = rows
        .iter()
        .map(|r| (r.definition.id, r.shadowed_by))
        .collect();
    assert_eq!(
        rows,
        [(id(4), None), (id(2), Some(id(4))), (id(3), Some(id(4)))]
    );
    networks.remove("web", false, START).unwrap();
    assert_eq!(networks.resolve("web"), Ok(id(2)));
    let revealed = NetworksOutput::Revealed(Arc::new(named(2, 50)));
    assert!(drain(&mut networks).contains(&revealed));
    networks.remove("web", false, START).unwrap();
    networks.remove("web", true, START).unwrap();
    assert!(networks.resolve("web").is_err(), "the name is free");
    let new = create(&mut networks, "web", 77);
    assert_eq!(networks.resolve("web"), Ok(new));
}
