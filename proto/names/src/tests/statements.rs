//! Encoding of statements.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::super::statement::encode;
use super::*;
use mesh_proto::limits::{
    MAX_HOST_NAME_PAIRS, MAX_HOST_NAMES, MAX_NAME_ADDRESSES, MAX_NAMES_STATEMENT,
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

proptest! {
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
