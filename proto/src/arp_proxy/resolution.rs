//! ARP requests and neighbour solicitations: unicast forwarding to the announced container, and learning from frames.

use std::net::IpAddr;

use super::ArpProxy;
use crate::fdb::{Fdb, Owner};
use crate::frame::arp::{ArpPacket, Operation};
use crate::frame::ethernet::{self, EthernetView};
use crate::frame::ndp::{self, NdpMessage};
use crate::ids::{Mac, PeerId};
use crate::time::Instant;

/// Destination of a request that is not flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnicastTarget {
    /// Router that announces the address.
    pub peer: PeerId,
    /// Announced MAC, which becomes the destination of the frame.
    pub mac: Mac,
    /// Protocol of the request.
    pub protocol: Protocol,
}

/// Protocol of address resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// ARP, for IPv4.
    Arp,
    /// Neighbour discovery, for IPv6.
    Ndp,
}

/// Content of a frame about addresses.
struct ResolutionContent {
    /// Location of an address according to the sender.
    sender: Option<(IpAddr, Mac)>,
    /// Requested address, if the request may be sent to one container only.
    target: Option<(IpAddr, Protocol)>,
}

/// Returns true if the frame may be ARP or ND; takes a few comparisons.
pub fn is_resolution(view: &EthernetView<'_>) -> bool {
    match view.ethertype() {
        ethernet::ARP => true,
        ethernet::IPV6 => ndp::is_likely(view.payload()),
        _ => false,
    }
}

/// Learns the locations of addresses from a frame of `owner`.
pub fn observe(arp_proxy: &ArpProxy, owner: Owner, view: &EthernetView<'_>, now: Instant) {
    if let Some((ip, mac)) = content(view).sender {
        arp_proxy.saw(ip, (owner, mac), now);
    }
}

/// Returns the owner of the announced address that a frame of the local port requests; also learns from the frame.
///
/// `None` if the frame is to be forwarded like any other: it is no such request; it has a VLAN tag, which records do
/// not cover; it is an address probe (RFC 5227, RFC 4862) or an announcement; its sender contradicts a record; the
/// address is behind the local port, where its owner answers, or its MAC was learnt elsewhere; or the owner did not
/// answer the same asker a moment ago.
pub fn direct(
    arp_proxy: &ArpProxy,
    fdb: &Fdb,
    view: &EthernetView<'_>,
    now: Instant,
) -> Option<UnicastTarget> {
    let content = content(view);
    if let Some((ip, mac)) = content.sender
        && arp_proxy.saw(ip, (Owner::Local, mac), now)
    {
        return None;
    }
    let (ip, protocol) = content.target.filter(|_| view.destination().is_group())?;
    let location = arp_proxy.locate(ip, now)?;
    let Owner::Peer(peer) = location.owner else {
        return None;
    };
    let is_elsewhere = |owner| owner != location.owner;
    if fdb.lookup(location.mac, now).is_some_and(is_elsewhere) {
        return None;
    }
    let mac = location.mac;
    let target = UnicastTarget {
        peer,
        mac,
        protocol,
    };
    arp_proxy.ask(ip, view.source(), now).then_some(target)
}

fn content(view: &EthernetView<'_>) -> ResolutionContent {
    let nothing = ResolutionContent {
        sender: None,
        target: None,
    };
    if view.vlan().is_some() {
        return nothing;
    }
    if view.ethertype() == ethernet::ARP {
        return ArpPacket::from_frame(view).map_or(nothing, |packet| arp_content(view, packet));
    }
    NdpMessage::from_frame(view).map_or(nothing, |message| ndp_content(view, message))
}

fn arp_content(view: &EthernetView<'_>, packet: ArpPacket) -> ResolutionContent {
    let (ip, mac) = (packet.sender_ip, packet.sender_mac);
    let asks = packet.operation == Operation::Request
        && !ip.is_unspecified()
        && !packet.is_gratuitous()
        && mac == view.source();
    ResolutionContent {
        sender: (!ip.is_unspecified()).then_some((ip.into(), mac)),
        target: asks.then_some((packet.target_ip.into(), Protocol::Arp)),
    }
}

fn ndp_content(view: &EthernetView<'_>, message: NdpMessage) -> ResolutionContent {
    match message {
        NdpMessage::Advertisement(told) => ResolutionContent {
            // An answer to a unicast solicitation may omit the option (RFC 4861 section 4.4).
            sender: Some((told.target.into(), told.target_mac.unwrap_or(view.source()))),
            target: None,
        },
        NdpMessage::Solicitation(asked) => {
            let known = !asked.source.is_unspecified() && !asked.source.is_multicast();
            let mac = asked.source_mac.filter(|_| known);
            let asks = mac == Some(view.source());
            ResolutionContent {
                sender: mac.map(|mac| (asked.source.into(), mac)),
                target: asks.then_some((asked.target.into(), Protocol::Ndp)),
            }
        }
    }
}
