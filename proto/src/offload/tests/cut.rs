use proptest::prelude::*;

use super::frames::{ACK, CWR, FIN, MAX, PSH, Shape, payload, shapes, short};
use crate::checksum::checksum;
use crate::limits::MAX_SEGMENTS;
use crate::offload::{OffloadError, Segmentation, Segments, VirtioHeader, finish_checksum};

fn all(segments: &Segments<'_>) -> Vec<Vec<u8>> {
    let frames = (0..segments.len()).map(|n| {
        let mut out = vec![0xee; 3];
        segments.write(n, &mut out);
        assert_eq!(out.len(), 3 + segments.frame_len(n));
        out.split_off(3)
    });
    frames.collect()
}

/// Returns the expected segments, field by field.
fn expected(shape: &Shape, payload: &[u8], size: usize) -> Vec<(Shape, Vec<u8>)> {
    let chunks: Vec<&[u8]> = match payload {
        [] => vec![payload],
        _ => payload.chunks(size).collect(),
    };
    let last = chunks.len() - 1;
    let segment = |(n, chunk): (usize, &&[u8])| {
        let mut segment = shape.later(n, n * size);
        if n > 0 {
            segment.flags &= !CWR;
        }
        if n < last {
            segment.flags &= !(FIN | PSH);
        }
        (segment, chunk.to_vec())
    };
    chunks.iter().enumerate().map(segment).collect()
}

