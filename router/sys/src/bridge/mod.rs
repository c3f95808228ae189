//! The bridge of one mesh on this host, and the router's port on it: a veth pair or a TAP device.
//!
//! Whatever we make carries an alias (IFLA_IFALIAS) that begins with `mesh:<bridge>:`; only such interfaces are ever
//! deleted.

use std::time::{Duration, Instant};

use mesh_proto::ids::Mac;

use crate::ethtool::disable_offloads;
use crate::netlink::{BridgeSpec, Link, Netlink, VethSpec};
use crate::plan::Plan;
use crate::sysctl::{self, Table};
use crate::{SysError, ifname};

mod foreign;
pub mod host;
pub mod join;
pub mod others;
pub mod ports;
mod tap;

pub use tap::ensure_tap_port;

/// Time between two looks at whether the bridge forwards.
const POLL: Duration = Duration::from_millis(2);
/// Longest wait for the bridge to forward; the kernel puts off news of carrier by a second at most.
const FORWARDING_WAIT: Duration = Duration::from_millis(1_500);

/// The bridge as it should be.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// Name, at most 15 bytes.
    pub name: String,
    /// MTU of the mesh, in bytes.
    pub mtu: u16,
    /// MAC of a new bridge; it must differ from host to host. None: the kernel draws one, which then stays.
    pub mac: Option<Mac>,
    /// What the router's port is.
    pub port: PortKind,
}

/// What joins the router to its bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortKind {
    /// A veth pair without offloads, for [`crate::port::PcapPort`]; it stays when the router ends.
    #[default]
    Veth,
    /// A TAP device with offloads, which [`crate::port::TapPort`] makes and which ends with the router.
    Tap,
}

/// Whether something had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there, or not whole, and is now.
    Created,
    /// It was there.
    Existing,
}

/// What [`ensure_bridge`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensured {
    /// The bridge.
    pub bridge: Outcome,
    /// Its port pair; after [`Outcome::Created`] the port must be opened again. Of a TAP device, whether it had to be put
    /// into the bridge; one that is not open yet is left to [`ensure_tap_port`].
    pub port: Outcome,
    /// What the router opens: its end of the pair, or the TAP device.
    pub port_interface: String,
}

/// What the alias says an interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Bridge,
    Port,
    /// A way to other hosts, of the kernel's own.
    Vxlan,
    /// A way to another bridge of this host.
    Joint,
    /// The host's end of a container's pair.
    Host,
    /// The container's end.
    Container,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Port => "port",
            Self::Vxlan => "vxlan",
            Self::Joint => "joint",
            Self::Host => "host",
            Self::Container => "container",
        }
    }
}

/// Makes the bridge and its port, or mends what is missing of them. Safe to call again and again.
///
/// A bridge that somebody else made for us is used as it is, and is never deleted by us.
///
/// # Errors
/// The name belongs to an interface that is no bridge, to a bridge of an engine or one that somebody uses, or is invalid; EPERM without CAP_NET_ADMIN. What was made before
/// the failure is undone.
pub fn ensure_bridge(config: &BridgeConfig) -> Result<Ensured, SysError> {
    let mut plan = Plan::new();
    let ensured = ensure(config, &mut plan)?;
    plan.commit();
    Ok(ensured)
}

/// Refuses what [`ensure_bridge`] would refuse because somebody else has it. Nothing is changed.
///
/// # Errors
/// As those of [`ensure_bridge`].
pub fn check_usable(name: &str) -> Result<(), SysError> {
    let mut netlink = Netlink::open()?;
    match find_bridge(&mut netlink, name)? {
        Some(link) if is_ours(&link, name) => Ok(()),
        Some(link) => foreign::check(&mut netlink, &link, name),
        None => foreign::check_name(name),
    }
}

