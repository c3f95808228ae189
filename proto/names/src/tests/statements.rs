//! Encoding of statements.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::super::statement;
use super::*;
use mesh_proto::limits::{
    MAX_HOST_NAME_PAIRS, MAX_HOST_NAMES, MAX_NAME_ADDRESSES, MAX_NAMES_STATEMENT, MAX_USED_NETWORKS,
};

fn entry() -> impl Strategy<Value = NameEntry> {
    let port =
        (1..=u16::MAX, 0..3u8, "[a-z][a-z0-9-]{0,14}|").prop_map(|(number, kind, service)| Port {
            number,
            transport: [
                ServiceProtocol::Tcp,
                ServiceProtocol::Udp,
                ServiceProtocol::Sctp,
            ][usize::from(kind)],
            service,
        });
    let v4 = (1..0xe000_0000u32).prop_filter("loopback", |a| a >> 24 != 127);
    let v4 = v4.prop_map(|a| IpAddr::from(a.to_be_bytes()));
    let v6 = any::<u64>()
        .prop_map(|a| IpAddr::from(core::net::Ipv6Addr::from(0xfd << 120 | u128::from(a))));
    (
        "[a-z0-9][a-z0-9_-]{0,30}(\\.[a-z0-9]{1,5}){0,2}",
        "[0-9a-f]{0,12}",
        btree_set(prop_oneof![v4, v6], 1..5),
        vec(port, 0..4),
    )
        .prop_map(|(text, container, addresses, ports)| NameEntry {
            name: name(&text),
            container,
            addresses: addresses.into_iter().collect(),
            ports,
        })
}

/// Encodes entries of the network `default`.
fn encode(entries: &[NameEntry]) -> (Vec<u8>, Vec<NameEntry>) {
    let all: Vec<_> = entries
        .iter()
        .map(|e| (NetworkId::DEFAULT, e.clone()))
        .collect();
    let (bytes, kept) = statement::encode(&all);
    (bytes, kept.of(&NetworkId::DEFAULT).to_vec())
}

/// Decodes a statement of the network `default` alone.
fn decode(bytes: &[u8]) -> Result<Vec<NameEntry>, StatementError> {
    let stated = super::decode(bytes)?;
    assert_eq!(stated.others(), 0);
    Ok(stated.of(&NetworkId::DEFAULT).to_vec())
}

/// Names in up to three networks.
fn many() -> impl Strategy<Value = Vec<(NetworkId, NameEntry)>> {
    let network = (0..4u8).prop_map(|n| NetworkId([n; 16]));
    vec((network, entry()), 0..30)
}

/// Encodes entries of any networks.
fn encoded(entries: &[(NetworkId, NameEntry)]) -> Vec<u8> {
    statement::encode(entries).0
}

proptest! {
    #[test]
    fn statements_of_many_networks_decode(entries in many()) {
        let (bytes, stated) = statement::encode(&entries);
        prop_assert_eq!(&stated, &entries.iter().cloned().collect());
        prop_assert_eq!(super::decode(&bytes), Ok(stated));
    }

    /// Equal names have equal bytes, in whichever order networks come; and there is no other encoding of them.
    #[test]
    fn the_encoding_is_canonical(entries in many(), at: prop::sample::Index, to: u8) {
        let mut bytes = encoded(&entries);
        let mut sorted = entries.clone();
        sorted.sort_by_key(|(network, _)| *network);
        prop_assert_eq!(&bytes, &encoded(&sorted));
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(stated) = super::decode(&bytes) {
            let entries: Vec<_> = stated.iter().map(|(n, e)| (n, e.clone())).collect();
            prop_assert_eq!(statement::encode(&entries).1, stated);
        }
    }

    /// What comes before the groups is what a statement without other networks has.
    #[test]
    fn other_networks_leave_the_names_of_default_as_they_were(entries in many()) {
        let of_default = entries.iter().filter(|(network, _)| network.is_default());
        let of_default: Vec<_> = of_default.cloned().collect();
        let (alone, all) = (encoded(&of_default), encoded(&entries));
        prop_assert_eq!(all.get(..alone.len()), Some(&alone[..]));
        prop_assert_eq!(all == alone, of_default.len() == entries.len());
    }

    #[test]
    fn truncated_statements_of_many_networks_are_not_read_as_such(entries in many(), at: prop::sample::Index) {
        let bytes = encoded(&entries);
        let (cut, whole) = (at.index(bytes.len()), super::decode(&bytes).unwrap());
        if let Ok(stated) = super::decode(&bytes[..cut]) {
            // Without its groups a statement is one of the network `default` alone.
            prop_assert_eq!(stated.others(), 0);
            prop_assert_eq!(stated.of(&NetworkId::DEFAULT), whole.of(&NetworkId::DEFAULT));
            prop_assert!(whole.others() > 0);
        }
    }

    #[test]
    fn encoded_statements_decode(entries in vec(entry(), 0..30)) {
        let (bytes, stated) = encode(&entries);
        prop_assert_eq!(&stated, &entries);
        prop_assert_eq!(decode(&bytes), Ok(entries));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(entries) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&entries).0), Ok(entries));
        }
    }

    #[test]
    fn changed_bytes_are_read_or_refused(entries in vec(entry(), 1..5), at: prop::sample::Index, to: u8) {
        let mut bytes = encode(&entries).0;
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = decode(&bytes);
        prop_assert!(decode(&bytes[..at]).is_err());
    }
}

