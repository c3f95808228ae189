//! ARP requests and neighbour solicitations: unicast forwarding to the announced container, and learning from frames.

use std::net::IpAddr;

use super::Announcements;
use crate::fdb::{Fdb, Owner};
use crate::frame::arp::{ArpPacket, Operation};
use crate::frame::ethernet::{self, EthernetView};
use crate::frame::ndp::{self, NdpMessage};
use crate::ids::{Mac, PeerId};
use crate::time::Instant;

/// Destination of a request that is not flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
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
struct Said {
    /// Location of an address according to the sender.
    told: Option<(IpAddr, Mac)>,
    /// Requested address, if the request may be sent to one container only.
    asked: Option<(IpAddr, Protocol)>,
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
pub fn observe(announced: &Announcements, owner: Owner, view: &EthernetView<'_>, now: Instant) {
    if let Some((ip, mac)) = said(view).told {
        announced.saw(ip, (owner, mac), now);
    }
}

/// Returns the owner of the announced address that a frame of the local port requests; also learns from the frame.
///
/// `None` if the frame is to be forwarded like any other: it is no such request; it has a VLAN tag, which records do
/// not cover; it is an address probe (RFC 5227, RFC 4862) or an announcement; its sender contradicts a record; the
/// address is behind the local port, where its owner answers, or its MAC was learnt elsewhere; or the owner did not
/// answer the same asker a moment ago.
pub fn direct(
    announced: &Announcements,
    fdb: &Fdb,
    view: &EthernetView<'_>,
    now: Instant,
) -> Option<Direction> {
    let said = said(view);
    if let Some((ip, mac)) = said.told
        && announced.saw(ip, (Owner::Local, mac), now)
    {
        return None;
    }
    let (ip, protocol) = said.asked.filter(|_| view.destination().is_group())?;
    let place = announced.place(ip, now)?;
    let Owner::Peer(peer) = place.owner else {
        return None;
    };
    let is_elsewhere = |owner| owner != place.owner;
    if fdb.lookup(place.mac, now).is_some_and(is_elsewhere) {
        return None;
    }
    let mac = place.mac;
    let direction = Direction {
        peer,
        mac,
        protocol,
    };
    announced.ask(ip, view.source(), now).then_some(direction)
}

fn said(view: &EthernetView<'_>) -> Said {
    let nothing = Said {
        told: None,
        asked: None,
    };
    if view.vlan().is_some() {
        return nothing;
    }
    if view.ethertype() == ethernet::ARP {
        return ArpPacket::from_frame(view).map_or(nothing, |packet| said_by_arp(view, packet));
    }
    NdpMessage::from_frame(view).map_or(nothing, |message| said_by_ndp(view, message))
}

fn said_by_arp(view: &EthernetView<'_>, packet: ArpPacket) -> Said {
    let (ip, mac) = (packet.sender_ip, packet.sender_mac);
    let asks = packet.operation == Operation::Request
        && !ip.is_unspecified()
        && !packet.is_gratuitous()
        && mac == view.source();
    Said {
        told: (!ip.is_unspecified()).then_some((ip.into(), mac)),
        asked: asks.then_some((packet.target_ip.into(), Protocol::Arp)),
    }
}

fn said_by_ndp(view: &EthernetView<'_>, message: NdpMessage) -> Said {
    match message {
        NdpMessage::Advertisement(told) => Said {
            // An answer to a unicast solicitation may omit the option (RFC 4861 section 4.4).
            told: Some((told.target.into(), told.target_mac.unwrap_or(view.source()))),
            asked: None,
        },
        NdpMessage::Solicitation(asked) => {
            let known = !asked.source.is_unspecified() && !asked.source.is_multicast();
            let mac = asked.source_mac.filter(|_| known);
            let asks = mac == Some(view.source());
            Said {
                told: mac.map(|mac| (asked.source.into(), mac)),
                asked: asks.then_some((asked.target.into(), Protocol::Ndp)),
            }
        }
    }
}
