//! Joining of another bridge of the host to the mesh's bridge, by a veth pair.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mesh_proto::ids::Mac;

use super::network::{NetworkMark, belongs_to};
use super::{AliasRole, BridgeConfig, Outcome};
use super::{alias, delete_if_ours, delete_later, delete_stale, is_ours, is_pair};
use super::{wait_forwarding, without_ip_stack};
use crate::SysError;
use crate::ifname;
use crate::interface::ethtool::disable_offloads;
use crate::netlink::{LinkEntry, Netlink, VethSpec};
use crate::plan::StepPlan;
use crate::socket::packet::PacketSocket;

/// EtherType for local experiments (IEEE 802, 0x88b5), which no receiver interprets.
const PROBE: u16 = 0x88b5;
/// Number of probes sent.
const PROBES: u32 = 3;
/// Time between two probes, and after the last one: enough for a round trip through the mesh.
const PROBE_WAIT: Duration = Duration::from_millis(150);
/// Interval at which to look for a received probe.
const POLL: Duration = Duration::from_millis(2);

/// Joins `other` to the bridge, or repairs the joint. `nonce` distinguishes the probe from all others.
///
/// # Errors
/// `other` does not exist, is no bridge, or is connected to the mesh already, which would be a loop with a broadcast
/// storm, or would connect two networks. Nothing is left of the attempt.
pub fn join(
    config: &BridgeConfig,
    other: &str,
    offloads_off: bool,
    nonce: [u8; 16],
) -> Result<Outcome, SysError> {
    let mut netlink = Netlink::open()?;
    if other == config.name {
        return Err(refused(other, "that is the mesh's own bridge"));
    }
    let ours = netlink.link().require(&config.name)?;
    let there = require_bridge(&mut netlink, other)?;
    let pair = JoinPair::of(&config.name, other);
    if is_joined(&mut netlink, config, &pair, (&ours, &there))? {
        return Ok(Outcome::Existing);
    }
    refuse_two_networks(&netlink.link().list()?, (&ours, &there))?;
    refuse_loop(&mut netlink, (&ours, &there), nonce)?;
    let mut plan = StepPlan::new();
    connect(
        &mut netlink,
        config,
        &pair,
        (&ours, &there),
        offloads_off,
        &mut plan,
    )?;
    plan.commit();
    Ok(Outcome::Created)
}

fn refused(other: &str, why: impl Into<String>) -> SysError {
    SysError::other(format!("attach the bridge {other}"), why.into())
}

fn require_bridge(netlink: &mut Netlink, other: &str) -> Result<LinkEntry, SysError> {
    match netlink.link().by_name(other)? {
        Some(link) if link.kind.as_deref() == Some("bridge") => Ok(link),
        Some(_) => Err(refused(
            other,
            "that interface is no bridge of the Linux kernel",
        )),
        None => Err(refused(other, "there is no such interface on this host")),
    }
}

/// True if the pair joins the two bridges; its ends are then set up. Otherwise deletes what there is of it.
fn is_joined(
    netlink: &mut Netlink,
    config: &BridgeConfig,
    pair: &JoinPair,
    (ours, there): (&LinkEntry, &LinkEntry),
) -> Result<bool, SysError> {
    let ends = (
        netlink.link().by_name(&pair.here)?,
        netlink.link().by_name(&pair.there)?,
    );
    if let (Some(a), Some(b)) = &ends
        && is_pair(a, b)
        && is_ours(a, &config.name)
        && a.master == Some(ours.index)
        && b.master == Some(there.index)
    {
        for end in [a, b].into_iter().filter(|end| !end.up) {
            netlink.link().set_up(end.index)?;
        }
        return Ok(true);
    }
    for end in [ends.0, ends.1].into_iter().flatten() {
        delete_stale(netlink, &end, &config.name)?;
    }
    Ok(false)
}

/// Fails if the other bridge is one of a network, or leads to one: frames would pass between two networks.
fn refuse_two_networks(
    links: &[LinkEntry],
    (ours, there): (&LinkEntry, &LinkEntry),
) -> Result<(), SysError> {
    let base = NetworkMark::of(ours).map_or_else(|| ours.name.clone(), |mark| mark.base);
    let is_of_mesh = |link: &&LinkEntry| link.name == base || belongs_to(link, &base);
    for other in links.iter().filter(is_of_mesh) {
        let whose = NetworkMark::of(other).map_or_else(|| "the mesh".to_owned(), |mark| mark.text);
        if other.index == there.index {
            return Err(refused(
                &there.name,
                format!("that is the bridge of {whose}, and networks stay apart"),
            ));
        }
        if other.index != ours.index
            && let Some(port) = way(links, there.index, other.index)
        {
            return Err(refused(
                &there.name,
                format!(
                    "it is on {whose} already, by its port {port}, and networks stay apart; detach it there first"
                ),
            ));
        }
    }
    Ok(())
}

