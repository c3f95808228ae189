//! "Packet too big" errors to containers: ICMP type 3 code 4 (RFC 792, RFC 1191), ICMPv6 type 2 (RFC 4443 section
//! 3.2).
//!
//! A switch has no address of its own, so the error has the packet's destination as source. Its receiver identifies
//! the connection by the quoted packet, not by the source of the error.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::ethernet::{self, EthernetView};
use super::ipv4::{self, Ipv4View};
use super::ipv6::{self, Ipv6View};
use crate::checksum::checksum_of;

/// Length of an ICMP or ICMPv6 message before the quoted packet, in bytes.
const HEADER_LEN: usize = 8;
/// Longest IPv4 packet with an ICMP error, in bytes (RFC 1812 section 4.3.2.3).
const MAX_IPV4: usize = 576;
/// Time to live, or hop limit, of the packets sent.
const TTL: u8 = 64;
/// IP precedence "internetwork control" (RFC 1812 section 4.3.2.5).
const TOS: u8 = 0xc0;
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PACKET_TOO_BIG: u8 = 2;
/// ICMP errors: unreachable, source quench, redirect, time exceeded, parameter problem.
const ERRORS: [u8; 5] = [3, 4, 5, 11, 12];
/// ICMPv6 messages below this number are errors.
const FIRST_INFORMATIONAL: u8 = 128;
const REDIRECT: u8 = 137;

/// Returns the frame that reports to the sender of `frame` the MTU `mtu` for IP packets; VLAN tags are kept. The
/// caller limits the rate.
///
/// `None` if the packet does not exceed `mtu`, or if RFC 1122 section 3.2.2 or RFC 4443 section 2.4 forbid an answer:
/// no IP packet, an ICMP error, a fragment other than the first, or source or destination is not a single host. The
/// MTU reported for IPv6 is at least 1,280.
pub fn too_big(frame: &[u8], mtu: u16) -> Option<Vec<u8>> {
    let view = EthernetView::new_checked(frame).ok()?;
    if view.source().is_group() || view.destination().is_group() {
        return None;
    }
    let header_len = frame.len() - view.payload().len();
    let mut out = Vec::with_capacity(header_len + usize::from(ipv6::MIN_MTU));
    out.extend_from_slice(&view.source().0);
    out.extend_from_slice(&view.destination().0);
    out.extend_from_slice(frame.get(12..header_len)?);
    match view.ethertype() {
        ethernet::IPV4 => ipv4_too_big(view.payload(), mtu, &mut out)?,
        ethernet::IPV6 => ipv6_too_big(view.payload(), mtu, &mut out)?,
        _ => return None,
    }
    out.resize(out.len().max(ethernet::MIN_FRAME), 0);
    Some(out)
}

fn ipv4_too_big(packet: &[u8], mtu: u16, out: &mut Vec<u8>) -> Option<()> {
    let view = Ipv4View::new_checked(packet)?;
    let answerable = is_host(view.source()) && is_host(view.destination()) && view.offset() == 0;
    let is_longer = view.total_len() > usize::from(mtu);
    if !answerable || !is_longer || (view.protocol() == ipv4::ICMP && is_error(view.payload())?) {
        return None;
    }
    let quoted = quote(
        packet,
        view.total_len(),
        MAX_IPV4 - ipv4::MIN_HEADER - HEADER_LEN,
    );
    let total = u16::try_from(ipv4::MIN_HEADER + HEADER_LEN + quoted.len()).ok()?;
    let mut header = [0; ipv4::MIN_HEADER];
    header[0] = 0x45;
    header[1] = TOS;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[6..8].copy_from_slice(&ipv4::DONT_FRAGMENT.to_be_bytes());
    header[8] = TTL;
    header[9] = ipv4::ICMP;
    header[12..16].copy_from_slice(&view.destination().octets());
    header[16..20].copy_from_slice(&view.source().octets());
    let sum = checksum_of(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut icmp = [UNREACHABLE, FRAGMENTATION_NEEDED, 0, 0, 0, 0, 0, 0];
    icmp[6..8].copy_from_slice(&mtu.to_be_bytes());
    let sum = checksum_of(&[&icmp, quoted]);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(&icmp);
    out.extend_from_slice(quoted);
    Some(())
}

fn ipv6_too_big(packet: &[u8], mtu: u16, out: &mut Vec<u8>) -> Option<()> {
    let view = Ipv6View::new_checked(packet)?;
    let (source, destination) = (view.source(), view.destination());
    let mtu = mtu.max(ipv6::MIN_MTU);
    let is_longer = view.total_len() > usize::from(mtu);
    // RFC 4443 permits an answer to a multicast, too, but there is no address from which to send it.
    if !is_host_v6(source) || !is_host_v6(destination) || !is_longer {
        return None;
    }
    let (protocol, upper) = view.upper()?;
    if protocol == ipv6::ICMP && is_error_v6(upper)? {
        return None;
    }
    let room = usize::from(ipv6::MIN_MTU) - ipv6::HEADER_LEN - HEADER_LEN;
    let quoted = quote(packet, view.total_len(), room);
    let length = u16::try_from(HEADER_LEN + quoted.len()).ok()?;
    let mut header = [0; ipv6::HEADER_LEN];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&length.to_be_bytes());
    header[6] = ipv6::ICMP;
    header[7] = TTL;
    header[8..24].copy_from_slice(&destination.octets());
    header[24..40].copy_from_slice(&source.octets());
    let mut icmp = [PACKET_TOO_BIG, 0, 0, 0, 0, 0, 0, 0];
    icmp[4..8].copy_from_slice(&u32::from(mtu).to_be_bytes());
    // Pseudo-header of RFC 8200 section 8.1: addresses, length, next header.
    let (addresses, length) = (&header[8..40], &header[4..6]);
    let sum = checksum_of(&[addresses, length, &[0, ipv6::ICMP], &icmp, quoted]);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(&icmp);
    out.extend_from_slice(quoted);
    Some(())
}

/// Returns the part of the packet of `total` bytes to quote: its first `room` bytes at most.
fn quote(packet: &[u8], total: usize, room: usize) -> &[u8] {
    packet.get(..total.min(room)).unwrap_or(packet)
}

/// Returns true for the address of a single host; errors are sent only to such an address, about packets to such an
/// address.
fn is_host(ip: Ipv4Addr) -> bool {
    let reserved = ip.octets()[0] == 0 || ip.octets()[0] >= 240;
    !reserved && !ip.is_loopback() && !ip.is_multicast()
}

fn is_host_v6(ip: Ipv6Addr) -> bool {
    !ip.is_multicast() && !ip.is_unspecified() && !ip.is_loopback()
}

/// Returns true if an ICMP message is an error; `None` if it is too short to tell.
fn is_error(message: &[u8]) -> Option<bool> {
    message.first().map(|kind| ERRORS.contains(kind))
}

fn is_error_v6(message: &[u8]) -> Option<bool> {
    let kind = *message.first()?;
    Some(kind < FIRST_INFORMATIONAL || kind == REDIRECT)
}

#[cfg(test)]
#[path = "icmp_tests.rs"]
mod tests;
