//! Which questions go to one container instead of to everybody, and what frames say of addresses.

use std::net::IpAddr;

use super::Announcements;
use crate::fdb::{Fdb, Owner};
use crate::frame::arp::{ArpPacket, Operation};
use crate::frame::ethernet::{self, EthernetView};
use crate::frame::ndp::{self, NdpMessage};
use crate::ids::{Mac, PeerId};
use crate::time::Instant;

/// The one router that a question goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// The router that announces the address.
    pub peer: PeerId,
    /// The MAC that it announces, which becomes the destination of the frame.
    pub mac: Mac,
    /// How the question is put.
    pub protocol: Protocol,
}

/// How an address is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// ARP, for IPv4.
    Arp,
    /// Neighbour discovery, for IPv6.
    Ndp,
}

/// What a frame says about addresses.
struct Said {
    /// Where its sender says an address lives.
    told: Option<(IpAddr, Mac)>,
    /// Which address it asks for, if one container alone can be asked.
    asked: Option<(IpAddr, Protocol)>,
}

/// Whether a frame may be about where addresses live: what costs a look, where all else costs a few comparisons.
pub fn is_resolution(view: &EthernetView<'_>) -> bool {
    match view.ethertype() {
        ethernet::ARP => true,
        ethernet::IPV6 => ndp::is_likely(view.payload()),
        _ => false,
    }
}

/// Notes what a frame that came from `owner` says about where addresses live.
pub fn observe(announced: &Announcements, owner: Owner, view: &EthernetView<'_>, now: Instant) {
    if let Some((ip, mac)) = said(view).told {
        announced.saw(ip, (owner, mac), now);
    }
}

/// The owner of the announced address that a frame of the local port asks everybody for; notes what the frame says.
///
/// `None` when the frame is to go the way of all others: it is no such question; it has a VLAN tag, of which records say
/// nothing; it asks whether an address is free (RFC 5227, RFC 4862) or tells where one is; its sender contradicts what
/// is announced; the address is behind the local port, where it is answered by its owner, or not where the MAC table
/// has it; or the owner did not answer the same asker a moment ago.
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
            // The owner that answers a question to one MAC need not say it again (RFC 4861 section 4.4).
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