/// Deletes every interface of the thread's namespace that is ours by its alias, and with them the other ends in
/// containers. How many were found.
///
/// # Errors
/// The first failure, after all others were tried.
pub fn remove_all(bridge: &str) -> Result<usize, SysError> {
    let mut netlink = Netlink::open()?;
    let mut ours = netlink.links()?;
    if let Some(borrowed) = ours
        .iter()
        .find(|l| l.name == bridge && l.alias.as_deref() == Some(foreign::MARK))
    {
        netlink.set_alias(borrowed.index, "")?;
    }
    ours.retain(|link| is_ours(link, bridge));
    // The bridge last: until then its ports have carrier and local containers talk.
    ours.sort_by_key(|link| link.kind.as_deref() == Some("bridge"));
    let mut result = Ok(ours.len());
    for link in &ours {
        match netlink.delete_link(link.index) {
            Err(e) if !e.is_not_found() => result = result.and(Err(e)),
            _ => {}
        }
    }
    result
}

/// The alias of an interface of ours; `detail` tells containers' interfaces apart.
pub(crate) fn alias(bridge: &str, role: Role, detail: &str) -> String {
    let word = role.word();
    if detail.is_empty() {
        format!("mesh:{bridge}:{word}")
    } else {
        format!("mesh:{bridge}:{word}:{detail}")
    }
}

/// Whether the alias says that the interface is ours, of this bridge.
pub(crate) fn is_ours(link: &Link, bridge: &str) -> bool {
    let alias = link.alias.as_deref().unwrap_or_default();
    alias
        .strip_prefix("mesh:")
        .and_then(|rest| rest.strip_prefix(bridge))
        .is_some_and(|rest| rest.starts_with(':'))
}

/// The bridge of that name; an interface of another kind is an error.
pub(crate) fn find_bridge(netlink: &mut Netlink, name: &str) -> Result<Option<Link>, SysError> {
    let found = netlink.link_by_name(name)?;
    match found.as_ref().and_then(|link| link.kind.as_deref()) {
        Some("bridge") => Ok(found),
        _ if found.is_none() => Ok(None),
        _ => Err(SysError::other(
            format!("use {name} as the bridge"),
            "there is an interface of that name which is no bridge",
        )),
    }
}

