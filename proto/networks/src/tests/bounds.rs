//! Full tables: nobody is pushed out, and one router alone never takes all the room.

use super::*;
use mesh_proto::limits::{
    MAX_NETWORK_LABEL_BYTES, MAX_NETWORKS, MAX_NETWORKS_STATEMENT, MAX_STATED_NETWORKS,
    MAX_STATED_TOMBSTONES, MAX_TOMBSTONES, MAX_USED_NETWORKS,
};

fn numbered(n: usize, author: PeerId) -> NetworkDefinition {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&u64::try_from(n + 1).unwrap().to_be_bytes());
    NetworkDefinition {
        id: NetworkId(id),
        name: NetworkName::parse(&format!("n{n}")).unwrap(),
        ..definition(1, author)
    }
}

/// Returns a statement of the networks with these numbers.
fn says(numbers: core::ops::Range<usize>) -> Vec<u8> {
    let statement = NetworksStatement {
        definitions: numbers.map(|n| numbered(n, B)).collect(),
        ..NetworksStatement::default()
    };
    statement.encode()
}

#[test]
fn a_hostile_member_takes_half_of_the_room_at_most_and_pushes_nothing_out() {
    let mut networks = networks(ME);
    let honest = create(&mut networks, "honest", 1);
    // It states other networks each time, and other authors of them.
    for round in 0..5 {
        let from = round * MAX_STATED_NETWORKS;
        let bytes = says(from..from + MAX_STATED_NETWORKS);
        networks.handle_statement(B, &bytes, START).unwrap();
    }
    assert_eq!(networks.figures().known, MAX_STATED_NETWORKS + 1);
    assert_eq!(networks.figures().without_room, 1);
    assert!(networks.get(&honest).is_some());
    let c = says(10_000..10_000 + MAX_STATED_NETWORKS - 2);
    networks.handle_statement(C, &c, START).unwrap();
    assert_eq!(networks.figures().known, MAX_NETWORKS - 1);
    assert_eq!(networks.figures().without_room, 1);
    let last = create(&mut networks, "last", 2);
    let mut dice = SeededEntropy::new(3);
    let full = networks.create(&wanted("more"), 1, &mut dice, START);
    assert_eq!(full, Err(CreateNetworkError::TooMany));
    let text = "the mesh has 1000 networks, and no more are possible; remove one that is not used";
    assert_eq!(full.unwrap_err().to_string(), text);
    assert_eq!(
        drain(&mut networks)
            .iter()
            .filter(|o| matches!(o, NetworksOutput::Reread(_)))
            .count(),
        0
    );

    // Once there is room, the routers that were refused are read again.
    networks.remove("n3", false, START).unwrap();
    let outputs = drain(&mut networks);
    assert!(outputs.contains(&NetworksOutput::Reread(B)));
    let bytes = says(4 * MAX_STATED_NETWORKS..5 * MAX_STATED_NETWORKS);
    networks.handle_statement(B, &bytes, START).unwrap();
    assert_eq!(networks.figures().known, MAX_NETWORKS);
    assert!(networks.get(&honest).is_some() && networks.get(&last).is_some());
    // A full table survives a restart.
    let mut again = super::networks(ME);
    again.restore(&networks.content(START), START).unwrap();
    assert_eq!(
        again.figures(),
        NetworkFigures {
            refused: 0,
            without_room: 0,
            ..networks.figures()
        }
    );
}

#[test]
fn networks_with_containers_have_the_first_choice_of_the_room() {
    let mut networks = networks(ME);
    for round in 0..2 {
        let from = round * MAX_STATED_NETWORKS;
        let bytes = says(from..from + MAX_STATED_NETWORKS - 1);
        networks
            .handle_statement(
                PeerId([50 + u8::try_from(round).unwrap(); 16]),
                &bytes,
                START,
            )
            .unwrap();
    }
    // Room for two is left.
    let mut statement = NetworksStatement {
        definitions: (5_000..5_005).map(|n| numbered(n, C)).collect(),
        ..NetworksStatement::default()
    };
    let used = [3, 4].map(|n: usize| statement.definitions[n].id);
    statement.memberships = used
        .iter()
        .zip(1..)
        .map(|(id, n)| NetworkMembership {
            network: *id,
            ..membership(1, n)
        })
        .collect();
    networks
        .handle_statement(C, &statement.encode(), START)
        .unwrap();
    assert!(used.iter().all(|id| networks.get(id).is_some()));
    assert_eq!(networks.figures().known, MAX_NETWORKS);
}

