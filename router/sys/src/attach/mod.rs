//! Containers' interfaces: veth pairs between the bridge and a container's network namespace.

mod endpoint;
mod inside;
mod plug;

pub use endpoint::{Endpoint, finish_endpoint, make_endpoint};
pub use plug::{Plug, Plugged, plug};

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use mesh_proto::ids::Mac;

use crate::SysError;
use crate::bridge::{Role, alias, is_ours};
use crate::netlink::{Link, Netlink};

/// Time between two looks for an interface that the engine is about to move.
const POLL: Duration = Duration::from_millis(2);

/// Why a container could not be attached. Nothing is left of the attempt.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// A system call failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The bridge is not there.
    #[error("there is no bridge {0}; is the router running?")]
    NoBridge(String),
    /// The container has the address on another interface.
    #[error("the container has the address {address} already, on its interface {ifname}")]
    AddressInUse {
        /// The address.
        address: IpNet,
        /// The interface that has it.
        ifname: String,
    },
    /// The container has an interface of the name asked for.
    #[error("the container has an interface {0} already")]
    NameTaken(String),
    /// The container has no network namespace of its own.
    #[error("the container uses the host's own network; it cannot be attached")]
    HostNetwork,
    /// The engine did not move the interface in time.
    #[error("no interface with the MAC {0} came up in the container in time")]
    Timeout(Mac),
    /// Such an endpoint was made before, and is in a container now.
    #[error("the endpoint {0} is in a container already")]
    InContainer(String),
}

/// The host's end of a container's pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The interface on the host.
    pub host_ifname: String,
    /// What the caller of [`plug`] or [`make_endpoint`] gave as alias.
    pub alias: String,
    /// Whether it is in the bridge and up, as it should be.
    pub connected: bool,
    /// Whether the other end is in another network namespace: in a container.
    pub arrived: bool,
}

/// All attachments of a bridge, by the aliases of the interfaces in the thread's namespace.
///
/// # Errors
/// The kernel's.
pub fn list(bridge: &str) -> Result<Vec<Attachment>, SysError> {
    let mut netlink = Netlink::open()?;
    let master = netlink.link_by_name(bridge)?.map(|link| link.index);
    let links = netlink.links()?;
    Ok(links
        .iter()
        .filter_map(|link| {
            Some(Attachment {
                host_ifname: link.name.clone(),
                alias: caller_alias(link, bridge)?.to_owned(),
                connected: link.up && master.is_some() && link.master == master,
                arrived: link.peer_netns.is_some(),
            })
        })
        .collect())
}

/// Takes out every attachment that has this alias or this interface on the host; how many there were.
///
/// # Errors
/// The first failure, after all others were tried.
pub fn unplug(bridge: &str, alias_or_host_ifname: &str) -> Result<usize, SysError> {
    let mut netlink = Netlink::open()?;
    let mut ours = netlink.links()?;
    ours.retain(|link| {
        let alias = caller_alias(link, bridge);
        alias.is_some()
            && (alias == Some(alias_or_host_ifname) || link.name == alias_or_host_ifname)
    });
    let mut result = Ok(ours.len());
    for link in &ours {
        match netlink.delete_link(link.index) {
            Err(e) if !e.is_not_found() => result = result.and(Err(e)),
            _ => {}
        }
    }
    result
}

/// Puts every attachment that someone took out of the bridge, or set down, back; how many there were. Those whose aliases
/// are in `resting` are to be down.
///
/// # Errors
/// The kernel's.
pub fn reconnect_all(bridge: &str, resting: &BTreeSet<String>) -> Result<usize, SysError> {
    let mut netlink = Netlink::open()?;
    let Some(master) = netlink.link_by_name(bridge)? else {
        return Ok(0);
    };
    let mut mended = 0;
    for link in netlink.links()? {
        let Some(alias) = caller_alias(&link, bridge) else {
            continue;
        };
        let needed = match resting.contains(alias) {
            true if link.up => netlink.set_down(link.index).map(|()| true)?,
            true => false,
            false => reconnect(&mut netlink, &link, master.index)?,
        };
        mended += usize::from(needed);
    }
    Ok(mended)
}

/// Takes the carrier from an attachment, which keeps its address and routes in the container, or gives it back; whether there
/// is such an attachment.
///
/// # Errors
/// The kernel's.
pub fn rest(bridge: &str, alias: &str, resting: bool) -> Result<bool, SysError> {
    let mut netlink = Netlink::open()?;
    let mut links = netlink.links()?;
    links.retain(|l| caller_alias(l, bridge) == Some(alias));
    for link in &links {
        match resting {
            true if link.up => netlink.set_down(link.index)?,
            false if !link.up => netlink.set_up(link.index)?,
            _ => {}
        }
    }
    Ok(!links.is_empty())
}

/// Puts one host end into the bridge and up; whether that was needed.
fn reconnect(netlink: &mut Netlink, link: &Link, master: u32) -> Result<bool, SysError> {
    let needed = link.master != Some(master) || !link.up;
    if link.master != Some(master) {
        netlink.set_master(link.index, master)?;
    }
    if !link.up {
        netlink.set_up(link.index)?;
    }
    Ok(needed)
}

/// The caller's part of the alias of a host end.
fn caller_alias<'a>(link: &'a Link, bridge: &str) -> Option<&'a str> {
    if !is_ours(link, bridge) {
        return None;
    }
    let prefix = alias(bridge, Role::Host, "");
    let rest = link.alias.as_deref()?.strip_prefix(prefix.as_str())?;
    rest.strip_prefix(':')
}

#[cfg(test)]
mod tests;
