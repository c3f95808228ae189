//! Interfaces of the host that lead into the mesh, and route lookups: a path through the mesh itself must not carry
//! traffic between its routers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mesh_proto::control::{RouteLookup, UnderlayRoute};
use mesh_sys::SysError;
use mesh_sys::bridge::network::belongs_to;
use mesh_sys::netlink::{AddressEntry, LinkEntry, Lookup, Netlink};

/// Lifetime of a cached route lookup.
const BELIEVED: Duration = Duration::from_secs(1);
/// Most cached lookups; beyond, the cache is cleared.
const MAX_ANSWERS: usize = 1_024;

/// Interfaces that lead into the mesh and nowhere else, and the addresses on them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct MeshInterfaces {
    links: BTreeSet<u32>,
    addresses: BTreeSet<IpAddr>,
}

impl MeshInterfaces {
    /// Finds these interfaces: the bridge and those of networks, interfaces stacked on one of them (VLAN, macvlan), a
    /// veth whose other end is a port of one, and another bridge whose ports all lead there.
    pub fn find(bridge: &str, links: &[LinkEntry], addresses: &[AddressEntry]) -> Self {
        let graph = InterfaceGraph::new(links);
        let is_of_mesh = |link: &LinkEntry| link.name == bridge || belongs_to(link, bridge);
        let mut found = BTreeSet::new();
        // Repeat: an interface that leads to a new one is found in the next pass.
        loop {
            let before = found.len();
            for link in links {
                if is_of_mesh(link) || graph.leads_to(link, &found) {
                    found.insert(link.index);
                }
            }
            if found.len() == before {
                break;
            }
        }
        let links = found;
        let addresses = addresses.iter().filter(|a| links.contains(&a.link));
        let addresses = addresses.map(|a| a.address.addr()).collect();
        Self { links, addresses }
    }

    /// True if the interface with this index leads into the mesh.
    pub fn has(&self, link: u32) -> bool {
        self.links.contains(&link)
    }

    /// True if this is an address of such an interface.
    pub fn has_address(&self, ip: IpAddr) -> bool {
        self.addresses.contains(&ip.to_canonical())
    }
}

/// Interfaces of the host, and the ports of each bridge.
struct InterfaceGraph<'a> {
    by_index: BTreeMap<u32, &'a LinkEntry>,
    ports: BTreeMap<u32, Vec<u32>>,
}

impl<'a> InterfaceGraph<'a> {
    fn new(links: &'a [LinkEntry]) -> Self {
        let mut ports = BTreeMap::<u32, Vec<u32>>::new();
        for link in links {
            if let Some(master) = link.master {
                ports.entry(master).or_default().push(link.index);
            }
        }
        let by_index = links.iter().map(|l| (l.index, l)).collect();
        Self { by_index, ports }
    }

    /// True if frames sent over `link` reach one of `found` and nothing else.
    fn leads_to(&self, link: &LinkEntry, found: &BTreeSet<u32>) -> bool {
        let other = link.peer_index.filter(|_| link.peer_netns.is_none());
        match link.kind.as_deref() {
            Some("vlan" | "macvlan" | "macvtap" | "ipvlan") => {
                other.is_some_and(|lower| found.contains(&lower))
            }
            Some("veth") => other
                .and_then(|end| self.by_index.get(&end)?.master)
                .is_some_and(|bridge| found.contains(&bridge)),
            Some("bridge") => self
                .ports
                .get(&link.index)
                .is_some_and(|ports| ports.iter().all(|port| found.contains(port))),
            _ => false,
        }
    }
}

/// Implements [`RouteLookup`] by the host's routes.
#[derive(Debug, Clone)]
pub struct HostRoutes {
    inside: Arc<ArcSwap<MeshInterfaces>>,
    asked: Arc<Mutex<RouteCache>>,
}

#[derive(Debug)]
struct RouteCache {
    netlink: Netlink,
    answers: BTreeMap<IpAddr, (UnderlayRoute, Instant)>,
}

