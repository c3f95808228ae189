//! Subnets of this host, which are not chosen for a network.

use ipnet::IpNet;
use mesh_sys::netlink::Netlink;

/// Returns the destinations of this host's routes and the subnets of its addresses, without default routes and link-local
/// ones.
///
/// # Errors
/// The kernel does not tell its routes.
pub(crate) fn occupied() -> anyhow::Result<Vec<IpNet>> {
    let mut netlink = Netlink::open()?;
    let routes = netlink.route().list()?.into_iter();
    let addresses = netlink.address().list()?.into_iter();
    let routes = routes.map(|route| route.destination);
    let mut all: Vec<IpNet> = routes
        .chain(addresses.map(|entry| entry.address))
        .map(|net| net.trunc())
        .filter(|net| net.prefix_len() > 0)
        .collect();
    all.sort();
    all.dedup();
    Ok(all)
}
