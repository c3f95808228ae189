//! Bridges of networks other than `default`: each has one of its own on this host, with the router's port on it, so that
//! no frame passes from one network to another in the kernel.
//!
//! The alias of such a bridge says whose it is: `mesh:<bridge>:bridge:<main bridge>:<id of the network>:<text for people>`.
//! The bridge is known again by it after a restart, and two networks never share one.

use mesh_proto::network::NetworkId;

use super::{AliasRole, BridgeConfig, Ensured, Outcome, PortKind};
use super::{alias, create, delete_if_ours, find_bridge};
use crate::SysError;
use crate::ifname;
use crate::interface::sysctl::{self, SysctlGroup};
use crate::netlink::{AddressEntry, HostLinks, LinkEntry, Netlink};
use crate::plan::StepPlan;

/// Longest alias of an interface in bytes (IFALIASZ − 1).
const MAX_ALIAS: usize = 255;

/// Whose a network's bridge is, as its alias says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkMark {
    /// Name of the mesh's main bridge.
    pub base: String,
    /// The network.
    pub network: NetworkId,
    /// Text for people, like `mesh network web`.
    pub text: String,
}

impl NetworkMark {
    /// Creates the mark of a network. Of `text`, control characters become spaces, and what does not fit the alias is
    /// left out.
    pub fn new(base: &str, network: NetworkId, text: &str) -> Self {
        let mut mark = Self {
            base: base.to_owned(),
            network,
            text: String::new(),
        };
        let mut room = MAX_ALIAS.saturating_sub(mark.alias().len());
        for letter in text.chars() {
            let letter = if letter.is_control() { ' ' } else { letter };
            room = match room.checked_sub(letter.len_utf8()) {
                Some(room) => room,
                None => break,
            };
            mark.text.push(letter);
        }
        mark
    }

    /// Returns the name of the bridge.
    pub fn bridge(&self) -> String {
        ifname::network_bridge(&self.base, &self.network)
    }

    /// Returns the mark in the alias of an interface; `None` if it is no network's bridge.
    pub fn of(link: &LinkEntry) -> Option<Self> {
        let start = alias(&link.name, AliasRole::Bridge, "");
        let rest = link.alias.as_deref()?.strip_prefix(&start)?;
        let (base, rest) = rest.strip_prefix(':')?.split_once(':')?;
        let (id, text) = rest.split_once(':')?;
        let mark = Self {
            base: base.to_owned(),
            network: NetworkId::from_hex(id)?,
            text: text.to_owned(),
        };
        let is_bridge = link.kind.as_deref() == Some("bridge");
        (is_bridge && mark.bridge() == link.name).then_some(mark)
    }

    fn alias(&self) -> String {
        let detail = format!("{}:{}:{}", self.base, self.network, self.text);
        alias(&self.bridge(), AliasRole::Bridge, &detail)
    }

    fn is_same_network(&self, other: &Self) -> bool {
        (&self.base, self.network) == (&other.base, other.network)
    }
}

/// Creates the bridge of a network and its port, or repairs them, like [`super::ensure_bridge`]; `config` has the name
/// that [`NetworkMark::bridge`] returns. Idempotent.
///
/// Until the host is given an address on it, the host neither receives nor forwards what is sent to the bridge itself.
///
/// # Errors
/// Those of [`super::ensure_bridge`], or there is an interface of that name that is not this network's. Everything
/// created before the failure is undone.
pub fn ensure_network_bridge(
    config: &BridgeConfig,
    mark: &NetworkMark,
) -> Result<Ensured, SysError> {
    let mut plan = StepPlan::new();
    let ensured = ensure(config, mark, &mut plan)?;
    plan.commit();
    Ok(ensured)
}

fn ensure(
    config: &BridgeConfig,
    mark: &NetworkMark,
    plan: &mut StepPlan,
) -> Result<Ensured, SysError> {
    let mut netlink = Netlink::open()?;
    let found = find_bridge(&mut netlink, &config.name)?;
    let known = found.as_ref().and_then(NetworkMark::of);
    let bridge = match (found, known) {
        (Some(link), Some(known)) if known.is_same_network(mark) => {
            if known.text != mark.text {
                netlink.link().set_alias(link.index, &mark.alias())?;
            }
            Outcome::Existing
        }
        (Some(link), None) if is_half_made(&link) => {
            netlink.link().delete(link.index)?;
            make(&mut netlink, config, mark, plan)?
        }
        (Some(_), _) => {
            return Err(SysError::other(
                format!("use {} as the bridge of {}", config.name, mark.text),
                "there is a bridge of that name which is not this network's; remove it",
            ));
        }
        (None, _) => make(&mut netlink, config, mark, plan)?,
    };
    // The host must be deaf before the first port is up.
    keep_host_out(&mut netlink, &config.name)?;
    let ensured = super::ensure(config, plan)?;
    Ok(Ensured { bridge, ..ensured })
}

fn make(
    netlink: &mut Netlink,
    config: &BridgeConfig,
    mark: &NetworkMark,
    plan: &mut StepPlan,
) -> Result<Outcome, SysError> {
    let link = create(netlink, config, plan)?;
    plan.step("mark bridge of network", || {
        netlink.link().set_alias(link.index, &mark.alias())
    })?;
    Ok(Outcome::Created)
}

/// True for a bridge under a name of ours whose creator was killed before it was marked.
fn is_half_made(link: &LinkEntry) -> bool {
    let plain = alias(&link.name, AliasRole::Bridge, "");
    let unmarked = link.alias.as_ref().is_none_or(|text| *text == plain);
    ifname::is_network_bridge(&link.name) && unmarked && !link.up
}

