//! Addresses of the host on the bridge.

use ipnet::IpNet;
use mesh_proto::ids::Mac;

use super::find_bridge;
use crate::SysError;
use crate::interface::arp;
use crate::interface::sysctl::{self, SysctlGroup};
use crate::netlink::{LinkEntry, Netlink, RouteEntry};

/// Result of [`add_addresses`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedAddresses {
    /// MAC address of the bridge, which is that of the host in the mesh.
    pub mac: Mac,
    /// Addresses that the bridge did not have before.
    pub new: Vec<IpNet>,
}

/// Adds those of `addresses` that the bridge does not have, and announces them to neighbours.
///
/// # Errors
/// [`SysError::is_not_found`] if there is no such bridge; the errno of the failed system call. Addresses added before
/// the failure stay.
pub fn add_addresses(bridge: &str, addresses: &[IpNet]) -> Result<AddedAddresses, SysError> {
    let mut netlink = Netlink::open()?;
    let link = require_bridge(&mut netlink, bridge)?;
    let mac = link
        .mac
        .ok_or_else(|| SysError::other(format!("use {bridge}"), "it has no MAC address"))?;
    configure(bridge, addresses)?;
    let mut new = Vec::new();
    for address in addresses {
        if netlink.address().add(link.index, *address)? {
            new.push(*address);
        }
    }
    for address in &new {
        // Neighbours that miss the announcement ask within seconds.
        if let Err(error) = arp::announce(bridge, mac, address.addr()) {
            tracing::debug!(%error, %address, "not announced");
        }
    }
    Ok(AddedAddresses { mac, new })
}

/// Returns the bridge's MAC address; `None` if there is no such bridge.
///
/// # Errors
/// The errno of the failed system call.
pub fn mac(bridge: &str) -> Result<Option<Mac>, SysError> {
    let link = find_bridge(&mut Netlink::open()?, bridge)?;
    Ok(link.and_then(|link| link.mac))
}

/// Removes addresses from the bridge, as far as it has them.
///
/// # Errors
/// The first failure, after all others were tried.
pub fn remove_addresses(bridge: &str, addresses: &[IpNet]) -> Result<(), SysError> {
    let mut netlink = Netlink::open()?;
    let Some(link) = find_bridge(&mut netlink, bridge)? else {
        return Ok(());
    };
    let mut result = Ok(());
    for address in addresses {
        match netlink.address().delete(link.index, *address) {
            Err(error) if !error.is_not_found() => result = result.and(Err(error)),
            _ => {}
        }
    }
    result
}

/// Refuses an address that the host has on another interface, and one whose subnet conflicts with a route of another
/// interface.
///
/// # Errors
/// The conflict, and how to resolve it.
pub fn check_address(bridge: &str, address: IpNet) -> Result<(), SysError> {
    let mut netlink = Netlink::open()?;
    let links = netlink.link().list()?;
    let bridge = links.iter().find(|link| link.name == bridge);
    let bridge = bridge.map(|link| link.index);
    let name = |index: Option<u32>| {
        let link = links.iter().find(|link| Some(link.index) == index);
        link.map_or("another interface", |link| link.name.as_str())
    };
    let refused = |why: String| Err(SysError::other(format!("expose {address}"), why));
    for entry in netlink.address().list()? {
        if entry.address.addr() == address.addr() && Some(entry.link) != bridge {
            let name = name(Some(entry.link));
            return refused(format!(
                "{name} of this host has that address; take another"
            ));
        }
    }
    let routes = netlink.route().list()?;
    let mut others = routes
        .iter()
        .filter(|route| route.link != bridge || bridge.is_none());
    match others.find(|route| is_in_the_way(route, address.trunc())) {
        Some(route) => refused(format!(
            "this host reaches {} by {}, and would not any more; take an address of another subnet",
            route.destination,
            name(route.link)
        )),
        None => Ok(()),
    }
}

/// Returns true if an interface with this subnet would take over addresses of a route. A part of a network behind a
/// gateway may be taken over: that is the operator's intention.
fn is_in_the_way(route: &RouteEntry, subnet: IpNet) -> bool {
    let to = route.destination.trunc();
    if to.prefix_len() == 0 || to.addr().is_ipv4() != subnet.addr().is_ipv4() || is_link_local(to) {
        return false;
    }
    subnet.contains(&to) || route.gateway.is_none() && to.contains(&subnet)
}

