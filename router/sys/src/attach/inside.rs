//! Configuration inside the container's namespace, on a thread that has entered it.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use mesh_proto::ids::Mac;

use super::{AttachError, Plug};
use crate::SysError;
use crate::bridge::{AliasRole, alias};
use crate::interface::ethtool::disable_offloads;
use crate::interface::sysctl::{self, SysctlGroup};
use crate::netlink::{LinkEntry, Netlink};
use crate::plan::StepPlan;

/// Interfaces `mesh0`, `mesh1`, … of one container, at most.
const MAX_INTERFACES: u32 = 1_024;

/// Returns the interface that has the requested address.
pub(super) fn find(request: &Plug<'_>) -> Result<Option<LinkEntry>, SysError> {
    let mut netlink = Netlink::open()?;
    let wanted = request.address.addr();
    let entry = netlink
        .address()
        .list()?
        .into_iter()
        .find(|entry| entry.address.addr() == wanted);
    let Some(entry) = entry else {
        return Ok(None);
    };
    let links = netlink.link().list()?;
    Ok(links.into_iter().find(|link| link.index == entry.link))
}

/// Configures the container's end as requested. Returns its name.
pub(super) fn set_up(
    request: &Plug<'_>,
    temporary: &str,
    plan: &mut StepPlan,
) -> Result<String, AttachError> {
    let mut netlink = Netlink::open()?;
    let index = netlink.link().require(temporary)?.index;
    let alias = alias(request.bridge, AliasRole::Container, request.alias);
    plan.step("mark container end", || {
        netlink.link().set_alias(index, &alias)
    })?;
    if request.offloads_off {
        plan.step("switch offloads of container end off", || {
            disable_offloads(temporary)
        })?;
    }
    let ifname = rename(&mut netlink, index, request.ifname, plan)?;
    plan.step("configure container end", || {
        configure(&ifname, request.addresses().any(|net| net.addr().is_ipv6()))
    })?;
    for address in request.addresses() {
        plan.step("add address", || netlink.address().add(index, address))?;
    }
    plan.step("set container end up", || netlink.link().set_up(index))?;
    if request.multicast_route {
        plan.step("add multicast route", || {
            add_multicast_route(&mut netlink, index)
        })?;
    }
    Ok(ifname)
}

fn rename(
    netlink: &mut Netlink,
    index: u32,
    wanted: Option<&str>,
    plan: &mut StepPlan,
) -> Result<String, AttachError> {
    if let Some(name) = wanted {
        let renamed = plan.step("rename", || netlink.link().rename(index, name));
        return match renamed {
            Ok(()) => Ok(name.to_owned()),
            Err(e) if e.is_exists() => Err(AttachError::NameTaken(name.to_owned())),
            Err(e) => Err(e.into()),
        };
    }
    let renamed = plan.step("rename", || rename_to_free(netlink, index))?;
    Ok(renamed)
}

/// Tries the names in turn, because another attachment of the same container may be in progress.
fn rename_to_free(netlink: &mut Netlink, index: u32) -> Result<String, SysError> {
    for number in 0..MAX_INTERFACES {
        let name = format!("mesh{number}");
        match netlink.link().rename(index, &name) {
            Ok(()) => return Ok(name),
            Err(e) if e.is_exists() => {}
            Err(e) => return Err(e),
        }
    }
    Err(SysError::other(
        "name the interface",
        format!("mesh0 to mesh{} are all taken", MAX_INTERFACES - 1),
    ))
}

/// Disables automatic addresses, and makes the neighbour cache detect moves within seconds.
fn configure(ifname: &str, ipv6: bool) -> Result<(), SysError> {
    sysctl::prefer(SysctlGroup::Ipv6Conf, ifname, "accept_ra", "0");
    if ipv6 {
        sysctl::set(SysctlGroup::Ipv6Conf, ifname, "disable_ipv6", "0")?;
        sysctl::prefer(SysctlGroup::Ipv6Conf, ifname, "autoconf", "0");
        // Duplicate address detection would delay the use of the address by a second.
        sysctl::prefer(SysctlGroup::Ipv6Conf, ifname, "accept_dad", "0");
    } else {
        sysctl::prefer(SysctlGroup::Ipv6Conf, ifname, "disable_ipv6", "1");
    }
    age_neighbours_fast(ifname);
    Ok(())
}

pub(super) fn age_neighbours_fast(ifname: &str) {
    for table in [SysctlGroup::Ipv4Neigh, SysctlGroup::Ipv6Neigh] {
        for (key, value) in [
            ("base_reachable_time_ms", "5000"),
            ("delay_first_probe_time", "2"),
            ("ucast_solicit", "1"),
        ] {
            sysctl::prefer(table, ifname, key, value);
        }
    }
}

/// Adds the multicast route. In a container with several interfaces, that of the first one is kept.
fn add_multicast_route(netlink: &mut Netlink, index: u32) -> Result<bool, SysError> {
    let multicast = Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4);
    netlink.route().add_on_link(index, IpNet::V4(multicast))
}

/// Announces an address. A failure is not fatal: it only delays neighbours until their ARP entries expire.
pub(super) fn announce(ifname: &str, mac: Mac, address: IpAddr) {
    if let Err(e) = crate::interface::arp::announce(ifname, mac, address) {
        tracing::warn!(error = %e, "address not announced");
    }
}
