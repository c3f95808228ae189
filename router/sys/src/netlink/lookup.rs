//! Route lookups, like `ip route get`.

use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteType};
use nix::errno::Errno;

use super::RouteHandle;
use super::address::family;
use crate::SysError;

/// Result of a route lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Sent by the interface with this index.
    Link(u32),
    /// Delivered to this host itself.
    Local,
    /// Not sent: there is no route, or a prohibiting one.
    Nowhere,
}

impl RouteHandle<'_> {
    /// Looks up the route of a packet of this host to `to`, by all rules and tables.
    ///
    /// # Errors
    /// The errno of the failed system call, unless there is no route.
    pub fn lookup(&mut self, to: IpAddr) -> Result<Lookup, SysError> {
        let mut request = RouteMessage::default();
        request.header.address_family = family(to);
        request.header.destination_prefix_length = if to.is_ipv4() { 32 } else { 128 };
        let destination = RouteAttribute::Destination(to.into());
        request.attributes.push(destination);
        let what = format!("look up the route to {to}");
        match self.socket.get(&what, Message::GetRoute(request)) {
            Ok(Message::NewRoute(route)) => Ok(of(&route)),
            Ok(_) => Ok(Lookup::Nowhere),
            Err(error) if error.raw().is_some_and(is_no_route) => Ok(Lookup::Nowhere),
            Err(error) => Err(error),
        }
    }
}

fn of(route: &RouteMessage) -> Lookup {
    let link = route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Oif(link) => Some(*link),
        _ => None,
    });
    match (route.header.kind, link) {
        (RouteType::Local, _) => Lookup::Local,
        (RouteType::Unicast | RouteType::Broadcast | RouteType::Multicast, Some(link)) => {
            Lookup::Link(link)
        }
        _ => Lookup::Nowhere,
    }
}

fn is_no_route(error: Errno) -> bool {
    matches!(
        error,
        Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::EACCES
            | Errno::EINVAL
            | Errno::EAFNOSUPPORT
            | Errno::EOPNOTSUPP
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Netlink, VethSpec};
    use crate::testing::{NamedNetns, needs_root};

    #[test]
    fn routes_are_looked_up_by_the_kernel() {
        if needs_root("routes_are_looked_up_by_the_kernel") {
            return;
        }
        NamedNetns::new().run(|| {
            let mut netlink = Netlink::open().unwrap();
            let spec = VethSpec {
                name: "a",
                peer_name: "b",
                peer_netns: None,
                peer_mac: None,
                mtu: 1500,
            };
            netlink.link().create_veth(&spec).unwrap();
            let [a, b] = ["a", "b"].map(|name| netlink.link().require(name).unwrap().index);
            netlink.link().set_up(a).unwrap();
            netlink.link().set_up(b).unwrap();
            let mut to = |ip: &str| netlink.route().lookup(ip.parse().unwrap()).unwrap();
            assert_eq!(to("192.0.2.2"), Lookup::Nowhere);
            assert_eq!(to("2001:db8::2"), Lookup::Nowhere);
            netlink
                .address()
                .add(a, "192.0.2.1/24".parse().unwrap())
                .unwrap();
            netlink
                .address()
                .add(b, "2001:db8::1/64".parse().unwrap())
                .unwrap();
            let mut to = |ip: &str| netlink.route().lookup(ip.parse().unwrap()).unwrap();
            assert_eq!(to("192.0.2.2"), Lookup::Link(a));
            assert_eq!(to("192.0.2.1"), Lookup::Local);
            assert_eq!(to("2001:db8::2"), Lookup::Link(b));
            assert_eq!(to("198.51.100.1"), Lookup::Nowhere);
        });
    }
}
