//! Offsets of the headers of a TCP or UDP packet in its frame.
//!
//! Supports IPv4 (RFC 791) with options, but no fragments, and IPv6 (RFC 8200) with hop-by-hop, routing and
//! destination options, behind up to two VLAN tags.

use super::virtio::{Segmentation, VirtioHeader};
use crate::checksum::{fold, sum};
use crate::frame::ethernet::{self, EthernetView};

/// Most extension headers that are parsed; RFC 8200 section 4.1 lists fewer.
const MAX_EXTENSIONS: usize = 8;

const TCP: u8 = 6;
const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Length of an IPv4 header without options, in bytes.
pub(super) const IPV4_HEADER: usize = 20;
/// Length of an IPv6 header, in bytes.
pub(super) const IPV6_HEADER: usize = 40;
/// Length of a TCP header without options, in bytes.
pub(super) const TCP_HEADER: usize = 20;
/// Length of a UDP header, in bytes.
pub(super) const UDP_HEADER: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IpVersion {
    V4,
    V6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// Offsets from the start of the frame: `network_at < transport_at < payload_at <= end <= frame.len()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) version: IpVersion,
    pub(super) transport: Transport,
    pub(super) network_at: usize,
    pub(super) transport_at: usize,
    pub(super) payload_at: usize,
    /// End of the IP packet; padding may follow.
    pub(super) end: usize,
}

/// Reason why a frame has no [`Packet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTransport {
    /// Fragment of an IP packet, whose ports may be in another fragment.
    Fragment,
    /// Another protocol, or malformed.
    Other,
}

impl Packet {
    pub(super) fn parse(frame: &[u8]) -> Result<Self, NotTransport> {
        let view = EthernetView::new_checked(frame).map_err(|_| NotTransport::Other)?;
        let network_at = frame.len() - view.payload().len();
        let (version, transport_at, end, protocol) = match view.ethertype() {
            ethernet::IPV4 => ipv4(view.payload())?,
            ethernet::IPV6 => ipv6(view.payload())?,
            _ => return Err(NotTransport::Other),
        };
        let packet = view
            .payload()
            .get(transport_at..end)
            .ok_or(NotTransport::Other)?;
        let (transport, header) = match protocol {
            TCP => (Transport::Tcp, tcp_header(packet)),
            UDP => (Transport::Udp, udp_header(packet)),
            _ => return Err(NotTransport::Other),
        };
        let header = header.ok_or(NotTransport::Other)?;
        Ok(Self {
            version,
            transport,
            network_at,
            transport_at: network_at + transport_at,
            payload_at: network_at + transport_at + header,
            end: network_at + end,
        })
    }

    /// Returns the length of transport header and payload, in bytes.
    pub(super) fn transport_len(&self) -> usize {
        self.end - self.transport_at
    }

    /// Returns the offset of the checksum in the transport header.
    pub(super) fn checksum_offset(&self) -> u16 {
        match self.transport {
            Transport::Tcp => 16,
            Transport::Udp => 6,
        }
    }

    /// Returns the offset of the checksum in the frame.
    pub(super) fn checksum_at(&self) -> usize {
        self.transport_at + usize::from(self.checksum_offset())
    }

    /// Returns true if there are neither IPv4 options nor IPv6 extension headers.
    pub(super) fn is_bare(&self) -> bool {
        let header = match self.version {
            IpVersion::V4 => IPV4_HEADER,
            IpVersion::V6 => IPV6_HEADER,
        };
        self.transport_at - self.network_at == header
    }

    /// Returns the virtio header of this packet as a single partial frame.
    pub(super) fn partial_header(&self) -> VirtioHeader {
        VirtioHeader {
            needs_checksum: true,
            header_len: saturated(self.payload_at),
            checksum_start: saturated(self.transport_at),
            checksum_offset: self.checksum_offset(),
            ..VirtioHeader::PLAIN
        }
    }

