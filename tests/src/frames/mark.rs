//! Mark of a frame: printable, so that it can be part of a name.

use std::fmt;

use anyhow::{Context as _, Result};

/// First bytes of a mark.
const MAGIC: &[u8; 7] = b"MESHISO";

/// Kind of an injected frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameKind {
    /// UDP to the MAC and address of a container of the own network.
    UnicastOwn,
    /// UDP to the MAC and address of a container of another network.
    UnicastForeign,
    /// UDP to everybody.
    Broadcast,
    /// UDP to a multicast group.
    Multicast,
    /// ARP request, to everybody, for an address of another network.
    ArpRequest,
    /// The same, with the MAC and address of another network as its sender.
    ArpSpoofed,
    /// ARP announcement of an address and MAC of another network.
    ArpAnnouncement,
    /// ARP request to the MAC of another network.
    ArpUnicast,
    /// Neighbour solicitation for the link-local address of another network.
    NdSolicitation,
    /// Neighbour advertisement with the link-local address and MAC of another network.
    NdAdvertisement,
    /// UDP to a MAC of another network, with a VLAN tag.
    VlanUnicast,
    /// UDP to everybody, with a VLAN tag.
    VlanBroadcast,
    /// UDP between two containers of another network, as if it came from one of them.
    SpoofedForeign,
    /// UDP to the own network, from a MAC and address of another one.
    SpoofedOwn,
    /// UDP to everybody, from a MAC and address of another network.
    SpoofedBroadcast,
    /// DNS question to a MAC and address of another network.
    DnsUnicast,
    /// DNS question to everybody.
    DnsBroadcast,
    /// DNS question to the group of multicast DNS.
    DnsMulticast,
    /// DHCP discover.
    Dhcp,
    /// A frame to a MAC that nobody has.
    UnknownUnicast,
}

impl FrameKind {
    /// All kinds.
    pub const ALL: [Self; 20] = [
        Self::UnicastOwn,
        Self::UnicastForeign,
        Self::Broadcast,
        Self::Multicast,
        Self::ArpRequest,
        Self::ArpSpoofed,
        Self::ArpAnnouncement,
        Self::ArpUnicast,
        Self::NdSolicitation,
        Self::NdAdvertisement,
        Self::VlanUnicast,
        Self::VlanBroadcast,
        Self::SpoofedForeign,
        Self::SpoofedOwn,
        Self::SpoofedBroadcast,
        Self::DnsUnicast,
        Self::DnsBroadcast,
        Self::DnsMulticast,
        Self::Dhcp,
        Self::UnknownUnicast,
    ];

    fn letter(self) -> u8 {
        let at = Self::ALL.iter().position(|kind| *kind == self);
        b'A'.saturating_add(at.and_then(|at| u8::try_from(at).ok()).unwrap_or_default())
    }

    fn of_letter(letter: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.letter() == letter)
    }
}

/// Origin of a frame. Networks and hosts are numbered by the test, from 0 to 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameMark {
    /// Network of the sender.
    pub network: u8,
    /// Host of the sender.
    pub host: u8,
    /// Kind of the frame.
    pub kind: FrameKind,
}

impl FrameMark {
    /// Bytes of a mark.
    pub const LENGTH: usize = MAGIC.len() + 3;

    /// Returns the bytes, all of them letters and digits.
    pub fn bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [b'0'; Self::LENGTH];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[MAGIC.len()] += self.network;
        bytes[MAGIC.len() + 1] += self.host;
        bytes[MAGIC.len() + 2] = self.kind.letter();
        bytes
    }

    /// Returns the first mark in a frame.
    pub fn find(frame: &[u8]) -> Option<Self> {
        let at = frame.windows(MAGIC.len()).position(|part| part == MAGIC)?;
        match frame.get(at + MAGIC.len()..at + Self::LENGTH)? {
            [network, host, kind] => Some(Self {
                network: network.checked_sub(b'0')?,
                host: host.checked_sub(b'0')?,
                kind: FrameKind::of_letter(*kind)?,
            }),
            _ => None,
        }
    }

    /// Parses the text that `Display` writes.
    ///
    /// # Errors
    /// It is no such text.
    pub fn parse(text: &str) -> Result<Self> {
        Self::find(&[MAGIC, text.as_bytes()].concat())
            .with_context(|| format!("'{text}' is no mark"))
    }
}

impl fmt::Display for FrameMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = char::from(self.kind.letter());
        write!(f, "{}{}{letter}", self.network, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_in_a_frame_and_survives_its_text() {
        for (n, kind) in FrameKind::ALL.into_iter().enumerate() {
            let network = u8::try_from(n % 10).unwrap();
            let mark = FrameMark {
                network,
                host: 3,
                kind,
            };
            let frame = [&[0; 42], &mark.bytes()[..], b"and more"].concat();
            assert_eq!(FrameMark::find(&frame), Some(mark));
            assert_eq!(FrameMark::find(&frame[..42 + FrameMark::LENGTH - 1]), None);
            assert_eq!(FrameMark::parse(&mark.to_string()).unwrap(), mark);
        }
        assert_eq!(FrameMark::find(b"MESHIS011A"), None);
        assert!(FrameMark::parse("").is_err());
    }
}
