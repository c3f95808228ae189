//! Flows, and the conditions under which frames of a flow may be merged.

use super::packet::{
    IPV4_HEADER, IPV6_HEADER, IpVersion, Packet, TCP_HEADER, Transport, get16, get32,
};
use crate::limits::MAX_FRAME;

pub(super) const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;
pub(super) const CWR: u8 = 0x80;

/// Flag of IPv4 that forbids fragmentation, in the fourth 16-bit word.
const DONT_FRAGMENT: u16 = 0x4000;

/// Protocol, addresses and ports. Frames of one flow stay in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    version: IpVersion,
    transport: Transport,
    ports: u32,
    addresses: [u8; 32],
}

impl Flow {
    pub(super) fn of(frame: &[u8], packet: &Packet) -> Self {
        let at = packet.network_at;
        let from = match packet.version {
            IpVersion::V4 => at + 12..at + IPV4_HEADER,
            IpVersion::V6 => at + 8..at + IPV6_HEADER,
        };
        let mut addresses = [0; 32];
        for (to, from) in addresses
            .iter_mut()
            .zip(frame.get(from).unwrap_or_default())
        {
            *to = *from;
        }
        Self {
            version: packet.version,
            transport: packet.transport,
            ports: get32(frame, packet.transport_at),
            addresses,
        }
    }
}

/// TCP or UDP frame, and the state of its checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) frame: &'a [u8],
    pub(super) packet: Packet,
    pub(super) partial: bool,
}

impl Candidate<'_> {
    /// Returns true if it may be part of a super-frame: it has payload and plain headers, and no flag that its
    /// receiver must see separately.
    pub(super) fn is_mergeable(&self) -> bool {
        let packet = &self.packet;
        packet.is_bare()
            && packet.payload_at < packet.end
            && self.frame.len() <= MAX_FRAME
            // The reserved flag would be lost.
            && (packet.version == IpVersion::V6 || self.fragment_word() & !DONT_FRAGMENT == 0)
            && match packet.transport {
                Transport::Tcp => self.tcp_flags() & (SYN | RST | ACK | URG) == ACK,
                Transport::Udp => self.partial || get16(self.frame, packet.checksum_at()) != 0,
            }
    }

    /// Returns true if others may be appended: no padding after it, and no flag that marks the last segment.
    pub(super) fn can_begin(&self) -> bool {
        self.packet.end == self.frame.len() && !self.is_last()
    }

    /// Returns true for TCP that is to be delivered at once.
    pub(super) fn is_last(&self) -> bool {
        self.packet.transport == Transport::Tcp && self.tcp_flags() & (FIN | PSH) != 0
    }

    pub(super) fn payload(&self) -> &[u8] {
        let range = self.packet.payload_at..self.packet.end;
        self.frame.get(range).unwrap_or_default()
    }

    pub(super) fn tcp_flags(&self) -> u8 {
        let [_, flags] = get16(self.frame, self.packet.transport_at + 12).to_be_bytes();
        flags
    }

    pub(super) fn sequence(&self) -> u32 {
        get32(self.frame, self.packet.transport_at + 4)
    }

    /// Returns the IPv4 identification.
    pub(super) fn id(&self) -> u16 {
        get16(self.frame, self.packet.network_at + 4)
    }

    pub(super) fn dont_fragment(&self) -> bool {
        self.fragment_word() & DONT_FRAGMENT != 0
    }

    fn fragment_word(&self) -> u16 {
        get16(self.frame, self.packet.network_at + 6)
    }

    /// Returns true if `first` has the same headers, except for fields that differ within a super-frame: lengths,
    /// checksums, identification, sequence number, and the flags of the first and the last segment.
    pub(super) fn has_headers_of(&self, first: &[u8]) -> bool {
        let packet = &self.packet;
        let same = |at: usize, len: usize| {
            let field = self.frame.get(at..at + len);
            field.is_some() && field == first.get(at..at + len)
        };
        let (network, transport) = (packet.network_at, packet.transport_at);
        let network_same = match packet.version {
            // Version, TOS; fragment word, TTL, protocol. The addresses are part of the flow.
            IpVersion::V4 => same(network, 2) && same(network + 6, 4),
            // Version, traffic class, flow label; next header, hop limit.
            IpVersion::V6 => same(network, 4) && same(network + 6, 2),
        };
        let transport_same = packet.transport == Transport::Udp || {
            let options = packet.payload_at - transport - TCP_HEADER;
            let flags = |frame| get16(frame, transport + 12) & !u16::from(FIN | PSH | CWR);
            // Acknowledgement, window, urgent pointer, options.
            same(transport + 8, 4)
                && same(transport + 14, 2)
                && same(transport + 18, 2 + options)
                && flags(self.frame) == flags(first)
        };
        same(0, network) && network_same && transport_same
    }
}
