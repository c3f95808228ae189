//! Our ports of the bridge, kept as the kernel makes them: a frame that goes back by the port it came from, or to some
//! ports only, is no frame of an Ethernet switch.

use super::{Role, alias, is_ours};
use crate::SysError;
use crate::netlink::{Changed, Link, Netlink};

/// Sets back what somebody else changed at our ports of `bridge`, like the hairpin mode that a kubelet switches on; what that
/// was, a line for each port.
///
/// # Errors
/// The kernel does not list interfaces; of a port that cannot be set back its line says so.
pub fn set_back(bridge: &str) -> Result<Vec<String>, SysError> {
    let mut netlink = Netlink::open()?;
    let Some(master) = netlink.link_by_name(bridge)? else {
        return Ok(Vec::new());
    };
    let mut ports = netlink.links()?;
    ports.retain(|link| link.master == Some(master.index) && is_ours(link, bridge));
    // Beside a VXLAN device the fast path says what the router's port learns and floods.
    let has_fast_path = ports.iter().any(is_vxlan);
    let router_port = alias(bridge, Role::Port, "");
    let mut found = Vec::new();
    for port in &ports {
        let is_fast_paths = has_fast_path
            && (is_vxlan(port) || port.alias.as_deref() == Some(router_port.as_str()));
        let changed: Vec<&Changed> = port
            .changed
            .iter()
            .filter(|c| !(is_fast_paths && c.is_port_flag()))
            .collect();
        if changed.is_empty() {
            continue;
        }
        let words: Vec<&str> = changed.iter().map(|c| c.words()).collect();
        let mut line = format!("{} at {}", words.join(", "), port.name);
        match netlink.set_back(port.index, &changed) {
            Err(e) if e.is_not_found() => continue,
            Err(e) => line = format!("{line} (which stays so: {e})"),
            Ok(()) => {}
        }
        found.push(line);
    }
    Ok(found)
}

fn is_vxlan(link: &Link) -> bool {
    link.kind.as_deref() == Some("vxlan")
}