#[test]
fn one_router_uses_and_states_so_many() {
    let mut networks = networks(ME);
    let ids: Vec<NetworkId> = (0..MAX_STATED_NETWORKS)
        .map(|n| {
            let n = u64::try_from(n).unwrap();
            create(&mut networks, &format!("w{n}"), n)
        })
        .collect();
    let mut dice = SeededEntropy::new(9_999);
    let full = networks
        .create(&wanted("more"), 1, &mut dice, START)
        .unwrap_err();
    assert_eq!(full, CreateNetworkError::TooManyHere);
    let text = "this host created 500 networks or as much as it can announce; remove one that is not used, or create it on another host";
    assert_eq!(full.to_string(), text);
    for id in &ids[..MAX_USED_NETWORKS] {
        networks.join(*id, START).unwrap();
    }
    let full = networks.join(ids[MAX_USED_NETWORKS], START).unwrap_err();
    let text = "the network w100 has no room on this host, which uses 100 networks; stop the containers of one, or use another host";
    assert_eq!(full.to_string(), text);
    let says = stated(&drain(&mut networks)).unwrap();
    assert_eq!(says.definitions.len(), MAX_STATED_NETWORKS);
    assert_eq!(says.memberships.len(), MAX_USED_NETWORKS);
    assert_eq!(networks.figures().left_out, 0);
}

#[test]
fn what_a_statement_has_no_room_for_is_refused_or_left_out() {
    let mut networks = networks(ME);
    let long = |n: usize| NewNetwork {
        labels: vec![UserLabel {
            key: "k".into(),
            value: "v".repeat(MAX_NETWORK_LABEL_BYTES - 1),
        }],
        ..wanted(&format!("w{n}"))
    };
    let mut dice = SeededEntropy::new(1);
    let mut ids = Vec::new();
    let refused = loop {
        match networks.create(&long(ids.len()), 1, &mut dice, START) {
            Ok(created) => ids.push(created.id),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, CreateNetworkError::TooManyHere);
    assert!(ids.len() > 150 && ids.len() < 250, "{}", ids.len());
    // Tombstones have room beside.
    for n in 0..MAX_STATED_TOMBSTONES {
        create(&mut networks, "old", 10_000 + u64::try_from(n).unwrap());
        networks.remove("old", false, START).unwrap();
    }
    let outputs = drain(&mut networks);
    let last = outputs.iter().rev().find_map(|o| match o {
        NetworksOutput::State(bytes) => Some(bytes.len()),
        _ => None,
    });
    assert!(last.unwrap() <= MAX_NETWORKS_STATEMENT);
    let says = stated(&outputs).unwrap();
    assert_eq!(says.definitions.len(), ids.len());
    assert_eq!(says.removals.len(), MAX_STATED_TOMBSTONES);
    // Adopted ones have what is left, members of others come first.
    let theirs: Vec<NetworkDefinition> = (0..MAX_USED_NETWORKS)
        .map(|n| NetworkDefinition {
            labels: long(0).labels,
            ..numbered(n, B)
        })
        .collect();
    let bytes = NetworksStatement {
        definitions: theirs.clone(),
        ..NetworksStatement::default()
    }
    .encode();
    networks.handle_statement(B, &bytes, START).unwrap();
    pass(&mut networks, START, 30);
    assert!(networks.figures().left_out > 90, "{:?}", networks.figures());
    for definition in &theirs {
        networks.join(definition.id, START).unwrap();
    }
    let says = stated(&drain(&mut networks)).unwrap();
    assert!(theirs.iter().all(|d| says.definitions.contains(d)));
    assert_eq!(says.memberships.len(), MAX_USED_NETWORKS);
    assert!(networks.figures().left_out > 90);
}

#[test]
fn a_flood_of_tombstones_pushes_out_its_own() {
    let mut networks = networks(ME);
    let mut mine = Vec::new();
    for n in 0..10 {
        mine.push(create(&mut networks, "old", n));
        networks.remove("old", false, START).unwrap();
    }
    let rounds = MAX_TOMBSTONES / MAX_STATED_TOMBSTONES + 2;
    for round in 0..rounds {
        let first = 100_000 + round * MAX_STATED_TOMBSTONES;
        let gone = (first..first + MAX_STATED_TOMBSTONES).map(|n| NetworkRemoval {
            network: numbered(n, B).id,
            ..removal(1, ME)
        });
        let statement = NetworksStatement {
            removals: gone.collect(),
            ..NetworksStatement::default()
        };
        let now = START + Duration::from_secs(u64::try_from(round).unwrap());
        networks
            .handle_statement(B, &statement.encode(), now)
            .unwrap();
    }
    assert_eq!(networks.figures().removed, MAX_TOMBSTONES);
    let gone = networks.ledger.gone();
    assert!(mine.iter().all(|id| gone.contains_key(id)));
    assert!(
        !gone.contains_key(&numbered(100_000, B).id),
        "its oldest went"
    );
}
