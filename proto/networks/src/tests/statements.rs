//! Encoding of statements, and what is refused.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

use super::*;
use mesh_proto::limits::{
    MAX_NETWORK_DEFINITION, MAX_NETWORK_LABEL_BYTES, MAX_NETWORK_LABELS, MAX_NETWORK_SUBNETS,
    MAX_NETWORKS_STATEMENT, MAX_STATED_NETWORKS, MAX_STATED_TOMBSTONES, MAX_USED_NETWORKS,
};
use mesh_proto::wire::codec;

fn subnet() -> impl Strategy<Value = NetworkSubnet> {
    let v4 = (1..120u8, any::<u8>(), any::<bool>(), any::<bool>());
    v4.prop_map(|(a, b, has_gateway, has_range)| {
        let net = net(&format!("{a}.{b}.0.0/16"));
        NetworkSubnet {
            net,
            gateway: has_gateway.then(|| [a, b, 0, 1].into()),
            ip_range: has_range.then(|| format!("{a}.{b}.7.0/24").parse().unwrap()),
        }
    })
}

fn a_definition() -> impl Strategy<Value = NetworkDefinition> {
    let id = any::<[u8; 16]>().prop_filter("default", |id| *id != [0; 16]);
    let version = (any::<u64>(), any::<[u8; 16]>());
    let name = "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}".prop_filter("default", |n| n != "default");
    let rest = (
        any::<bool>(),
        proptest::option::of(1280..9000u16),
        btree_map("[a-z.]{1,20}", "[ -~]{0,20}", 0..4),
        vec(any::<u8>(), 0..20),
        proptest::option::of(any::<u16>()),
    );
    (id, version, any::<u64>(), name, subnet(), rest).prop_map(
        |(id, (counter, author), stamp, name, subnet, rest)| {
            let (internal, mtu, labels, extension, v6) = rest;
            let mut subnets = vec![subnet];
            if let Some(n) = v6 {
                subnets.push(NetworkSubnet::new(net(&format!("fd00:0:0:{n:x}::/64"))));
            }
            let labels = labels.into_iter();
            NetworkDefinition {
                id: NetworkId(id),
                version: version_of(counter, author),
                stamp,
                name: NetworkName::parse(&name).unwrap(),
                subnets,
                internal,
                mtu,
                labels: labels
                    .map(|(key, value)| UserLabel { key, value })
                    .collect(),
                extension,
            }
        },
    )
}

fn version_of(counter: u64, author: [u8; 16]) -> NetworkVersion {
    version(counter, PeerId(author))
}

