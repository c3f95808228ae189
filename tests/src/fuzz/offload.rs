//! Frames of ports with offloads: any virtio header in front of any frame, and any frames into the merger.

use std::collections::BTreeMap;

use mesh_proto::checksum::checksum;
use mesh_proto::frame::ethernet::{self, EthernetView};
use mesh_proto::limits::{MAX_SEGMENTS, MAX_SUPER_FRAME};
use mesh_proto::offload::virtio::VIRTIO_HEADER_LEN;
use mesh_proto::offload::{
    Merger, Segmentation, Segments, VirtioHeader, finish_checksum, has_valid_checksum,
};

use super::fixture;
use super::input::{Input, Script};

/// Longest frame after segmentation, in bytes: that of the default MTU.
const MAX_FRAME: usize = 1_390;
const STEPS: usize = 64;

const FLUSH: u8 = 0;
const CUT: u8 = 2;
const PUSH: u8 = 1;
const PUSH_PARTIAL: u8 = 3;

/// Segments fit, and merged frames split into the frames that were pushed.
pub(super) fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let mut merge = MergeCheck::new(input.flag());
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        match input.byte() {
            FLUSH => merge.flush(),
            n if n & 1 == 0 => cut(&mut input),
            n => merge.push(input.long_chunk(), n & 2 != 0),
        }
    }
    merge.flush();
    if !merge.any_partial {
        assert_eq!(merge.pushed, merge.emitted);
    }
}

fn cut(input: &mut Input<'_>) {
    let header: [u8; VIRTIO_HEADER_LEN] = core::array::from_fn(|_| input.byte());
    let frame = input.long_chunk();
    let Ok(header) = VirtioHeader::parse(&header) else {
        return;
    };
    let Ok(segments) = Segments::new(frame, &header, MAX_FRAME) else {
        return;
    };
    assert!((1..=MAX_SEGMENTS).contains(&segments.len()));
    for mut segment in frames(&segments) {
        assert!(segment.len() <= MAX_FRAME);
        if segments.is_partial() {
            assert_eq!(finish_checksum(&mut segment), Ok(()));
        }
    }
}

fn frames(segments: &Segments<'_>) -> Vec<Vec<u8>> {
    let frame = |n| {
        let mut out = Vec::new();
        segments.write(n, &mut out);
        assert_eq!(out.len(), segments.frame_len(n));
        out
    };
    (0..segments.len()).map(frame).collect()
}

/// A merger, with the number of times each ordinary frame went in and came out.
struct MergeCheck {
    merger: Merger,
    pushed: BTreeMap<Vec<u8>, usize>,
    emitted: BTreeMap<Vec<u8>, usize>,
    /// True if a frame had an unfinished checksum. A wrong pseudo-header sum is corrected, so the output may differ.
    any_partial: bool,
}

impl MergeCheck {
    fn new(merge_udp: bool) -> Self {
        Self {
            merger: Merger::new(merge_udp),
            pushed: BTreeMap::new(),
            emitted: BTreeMap::new(),
            any_partial: false,
        }
    }

    fn push(&mut self, frame: &[u8], partial: bool) {
        self.any_partial |= partial;
        *self.pushed.entry(normal(frame)).or_default() += 1;
        let emitted = &mut self.emitted;
        let mut emit = |header: &VirtioHeader, frame: &[u8]| take(emitted, header, frame);
        self.merger.push(frame, partial, &mut emit);
    }

    fn flush(&mut self) {
        let emitted = &mut self.emitted;
        let mut emit = |header: &VirtioHeader, frame: &[u8]| take(emitted, header, frame);
        self.merger.flush(&mut emit);
        assert!(self.merger.is_empty());
    }
}

fn take(emitted: &mut BTreeMap<Vec<u8>, usize>, header: &VirtioHeader, frame: &[u8]) {
    if header.is_plain() {
        *emitted.entry(normal(frame)).or_default() += 1;
        return;
    }
    assert!(header.needs_checksum);
    let segments = Segments::new(frame, header, frame.len()).expect("a frame of ours");
    assert!(segments.is_partial());
    if header.segmentation != Segmentation::None {
        assert!(segments.len() > 1 && frame.len() <= MAX_SUPER_FRAME);
        // Each checksum was verified before the merge, or is computed by it.
        for mut segment in frames(&segments) {
            finish_checksum(&mut segment).expect("a segment of ours");
            assert!(has_valid_checksum(&segment));
            *emitted.entry(normal(&segment)).or_default() += 1;
        }
    }
}

