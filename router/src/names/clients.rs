//! Clients of the DNS server: the containers of this host and the host itself, no others.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use mesh_sys::bridge::others;
use mesh_sys::error::SysError;
use mesh_sys::netlink::Netlink;

use crate::config::DNS_PORT;

/// Docker's default bridge.
pub(super) const DOCKER_BRIDGE: &str = "docker0";
/// Least interval between reads of the host's addresses that unknown clients cause.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Set of clients that the server answers.
#[derive(Debug)]
pub(super) struct Clients {
    /// Name of the mesh's own bridge.
    bridge: String,
    nets: ArcSwap<Vec<IpNet>>,
    looked: Mutex<Option<Instant>>,
}

impl Clients {
    pub(super) fn new(bridge: &str) -> Self {
        Self {
            bridge: bridge.to_owned(),
            nets: ArcSwap::default(),
            looked: Mutex::default(),
        }
    }

    /// True if the address is the host's, or that of a container on one of its bridges.
    pub(super) fn allows(&self, ip: IpAddr) -> bool {
        if ip.is_loopback() || self.knows(ip) {
            return true;
        }
        // It may be on a network that Docker has just created.
        self.may_look() && self.look().is_ok() && self.knows(ip)
    }

    /// Reads the host's addresses. Returns the bridges that containers are on.
    pub(super) fn look(&self) -> Result<BTreeSet<String>, SysError> {
        let mut netlink = Netlink::open()?;
        let links = netlink.link().list()?;
        let mut bridges = BTreeSet::new();
        let found = netlink.address().list()?.into_iter().filter_map(|entry| {
            let link = links.iter().find(|l| l.index == entry.link)?;
            let is_ours = link.name == self.bridge;
            Some(match others::is_of_containers(link, &links) && !is_ours {
                true => {
                    bridges.insert(link.name.clone());
                    entry.address.trunc()
                }
                false => IpNet::from(entry.address.addr()),
            })
        });
        let found: Vec<IpNet> = found.collect();
        self.nets.store(std::sync::Arc::new(found));
        Ok(bridges)
    }

    fn knows(&self, ip: IpAddr) -> bool {
        self.nets.load().iter().any(|net| net.contains(&ip))
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
    let mut ips: Vec<IpAddr> = netlink
        .address()
        .list()?
        .into_iter()
        .filter(|entry| entry.link == link.index)
        .map(|entry| entry.address.addr())
        .filter(|ip| !is_link_local(*ip))
        .collect();
    ips.sort();
    Ok(ips.first().map(|ip| SocketAddr::new(*ip, DNS_PORT)))
}

/// True for IPv6 link-local addresses, which are useless without an interface.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if (v6.segments()[0] & 0xffc0) == 0xfe80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_itself_is_answered_and_strangers_are_not() {
        let clients = Clients::new("mesh");
        assert!(clients.allows(IpAddr::from([127, 0, 0, 1])));
        assert!(!clients.allows(IpAddr::from([192, 0, 2, 1])));
        let own = clients.nets.load();
        assert!(own.iter().any(|net| net.addr().is_loopback()), "{own:?}");
    }
}
