//! Super-frames of a port with offloads. A super-frame enters as one and leaves as segments that can be identified,
//! however they were split and merged on the way.

use std::net::Ipv4Addr;

use mesh_proto::forward::{Collected, LaneEvent, Outbox, Outgoing};
use mesh_proto::ids::Mac;
use mesh_proto::network::NetworkId;
use mesh_proto::offload::{Merger, Segmentation, Segments, VirtioHeader, finish_checksum};
use mesh_proto::wire::datagram::InnerFrame;

const ETHERNET: usize = 14;
const IP: usize = 20;
const TCP: usize = 20;
/// Bytes of headers in each segment.
pub(crate) const HEADERS: usize = ETHERNET + IP + TCP;
const CHECKSUM_AT: usize = ETHERNET + IP + 16;

/// Sender and receiver of a burst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentFlow {
    pub(crate) source: (Mac, Ipv4Addr),
    pub(crate) target: (Mac, Ipv4Addr),
}

/// Returns a complete TCP segment over IPv4: number `index` of a burst, after `before` bytes of payload.
pub(crate) fn segment(pair: &SegmentFlow, index: u16, before: usize, payload: &[u8]) -> Vec<u8> {
    let mut frame = headers(pair, index, before, payload.len());
    frame.extend_from_slice(payload);
    let tcp = pseudo(pair, TCP + payload.len()) + sum(&frame[ETHERNET + IP..]);
    frame[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&(!fold(tcp)).to_be_bytes());
    frame
}

/// Returns the same payloads as one frame with an unfinished checksum.
pub(crate) fn super_frame(pair: &SegmentFlow, payloads: &[Vec<u8>]) -> (VirtioHeader, Vec<u8>) {
    let all = payloads.concat();
    let mut frame = headers(pair, 0, 0, all.len());
    let unfinished = fold(pseudo(pair, TCP + all.len()));
    frame[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&unfinished.to_be_bytes());
    frame.extend_from_slice(&all);
    let size = payloads.first().map_or(0, Vec::len);
    let header = VirtioHeader {
        needs_checksum: true,
        segmentation: Segmentation::Tcp4,
        header_len: as_u16(HEADERS),
        segment_size: as_u16(size),
        checksum_start: as_u16(ETHERNET + IP),
        checksum_offset: 16,
        ..VirtioHeader::PLAIN
    };
    (header, frame)
}

fn headers(pair: &SegmentFlow, index: u16, before: usize, payload: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADERS + payload);
    frame.extend_from_slice(&pair.target.0.0);
    frame.extend_from_slice(&pair.source.0.0);
    frame.extend_from_slice(&[8, 0, 0x45, 0]);
    frame.extend_from_slice(&as_u16(IP + TCP + payload).to_be_bytes());
    frame.extend_from_slice(&index.to_be_bytes());
    frame.extend_from_slice(&[0x40, 0, 64, 6, 0, 0]);
    frame.extend_from_slice(&pair.source.1.octets());
    frame.extend_from_slice(&pair.target.1.octets());
    let ip = !fold(sum(&frame[ETHERNET..]));
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&ip.to_be_bytes());
    frame.extend_from_slice(&[0x9c, 0x40, 0x14, 0x51]);
    let sequence = 1_000 + u32::try_from(before).unwrap_or(0);
    frame.extend_from_slice(&sequence.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 1, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0]);
    frame
}

/// Returns the sum over addresses, protocol and length (RFC 9293 §3.1).
fn pseudo(pair: &SegmentFlow, length: usize) -> u64 {
    sum(&pair.source.1.octets()) + sum(&pair.target.1.octets()) + 6 + length as u64
}

fn sum(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u64::from(*b));
    bytes.chunks(2).map(word).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    as_u16(usize::try_from(sum).unwrap_or(0))
}