fn ensure(config: &BridgeConfig, plan: &mut Plan) -> Result<Ensured, SysError> {
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
        plan.step("set bridge up", || netlink.set_up(link.index))?;
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

fn create(netlink: &mut Netlink, config: &BridgeConfig, plan: &mut Plan) -> Result<Link, SysError> {
    let spec = BridgeSpec {
        name: &config.name,
        mtu: config.mtu,
        mac: config.mac,
    };
    let undo = delete_later(config.name.clone());
    plan.step_with_undo("create bridge", || netlink.create_bridge(&spec), undo)?;
    let link = netlink.require_link(&config.name)?;
    let alias = alias(&config.name, Role::Bridge, "");
    plan.step("mark bridge", || netlink.set_alias(link.index, &alias))?;
    // Set by hand, the address no longer follows the lowest one among the ports.
    if let Some(mac) = link.mac {
        plan.step("fix MAC of bridge", || netlink.set_mac(link.index, mac))?;
    }
    Ok(link)
}

fn configure(netlink: &mut Netlink, link: &Link, config: &BridgeConfig) -> Result<(), SysError> {
    netlink.configure_bridge(link.index)?;
    // Also when it is right already: an MTU that was never set follows the ports.
    netlink.set_mtu(link.index, config.mtu)?;
    // No link-local address either (mode 1): the host is not a member of the mesh unless it is exposed.
    for (key, value) in [
        ("accept_ra", "0"),
        ("autoconf", "0"),
        ("addr_gen_mode", "1"),
    ] {
        sysctl::prefer(Table::Ipv6Conf, &config.name, key, value);
    }
    // Or the host would answer containers that ask for addresses of its other interfaces.
    sysctl::prefer(Table::Ipv4Conf, &config.name, "arp_ignore", "1");
    Ok(())
}

fn ensure_port(
    netlink: &mut Netlink,
    bridge: &Link,
    config: &BridgeConfig,
    plan: &mut Plan,
) -> Result<Outcome, SysError> {
    let (inner, outer) = ifname::port_pair(&config.name);
    let ends = (netlink.link_by_name(&inner)?, netlink.link_by_name(&outer)?);
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
    let (inner, outer) = (netlink.require_link(&inner)?, netlink.require_link(&outer)?);
    plan.step("configure port", || {
        configure_port(netlink, &inner, &outer, config)
    })?;
    if inner.master != Some(bridge.index) {
        plan.step("put port into bridge", || {
            netlink.set_master(inner.index, bridge.index)
        })?;
    }
    for end in [&inner, &outer].into_iter().filter(|end| !end.up) {
        plan.step("set port up", || netlink.set_up(end.index))?;
    }
    wait_forwarding(netlink, &inner.name)?;
    Ok(outcome)
}

fn create_port(
    netlink: &mut Netlink,
    config: &BridgeConfig,
    plan: &mut Plan,
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
    plan.step_with_undo("create port", || netlink.create_veth(&spec), undo)?;
    let alias = alias(&config.name, Role::Port, "");
    for name in [&inner, &outer] {
        let end = netlink.require_link(name)?;
        plan.step("mark port", || netlink.set_alias(end.index, &alias))?;
    }
    Ok(())
}

fn configure_port(
    netlink: &mut Netlink,
    inner: &Link,
    outer: &Link,
    config: &BridgeConfig,
) -> Result<(), SysError> {
    for end in [inner, outer] {
        without_ip_stack(netlink, end, config.mtu)?;
        disable_offloads(&end.name)?;
    }
    netlink.set_noarp(outer.index)?;
    // Strict reverse-path filtering on an interface without addresses drops every IPv4 packet.
    sysctl::prefer(Table::Ipv4Conf, &outer.name, "rp_filter", "1");
    Ok(())
}

/// Sets the MTU, and keeps the host's own IP stack quiet: what arrives on the router's port is for the router alone.
fn without_ip_stack(netlink: &mut Netlink, port: &Link, mtu: u16) -> Result<(), SysError> {
    if port.mtu != u32::from(mtu) {
        netlink.set_mtu(port.index, mtu)?;
    }
    sysctl::prefer(Table::Ipv6Conf, &port.name, "disable_ipv6", "1");
    Ok(())
}

fn is_pair(a: &Link, b: &Link) -> bool {
    a.peer_netns.is_none() && a.peer_index == Some(b.index) && b.peer_index == Some(a.index)
}

/// As [`delete_if_ours`], also for a pair under a name that only we give, which was made and not marked: whoever made it was
/// killed in between.
pub(crate) fn delete_stale(
    netlink: &mut Netlink,
    link: &Link,
    bridge: &str,
) -> Result<(), SysError> {
    let is_half_made = link.kind.as_deref() == Some("veth")
        && link.alias.is_none()
        && link.master.is_none()
        && !link.up;
    match is_half_made {
        true => match netlink.delete_link(link.index) {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        },
        false => delete_if_ours(netlink, link, bridge),
    }
}

/// Deletes an interface that we made; any other is an error.
pub(crate) fn delete_if_ours(
    netlink: &mut Netlink,
    link: &Link,
    bridge: &str,
) -> Result<(), SysError> {
    if !is_ours(link, bridge) {
        return Err(SysError::other(
            format!("use the interface name {}", link.name),
            "an interface that is not ours has it",
        ));
    }
    match netlink.delete_link(link.index) {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(()),
    }
}

/// Waits until the bridge forwards frames through a port that is up: the kernel notices carrier a little later, and a
/// frame sent earlier is lost.
pub(crate) fn wait_forwarding(netlink: &mut Netlink, port: &str) -> Result<(), SysError> {
    let deadline = Instant::now() + FORWARDING_WAIT;
    // Asking for the one interface also makes the kernel look at its carrier now.
    while !netlink.require_link(port)?.forwarding {
        if Instant::now() >= deadline {
            tracing::warn!(port, "the bridge does not forward yet");
            break;
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// The inverse of making an interface.
pub(crate) fn delete_later(name: String) -> impl FnOnce() + Send + 'static {
    move || {
        let deleted = Netlink::open().and_then(|mut netlink| netlink.delete_link_by_name(&name));
        if let Err(e) = deleted {
            tracing::warn!(interface = name, error = %e, "left behind after a failure");
        }
    }
}

#[cfg(test)]
mod tests;
