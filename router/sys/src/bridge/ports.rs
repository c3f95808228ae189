//! Settings of the mesh's ports on the bridge, kept at the kernel's defaults: hairpin mode or isolated ports would
//! break the Ethernet switch.

use super::{AliasRole, alias, is_ours};
use crate::SysError;
use crate::netlink::{LinkEntry, Netlink, PortSetting};

/// Resets the settings of the mesh's ports of `bridge` that other programs changed, like the hairpin mode that a
/// kubelet sets. Returns a line for each such port.
///
/// # Errors
/// The kernel does not list interfaces. If a port cannot be reset, its line says so.
pub fn set_back(bridge: &str) -> Result<Vec<String>, SysError> {
    let mut netlink = Netlink::open()?;
    let Some(master) = netlink.link().by_name(bridge)? else {
        return Ok(Vec::new());
    };
    let mut ports = netlink.link().list()?;
    ports.retain(|link| link.master == Some(master.index) && is_ours(link, bridge));
    // With a VXLAN device, the fast path controls learning and flooding of the router's port.
    let has_fast_path = ports.iter().any(is_vxlan);
    let router_port = alias(bridge, AliasRole::Port, "");
    let mut found = Vec::new();
    for port in &ports {
        let is_fast_paths = has_fast_path
            && (is_vxlan(port) || port.alias.as_deref() == Some(router_port.as_str()));
        let changed: Vec<&PortSetting> = port
            .changed
            .iter()
            .filter(|c| !(is_fast_paths && c.is_port_flag()))
            .collect();
        if changed.is_empty() {
            continue;
        }
        let words: Vec<&str> = changed.iter().map(|c| c.words()).collect();
        let mut line = format!("{} at {}", words.join(", "), port.name);
        match netlink.bridge_port().reset(port.index, &changed) {
            Err(e) if e.is_not_found() => continue,
            Err(e) => line = format!("{line} (which stays so: {e})"),
            Ok(()) => {}
        }
        found.push(line);
    }
    Ok(found)
}

fn is_vxlan(link: &LinkEntry) -> bool {
    link.kind.as_deref() == Some("vxlan")
}
