//! Other bridges of this host.

use std::collections::BTreeSet;

use crate::SysError;
use crate::netlink::{LinkEntry, Netlink};

/// Returns true if a link is a bridge without a connection to other hosts, so that only containers and virtual
/// machines are on it.
pub fn is_of_containers(link: &LinkEntry, links: &[LinkEntry]) -> bool {
    let is_bridge = |l: &LinkEntry| l.kind.as_deref() == Some("bridge");
    let leads_out = |port: &LinkEntry| {
        // Hardware has no kind; a bond, a VLAN or a tunnel leads to other hosts.
        let ends_here = matches!(port.kind.as_deref(), Some("veth" | "tun" | "dummy"));
        port.master == Some(link.index) && !ends_here
    };
    is_bridge(link) && !links.iter().any(leads_out)
}

/// Returns the bridges of containers, except `ours`, in the calling thread's namespace.
///
/// # Errors
/// The list of interfaces cannot be read.
pub fn of_containers(ours: &str) -> Result<BTreeSet<String>, SysError> {
    let links = Netlink::open()?.link().list()?;
    let others = links.iter().filter(|link| link.name != ours);
    let names = others.filter(|link| is_of_containers(link, &links));
    Ok(names.map(|link| link.name.clone()).collect())
}