/// Makes the host's IP stack ignore a bridge on which the host has no address. Otherwise a container could send packets
/// to the bridge's own MAC, or in broadcast frames, to the host's addresses in other networks, or through the host.
fn keep_host_out(netlink: &mut Netlink, bridge: &str) -> Result<(), SysError> {
    let link = netlink.link().require(bridge)?;
    let has_address = |all: &[AddressEntry]| all.iter().any(|a| a.link == link.index);
    if has_address(&netlink.address().list()?) {
        return Ok(());
    }
    for (group, key, value) in DEAF {
        sysctl::prefer(group, bridge, key, value);
    }
    Ok(())
}

/// Settings of a bridge on which the host has no address. Reverse-path filtering of any mode drops all IPv4 that arrives
/// on an interface without addresses; a change of the host's `ip_forward` overwrites `forwarding`.
const DEAF: [(SysctlGroup, &str, &str); 3] = [
    (SysctlGroup::Ipv4Conf, "rp_filter", "1"),
    (SysctlGroup::Ipv4Conf, "forwarding", "0"),
    (SysctlGroup::Ipv6Conf, "disable_ipv6", "1"),
];

impl HostLinks {
    /// Returns the networks of the mesh with the main bridge `base` that have a bridge here, with their bridges' names.
    pub fn networks(&self, base: &str) -> Vec<(String, NetworkMark)> {
        let marked = self.all().filter_map(|link| {
            let mark = NetworkMark::of(link).filter(|mark| mark.base == base)?;
            Some((link.name.clone(), mark))
        });
        marked.collect()
    }

    /// Returns the bridges under names of networks that nobody finished: their creator was killed.
    pub fn half_made(&self) -> Vec<String> {
        let is_bridge = |link: &&LinkEntry| link.kind.as_deref() == Some("bridge");
        let all = self.all().filter(is_bridge);
        all.filter(|link| is_half_made(link))
            .map(|link| link.name.clone())
            .collect()
    }

    /// Returns true if [`ensure_network_bridge`] would change nothing.
    pub fn is_sound(&self, config: &BridgeConfig, mark: &NetworkMark) -> bool {
        let Some(bridge) = self.find(&config.name) else {
            return false;
        };
        let mtu = u32::from(config.mtu);
        let is_port = |name: &str, master: Option<u32>| {
            let sound = |l: &LinkEntry| l.up && l.master == master && l.mtu == mtu;
            self.find(name).is_some_and(sound)
        };
        let ports = match config.port {
            PortKind::Tap => is_port(&ifname::tap_port(&config.name), Some(bridge.index)),
            PortKind::Veth => {
                let (inner, outer) = ifname::port_pair(&config.name);
                is_port(&inner, Some(bridge.index)) && is_port(&outer, None)
            }
        };
        let deaf = self.is_addressed(bridge)
            || DEAF.iter().all(|(group, key, value)| {
                // A setting that the kernel does not have cannot be wrong.
                sysctl::get(*group, &config.name, key).map_or(true, |now| now == *value)
            });
        let marked = NetworkMark::of(bridge).is_some_and(|known| known == *mark);
        marked && bridge.up && bridge.mtu == mtu && ports && deaf
    }
}

/// Removes the bridge of a network and the router's port on it. Containers' interfaces stay, without a bridge. Returns
/// true if there was a bridge.
///
/// # Errors
/// The name is not that of a network's bridge, or an interface under it is not the mesh's; the errno of the failed
/// system call.
pub fn remove_network_bridge(bridge: &str) -> Result<bool, SysError> {
    if !ifname::is_network_bridge(bridge) {
        return Err(SysError::other(
            format!("remove {bridge}"),
            "that is not the bridge of a network",
        ));
    }
    remove_port(bridge)?;
    let mut netlink = Netlink::open()?;
    match find_bridge(&mut netlink, bridge)? {
        None => Ok(false),
        Some(link) if is_half_made(&link) => netlink.link().delete(link.index).map(|()| true),
        Some(link) => delete_if_ours(&mut netlink, &link, bridge).map(|()| true),
    }
}

/// Removes the router's port on the bridge of a network, if there is one. Frames on their way to it are lost.
///
/// # Errors
/// An interface of that name is not the mesh's; the errno of the failed system call.
pub fn remove_port(bridge: &str) -> Result<(), SysError> {
    let mut netlink = Netlink::open()?;
    for port in [ifname::tap_port(bridge), ifname::port_pair(bridge).0] {
        if let Some(link) = netlink.link().by_name(&port)? {
            delete_if_ours(&mut netlink, &link, bridge)?;
        }
    }
    Ok(())
}

/// Removes everything of all networks of the mesh with the main bridge `base`, containers' interfaces included. Returns
/// the number of interfaces.
///
/// # Errors
/// The first failure, after all others were tried.
pub fn remove_all_networks(base: &str) -> Result<usize, SysError> {
    let host = HostLinks::read()?;
    let (mut removed, mut result) = (0, Ok(()));
    for (bridge, _) in host.networks(base) {
        match super::remove_all(&bridge) {
            Ok(count) => removed += count,
            Err(error) => result = result.and(Err(error)),
        }
    }
    for bridge in host.half_made() {
        match remove_network_bridge(&bridge) {
            Ok(was_there) => removed += usize::from(was_there),
            Err(error) => result = result.and(Err(error)),
        }
    }
    result.map(|()| removed)
}

/// Returns true if an interface is the bridge of a network of the mesh with the main bridge `base`.
pub fn belongs_to(link: &LinkEntry, base: &str) -> bool {
    NetworkMark::of(link).is_some_and(|mark| mark.base == base)
}

#[cfg(test)]
mod tests;
