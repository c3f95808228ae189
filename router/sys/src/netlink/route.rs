//! Routes of the main table.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use super::address::{AddressHandle, family};
use super::socket::RouteSocket;
use crate::SysError;

/// Unicast route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteEntry {
    /// Destination; a prefix length of 0 is a default route.
    pub destination: IpNet,
    /// Index of the outgoing interface, if there is one.
    pub link: Option<u32>,
    /// Next hop; `None` if the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Preferred source address of the route.
    pub source: Option<IpAddr>,
    /// Metric; lower is better.
    pub metric: u32,
}

/// Requests about routes, like `ip route`.
#[derive(Debug)]
pub struct RouteHandle<'a> {
    pub(super) socket: &'a mut RouteSocket,
}

impl<'a> RouteHandle<'a> {
    pub(super) fn new(socket: &'a mut RouteSocket) -> Self {
        Self { socket }
    }

    /// Adds a route to the destination on the link of the interface. Returns true if it is new.
    ///
    /// # Errors
    /// The errno of the failed system call, unless the route exists.
    pub fn add_on_link(&mut self, link: u32, destination: IpNet) -> Result<bool, SysError> {
        let mut route = RouteMessage::default();
        route.header.address_family = family(destination.addr());
        route.header.destination_prefix_length = destination.prefix_len();
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.protocol = RouteProtocol::Boot;
        route.header.scope = RouteScope::Link;
        route.header.kind = RouteType::Unicast;
        route
            .attributes
            .push(RouteAttribute::Destination(destination.network().into()));
        route.attributes.push(RouteAttribute::Oif(link));
        let what = format!("add route {destination} to interface {link}");
        match self
            .socket
            .execute(&what, Message::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL)
        {
            Ok(()) => Ok(true),
            Err(e) if e.is_exists() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Returns the unicast routes of the main table, IPv4 and IPv6.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn list(&mut self) -> Result<Vec<RouteEntry>, SysError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let answers = self
                .socket
                .dump("list routes", &Message::GetRoute(request))?;
            routes.extend(answers.into_iter().filter_map(parse_route));
        }
        Ok(routes)
    }

    /// Returns the addresses at which this host is reached through its default routes, best metric first: the
    /// preferred source of a route, or else the global addresses of its interface.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn default_sources(&mut self) -> Result<Vec<IpAddr>, SysError> {
        let mut defaults = self.list()?;
        defaults.retain(|r| r.destination.prefix_len() == 0);
        defaults.sort_by_key(|r| r.metric);
        let addresses = AddressHandle::new(self.socket).list()?;
        let mut sources = Vec::new();
        for route in defaults {
            let of_link = addresses
                .iter()
                .filter(|a| Some(a.link) == route.link)
                .map(|a| a.address.addr())
                .filter(|a| a.is_ipv4() == route.destination.addr().is_ipv4() && is_global(*a));
            for source in route.source.into_iter().chain(of_link) {
                if !sources.contains(&source) {
                    sources.push(source);
                }
            }
        }
        Ok(sources)
    }
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}

fn parse_route(message: Message) -> Option<RouteEntry> {
    let Message::NewRoute(message) = message else {
        return None;
    };
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return None;
    }
    let any = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut entry = RouteEntry {
        destination: IpNet::new(any, header.destination_prefix_length).ok()?,
        link: None,
        gateway: None,
        source: None,
        metric: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => {
                entry.destination =
                    IpNet::new(ip_of(to)?, header.destination_prefix_length).ok()?;
            }
            RouteAttribute::Gateway(gateway) => entry.gateway = ip_of(gateway),
            RouteAttribute::PrefSource(source) => entry.source = ip_of(source),
            RouteAttribute::Oif(link) => entry.link = Some(*link),
            RouteAttribute::Priority(metric) => entry.metric = *metric,
            _ => {}
        }
    }
    Some(entry)
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Netlink, VethSpec};
    use crate::testing::{NamedNetns, needs_root};

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    /// Creates a veth pair and sets it up. Returns the indices of its ends.
    fn pair(netlink: &mut Netlink) -> (u32, u32) {
        let spec = VethSpec {
            name: "a",
            peer_name: "b",
            peer_netns: None,
            peer_mac: None,
            mtu: 1500,
        };
        netlink.link().create_veth(&spec).unwrap();
        let (a, b) = (
            netlink.link().require("a").unwrap().index,
            netlink.link().require("b").unwrap().index,
        );
        netlink.link().set_up(a).unwrap();
        netlink.link().set_up(b).unwrap();
        (a, b)
    }

    #[test]
    fn sources_are_those_of_default_routes_only() {
        if needs_root("sources_are_those_of_default_routes_only") {
            return;
        }
        NamedNetns::new().run(|| {
            let mut netlink = Netlink::open().unwrap();
            let (a, b) = pair(&mut netlink);
            netlink.address().add(a, net("192.0.2.1/24")).unwrap();
            netlink.address().add(a, net("169.254.3.3/16")).unwrap();
            netlink.address().add(b, net("198.51.100.1/24")).unwrap();
            assert_eq!(
                netlink.route().default_sources().unwrap(),
                [IpAddr::V4(Ipv4Addr::UNSPECIFIED); 0]
            );
            assert!(netlink.route().add_on_link(a, net("0.0.0.0/0")).unwrap());
            assert!(!netlink.route().add_on_link(a, net("0.0.0.0/0")).unwrap());
            let expected: IpAddr = "192.0.2.1".parse().unwrap();
            assert_eq!(netlink.route().default_sources().unwrap(), [expected]);
        });
    }
}