fn one(name: &str, addresses: &[&str]) -> NameEntry {
    NameEntry {
        name: super::name(name),
        container: "0123456789ab".to_owned(),
        addresses: addresses.iter().map(|a| ip(a)).collect(),
        ports: Vec::new(),
    }
}

#[test]
fn a_name_takes_few_bytes() {
    let (bytes, _) = encode(&[one("a-usual-name", &["10.32.0.1"])]);
    assert_eq!(bytes.len(), 2 + 13 + 13 + 6 + 1);
}

#[test]
fn addresses_that_no_container_has_are_refused() {
    for bad in [
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "::ffff:127.0.0.1",
    ] {
        let (bytes, _) = encode(&[one("web", &[bad])]);
        assert_eq!(decode(&bytes), Err(StatementError::NotAnAddress(ip(bad))));
    }
    let (bytes, _) = encode(&[one("web", &[])]);
    assert_eq!(decode(&bytes), Err(StatementError::Malformed));
}

#[test]
fn invalid_names_are_refused() {
    let (bytes, _) = encode(&[one("web", &["10.32.0.1"])]);
    for other in ["Web", "_eb", "w b", "w\0b", "-eb"] {
        let mut bytes = bytes.clone();
        bytes[3..6].copy_from_slice(other.as_bytes());
        assert_eq!(decode(&bytes), Err(StatementError::Malformed), "{other}");
    }
    let mut later = bytes.clone();
    later[0] = 2;
    assert_eq!(decode(&later), Err(StatementError::Malformed));
    assert_eq!(decode(&[]), Err(StatementError::Malformed));
    let long = vec![1; MAX_NAMES_STATEMENT + 1];
    assert_eq!(decode(&long), Err(StatementError::TooLong(long.len())));
}

#[test]
fn each_bound_holds_for_encoder_and_decoder() {
    let many: Vec<NameEntry> = (0..=MAX_HOST_NAMES)
        .map(|n| one(&format!("n{n}"), &["10.32.0.1"]))
        .collect();
    let (bytes, stated) = encode(&many);
    assert!(stated.len() > 3_000 && bytes.len() <= MAX_NAMES_STATEMENT);
    assert_eq!(decode(&bytes).unwrap().len(), stated.len());

    let wide: Vec<IpAddr> = (0..MAX_NAME_ADDRESSES)
        .map(|n| IpAddr::from([10, 32, 1, u8::try_from(n).unwrap()]))
        .collect();
    let wide = NameEntry {
        addresses: wide,
        ..one("w", &[])
    };
    let wides = vec![wide.clone(); MAX_HOST_NAME_PAIRS / MAX_NAME_ADDRESSES + 1];
    let (bytes, stated) = encode(&wides);
    assert_eq!(stated.len(), wides.len() - 1);
    assert_eq!(decode(&bytes).unwrap().len(), stated.len());
    let mut mixed = wides[1..].to_vec();
    mixed.insert(1, one("small", &["10.32.0.1"]));
    let (bytes, stated) = encode(&mixed);
    assert_eq!(stated.len(), mixed.len() - 1, "the last has no room");
    mixed.push(one("last", &["10.32.0.1"]));
    assert_eq!(encode(&mixed).1.last().unwrap().name.as_str(), "last");
    assert_eq!(decode(&bytes).unwrap(), stated);

    let mut wider = wide;
    wider.addresses.push(ip("10.33.0.1"));
    assert_eq!(decode(&encode(&[wider]).0), Err(StatementError::Malformed));
}

