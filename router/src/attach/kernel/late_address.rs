//! Addresses that the router gives to an interface after Docker has moved it.

use std::path::Path;

use ipnet::IpNet;
use mesh_host::interface::ContainerInterface;
use mesh_proto::ids::Mac;
use mesh_sys::interface::sysctl::{self, SysctlGroup};
use mesh_sys::netlink::{AddressEntry, Netlink};
use mesh_sys::netns::Netns;

use super::{KernelResult, error};

/// For the second address of a subnet in one container, which Docker refuses to set with its subnet: sets it so once the
/// first is there. Before that it would be the reason why Docker refuses the first. Returns whether it was time to.
pub(super) fn give_address(
    sandbox: &Path,
    interface: &ContainerInterface,
    needs_cover: bool,
) -> KernelResult<bool> {
    let Ok(netns) = Netns::open(sandbox) else {
        return Ok(false);
    };
    netns
        .run_in(|| add_if_up(interface.mac, interface.address, needs_cover))
        .map_err(error)?
}

/// Sets the address, inside the container's namespace; returns whether it was time to.
fn add_if_up(mac: Mac, address: IpNet, needs_cover: bool) -> KernelResult<bool> {
    let mut netlink = Netlink::open().map_err(error)?;
    let links = netlink.link().list().map_err(error)?;
    let Some(link) = links.iter().find(|l| l.up && l.mac == Some(mac)) else {
        return Ok(false);
    };
    let is_cover = |other: &AddressEntry| {
        let is_up = links.iter().any(|l| l.index == other.link && l.up);
        is_up && other.link != link.index && other.address.contains(&address.addr())
    };
    if needs_cover
        && !netlink
            .address()
            .list()
            .map_err(error)?
            .iter()
            .any(is_cover)
    {
        return Ok(false);
    }
    if address.addr().is_ipv6() {
        // Docker disables IPv6 on an interface that it gives no such address.
        sysctl::set_if_present(SysctlGroup::Ipv6Conf, &link.name, "disable_ipv6", "0")
            .map_err(error)?;
    }
    netlink.address().add(link.index, address).map_err(error)?;
    let alone = IpNet::from(address.addr());
    if alone != address {
        // Docker may have set it without its subnet; now it has both.
        netlink.address().delete(link.index, alone).map_err(error)?;
    }
    Ok(true)
}
