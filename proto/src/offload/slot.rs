//! Slot: one super-frame that grows.

use super::checksum::{is_valid, pseudo};
use super::flow::{CWR, Candidate, FIN, Flow, PSH};
use super::packet::{IPV6_HEADER, IpVersion, Packet, Transport, get16, put, saturated};
use super::virtio::VirtioHeader;
use crate::checksum::checksum;
use crate::limits::{MAX_MERGED_DATAGRAMS, MAX_SUPER_FRAME};

/// Longest IP packet, in bytes.
const MAX_PACKET: usize = 65_535;

/// Super-frame in its buffer, which is allocated at the first use and kept.
///
/// Until [`Slot::finish`] its headers are those of the first segment.
#[derive(Debug, Default)]
pub(super) struct Slot {
    buffer: Vec<u8>,
    head: Option<Head>,
}

/// State of the super-frame.
#[derive(Debug)]
struct Head {
    flow: Flow,
    packet: Packet,
    /// True if the first segment is partial.
    partial: bool,
    /// True if the first segment was verified, which is done when there is a second one.
    intact: bool,
    /// Payload bytes of the first segment; no other has more.
    size: usize,
    segments: usize,
    next_sequence: u32,
    id: u16,
    fixed_id: bool,
    /// FIN and PSH of the last segment.
    last_flags: u8,
}

/// Result of an attempt to append a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    /// Appended; more may follow.
    Open,
    /// Appended as the last segment.
    Closed,
    /// Not appended.
    Refused,
}

impl Slot {
    pub(super) fn begin(&mut self, flow: Flow, first: &Candidate<'_>) {
        self.buffer.clear();
        self.buffer.reserve_exact(MAX_SUPER_FRAME);
        self.buffer.extend_from_slice(first.frame);
        let size = first.payload().len();
        self.head = Some(Head {
            flow,
            packet: first.packet,
            partial: first.partial,
            intact: false,
            size,
            segments: 1,
            next_sequence: advance(first.sequence(), size),
            id: first.id(),
            fixed_id: false,
            last_flags: 0,
        });
    }

    pub(super) fn holds(&self, flow: &Flow) -> bool {
        self.head.as_ref().is_some_and(|head| head.flow == *flow)
    }

    /// Appends the payload of a mergeable frame of the same flow, if it is the next segment.
    pub(super) fn join(&mut self, next: &Candidate<'_>) -> Join {
        let Some(head) = &mut self.head else {
            return Join::Refused;
        };
        let payload = next.payload();
        let fits = self.buffer.len() + payload.len() <= head.room();
        if !fits || !head.continues(&self.buffer, next) || !head.both_intact(&self.buffer, next) {
            return Join::Refused;
        }
        self.buffer.extend_from_slice(payload);
        head.fixed_id |= head.segments == 1 && next.id() == head.id;
        head.segments += 1;
        head.next_sequence = advance(head.next_sequence, payload.len());
        let full = head.packet.transport == Transport::Udp && head.segments == MAX_MERGED_DATAGRAMS;
        if next.is_last() {
            head.last_flags = next.tcp_flags() & (FIN | PSH);
        }
        if full || next.is_last() || payload.len() < head.size {
            return Join::Closed;
        }
        Join::Open
    }

    /// Completes the headers of the super-frame, and returns it as the port accepts it.
    pub(super) fn finish(&mut self) -> (VirtioHeader, &[u8]) {
        let header = match self.head.take() {
            Some(head) if head.segments > 1 => head.merge_headers(&mut self.buffer),
            Some(head) if head.partial => head.packet.partial_header(),
            _ => VirtioHeader::PLAIN,
        };
        (header, &self.buffer)
    }
}

impl Head {
    /// Returns the longest possible super-frame, in bytes.
    fn room(&self) -> usize {
        (self.packet.network_at + MAX_PACKET).min(MAX_SUPER_FRAME)
    }

    /// Returns true if `next` is the next segment, by the rules of `tcp_gro_receive`, `udp_gro_receive` and
    /// `inet_gro_flush` in Linux.
    fn continues(&self, buffer: &[u8], next: &Candidate<'_>) -> bool {
        let same_layout = Packet {
            end: self.packet.end,
            ..next.packet
        } == self.packet;
        let in_sequence = next.packet.transport == Transport::Udp
            || (next.sequence() == self.next_sequence && next.tcp_flags() & CWR == 0);
        same_layout
            && in_sequence
            && next.payload().len() <= self.size
            && next.has_headers_of(buffer)
            && self.continues_ids(next)
    }

    /// Returns true if the IPv4 identifications rise by one, or are all equal where fragmentation is forbidden (RFC
    /// 6864).
    fn continues_ids(&self, next: &Candidate<'_>) -> bool {
        let passed = next.id().wrapping_sub(self.id);
        let may_be_fixed = next.dont_fragment() && (self.segments == 1 || self.fixed_id);
        next.packet.version == IpVersion::V6
            || (passed == 0 && may_be_fixed)
            || (passed == saturated(self.segments) && !self.fixed_id)
    }

    fn both_intact(&mut self, buffer: &[u8], next: &Candidate<'_>) -> bool {
        if !self.intact {
            self.intact = is_intact(buffer, &self.packet, self.partial);
        }
        self.intact && is_intact(next.frame, &next.packet, next.partial)
    }

    fn merge_headers(&self, frame: &mut [u8]) -> VirtioHeader {
        let packet = Packet {
            end: frame.len(),
            ..self.packet
        };
        let (network, transport) = (packet.network_at, packet.transport_at);
        match packet.version {
            IpVersion::V4 => {
                let len = saturated(packet.end - network);
                put(frame, network + 2, len.to_be_bytes());
                put(frame, network + 10, [0, 0]);
                let header = frame.get(network..transport).unwrap_or_default();
                let checksum = checksum(header);
                put(frame, network + 10, checksum.to_be_bytes());
            }
            IpVersion::V6 => {
                let len = saturated(packet.end - network - IPV6_HEADER);
                put(frame, network + 4, len.to_be_bytes());
            }
        }
        let [_, flags] = get16(frame, transport + 12).to_be_bytes();
        match packet.transport {
            Transport::Tcp => put(frame, transport + 13, [flags | self.last_flags]),
            Transport::Udp => {
                let len = saturated(packet.transport_len());
                put(frame, transport + 4, len.to_be_bytes());
            }
        }
        let pseudo = pseudo(frame, &packet).to_be_bytes();
        put(frame, packet.checksum_at(), [pseudo[2], pseudo[3]]);
        VirtioHeader {
            segmentation: packet.segmentation(),
            segment_size: saturated(self.size),
            ecn: packet.transport == Transport::Tcp && flags & CWR != 0,
            ..packet.partial_header()
        }
    }
}

fn is_intact(frame: &[u8], packet: &Packet, partial: bool) -> bool {
    let header = match packet.version {
        IpVersion::V4 => frame.get(packet.network_at..packet.transport_at),
        IpVersion::V6 => None,
    };
    header.is_none_or(|header| checksum(header) == 0) && (partial || is_valid(frame, packet))
}

fn advance(sequence: u32, payload: usize) -> u32 {
    sequence.wrapping_add(u32::try_from(payload).unwrap_or(u32::MAX))
}
