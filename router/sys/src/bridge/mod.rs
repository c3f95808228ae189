//! Bridge of one mesh on this host, and the router's port on it: a veth pair or a TAP device.
//!
//! All interfaces created here have an alias (IFLA_IFALIAS) that begins with `mesh:<bridge>:`; only such interfaces
//! are ever deleted.

use std::time::{Duration, Instant};

use mesh_proto::ids::Mac;

use crate::SysError;
use crate::ifname;
use crate::interface::ethtool::disable_offloads;
use crate::interface::sysctl::{self, SysctlGroup};
use crate::netlink::{BridgeSpec, LinkEntry, Netlink, VethSpec};
use crate::plan::StepPlan;

mod foreign;
pub mod host;
pub mod join;
pub mod network;
pub mod others;
pub mod ports;
mod tap;

pub use tap::ensure_tap_port;

/// Interval at which to check that the bridge forwards.
const POLL: Duration = Duration::from_millis(2);
/// Longest wait for the bridge to forward; the kernel delays the notice of carrier by a second at most.
const FORWARDING_WAIT: Duration = Duration::from_millis(1_500);

/// Configuration of the bridge.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// Name, at most 15 bytes.
    pub name: String,
    /// MTU of the mesh, in bytes.
    pub mtu: u16,
    /// MAC of a new bridge, unique among the hosts. `None`: the kernel draws a random one, which is kept.
    pub mac: Option<Mac>,
    /// Kind of the router's port.
    pub port: PortKind,
}

/// Kind of the port that connects the router to its bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortKind {
    /// Veth pair without offloads, for [`crate::port::PcapPort`]; it stays when the router ends.
    #[default]
    Veth,
    /// TAP device with offloads, which is created by [`crate::port::TapPort`] and ends with the router.
    Tap,
}

/// Result of an idempotent operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was missing or incomplete, and was created.
    Created,
    /// It existed.
    Existing,
}

/// Result of [`ensure_bridge`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    /// State of the bridge.
    pub bridge: Outcome,
    /// State of the port's veth pair; after [`Outcome::Created`] the port must be opened again. For a TAP device:
    /// created if it had to be added to the bridge; one that is not open yet is left to [`ensure_tap_port`].
    pub port: Outcome,
    /// Interface that the router opens: its end of the pair, or the TAP device.
    pub port_interface: String,
}

/// Role of an interface, as given by its alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AliasRole {
    Bridge,
    Port,
    /// VXLAN device of the kernel fast path.
    Vxlan,
    /// Veth pair to another bridge of this host.
    Uplink,
    /// Host's end of a container's veth pair.
    Host,
    /// Container's end of its veth pair.
    Container,
}

impl AliasRole {
    fn word(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Port => "port",
            Self::Vxlan => "vxlan",
            Self::Uplink => "joint",
            Self::Host => "host",
            Self::Container => "container",
        }
    }
}

/// Creates the bridge and its port, or repairs them. Idempotent.
///
/// A bridge that was created by others for the mesh is used as it is, and is never deleted.
///
/// # Errors
/// The name is invalid, or belongs to an interface that is no bridge, to a bridge of an engine, or to a bridge in
/// use; EPERM without CAP_NET_ADMIN. Everything created before the failure is undone.
pub fn ensure_bridge(config: &BridgeConfig) -> Result<Ensured, SysError> {
    let mut plan = StepPlan::new();
    let ensured = ensure(config, &mut plan)?;
    plan.commit();
    Ok(ensured)
}

/// Refuses a bridge of another owner like [`ensure_bridge`], without changing anything.
///
/// # Errors
/// Like [`ensure_bridge`].
pub fn check_usable(name: &str) -> Result<(), SysError> {
    foreign::check_form(name)?;
    let mut netlink = Netlink::open()?;
    match find_bridge(&mut netlink, name)? {
        Some(link) if is_ours(&link, name) => Ok(()),
        Some(link) => foreign::check(&mut netlink, &link, name),
        None => foreign::check_name(name),
    }
}

/// Deletes every interface of the thread's namespace with an alias of this bridge, and with them the other ends in
/// containers. Returns their number.
///
/// # Errors
/// The first failure, after all others were tried.
pub fn remove_all(bridge: &str) -> Result<usize, SysError> {
    let mut netlink = Netlink::open()?;
    let mut ours = netlink.link().list()?;
    if let Some(borrowed) = ours
        .iter()
        .find(|l| l.name == bridge && l.alias.as_deref() == Some(foreign::MARK))
    {
        netlink.link().set_alias(borrowed.index, "")?;
    }
    ours.retain(|link| is_ours(link, bridge));
    // The bridge last: until then its ports have carrier and local containers can communicate.
    ours.sort_by_key(|link| link.kind.as_deref() == Some("bridge"));
    let mut result = Ok(ours.len());
    for link in &ours {
        match netlink.link().delete(link.index) {
            Err(e) if !e.is_not_found() => result = result.and(Err(e)),
            _ => {}
        }
    }
    result
}