#[test]
fn the_bytes_of_names_in_other_networks() {
    let entry = one("ab", &["10.32.0.1"]);
    let body = encode(std::slice::from_ref(&entry)).0[2..].to_vec();
    let [a, b] = [0xaa, 0xbb].map(|n| NetworkId([n; 16]));
    let (default, two) = (NetworkId::DEFAULT, [(b, entry.clone()), (a, entry.clone())]);
    let expected = [
        &[1, 0, 2][..],
        &[0xaa; 16],
        &[1],
        &body,
        &[0xbb; 16],
        &[1],
        &body,
    ]
    .concat();
    assert_eq!(encoded(&two), expected);
    let three = [&two[..], &[(default, entry.clone())]].concat();
    let expected = [&[1, 1][..], &body, &[2], &expected[3..]].concat();
    assert_eq!(encoded(&three), expected);
    assert_eq!(encoded(&[]), [1, 0]);
}

#[test]
fn groups_that_no_router_states_are_refused() {
    let body = encode(&[one("ab", &["10.32.0.1"])]).0[2..].to_vec();
    let group = |id: u8, count: u8| {
        let body = body.repeat(count.into());
        [&[id; 16][..], &[count], &body].concat()
    };
    let with = |count: u8, groups: &[Vec<u8>]| [&[1, 0, count][..], &groups.concat()].concat();
    let good = [
        with(1, &[group(1, 1)]),
        with(2, &[group(1, 2), group(2, 1)]),
    ];
    for good in good {
        assert!(super::decode(&good).is_ok());
    }
    for bad in [
        with(0, &[]),
        with(1, &[group(1, 0)]),
        with(1, &[group(0, 1)]),
        with(2, &[group(1, 1), group(1, 1)]),
        with(2, &[group(2, 1), group(1, 1)]),
        with(2, &[group(1, 1)]),
        with(1, &[group(1, 1), group(2, 1)]),
    ] {
        assert_eq!(
            super::decode(&bad),
            Err(StatementError::Malformed),
            "{bad:?}"
        );
    }
}

#[test]
fn bounds_hold_for_all_networks_together() {
    let network = |n: usize| {
        let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
        let mut id = [0; 16];
        id[..2].copy_from_slice(&[high, low]);
        NetworkId(id)
    };
    let short = |n: usize| one(&format!("n{n}"), &["10.32.0.1"]);
    let (bytes, stated) =
        statement::encode(&(0..150).map(|n| (network(n), short(n))).collect::<Vec<_>>());
    assert_eq!(
        (stated.others(), stated.count()),
        (MAX_USED_NETWORKS, MAX_USED_NETWORKS + 1)
    );
    assert_eq!(super::decode(&bytes), Ok(stated));

    // Names beyond a bound are left out by their places, whichever networks they are in.
    let bare = |n: usize| NameEntry {
        container: String::new(),
        ..short(n)
    };
    let many: Vec<_> = (0..=MAX_HOST_NAMES)
        .map(|n| (network(n % 7), bare(n)))
        .collect();
    let (bytes, stated) = statement::encode(&many);
    assert_eq!(stated.count(), MAX_HOST_NAMES);
    assert!(
        !stated
            .iter()
            .any(|(_, e)| e.name.as_str() == format!("n{MAX_HOST_NAMES}"))
    );
    assert!(bytes.len() <= MAX_NAMES_STATEMENT);
    assert_eq!(super::decode(&bytes), Ok(stated));

    // A sender that ignores the bound is not read.
    let half: Vec<_> = (0..=MAX_HOST_NAMES / 2)
        .map(|n| (network(0), bare(n)))
        .collect();
    let mut of_default = encoded(&half);
    let body = of_default[4..].to_vec();
    assert_eq!(of_default[1], 0xfb, "a count of two bytes");
    of_default.push(1);
    of_default.extend_from_slice(&network(1).0);
    of_default.extend_from_slice(&[0xfb, 8, 1]);
    of_default.extend_from_slice(&body);
    assert!(of_default.len() <= MAX_NAMES_STATEMENT);
    assert_eq!(super::decode(&of_default), Err(StatementError::Malformed));
}
