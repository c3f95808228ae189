//! User input: addresses, targets, names, MAC addresses.

use core::fmt::{Debug, Display};
use core::str::FromStr;

use mesh_proto::address::{AddressArg, mac_for};
use mesh_proto::control::targets::{DialTo, parse_target};
use mesh_proto::ids::{Mac, PeerName};
use mesh_proto::limits::DEFAULT_PORT;

/// Any accepted text prints as text that parses to the same value.
pub(super) fn target(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(address) = survives::<AddressArg>(&text) {
        check_address(&text, address);
    }
    survives::<PeerName>(&text);
    survives::<Mac>(&text);
    match parse_target(&text, DEFAULT_PORT) {
        Ok(DialTo::Address(address)) => {
            assert_ne!(address.port(), 0);
            let again = parse_target(&address.to_string(), DEFAULT_PORT);
            assert_eq!(again, Ok(DialTo::Address(address)));
        }
        Ok(DialTo::Name { host, port }) => {
            assert!(port != 0 && !host.is_empty() && host.len() <= 253);
            assert!(!host.starts_with('-') && host.is_ascii());
            let again = parse_target(&format!("{host}:{port}"), DEFAULT_PORT);
            assert_eq!(again, Ok(DialTo::Name { host, port }));
        }
        Err(why) => assert!(why.contains("is not a peer")),
    }
}

fn check_address(text: &str, address: AddressArg) {
    assert!(
        AddressArg::looks_like(text),
        "'{text}' is taken for an image"
    );
    let Ok(ip) = address.explicit() else {
        return;
    };
    let host = ip.addr();
    assert!(!host.is_multicast() && !host.is_unspecified() && !host.is_loopback());
    assert!(!mac_for(host).is_group());
}

fn survives<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let printed = value.to_string();
    let again = printed.parse::<T>().ok();
    assert_eq!(
        again.as_ref(),
        Some(&value),
        "'{text}' printed as '{printed}'"
    );
    Some(value)
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    [
        "10.2.1.1/24",
        "ip:10.2.1.1/24",
        "net:10.2.0.0/16",
        "net:default",
        "fd00::5/64",
        "10.2.1.0/31",
        "10.2.1.1",
        "10.2.1.255/24",
        "net:10.2.1.1/16",
        "::ffff:10.0.0.1/96",
        "7a:00:00:00:00:1c",
        "::1",
        "7a::1c",
        "host1",
        "host-1.example.org:7000",
        "10.0.0.1:99",
        "[fd00::1]:99",
        "fd00::1",
        "10.2.1.300",
        "-host",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}
