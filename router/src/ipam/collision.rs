//! Collisions of the range with routes and addresses of this host.

use ipnet::Ipv4Net;
use mesh_options::ipalloc::collision;
use mesh_sys::netlink::Netlink;

/// Returns a route or an address of this host that collides with the range, in words; what is on our bridge does no harm.
///
/// # Errors
/// The kernel does not tell its routes.
pub fn colliding(range: Ipv4Net, bridge: &str) -> anyhow::Result<Option<String>> {
    let mut netlink = Netlink::open()?;
    let bridge = netlink.link().by_name(bridge)?.map(|link| link.index);
    let routes = netlink.route().list()?.into_iter();
    let routes = routes.filter(|route| route.link.is_none() || route.link != bridge);
    let addresses = netlink.address().list()?.into_iter();
    let addresses = addresses.filter(|entry| Some(entry.link) != bridge);
    Ok(collision(
        range,
        routes.map(|route| route.destination),
        addresses.map(|entry| entry.address),
    ))
}
