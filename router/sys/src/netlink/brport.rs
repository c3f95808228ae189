//! Settings of bridge ports: those that differ from the kernel's defaults, their reset, and the flags of our ports.

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkInfo,
};

use super::of_index;
use super::socket::RouteSocket;
use crate::SysError;

/// Setting of a bridge port that differs from the kernel's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSetting {
    words: &'static str,
    right: InfoBridgePort,
}

impl PortSetting {
    /// Returns the present setting in words, like `hairpin on`.
    pub fn words(&self) -> &'static str {
        self.words
    }

    /// True if it is one of [`PortFlags`].
    pub fn is_port_flag(&self) -> bool {
        matches!(
            self.right,
            InfoBridgePort::Learning(_)
                | InfoBridgePort::UnicastFlood(_)
                | InfoBridgePort::MulticastFlood(_)
                | InfoBridgePort::BroadcastFlood(_)
                | InfoBridgePort::Isolated(_)
        )
    }

    /// Returns the settings that differ from those of a new port.
    pub(super) fn of(port: &[InfoBridgePort]) -> Vec<Self> {
        port.iter().filter_map(changed).collect()
    }
}

fn changed(setting: &InfoBridgePort) -> Option<PortSetting> {
    use InfoBridgePort as P;
    let (words, right) = match setting {
        P::HairpinMode(true) => ("hairpin on", P::HairpinMode(false)),
        P::Guard(true) => ("BPDU guard on", P::Guard(false)),
        P::Protect(true) => ("root block on", P::Protect(false)),
        P::FastLeave(true) => ("fast leave on", P::FastLeave(false)),
        P::Learning(false) => ("learning off", P::Learning(true)),
        P::UnicastFlood(false) => ("unicast flood off", P::UnicastFlood(true)),
        P::MulticastFlood(false) => ("multicast flood off", P::MulticastFlood(true)),
        P::BroadcastFlood(false) => ("broadcast flood off", P::BroadcastFlood(true)),
        P::ProxyARP(true) => ("proxy ARP on", P::ProxyARP(false)),
        P::ProxyARPWifi(true) => ("proxy ARP (Wi-Fi) on", P::ProxyARPWifi(false)),
        P::MulticastToUnicast(true) => ("multicast to unicast on", P::MulticastToUnicast(false)),
        P::VlanTunnel(true) => ("VLAN tunnel on", P::VlanTunnel(false)),
        P::NeighSupress(true) => ("neighbour suppression on", P::NeighSupress(false)),
        P::NeighVlanSuppress(true) => (
            "neighbour suppression by VLAN on",
            P::NeighVlanSuppress(false),
        ),
        P::Isolated(true) => ("isolated", P::Isolated(false)),
        // Reset before the setting it depends on: MAC authentication needs a locked port.
        P::Mab(true) => ("MAC authentication on", P::Mab(false)),
        P::Locked(true) => ("locked", P::Locked(false)),
        _ => return None,
    };
    Some(PortSetting { words, right })
}

/// Behaviour of a bridge at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortFlags {
    /// True to learn source addresses.
    pub learning: bool,
    /// True to send broadcasts and frames for unknown destinations there.
    pub flood: bool,
    /// True to forward nothing between it and other isolated ports.
    pub isolated: bool,
}

/// Requests about ports of bridges, like `bridge link`.
#[derive(Debug)]
pub struct BridgePortHandle<'a> {
    socket: &'a mut RouteSocket,
}

impl<'a> BridgePortHandle<'a> {
    pub(super) fn new(socket: &'a mut RouteSocket) -> Self {
        Self { socket }
    }

    /// Sets the behaviour of a bridge at one of its ports.
    ///
    /// # Errors
    /// The errno of the failed system call, for instance if the interface is no bridge port.
    pub fn set_flags(&mut self, index: u32, flags: PortFlags) -> Result<(), SysError> {
        let settings = vec![
            InfoBridgePort::Learning(flags.learning),
            InfoBridgePort::UnicastFlood(flags.flood),
            InfoBridgePort::MulticastFlood(flags.flood),
            InfoBridgePort::BroadcastFlood(flags.flood),
            InfoBridgePort::Isolated(flags.isolated),
        ];
        self.set(&format!("configure bridge port {index}"), index, settings)
    }

    /// Resets settings of a bridge port to the kernel's defaults.
    ///
    /// # Errors
    /// The errno of the failed system call, for instance if the interface is no bridge port any more.
    pub fn reset(&mut self, index: u32, changed: &[&PortSetting]) -> Result<(), SysError> {
        let settings = changed.iter().map(|c| c.right.clone()).collect();
        self.set(&format!("reset bridge port {index}"), index, settings)
    }

    fn set(
        &mut self,
        what: &str,
        index: u32,
        settings: Vec<InfoBridgePort>,
    ) -> Result<(), SysError> {
        let mut link = of_index(index);
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(settings)),
        ]));
        // Sent as RTM_NEWLINK for an existing link, because RTM_SETLINK ignores the settings of the port.
        self.socket.execute(what, Message::NewLink(link), 0)
    }
}
