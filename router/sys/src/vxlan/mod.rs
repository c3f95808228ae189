//! VXLAN devices of one mesh on this host: ports of its bridge by which the kernel sends frames to other hosts (RFC
//! 7348).
//!
//! They neither learn nor flood: a frame leaves by one only if a table has its destination. They and the router's
//! port are isolated from one another, so frames received by VXLAN reach containers and never the router, which would
//! take them for frames of local containers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mesh_proto::ids::Mac;

use crate::SysError;
use crate::bridge::{self, AliasRole};
use crate::ifname;
use crate::interface::sysctl::{self, SysctlGroup};
use crate::netlink::{LinkEntry, Netlink, PortFlags, VxlanSpec};
use crate::plan::StepPlan;

/// IP version of the underlay; a device supports one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// All IP versions.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Returns the IP version of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// Configuration of the devices.
#[derive(Clone, Debug)]
pub struct VxlanConfig {
    /// Bridge of which they are ports.
    pub bridge: String,
    /// MTU of the mesh, in bytes.
    pub mtu: u16,
    /// UDP port.
    pub port: u16,
    /// Network identifier, below 2^24.
    pub vni: u32,
    /// Underlay address of the router, if it is bound to a single one.
    pub local: Option<IpAddr>,
}

/// Device that exists and is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Index of the device.
    pub index: u32,
    /// MAC address of the device.
    pub mac: Mac,
    /// Index of the router's port on the same bridge.
    pub port: u32,
}

/// Settings of a VXLAN port: it carries only what the tables name.
const VXLAN_PORT: PortFlags = PortFlags {
    learning: false,
    flood: false,
    isolated: true,
};
/// Settings of the router's port beside VXLAN ports. If it learnt, each broadcast of a remote container, which
/// arrives through the router, would divert that container's unicast from VXLAN; so the router adds the entries
/// itself.
const ROUTER_PORT_BESIDE: PortFlags = PortFlags {
    learning: false,
    flood: true,
    isolated: true,
};
/// Settings of the router's port without VXLAN ports: the kernel's defaults.
const ROUTER_PORT_ALONE: PortFlags = PortFlags {
    learning: true,
    flood: true,
    isolated: false,
};

/// Creates the device of one IP version, or repairs it, and prepares the router's port. Idempotent.
///
/// # Errors
/// The kernel has no VXLAN, the UDP port is taken, the name belongs to another interface, there is no bridge; EPERM
/// without CAP_NET_ADMIN. A device created before the failure is removed.
pub fn ensure(config: &VxlanConfig, family: Family) -> Result<Device, SysError> {
    let mut plan = StepPlan::new();
    let mut netlink = Netlink::open()?;
    let bridge = netlink.link().require(&config.bridge)?;
    let port = router_port(&mut netlink, &config.bridge)?.ok_or_else(|| {
        let what = format!("find the router's port of {}", config.bridge);
        SysError::errno(what, nix::errno::Errno::ENODEV)
    })?;
    netlink
        .bridge_port()
        .set_flags(port.index, ROUTER_PORT_BESIDE)?;
    let link = match find(&mut netlink, config, family)? {
        Some(link) => link,
        None => create(&mut netlink, config, family, &mut plan)?,
    };
    if link.master != Some(bridge.index) {
        netlink.link().set_master(link.index, bridge.index)?;
    }
    // Before it is up, so that no frame is flooded to it or learnt from it.
    netlink.bridge_port().set_flags(link.index, VXLAN_PORT)?;
    if link.mtu != u32::from(config.mtu) {
        netlink.link().set_mtu(link.index, config.mtu)?;
    }
    if !link.up {
        sysctl::prefer(SysctlGroup::Ipv6Conf, &link.name, "disable_ipv6", "1");
        netlink.link().set_up(link.index)?;
        bridge::wait_forwarding(&mut netlink, &link.name)?;
    }
    plan.commit();
    let mac = link
        .mac
        .ok_or_else(|| SysError::other("use a VXLAN device", "it has no MAC"))?;
    Ok(Device {
        index: link.index,
        mac,
        port: port.index,
    })
}

