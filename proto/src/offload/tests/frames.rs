//! Frames of every kind, built field by field, with checksums by pnet, for comparison with the code under test.

use std::net::{Ipv4Addr, Ipv6Addr};

use pnet::packet::ipv4::{self, Ipv4Packet};
use pnet::packet::tcp::{self, TcpPacket};
use pnet::packet::udp::{self, UdpPacket};
use pnet::util::{ipv4_checksum, ipv6_checksum};
use proptest::prelude::*;

use crate::offload::virtio::{Segmentation, VirtioHeader};

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
pub(super) const URG: u8 = 0x20;
pub(super) const ECE: u8 = 0x40;
pub(super) const CWR: u8 = 0x80;

/// Longest frame of the mesh at its default MTU.
pub(super) const MAX: usize = 1_390;

/// All properties of a frame except its payload.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) tcp: bool,
    pub(super) v6: bool,
    pub(super) vlans: Vec<u16>,
    /// IPv4 options or IPv6 extension headers; the kind of the first of those, and the bytes, see `extended`.
    pub(super) extra: Vec<u8>,
    pub(super) first_extra: u8,
    pub(super) options: Vec<u8>,
    pub(super) ports: [u16; 2],
    pub(super) tos: u8,
    pub(super) ttl: u8,
    pub(super) df: bool,
    pub(super) id: u16,
    pub(super) sequence: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
}

impl Shape {
    pub(super) fn tcp4() -> Self {
        Self {
            tcp: true,
            v6: false,
            vlans: Vec::new(),
            extra: Vec::new(),
            first_extra: 0,
            options: Vec::new(),
            ports: [40_000, 5_201],
            tos: 0,
            ttl: 64,
            df: true,
            id: 65_530,
            sequence: u32::MAX - 2_000,
            ack: 77,
            flags: ACK,
            window: 500,
        }
    }

    pub(super) fn udp4() -> Self {
        Self {
            tcp: false,
            ..Self::tcp4()
        }
    }

    pub(super) fn v6(self) -> Self {
        Self { v6: true, ..self }
    }

    pub(super) fn with_flags(&self, flags: u8) -> Self {
        Self {
            flags,
            ..self.clone()
        }
    }

    /// Returns the shape of the `n`-th segment, `offset` bytes further on.
    pub(super) fn later(&self, n: usize, offset: usize) -> Self {
        Self {
            id: self.id.wrapping_add(short(n)),
            sequence: self.sequence.wrapping_add(u32::try_from(offset).unwrap()),
            ..self.clone()
        }
    }

    /// Adds IPv4 options or IPv6 extension headers.
    pub(super) fn extended(mut self) -> Self {
        if self.v6 {
            let next = if self.tcp { 6 } else { 17 };
            self.first_extra = 0;
            // Hop-by-hop (PadN), routing (no segments left), 16 bytes of destination options.
            self.extra = [[43, 0, 1, 4, 0, 0, 0, 0], [60, 0, 4, 0, 0, 0, 0, 0]].concat();
            self.extra.extend([next, 1, 1, 12]);
            self.extra.extend([0; 12]);
        } else {
            self.extra = vec![148, 4, 0, 0, 1, 1, 1, 0];
        }
        self
    }

    pub(super) fn network_at(&self) -> usize {
        14 + 4 * self.vlans.len()
    }

    pub(super) fn transport_at(&self) -> usize {
        self.network_at() + if self.v6 { 40 } else { 20 } + self.extra.len()
    }

    pub(super) fn payload_at(&self) -> usize {
        self.transport_at() + if self.tcp { 20 + self.options.len() } else { 8 }
    }

    pub(super) fn checksum_at(&self) -> usize {
        self.transport_at() + if self.tcp { 16 } else { 6 }
    }

    fn protocol(&self) -> u8 {
        if self.tcp { 6 } else { 17 }
    }

    fn v4_addresses() -> (Ipv4Addr, Ipv4Addr) {
        (Ipv4Addr::new(10, 2, 1, 1), Ipv4Addr::new(10, 2, 1, 2))
    }

    fn v6_addresses() -> (Ipv6Addr, Ipv6Addr) {
        let low = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
        (low, Ipv6Addr::new(0xfd00, 1, 2, 3, 4, 5, 6, 7))
    }

