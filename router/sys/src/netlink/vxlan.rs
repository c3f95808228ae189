//! VXLAN devices.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage,
};

use super::LinkHandle;
use crate::SysError;
use crate::ifname;

/// VXLAN device to be created, down: it learns nothing, and sends only to destinations in its table.
#[derive(Clone, Copy, Debug)]
pub struct VxlanSpec<'a> {
    /// Name of the device.
    pub name: &'a str,
    /// Network identifier, below 2^24.
    pub vni: u32,
    /// UDP port for receiving and sending.
    pub port: u16,
    /// Source address, which also selects IPv4 or IPv6; if it is unspecified, the host's routes choose.
    pub local: IpAddr,
    /// MTU of the inner packet, in bytes.
    pub mtu: u16,
}

impl LinkHandle<'_> {
    /// Creates a VXLAN device.
    ///
    /// # Errors
    /// [`SysError::is_exists`] if the name is taken, or the identifier at that port.
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
        self.socket
            .execute(&what, Message::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
    }
}
