//! Clients of the DNS server: the containers of this host and the host itself, no others.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

/// An address of this host.
#[derive(Clone, Debug)]
pub struct HostAddress<'a> {
    /// Name of its interface.
    pub interface: &'a str,
    /// The address, with its subnet.
    pub address: IpNet,
    /// True if the interface is a bridge of containers.
    pub is_of_containers: bool,
}

/// Addresses that are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedClients(Vec<IpNet>);

impl ServedClients {
    /// Returns the clients on a host with these addresses, and the bridges that containers are on; `own` is the mesh's own
    /// bridge, on which only the host is answered.
    pub fn of<'a>(
        addresses: impl Iterator<Item = HostAddress<'a>>,
        own: &str,
    ) -> (Self, BTreeSet<String>) {
        let mut bridges = BTreeSet::new();
        let nets = addresses.map(|found| {
            if !found.is_of_containers || found.interface == own {
                return IpNet::from(found.address.addr());
            }
            bridges.insert(found.interface.to_owned());
            found.address.trunc()
        });
        let nets = nets.collect();
        (Self(nets), bridges)
    }

    /// Returns true if a client with this address is answered.
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.0.iter().any(|net| net.contains(&ip))
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
        };
        let all = [
            on("eth0", "192.0.2.7/24", false),
            on("docker0", "172.17.0.1/16", true),
            on("mesh", "10.32.0.1/12", true),
        ];
        let (clients, bridges) = ServedClients::of(all.into_iter(), "mesh");
        assert_eq!(bridges, BTreeSet::from(["docker0".to_owned()]));
        for (ip, served) in [
            ("127.0.0.1", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("172.17.3.4", true),
            ("10.32.0.1", true),
            ("10.32.0.2", false),
        ] {
            assert_eq!(clients.contains(ip.parse().unwrap()), served, "{ip}");
        }
    }

    #[test]
    fn containers_ask_an_address_without_an_interface() {
        let of = |all: &[&str]| listening_address(all.iter().map(|ip| ip.parse().unwrap()));
        assert_eq!(of(&["fe80::1"]), None);
        assert_eq!(of(&["fe80::1", "fd00::1"]), "fd00::1".parse().ok());
        assert_eq!(of(&["fd00::1", "172.17.0.1"]), "172.17.0.1".parse().ok());
    }
}