/// Fails if the bridges are connected already, over this host or outside of it.
fn refuse_loop(
    netlink: &mut Netlink,
    (ours, there): (&LinkEntry, &LinkEntry),
    nonce: [u8; 16],
) -> Result<(), SysError> {
    let links = netlink.link().list()?;
    if let Some(port) = way(&links, there.index, ours.index) {
        return Err(refused(
            &there.name,
            format!("it leads to the mesh already, by its port {port}; that would be a loop"),
        ));
    }
    if there.up && ours.up && comes_round(ours, there, nonce)? {
        return Err(refused(
            &there.name,
            "what the mesh sends comes out there already, by another host or interface; that would be a loop",
        ));
    }
    Ok(())
}

/// Removes the veth pair to `other`. Returns true if there was one.
///
/// # Errors
/// The errno of the failed system call.
pub fn leave(bridge: &str, other: &str) -> Result<bool, SysError> {
    let mut netlink = Netlink::open()?;
    match netlink.link().by_name(&JoinPair::of(bridge, other).here)? {
        Some(end) => delete_if_ours(&mut netlink, &end, bridge).map(|()| true),
        None => Ok(false),
    }
}

/// Names of the two ends of the veth pair: in the mesh's bridge, and in the other one.
struct JoinPair {
    here: String,
    there: String,
}

impl JoinPair {
    fn of(bridge: &str, other: &str) -> Self {
        Self {
            here: ifname::hashed(&[bridge, "bridge", other]),
            there: ifname::hashed(&[bridge, "bridge", other, "there"]),
        }
    }
}

fn connect(
    netlink: &mut Netlink,
    config: &BridgeConfig,
    pair: &JoinPair,
    (ours, there): (&LinkEntry, &LinkEntry),
    offloads_off: bool,
    plan: &mut StepPlan,
) -> Result<(), SysError> {
    let spec = VethSpec {
        name: &pair.here,
        peer_name: &pair.there,
        peer_netns: None,
        peer_mac: None,
        mtu: config.mtu,
    };
    let undo = delete_later(pair.here.clone());
    plan.step_with_undo("create pair", || netlink.link().create_veth(&spec), undo)?;
    // The other bridge may take its MTU from its smallest port, so its port gets its present MTU.
    let other_mtu = u16::try_from(there.mtu).unwrap_or(u16::MAX);
    let ends = [
        (&pair.here, ours, config.mtu),
        (&pair.there, there, other_mtu),
    ];
    for (name, master, mtu) in ends {
        let end = netlink.link().require(name)?;
        let alias = alias(&config.name, AliasRole::Uplink, &there.name);
        plan.step("mark pair", || netlink.link().set_alias(end.index, &alias))?;
        plan.step("configure pair", || without_ip_stack(netlink, &end, mtu))?;
        if offloads_off {
            plan.step("switch offloads off", || disable_offloads(name))?;
        }
        plan.step("put pair into bridges", || {
            netlink.link().set_master(end.index, master.index)
        })?;
        plan.step("set pair up", || netlink.link().set_up(end.index))?;
    }
    plan.step("wait for the bridge", || {
        wait_forwarding(netlink, &pair.here)
    })
}

/// Returns the port of the bridge `from` by which veth pairs lead to the bridge `to`, directly or over other bridges.
fn way(links: &[LinkEntry], from: u32, to: u32) -> Option<String> {
    let by_index: BTreeMap<u32, &LinkEntry> = links.iter().map(|link| (link.index, link)).collect();
    let ports = links.iter().filter_map(|link| {
        let peer = by_index.get(&link.peer_index?)?;
        let is_here = link.peer_netns.is_none() && link.kind.as_deref() == Some("veth");
        is_here.then_some((link.master?, peer.master?, link.name.as_str()))
    });
    let ports: Vec<(u32, u32, &str)> = ports.collect();
    // Bridges reached, with the port of the first bridge that leads there.
    let mut seen = BTreeSet::from([from]);
    let mut next: Vec<(u32, Option<&str>)> = vec![(from, None)];
    while let Some((bridge, first)) = next.pop() {
        for (_, there, port) in ports.iter().filter(|(here, _, _)| *here == bridge) {
            let first = first.unwrap_or(port);
            if *there == to {
                return Some(first.to_owned());
            }
            if seen.insert(*there) {
                next.push((*there, Some(first)));
            }
        }
    }
    None
}

