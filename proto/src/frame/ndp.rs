//! Neighbour solicitations and advertisements of IPv6 (RFC 4861), without VLAN tags.
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
use crate::ids::Mac;
use crate::offload::checksum_of;

/// What is asked and told before options.
const MESSAGE_LEN: usize = 24;
const OPTION_LEN: usize = 8;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
/// The advertisement answers a solicitation.
const SOLICITED: u8 = 0x40;
/// What did not come straight from a neighbour has less, and is dropped (RFC 4861 section 7.1).
const HOP_LIMIT: u8 = 255;
/// Bytes of an advertisement with one option.
const ADVERTISEMENT_LEN: u16 = 32;
const _: () = assert!(ADVERTISEMENT_LEN as usize == MESSAGE_LEN + OPTION_LEN);
/// Bytes of an advertisement in its frame.
pub const ADVERTISEMENT_FRAME: usize =
    ethernet::HEADER_LEN + ipv6::HEADER_LEN + MESSAGE_LEN + OPTION_LEN;

/// "Who has this address?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Who asks; `::` while it looks whether an address is free (RFC 4862 section 5.4).
    pub source: Ipv6Addr,
    /// The asker's MAC address, if the message says it.
    pub source_mac: Option<Mac>,
    /// The address asked for.
    pub target: Ipv6Addr,
}

/// "This address is mine."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The address told of.
    pub target: Ipv6Addr,
    /// Where it lives, if the message says it.
    pub target_mac: Option<Mac>,
}

/// A message of neighbour discovery that is about one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdpMessage {
    /// Type 135.
    Solicitation(Solicitation),
    /// Type 136.
    Advertisement(Advertisement),
}

/// Whether an IPv6 packet looks like a message of neighbour discovery: what costs a few comparisons.
pub fn is_likely(packet: &[u8]) -> bool {
    matches!(packet.get(6..8), Some([ipv6::ICMP, HOP_LIMIT]))
        && matches!(
            packet.get(ipv6::HEADER_LEN),
            Some(&(SOLICITATION | ADVERTISEMENT))
        )
}

impl NdpMessage {
    /// The message in a frame; `None` when there is none, or one that RFC 4861 sections 7.1.1 and 7.1.2 have a receiver
    /// drop: hop limit, checksum, code, length, a target that is a group, an option of length 0.
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

/// Whether the checksum is right: the sum over pseudo-header (RFC 8200 section 8.1) and message, checksum included.
fn is_intact(packet: &Ipv6View<'_>) -> bool {
    let header = packet.header();
    let (addresses, length) = (&header[8..40], &header[4..6]);
    checksum_of(&[addresses, length, &[0, ipv6::ICMP], packet.payload()]) == 0
}

/// The link-layer address in the option of this type; `Some(None)` without such an option, `None` when options are broken.
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

/// The advertisement that answers a solicitation of `asker` (its IPv6 and MAC address): `target` lives at `mac`.
///
/// Sent for another it does not override what is known (RFC 4861 section 7.2.8).
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
