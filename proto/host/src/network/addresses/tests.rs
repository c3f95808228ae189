use mesh_networks::{NetworkName, NetworkVersion};
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;

use super::*;

/// The network `web` with 10.40.0.0/16, whose gateway is 10.40.0.254, and fd40::/64.
fn web() -> NetworkDefinition {
    let v4 = NetworkSubnet {
        gateway: Some("10.40.0.254".parse().unwrap()),
        ..NetworkSubnet::new("10.40.0.0/16".parse().unwrap())
    };
    NetworkDefinition {
        id: NetworkId([7; 16]),
        version: NetworkVersion {
            counter: 1,
            author: PeerId([1; 16]),
        },
        stamp: 1,
        name: NetworkName::parse("web").unwrap(),
        subnets: vec![v4, NetworkSubnet::new("fd40::/64".parse().unwrap())],
        internal: false,
        mtu: None,
        labels: Vec::new(),
        extension: Vec::new(),
    }
}

fn parse(args: &[&str], purpose: AddressFor) -> Result<Vec<String>, String> {
    let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
    let parsed = parse_in(&web(), &args, purpose).map_err(|e| e.to_string())?;
    Ok(parsed.iter().map(ToString::to_string).collect())
}

#[test]
fn an_address_has_the_prefix_length_of_its_subnet() {
    for arg in [
        "10.40.0.1",
        "ip:10.40.0.1",
        "10.40.0.1/16",
        "ip:10.40.0.1/16",
    ] {
        let got = parse(&[arg, "10.40.0.1"], AddressFor::Container);
        assert_eq!(got.unwrap(), ["10.40.0.1/16"], "{arg}");
    }
    let got = parse(&["fd40::1", "10.40.0.2"], AddressFor::Container);
    assert_eq!(got.unwrap(), ["fd40::1/64", "10.40.0.2/16"]);
    let host = parse(&["10.40.0.254"], AddressFor::Host);
    assert_eq!(host.unwrap(), ["10.40.0.254/16"]);
}

#[test]
fn mistakes_are_told_in_one_line_with_the_remedy() {
    let subnets = "10.40.0.0/16, fd40::/64";
    for (arg, error) in [
        (
            "10.41.0.1",
            format!("10.41.0.1 is outside the network web ({subnets}); give an address in it"),
        ),
        (
            "10.41.0.1/16",
            format!("10.41.0.1 is outside the network web ({subnets}); give an address in it"),
        ),
        (
            "10.40.0.1/24",
            "10.40.0.1/24 has another prefix length than the subnet 10.40.0.0/16 of the network web; write 10.40.0.1/16"
                .to_owned(),
        ),
        (
            "10.40.0.254",
            "10.40.0.254 is the gateway of the network web, which no container can have; give another address".to_owned(),
        ),
        (
            "10.40.0.0",
            "10.40.0.0 is the first or last address of 10.40.0.0/16 in the network web; give another one".to_owned(),
        ),
        (
            "10.40.255.255",
            "10.40.255.255 is the first or last address of 10.40.0.0/16 in the network web; give another one".to_owned(),
        ),
        (
            "net:10.32.5.0/24",
            format!("net:10.32.5.0/24 is not in the network web ({subnets}); leave out either it or --net web"),
        ),
        (
            "net:default",
            format!("net:default is not in the network web ({subnets}); leave out either it or --net web"),
        ),
        (
            "10.40.0.300",
            "'10.40.0.300' is not an address; write it like 10.2.1.1/24".to_owned(),
        ),
    ] {
        assert_eq!(parse(&[arg], AddressFor::Container), Err(error), "{arg}");
    }
    let any = |args: &[&str]| parse(args, AddressFor::Container).unwrap();
    assert_eq!(any(&[]), ["net:default"]);
    assert_eq!(any(&["net:10.40.7.0/24"]), ["net:10.40.7.0/24"]);
    let many: Vec<String> = (1..=MAX_ADDRESSES + 1)
        .map(|n| format!("10.40.1.{n}"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let error = parse(&many, AddressFor::Container).unwrap_err();
    assert!(error.contains("at most 32"), "{error}");
}

#[test]
fn no_text_panics() {
    for text in [
        "",
        "/",
        ":",
        "ip:",
        "net:",
        "@",
        "10.40.0.1/99",
        "::/0",
        "fe80::%1",
        "\u{0}",
    ] {
        assert!(parse(&[text], AddressFor::Container).is_err(), "{text:?}");
    }
}
