//! IP addresses and routes.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use super::Netlink;
use crate::SysError;

/// IP address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    /// Index of the interface.
    pub link: u32,
    /// IP address and prefix length of its subnet.
    pub address: IpNet,
}

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

impl Netlink {
    /// Adds an address to the interface. Returns true if it is new. IPv6 addresses skip duplicate address detection.
    ///
    /// # Errors
    /// The errno of the failed system call, unless the interface has the address.
    pub fn add_address(&mut self, link: u32, address: IpNet) -> Result<bool, SysError> {
        let what = format!("add address {address} to interface {link}");
        let message = Message::NewAddress(address_message(link, address));
        match self.execute(&what, message, NLM_F_CREATE | NLM_F_EXCL) {
            Ok(()) => Ok(true),
            Err(e) if e.is_exists() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes an address from the interface. Returns true if it had it.
    ///
    /// # Errors
    /// The errno of the failed system call, unless the interface has no such address.
    pub fn del_address(&mut self, link: u32, address: IpNet) -> Result<bool, SysError> {
        let what = format!("remove address {address} from interface {link}");
        let message = Message::DelAddress(address_message(link, address));
        match self.execute(&what, message, 0) {
            Ok(()) => Ok(true),
            Err(e) if e.raw() == Some(nix::errno::Errno::EADDRNOTAVAIL) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Returns all addresses of the namespace, IPv4 and IPv6.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn addresses(&mut self) -> Result<Vec<AddressEntry>, SysError> {
        let request = Message::GetAddress(AddressMessage::default());
        let answers = self.dump("list addresses", &request)?;
        Ok(answers.into_iter().filter_map(parse_address).collect())
    }

    /// Adds a route to the destination on the link of the interface. Returns true if it is new.
    ///
    /// # Errors
    /// The errno of the failed system call, unless the route exists.
    pub fn add_link_route(&mut self, link: u32, destination: IpNet) -> Result<bool, SysError> {
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
        match self.execute(&what, Message::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL) {
            Ok(()) => Ok(true),
            Err(e) if e.is_exists() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Returns the unicast routes of the main table, IPv4 and IPv6.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn routes(&mut self) -> Result<Vec<RouteEntry>, SysError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let answers = self.dump("list routes", &Message::GetRoute(request))?;
            routes.extend(answers.into_iter().filter_map(parse_route));
        }
        Ok(routes)
    }

    /// Returns the addresses at which this host is reached through its default routes, best metric first: the
    /// preferred source of a route, or else the global addresses of its interface.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn default_route_sources(&mut self) -> Result<Vec<IpAddr>, SysError> {
        let mut defaults = self.routes()?;
        defaults.retain(|r| r.destination.prefix_len() == 0);
        defaults.sort_by_key(|r| r.metric);
        let addresses = self.addresses()?;
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

pub(super) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn address_message(link: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.index = link;
    message.header.scope = AddressScope::Universe;
    let attributes = &mut message.attributes;
    attributes.push(AddressAttribute::Local(address.addr()));
    attributes.push(AddressAttribute::Address(address.addr()));
    match address {
        IpNet::V4(v4) if v4.prefix_len() <= 30 => {
            attributes.push(AddressAttribute::Broadcast(v4.broadcast()));
        }
        IpNet::V4(_) => {}
        IpNet::V6(_) => attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    message
}

fn parse_address(message: Message) -> Option<AddressEntry> {
    let Message::NewAddress(message) = message else {
        return None;
    };
    let (mut local, mut address) = (None, None);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(ip),
            AddressAttribute::Address(ip) => address = Some(ip),
            _ => {}
        }
    }
    // On a point-to-point link ADDRESS is the remote end and LOCAL the local one; IPv6 has ADDRESS only.
    let net = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
    Some(AddressEntry {
        link: message.header.index,
        address: net,
    })
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
    use crate::netlink::VethSpec;
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
        netlink.create_veth(&spec).unwrap();
        let (a, b) = (
            netlink.require_link("a").unwrap().index,
            netlink.require_link("b").unwrap().index,
        );
        netlink.set_up(a).unwrap();
        netlink.set_up(b).unwrap();
        (a, b)
    }

    #[test]
    fn addresses_are_added_once_and_removed_once() {
        if needs_root("addresses_are_added_once_and_removed_once") {
            return;
        }
        NamedNetns::new().run(|| {
            let mut netlink = Netlink::open().unwrap();
            let (a, _) = pair(&mut netlink);
            for address in [net("10.2.1.1/24"), net("10.2.1.0/31"), net("fd00::5/64")] {
                let entry = AddressEntry { link: a, address };
                assert!(netlink.add_address(a, address).unwrap());
                assert!(!netlink.add_address(a, address).unwrap());
                assert!(netlink.addresses().unwrap().contains(&entry));
                assert!(netlink.del_address(a, address).unwrap());
                assert!(!netlink.del_address(a, address).unwrap());
                assert!(!netlink.addresses().unwrap().contains(&entry));
            }
            let error = netlink.add_address(9_999, net("10.2.1.1/24")).unwrap_err();
            assert!(error.is_not_found(), "{error}");
        });
    }

    #[test]
    fn sources_are_those_of_default_routes_only() {
        if needs_root("sources_are_those_of_default_routes_only") {
            return;
        }
        NamedNetns::new().run(|| {
            let mut netlink = Netlink::open().unwrap();
            let (a, b) = pair(&mut netlink);
            netlink.add_address(a, net("192.0.2.1/24")).unwrap();
            netlink.add_address(a, net("169.254.3.3/16")).unwrap();
            netlink.add_address(b, net("198.51.100.1/24")).unwrap();
            assert_eq!(
                netlink.default_route_sources().unwrap(),
                [IpAddr::V4(Ipv4Addr::UNSPECIFIED); 0]
            );
            assert!(netlink.add_link_route(a, net("0.0.0.0/0")).unwrap());
            assert!(!netlink.add_link_route(a, net("0.0.0.0/0")).unwrap());
            let expected: IpAddr = "192.0.2.1".parse().unwrap();
            assert_eq!(netlink.default_route_sources().unwrap(), [expected]);
        });
    }
}
