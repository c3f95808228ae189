//! Addresses of the host on a bridge of the mesh, and the firewall's part of them.

use std::collections::BTreeSet;

use ipnet::IpNet;
use mesh_sys::bridge;
use mesh_sys::firewall::Changed;
use mesh_sys::firewall::exposure::{Exposure, Rules};
use mesh_sys::interface::sysctl;
use mesh_sys::netlink::Netlink;

use super::{ExposureOutcome, ExposurePlan, KernelError, KernelResult, error};

/// Refuses addresses that the host cannot have.
///
/// # Errors
/// The obstacle.
pub(super) fn check(
    firewall: &Rules,
    bridge: &str,
    addresses: &[IpNet],
    masquerade: bool,
) -> KernelResult<()> {
    firewall.check(masquerade).map_err(error)?;
    sysctl::check_forwarding().map_err(|e| {
        KernelError(format!(
            "{e}; have the host set net.ipv4.ip_forward to 1, which exposing needs"
        ))
    })?;
    let mut addresses = addresses.iter();
    addresses
        .try_for_each(|address| bridge::host::check_address(bridge, *address))
        .map_err(error)
}

/// Gives the host the addresses of a plan, with the firewall rules that they need.
///
/// # Errors
/// The kernel's.
pub(super) fn expose(
    firewall: &Rules,
    bridge: &str,
    plan: &ExposurePlan,
) -> KernelResult<ExposureOutcome> {
    // Rules first: nothing leaves with an address that nobody outside knows.
    let rules = firewall.ensure(&exposure(bridge, plan)?).map_err(error)?;
    let addresses: Vec<IpNet> = plan.addresses.keys().copied().collect();
    let rules = rules == Changed::Yes;
    if addresses.is_empty() {
        // Also without the bridge: then there is nothing to be hidden.
        return Ok(ExposureOutcome {
            rules,
            ..ExposureOutcome::default()
        });
    }
    let added = bridge::host::add_addresses(bridge, &addresses).map_err(error)?;
    let mut notes = forward(&addresses)?;
    if !added.new.is_empty() {
        notes.extend(obstacles(firewall, bridge));
    }
    Ok(ExposureOutcome {
        mac: Some(added.mac),
        new: added.new,
        rules,
        notes,
    })
}

/// Returns what keeps the host from what it is exposed as, one line each.
fn obstacles(firewall: &Rules, bridge: &str) -> Vec<String> {
    let mut notes = Vec::new();
    if !firewall.keeps_apart() {
        notes.push(
            "neither nft nor iptables works here, so containers on other bridges of this host (docker0, …) get into \
             the mesh through it; install one of them"
                .to_owned(),
        );
    }
    let obstacles = firewall.obstacles().into_iter();
    notes.extend(obstacles.map(|chain| {
        format!(
            "the nft chain {chain} drops what this host forwards and it does not accept; unless it does: nft insert \
             rule {chain} iifname {bridge} accept, and the same with oifname"
        )
    }));
    notes
}

/// Returns the rules that the firewall needs for the host's addresses.
fn exposure(bridge: &str, plan: &ExposurePlan) -> KernelResult<Exposure> {
    if plan.addresses.is_empty() {
        return Ok(Exposure::default());
    }
    let all = plan.addresses.iter();
    Ok(Exposure {
        subnets: all.clone().map(|(address, _)| address.trunc()).collect(),
        masqueraded: all
            .filter(|(_, masquerade)| **masquerade)
            .map(|(address, _)| address.trunc())
            .collect(),
        inside: plan.inside.clone(),
        open: plan.open.iter().map(IpNet::trunc).collect(),
        unjoined: match plan.internal {
            true => other_interfaces(bridge)?,
            false => bridge::others::of_containers(bridge).map_err(error)?,
        },
        mac: bridge::host::mac(bridge).map_err(error)?,
    })
}

/// Returns the interfaces from and to which a host may forward, except `bridge`.
fn other_interfaces(bridge: &str) -> KernelResult<BTreeSet<String>> {
    let mut netlink = Netlink::open().map_err(error)?;
    let links = netlink.link().list().map_err(error)?.into_iter();
    // Ports of a bridge carry frames, and no packets of the host's own.
    let others = links.filter(|link| link.master.is_none() && link.name != bridge);
    Ok(others.map(|link| link.name).collect())
}

/// Has the host forward what these addresses are exposed for; returns what is to be said of it.
fn forward(addresses: &[IpNet]) -> KernelResult<Vec<String>> {
    let mut notes = Vec::new();
    let is_v4 = |address: &IpNet| address.addr().is_ipv4();
    if addresses.iter().any(is_v4) && sysctl::set_forwarding().map_err(error)? {
        notes.push(
            "this host did not forward IPv4 and does now (net.ipv4.ip_forward = 1), between all of its interfaces"
                .to_owned(),
        );
    }
    // Not switched on here: the host would stop heeding router advertisements, and may lose its own way out.
    if !addresses.iter().all(is_v4) && sysctl::forwards(true).is_ok_and(|on| !on) {
        notes.push(
            "this host does not forward IPv6: it reaches the mesh itself, others do not through it; set \
             net.ipv6.conf.all.forwarding to 1 for that"
                .to_owned(),
        );
    }
    Ok(notes)
}