prop_compose! {
    fn a_statement()(
        definitions in vec(a_definition(), 0..8),
        removals in btree_map(any::<[u8; 16]>(), (any::<u64>(), any::<[u8; 16]>(), any::<u16>()), 0..8),
        labels in btree_set(1..=u16::MAX, 8),
        used in vec(any::<bool>(), 8),
        extension in vec(any::<u8>(), 0..20),
    ) -> NetworksStatement {
        let definitions: std::collections::BTreeMap<_, _> =
            definitions.into_iter().map(|d| (d.id, d)).collect();
        let memberships = definitions.keys().zip(labels).zip(used).filter(|(_, used)| *used);
        let memberships = memberships.map(|((id, label), _)| NetworkMembership {
            network: *id,
            label: NonZeroU16::new(label).unwrap(),
            is_idle: id.0[0] % 2 == 0,
            extension: vec![7],
        });
        let memberships = memberships.collect();
        let removals = removals.into_iter().map(|(id, (counter, author, age))| NetworkRemoval {
            network: NetworkId(id),
            version: version_of(counter, author),
            age,
        });
        let removals = removals.filter(|r| !r.network.is_default() && !definitions.contains_key(&r.network));
        let removals = removals.collect();
        let definitions = definitions.into_values().collect();
        NetworksStatement { definitions, removals, memberships, extension }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn encoded_statements_decode(statement in a_statement()) {
        prop_assert_eq!(NetworksStatement::decode(&statement.encode()), Ok(statement));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let mut with_format = vec![1];
        with_format.extend_from_slice(&bytes);
        for bytes in [bytes, with_format] {
            if let Ok(statement) = NetworksStatement::decode(&bytes) {
                prop_assert_eq!(NetworksStatement::decode(&statement.encode()), Ok(statement));
            }
        }
    }
}

/// A statement with each member in use.
fn full() -> NetworksStatement {
    let mut first = definition(1, ME);
    first.subnets = vec![
        NetworkSubnet {
            net: net("10.1.0.0/16"),
            gateway: Some([10, 1, 0, 1].into()),
            ip_range: Some(net("10.1.2.0/24")),
        },
        NetworkSubnet::new(net("fd00::/64")),
    ];
    first.mtu = Some(1400);
    first.labels = vec![label("a", "b"), label("c", "")];
    first.extension = vec![1, 2, 3];
    NetworksStatement {
        definitions: vec![first, definition(2, B)],
        removals: vec![removal(3, C), removal(4, ME)],
        memberships: vec![membership(1, 7), membership(2, 300)],
        extension: vec![9],
    }
}

fn label(key: &str, value: &str) -> UserLabel {
    UserLabel {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

#[test]
fn every_truncation_is_refused_and_every_flipped_bit_noticed_or_harmless() {
    let statement = full();
    let bytes = statement.encode();
    for end in 0..bytes.len() {
        assert!(NetworksStatement::decode(&bytes[..end]).is_err(), "{end}");
    }
    let mut read = 0;
    for bit in 0..8 * bytes.len() {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        // Signatures cover the bytes; what is checked here is that nothing malformed is accepted.
        if let Ok(other) = NetworksStatement::decode(&changed) {
            assert_ne!(other, statement, "{bit}");
            assert_eq!(other.check(), Ok(()));
            assert_eq!(NetworksStatement::decode(&other.encode()), Ok(other));
            read += 1;
        }
        let mut networks = networks(B);
        let _ = networks.handle_statement(ME, &changed, START);
    }
    assert!(read > 0 && read < 8 * bytes.len());
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(
        NetworksStatement::decode(&longer),
        Err(NetworksError::Malformed)
    );
}

#[test]
fn members_of_later_versions_are_passed_on_or_skipped() {
    let statement = full();
    let mut networks = networks(B);
    networks
        .handle_statement(ME, &statement.encode(), START)
        .unwrap();
    let got = networks.get(&id(1)).unwrap();
    assert_eq!(got.extension, [1, 2, 3]);
    let mut long = statement;
    long.definitions[0].extension = vec![0; 129];
    assert_eq!(
        NetworksStatement::decode(&long.encode()),
        Err(NetworksError::Malformed)
    );
}

#[test]
fn what_is_refused_is_named() {
    let refused = |change: &dyn Fn(&mut NetworksStatement)| {
        let mut statement = full();
        change(&mut statement);
        let error = NetworksStatement::decode(&statement.encode()).unwrap_err();
        assert_eq!(statement.check(), Err(error.clone()));
        error.to_string()
    };
    let (one, two) = (id(1), id(2));
    for (change, text) in [
        (
            (&|s: &mut NetworksStatement| s.memberships[1].label = s.memberships[0].label)
                as &dyn Fn(&mut NetworksStatement),
            format!("network {two}: the label 7 is that of another network"),
        ),
        (
            &|s| s.definitions[1].id = id(1),
            format!("networks: {one} is there twice or out of order"),
        ),
        (
            &|s| s.definitions.swap(0, 1),
            format!("networks: {one} is there twice or out of order"),
        ),
        (
            &|s| s.removals[1].network = id(3),
            format!("networks: {} is there twice or out of order", id(3)),
        ),
        (
            &|s| s.memberships[1].network = id(1),
            format!("networks: {one} is there twice or out of order"),
        ),
        (
            &|s| s.removals[0].network = id(2),
            format!("network {two}: stated and removed at once"),
        ),
        (
            &|s| s.memberships[1].network = id(9),
            format!("network {}: a membership without a definition", id(9)),
        ),
        (
            &|s| s.definitions[0].id = NetworkId::DEFAULT,
            "networks: the network 'default' is stated".to_owned(),
        ),
        (
            &|s| s.removals[0].network = NetworkId::DEFAULT,
            "networks: the network 'default' is stated".to_owned(),
        ),
        (
            &|s| s.definitions[0].subnets[1].net = net("10.1.2.0/24"),
            format!(
                "network {one}: the subnets 10.1.0.0/16 and 10.1.2.0/24 overlap; give subnets of one network that are apart"
            ),
        ),
        (
            &|s| s.definitions[0].subnets[0].gateway = Some([10, 2, 0, 1].into()),
            format!(
                "network {one}: the gateway 10.2.0.1 is outside the subnet 10.1.0.0/16; give an address of it"
            ),
        ),
        (
            &|s| s.definitions[0].subnets[0].ip_range = Some(net("10.2.0.0/24")),
            format!(
                "network {one}: the range 10.2.0.0/24 is outside the subnet 10.1.0.0/16; give a part of it"
            ),
        ),
        (
            &|s| s.definitions[0].mtu = Some(1279),
            format!("network {one}: an MTU of 1279 is not possible; give one of 1280 to 9000"),
        ),
        (
            &|s| s.definitions[0].labels.swap(0, 1),
            format!("network {one}: the label 'a' is out of order"),
        ),
        (
            &|s| s.definitions[0].labels[1] = label("a", "x"),
            format!("network {one}: the label 'a' is given twice; give it once"),
        ),
        (
            &|s| s.definitions[0].labels[0] = label("", "x"),
            format!(
                "network {one}: '=x' cannot be a label; write KEY=VALUE, without control characters"
            ),
        ),
        (
            &|s| s.definitions[0].labels = (0..17).map(|n| label(&format!("{n:02}"), "")).collect(),
            format!("network {one}: 17 labels, and one network has 16 at most; give fewer"),
        ),
        (
            &|s| s.definitions[0].labels = vec![label("k", &"v".repeat(700))],
            format!(
                "network {one}: labels of 701 bytes, and those of one network have 700 at most; give shorter ones"
            ),
        ),
    ] {
        assert_eq!(refused(change), text);
    }
    for (name, text) in [
        (
            "-x",
            format!(
                "network {two}: '-x' cannot name a network: use letters, digits, '_', '.' and '-', a letter or digit first"
            ),
        ),
        (
            "\n-",
            format!(
                "network {two}: '\\n-' cannot name a network: use letters, digits, '_', '.' and '-', a letter or digit first"
            ),
        ),
    ] {
        let mut bytes = full().encode();
        let at = bytes.windows(3).position(|w| w == b"\x02n2").unwrap();
        bytes[at + 1..at + 3].copy_from_slice(name.as_bytes());
        assert_eq!(
            NetworksStatement::decode(&bytes).unwrap_err().to_string(),
            text
        );
    }
    let mut reserved = full();
    reserved.definitions[1].name = serde_name("default");
    let text = format!("network {two}: the network 'default' always exists; choose another name");
    assert_eq!(reserved.check().unwrap_err().to_string(), text);
    assert_eq!(
        NetworksStatement::decode(&[1]),
        Err(NetworksError::Format(1))
    );
    assert_eq!(
        NetworksStatement::decode(&[]),
        Err(NetworksError::Malformed)
    );
    let long = vec![1; MAX_NETWORKS_STATEMENT + 1];
    assert_eq!(
        NetworksStatement::decode(&long),
        Err(NetworksError::TooLong(long.len()))
    );
}

/// Returns a name that was decoded without its check.
fn serde_name(text: &str) -> NetworkName {
    let mut bytes = Vec::new();
    codec::encode(&text, &mut bytes).unwrap();
    codec::decode(&bytes).unwrap()
}

fn numbered(n: usize) -> NetworkId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&u64::try_from(n + 1).unwrap().to_be_bytes());
    NetworkId(id)
}

#[test]
fn each_bound_of_a_statement_holds() {
    let small = |n: usize| NetworkDefinition {
        id: numbered(n),
        subnets: Vec::new(),
        ..definition(1, ME)
    };
    let gone = |n: usize| NetworkRemoval {
        network: numbered(10_000 + n),
        ..removal(1, ME)
    };
    let used = |n: usize| NetworkMembership {
        network: numbered(n),
        ..membership(1, u16::try_from(n + 1).unwrap())
    };
    let statement = |defined, removed, members| NetworksStatement {
        definitions: (0..defined).map(small).collect(),
        removals: (0..removed).map(gone).collect(),
        memberships: (0..members).map(used).collect(),
        extension: Vec::new(),
    };
    let (most, stones, members) = (
        MAX_STATED_NETWORKS,
        MAX_STATED_TOMBSTONES,
        MAX_USED_NETWORKS,
    );
    let fits = statement(most, stones, members);
    assert_eq!(NetworksStatement::decode(&fits.encode()), Ok(fits));
    for (more, text) in [
        (
            statement(most + 1, 0, 0),
            "networks: 501 networks, and a statement has 500 at most",
        ),
        (
            statement(0, stones + 1, 0),
            "networks: 257 removed networks, and a statement has 256 at most",
        ),
        (
            statement(members + 1, 0, members + 1),
            "networks: 101 memberships, and a statement has 100 at most",
        ),
    ] {
        let error = NetworksStatement::decode(&more.encode()).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn the_longest_definition_has_its_bound() {
    let widest = |n: u8| NetworkSubnet {
        net: net(&format!("fd00:0:0:{n:x}::/64")),
        gateway: Some(format!("fd00:0:0:{n:x}::1").parse().unwrap()),
        ip_range: Some(net(&format!("fd00:0:0:{n:x}::/96"))),
    };
    // Two long values take two bytes more each.
    let mut labels = vec![label("a", &"v".repeat(255)), label("b", &"v".repeat(255))];
    labels.extend((0..14).map(|n| label(&format!("c{n:02}"), &"v".repeat(10))));
    let used: usize = labels.iter().map(|l| l.key.len() + l.value.len()).sum();
    labels[15]
        .value
        .push_str(&"v".repeat(MAX_NETWORK_LABEL_BYTES - used));
    let longest = NetworkDefinition {
        version: version(u64::MAX, ME),
        stamp: u64::MAX,
        name: NetworkName::parse(&"n".repeat(63)).unwrap(),
        subnets: (0..8).map(widest).collect(),
        mtu: Some(9000),
        labels,
        extension: vec![0; 128],
        ..definition(1, ME)
    };
    assert_eq!(longest.check(), Ok(()));
    assert_eq!(longest.subnets.len(), MAX_NETWORK_SUBNETS);
    assert_eq!(longest.labels.len(), MAX_NETWORK_LABELS);
    let mut bytes = Vec::new();
    codec::encode(&longest, &mut bytes).unwrap();
    assert!(bytes.len() <= MAX_NETWORK_DEFINITION, "{}", bytes.len());
    assert!(bytes.len() + 64 > MAX_NETWORK_DEFINITION, "{}", bytes.len());
}