proptest! {
    #[test]
    fn segments_are_the_frames_that_pnet_would_make(
        shape in shapes(false),
        len in prop_oneof![0usize..4_000, 60_000usize..64_000],
        asked in 100usize..9_000,
        known: bool,
    ) {
        let payload = payload(len);
        let frame = shape.partial(&payload);
        let room = MAX - shape.payload_at();
        let asked = if shape.tcp { asked } else { asked.min(room) };
        let size = asked.min(room);
        let header = VirtioHeader { needs_checksum: known, ..shape.header(asked) };
        let segments = Segments::new(&frame, &header, MAX).unwrap();
        prop_assert!(segments.is_partial() && segments.unchanged().is_none());
        let cut = all(&segments);
        let expected = expected(&shape, &payload, size);
        prop_assert_eq!(cut.len(), expected.len());
        for (mut frame, (shape, chunk)) in cut.into_iter().zip(expected) {
            prop_assert!(frame.len() <= MAX);
            prop_assert_eq!(&frame, &shape.partial(&chunk));
            finish_checksum(&mut frame).unwrap();
            prop_assert_eq!(&frame, &shape.frame(&chunk));
        }
    }

    #[test]
    fn a_partial_frame_stays_as_it_is(shape in shapes(false), len in 0usize..1_200) {
        let frame = shape.partial(&payload(len));
        let segments = Segments::new(&frame, &shape.partial_header(), MAX).unwrap();
        prop_assert!(segments.is_partial());
        prop_assert_eq!(segments.unchanged(), Some(&frame[..]));
        prop_assert_eq!(all(&segments), vec![frame.clone()]);
    }

    #[test]
    fn nothing_panics(
        shape in shapes(false),
        size in 0usize..300,
        header in any::<[u8; 10]>(),
        fields in (any::<bool>(), any::<bool>(), any::<u16>()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut: prop::sample::Index,
        max in 0usize..3_000,
    ) {
        let mut frame = shape.partial(&payload(size));
        for (at, byte) in changes {
            // Most deciding fields are in the headers.
            let at = at.index(shape.payload_at());
            frame[at] = byte;
        }
        let (random, shorter, segment_size) = fields;
        if shorter {
            frame.truncate(cut.index(frame.len()));
        }
        let header = match VirtioHeader::parse(&header) {
            Ok(header) if random => header,
            _ => VirtioHeader { segment_size, ..shape.header(1) },
        };
        if let Ok(segments) = Segments::new(&frame, &header, max) {
            prop_assert!((1..=MAX_SEGMENTS).contains(&segments.len()));
            prop_assert!(all(&segments).iter().all(|frame| frame.len() <= max));
        }
        let _ = finish_checksum(&mut frame);
    }
}

#[test]
fn flags_go_to_the_first_and_the_last() {
    let shape = Shape::tcp4().with_flags(ACK | PSH | FIN | CWR);
    let frame = shape.partial(&payload(300));
    let segments = Segments::new(&frame, &shape.header(100), MAX).unwrap();
    let flags: Vec<u8> = all(&segments)
        .iter()
        .map(|frame| frame[shape.transport_at() + 13])
        .collect();
    assert_eq!(flags, [ACK | CWR, ACK, ACK | PSH | FIN]);
}

#[test]
fn padding_is_not_payload() {
    let shape = Shape::tcp4();
    let mut frame = shape.partial(&[1]);
    frame.resize(60, 0);
    let segments = Segments::new(&frame, &shape.header(100), MAX).unwrap();
    assert_eq!(all(&segments), [shape.partial(&[1])]);
    let mut out = Vec::new();
    segments.write(1, &mut out);
    assert_eq!((out.len(), segments.frame_len(1)), (0, 0));
}

#[test]
fn a_checksum_elsewhere_is_completed_here() {
    // UDP in UDP: the inner checksum is unfinished, the outer one must stay.
    let inner = Shape::udp4();
    let outer = Shape::udp4();
    let payload = payload(101);
    let frame = outer.frame(&inner.partial(&payload));
    let header = VirtioHeader {
        checksum_start: short(outer.payload_at() + inner.transport_at()),
        ..inner.partial_header()
    };
    let segments = Segments::new(&frame, &header, MAX).unwrap();
    assert!(!segments.is_partial() && segments.unchanged().is_none());
    let [completed] = &all(&segments)[..] else {
        panic!("not one frame");
    };
    assert_eq!(completed[outer.payload_at()..], inner.frame(&payload));
    assert_eq!(completed[..outer.payload_at()], frame[..outer.payload_at()]);
}

#[test]
fn the_checksum_of_a_first_fragment_is_completed_here() {
    let shape = Shape::udp4();
    let mut frame = shape.partial(&payload(64));
    frame[shape.network_at() + 6] = 0x20;
    let segments = Segments::new(&frame, &shape.partial_header(), MAX).unwrap();
    let completed = all(&segments).concat();
    let covered = &completed[shape.transport_at()..];
    assert!(!segments.is_partial());
    // With the pseudo-header, whose sum the partial checksum was, the sum is zero.
    let at = shape.checksum_at();
    let pseudo = u16::from_be_bytes([frame[at], frame[at + 1]]);
    assert_eq!(checksum(&[covered, &pseudo.to_be_bytes()].concat()), 0);
}

#[test]
fn frames_that_cannot_be_segmented_to_fit_are_refused() {
    let tcp = Shape::tcp4();
    let frame = tcp.partial(&payload(3_000));
    let new = |header: &VirtioHeader, max| Segments::new(&frame, header, max).map(|s| s.len());
    let header = tcp.header(1_000);
    assert_eq!(new(&header, MAX), Ok(3));
    let head = tcp.payload_at();
    assert_eq!(new(&header, head), Err(OffloadError::TooLong));
    assert_eq!(new(&tcp.header(1), MAX), Err(OffloadError::SegmentSize));
    assert_eq!(new(&tcp.header(0), MAX), Err(OffloadError::SegmentSize));
    assert_eq!(
        new(&tcp.partial_header(), MAX),
        Err(OffloadError::TooLong),
        "not to be cut"
    );
    for segmentation in [Segmentation::Tcp6, Segmentation::Udp] {
        let wrong = VirtioHeader {
            segmentation,
            ..header
        };
        assert_eq!(new(&wrong, MAX), Err(OffloadError::Mismatch));
    }
    let wrong = VirtioHeader {
        checksum_start: header.checksum_start + 2,
        ..header
    };
    assert_eq!(new(&wrong, MAX), Err(OffloadError::Mismatch));
    let outside = VirtioHeader {
        checksum_start: 2_999,
        checksum_offset: 0x7fff,
        ..tcp.partial_header()
    };
    assert_eq!(new(&outside, 9_000), Err(OffloadError::ChecksumPlace));
}

#[test]
fn datagrams_do_not_become_shorter() {
    let udp = Shape::udp4();
    let frame = udp.partial(&payload(3_000));
    let room = MAX - udp.payload_at();
    let cut = |size| Segments::new(&frame, &udp.header(size), MAX).map(|s| s.len());
    assert_eq!(cut(room), Ok(3));
    assert_eq!(cut(room + 1), Err(OffloadError::TooLong));
}

#[test]
fn fragments_are_not_cut() {
    let shape = Shape::tcp4();
    let mut frame = shape.partial(&payload(3_000));
    frame[shape.network_at() + 7] = 1;
    let refused = Segments::new(&frame, &shape.header(1_000), MAX).map(|s| s.len());
    assert_eq!(refused, Err(OffloadError::NotTransport));
}
