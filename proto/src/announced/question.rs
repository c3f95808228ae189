//! Which questions are answered here in the place of a container that lives elsewhere.

use std::net::IpAddr;

use super::Announcements;
use crate::fdb::{Fdb, Owner};
use crate::frame::arp::{ArpPacket, Operation};
use crate::frame::ethernet::{self, EthernetView};
use crate::frame::ndp::{self, NdpMessage};
use crate::ids::Mac;
use crate::time::Instant;

/// A frame for who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An ARP reply.
    Arp([u8; ethernet::MIN_FRAME]),
    /// A neighbour advertisement.
    Ndp([u8; ndp::ADVERTISEMENT_FRAME]),
}

/// What a frame says about addresses.
struct Said {
    /// Where its sender says an address lives.
    told: Option<(IpAddr, Mac)>,
    /// What it asks, if that can be answered for another.
    asked: Option<Question>,
}

enum Question {
    Arp(ArpPacket),
    Ndp(ndp::Solicitation),
}

impl Answer {
    /// The frame.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Arp(frame) => frame,
            Self::Ndp(frame) => frame,
        }
    }
}

/// Whether a frame may be about where addresses live: what costs a look, where all else costs two comparisons.
pub fn is_resolution(view: &EthernetView<'_>) -> bool {
    view.destination().is_group() && matches!(view.ethertype(), ethernet::ARP | ethernet::IPV6)
}

/// Notes what a frame of the mesh says about where addresses live.
pub fn observe(announced: &Announcements, view: &EthernetView<'_>, now: Instant) {
    if let Some((ip, mac)) = said(view).told {
        announced.saw(ip, mac, now);
    }
}

/// The answer to a frame of the local port that asks where an announced address lives.
///
/// `None` when the frame is to go the way of all others: it is no such question; it has a VLAN tag, of which records say
/// nothing; it asks whether an address is free (RFC 5227, RFC 4862) or tells where one is; its sender contradicts what
/// is announced; or the address is behind the local port, where it is answered by its owner, or not where the MAC table
/// has it.
pub fn answer(
    announced: &Announcements,
    fdb: &Fdb,
    view: &EthernetView<'_>,
    now: Instant,
) -> Option<Answer> {
    let said = said(view);
    if let Some((ip, mac)) = said.told
        && announced.saw(ip, mac, now)
    {
        return None;
    }
    let question = said.asked?;
    let place = announced.place(question.target(), now)?;
    let Owner::Peer(_) = place.owner else {
        return None;
    };
    match fdb.lookup(place.mac, now) {
        Some(owner) if owner == place.owner => {}
        Some(_) => return None,
        // As the answer itself would have taught.
        None => {
            fdb.learn(place.mac, place.owner, now);
        }
    }
    Some(question.answer(place.mac))
}

impl Question {
    fn target(&self) -> IpAddr {
        match self {
            Self::Arp(request) => request.target_ip.into(),
            Self::Ndp(solicitation) => solicitation.target.into(),
        }
    }

    fn answer(&self, mac: Mac) -> Answer {
        match self {
            Self::Arp(request) => {
                let reply = ArpPacket {
                    operation: Operation::Reply,
                    sender_mac: mac,
                    sender_ip: request.target_ip,
                    target_mac: request.sender_mac,
                    target_ip: request.sender_ip,
                };
                Answer::Arp(reply.to_frame(request.sender_mac))
            }
            Self::Ndp(asked) => {
                // Checked where the question was found.
                let asker = asked.source_mac.unwrap_or(Mac::BROADCAST);
                Answer::Ndp(ndp::advertise(asked.target, mac, (asked.source, asker)))
            }
        }
    }
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
        asked: asks.then_some(Question::Arp(packet)),
    }
}

fn said_by_ndp(view: &EthernetView<'_>, message: NdpMessage) -> Said {
    match message {
        NdpMessage::Advertisement(told) => Said {
            told: told.target_mac.map(|mac| (told.target.into(), mac)),
            asked: None,
        },
        NdpMessage::Solicitation(asked) => {
            let known = !asked.source.is_unspecified() && !asked.source.is_multicast();
            let mac = asked.source_mac.filter(|_| known);
            Said {
                told: mac.map(|mac| (asked.source.into(), mac)),
                asked: (mac == Some(view.source())).then_some(Question::Ndp(asked)),
            }
        }
    }
}
