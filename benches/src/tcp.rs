//! TCP over IPv4 with timestamps, as delivered by ports with offloads.

use mesh_proto::checksum::checksum;
use mesh_proto::offload::{Segmentation, Segments, VirtioHeader};

const NETWORK: usize = 14;
const TRANSPORT: usize = NETWORK + 20;
const PAYLOAD: usize = TRANSPORT + 32;

/// Returns a super-frame with `payload` bytes, to be split into segments of `segment` bytes.
///
/// # Panics
/// If `payload` is more than 65,483.
pub fn super_frame(payload: usize, segment: usize) -> (VirtioHeader, Vec<u8>) {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00];
    frame.extend([0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0]);
    frame.extend([10, 2, 1, 1, 10, 2, 1, 2]);
    frame.extend([0x9c, 0x40, 0x14, 0x51, 0, 0, 3, 232, 0, 0, 0, 9]);
    frame.extend([0x80, 0x10, 1, 0, 0, 0, 0, 0, 1, 1, 8, 10]);
    frame.extend([0, 0, 0, 1, 0, 0, 0, 2]);
    frame.extend((0..payload).map(|n| n.to_le_bytes()[0]));
    let short = |n: usize| u16::try_from(n).expect("at most 65,535");
    let len = short(frame.len() - NETWORK);
    frame[16..18].copy_from_slice(&len.to_be_bytes());
    let sum = checksum(&frame[NETWORK..TRANSPORT]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    let [l0, l1] = (len - 20).to_be_bytes();
    let pseudo = !checksum(&[&frame[26..34], &[0, 6, l0, l1]].concat());
    frame[50..52].copy_from_slice(&pseudo.to_be_bytes());
    let header = VirtioHeader {
        needs_checksum: true,
        segmentation: Segmentation::Tcp4,
        ecn: false,
        header_len: short(PAYLOAD),
        segment_size: short(segment),
        checksum_start: short(TRANSPORT),
        checksum_offset: 16,
    };
    (header, frame)
}

/// Returns segment `n` of a super-frame of 46 segments with `size` payload bytes each, with an unfinished checksum.
///
/// # Panics
/// If the segments have more than 65,483 bytes together.
pub fn segment(n: usize, size: usize) -> Vec<u8> {
    let (header, frame) = super_frame(46 * size, size);
    let segments = Segments::new(&frame, &header, PAYLOAD + size).expect("a super-frame");
    let mut out = Vec::new();
    segments.write(n, &mut out);
    out
}
