//! Announcement of an address to all neighbours: gratuitous ARP (RFC 5227 section 3), unsolicited neighbour
//! advertisement (RFC 4861 section 7.2.6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mesh_proto::ids::Mac;
use nix::errno::Errno;
use pnet::packet::arp::{ArpHardwareTypes, ArpOperations, MutableArpPacket};
use pnet::packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet::packet::icmpv6::ndp::{
    MutableNdpOptionPacket, MutableNeighborAdvertPacket, NdpOptionTypes, NeighborAdvertFlags,
};
use pnet::packet::icmpv6::{Icmpv6Packet, Icmpv6Types, checksum};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv6::MutableIpv6Packet;
use pnet::util::MacAddr;

use crate::SysError;
use crate::netlink::Netlink;
use crate::socket::packet::PacketSocket;

const ETHERNET: usize = 14;
const ARP: usize = 28;
const IPV6: usize = 40;
const ADVERTISEMENT: usize = 32;

/// Announces `address` from an interface of the thread's namespace, which must be up.
///
/// # Errors
/// [`SysError::is_not_found`] if there is no such interface; EPERM without CAP_NET_RAW; ENETDOWN if it is down.
pub fn announce(interface: &str, mac: Mac, address: IpAddr) -> Result<(), SysError> {
    let link = Netlink::open()?.link().require(interface)?;
    let frame = match address {
        IpAddr::V4(v4) => gratuitous_arp(mac, v4),
        IpAddr::V6(v6) => unsolicited_advertisement(mac, v6),
    };
    frame
        .ok_or_else(|| SysError::errno(format!("announce {address}"), Errno::EINVAL))
        .and_then(|frame| PacketSocket::open(link.index, 0)?.send(&frame))
}

fn gratuitous_arp(mac: Mac, address: Ipv4Addr) -> Option<Vec<u8>> {
    let mut frame = vec![0; ETHERNET + ARP];
    let mut ethernet = MutableEthernetPacket::new(&mut frame)?;
    ethernet.set_destination(MacAddr::broadcast());
    ethernet.set_source(mac_addr(mac));
    ethernet.set_ethertype(EtherTypes::Arp);
    let mut arp = MutableArpPacket::new(frame.get_mut(ETHERNET..)?)?;
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(6);
    arp.set_proto_addr_len(4);
    arp.set_operation(ArpOperations::Request);
    arp.set_sender_hw_addr(mac_addr(mac));
    arp.set_sender_proto_addr(address);
    arp.set_target_proto_addr(address);
    Some(frame)
}

fn unsolicited_advertisement(mac: Mac, address: Ipv6Addr) -> Option<Vec<u8>> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut frame = vec![0; ETHERNET + IPV6 + ADVERTISEMENT];
    let mut ethernet = MutableEthernetPacket::new(&mut frame)?;
    ethernet.set_destination(MacAddr::new(0x33, 0x33, 0, 0, 0, 1));
    ethernet.set_source(mac_addr(mac));
    ethernet.set_ethertype(EtherTypes::Ipv6);
    let mut ip = MutableIpv6Packet::new(frame.get_mut(ETHERNET..)?)?;
    ip.set_version(6);
    ip.set_payload_length(u16::try_from(ADVERTISEMENT).ok()?);
    ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
    // Receivers drop neighbour discovery that may have been forwarded by a router (RFC 4861 section 7.1.2).
    ip.set_hop_limit(255);
    ip.set_source(address);
    ip.set_destination(all_nodes);
    let body = frame.get_mut(ETHERNET + IPV6..)?;
    let mut advertisement = MutableNeighborAdvertPacket::new(body)?;
    advertisement.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
    advertisement.set_flags(NeighborAdvertFlags::Override);
    advertisement.set_target_addr(address);
    let mut option = MutableNdpOptionPacket::new(body.get_mut(24..)?)?;
    option.set_option_type(NdpOptionTypes::TargetLLAddr);
    option.set_length(1);
    body.get_mut(26..32)?.copy_from_slice(&mac.0);
    let sum = checksum(&Icmpv6Packet::new(body)?, &address, &all_nodes);
    body.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    Some(frame)
}

fn mac_addr(mac: Mac) -> MacAddr {
    MacAddr::from(mac.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0x02, 0x6d, 10, 2, 1, 1]);

    #[test]
    fn gratuitous_arp_bytes() {
        let frame = gratuitous_arp(MAC, Ipv4Addr::new(10, 2, 1, 1)).unwrap();
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x6d, 10, 2, 1, 1, 0x08, 0x06, 0, 1, 8, 0, 6,
            4, 0, 1, 0x02, 0x6d, 10, 2, 1, 1, 10, 2, 1, 1, 0, 0, 0, 0, 0, 0, 10, 2, 1, 1,
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn advertisement_is_well_formed() {
        let address: Ipv6Addr = "fd00::5".parse().unwrap();
        let frame = unsolicited_advertisement(MAC, address).unwrap();
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
        let icmp = &frame[ETHERNET + IPV6..];
        assert_eq!(icmp[0], 136);
        assert_eq!(icmp[4], 0x20, "override, neither router nor solicited");
        assert_eq!(icmp[8..24], address.octets());
        assert_eq!(icmp[24..], [2, 1, 0x02, 0x6d, 10, 2, 1, 1]);
        // The sum over pseudo-header and message, checksum included, is all ones (RFC 1071).
        let mut pseudo = frame[ETHERNET + 8..ETHERNET + IPV6].to_vec();
        pseudo.extend([0, 0, 0, 32, 0, 0, 0, 58]);
        pseudo.extend(icmp);
        let sum: u32 = pseudo
            .chunks(2)
            .map(|c| u32::from(u16::from_be_bytes([c[0], c[1]])))
            .sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}