/// True if a broadcast sent on the mesh's bridge arrives at the other one.
fn comes_round(ours: &LinkEntry, there: &LinkEntry, nonce: [u8; 16]) -> Result<bool, SysError> {
    let frame = probe(ours.mac.unwrap_or(Mac([0x02, 0, 0, 0, 0, 1])), nonce);
    let receiver = PacketSocket::open(there.index, PROBE)?;
    let sender = PacketSocket::open(ours.index, 0)?;
    let mut buffer = [0; 64];
    for _ in 0..PROBES {
        sender.send(&frame)?;
        let until = Instant::now() + PROBE_WAIT;
        while Instant::now() < until {
            match receiver.recv(&mut buffer)? {
                Some(got) if got.get(14..30) == Some(&nonce[..]) => return Ok(true),
                Some(_) => {}
                None => std::thread::sleep(POLL),
            }
        }
    }
    Ok(false)
}

/// Returns a broadcast frame of the shortest length.
fn probe(source: Mac, nonce: [u8; 16]) -> [u8; 60] {
    let mut frame = [0; 60];
    let parts: [&[u8]; 4] = [&[0xff; 6], &source.0, &PROBE.to_be_bytes(), &nonce];
    let bytes = parts.into_iter().flatten();
    frame
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    frame
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::super::{PortKind, ensure_bridge};
    use super::*;
    use crate::netlink::BridgeSpec;
    use crate::testing::{NamedNetns, needs_root};

    fn bridge(netlink: &mut Netlink, name: &str) -> u32 {
        let spec = BridgeSpec {
            name,
            mtu: 1_500,
            mac: None,
        };
        netlink.link().create_bridge(&spec).unwrap();
        let index = netlink.link().require(name).unwrap().index;
        netlink.link().set_up(index).unwrap();
        index
    }

    fn veth(netlink: &mut Netlink, ends: [(&str, u32); 2]) {
        let spec = VethSpec {
            name: ends[0].0,
            peer_name: ends[1].0,
            peer_netns: None,
            peer_mac: None,
            mtu: 1_500,
        };
        netlink.link().create_veth(&spec).unwrap();
        for (name, master) in ends {
            let index = netlink.link().require(name).unwrap().index;
            netlink.link().set_master(index, master).unwrap();
            netlink.link().set_up(index).unwrap();
        }
    }

    fn mesh() -> BridgeConfig {
        let config = BridgeConfig {
            name: "mesh".into(),
            mtu: 1_376,
            mac: None,
            port: PortKind::Tap,
        };
        ensure_bridge(&config).unwrap();
        config
    }

    #[test]
    fn a_bridge_is_joined_once_repaired_and_left() {
        if needs_root("a_bridge_is_joined_once_repaired_and_left") {
            return;
        }
        NamedNetns::new().run(|| {
            let config = mesh();
            let mut netlink = Netlink::open().unwrap();
            bridge(&mut netlink, "br1");
            assert_eq!(
                join(&config, "br1", false, [1; 16]).unwrap(),
                Outcome::Created
            );
            assert_eq!(
                join(&config, "br1", false, [2; 16]).unwrap(),
                Outcome::Existing
            );
            assert_eq!(netlink.link().require("br1").unwrap().mtu, 1_500);
            let pair = JoinPair::of("mesh", "br1");
            netlink.link().delete_by_name(&pair.there).unwrap();
            assert_eq!(
                join(&config, "br1", true, [3; 16]).unwrap(),
                Outcome::Created
            );
            let end = netlink.link().require(&pair.there).unwrap().index;
            netlink.link().set_nomaster(end).unwrap();
            assert_eq!(
                join(&config, "br1", true, [4; 16]).unwrap(),
                Outcome::Created
            );
            assert!(leave("mesh", "br1").unwrap());
            assert!(!leave("mesh", "br1").unwrap());
            assert!(netlink.link().by_name(&pair.there).unwrap().is_none());
        });
    }

    #[test]
    fn loops_and_what_is_no_bridge_are_refused() {
        if needs_root("loops_and_what_is_no_bridge_are_refused") {
            return;
        }
        NamedNetns::new().run(|| {
            let config = mesh();
            let mut netlink = Netlink::open().unwrap();
            let ours = netlink.link().require("mesh").unwrap().index;
            let (one, two) = (bridge(&mut netlink, "br1"), bridge(&mut netlink, "br2"));
            veth(&mut netlink, [("a", one), ("b", two)]);
            let refused = |other: &str| {
                let before = Netlink::open().unwrap().link().list().unwrap().len();
                let error = join(&config, other, false, [9; 16])
                    .unwrap_err()
                    .to_string();
                assert_eq!(
                    Netlink::open().unwrap().link().list().unwrap().len(),
                    before
                );
                error
            };
            assert!(refused("mesh").contains("own bridge"));
            assert!(refused("none").contains("no such interface"));
            assert!(refused("a").contains("no bridge"));
            join(&config, "br1", false, [5; 16]).unwrap();
            let error = refused("br2");
            assert!(
                error.contains("leads to the mesh already, by its port b"),
                "{error}"
            );
            leave("mesh", "br1").unwrap();
            veth(&mut netlink, [("c", ours), ("d", two)]);
            let error = refused("br1");
            assert!(error.contains("by its port a"), "{error}");
        });
    }

    #[test]
    fn a_bridge_joins_one_network_only() {
        if needs_root("a_bridge_joins_one_network_only") {
            return;
        }
        NamedNetns::new().run(|| {
            let config = mesh();
            let mut netlink = Netlink::open().unwrap();
            bridge(&mut netlink, "br1");
            let network = |number| {
                let id = mesh_proto::network::NetworkId([number; 16]);
                let mark = NetworkMark::new("mesh", id, &format!("mesh network n{number}"));
                let config = BridgeConfig {
                    name: mark.bridge(),
                    ..config.clone()
                };
                super::super::network::ensure_network_bridge(&config, &mark).unwrap();
                config
            };
            let (one, two) = (network(1), network(2));
            let refused = |config: &BridgeConfig, other: &str| {
                let error = join(config, other, false, [9; 16]).unwrap_err();
                error.to_string()
            };
            for (config, other) in [
                (&config, &one.name),
                (&one, &config.name),
                (&one, &two.name),
            ] {
                let error = refused(config, other);
                assert!(error.contains("networks stay apart"), "{error}");
            }
            join(&one, "br1", false, [1; 16]).unwrap();
            for config in [&config, &two] {
                let error = refused(config, "br1");
                assert!(
                    error.contains("it is on mesh network n1 already"),
                    "{error}"
                );
            }
            leave(&one.name, "br1").unwrap();
            join(&config, "br1", false, [2; 16]).unwrap();
            assert!(refused(&one, "br1").contains("it is on the mesh already"));
        });
    }

    #[test]
    fn a_loop_through_another_namespace_is_found_by_a_probe() {
        if needs_root("a_loop_through_another_namespace_is_found_by_a_probe") {
            return;
        }
        let elsewhere = NamedNetns::new();
        NamedNetns::new().run(|| {
            let config = mesh();
            let mut netlink = Netlink::open().unwrap();
            let ours = netlink.link().require("mesh").unwrap().index;
            let one = bridge(&mut netlink, "br1");
            // Two cables to a switch in another namespace.
            for (name, far, master) in [("a", "x", ours), ("b", "y", one)] {
                let spec = VethSpec {
                    name,
                    peer_name: far,
                    peer_netns: Some(elsewhere.netns.as_fd()),
                    peer_mac: None,
                    mtu: 1_500,
                };
                netlink.link().create_veth(&spec).unwrap();
                let index = netlink.link().require(name).unwrap().index;
                netlink.link().set_master(index, master).unwrap();
                netlink.link().set_up(index).unwrap();
            }
            join(&config, "br1", false, [6; 16]).unwrap();
            leave("mesh", "br1").unwrap();
            elsewhere.run(|| {
                let mut netlink = Netlink::open().unwrap();
                let switch = bridge(&mut netlink, "sw");
                for name in ["x", "y"] {
                    let index = netlink.link().require(name).unwrap().index;
                    netlink.link().set_master(index, switch).unwrap();
                    netlink.link().set_up(index).unwrap();
                    wait_forwarding(&mut netlink, name).unwrap();
                }
            });
            for name in ["a", "b"] {
                wait_forwarding(&mut netlink, name).unwrap();
            }
            let error = join(&config, "br1", false, [7; 16])
                .unwrap_err()
                .to_string();
            assert!(error.contains("comes out there already"), "{error}");
        });
    }
}