    fn network_header(&self, transport_len: usize) -> Vec<u8> {
        if self.v6 {
            let len = short(transport_len + self.extra.len());
            let next = if self.extra.is_empty() {
                self.protocol()
            } else {
                self.first_extra
            };
            let (from, to) = Self::v6_addresses();
            let mut header = vec![0x60 | self.tos >> 4, self.tos << 4, 0x12, 0x34];
            header.extend(len.to_be_bytes());
            header.extend([next, self.ttl]);
            header.extend([from.octets(), to.octets()].concat());
            header.extend(&self.extra);
            return header;
        }
        let words = 5 + self.extra.len() / 4;
        let len = short(words * 4 + transport_len);
        let (from, to) = Self::v4_addresses();
        let mut header = vec![0x40 | byte(words), self.tos];
        header.extend(len.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend([
            if self.df { 0x40 } else { 0 },
            0,
            self.ttl,
            self.protocol(),
            0,
            0,
        ]);
        header.extend([from.octets(), to.octets()].concat());
        header.extend(&self.extra);
        let sum = ipv4::checksum(&Ipv4Packet::new(&header).unwrap());
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }

    fn transport_header(&self, payload: usize) -> Vec<u8> {
        let [from, to] = self.ports.map(u16::to_be_bytes);
        let mut header = [from, to].concat();
        if self.tcp {
            header.extend(self.sequence.to_be_bytes());
            header.extend(self.ack.to_be_bytes());
            let words = (20 + self.options.len()) / 4;
            header.extend([byte(words << 4), self.flags]);
            header.extend(self.window.to_be_bytes());
            header.extend([0; 4]);
            header.extend(&self.options);
        } else {
            header.extend(short(8 + payload).to_be_bytes());
            header.extend([0; 2]);
        }
        header
    }

    /// Returns the frame without a transport checksum.
    fn bare(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for vlan in &self.vlans {
            frame.extend([0x81, 0]);
            frame.extend(vlan.to_be_bytes());
        }
        frame.extend(if self.v6 { [0x86, 0xdd] } else { [8, 0] });
        let transport = self.transport_header(payload.len());
        frame.extend(self.network_header(transport.len() + payload.len()));
        frame.extend(transport);
        frame.extend(payload);
        frame
    }

    /// Returns the complete frame.
    pub(super) fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = self.bare(payload);
        let sum = self.expected_checksum(&frame);
        let at = self.checksum_at();
        frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    /// Returns the frame with the sum of the pseudo-header as checksum.
    pub(super) fn partial(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = self.bare(payload);
        let len = frame.len() - self.transport_at();
        // The checksum of an empty payload is that of the pseudo-header with length 0.
        let none = if self.v6 {
            let (from, to) = Self::v6_addresses();
            ipv6_checksum(&[], 0, &[], &from, &to, pnet_protocol(self.protocol()))
        } else {
            let (from, to) = Self::v4_addresses();
            ipv4_checksum(&[], 0, &[], &from, &to, pnet_protocol(self.protocol()))
        };
        let sum = usize::from(!none) + len;
        let folded = short((sum & 0xffff) + (sum >> 16));
        let at = self.checksum_at();
        frame[at..at + 2].copy_from_slice(&folded.to_be_bytes());
        frame
    }

    /// Returns the transport checksum of this frame, computed by pnet.
    pub(super) fn expected_checksum(&self, frame: &[u8]) -> u16 {
        let packet = &frame[self.transport_at()..];
        let (from4, to4) = Self::v4_addresses();
        let (from6, to6) = Self::v6_addresses();
        if self.tcp {
            let packet = TcpPacket::new(packet).unwrap();
            return if self.v6 {
                tcp::ipv6_checksum(&packet, &from6, &to6)
            } else {
                tcp::ipv4_checksum(&packet, &from4, &to4)
            };
        }
        let packet = UdpPacket::new(packet).unwrap();
        let sum = if self.v6 {
            udp::ipv6_checksum(&packet, &from6, &to6)
        } else {
            udp::ipv4_checksum(&packet, &from4, &to4)
        };
        if sum == 0 { 0xffff } else { sum }
    }

    /// Returns the virtio header of its super-frame.
    pub(super) fn header(&self, segment_size: usize) -> VirtioHeader {
        VirtioHeader {
            needs_checksum: true,
            segmentation: match (self.tcp, self.v6) {
                (true, false) => Segmentation::Tcp4,
                (true, true) => Segmentation::Tcp6,
                (false, _) => Segmentation::Udp,
            },
            ecn: self.tcp && self.flags & CWR != 0,
            header_len: short(self.payload_at()),
            segment_size: short(segment_size),
            checksum_start: short(self.transport_at()),
            checksum_offset: if self.tcp { 16 } else { 6 },
        }
    }

    /// Returns the virtio header of a partial frame.
    pub(super) fn partial_header(&self) -> VirtioHeader {
        VirtioHeader {
            segmentation: Segmentation::None,
            ecn: false,
            ..self.header(0)
        }
    }
}

fn pnet_protocol(number: u8) -> pnet::packet::ip::IpNextHeaderProtocol {
    pnet::packet::ip::IpNextHeaderProtocol(number)
}

/// Converts a number that fits to a 16-bit field.
pub(super) fn short(n: usize) -> u16 {
    u16::try_from(n).unwrap()
}

fn byte(n: usize) -> u8 {
    u8::try_from(n).unwrap()
}

/// Returns bytes without a repeating pattern.
pub(super) fn payload(len: usize) -> Vec<u8> {
    (0..u32::try_from(len).unwrap())
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1])
        .collect()
}

/// Generates any shape; `bare`: without IPv4 options and extension headers.
pub(super) fn shapes(bare: bool) -> impl Strategy<Value = Shape> {
    let network = (any::<bool>(), any::<bool>(), 0..3usize, any::<bool>());
    let fields = (any::<u8>(), any::<u8>(), any::<bool>(), any::<u16>());
    let transport = (
        any::<[u16; 2]>(),
        any::<[u32; 2]>(),
        any::<u16>(),
        0..11usize,
    );
    let flags = prop::bits::u8::masked(FIN | PSH | ECE | CWR);
    (network, fields, transport, flags).prop_map(move |(network, fields, transport, flags)| {
        let (tcp, v6, vlans, extended) = network;
        let (tos, ttl, df, id) = fields;
        let (ports, [sequence, ack], window, words) = transport;
        let shape = Shape {
            tcp,
            v6,
            vlans: (0..short(vlans)).map(|n| 0xe005 + n).collect(),
            options: payload(words * 4),
            ports,
            tos,
            ttl,
            df,
            id,
            sequence,
            ack,
            flags: ACK | flags,
            window,
            ..Shape::tcp4()
        };
        if extended && !bare {
            shape.extended()
        } else {
            shape
        }
    })
}
