//! Clients of the DNS server, by the addresses that this host has now.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mesh_dns::server::clients::{HostAddress, ServedClients, listening_address};
use mesh_names::AskerNetworks;
use mesh_options::DNS_PORT;
use mesh_sys::bridge::others;
use mesh_sys::error::SysError;
use mesh_sys::netlink::Netlink;

use super::networks::{BridgeRole, CalledNetworks};

/// Docker's default bridge.
pub(super) const DOCKER_BRIDGE: &str = "docker0";
/// Least interval between reads of the host's addresses that unknown clients cause.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Set of clients that the server answers.
#[derive(Debug)]
pub(super) struct DnsClients {
    /// Networks of the mesh's own bridges.
    networks: CalledNetworks,
    served: ArcSwap<ServedClients>,
    looked: Mutex<Option<Instant>>,
}

impl DnsClients {
    pub(super) fn new(networks: CalledNetworks) -> Self {
        Self {
            networks,
            served: ArcSwap::default(),
            looked: Mutex::default(),
        }
    }

    /// Returns the networks of the host, or of a container on one of its bridges, by its address; `None` for any other.
    pub(super) fn networks(&self, ip: IpAddr) -> Option<AskerNetworks> {
        let known = self.served.load().networks(ip);
        // It may be on a network that Docker has just created.
        let may_come = || self.may_look() && self.look().is_ok();
        match known {
            None if may_come() => self.served.load().networks(ip),
            known => known,
        }
    }

    /// Reads the host's addresses. Returns the bridges that containers are on.
    pub(super) fn look(&self) -> Result<BTreeSet<String>, SysError> {
        let mut netlink = Netlink::open()?;
        let links = netlink.link().list()?;
        let entries = netlink.address().list()?;
        let addresses = entries.iter().filter_map(|entry| {
            let link = links.iter().find(|l| l.index == entry.link)?;
            let role = self.networks.role_of(&link.name);
            let is_foreign = role == BridgeRole::Foreign;
            Some(HostAddress {
                interface: &link.name,
                address: entry.address,
                is_of_containers: is_foreign && others::is_of_containers(link, &links),
                network: match role {
                    BridgeRole::Foreign => None,
                    BridgeRole::OfNetwork(network) => network,
                },
            })
        });
        let (served, bridges) = ServedClients::of(addresses);
        self.served.store(Arc::new(served));
        Ok(bridges)
    }

    fn may_look(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let may = looked.is_none_or(|at| at.elapsed() >= LOOK_AGAIN);
        if may {
            *looked = Some(Instant::now());
        }
        may
    }
}

/// Returns the address of Docker's bridge, IPv4 if it has one; `None` while there is none.
pub(super) fn docker_address() -> Result<Option<SocketAddr>, SysError> {
    let mut netlink = Netlink::open()?;
    let Some(link) = netlink.link().by_name(DOCKER_BRIDGE)? else {
        return Ok(None);
    };
    let entries = netlink.address().list()?.into_iter();
    let own = entries.filter(|entry| entry.link == link.index);
    let address = listening_address(own.map(|entry| entry.address.addr()));
    Ok(address.map(|ip| SocketAddr::new(ip, DNS_PORT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_itself_is_answered_and_strangers_are_not() {
        let (_sender, directory) = tokio::sync::watch::channel(Arc::default());
        let clients = DnsClients::new(CalledNetworks::new("mesh", directory));
        let networks = clients.networks(IpAddr::from([127, 0, 0, 1]));
        assert_eq!(networks, Some(AskerNetworks::default()));
        assert_eq!(clients.networks(IpAddr::from([192, 0, 2, 1])), None);
    }
}