/// Removes the device of one IP version. Returns true if it existed.
///
/// # Errors
/// The errno of the failed system call.
pub fn remove(bridge: &str, family: Family) -> Result<bool, SysError> {
    let mut netlink = Netlink::open()?;
    let Some(link) = netlink.link().by_name(&name(bridge, family))? else {
        return Ok(false);
    };
    bridge::delete_if_ours(&mut netlink, &link, bridge)?;
    Ok(true)
}

/// Resets the router's port to its settings without VXLAN ports, if it exists.
///
/// # Errors
/// The errno of the failed system call.
pub fn release_port(bridge: &str) -> Result<(), SysError> {
    let mut netlink = Netlink::open()?;
    match router_port(&mut netlink, bridge)? {
        Some(port) => netlink
            .bridge_port()
            .set_flags(port.index, ROUTER_PORT_ALONE),
        None => Ok(()),
    }
}

/// Returns the index of the router's port on a bridge, of either kind; `None` if it is not in place.
///
/// # Errors
/// The errno of the failed system call.
pub fn router_port_index(bridge: &str) -> Result<Option<u32>, SysError> {
    let port = router_port(&mut Netlink::open()?, bridge)?;
    Ok(port.map(|port| port.index))
}

fn router_port(netlink: &mut Netlink, bridge: &str) -> Result<Option<LinkEntry>, SysError> {
    for name in [ifname::tap_port(bridge), ifname::port_pair(bridge).0] {
        let port = netlink.link().by_name(&name)?;
        if let Some(port) = port.filter(|port| port.master.is_some()) {
            return Ok(Some(port));
        }
    }
    Ok(None)
}

/// Returns the name of a device.
pub fn name(bridge: &str, family: Family) -> String {
    let (four, six) = ifname::vxlan_pair(bridge);
    match family {
        Family::V4 => four,
        Family::V6 => six,
    }
}

/// Returns the device if it exists with the right configuration; an outdated device of the mesh is deleted.
fn find(
    netlink: &mut Netlink,
    config: &VxlanConfig,
    family: Family,
) -> Result<Option<LinkEntry>, SysError> {
    let name = name(&config.bridge, family);
    let Some(link) = netlink.link().by_name(&name)? else {
        return Ok(None);
    };
    if link.alias.as_deref() == Some(&alias(config, family)) {
        return Ok(Some(link));
    }
    bridge::delete_if_ours(netlink, &link, &config.bridge)?;
    Ok(None)
}

fn create(
    netlink: &mut Netlink,
    config: &VxlanConfig,
    family: Family,
    plan: &mut StepPlan,
) -> Result<LinkEntry, SysError> {
    let name = name(&config.bridge, family);
    let spec = VxlanSpec {
        name: &name,
        vni: config.vni,
        port: config.port,
        local: local(config, family),
        mtu: config.mtu,
    };
    let undo = bridge::delete_later(name.clone());
    plan.step_with_undo(
        "create VXLAN device",
        || netlink.link().create_vxlan(&spec),
        undo,
    )?;
    let link = netlink.link().require(&name)?;
    netlink
        .link()
        .set_alias(link.index, &alias(config, family))?;
    Ok(link)
}

fn local(config: &VxlanConfig, family: Family) -> IpAddr {
    let any = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let fits = |a: &IpAddr| Family::of(*a) == family;
    config.local.filter(fits).unwrap_or(any)
}

/// Returns the alias, which contains the configuration that cannot be changed later.
fn alias(config: &VxlanConfig, family: Family) -> String {
    let detail = format!("{}:{}:{}", config.vni, config.port, local(config, family));
    bridge::alias(&config.bridge, AliasRole::Vxlan, &detail)
}

#[cfg(test)]
mod tests;
