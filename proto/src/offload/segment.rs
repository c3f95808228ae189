//! Segmentation of super-frames into ordinary frames, like `tcp_gso_segment` and `__udp_gso_segment` in Linux.

use core::ops::Range;

use super::OffloadError;
use super::packet::{IPV6_HEADER, IpVersion, Packet, Transport, get16, get32, put, saturated};
use super::virtio::{Segmentation, VirtioHeader};
use crate::checksum::{checksum, fold, folded, sum};
use crate::limits::MAX_SEGMENTS;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Ordinary frames made from one frame of a port with offloads.
///
/// Nothing is copied before [`Segments::write`]. Frame and virtio header need not be valid.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    frame: &'a [u8],
    plan: Plan,
}

#[derive(Clone, Debug)]
enum Plan {
    /// One frame, unchanged.
    Unchanged {
        partial: bool,
    },
    /// One frame with this checksum at this offset.
    Completed {
        at: usize,
        checksum: [u8; 2],
    },
    Cut(Cut),
}

/// Common values of all segments.
#[derive(Clone, Debug)]
struct Cut {
    packet: Packet,
    /// Payload bytes of each segment but the last.
    size: usize,
    count: usize,
    /// Content of the checksum field without the length of a segment.
    pseudo: u32,
    /// Sum of the IPv4 header without length, identification and checksum.
    header_sum: u32,
}

impl<'a> Segments<'a> {
    /// Plans the segmentation of `frame`, or the completion of its checksum, as its virtio header requires.
    ///
    /// No resulting frame is longer than `max_frame` bytes, Ethernet header included. For this, TCP segments become
    /// smaller than the header requests; UDP datagrams cannot.
    ///
    /// A frame without segmentation stays unchanged if it is TCP or UDP and the missing checksum is its own; any
    /// other checksum (tunnels, fragments, other protocols) is completed here as the header requests.
    ///
    /// # Errors
    /// Any [`OffloadError`].
    pub fn new(
        frame: &'a [u8],
        header: &VirtioHeader,
        max_frame: usize,
    ) -> Result<Self, OffloadError> {
        let plan = if header.segmentation == Segmentation::None {
            whole(frame, header, max_frame)?
        } else {
            Plan::Cut(Cut::new(frame, header, max_frame)?)
        };
        Ok(Self { frame, plan })
    }

    /// Returns the number of frames, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        match &self.plan {
            Plan::Cut(cut) => cut.count,
            _ => 1,
        }
    }

    /// Returns true if the checksums of the frames hold the sum of the pseudo-header only.
    pub fn is_partial(&self) -> bool {
        match self.plan {
            Plan::Unchanged { partial } => partial,
            Plan::Completed { .. } => false,
            Plan::Cut(_) => true,
        }
    }

    /// Returns the original frame if it is the only one and needs no change, so that it can be sent without a copy.
    pub fn unchanged(&self) -> Option<&'a [u8]> {
        matches!(self.plan, Plan::Unchanged { .. }).then_some(self.frame)
    }

    /// Returns the length of frame `index` in bytes, Ethernet header included; 0 from `len()` on.
    pub fn frame_len(&self, index: usize) -> usize {
        match &self.plan {
            _ if index >= self.len() => 0,
            Plan::Cut(cut) => cut.packet.payload_at + cut.payload(index).len(),
            _ => self.frame.len(),
        }
    }

    /// Appends frame `index` to `out`; nothing from `len()` on.
    pub fn write(&self, index: usize, out: &mut Vec<u8>) {
        if index >= self.len() {
            return;
        }
        match &self.plan {
            Plan::Unchanged { .. } => out.extend_from_slice(self.frame),
            Plan::Completed { at, checksum } => {
                let start = out.len();
                out.extend_from_slice(self.frame);
                put(out, start + at, *checksum);
            }
            Plan::Cut(cut) => cut.write(self.frame, index, out),
        }
    }
}

fn whole(frame: &[u8], header: &VirtioHeader, max_frame: usize) -> Result<Plan, OffloadError> {
    if frame.len() > max_frame {
        return Err(OffloadError::TooLong);
    }
    let own = Packet::parse(frame).is_ok_and(|packet| has_place(&packet, header));
    if own || !header.needs_checksum {
        return Ok(Plan::Unchanged {
            partial: header.needs_checksum,
        });
    }
    let start = usize::from(header.checksum_start);
    let at = start + usize::from(header.checksum_offset);
    let covered = frame.get(start..).ok_or(OffloadError::ChecksumPlace)?;
    if frame.len() < at + 2 {
        return Err(OffloadError::ChecksumPlace);
    }
    let checksum = match checksum(covered) {
        // In UDP, 0 means no checksum; for all other protocols, 0 and 0xffff are equivalent.
        0 => u16::MAX,
        checksum => checksum,
    };
    Ok(Plan::Completed {
        at,
        checksum: checksum.to_be_bytes(),
    })
}

fn has_place(packet: &Packet, header: &VirtioHeader) -> bool {
    usize::from(header.checksum_start) == packet.transport_at
        && header.checksum_offset == packet.checksum_offset()
}

