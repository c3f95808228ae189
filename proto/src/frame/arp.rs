//! ARP for IPv4 over Ethernet (RFC 826), with address probes and announcements (RFC 5227).
//!
//! ```text
//! bytes 0–1    hardware type, 1          bytes 8–13   sender MAC
//! bytes 2–3    protocol type, 0x0800     bytes 14–17  sender IPv4 address
//! byte  4      hardware length, 6        bytes 18–23  target MAC
//! byte  5      protocol length, 4        bytes 24–27  target IPv4 address
//! bytes 6–7    operation: 1 request, 2 reply
//! ```

use core::net::Ipv4Addr;

use super::ethernet::{self, EthernetView};
use crate::ids::Mac;

/// Length of an ARP packet for IPv4 over Ethernet, in bytes.
pub const PACKET_LEN: usize = 28;

const FIXED: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];

/// Operation of an ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Request for the MAC of the target address.
    Request,
    /// Reply to a request.
    Reply,
}

/// Decoded ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArpPacket {
    /// Operation.
    pub operation: Operation,
    /// MAC address of the sender.
    pub sender_mac: Mac,
    /// IP address of the sender; unspecified in an address probe.
    pub sender_ip: Ipv4Addr,
    /// MAC address of the target; meaningless in a request.
    pub target_mac: Mac,
    /// IP address of the target.
    pub target_ip: Ipv4Addr,
}

impl ArpPacket {
    /// Returns the ARP packet in `frame`; `None` if it has none for IPv4 over Ethernet.
    pub fn from_frame(frame: &EthernetView<'_>) -> Option<Self> {
        if frame.ethertype() != ethernet::ARP {
            return None;
        }
        Self::parse(frame.payload())
    }

    /// Decodes the payload of an ARP frame; bytes after the packet are padding.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let packet = payload.first_chunk::<PACKET_LEN>()?;
        let rest = packet.strip_prefix(&FIXED)?;
        let (operation, rest) = rest.split_first_chunk()?;
        let operation = match u16::from_be_bytes(*operation) {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return None,
        };
        let (sender_mac, rest) = rest.split_first_chunk()?;
        let (sender_ip, rest) = rest.split_first_chunk::<4>()?;
        let (target_mac, rest) = rest.split_first_chunk()?;
        let target_ip = rest.first_chunk::<4>()?;
        Some(Self {
            operation,
            sender_mac: Mac(*sender_mac),
            sender_ip: Ipv4Addr::from(*sender_ip),
            target_mac: Mac(*target_mac),
            target_ip: Ipv4Addr::from(*target_ip),
        })
    }

    /// Creates the ARP announcement of `ip` at `mac`: a request for `ip` from `ip` (RFC 5227 section 2.3).
    pub fn announcement(mac: Mac, ip: Ipv4Addr) -> Self {
        Self {
            operation: Operation::Request,
            sender_mac: mac,
            sender_ip: ip,
            target_mac: Mac([0; 6]),
            target_ip: ip,
        }
    }

    /// Returns true for gratuitous ARP, request or reply, which announces the sender's address.
    pub fn is_gratuitous(&self) -> bool {
        self.sender_ip == self.target_ip && !self.sender_ip.is_unspecified()
    }

    /// Encodes the packet as a padded Ethernet frame from its sender to `destination`.
    pub fn to_frame(&self, destination: Mac) -> [u8; ethernet::MIN_FRAME] {
        let operation: u16 = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        let mut frame = [0; ethernet::MIN_FRAME];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&destination.0);
        put(&self.sender_mac.0);
        put(&ethernet::ARP.to_be_bytes());
        put(&FIXED);
        put(&operation.to_be_bytes());
        put(&self.sender_mac.0);
        put(&self.sender_ip.octets());
        put(&self.target_mac.0);
        put(&self.target_ip.octets());
        frame
    }
}

/// Returns a broadcast frame that announces `ip` at `mac`.
pub fn gratuitous_arp(mac: Mac, ip: Ipv4Addr) -> [u8; ethernet::MIN_FRAME] {
    ArpPacket::announcement(mac, ip).to_frame(Mac::BROADCAST)
}

