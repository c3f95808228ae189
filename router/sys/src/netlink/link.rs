//! Links: bridges, veth pairs, and their settings.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use mesh_proto::ids::Mac;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    BridgePortState, BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};

use super::socket::RouteSocket;
use super::{PortSetting, of_index};
use crate::SysError;
use crate::ifname;

/// State of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkEntry {
    /// Index in its namespace.
    pub index: u32,
    /// Name of the interface.
    pub name: String,
    /// `bridge`, `veth`, …; `None` for hardware and loopback.
    pub kind: Option<String>,
    /// Index of the bridge (or bond, …) of which it is a port.
    pub master: Option<u32>,
    /// True if its bridge forwards frames through it, which begins some time after it is up and has carrier.
    pub forwarding: bool,
    /// For a bridge port: settings that differ from the kernel's defaults.
    pub changed: Vec<PortSetting>,
    /// MAC address, for Ethernet interfaces.
    pub mac: Option<Mac>,
    /// MTU in bytes, without the Ethernet header.
    pub mtu: u32,
    /// True if it is set up (IFF_UP).
    pub up: bool,
    /// Alias (IFLA_IFALIAS).
    pub alias: Option<String>,
    /// Index of the other end of a veth pair, in that end's namespace.
    pub peer_index: Option<u32>,
    /// Id of the other end's namespace; `None` if it is this one.
    pub peer_netns: Option<i32>,
}

/// Bridge to be created.
#[derive(Clone, Copy, Debug)]
pub struct BridgeSpec<'a> {
    /// Name, at most 15 bytes.
    pub name: &'a str,
    /// MTU in bytes.
    pub mtu: u16,
    /// Fixed MAC; `None`: the kernel draws one.
    pub mac: Option<Mac>,
}

/// Veth pair to be created; both ends are down.
#[derive(Clone, Copy, Debug)]
pub struct VethSpec<'a> {
    /// Name of the end in the socket's namespace.
    pub name: &'a str,
    /// Name of the other end.
    pub peer_name: &'a str,
    /// Namespace of the other end; `None`: that of the socket.
    pub peer_netns: Option<BorrowedFd<'a>>,
    /// MAC of the other end; `None`: the kernel draws one.
    pub peer_mac: Option<Mac>,
    /// MTU of both ends, in bytes.
    pub mtu: u16,
}

/// Requests about interfaces, like `ip link`.
#[derive(Debug)]
pub struct LinkHandle<'a> {
    pub(super) socket: &'a mut RouteSocket,
}

impl<'a> LinkHandle<'a> {
    pub(super) fn new(socket: &'a mut RouteSocket) -> Self {
        Self { socket }
    }

