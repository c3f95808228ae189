//! Settings of bridge ports that differ from the kernel's defaults, and their reset.

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkInfo,
};

use super::{Netlink, of_index};
use crate::SysError;

/// Setting of a bridge port that differs from the kernel's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    words: &'static str,
    right: InfoBridgePort,
}

impl Changed {
    /// Returns the present setting in words, like `hairpin on`.
    pub fn words(&self) -> &'static str {
        self.words
    }

    /// Returns true if it is one of [`super::PortFlags`].
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

fn changed(setting: &InfoBridgePort) -> Option<Changed> {
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
    Some(Changed { words, right })
}

impl Netlink {
    /// Resets settings of a bridge port to the kernel's defaults.
    ///
    /// # Errors
    /// The errno of the failed system call, for instance if the interface is no bridge port any more.
    pub fn set_back(&mut self, index: u32, changed: &[&Changed]) -> Result<(), SysError> {
        let mut link = of_index(index);
        let settings = changed.iter().map(|c| c.right.clone()).collect();
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(settings)),
        ]));
        // Sent as RTM_NEWLINK for an existing link, because RTM_SETLINK ignores the settings of the port.
        let what = format!("reset bridge port {index}");
        self.execute(&what, Message::NewLink(link), 0)
    }
}