/// Returns the alias of an interface; `detail` distinguishes the interfaces of containers.
pub(crate) fn alias(bridge: &str, role: AliasRole, detail: &str) -> String {
    let word = role.word();
    if detail.is_empty() {
        format!("mesh:{bridge}:{word}")
    } else {
        format!("mesh:{bridge}:{word}:{detail}")
    }
}

/// Returns true if the alias is one of this bridge.
pub(crate) fn is_ours(link: &LinkEntry, bridge: &str) -> bool {
    let alias = link.alias.as_deref().unwrap_or_default();
    alias
        .strip_prefix("mesh:")
        .and_then(|rest| rest.strip_prefix(bridge))
        .is_some_and(|rest| rest.starts_with(':'))
}

/// Returns the bridge with that name; an interface of another kind is an error.
pub(crate) fn find_bridge(
    netlink: &mut Netlink,
    name: &str,
) -> Result<Option<LinkEntry>, SysError> {
    let found = netlink.link().by_name(name)?;
    match found.as_ref().and_then(|link| link.kind.as_deref()) {
        Some("bridge") => Ok(found),
        _ if found.is_none() => Ok(None),
        _ => Err(SysError::other(
            format!("use {name} as the bridge"),
            "there is an interface of that name which is no bridge",
        )),
    }
}

fn ensure(config: &BridgeConfig, plan: &mut StepPlan) -> Result<Ensured, SysError> {
    let mut netlink = Netlink::open()?;
    let (link, bridge) = match find_bridge(&mut netlink, &config.name)? {
        Some(link) => (link, Outcome::Existing),
        None => {
            foreign::check_name(&config.name)?;
            (create(&mut netlink, config, plan)?, Outcome::Created)
        }
    };
    if bridge == Outcome::Existing && !is_ours(&link, &config.name) {
        foreign::check(&mut netlink, &link, &config.name)?;
        plan.step("mark bridge", || {
            foreign::borrow(&mut netlink, &link, &config.name)
        })?;
    }
    if is_ours(&link, &config.name) || bridge == Outcome::Created {
        plan.step("configure bridge", || {
            configure(&mut netlink, &link, config)
        })?;
    }
    if !link.up {
        plan.step("set bridge up", || netlink.link().set_up(link.index))?;
    }
    let (port, port_interface) = match config.port {
        PortKind::Veth => (
            ensure_port(&mut netlink, &link, config, plan)?,
            ifname::port_pair(&config.name).1,
        ),
        PortKind::Tap => (
            tap::ensure_if_open(&mut netlink, &link, config, plan)?,
            ifname::tap_port(&config.name),
        ),
    };
    Ok(Ensured {
        bridge,
        port,
        port_interface,
    })
}

fn create(
    netlink: &mut Netlink,
    config: &BridgeConfig,
    plan: &mut StepPlan,
) -> Result<LinkEntry, SysError> {
    let spec = BridgeSpec {
        name: &config.name,
        mtu: config.mtu,
        mac: config.mac,
    };
    let undo = delete_later(config.name.clone());
    plan.step_with_undo(
        "create bridge",
        || netlink.link().create_bridge(&spec),
        undo,
    )?;
    let link = netlink.link().require(&config.name)?;
    let alias = alias(&config.name, AliasRole::Bridge, "");
    plan.step("mark bridge", || {
        netlink.link().set_alias(link.index, &alias)
    })?;
    // Once set explicitly, the address no longer follows the lowest one among the ports.
    if let Some(mac) = link.mac {
        plan.step("fix MAC of bridge", || {
            netlink.link().set_mac(link.index, mac)
        })?;
    }
    Ok(link)
}

fn configure(
    netlink: &mut Netlink,
    link: &LinkEntry,
    config: &BridgeConfig,
) -> Result<(), SysError> {
    netlink.link().configure_bridge(link.index)?;
    // Set even if it is right already: an MTU that was never set follows the ports.
    netlink.link().set_mtu(link.index, config.mtu)?;
    // No link-local address either (mode 1): the host is no member of the mesh unless it is exposed.
    for (key, value) in [
        ("accept_ra", "0"),
        ("autoconf", "0"),
        ("addr_gen_mode", "1"),
    ] {
        sysctl::prefer(SysctlGroup::Ipv6Conf, &config.name, key, value);
    }
    // Otherwise the host would answer ARP of containers for addresses of its other interfaces.
    sysctl::prefer(SysctlGroup::Ipv4Conf, &config.name, "arp_ignore", "1");
    Ok(())
}

