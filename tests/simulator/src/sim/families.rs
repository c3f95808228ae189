//! Families of addresses: every second network besides `default` has an IPv6 subnet.
//!
//! The workload and its checks know IPv4 addresses only. What a router is asked for, and what it answers, is translated
//! where it passes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mesh_ipam::{AddressQuery, AddressRequest, Ipam};

/// The IPv4 subnet, as the workload knows all of them.
pub(crate) const SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 77, 0, 0), 26);
/// The IPv6 subnet, with as many addresses as [`SUBNET`].
const SUBNET6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0, 0, 77, 0, 0, 0, 0), 122);

/// Returns the subnet of the k-th network.
pub(crate) fn subnet_of(k: usize) -> IpNet {
    match k % 2 {
        0 => SUBNET.into(),
        _ => SUBNET6.into(),
    }
}

/// Returns what a router with this subnet is asked for.
pub(crate) fn query_of(subnet: IpNet, request: AddressRequest) -> AddressQuery {
    match request {
        AddressRequest::Subnet(part) => AddressQuery::AnyOf(part_of(subnet, part)),
        AddressRequest::Address(addr) => AddressQuery::Exactly(outward(subnet, addr).into()),
    }
}

fn part_of(subnet: IpNet, part: Ipv4Net) -> IpNet {
    let length = part.prefix_len() + (subnet.max_prefix_len() - 32);
    IpNet::new(outward(subnet, part.network()), length).unwrap_or(subnet)
}

fn outward(subnet: IpNet, addr: Ipv4Addr) -> IpAddr {
    match subnet {
        IpNet::V4(_) => addr.into(),
        IpNet::V6(v6) => {
            let distance = u32::from(addr).wrapping_sub(u32::from(SUBNET.network()));
            Ipv6Addr::from(u128::from(v6.network()) | u128::from(distance)).into()
        }
    }
}

/// Returns the addresses that a router has allocated, as the workload knows them, with their containers.
pub(crate) fn known(ipam: &Ipam) -> impl Iterator<Item = (Ipv4Addr, &str)> {
    let allocations = ipam.allocations();
    allocations.map(|held| (inward(ipam.slicing().address(held.addr)), held.container))
}

/// Returns the address that the workload knows.
pub(crate) fn inward(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => {
            let distance = u128::from(v6).wrapping_sub(u128::from(SUBNET6.network()));
            let distance = u32::try_from(distance).unwrap_or(u32::MAX);
            Ipv4Addr::from(u32::from(SUBNET.network()).wrapping_add(distance))
        }
    }
}
