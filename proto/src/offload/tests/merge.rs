use proptest::prelude::*;

use super::frames::{ACK, CWR, FIN, MAX, PSH, RST, SYN, Shape, URG, payload, shapes, short};
use crate::limits::{MAX_MERGE_FLOWS, MAX_MERGED_DATAGRAMS, MAX_SUPER_FRAME};
use crate::offload::{Merger, Segments, VirtioHeader};

type Change = fn(&mut Shape);
pub(super) type Emitted = Vec<(VirtioHeader, Vec<u8>)>;

/// Returns the frames emitted for these frames, each with its partial flag.
pub(super) fn merged(frames: &[(Vec<u8>, bool)]) -> Emitted {
    let mut merger = Merger::new(true);
    let mut emitted = Vec::new();
    let mut emit = |header: &VirtioHeader, frame: &[u8]| emitted.push((*header, frame.to_vec()));
    for (frame, partial) in frames {
        merger.push(frame, *partial, &mut emit);
    }
    merger.flush(&mut emit);
    assert!(merger.is_empty());
    merger.flush(&mut |_, _| panic!("nothing is left"));
    emitted
}

fn complete(frames: &[Vec<u8>]) -> Emitted {
    let frames: Vec<_> = frames.iter().map(|frame| (frame.clone(), false)).collect();
    merged(&frames)
}

/// Returns `count` consecutive segments of `size` bytes.
fn train(shape: &Shape, size: usize, count: usize) -> Vec<Vec<u8>> {
    let segment = |n| shape.later(n, n * size).frame(&payload(size));
    (0..count).map(segment).collect()
}

/// Returns true if these two frames are merged.
fn merges(first: &[u8], second: &[u8]) -> bool {
    let emitted = complete(&[first.to_vec(), second.to_vec()]);
    if emitted.len() == 2 {
        let plain = [first, second].map(|frame| (VirtioHeader::PLAIN, frame.to_vec()));
        assert_eq!(emitted, plain, "unchanged and in order");
    }
    emitted.len() == 1
}

proptest! {
    #[test]
    fn a_cut_super_frame_comes_back(
        shape in shapes(true), len in 2usize..60_000, size in 700usize..1_200, finish: bool,
    ) {
        let len = if shape.tcp { len } else { len.min(size * MAX_MERGED_DATAGRAMS) };
        prop_assume!(len > size);
        let frame = shape.partial(&payload(len));
        let header = shape.header(size);
        let segments = Segments::new(&frame, &header, MAX).unwrap();
        let cut: Vec<_> = (0..segments.len())
            .map(|n| {
                let mut out = Vec::new();
                segments.write(n, &mut out);
                if finish {
                    crate::offload::finish_checksum(&mut out).unwrap();
                }
                (out, !finish)
            })
            .collect();
        prop_assert_eq!(merged(&cut), vec![(header, frame)]);
    }

    #[test]
    fn a_single_frame_comes_back(shape in shapes(false), len in 0usize..1_200, padding in 0usize..10) {
        let payload = payload(len);
        let mut frame = shape.frame(&payload);
        frame.resize(frame.len() + padding, 0x55);
        prop_assert_eq!(complete(&[frame.clone()]), vec![(VirtioHeader::PLAIN, frame)]);
        let frame = shape.partial(&payload);
        prop_assert_eq!(merged(&[(frame.clone(), true)]), vec![(shape.partial_header(), frame)]);
    }
}

#[test]
fn tcp_grows_to_64_kib() {
    for shape in [Shape::tcp4(), Shape::tcp4().v6()] {
        let emitted = complete(&train(&shape, 1_300, 100));
        assert_eq!(emitted.len(), 2);
        assert!(emitted[0].1.len() <= MAX_SUPER_FRAME && emitted[0].1.len() > 64_000);
    }
}

#[test]
fn udp_grows_to_its_bound() {
    let emitted = complete(&train(&Shape::udp4(), 100, MAX_MERGED_DATAGRAMS + 1));
    let lens: Vec<usize> = emitted.iter().map(|(_, frame)| frame.len()).collect();
    let head = Shape::udp4().payload_at();
    assert_eq!(lens, [head + 100 * MAX_MERGED_DATAGRAMS, head + 100]);
    assert!(emitted[1].0.is_plain());
}

#[test]
fn udp_is_left_alone_for_an_old_kernel() {
    let mut merger = Merger::new(false);
    let mut count = 0;
    for frame in train(&Shape::udp4(), 100, 3) {
        merger.push(&frame, false, &mut |header, out| {
            assert!(header.is_plain() && *out == frame);
            count += 1;
        });
    }
    assert_eq!((count, merger.is_empty()), (3, true));
}

#[test]
fn headers_that_differ_keep_frames_apart() {
    let first = Shape::tcp4();
    let next = first.later(1, 100);
    let data = payload(100);
    let kept_apart: [(&str, Change); 8] = [
        ("TOS", |s| s.tos = 3),
        ("TTL", |s| s.ttl -= 1),
        ("DF", |s| s.df = false),
        ("VLAN", |s| s.vlans = vec![5]),
        ("acknowledgement", |s| s.ack += 1),
        ("window", |s| s.window += 1),
        ("sequence", |s| s.sequence = s.sequence.wrapping_add(1)),
        ("options", |s| s.options = vec![1; 12]),
    ];
    for v6 in [false, true] {
        let family = |shape: &Shape| Shape {
            v6,
            ..shape.clone()
        };
        let first = family(&first).frame(&data);
        assert!(merges(&first, &family(&next).frame(&data)));
        for (what, change) in kept_apart {
            let mut changed = family(&next);
            change(&mut changed);
            let apart = what == "DF" && v6 || !merges(&first, &changed.frame(&data));
            assert!(apart, "{what}");
        }
        let mut other_mac = family(&next).frame(&data);
        other_mac[5] ^= 4;
        assert!(!merges(&first, &other_mac));
        assert!(
            !merges(&first, &family(&next).frame(&payload(101))),
            "longer"
        );
    }
}