fn as_u16(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

/// Writing half of a port with offloads, and the kernel behind it, which segments frames for its containers.
#[derive(Debug)]
pub(crate) struct OffloadPort {
    merger: Merger,
    taken: Vec<(VirtioHeader, Vec<u8>)>,
}

impl OffloadPort {
    pub(crate) fn new() -> Self {
        Self {
            merger: Merger::new(true),
            taken: Vec::new(),
        }
    }

    pub(crate) fn inject(&mut self, frame: InnerFrame<'_>) {
        let taken = &mut self.taken;
        self.merger
            .push(frame.bytes, frame.partial, &mut |header, bytes| {
                taken.push((*header, bytes.to_vec()));
            });
    }

    /// Ends a batch. Returns the complete frames that reach the containers.
    pub(crate) fn flush(&mut self) -> Vec<Vec<u8>> {
        let taken = &mut self.taken;
        self.merger.flush(&mut |header, bytes| {
            taken.push((*header, bytes.to_vec()));
        });
        self.taken
            .drain(..)
            .flat_map(|(header, bytes)| cut(&header, &bytes))
            .collect()
    }
}

fn cut(header: &VirtioHeader, bytes: &[u8]) -> Vec<Vec<u8>> {
    let segments = Segments::new(bytes, header, bytes.len()).expect("the merger's own frame");
    let frame = |index| {
        let mut frame = Vec::new();
        segments.write(index, &mut frame);
        if segments.is_partial() {
            finish_checksum(&mut frame).expect("TCP or UDP");
        }
        frame
    };
    (0..segments.len()).map(frame).collect()
}

/// Outputs of one batch of a router whose port may have offloads.
pub(crate) struct PortBatch<'a> {
    out: Collected,
    port: Option<&'a mut OffloadPort>,
}

impl<'a> PortBatch<'a> {
    pub(crate) fn new(port: Option<&'a mut OffloadPort>) -> Self {
        Self {
            out: Collected::default(),
            port,
        }
    }

    /// Returns the effects of the batch.
    pub(crate) fn end(mut self) -> Collected {
        if let Some(port) = &mut self.port {
            self.out.frames.extend(port.flush());
        }
        self.out
    }
}

impl Outbox for PortBatch<'_> {
    fn outgoing(&mut self) -> &mut Outgoing {
        self.out.outgoing()
    }

    fn inject(&mut self, network: NetworkId, frame: InnerFrame<'_>) {
        if let Some(port) = self.port.as_mut().filter(|_| network.is_default()) {
            return port.inject(frame);
        }
        let mut bytes = frame.bytes.to_vec();
        if frame.partial {
            finish_checksum(&mut bytes).expect("a router marks TCP and UDP only");
        }
        match network.is_default() {
            true => self.out.frames.push(bytes),
            false => self.out.elsewhere.push((network, bytes)),
        }
    }

    fn event(&mut self, event: LaneEvent) {
        self.out.event(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> SegmentFlow {
        SegmentFlow {
            source: (Mac([2; 6]), Ipv4Addr::new(10, 0, 0, 1)),
            target: (Mac([4; 6]), Ipv4Addr::new(10, 0, 0, 2)),
        }
    }

    #[test]
    fn a_super_frame_is_its_segments() {
        let payloads: Vec<Vec<u8>> = [(1, 301), (2, 301), (3, 44)]
            .map(|(fill, length)| vec![fill; length])
            .to_vec();
        let mut before = 0;
        let mut expected = Vec::new();
        for (index, payload) in (0..).zip(&payloads) {
            expected.push(segment(&pair(), index, before, payload));
            before += payload.len();
        }
        let (header, frame) = super_frame(&pair(), &payloads);
        assert_eq!(cut(&header, &frame), expected);

        let mut port = OffloadPort::new();
        for bytes in &expected {
            port.inject(InnerFrame {
                bytes,
                partial: false,
            });
        }
        assert_eq!(port.flush(), expected);
        assert!(port.flush().is_empty());
    }
}
