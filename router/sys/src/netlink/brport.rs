//! Settings of a bridge port that somebody changed: seen with its link, and set back.

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    InfoBridgePort, InfoPortData, InfoPortKind, LinkAttribute, LinkInfo,
};

use super::Netlink;
use super::link::of_index;
use crate::SysError;

/// A setting of a bridge port that is not as the kernel makes it, and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    words: &'static str,
    right: InfoBridgePort,
}

impl Changed {
    /// How it is now, like `hairpin on`.
    pub fn words(&self) -> &'static str {
        self.words
    }

    /// Whether it is one of [`super::PortFlags`].
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

    /// What a new port does not have.
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
        // Before what it depends on: the kernel has MAC authentication with locked ports only.
        P::Mab(true) => ("MAC authentication on", P::Mab(false)),
        P::Locked(true) => ("locked", P::Locked(false)),
        _ => return None,
    };
    Some(Changed { words, right })
}

impl Netlink {
    /// Sets settings of a bridge port back to what the kernel makes.
    ///
    /// # Errors
    /// The kernel's, as when the interface is no port of a bridge any more.
    pub fn set_back(&mut self, index: u32, changed: &[&Changed]) -> Result<(), SysError> {
        let mut link = of_index(index);
        let settings = changed.iter().map(|c| c.right.clone()).collect();
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(settings)),
        ]));
        // As a new link that exists: RTM_SETLINK leaves the port's part out.
        let what = format!("set back the bridge port {index}");
        self.execute(&what, Message::NewLink(link), 0)
    }
}