impl HostRoutes {
    /// Opens a netlink socket.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn open(inside: Arc<ArcSwap<MeshInterfaces>>) -> Result<Self, SysError> {
        let asked = RouteCache {
            netlink: Netlink::open()?,
            answers: BTreeMap::new(),
        };
        Ok(Self {
            inside,
            asked: Arc::new(Mutex::new(asked)),
        })
    }

    /// Returns an error text if a connection between these ends runs through the mesh itself; `None` if it does not.
    pub fn refuse(&self, local: Option<IpAddr>, remote: SocketAddr) -> Option<String> {
        let inside = self.inside.load();
        let by_address = local.is_some_and(|ip| inside.has_address(ip));
        (by_address || self.route(remote) == UnderlayRoute::Mesh).then(|| {
            let remote = remote.ip();
            format!(
                "{remote} is reached through the mesh itself, which is no way between its routers"
            )
        })
    }

    fn ask(&self, asked: &mut RouteCache, to: IpAddr) -> UnderlayRoute {
        match asked.netlink.route().lookup(to) {
            Ok(Lookup::Link(link)) if self.inside.load().has(link) => UnderlayRoute::Mesh,
            Ok(Lookup::Link(_)) => UnderlayRoute::Out,
            Ok(Lookup::Local) if self.inside.load().has_address(to) => UnderlayRoute::Mesh,
            Ok(Lookup::Local) => UnderlayRoute::Out,
            Ok(Lookup::Nowhere) => UnderlayRoute::None,
            Err(error) => {
                tracing::debug!("{error}");
                UnderlayRoute::Out
            }
        }
    }
}

impl RouteLookup for HostRoutes {
    fn route(&self, to: SocketAddr) -> UnderlayRoute {
        // A link-local address contains its interface.
        if let SocketAddr::V6(v6) = to
            && v6.scope_id() != 0
        {
            return match self.inside.load().has(v6.scope_id()) {
                true => UnderlayRoute::Mesh,
                false => UnderlayRoute::Out,
            };
        }
        let to = to.ip().to_canonical();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((way, at)) = asked.answers.get(&to)
            && now.duration_since(*at) < BELIEVED
        {
            return *way;
        }
        if asked.answers.len() >= MAX_ANSWERS {
            asked.answers.clear();
        }
        let way = self.ask(&mut asked, to);
        asked.answers.insert(to, (way, now));
        way
    }
}

#[cfg(test)]
mod tests {
    use mesh_proto::network::NetworkId;
    use mesh_sys::ifname::network_bridge;

    use super::*;

    fn link(index: u32, name: &str, kind: &str, master: u32, other: u32) -> LinkEntry {
        LinkEntry {
            index,
            name: name.to_owned(),
            kind: (!kind.is_empty()).then(|| kind.to_owned()),
            master: (master != 0).then_some(master),
            peer_index: (other != 0).then_some(other),
            ..LinkEntry::default()
        }
    }

    fn inside(links: &[LinkEntry]) -> Vec<u32> {
        MeshInterfaces::find("mesh", links, &[])
            .links
            .into_iter()
            .collect()
    }

    #[test]
    fn the_bridge_and_what_leads_only_to_it_are_inside() {
        let mut links = vec![
            link(1, "eth0", "", 0, 0),
            link(2, "mesh", "bridge", 0, 0),
            link(3, "mesh-t", "tun", 2, 0),
            link(4, "mesh.7", "vlan", 0, 2),
            link(5, "eth0.7", "vlan", 0, 1),
            link(6, "lan0", "bridge", 0, 0),
            link(7, "mv0", "veth", 6, 8),
            link(8, "mv1", "veth", 2, 7),
            link(9, "v0", "veth", 0, 10),
            link(10, "v1", "veth", 2, 9),
            link(11, "empty", "bridge", 0, 0),
            link(12, "br0", "bridge", 0, 0),
            link(13, "mv2", "veth", 12, 14),
            link(14, "mv3", "veth", 2, 13),
            link(15, "eth1", "", 12, 0),
            link(16, "lan0.5", "vlan", 0, 6),
        ];
        assert_eq!(inside(&links), [2, 4, 6, 7, 8, 9, 13, 16]);
        // A veth whose other end is in another network namespace leads out of the host.
        links.push(LinkEntry {
            peer_netns: Some(0),
            ..link(17, "eth2", "veth", 6, 8)
        });
        assert_eq!(inside(&links), [2, 4, 7, 9, 13]);
    }

    #[test]
    fn bridges_of_networks_are_inside_those_of_another_mesh_are_not() {
        let of = |index, base: &str| {
            let id = NetworkId([7; 16]);
            let name = network_bridge(base, &id);
            LinkEntry {
                alias: Some(format!("mesh:{name}:bridge:{base}:{id}:mesh network web")),
                ..link(index, &name, "bridge", 0, 0)
            }
        };
        let mut links = vec![of(1, "mesh"), of(2, "mesh2"), link(3, "eth0", "", 0, 0)];
        links.push(link(4, "v0", "veth", 0, 5));
        links.push(link(5, "v1", "veth", 1, 4));
        assert_eq!(inside(&links), [1, 4]);
    }
}