fn ensure_port(
    netlink: &mut Netlink,
    bridge: &LinkEntry,
    config: &BridgeConfig,
    plan: &mut StepPlan,
) -> Result<Outcome, SysError> {
    let (inner, outer) = ifname::port_pair(&config.name);
    let ends = (
        netlink.link().by_name(&inner)?,
        netlink.link().by_name(&outer)?,
    );
    let outcome = match &ends {
        (Some(a), Some(b)) if is_pair(a, b) && is_ours(a, &config.name) => Outcome::Existing,
        _ => {
            for end in [ends.0, ends.1].into_iter().flatten() {
                delete_if_ours(netlink, &end, &config.name)?;
            }
            create_port(netlink, config, plan)?;
            Outcome::Created
        }
    };
    let (inner, outer) = (
        netlink.link().require(&inner)?,
        netlink.link().require(&outer)?,
    );
    plan.step("configure port", || {
        configure_port(netlink, &inner, &outer, config)
    })?;
    if inner.master != Some(bridge.index) {
        plan.step("put port into bridge", || {
            netlink.link().set_master(inner.index, bridge.index)
        })?;
    }
    for end in [&inner, &outer].into_iter().filter(|end| !end.up) {
        plan.step("set port up", || netlink.link().set_up(end.index))?;
    }
    wait_forwarding(netlink, &inner.name)?;
    Ok(outcome)
}

fn create_port(
    netlink: &mut Netlink,
    config: &BridgeConfig,
    plan: &mut StepPlan,
) -> Result<(), SysError> {
    let (inner, outer) = ifname::port_pair(&config.name);
    let spec = VethSpec {
        name: &inner,
        peer_name: &outer,
        peer_netns: None,
        peer_mac: None,
        mtu: config.mtu,
    };
    let undo = delete_later(inner.clone());
    plan.step_with_undo("create port", || netlink.link().create_veth(&spec), undo)?;
    let alias = alias(&config.name, AliasRole::Port, "");
    for name in [&inner, &outer] {
        let end = netlink.link().require(name)?;
        plan.step("mark port", || netlink.link().set_alias(end.index, &alias))?;
    }
    Ok(())
}

fn configure_port(
    netlink: &mut Netlink,
    inner: &LinkEntry,
    outer: &LinkEntry,
    config: &BridgeConfig,
) -> Result<(), SysError> {
    for end in [inner, outer] {
        without_ip_stack(netlink, end, config.mtu)?;
        disable_offloads(&end.name)?;
    }
    netlink.link().set_noarp(outer.index)?;
    // Strict reverse-path filtering on an interface without addresses drops every IPv4 packet.
    sysctl::prefer(SysctlGroup::Ipv4Conf, &outer.name, "rp_filter", "1");
    Ok(())
}

/// Sets the MTU, and disables the host's IP stack on the port: frames that arrive there are for the router only.
fn without_ip_stack(netlink: &mut Netlink, port: &LinkEntry, mtu: u16) -> Result<(), SysError> {
    if port.mtu != u32::from(mtu) {
        netlink.link().set_mtu(port.index, mtu)?;
    }
    sysctl::prefer(SysctlGroup::Ipv6Conf, &port.name, "disable_ipv6", "1");
    Ok(())
}

fn is_pair(a: &LinkEntry, b: &LinkEntry) -> bool {
    a.peer_netns.is_none() && a.peer_index == Some(b.index) && b.peer_index == Some(a.index)
}

/// Deletes an interface like [`delete_if_ours`], and also a pair under a name derived here that has no alias yet: the
/// router was killed between creating and marking it.
pub(crate) fn delete_stale(
    netlink: &mut Netlink,
    link: &LinkEntry,
    bridge: &str,
) -> Result<(), SysError> {
    let is_half_made = link.kind.as_deref() == Some("veth")
        && link.alias.is_none()
        && link.master.is_none()
        && !link.up;
    match is_half_made {
        true => match netlink.link().delete(link.index) {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        },
        false => delete_if_ours(netlink, link, bridge),
    }
}

/// Deletes an interface with an alias of this bridge; any other is an error.
pub(crate) fn delete_if_ours(
    netlink: &mut Netlink,
    link: &LinkEntry,
    bridge: &str,
) -> Result<(), SysError> {
    if !is_ours(link, bridge) {
        return Err(SysError::other(
            format!("use the interface name {}", link.name),
            "an interface that is not the mesh's has it",
        ));
    }
    match netlink.link().delete(link.index) {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(()),
    }
}

/// Waits until the bridge forwards frames through a port that is up: the kernel notices carrier with a delay, and
/// frames sent earlier are lost.
pub(crate) fn wait_forwarding(netlink: &mut Netlink, port: &str) -> Result<(), SysError> {
    let deadline = Instant::now() + FORWARDING_WAIT;
    // A query for a single interface also makes the kernel check its carrier at once.
    while !netlink.link().require(port)?.forwarding {
        if Instant::now() >= deadline {
            tracing::warn!(port, "the bridge does not forward yet");
            break;
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Returns the inverse of creating an interface.
pub(crate) fn delete_later(name: String) -> impl FnOnce() + Send + 'static {
    move || {
        let deleted = Netlink::open().and_then(|mut netlink| netlink.link().delete_by_name(&name));
        if let Err(e) = deleted {
            tracing::warn!(interface = name, error = %e, "left behind after a failure");
        }
    }
}

#[cfg(test)]
mod tests;
