//! Bridges of other owners. A bridge that an operator created for the mesh is used. One of a container engine, or one
//! with addresses or ports of its own, is refused: it would join the bridges of all hosts to one Ethernet with the
//! same addresses on each.

use super::is_ours;
use crate::SysError;
use crate::ifname;
use crate::netlink::{LinkEntry, Netlink};

/// Alias of a bridge of another owner that the mesh uses; set by the router, or by an operator who permits it.
pub(super) const MARK: &str = "mesh";

/// Bridges of engines, virtual machines and clusters: prefix of the name, and owner.
const ENGINES: [(&str, &str); 14] = [
    ("docker", "Docker's"),
    ("br-", "a Docker network's"),
    ("podman", "podman's"),
    ("cni", "a CNI network's"),
    ("nerdctl", "nerdctl's"),
    ("virbr", "libvirt's"),
    ("vnet", "libvirt's"),
    ("lxcbr", "LXC's"),
    ("lxdbr", "LXD's"),
    ("incusbr", "Incus'"),
    ("cbr", "a kubelet's"),
    ("kube-", "Kubernetes'"),
    ("flannel", "flannel's"),
    ("cilium", "Cilium's"),
];
/// Digits of the id in the bridge name of a Docker network.
const ID_DIGITS: usize = 12;

/// Refuses a main bridge under a name of the form that networks' bridges have.
pub(super) fn check_form(name: &str) -> Result<(), SysError> {
    match ifname::is_network_bridge(name) {
        true => Err(SysError::other(
            format!("use {name} as the mesh's bridge"),
            "names of that form are for the bridges of its networks; name another, or none",
        )),
        false => Ok(()),
    }
}

/// Refuses the name of an engine's bridge, whether it exists or not.
pub(super) fn check_name(name: &str) -> Result<(), SysError> {
    match engine_of(name) {
        Some(whose) => Err(refused(name, &format!("that bridge is {whose}"))),
        None => Ok(()),
    }
}

/// Refuses a bridge that is in use, unless the mesh used it before or it is marked.
pub(super) fn check(netlink: &mut Netlink, link: &LinkEntry, name: &str) -> Result<(), SysError> {
    check_name(name)?;
    if link.alias.as_deref() == Some(MARK) {
        return Ok(());
    }
    let links = netlink.link().list()?;
    let ports = || links.iter().filter(|l| l.master == Some(link.index));
    if ports().any(|port| is_ours(port, name)) {
        return Ok(());
    }
    if let Some(port) = ports().next() {
        return Err(in_use(name, &format!("it has a port, {}", port.name)));
    }
    let addresses = netlink.address().list()?;
    let is_link_local = |ip: std::net::IpAddr| match ip {
        std::net::IpAddr::V4(_) => false,
        std::net::IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let mut own = addresses
        .iter()
        .filter(|a| a.link == link.index && !is_link_local(a.address.addr()));
    match own.next() {
        Some(entry) => Err(in_use(
            name,
            &format!("it has an address, {}", entry.address),
        )),
        None => Ok(()),
    }
}

/// Marks a bridge of another owner as used, and fixes its MTU, which would follow that of the mesh's ports if it was
/// never set.
pub(super) fn borrow(netlink: &mut Netlink, link: &LinkEntry, name: &str) -> Result<(), SysError> {
    let links = netlink.link().list()?;
    let mut ports = links.iter().filter(|l| l.master == Some(link.index));
    if let Ok(mtu) = u16::try_from(link.mtu)
        && !ports.any(|port| is_ours(port, name))
    {
        // The kernel ignores a value that is set already.
        netlink.link().set_mtu(link.index, mtu.saturating_sub(1))?;
        netlink.link().set_mtu(link.index, mtu)?;
    }
    match link.alias {
        Some(_) => Ok(()),
        None => netlink.link().set_alias(link.index, MARK),
    }
}

fn engine_of(name: &str) -> Option<&'static str> {
    let is_id = |rest: &str| rest.len() == ID_DIGITS && rest.bytes().all(|b| b.is_ascii_hexdigit());
    let is_number = |rest: &str| rest.bytes().all(|b| b.is_ascii_digit());
    let found = ENGINES.iter().find(|(start, _)| {
        name.strip_prefix(start).is_some_and(|rest| match *start {
            "br-" => is_id(rest),
            "docker" => is_number(rest) || rest == "_gwbridge",
            "cni" => is_number(rest) || rest.starts_with("-podman"),
            "kube-" => rest == "bridge",
            "flannel" | "cilium" => !rest.is_empty(),
            _ => is_number(rest),
        })
    });
    found.map(|(_, whose)| *whose)
}

fn refused(name: &str, why: &str) -> SysError {
    SysError::other(
        format!("use {name} as the mesh's bridge"),
        format!(
            "{why}; leave --bridge out, or name one of the mesh's own, and join this one to it with `mesh attach-bridge {name}`"
        ),
    )
}

fn in_use(name: &str, why: &str) -> SysError {
    SysError::other(
        format!("use {name} as the mesh's bridge"),
        format!(
            "somebody uses that bridge: {why}; name another, or none, and join this one to it with `mesh attach-bridge \
             {name}`; if it is meant: ip link set dev {name} alias {MARK}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_engines() {
        for name in [
            "docker0",
            "docker_gwbridge",
            "br-0123456789ab",
            "podman0",
            "podman12",
            "cni0",
            "cni-podman0",
            "virbr0",
            "lxcbr0",
            "lxdbr0",
            "incusbr0",
            "cbr0",
            "kube-bridge",
            "flannel.1",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in [
            "mesh", "br0", "br-lan", "dockers", "podman-x", "mesh2", "cnic", "brmesh",
        ] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        assert!(check_form("mn0123456789").is_err() && check_form("mesh").is_ok());
        let told = check_name("docker0").unwrap_err().to_string();
        assert!(
            told.contains("Docker's") && told.contains("mesh attach-bridge docker0"),
            "{told}"
        );
    }
}
