//! Interfaces of containers: veth pairs between the bridge and a container's network namespace.

mod endpoint;
mod inside;
mod plug;

pub use endpoint::{Endpoint, finish_endpoint, make_endpoint};
pub use plug::{Plugged, plug};

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use mesh_proto::ids::Mac;

use crate::SysError;
use crate::bridge::{AliasRole, alias};
use crate::netlink::{HostLinks, LinkEntry, Netlink};
use crate::netns::Netns;

/// Interval at which to look for an interface that the engine is about to move.
const POLL: Duration = Duration::from_millis(2);

/// Request to attach one address of one container, or one of each family.
#[derive(Clone, Copy, Debug)]
pub struct Plug<'a> {
    /// Name of the bridge, in the thread's namespace.
    pub bridge: &'a str,
    /// Network namespace of the container.
    pub netns: &'a Netns,
    /// Name of the interface in the container; `None`: the first free one of `mesh0`, `mesh1`, …
    pub ifname: Option<&'a str>,
    /// MAC address of the interface.
    pub mac: Mac,
    /// MTU of the interface, in bytes.
    pub mtu: u16,
    /// IP address, with the prefix length of its subnet.
    pub address: IpNet,
    /// IPv6 address beside an IPv4 one, likewise.
    pub second: Option<IpNet>,
    /// True to route IPv4 multicast (224.0.0.0/4) to this interface.
    pub multicast_route: bool,
    /// Caller's name for it in [`list`] and [`unplug`]; at most 200 bytes.
    pub alias: &'a str,
    /// True to disable checksum and segmentation offloads, as a pcap port needs.
    pub offloads_off: bool,
}

impl Plug<'_> {
    /// Returns all addresses.
    fn addresses(&self) -> impl Iterator<Item = IpNet> + use<> {
        core::iter::once(self.address).chain(self.second)
    }
}

/// Reason why a container could not be attached. Nothing is left of the attempt.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The bridge does not exist.
    #[error("there is no bridge {0}; is the router running?")]
    NoBridge(String),
    /// Another interface of the container has the address.
    #[error("the container has the address {address} already, on its interface {ifname}")]
    AddressInUse {
        /// Requested address.
        address: IpNet,
        /// Interface that has it.
        ifname: String,
    },
    /// The container has an interface with the requested name.
    #[error("the container has an interface {0} already")]
    NameTaken(String),
    /// The container has no network namespace of its own.
    #[error("the container uses the host's own network; it cannot be attached")]
    HostNetwork,
    /// The engine did not move the interface in time.
    #[error("no interface with the MAC {0} came up in the container in time")]
    Timeout(Mac),
    /// The endpoint was created before, and is in a container now.
    #[error("the endpoint {0} is in a container already")]
    InContainer(String),
}

/// Host's end of a container's veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Name of the interface on the host.
    pub host_ifname: String,
    /// Alias given to [`plug()`] or [`make_endpoint`] by the caller.
    pub alias: String,
    /// True if it is in the bridge and up, as it should be.
    pub connected: bool,
    /// True if the other end is in another network namespace, that is, in a container.
    pub arrived: bool,
}

/// Returns all attachments of these bridges, by the aliases of the interfaces.
pub fn list(host: &HostLinks, bridges: &BTreeSet<String>) -> Vec<Attachment> {
    let attachment = |link: &LinkEntry| {
        let (bridge, alias) = host_end(link)?;
        let master = host.find(bridge).map(|bridge| bridge.index);
        bridges.contains(bridge).then(|| Attachment {
            host_ifname: link.name.clone(),
            alias: alias.to_owned(),
            connected: link.up && master.is_some() && link.master == master,
            arrived: link.peer_netns.is_some(),
        })
    };
    host.all().filter_map(attachment).collect()
}

/// Removes every attachment with this alias or this interface on the host. Returns their number.
///
/// # Errors
/// The first failure, after all others were tried.
pub fn unplug(bridge: &str, alias_or_host_ifname: &str) -> Result<usize, SysError> {
    let mut netlink = Netlink::open()?;
    let mut ours = netlink.link().list()?;
    ours.retain(|link| {
        let alias = caller_alias(link, bridge);
        alias.is_some()
            && (alias == Some(alias_or_host_ifname) || link.name == alias_or_host_ifname)
    });
    let mut result = Ok(ours.len());
    for link in &ours {
        match netlink.link().delete(link.index) {
            Err(e) if !e.is_not_found() => result = result.and(Err(e)),
            _ => {}
        }
    }
    result
}

/// Reconnects every attachment that was removed from its bridge, one of `bridges`, or set down by others. Returns their
/// number. Those whose aliases are in `resting` are kept down.
///
/// # Errors
/// The errno of the failed system call.
pub fn reconnect_all(
    host: &HostLinks,
    bridges: &BTreeSet<String>,
    resting: &BTreeSet<String>,
) -> Result<usize, SysError> {
    let mut netlink = Netlink::open()?;
    let mut mended = 0;
    for link in host.all() {
        let ours = host_end(link).filter(|(bridge, _)| bridges.contains(*bridge));
        let Some((bridge, alias)) = ours else {
            continue;
        };
        let Some(master) = host.find(bridge) else {
            continue;
        };
        let needed = match resting.contains(alias) {
            true if link.up => netlink.link().set_down(link.index).map(|()| true)?,
            true => false,
            false => reconnect(&mut netlink, link, master.index)?,
        };
        mended += usize::from(needed);
    }
    Ok(mended)
}

/// Sets the carrier of an attachment down, which keeps its address and routes in the container, or up again. Returns
/// true if there is such an attachment.
///
/// # Errors
/// The errno of the failed system call.
pub fn rest(bridge: &str, alias: &str, resting: bool) -> Result<bool, SysError> {
    let mut netlink = Netlink::open()?;
    let mut links = netlink.link().list()?;
    links.retain(|l| caller_alias(l, bridge) == Some(alias));
    for link in &links {
        match resting {
            true if link.up => netlink.link().set_down(link.index)?,
            false if !link.up => netlink.link().set_up(link.index)?,
            _ => {}
        }
    }
    Ok(!links.is_empty())
}

/// Adds one host end to the bridge and sets it up. Returns true if that was needed.
fn reconnect(netlink: &mut Netlink, link: &LinkEntry, master: u32) -> Result<bool, SysError> {
    let needed = link.master != Some(master) || !link.up;
    if link.master != Some(master) {
        netlink.link().set_master(link.index, master)?;
    }
    if !link.up {
        netlink.link().set_up(link.index)?;
    }
    Ok(needed)
}

/// Returns the caller's part of the alias of a host end on this bridge.
fn caller_alias<'a>(link: &'a LinkEntry, bridge: &str) -> Option<&'a str> {
    host_end(link).and_then(|(its, alias)| (its == bridge).then_some(alias))
}

/// Returns the bridge and the caller's part of the alias of a host end; `None` for every other interface.
fn host_end(link: &LinkEntry) -> Option<(&str, &str)> {
    let (bridge, _) = link
        .alias
        .as_deref()?
        .strip_prefix("mesh:")?
        .split_once(':')?;
    let start = alias(bridge, AliasRole::Host, "");
    let rest = link.alias.as_deref()?.strip_prefix(start.as_str())?;
    Some((bridge, rest.strip_prefix(':')?))
}

#[cfg(test)]
mod tests;
