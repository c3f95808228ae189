use pnet::util;
use proptest::prelude::*;

use super::frames::{Shape, payload, shapes};
use crate::checksum::{checksum, checksum_of};
use crate::offload::{OffloadError, finish_checksum, has_valid_checksum};

#[test]
fn the_example_of_rfc_1071() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(checksum(&bytes), !0xddf2);
    assert_eq!(checksum(&[]), 0xffff);
    assert_eq!(checksum(&[0xff; 65_536]), 0);
}

#[test]
fn udp_never_gets_a_zero_checksum() {
    // A payload whose checksum is 0.
    let shape = Shape::udp4();
    let rest = shape.expected_checksum(&shape.frame(&[0, 0]));
    let mut frame = shape.partial(&rest.to_be_bytes());
    finish_checksum(&mut frame).unwrap();
    let at = shape.checksum_at();
    assert_eq!(frame[at..at + 2], [0xff, 0xff]);
    assert!(has_valid_checksum(&frame));
    frame[at..at + 2].fill(0);
    assert!(!has_valid_checksum(&frame));
}

#[test]
fn frames_without_a_transport_checksum_are_refused() {
    let mut arp = vec![0; 60];
    arp[12..14].copy_from_slice(&[8, 6]);
    let before = arp.clone();
    assert_eq!(finish_checksum(&mut arp), Err(OffloadError::NotTransport));
    assert_eq!(arp, before);
    assert!(!has_valid_checksum(&arp));
}

proptest! {
    #[test]
    fn parts_sum_up_to_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..100) {
        let (a, b) = bytes.split_at((cut * 2).min(bytes.len() & !1));
        prop_assert_eq!(checksum_of(&[a, b]), checksum(&bytes));
    }

    #[test]
    fn sums_are_those_of_pnet(mut bytes in prop::collection::vec(any::<u8>(), 10..300), ones: bool, skip in 0usize..9) {
        if ones {
            bytes.fill(0xff);
        }
        prop_assert_eq!(checksum(&bytes[skip..]), util::checksum(&bytes[skip..], usize::MAX));
    }

    #[test]
    fn finished_frames_are_those_of_pnet(shape in shapes(false), len in 0usize..3_000, padding in 0usize..20) {
        let payload = payload(len);
        let mut frame = shape.partial(&payload);
        frame.resize(frame.len() + padding, 0xaa);
        finish_checksum(&mut frame).unwrap();
        let mut expected = shape.frame(&payload);
        expected.resize(expected.len() + padding, 0xaa);
        prop_assert_eq!(&frame, &expected);
        prop_assert!(has_valid_checksum(&frame));
    }

    #[test]
    fn a_changed_bit_is_seen(shape in shapes(false), len in 1usize..200, at: prop::sample::Index, bit in 0u32..8) {
        let mut frame = shape.frame(&payload(len));
        let at = shape.payload_at() + at.index(len);
        frame[at] ^= 1 << bit;
        prop_assert!(!has_valid_checksum(&frame));
    }
}
