//! TAP device as the router's port on the bridge, instead of a veth pair.
//!
//! The device is created and owned by [`crate::port::TapPort`]; this module adds it to the bridge.

use super::{AliasRole, BridgeConfig, Outcome, alias, delete_if_ours, find_bridge, is_ours};
use super::{wait_forwarding, without_ip_stack};
use crate::SysError;
use crate::ifname;
use crate::netlink::{LinkEntry, Netlink};
use crate::plan::StepPlan;

/// Adds the TAP device of [`ifname::tap_port`], which is open, to its bridge and sets it up. Idempotent. Its offloads
/// are not changed. [`Outcome::Created`]: it was not in the bridge before.
///
/// # Errors
/// [`SysError::is_not_found`] if the bridge or the device does not exist; the name belongs to an interface that is no
/// TAP device of this bridge.
pub fn ensure_tap_port(config: &BridgeConfig) -> Result<Outcome, SysError> {
    let mut netlink = Netlink::open()?;
    let bridge = match find_bridge(&mut netlink, &config.name)? {
        Some(bridge) => bridge,
        None => netlink.link().require(&config.name)?,
    };
    let tap = netlink.link().require(&ifname::tap_port(&config.name))?;
    let mut plan = StepPlan::new();
    let outcome = attach(&mut netlink, &bridge, &tap, config, &mut plan)?;
    plan.commit();
    Ok(outcome)
}

/// Adds the TAP device like [`ensure_tap_port`] if it exists, and removes a veth pair of an earlier run.
pub(super) fn ensure_if_open(
    netlink: &mut Netlink,
    bridge: &LinkEntry,
    config: &BridgeConfig,
    plan: &mut StepPlan,
) -> Result<Outcome, SysError> {
    if let Some(inner) = netlink.link().by_name(&ifname::port_pair(&config.name).0)?
        && is_ours(&inner, &config.name)
    {
        delete_if_ours(netlink, &inner, &config.name)?;
    }
    match netlink.link().by_name(&ifname::tap_port(&config.name))? {
        Some(tap) => attach(netlink, bridge, &tap, config, plan),
        None => Ok(Outcome::Existing),
    }
}

fn attach(
    netlink: &mut Netlink,
    bridge: &LinkEntry,
    tap: &LinkEntry,
    config: &BridgeConfig,
    plan: &mut StepPlan,
) -> Result<Outcome, SysError> {
    let ours = tap.alias.is_none() || is_ours(tap, &config.name);
    if tap.kind.as_deref() != Some("tun") || !ours {
        return Err(SysError::other(
            format!("use {} as the port of {}", tap.name, config.name),
            "there is an interface of that name which is not the mesh's",
        ));
    }
    if tap.alias.is_none() {
        let alias = alias(&config.name, AliasRole::Port, "");
        plan.step("mark port", || netlink.link().set_alias(tap.index, &alias))?;
    }
    plan.step("configure port", || {
        without_ip_stack(netlink, tap, config.mtu)
    })?;
    let outcome = if tap.master == Some(bridge.index) {
        Outcome::Existing
    } else {
        plan.step("put port into bridge", || {
            netlink.link().set_master(tap.index, bridge.index)
        })?;
        Outcome::Created
    };
    if !tap.up {
        plan.step("set port up", || netlink.link().set_up(tap.index))?;
    }
    wait_forwarding(netlink, &tap.name)?;
    Ok(outcome)
}
