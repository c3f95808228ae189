//! One interface of a container, and the tag by which the kernel knows it.

use ipnet::IpNet;
use mesh_proto::address::mac_for;
use mesh_proto::ids::Mac;
use mesh_proto::network::NetworkId;

use crate::network::scoped::ScopedAddress;

/// One interface of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInterface {
    /// Its [`tag`], unique on this host; at most 200 bytes.
    pub tag: String,
    /// The name it had in the container; empty if it has had none.
    pub name: String,
    /// The network that it is plugged into.
    pub network: NetworkId,
    /// Its address with the prefix length of its subnet.
    pub address: IpNet,
    /// Its MAC address.
    pub mac: Mac,
    /// True if 224.0.0.0/4 goes to it.
    pub multicast: bool,
    /// Its IPv6 address beside an IPv4 one, likewise.
    pub second: Option<IpNet>,
}

impl ContainerInterface {
    /// Returns the interface with `scoped` of the member or endpoint `key`.
    pub fn new(key: &str, name: &str, scoped: ScopedAddress, multicast: bool) -> Self {
        let ScopedAddress { network, address } = scoped;
        Self {
            tag: tag(key, scoped),
            name: name.to_owned(),
            network,
            address,
            mac: mac_for(address.addr()),
            multicast,
            second: None,
        }
    }
}

/// Returns the name under which the kernel knows one address of one member or endpoint.
pub fn tag(key: &str, address: ScopedAddress) -> String {
    format!("{key}/{address}")
}

/// Returns key and address of a tag; none for a name that is no tag.
pub fn parse_tag(tag: &str) -> Option<(&str, ScopedAddress)> {
    let (key, address) = tag.split_once('/')?;
    Some((key, address.parse().ok()?))
}

/// Returns the network of the interface with this tag.
pub fn network_of(tag: &str) -> NetworkId {
    parse_tag(tag).map_or(NetworkId::DEFAULT, |(_, address)| address.network)
}

/// Returns whether the k-th of a container's addresses is the first IPv4 one. That one gets the multicast route, as a
/// namespace has one such route only.
pub fn is_first_ipv4(addresses: &[IpNet], k: usize) -> bool {
    addresses.iter().position(|a| matches!(a, IpNet::V4(_))) == Some(k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_tells_whose_it_is() {
        let web = NetworkId([7; 16]);
        for address in ["10.2.1.1/24", "fd00::5/64"] {
            let address: IpNet = address.parse().unwrap();
            for network in [NetworkId::DEFAULT, web] {
                let scoped = ScopedAddress::new(network, address);
                let tag = tag("abc", scoped);
                assert_eq!(parse_tag(&tag), Some(("abc", scoped)));
                assert_eq!(network_of(&tag), network);
            }
        }
        let longest = "1111:2222:3333:4444:5555:6666:7777:8888/128"
            .parse()
            .unwrap();
        let longest = tag(&"k".repeat(64), ScopedAddress::new(web, longest));
        assert!(longest.len() <= 200, "{longest}");
        assert!(network_of("mesh").is_default());
        for bad in ["", "abc", "abc/", "abc/10.2.1.1", "abc/x/24"] {
            assert_eq!(parse_tag(bad), None, "{bad}");
        }
    }
}
