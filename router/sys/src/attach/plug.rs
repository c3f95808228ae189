//! Attachment of a running container: the veth pair is created directly into its namespace.

use std::os::fd::AsFd as _;

use super::{AttachError, Plug, inside, reconnect};
use crate::bridge::{
    AliasRole, Outcome, alias, delete_later, delete_stale, find_bridge, wait_forwarding,
};
use crate::ifname;
use crate::interface::ethtool::disable_offloads;
use crate::interface::sysctl::{self, SysctlGroup};
use crate::netlink::{LinkEntry, Netlink, VethSpec};
use crate::netns::Netns;
use crate::plan::StepPlan;

/// Attached interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugged {
    /// Name of the interface on the host.
    pub host_ifname: String,
    /// Name of the interface in the container.
    pub ifname: String,
    /// [`Outcome::Existing`] if the container had the address already, on an interface of this bridge.
    pub outcome: Outcome,
}

/// Attaches a container. On return the interface is up, has its address, and is announced.
///
/// # Errors
/// [`AttachError`]; nothing is left of the attempt.
pub fn plug(request: &Plug<'_>) -> Result<Plugged, AttachError> {
    let mut plan = StepPlan::new();
    let plugged = run(request, &mut plan)?;
    plan.commit();
    Ok(plugged)
}

pub(super) fn run(request: &Plug<'_>, plan: &mut StepPlan) -> Result<Plugged, AttachError> {
    if request.netns.id()? == Netns::current()?.id()? {
        return Err(AttachError::HostNetwork);
    }
    let mut netlink = Netlink::open()?;
    let bridge = find_bridge(&mut netlink, request.bridge)?
        .ok_or_else(|| AttachError::NoBridge(request.bridge.to_owned()))?;
    if let Some(existing) = request.netns.run_in(|| inside::find(request))?? {
        return rejoin(&mut netlink, request, &bridge, &existing);
    }
    let host_ifname = host_ifname(request);
    if let Some(stale) = netlink.link().by_name(&host_ifname)? {
        delete_stale(&mut netlink, &stale, request.bridge)?;
    }
    let temporary = ifname::hashed(&[&host_ifname, "container"]);
    create_pair(&mut netlink, request, &host_ifname, &temporary, plan)?;
    connect_host_end(&mut netlink, request, &host_ifname, &bridge, plan)?;
    let ifname = request
        .netns
        .run_in(|| inside::set_up(request, &temporary, plan))??;
    plan.step("wait for the bridge", || {
        wait_forwarding(&mut netlink, &host_ifname)
    })?;
    plan.step("announce", || {
        request.netns.run_in(|| {
            for address in request.addresses() {
                inside::announce(&ifname, request.mac, address.addr());
            }
        })
    })?;
    Ok(Plugged {
        host_ifname,
        ifname,
        outcome: Outcome::Created,
    })
}

/// Returns a short unique name for the attachment, which is stable between runs.
fn host_ifname(request: &Plug<'_>) -> String {
    let address = request.address.addr().to_string();
    ifname::hashed(&[request.bridge, request.alias, &address])
}

/// Handles a container that has the address already: makes sure that the host's end is connected.
fn rejoin(
    netlink: &mut Netlink,
    request: &Plug<'_>,
    bridge: &LinkEntry,
    existing: &LinkEntry,
) -> Result<Plugged, AttachError> {
    let host = netlink
        .link()
        .list()?
        .into_iter()
        .find(|l| existing.peer_index == Some(l.index) && l.peer_index == Some(existing.index));
    let ours = alias(request.bridge, AliasRole::Container, "");
    let host = host.filter(|_| {
        let alias = existing.alias.as_deref().unwrap_or_default();
        alias
            .strip_prefix(ours.as_str())
            .is_some_and(|rest| rest.starts_with(':'))
    });
    let Some(host) = host else {
        return Err(AttachError::AddressInUse {
            address: request.address,
            ifname: existing.name.clone(),
        });
    };
    reconnect(netlink, &host, bridge.index)?;
    Ok(Plugged {
        host_ifname: host.name,
        ifname: existing.name.clone(),
        outcome: Outcome::Existing,
    })
}

fn create_pair(
    netlink: &mut Netlink,
    request: &Plug<'_>,
    host_ifname: &str,
    temporary: &str,
    plan: &mut StepPlan,
) -> Result<(), AttachError> {
    let spec = VethSpec {
        name: host_ifname,
        peer_name: temporary,
        peer_netns: Some(request.netns.as_fd()),
        peer_mac: Some(request.mac),
        mtu: request.mtu,
    };
    // Deleting one end deletes the other one with its address, routes and settings; it undoes all later steps.
    let undo = delete_later(host_ifname.to_owned());
    plan.step_with_undo("create pair", || netlink.link().create_veth(&spec), undo)?;
    Ok(())
}

fn connect_host_end(
    netlink: &mut Netlink,
    request: &Plug<'_>,
    host_ifname: &str,
    bridge: &LinkEntry,
    plan: &mut StepPlan,
) -> Result<(), AttachError> {
    let link = netlink.link().require(host_ifname)?;
    let alias = alias(request.bridge, AliasRole::Host, request.alias);
    plan.step("mark host end", || {
        netlink.link().set_alias(link.index, &alias)
    })?;
    plan.step("silence host end", || {
        sysctl::prefer(SysctlGroup::Ipv6Conf, host_ifname, "disable_ipv6", "1");
        Ok(())
    })?;
    if request.offloads_off {
        plan.step("switch offloads of host end off", || {
            disable_offloads(host_ifname)
        })?;
    }
    plan.step("connect host end", || {
        reconnect(netlink, &link, bridge.index)
    })?;
    Ok(())
}
