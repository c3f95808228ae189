//! IPv6 neighbour solicitations and advertisements (RFC 4861), without VLAN tags.
//!
//! ```text
//! ICMPv6 byte  0      135 solicitation, 136 advertisement
//! byte  1      code, 0               bytes 2–3    checksum
//! bytes 4–7    solicitation: reserved; advertisement: flags R, S, O in the high bits
//! bytes 8–23   target                then         options: type, length in units of 8 bytes, value
//! ```

use core::net::Ipv6Addr;

use super::ethernet::{self, EthernetView};
use super::ipv6::{self, Ipv6View};
use crate::checksum::checksum_of;
use crate::ids::Mac;

/// Length of a message before its options, in bytes.
const MESSAGE_LEN: usize = 24;
const OPTION_LEN: usize = 8;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
/// Flag S: the advertisement answers a solicitation.
const SOLICITED: u8 = 0x40;
/// Hop limit of valid messages; packets that a router forwarded have less and are dropped (RFC 4861 section 7.1).
const HOP_LIMIT: u8 = 255;
/// Length of an advertisement with one option, in bytes.
const ADVERTISEMENT_LEN: u16 = 32;
const _: () = assert!(ADVERTISEMENT_LEN as usize == MESSAGE_LEN + OPTION_LEN);
/// Length of an advertisement with its frame, in bytes.
pub const ADVERTISEMENT_FRAME: usize =
    ethernet::HEADER_LEN + ipv6::HEADER_LEN + MESSAGE_LEN + OPTION_LEN;

/// Neighbour solicitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Source address; `::` in duplicate address detection (RFC 4862 section 5.4).
    pub source: Ipv6Addr,
    /// MAC address of the source, if the option is present.
    pub source_mac: Option<Mac>,
    /// Address to be resolved.
    pub target: Ipv6Addr,
}

/// Neighbour advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// Advertised address.
    pub target: Ipv6Addr,
    /// MAC address of the target, if the option is present.
    pub target_mac: Option<Mac>,
}

/// Message of neighbour discovery about one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdpMessage {
    /// Neighbour solicitation, type 135.
    Solicitation(Solicitation),
    /// Neighbour advertisement, type 136.
    Advertisement(Advertisement),
}

/// Returns true if an IPv6 packet may be a solicitation or an advertisement; takes a few comparisons.
pub fn is_likely(packet: &[u8]) -> bool {
    matches!(packet.get(6..8), Some([ipv6::ICMP, HOP_LIMIT]))
        && matches!(
            packet.get(ipv6::HEADER_LEN),
            Some(&(SOLICITATION | ADVERTISEMENT))
        )
}

impl NdpMessage {
    /// Returns the message in a frame; `None` if there is none, or if it is invalid by RFC 4861 sections 7.1.1 and
    /// 7.1.2: hop limit, checksum, code, length, a multicast target, an option of length 0.
    pub fn from_frame(frame: &EthernetView<'_>) -> Option<Self> {
        if frame.ethertype() != ethernet::IPV6 {
            return None;
        }
        let packet = Ipv6View::new_checked(frame.payload())?;
        let [_, _, _, _, _, _, ipv6::ICMP, HOP_LIMIT, ..] = packet.header() else {
            return None;
        };
        let message = packet.payload();
        let (head, options) = message.split_first_chunk::<MESSAGE_LEN>()?;
        let [kind @ (SOLICITATION | ADVERTISEMENT), 0, ..] = *head else {
            return None;
        };
        let target = Ipv6Addr::from(*head.last_chunk::<16>()?);
        if target.is_multicast() || !is_intact(&packet) {
            return None;
        }
        if kind == ADVERTISEMENT {
            let target_mac = link_address(options, TARGET_LINK_ADDRESS)?;
            return Some(Self::Advertisement(Advertisement { target, target_mac }));
        }
        Some(Self::Solicitation(Solicitation {
            source: packet.source(),
            source_mac: link_address(options, SOURCE_LINK_ADDRESS)?,
            target,
        }))
    }
}

/// Verifies the checksum: the sum over pseudo-header (RFC 8200 section 8.1) and message, checksum included.
fn is_intact(packet: &Ipv6View<'_>) -> bool {
    let header = packet.header();
    let (addresses, length) = (&header[8..40], &header[4..6]);
    checksum_of(&[addresses, length, &[0, ipv6::ICMP], packet.payload()]) == 0
}

/// Returns the link-layer address in the option of type `wanted`; `Some(None)` without such an option, `None` if the
/// options are malformed.
#[allow(clippy::option_option)]
fn link_address(mut options: &[u8], wanted: u8) -> Option<Option<Mac>> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let length = OPTION_LEN * usize::from(units);
        let option = options.get(..length).filter(|o| !o.is_empty())?;
        if kind == wanted {
            found = option.last_chunk::<6>().filter(|_| units == 1).copied();
        }
        options = options.get(length..)?;
    }
    options.is_empty().then_some(found.map(Mac))
}

/// Returns the frame of the advertisement that answers a solicitation of `asker` (IPv6 and MAC address): `target` is
/// at `mac`.
///
/// The override flag is not set, as in a proxy advertisement (RFC 4861 section 7.2.8).
pub fn advertise(
    target: Ipv6Addr,
    mac: Mac,
    (asker, asker_mac): (Ipv6Addr, Mac),
) -> [u8; ADVERTISEMENT_FRAME] {
    const MESSAGE: usize = ethernet::HEADER_LEN + ipv6::HEADER_LEN;
    let mut message = [0; MESSAGE_LEN + OPTION_LEN];
    message[0] = ADVERTISEMENT;
    message[4] = SOLICITED;
    message[8..24].copy_from_slice(&target.octets());
    message[24..26].copy_from_slice(&[TARGET_LINK_ADDRESS, 1]);
    message[26..32].copy_from_slice(&mac.0);
    let length = ADVERTISEMENT_LEN.to_be_bytes();
    let (source, destination) = (target.octets(), asker.octets());
    let sum = checksum_of(&[&source, &destination, &length, &[0, ipv6::ICMP], &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());

    let mut frame = [0; ADVERTISEMENT_FRAME];
    frame[..6].copy_from_slice(&asker_mac.0);
    frame[6..12].copy_from_slice(&mac.0);
    frame[12..14].copy_from_slice(&ethernet::IPV6.to_be_bytes());
    frame[14] = 0x60;
    frame[18..20].copy_from_slice(&length);
    frame[20..22].copy_from_slice(&[ipv6::ICMP, HOP_LIMIT]);
    frame[22..38].copy_from_slice(&source);
    frame[38..54].copy_from_slice(&destination);
    frame[MESSAGE..].copy_from_slice(&message);
    frame
}

#[cfg(test)]
#[path = "ndp_tests.rs"]
mod tests;