impl Cut {
    fn new(frame: &[u8], header: &VirtioHeader, max_frame: usize) -> Result<Self, OffloadError> {
        let packet = Packet::parse(frame).map_err(|_| OffloadError::NotTransport)?;
        if header.segmentation != packet.segmentation() {
            return Err(OffloadError::Mismatch);
        }
        if header.needs_checksum && !has_place(&packet, header) {
            return Err(OffloadError::Mismatch);
        }
        let payload = packet.end - packet.payload_at;
        let size = segment_size(&packet, header, payload, max_frame)?;
        let count = payload.div_ceil(size).max(1);
        if count > MAX_SEGMENTS {
            return Err(OffloadError::SegmentSize);
        }
        Ok(Self {
            size,
            count,
            pseudo: pseudo_without_len(frame, &packet, header),
            header_sum: header_sum(frame, &packet),
            packet,
        })
    }

    fn write(&self, frame: &[u8], index: usize, out: &mut Vec<u8>) {
        let packet = &self.packet;
        let payload = frame.get(self.payload(index)).unwrap_or_default();
        let start = out.len();
        out.reserve(packet.payload_at + payload.len());
        out.extend_from_slice(frame.get(..packet.payload_at).unwrap_or_default());
        out.extend_from_slice(payload);
        let Some(head) = out.get_mut(start..) else {
            return;
        };
        match packet.version {
            IpVersion::V4 => self.patch_ipv4(head, index),
            IpVersion::V6 => {
                let len = saturated(head.len() - packet.network_at - IPV6_HEADER);
                put(head, packet.network_at + 4, len.to_be_bytes());
            }
        }
        let len = saturated(head.len() - packet.transport_at);
        match packet.transport {
            Transport::Tcp => self.patch_tcp(head, index),
            Transport::Udp => put(head, packet.transport_at + 4, len.to_be_bytes()),
        }
        let checksum = folded(&[self.pseudo, u32::from(len)]);
        put(head, packet.checksum_at(), checksum.to_be_bytes());
    }

    /// Returns the range of the payload of segment `index` in the super-frame.
    fn payload(&self, index: usize) -> Range<usize> {
        let end = self.packet.end;
        let from = (self.packet.payload_at + index * self.size).min(end);
        from..(from + self.size).min(end)
    }

    fn patch_ipv4(&self, head: &mut [u8], index: usize) {
        let at = self.packet.network_at;
        let len = saturated(head.len() - at);
        let id = get16(head, at + 4).wrapping_add(saturated(index));
        let checksum = !folded(&[self.header_sum, u32::from(len), u32::from(id)]);
        put(head, at + 2, len.to_be_bytes());
        put(head, at + 4, id.to_be_bytes());
        put(head, at + 10, checksum.to_be_bytes());
    }

    fn patch_tcp(&self, head: &mut [u8], index: usize) {
        let at = self.packet.transport_at;
        let passed = u32::try_from(index * self.size).unwrap_or(u32::MAX);
        let sequence = get32(head, at + 4).wrapping_add(passed);
        put(head, at + 4, sequence.to_be_bytes());
        let [_, mut flags] = get16(head, at + 12).to_be_bytes();
        if index > 0 {
            flags &= !CWR;
        }
        if index + 1 < self.count {
            flags &= !(FIN | PSH);
        }
        put(head, at + 13, [flags]);
    }
}

/// Returns the payload bytes of each segment but the last, at least 1.
fn segment_size(
    packet: &Packet,
    header: &VirtioHeader,
    payload: usize,
    max_frame: usize,
) -> Result<usize, OffloadError> {
    let asked = usize::from(header.segment_size);
    if asked == 0 {
        return Err(OffloadError::SegmentSize);
    }
    let room = match max_frame.checked_sub(packet.payload_at) {
        None | Some(0) => return Err(OffloadError::TooLong),
        Some(room) => room,
    };
    match packet.transport {
        Transport::Tcp => Ok(asked.min(room)),
        Transport::Udp if asked.min(payload) > room => Err(OffloadError::TooLong),
        Transport::Udp => Ok(asked),
    }
}

/// Returns the sum of the pseudo-header without its length. It is taken from the checksum field, which is right
/// behind a routing header, too; if that field is unused, it is computed.
fn pseudo_without_len(frame: &[u8], packet: &Packet, header: &VirtioHeader) -> u32 {
    if !header.needs_checksum {
        return packet.pseudo_sum(frame);
    }
    let field = get16(frame, packet.checksum_at());
    u32::from(field) + u32::from(!saturated(packet.transport_len()))
}

fn header_sum(frame: &[u8], packet: &Packet) -> u32 {
    let at = packet.network_at;
    if packet.version == IpVersion::V6 {
        return 0;
    }
    let without = |field| u32::from(!get16(frame, at + field));
    let header = sum(frame.get(at..packet.transport_at).unwrap_or_default());
    u32::from(fold(header + without(2) + without(4) + without(10)))
}