    /// Returns the kind of segmentation for this packet.
    pub(super) fn segmentation(&self) -> Segmentation {
        match (self.transport, self.version) {
            (Transport::Tcp, IpVersion::V4) => Segmentation::Tcp4,
            (Transport::Tcp, IpVersion::V6) => Segmentation::Tcp6,
            (Transport::Udp, _) => Segmentation::Udp,
        }
    }

    /// Returns the folded sum of the pseudo-header without its length (RFC 9293 section 3.1, RFC 8200 section 8.1).
    pub(super) fn pseudo_sum(&self, frame: &[u8]) -> u32 {
        let addresses = match self.version {
            IpVersion::V4 => self.network_at + 12..self.network_at + 20,
            IpVersion::V6 => self.network_at + 8..self.network_at + 40,
        };
        let protocol = match self.transport {
            Transport::Tcp => TCP,
            Transport::Udp => UDP,
        };
        let addresses = sum(frame.get(addresses).unwrap_or_default());
        u32::from(fold(addresses + u32::from(protocol)))
    }
}

/// IP version, offset of the transport header, end of the packet, and protocol of the transport.
type Network = (IpVersion, usize, usize, u8);

fn ipv4(packet: &[u8]) -> Result<Network, NotTransport> {
    let header = packet
        .first_chunk::<IPV4_HEADER>()
        .ok_or(NotTransport::Other)?;
    let [version_and_words, _, l0, l1, _, _, f0, f1, _, protocol, ..] = *header;
    let header_len = usize::from(version_and_words & 0x0f) * 4;
    let end = usize::from(u16::from_be_bytes([l0, l1]));
    if version_and_words >> 4 != 4 || header_len < IPV4_HEADER || end < header_len {
        return Err(NotTransport::Other);
    }
    // A fragment: MF is set, or the offset is not 0.
    if u16::from_be_bytes([f0, f1]) & 0x3fff != 0 {
        return Err(NotTransport::Fragment);
    }
    Ok((IpVersion::V4, header_len, end, protocol))
}

fn ipv6(packet: &[u8]) -> Result<Network, NotTransport> {
    let header = packet
        .first_chunk::<IPV6_HEADER>()
        .ok_or(NotTransport::Other)?;
    let [version, _, _, _, l0, l1, mut next, ..] = *header;
    if version >> 4 != 6 {
        return Err(NotTransport::Other);
    }
    let end = IPV6_HEADER + usize::from(u16::from_be_bytes([l0, l1]));
    let mut at = IPV6_HEADER;
    for _ in 0..=MAX_EXTENSIONS {
        match next {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {}
            FRAGMENT => return Err(NotTransport::Fragment),
            protocol => return Ok((IpVersion::V6, at, end, protocol)),
        }
        let extension = packet
            .get(at..)
            .and_then(<[u8]>::first_chunk::<2>)
            .ok_or(NotTransport::Other)?;
        next = extension[0];
        at += (usize::from(extension[1]) + 1) * 8;
    }
    Err(NotTransport::Other)
}

fn tcp_header(packet: &[u8]) -> Option<usize> {
    let header = packet.first_chunk::<TCP_HEADER>()?;
    let len = usize::from(header[12] >> 4) * 4;
    (TCP_HEADER..=packet.len()).contains(&len).then_some(len)
}

fn udp_header(packet: &[u8]) -> Option<usize> {
    let header = packet.first_chunk::<UDP_HEADER>()?;
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    (len == packet.len()).then_some(UDP_HEADER)
}

/// Returns the big-endian 16-bit field at `at`; 0 if it is outside.
pub(super) fn get16(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |field| u16::from_be_bytes(*field))
}

/// Returns the big-endian 32-bit field at `at`; 0 if it is outside.
pub(super) fn get32(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |field| u32::from_be_bytes(*field))
}

/// Writes `field` at `at`; does nothing if it is outside.
pub(super) fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = field;
    }
}

/// Converts a length that is known to fit to a 16-bit field.
pub(super) fn saturated(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}