/// Returns true for fe80::/64, to which every interface has a route.
fn is_link_local(net: IpNet) -> bool {
    matches!(net, IpNet::V6(v6) if v6.addr().is_unicast_link_local())
}

/// Restricts ARP to the addresses of this interface, for answers and for the source of requests.
fn configure(bridge: &str, addresses: &[IpNet]) -> Result<(), SysError> {
    for (key, value) in [
        ("arp_ignore", "1"),
        ("arp_announce", "2"),
        ("forwarding", "1"),
    ] {
        sysctl::set_if_present(SysctlGroup::Ipv4Conf, bridge, key, value)?;
    }
    if addresses.iter().any(|address| address.addr().is_ipv6()) {
        sysctl::set_if_present(SysctlGroup::Ipv6Conf, bridge, "disable_ipv6", "0")?;
    }
    Ok(())
}

fn require_bridge(netlink: &mut Netlink, name: &str) -> Result<LinkEntry, SysError> {
    match find_bridge(netlink, name)? {
        Some(link) => Ok(link),
        None => netlink.link().require(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{BridgeSpec, VethSpec};
    use crate::testing::{NamedNetns, needs_root};

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    /// Creates a bridge `mesh`, and an interface `a` with 192.0.2.1/24.
    fn host() -> Netlink {
        let mut netlink = Netlink::open().unwrap();
        let bridge = BridgeSpec {
            name: "mesh",
            mtu: 1_376,
            mac: None,
        };
        netlink.link().create_bridge(&bridge).unwrap();
        let pair = VethSpec {
            name: "a",
            peer_name: "b",
            peer_netns: None,
            peer_mac: None,
            mtu: 1_500,
        };
        netlink.link().create_veth(&pair).unwrap();
        for name in ["mesh", "a", "b"] {
            let index = netlink.link().require(name).unwrap().index;
            netlink.link().set_up(index).unwrap();
        }
        let a = netlink.link().require("a").unwrap().index;
        netlink.address().add(a, net("192.0.2.1/24")).unwrap();
        netlink
    }

    #[test]
    fn addresses_are_added_once_and_removed() {
        if needs_root("addresses_are_added_once_and_removed") {
            return;
        }
        NamedNetns::new().run(|| {
            let mut netlink = host();
            let both = [net("10.2.1.1/24"), net("fd00::5/64")];
            let added = add_addresses("mesh", &both).unwrap();
            assert_eq!(added.new, both);
            assert_eq!(Some(added.mac), netlink.link().require("mesh").unwrap().mac);
            assert!(add_addresses("mesh", &both).unwrap().new.is_empty());
            remove_addresses("mesh", &both[..1]).unwrap();
            remove_addresses("mesh", &both[..1]).unwrap();
            assert_eq!(add_addresses("mesh", &both).unwrap().new, both[..1]);
            assert!(add_addresses("none", &both).unwrap_err().is_not_found());
            remove_addresses("none", &both).unwrap();
        });
    }

    #[test]
    fn addresses_that_conflict_with_routes_are_refused() {
        if needs_root("addresses_that_conflict_with_routes_are_refused") {
            return;
        }
        NamedNetns::new().run(|| {
            let mut netlink = host();
            let bridge = netlink.link().require("mesh").unwrap().index;
            netlink.address().add(bridge, net("10.2.1.1/24")).unwrap();
            for (address, words) in [
                ("192.0.2.1/32", "a of this host has that address"),
                ("192.0.2.7/24", "reaches 192.0.2.0/24 by a"),
                ("192.0.2.7/30", "reaches 192.0.2.0/24 by a"),
                ("192.0.9.9/16", "reaches 192.0.2.0/24 by a"),
            ] {
                let error = check_address("mesh", net(address)).unwrap_err().to_string();
                assert!(error.contains(words), "{error}");
            }
            for fine in ["10.2.1.1/24", "10.2.1.9/24", "10.32.0.1/12", "fd00::5/64"] {
                check_address("mesh", net(fine)).unwrap();
            }
        });
    }
}
