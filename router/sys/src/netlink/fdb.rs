//! Forwarding tables of the kernel: those of a bridge, and of a VXLAN device.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mesh_proto::ids::Mac;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use super::socket::RouteSocket;
use crate::SysError;

/// Clock ticks per second in values from the kernel (USER_HZ, the same on all supported architectures).
const USER_HZ: u64 = 100;

/// Destination of frames from a VXLAN device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remote {
    /// Underlay address.
    pub address: IpAddr,
    /// UDP port.
    pub port: u16,
    /// Network identifier.
    pub vni: u32,
}

/// Table of an entry, and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FdbContent {
    /// Table of a bridge: the address is behind this port.
    Bridge {
        /// True if a program added it ([`FdbHandle::put_bridge_entry`]).
        external: bool,
        /// True if it is an address of the host itself.
        local: bool,
    },
    /// Table of a VXLAN device: destination of frames for the address. Port and identifier are present if they differ
    /// from those of the device.
    Vxlan {
        /// Underlay address.
        address: IpAddr,
        /// UDP port.
        port: Option<u16>,
        /// Network identifier.
        vni: Option<u32>,
    },
}

/// Entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdbRow {
    /// Index of the bridge's port, or of the VXLAN device.
    pub link: u32,
    /// MAC address.
    pub mac: Mac,
    /// Table and content.
    pub known: FdbContent,
    /// Time since a frame was last sent to the address.
    pub used: Duration,
}

/// Requests about forwarding tables, like `bridge fdb`.
#[derive(Debug)]
pub struct FdbHandle<'a> {
    socket: &'a mut RouteSocket,
}

impl<'a> FdbHandle<'a> {
    pub(super) fn new(socket: &'a mut RouteSocket) -> Self {
        Self { socket }
    }

    /// Makes the bridge send frames for `mac` to its port `link`. A frame from `mac` at another port that learns
    /// moves the entry there.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn put_bridge_entry(&mut self, link: u32, mac: Mac) -> Result<(), SysError> {
        let flags = NeighbourFlags::Controller | NeighbourFlags::ExtLearned;
        let row = row(link, mac, flags, NeighbourState::Reachable);
        let what = format!("put {mac} behind bridge port {link}");
        self.socket.execute(
            &what,
            Message::NewNeighbour(row),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// Removes `mac` if the bridge has it behind the port `link`. Returns true if it had.
    ///
    /// # Errors
    /// The errno of the failed system call, unless there is no such entry.
    pub fn delete_bridge_entry(&mut self, link: u32, mac: Mac) -> Result<bool, SysError> {
        let flags = NeighbourFlags::Controller;
        let row = row(link, mac, flags, NeighbourState::Reachable);
        self.delete_row(&format!("forget {mac} behind bridge port {link}"), row)
    }

    /// Makes a VXLAN device send frames for `mac` only to `remote`.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn put_remote(&mut self, link: u32, mac: Mac, remote: Remote) -> Result<(), SysError> {
        let row = remote_row(link, mac, Some(remote));
        let what = format!("send {mac} to {} by interface {link}", remote.address);
        self.socket.execute(
            &what,
            Message::NewNeighbour(row),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// Makes a VXLAN device send frames for the group `mac` also to `remote`. Idempotent.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn add_group_remote(
        &mut self,
        link: u32,
        mac: Mac,
        remote: Remote,
    ) -> Result<(), SysError> {
        let row = remote_row(link, mac, Some(remote));
        let what = format!("send group {mac} to {} by interface {link}", remote.address);
        match self.socket.execute(
            &what,
            Message::NewNeighbour(row),
            NLM_F_CREATE | NLM_F_APPEND,
        ) {
            Err(e) if e.is_exists() => Ok(()),
            other => other,
        }
    }

    /// Removes the entry of a VXLAN device for `mac` and `remote`, or without `remote` all entries for `mac`. Returns
    /// true if there was one.
    ///
    /// # Errors
    /// The errno of the failed system call, unless there is no such entry.
    pub fn delete_remote(
        &mut self,
        link: u32,
        mac: Mac,
        remote: Option<Remote>,
    ) -> Result<bool, SysError> {
        let row = remote_row(link, mac, remote);
        self.delete_row(&format!("send nothing to {mac} by interface {link}"), row)
    }

    /// Returns all entries of all bridges and VXLAN devices of the namespace.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn list(&mut self) -> Result<Vec<FdbRow>, SysError> {
        let mut request = NeighbourMessage::default();
        request.header.family = AddressFamily::Bridge;
        let answers = self
            .socket
            .dump("list forwarding tables", &Message::GetNeighbour(request))?;
        Ok(answers.into_iter().filter_map(parse).collect())
    }

    fn delete_row(&mut self, what: &str, row: NeighbourMessage) -> Result<bool, SysError> {
        match self.socket.execute(what, Message::DelNeighbour(row), 0) {
            Ok(()) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }
}

fn row(link: u32, mac: Mac, flags: NeighbourFlags, state: NeighbourState) -> NeighbourMessage {
    let mut row = NeighbourMessage::default();
    row.header.family = AddressFamily::Bridge;
    row.header.ifindex = link;
    row.header.flags = flags;
    row.header.state = state;
    row.attributes
        .push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    row
}

/// Permanent, because the device would otherwise expire the entry while it is in use.
fn remote_row(link: u32, mac: Mac, remote: Option<Remote>) -> NeighbourMessage {
    let mut row = row(link, mac, NeighbourFlags::Own, NeighbourState::Permanent);
    if let Some(remote) = remote {
        row.attributes.extend([
            NeighbourAttribute::Destination(remote.address.into()),
            NeighbourAttribute::Port(remote.port),
            NeighbourAttribute::Vni(remote.vni),
        ]);
    }
    row
}

fn parse(message: Message) -> Option<FdbRow> {
    let Message::NewNeighbour(message) = message else {
        return None;
    };
    let (mut mac, mut address, mut port, mut vni) = (None, None, None, None);
    let mut used = Duration::MAX;
    for attribute in message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.try_into().ok().map(Mac),
            NeighbourAttribute::Destination(to) => address = ip_of(&to),
            NeighbourAttribute::Port(n) => port = Some(n),
            NeighbourAttribute::Vni(n) => vni = Some(n),
            NeighbourAttribute::CacheInfo(info) => {
                used = Duration::from_millis(u64::from(info.used) * (1_000 / USER_HZ));
            }
            _ => {}
        }
    }
    let flags = message.header.flags;
    let known = match address {
        Some(address) if flags.contains(NeighbourFlags::Own) => {
            FdbContent::Vxlan { address, port, vni }
        }
        _ if flags.contains(NeighbourFlags::Own) => return None,
        _ => FdbContent::Bridge {
            external: flags.contains(NeighbourFlags::ExtLearned),
            local: message.header.state == NeighbourState::Permanent,
        },
    };
    Some(FdbRow {
        link: message.header.ifindex,
        mac: mac?,
        known,
        used,
    })
}

/// In tables of MAC addresses the address family is not that of the underlay; the length tells it.
fn ip_of(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        NeighbourAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        NeighbourAddress::Other(bytes) => match bytes.len() {
            4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[..]).ok()?).into()),
            16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).ok()?).into()),
            _ => None,
        },
        _ => None,
    }
}