/// Returns the frame without padding, and without a meaningless IPv4 identification (RFC 6864).
fn normal(frame: &[u8]) -> Vec<u8> {
    let Ok(view) = EthernetView::new_checked(frame) else {
        return frame.to_vec();
    };
    let packet = view.payload();
    let at = frame.len() - packet.len();
    let end = match (view.ethertype(), packet) {
        (ethernet::IPV4, [_, _, l0, l1, ..]) => number(*l0, *l1),
        (ethernet::IPV6, [_, _, _, _, l0, l1, ..]) => 40 + number(*l0, *l1),
        _ => packet.len(),
    };
    let mut frame = frame[..frame.len().min(at + end)].to_vec();
    if view.ethertype() == ethernet::IPV4
        && let Some(header) = frame.get_mut(at..at + 20)
        && header[6] == 0x40
    {
        header[4..6].fill(0);
        header[10..12].fill(0);
    }
    frame
}

fn number(high: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([high, low]))
}

/// Returns a complete TCP or UDP packet over IPv4 to container 2.
fn packet(tcp: bool, sequence: u32, id: u8, payload: &[u8]) -> Vec<u8> {
    let mut transport = vec![0x9c, 0x40, 0x14, 0x51];
    if tcp {
        transport.extend(sequence.to_be_bytes());
        transport.extend([0, 0, 0, 9, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    } else {
        let len = u16::try_from(8 + payload.len()).expect("a short payload");
        transport.extend(len.to_be_bytes());
        transport.extend([0, 0]);
    }
    transport.extend(payload);
    let len = u16::try_from(20 + transport.len()).expect("a short payload");
    let mut ip = vec![0x45, 0];
    ip.extend(len.to_be_bytes());
    ip.extend([0, id, 0x40, 0, 64, if tcp { 6 } else { 17 }, 0, 0]);
    ip.extend([10, 2, 1, 1, 10, 2, 1, 2]);
    let sum = checksum(&ip).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    ip.extend(transport);
    let mut frame = fixture::frame(1, fixture::mac(2), &ip);
    finish(&mut frame, tcp);
    frame
}

/// Puts the sum of the pseudo-header into the checksum field, then computes the checksum.
fn finish(frame: &mut [u8], tcp: bool) {
    let (pseudo, at) = pseudo(frame, tcp);
    frame[at..at + 2].copy_from_slice(&pseudo);
    finish_checksum(frame).expect("a whole packet");
}

fn pseudo(frame: &[u8], tcp: bool) -> ([u8; 2], usize) {
    let len = u8::try_from(frame.len() - 34).expect("a short packet");
    let tail = [0, if tcp { 6 } else { 17 }, 0, len];
    let sum = !checksum(&[&frame[26..34], &tail].concat());
    (sum.to_be_bytes(), 34 + if tcp { 16 } else { 6 })
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let train = |tcp: bool, operation: u8| {
        let script = (0u8..4).fold(Script::new().put(&[1]), |script, n| {
            let frame = packet(tcp, 1_000 + 20 * u32::from(n), n, &[n; 20]);
            script.put(&[operation]).long_chunk(&frame)
        });
        script.put(&[FLUSH]).done()
    };
    let cut = |tcp: bool, segmentation: Segmentation| {
        let mut frame = packet(tcp, 1_000, 1, &[7; 100]);
        let (pseudo, at) = pseudo(&frame, tcp);
        frame[at..at + 2].copy_from_slice(&pseudo);
        let header = VirtioHeader {
            needs_checksum: true,
            segmentation,
            ecn: false,
            header_len: if tcp { 54 } else { 42 },
            segment_size: 30,
            checksum_start: 34,
            checksum_offset: if tcp { 16 } else { 6 },
        };
        let script = Script::new().put(&[0, CUT]).put(&header.encode());
        script.long_chunk(&frame).done()
    };
    vec![
        train(true, PUSH),
        train(false, PUSH),
        train(true, PUSH_PARTIAL),
        cut(true, Segmentation::Tcp4),
        cut(false, Segmentation::Udp),
        cut(false, Segmentation::None),
    ]
}
