//! IP addresses of interfaces.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use super::socket::RouteSocket;
use crate::SysError;

/// IP address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    /// Index of the interface.
    pub link: u32,
    /// IP address and prefix length of its subnet.
    pub address: IpNet,
}

/// Requests about IP addresses, like `ip address`.
#[derive(Debug)]
pub struct AddressHandle<'a> {
    socket: &'a mut RouteSocket,
}

impl<'a> AddressHandle<'a> {
    pub(super) fn new(socket: &'a mut RouteSocket) -> Self {
        Self { socket }
    }

    /// Adds an address to the interface. Returns true if it is new. IPv6 addresses skip duplicate address detection.
    ///
    /// # Errors
    /// The errno of the failed system call, unless the interface has the address.
    pub fn add(&mut self, link: u32, address: IpNet) -> Result<bool, SysError> {
        let what = format!("add address {address} to interface {link}");
        let message = Message::NewAddress(address_message(link, address));
        match self
            .socket
            .execute(&what, message, NLM_F_CREATE | NLM_F_EXCL)
        {
            Ok(()) => Ok(true),
            Err(e) if e.is_exists() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Removes an address from the interface. Returns true if it had it.
    ///
    /// # Errors
    /// The errno of the failed system call, unless the interface has no such address.
    pub fn delete(&mut self, link: u32, address: IpNet) -> Result<bool, SysError> {
        let what = format!("remove address {address} from interface {link}");
        let message = Message::DelAddress(address_message(link, address));
        match self.socket.execute(&what, message, 0) {
            Ok(()) => Ok(true),
            Err(e) if e.raw() == Some(nix::errno::Errno::EADDRNOTAVAIL) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Returns all addresses of the namespace, IPv4 and IPv6.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn list(&mut self) -> Result<Vec<AddressEntry>, SysError> {
        let request = Message::GetAddress(AddressMessage::default());
        let answers = self.socket.dump("list addresses", &request)?;
        Ok(answers.into_iter().filter_map(parse_address).collect())
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
    fn addresses_are_added_once_and_removed_once() {
        if needs_root("addresses_are_added_once_and_removed_once") {
            return;
        }
        NamedNetns::new().run(|| {
            let mut netlink = Netlink::open().unwrap();
            let (a, _) = pair(&mut netlink);
            for address in [net("10.2.1.1/24"), net("10.2.1.0/31"), net("fd00::5/64")] {
                let entry = AddressEntry { link: a, address };
                assert!(netlink.address().add(a, address).unwrap());
                assert!(!netlink.address().add(a, address).unwrap());
                assert!(netlink.address().list().unwrap().contains(&entry));
                assert!(netlink.address().delete(a, address).unwrap());
                assert!(!netlink.address().delete(a, address).unwrap());
                assert!(!netlink.address().list().unwrap().contains(&entry));
            }
            let error = netlink
                .address()
                .add(9_999, net("10.2.1.1/24"))
                .unwrap_err();
            assert!(error.is_not_found(), "{error}");
        });
    }
}
