//! VXLAN devices, and what a bridge does at one of its ports.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVxlan, LinkAttribute,
    LinkInfo, LinkMessage,
};

use super::Netlink;
use super::link::of_index;
use crate::{SysError, ifname};

/// A VXLAN device to make, down: it learns nothing, and sends to nobody but whom its table names.
#[derive(Clone, Copy, Debug)]
pub struct VxlanSpec<'a> {
    /// Name.
    pub name: &'a str,
    /// Network identifier, below 2^24.
    pub vni: u32,
    /// UDP port it receives at and sends to.
    pub port: u16,
    /// The address it sends from, which also says whether it speaks IPv4 or IPv6; if unspecified, the host's routes
    /// choose.
    pub local: IpAddr,
    /// MTU in bytes, of the inner packet.
    pub mtu: u16,
}

/// What a bridge does at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFlags {
    /// Learn where source addresses are.
    pub learning: bool,
    /// Send frames for everybody, and for unknown destinations, out there.
    pub flood: bool,
    /// Pass nothing on between it and other isolated ports.
    pub isolated: bool,
}

impl Netlink {
    /// Makes a VXLAN device.
    ///
    /// # Errors
    /// [`SysError::is_exists`] when the name is taken, or the identifier at that port.
    pub fn create_vxlan(&mut self, spec: &VxlanSpec<'_>) -> Result<(), SysError> {
        ifname::check(spec.name)?;
        let mut data = vec![
            InfoVxlan::Id(spec.vni),
            InfoVxlan::Port(spec.port),
            InfoVxlan::Learning(false),
        ];
        match spec.local {
            IpAddr::V4(v4) if v4.is_unspecified() => {}
            IpAddr::V4(v4) => data.push(InfoVxlan::Local(v4)),
            IpAddr::V6(v6) => data.push(InfoVxlan::Local6(v6)),
        }
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::IfName(spec.name.to_owned()),
            LinkAttribute::Mtu(u32::from(spec.mtu)),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vxlan),
                LinkInfo::Data(InfoData::Vxlan(data)),
            ]),
        ];
        let what = format!("create VXLAN device {}", spec.name);
        self.execute(&what, Message::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Says what the bridge does at a port of it.
    ///
    /// # Errors
    /// The kernel's, as when the interface is no port of a bridge.
    pub fn set_port_flags(&mut self, index: u32, flags: PortFlags) -> Result<(), SysError> {
        let mut link = of_index(index);
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![
                InfoBridgePort::Learning(flags.learning),
                InfoBridgePort::UnicastFlood(flags.flood),
                InfoBridgePort::MulticastFlood(flags.flood),
                InfoBridgePort::BroadcastFlood(flags.flood),
                InfoBridgePort::Isolated(flags.isolated),
            ])),
        ]));
        // As a new link that exists: RTM_SETLINK leaves the port's part out.
        let what = format!("configure bridge port {index}");
        self.execute(&what, Message::NewLink(link), 0)
    }
}
