//! Host part of the report (bridge, datapath, MAC table, counters), and the host's underlay addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mesh_proto::api::{DatapathReport, MacReport, PeerReport};
use mesh_proto::fdb::Owner;
use mesh_proto::forward::Forwarder;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::MAX_ENDPOINTS;
use mesh_sys::netlink::{AddressEntry, LinkEntry};

use crate::clock::Clock;
use crate::fastpath::Status;
use crate::host_routes::MeshInterfaces;
use crate::lanes::latency::Latency;
use crate::process::start::Restart;
use crate::warnings::Warnings;

/// Host side of a report.
pub struct HostView {
    /// TCP and UDP port.
    pub port: u16,
    /// Listening address, as shown.
    pub listen: String,
    /// Name of the bridge.
    pub bridge: String,
    /// Device through which frames enter and leave.
    pub datapath: DatapathView,
    /// True if containers get a multicast route into the mesh, unless attached without one.
    pub multicast_route: bool,
    /// Latency request of the host.
    pub latency: Arc<Latency>,
    /// State of the fast path, if enabled.
    pub fast_path: Option<Status>,
    /// Forwarder, for its MAC table and counters.
    pub forwarder: Arc<Forwarder>,
    /// Events that were dropped because the control plane was busy.
    pub events_lost: Arc<AtomicU64>,
    /// Clock of the router.
    pub clock: Clock,
    /// Restart policy after a crash.
    pub restart: Restart,
    /// Warnings about this host.
    pub warnings: Warnings,
}

/// The chosen datapath.
pub struct DatapathView {
    /// `tap` or `pcap`.
    pub name: &'static str,
    /// Reason for the choice.
    pub reason: String,
}

/// Most MAC addresses in a report; the table may hold many more.
const MAX_MACS: usize = 1_000;

impl HostView {
    /// Returns what the control plane does not know; `peers` are the routers that it does.
    pub fn report(&self, peers: &[PeerReport]) -> DatapathReport {
        let name = |p: &PeerReport| (p.id.clone(), format!("{}({})", p.name, p.nick_name));
        let names: BTreeMap<String, String> = peers.iter().map(name).collect();
        let owned = |(name, n): (&'static str, u64)| (name.to_owned(), n);
        let counts = self.forwarder.counters().counts().map(owned);
        let lost = self.events_lost.load(Ordering::Relaxed);
        DatapathReport {
            fast_path: match &self.fast_path {
                Some(status) => status.words(),
                None => "off".to_owned(),
            },
            host: self.listen.clone(),
            bridge: self.bridge.clone(),
            datapath: self.datapath.name.to_owned(),
            datapath_reason: self.datapath.reason.clone(),
            latency: self.latency.words(),
            restart: self.restart.words(),
            macs: self.macs(&names),
            drops: self.forwarder.counters().drops().map(owned).collect(),
            counters: counts
                .chain([("lane events lost".to_owned(), lost)])
                .collect(),
            warnings: self.notices(),
        }
    }

    /// Returns the notices about this host, one line each.
    pub fn notices(&self) -> Vec<String> {
        let mut lines = self.warnings.lines();
        lines.extend(self.restart.warning());
        lines
    }

    fn macs(&self, names: &BTreeMap<String, String>) -> Vec<MacReport> {
        let now = self.clock.now();
        let owner = |peer: PeerId| {
            names
                .get(&peer.to_string())
                .cloned()
                .unwrap_or_else(|| peer.to_string())
        };
        let mut macs: Vec<MacReport> = self
            .forwarder
            .fdb()
            .snapshot(now)
            .into_iter()
            .map(|entry| MacReport {
                mac: entry.mac.to_string(),
                owner: match entry.owner {
                    Owner::Local => "local".to_owned(),
                    Owner::Peer(peer) => owner(peer),
                },
                age: entry.idle.as_secs_f64(),
            })
            .collect();
        macs.sort_by(|a, b| a.age.total_cmp(&b.age));
        macs.truncate(MAX_MACS);
        macs
    }
}

/// Prefixes of interfaces whose addresses repeat on many hosts, or reach only this one.
const NOT_UNDERLAY: [&str; 8] = [
    "docker", "br-", "veth", "virbr", "podman", "cni", "lxc", "flannel",
];

/// True if the host has this address.
///
/// # Errors
/// The kernel does not list its addresses.
pub fn has_address(ip: IpAddr) -> Result<bool, mesh_sys::error::SysError> {
    let addresses = mesh_sys::netlink::Netlink::open()?.address().list()?;
    // All of 127.0.0.0/8 belongs to this host.
    let is_loopback = matches!(ip, IpAddr::V4(v4) if v4.is_loopback());
    Ok(is_loopback || addresses.iter().any(|entry| entry.address.addr() == ip))
}

/// Addresses and interfaces of the host, as far as routers need them.
#[derive(Debug, Default)]
pub struct HostUnderlay {
    /// Endpoints at which others may dial this router: those of underlay interfaces, or the configured listening
    /// address.
    pub endpoints: Vec<SocketAddr>,
    /// All addresses of the host except loopback.
    pub addresses: Vec<IpAddr>,
    /// Interfaces that lead into the mesh.
    pub inside: MeshInterfaces,
}

/// Reads the interfaces and addresses of the host.
///
/// # Errors
/// The kernel does not list them.
pub fn underlay(
    host: Option<IpAddr>,
    port: u16,
    bridge: &str,
) -> Result<HostUnderlay, mesh_sys::error::SysError> {
    let mut netlink = mesh_sys::netlink::Netlink::open()?;
    let links = netlink.link().list()?;
    let addresses = netlink.address().list()?;
    let inside = MeshInterfaces::find(bridge, &links, &addresses);
    let endpoints = match host.filter(|h| !h.is_unspecified()) {
        Some(host) => vec![SocketAddr::new(host, port)],
        None => endpoints(port, &links, &addresses, &inside),
    };
    let all = addresses.iter().map(|entry| entry.address.addr());
    Ok(HostUnderlay {
        endpoints,
        addresses: all.filter(|ip| !ip.is_loopback()).collect(),
        inside,
    })
}

fn endpoints(
    port: u16,
    links: &[LinkEntry],
    addresses: &[AddressEntry],
    inside: &MeshInterfaces,
) -> Vec<SocketAddr> {
    let usable = |index: u32| {
        links.iter().find(|l| l.index == index).is_some_and(|l| {
            l.name != "lo"
                && !inside.has(index)
                && !NOT_UNDERLAY.iter().any(|p| l.name.starts_with(p))
        })
    };
    let mut addresses: Vec<SocketAddr> = addresses
        .iter()
        .filter(|entry| usable(entry.link))
        .map(|entry| entry.address.addr())
        .filter(|ip| is_routable(*ip))
        .map(|ip| SocketAddr::new(ip, port))
        .collect();
    addresses.sort_by_key(|a| (a.is_ipv6(), *a));
    addresses.dedup();
    addresses.truncate(MAX_ENDPOINTS - 4);
    addresses
}

fn is_routable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        // A link-local address is useless to other hosts without its interface.
        IpAddr::V6(ip) => {
            !ip.is_loopback() && !ip.is_unspecified() && (ip.segments()[0] & 0xffc0) != 0xfe80
        }
    }
}
