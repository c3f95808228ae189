//! Endpoints of Docker's networks: libnetwork moves the interface into the container, names it and gives it its
//! address; this module creates it before and completes it after that.

use std::path::Path;
use std::time::Instant;

use mesh_proto::ids::Mac;

use super::{AttachError, POLL, caller_alias, inside, reconnect};
use crate::SysError;
use crate::bridge::{AliasRole, alias, delete_later, delete_stale, find_bridge, wait_forwarding};
use crate::ifname;
use crate::interface::ethtool::disable_offloads;
use crate::interface::sysctl::{self, SysctlGroup};
use crate::netlink::{LinkEntry, Netlink, VethSpec};
use crate::netns::Netns;
use crate::plan::StepPlan;

/// Endpoint to be created.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    /// Name of the bridge, in the thread's namespace.
    pub bridge: &'a str,
    /// Caller's name for it in [`super::list`] and [`super::unplug`]; at most 200 bytes.
    pub alias: &'a str,
    /// MAC address of the container's end.
    pub mac: Mac,
    /// MTU of the mesh, in bytes.
    pub mtu: u16,
    /// True to disable checksum and segmentation offloads, as a pcap port needs.
    pub offloads_off: bool,
}

/// Creates the veth pair on the host and connects the host's end. Returns the name of the other end, for libnetwork
/// to move.
///
/// A pair left over from an earlier attempt with the same alias is replaced, unless it is in a container by now.
///
/// # Errors
/// [`AttachError`]; nothing is left of the attempt.
pub fn make_endpoint(endpoint: &Endpoint<'_>) -> Result<String, AttachError> {
    let mut plan = StepPlan::new();
    let peer_ifname = make(endpoint, &mut plan)?;
    plan.commit();
    Ok(peer_ifname)
}

/// Waits until libnetwork has moved the interface with that MAC to the namespace at `netns` and brought it up, then
/// applies the kernel settings and announces its addresses. Returns its name there. Routes are left to libnetwork,
/// which sets them later, and fails the container's start if one exists already.
///
/// # Errors
/// [`AttachError::Timeout`] at the deadline; otherwise the errno of the failed system call.
pub fn finish_endpoint(netns: &Path, mac: Mac, deadline: Instant) -> Result<String, AttachError> {
    let (netns, link) = wait_for_link(netns, mac, deadline)?;
    netns.run_in(|| configure(&link))?;
    let mut netlink = Netlink::open()?;
    let is_host_end = |l: &LinkEntry| {
        l.peer_index == Some(link.index) && link.peer_index == Some(l.index) && l.master.is_some()
    };
    if let Some(host) = netlink.link().list()?.into_iter().find(is_host_end) {
        wait_forwarding(&mut netlink, &host.name)?;
    }
    netns.run_in(|| announce_all(&link, mac))??;
    Ok(link.name)
}

pub(super) fn make(endpoint: &Endpoint<'_>, plan: &mut StepPlan) -> Result<String, AttachError> {
    let mut netlink = Netlink::open()?;
    let bridge = find_bridge(&mut netlink, endpoint.bridge)?
        .ok_or_else(|| AttachError::NoBridge(endpoint.bridge.to_owned()))?;
    let host_ifname = ifname::hashed(&[endpoint.bridge, endpoint.alias]);
    let peer_ifname = ifname::hashed(&[&host_ifname, "container"]);
    for name in [&host_ifname, &peer_ifname] {
        if let Some(stale) = netlink.link().by_name(name)? {
            let is_same = caller_alias(&stale, endpoint.bridge) == Some(endpoint.alias);
            if is_same && stale.peer_netns.is_some() {
                return Err(AttachError::InContainer(endpoint.alias.to_owned()));
            }
            delete_stale(&mut netlink, &stale, endpoint.bridge)?;
        }
    }
    let spec = VethSpec {
        name: &host_ifname,
        peer_name: &peer_ifname,
        peer_netns: None,
        peer_mac: Some(endpoint.mac),
        mtu: endpoint.mtu,
    };
    let undo = delete_later(host_ifname.clone());
    plan.step_with_undo("create pair", || netlink.link().create_veth(&spec), undo)?;
    for (name, role) in [
        (&host_ifname, AliasRole::Host),
        (&peer_ifname, AliasRole::Container),
    ] {
        let link = netlink.link().require(name)?;
        let alias = alias(endpoint.bridge, role, endpoint.alias);
        plan.step("mark end", || netlink.link().set_alias(link.index, &alias))?;
        if endpoint.offloads_off {
            plan.step("switch offloads off", || disable_offloads(name))?;
        }
    }
    plan.step("silence host end", || {
        sysctl::prefer(SysctlGroup::Ipv6Conf, &host_ifname, "disable_ipv6", "1");
        Ok(())
    })?;
    let host = netlink.link().require(&host_ifname)?;
    plan.step("connect host end", || {
        reconnect(&mut netlink, &host, bridge.index)
    })?;
    Ok(peer_ifname)
}

/// Returns the namespace and the interface with that MAC in it, once it is up; libnetwork sets its addresses before
/// that.
fn wait_for_link(
    path: &Path,
    mac: Mac,
    deadline: Instant,
) -> Result<(Netns, LinkEntry), AttachError> {
    loop {
        // The namespace may not exist yet.
        match Netns::open(path) {
            Ok(netns) => {
                let link = netns.run_in(|| poll_for_link(mac, deadline))??;
                return Ok((netns, link.ok_or(AttachError::Timeout(mac))?));
            }
            Err(e) if e.is_not_found() && Instant::now() < deadline => std::thread::sleep(POLL),
            Err(e) if e.is_not_found() => return Err(AttachError::Timeout(mac)),
            Err(e) => return Err(e.into()),
        }
    }
}

/// Waits for the interface, inside the namespace; `None` at the deadline.
fn poll_for_link(mac: Mac, deadline: Instant) -> Result<Option<LinkEntry>, SysError> {
    let mut netlink = Netlink::open()?;
    loop {
        let is_up = |l: &LinkEntry| l.up && l.mac == Some(mac) && l.kind.as_deref() == Some("veth");
        if let Some(link) = netlink.link().list()?.into_iter().find(is_up) {
            return Ok(Some(link));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

/// Applies kernel settings, inside the namespace.
fn configure(link: &LinkEntry) {
    sysctl::prefer(SysctlGroup::Ipv6Conf, &link.name, "accept_ra", "0");
    inside::age_neighbours_fast(&link.name);
}

/// Announces all addresses of the interface, inside the namespace.
fn announce_all(link: &LinkEntry, mac: Mac) -> Result<(), SysError> {
    let addresses = Netlink::open()?.address().list()?;
    for entry in addresses.iter().filter(|entry| entry.link == link.index) {
        inside::announce(&link.name, mac, entry.address.addr());
    }
    Ok(())
}
