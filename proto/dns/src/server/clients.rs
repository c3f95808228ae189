//! Clients of the DNS server: the containers of this host and the host itself, no others; and their networks.
//!
//! The host is in `default` and in the networks in which it is exposed, which are those whose bridge has an address. Of a
//! container that asks an address of the host nothing but its address is known, so it is answered from `default` alone, as
//! one that is not on the mesh. In containers of other networks the server listens within the namespace.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_names::AskerNetworks;
use mesh_proto::network::NetworkId;

/// An address of this host.
#[derive(Clone, Debug)]
pub struct HostAddress<'a> {
    /// Name of its interface.
    pub interface: &'a str,
    /// The address, with its subnet.
    pub address: IpNet,
    /// True if the interface is a bridge of containers.
    pub is_of_containers: bool,
    /// Network of the mesh whose bridge the interface is.
    pub network: Option<NetworkId>,
}

/// Addresses that are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedClients {
    host: BTreeSet<IpAddr>,
    /// Networks that the host is in.
    host_networks: AskerNetworks,
    containers: Vec<IpNet>,
}

impl ServedClients {
    /// Returns the clients on a host with these addresses, and the bridges that containers are on; on the mesh's own
    /// bridges only the host is answered.
    pub fn of<'a>(addresses: impl Iterator<Item = HostAddress<'a>>) -> (Self, BTreeSet<String>) {
        let (mut served, mut bridges) = (Self::default(), BTreeSet::new());
        let mut networks = BTreeSet::from([NetworkId::DEFAULT]);
        for found in addresses {
            served.host.insert(found.address.addr());
            if found.is_of_containers && found.network.is_none() {
                bridges.insert(found.interface.to_owned());
                served.containers.push(found.address.trunc());
            }
            networks.extend(found.network);
        }
        served.host_networks = AskerNetworks::of(networks);
        (served, bridges)
    }

    /// Returns the networks that a client with this address is answered about; `None` if it is not answered.
    pub fn networks(&self, ip: IpAddr) -> Option<AskerNetworks> {
        if ip.is_loopback() || self.host.contains(&ip) {
            return Some(self.host_networks.clone());
        }
        let is_served = self.containers.iter().any(|net| net.contains(&ip));
        is_served.then(AskerNetworks::default)
    }
}

/// Returns the address of a bridge that its containers can ask: IPv4 if it has one; `None` if it has none.
pub fn listening_address(addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    addresses.filter(|ip| !is_link_local(*ip)).min()
}

/// Returns true for IPv6 link-local addresses, which are useless without an interface.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if (v6.segments()[0] & 0xffc0) == 0xfe80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_the_host_are_answered_and_others_are_not() {
        let on = |interface, address: &str, is_of_containers| HostAddress {
            interface,
            address: address.parse().unwrap(),
            is_of_containers,
            network: (interface == "mesh").then_some(NetworkId::DEFAULT),
        };
        let all = [
            on("eth0", "192.0.2.7/24", false),
            on("docker0", "172.17.0.1/16", true),
            on("mesh", "10.32.0.1/12", true),
        ];
        let (clients, bridges) = ServedClients::of(all.into_iter());
        assert_eq!(bridges, BTreeSet::from(["docker0".to_owned()]));
        for (ip, served) in [
            ("127.0.0.1", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("172.17.3.4", true),
            ("10.32.0.1", true),
            ("10.32.0.2", false),
        ] {
            let networks = clients.networks(ip.parse().unwrap());
            assert_eq!(networks, served.then(AskerNetworks::default), "{ip}");
        }
    }

    #[test]
    fn the_host_is_in_the_networks_that_it_is_exposed_in_and_their_containers_are_not_served() {
        let web = NetworkId([7; 16]);
        let on = |interface, address: &str, network| HostAddress {
            interface,
            address: address.parse().unwrap(),
            is_of_containers: true,
            network,
        };
        let all = [
            on("mesh-web", "10.40.0.1/16", Some(web)),
            on("docker0", "172.17.0.1/16", None),
        ];
        let (clients, bridges) = ServedClients::of(all.into_iter());
        assert_eq!(bridges, BTreeSet::from(["docker0".to_owned()]));
        let of = |ip: &str| {
            let networks = clients.networks(ip.parse().unwrap());
            networks.map(|networks| networks.as_slice().to_vec())
        };
        for host in ["10.40.0.1", "127.0.0.1", "172.17.0.1"] {
            assert_eq!(of(host), Some(vec![NetworkId::DEFAULT, web]), "{host}");
        }
        assert_eq!(of("172.17.0.2"), Some(vec![NetworkId::DEFAULT]));
        assert_eq!(of("10.40.0.2"), None);
    }

    #[test]
    fn containers_ask_an_address_without_an_interface() {
        let of = |all: &[&str]| listening_address(all.iter().map(|ip| ip.parse().unwrap()));
        assert_eq!(of(&["fe80::1"]), None);
        assert_eq!(of(&["fe80::1", "fd00::1"]), "fd00::1".parse().ok());
        assert_eq!(of(&["fd00::1", "172.17.0.1"]), "172.17.0.1".parse().ok());
    }
}