    /// Returns the interface with that name; `None` if there is none.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn by_name(&mut self, name: &str) -> Result<Option<LinkEntry>, SysError> {
        ifname::check(name)?;
        let mut request = LinkMessage::default();
        request
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        match self.socket.get(
            &format!("look up interface {name}"),
            Message::GetLink(request),
        ) {
            Ok(answer) => Ok(parse(answer)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Returns the interface with that name; if there is none, that is an error (see [`SysError::is_not_found`]).
    ///
    /// # Errors
    /// The errno of the failed system call, ENODEV if there is no such interface.
    pub fn require(&mut self, name: &str) -> Result<LinkEntry, SysError> {
        self.by_name(name)?.ok_or_else(|| {
            SysError::errno(format!("find interface {name}"), nix::errno::Errno::ENODEV)
        })
    }

    /// Returns all interfaces of the namespace.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn list(&mut self) -> Result<Vec<LinkEntry>, SysError> {
        let mut request = LinkMessage::default();
        // Nobody here reads the counters, which are most of an answer.
        let extent = vec![LinkExtentMask::SkipStats];
        request.attributes.push(LinkAttribute::ExtMask(extent));
        let answers = self
            .socket
            .dump("list interfaces", &Message::GetLink(request))?;
        Ok(answers.into_iter().filter_map(parse).collect())
    }

    /// Creates a bridge, down: no spanning tree, no forward delay, no multicast snooping.
    ///
    /// # Errors
    /// [`SysError::is_exists`] if the name is taken.
    pub fn create_bridge(&mut self, spec: &BridgeSpec<'_>) -> Result<(), SysError> {
        ifname::check(spec.name)?;
        let mut link = LinkMessage::default();
        link.attributes
            .push(LinkAttribute::IfName(spec.name.to_owned()));
        link.attributes
            .push(LinkAttribute::Mtu(u32::from(spec.mtu)));
        link.attributes
            .extend(spec.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
        link.attributes.push(bridge_settings());
        let what = format!("create bridge {}", spec.name);
        self.socket
            .execute(&what, Message::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Applies the settings of [`LinkHandle::create_bridge`] to an existing bridge.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn configure_bridge(&mut self, index: u32) -> Result<(), SysError> {
        self.change(index, "configure bridge", bridge_settings())
    }

    /// Creates a veth pair, both ends down.
    ///
    /// # Errors
    /// [`SysError::is_exists`] if one of the names is taken.
    pub fn create_veth(&mut self, spec: &VethSpec<'_>) -> Result<(), SysError> {
        ifname::check(spec.name)?;
        ifname::check(spec.peer_name)?;
        let mtu = LinkAttribute::Mtu(u32::from(spec.mtu));
        let mut peer = LinkMessage::default();
        peer.attributes
            .push(LinkAttribute::IfName(spec.peer_name.to_owned()));
        peer.attributes.push(mtu.clone());
        peer.attributes.extend(
            spec.peer_mac
                .map(|mac| LinkAttribute::Address(mac.0.to_vec())),
        );
        peer.attributes.extend(
            spec.peer_netns
                .map(|ns| LinkAttribute::NetNsFd(ns.as_fd().as_raw_fd())),
        );
        let mut link = LinkMessage::default();
        link.attributes
            .push(LinkAttribute::IfName(spec.name.to_owned()));
        link.attributes.push(mtu);
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        let what = format!("create veth pair {} and {}", spec.name, spec.peer_name);
        self.socket
            .execute(&what, Message::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Sets the interface up.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn set_up(&mut self, index: u32) -> Result<(), SysError> {
        self.set_flags(index, "set up", LinkFlags::Up, LinkFlags::Up)
    }

    /// Sets the interface down.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn set_down(&mut self, index: u32) -> Result<(), SysError> {
        self.set_flags(index, "set down", LinkFlags::empty(), LinkFlags::Up)
    }

    /// Disables ARP of the host's own stack on the interface.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn set_noarp(&mut self, index: u32) -> Result<(), SysError> {
        let noarp = LinkFlags::Noarp;
        self.set_flags(index, "switch ARP off on", noarp, noarp)
    }

    /// Makes the interface a port of the bridge `master`.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn set_master(&mut self, index: u32, master: u32) -> Result<(), SysError> {
        self.change(
            index,
            "put into its bridge",
            LinkAttribute::Controller(master),
        )
    }

    /// Removes the interface from its bridge, if it is in one.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn set_nomaster(&mut self, index: u32) -> Result<(), SysError> {
        self.change(
            index,
            "take out of its bridge",
            LinkAttribute::Controller(0),
        )
    }

    /// Sets the MTU, in bytes.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn set_mtu(&mut self, index: u32, mtu: u16) -> Result<(), SysError> {
        self.change(index, "set the MTU of", LinkAttribute::Mtu(u32::from(mtu)))
    }

    /// Sets the MAC address.
    ///
    /// # Errors
    /// The errno of the failed system call.
    pub fn set_mac(&mut self, index: u32, mac: Mac) -> Result<(), SysError> {
        self.change(
            index,
            "set the MAC of",
            LinkAttribute::Address(mac.0.to_vec()),
        )
    }

    /// Sets the alias, at most 255 bytes; an empty one removes it.
    ///
    /// # Errors
    /// The errno of the failed system call, EINVAL if it is too long.
    pub fn set_alias(&mut self, index: u32, alias: &str) -> Result<(), SysError> {
        self.change(
            index,
            "set the alias of",
            LinkAttribute::IfAlias(alias.to_owned()),
        )
    }

    /// Renames the interface, which must be down.
    ///
    /// # Errors
    /// [`SysError::is_exists`] if the name is taken, EBUSY if the interface is up.
    pub fn rename(&mut self, index: u32, name: &str) -> Result<(), SysError> {
        ifname::check(name)?;
        self.change(index, "rename", LinkAttribute::IfName(name.to_owned()))
    }

    /// Moves the interface to another namespace, keeping its name.
    ///
    /// # Errors
    /// [`SysError::is_exists`] if its name is taken there.
    pub fn move_to_netns(&mut self, index: u32, netns: impl AsFd) -> Result<(), SysError> {
        let fd = netns.as_fd().as_raw_fd();
        self.change(
            index,
            "move to another namespace",
            LinkAttribute::NetNsFd(fd),
        )
    }

    /// Deletes the interface; of a veth pair, both ends.
    ///
    /// # Errors
    /// [`SysError::is_not_found`] if it is gone.
    pub fn delete(&mut self, index: u32) -> Result<(), SysError> {
        let message = Message::DelLink(of_index(index));
        self.socket
            .execute(&format!("delete interface {index}"), message, 0)
    }

    /// Deletes the interface with that name. Returns true if there was one.
    ///
    /// # Errors
    /// The errno of the failed system call, unless the interface does not exist.
    pub fn delete_by_name(&mut self, name: &str) -> Result<bool, SysError> {
        let Some(link) = self.by_name(name)? else {
            return Ok(false);
        };
        match self.delete(link.index) {
            Ok(()) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }

    pub(super) fn change(
        &mut self,
        index: u32,
        verb: &str,
        to: LinkAttribute,
    ) -> Result<(), SysError> {
        let mut link = of_index(index);
        link.attributes.push(to);
        self.socket.execute(
            &format!("{verb} interface {index}"),
            Message::SetLink(link),
            0,
        )
    }

    fn set_flags(
        &mut self,
        index: u32,
        verb: &str,
        flags: LinkFlags,
        mask: LinkFlags,
    ) -> Result<(), SysError> {
        let mut link = of_index(index);
        link.header.flags = flags;
        link.header.change_mask = mask;
        self.socket.execute(
            &format!("{verb} interface {index}"),
            Message::SetLink(link),
            0,
        )
    }
}

fn bridge_settings() -> LinkAttribute {
    LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![
            InfoBridge::ForwardDelay(0),
            InfoBridge::StpState(BridgeStpState::Disabled),
            InfoBridge::MulticastSnooping(false),
        ])),
    ])
}

fn parse(message: Message) -> Option<LinkEntry> {
    let Message::NewLink(message) = message else {
        return None;
    };
    let mut link = LinkEntry {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        ..LinkEntry::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Controller(master) => link.master = Some(master).filter(|m| *m != 0),
            LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok().map(Mac),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
            LinkAttribute::Link(index) => link.peer_index = Some(index),
            LinkAttribute::LinkNetNsId(id) => link.peer_netns = Some(id),
            LinkAttribute::LinkInfo(infos) => parse_info(infos, &mut link),
            _ => {}
        }
    }
    Some(link)
}

fn parse_info(infos: Vec<LinkInfo>, link: &mut LinkEntry) {
    let forwards = InfoBridgePort::State(BridgePortState::Forwarding);
    for info in infos {
        match info {
            LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
            LinkInfo::PortData(InfoPortData::BridgePort(port)) => {
                link.forwarding = port.contains(&forwards);
                link.changed = PortSetting::of(&port);
            }
            _ => {}
        }
    }
}