#[cfg(test)]
mod tests {
    use pnet::packet::Packet;
    use pnet::packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket as PnetArp};
    use pnet::packet::ethernet::{EtherTypes, EthernetPacket};
    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = Mac([0x02, 0x6d, 10, 2, 1, 1]);
    const IP: Ipv4Addr = Ipv4Addr::new(10, 2, 1, 1);

    #[test]
    fn pnet_reads_our_announcement() {
        let frame = gratuitous_arp(MAC, IP);
        let ethernet = EthernetPacket::new(&frame).unwrap();
        assert_eq!(ethernet.get_ethertype(), EtherTypes::Arp);
        assert_eq!(<[u8; 6]>::from(ethernet.get_destination()), [0xff; 6]);
        assert_eq!(<[u8; 6]>::from(ethernet.get_source()), MAC.0);
        let arp = PnetArp::new(ethernet.payload()).unwrap();
        assert_eq!(arp.get_hardware_type(), ArpHardwareTypes::Ethernet);
        assert_eq!(arp.get_protocol_type(), EtherTypes::Ipv4);
        assert_eq!(arp.get_operation(), ArpOperations::Request);
        assert_eq!(
            (arp.get_sender_proto_addr(), arp.get_target_proto_addr()),
            (IP, IP)
        );
        assert_eq!(<[u8; 6]>::from(arp.get_sender_hw_addr()), MAC.0);
        assert_eq!(<[u8; 6]>::from(arp.get_target_hw_addr()), [0; 6]);
    }

    #[test]
    fn only_announcements_are_gratuitous() {
        let announcement = ArpPacket::announcement(MAC, IP);
        assert!(announcement.is_gratuitous());
        let question = ArpPacket {
            target_ip: Ipv4Addr::new(10, 2, 1, 2),
            ..announcement
        };
        assert!(!question.is_gratuitous());
        // An address probe (RFC 5227) has no sender address yet.
        let probe = ArpPacket {
            sender_ip: Ipv4Addr::UNSPECIFIED,
            ..question
        };
        assert!(!probe.is_gratuitous());
    }

    #[test]
    fn arp_for_other_protocols_is_refused() {
        let frame = gratuitous_arp(MAC, IP);
        let good = &frame[ethernet::HEADER_LEN..];
        assert!(ArpPacket::parse(good).is_some());
        for len in 0..PACKET_LEN {
            assert_eq!(ArpPacket::parse(&good[..len]), None);
        }
        for at in 0..8 {
            let mut bad = good.to_vec();
            bad[at] ^= 0x10;
            assert_eq!(ArpPacket::parse(&bad), None, "{at}");
        }
        let mut other = frame;
        other[13] = 0x00;
        let view = EthernetView::new_checked(&other).unwrap();
        assert_eq!(ArpPacket::from_frame(&view), None);
    }

    proptest! {
        #[test]
        fn packets_survive(reply: bool, macs: [[u8; 6]; 3], ips: [u32; 2]) {
            let packet = ArpPacket {
                operation: if reply { Operation::Reply } else { Operation::Request },
                sender_mac: Mac(macs[0]),
                sender_ip: ips[0].into(),
                target_mac: Mac(macs[1]),
                target_ip: ips[1].into(),
            };
            let frame = packet.to_frame(Mac(macs[2]));
            let view = EthernetView::new_checked(&frame).unwrap();
            prop_assert_eq!(ArpPacket::from_frame(&view), Some(packet));
            prop_assert_eq!((view.source(), view.destination()), (packet.sender_mac, Mac(macs[2])));
        }

        #[test]
        fn agrees_with_pnet(mut bytes in prop::collection::vec(any::<u8>(), 0..60), operation in 0u8..4) {
            if let Some(head) = bytes.get_mut(..8) {
                head[..6].copy_from_slice(&FIXED);
                head[6..].copy_from_slice(&[0, operation]);
            }
            let theirs = PnetArp::new(&bytes).filter(|_| matches!(operation, 1 | 2));
            let ours = ArpPacket::parse(&bytes);
            prop_assert_eq!(ours.is_some(), theirs.is_some());
            let (Some(ours), Some(theirs)) = (ours, theirs) else { return Ok(()) };
            prop_assert_eq!(ours.sender_mac.0, <[u8; 6]>::from(theirs.get_sender_hw_addr()));
            prop_assert_eq!(ours.target_mac.0, <[u8; 6]>::from(theirs.get_target_hw_addr()));
            prop_assert_eq!((ours.sender_ip, ours.target_ip), (theirs.get_sender_proto_addr(), theirs.get_target_proto_addr()));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(view) = EthernetView::new_checked(&bytes) {
                let _ = ArpPacket::from_frame(&view);
            }
        }
    }
}