#[test]
fn flags_that_the_receiver_must_see_keep_frames_apart() {
    let shape = Shape::tcp4();
    let first = shape.frame(&payload(100));
    for flags in [SYN | ACK, RST | ACK, URG | ACK, CWR | ACK, 0] {
        let next = shape.later(1, 100).with_flags(flags).frame(&payload(100));
        assert!(!merges(&first, &next), "{flags:#x}");
    }
    for flags in [ACK | PSH, ACK | FIN] {
        let last = shape.later(1, 100).with_flags(flags);
        assert!(merges(&first, &last.frame(&payload(100))), "{flags:#x}");
        let after = shape.later(2, 200).frame(&payload(100));
        let emitted = complete(&[first.clone(), last.frame(&payload(100)), after.clone()]);
        assert_eq!(emitted.len(), 2);
        assert_eq!(emitted[0].1[shape.transport_at() + 13], flags);
        assert_eq!(emitted[1], (VirtioHeader::PLAIN, after));
    }
}

#[test]
fn identifications_rise_or_stay_where_there_are_no_fragments() {
    let data = payload(100);
    let ids = |df: bool, ids: &[u16]| {
        let frame = |(n, id): (usize, &u16)| {
            let mut shape = Shape::tcp4().later(n, n * 100);
            (shape.df, shape.id) = (df, *id);
            shape.frame(&data)
        };
        let frames: Vec<_> = ids.iter().enumerate().map(frame).collect();
        complete(&frames).len()
    };
    assert_eq!(ids(false, &[65_535, 0, 1]), 1);
    assert_eq!(ids(true, &[7, 8, 9]), 1);
    assert_eq!(ids(true, &[7, 7, 7]), 1);
    assert_eq!(ids(false, &[7, 7, 7]), 3);
    assert_eq!(ids(true, &[7, 7, 8]), 2);
    assert_eq!(ids(true, &[7, 8, 8]), 2);
    assert_eq!(ids(true, &[7, 9, 11]), 3);
}

#[test]
fn damaged_frames_are_not_merged() {
    let shapes = [Shape::tcp4(), Shape::udp4(), Shape::tcp4().v6()];
    for shape in shapes {
        let whole = train(&shape, 100, 2);
        assert!(merges(&whole[0], &whole[1]));
        for at in [shape.payload_at() + 3, shape.checksum_at()] {
            for n in 0..2 {
                let mut damaged = whole.clone();
                damaged[n][at] ^= 0x10;
                assert!(!merges(&damaged[0], &damaged[1]));
            }
        }
    }
    let mut bad_header = train(&Shape::tcp4(), 100, 2);
    bad_header[1][Shape::tcp4().network_at() + 10] ^= 1;
    assert!(!merges(&bad_header[0], &bad_header[1]));
    let mut unchecked = train(&Shape::udp4(), 100, 2);
    for frame in &mut unchecked {
        let at = Shape::udp4().checksum_at();
        frame[at..at + 2].fill(0);
    }
    assert!(!merges(&unchecked[0], &unchecked[1]));
}

#[test]
fn options_and_extension_headers_of_ip_pass_through() {
    for shape in [Shape::tcp4().extended(), Shape::udp4().v6().extended()] {
        let frames = train(&shape, 100, 2);
        assert!(!merges(&frames[0], &frames[1]));
    }
}

#[test]
fn an_acknowledgement_does_not_overtake_its_flow() {
    let shape = Shape::tcp4();
    let mut frames = train(&shape, 100, 2);
    let pure = shape.later(2, 200).frame(&[]);
    frames.push(pure.clone());
    frames.push(shape.later(3, 200).frame(&payload(100)));
    let emitted = complete(&frames);
    assert_eq!(emitted.len(), 3);
    assert_eq!(emitted[1], (VirtioHeader::PLAIN, pure));
}

#[test]
fn a_fragment_flushes_all_open_super_frames() {
    let shape = Shape::udp4();
    let mut frames = train(&shape, 100, 2);
    let mut fragment = shape.frame(&payload(100));
    fragment[shape.network_at() + 6] = 0x20;
    frames.push(fragment.clone());
    let emitted = complete(&frames);
    assert_eq!(emitted.len(), 2);
    assert_eq!(emitted[1], (VirtioHeader::PLAIN, fragment));
}

#[test]
fn flows_beyond_the_bound_push_out_the_oldest() {
    let flow = |n: usize| Shape {
        ports: [short(n), 80],
        ..Shape::tcp4()
    };
    let data = payload(100);
    let count = MAX_MERGE_FLOWS + 1;
    let mut frames: Vec<_> = (0..count).map(|n| flow(n).frame(&data)).collect();
    let second = (0..count).map(|n| flow(n).later(1, 100).frame(&data));
    frames.extend(second.skip(1));
    let emitted = complete(&frames);
    assert_eq!(emitted.len(), count);
    assert!(emitted[0].0.is_plain());
    for (n, (header, frame)) in emitted.iter().enumerate().skip(1) {
        let expected = flow(n).partial(&data.repeat(2));
        assert_eq!((*header, frame), (flow(n).header(100), &expected));
    }
}
