use std::collections::BTreeMap;

use pnet::packet::Packet;
use pnet::packet::ipv4::{Ipv4Flags, Ipv4Packet, checksum};
use proptest::prelude::*;

use super::super::ipv4::DONT_FRAGMENT;
use super::*;

/// Record route (not copied), security (copied), no operation, end.
const RECORD_ROUTE: [u8; 7] = [7, 7, 4, 0, 0, 0, 0];
const SECURITY: [u8; 11] = [0x82, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9];

fn frame(tags: &[u8], options: &[u8], flags: u16, payload: &[u8]) -> Vec<u8> {
    let mut options = options.to_vec();
    options.resize(options.len().next_multiple_of(4), 0);
    let words = u8::try_from(5 + options.len() / 4).unwrap();
    let total = u16::try_from(20 + options.len() + payload.len()).unwrap();
    let mut fixed = [0; 20];
    fixed[0] = 0x40 | words;
    fixed[2..4].copy_from_slice(&total.to_be_bytes());
    fixed[4..6].copy_from_slice(&[0xab, 0xcd]);
    fixed[6..8].copy_from_slice(&flags.to_be_bytes());
    fixed[8..10].copy_from_slice(&[64, 17]);
    fixed[12..].copy_from_slice(&[10, 2, 1, 1, 10, 2, 1, 2]);
    let sum = checksum_of(&[&fixed, &options]);
    fixed[10..12].copy_from_slice(&sum.to_be_bytes());
    let macs = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    [&macs[..], tags, &[8, 0], &fixed, &options, payload].concat()
}

/// Reassembles fragments like their destination (RFC 815 would find the same holes). Returns the payload, if
/// complete.
fn reassemble(packets: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut pieces = BTreeMap::new();
    let mut end = None;
    for bytes in packets {
        let packet = Ipv4Packet::new(bytes).unwrap();
        assert_eq!(packet.get_checksum(), checksum(&packet));
        assert_eq!(usize::from(packet.get_total_length()), bytes.len());
        let offset = 8 * usize::from(packet.get_fragment_offset());
        if packet.get_flags() & Ipv4Flags::MoreFragments == 0 {
            end = Some(offset + packet.payload().len());
        }
        pieces.insert(offset, packet.payload().to_vec());
    }
    let mut whole = Vec::new();
    for (offset, piece) in pieces {
        if offset != whole.len() {
            return None;
        }
        whole.extend(piece);
    }
    (end == Some(whole.len())).then_some(whole)
}

fn options() -> impl Strategy<Value = Vec<u8>> {
    let one = prop_oneof![
        Just(RECORD_ROUTE.to_vec()),
        Just(SECURITY.to_vec()),
        Just(vec![1])
    ];
    prop::collection::vec(one, 0..4)
        .prop_map(|all| all.concat())
        .prop_filter("at most 40 bytes", |all| all.len() <= 40)
}

proptest! {
    #[test]
    fn fragments_make_the_packet_again(
        payload in prop::collection::vec(any::<u8>(), 0..3000),
        options in options(),
        tagged: bool,
        mtu in 68u16..1500,
        order in any::<prop::sample::Index>(),
    ) {
        let tags: &[u8] = if tagged { &[0x81, 0, 0, 9] } else { &[] };
        let frame = frame(tags, &options, 0, &payload);
        let header = 14 + tags.len();
        let cut: Vec<Vec<u8>> = Fragments::new(&frame, mtu).unwrap().collect();
        let mut packets = Vec::new();
        for fragment in &cut {
            prop_assert_eq!(&fragment[..header], &frame[..header]);
            prop_assert!(fragment.len() - header <= usize::from(mtu));
            prop_assert_eq!(&fragment[header + 4..header + 6], &frame[header + 4..header + 6]);
            packets.push(fragment[header..].to_vec());
        }
        let turn = order.index(packets.len());
        packets.rotate_left(turn);
        prop_assert_eq!(reassemble(&packets), Some(payload));
        prop_assert!(packets.len() < 2 || reassemble(&packets[1..]).is_none());
    }

    #[test]
    fn a_fragment_may_be_cut_again(payload in prop::collection::vec(any::<u8>(), 600..3000), first in 300u16..600, second in 68u16..300) {
        let whole = frame(&[], &[], 0, &payload);
        let mut packets = Vec::new();
        for fragment in Fragments::new(&whole, first).unwrap() {
            packets.extend(Fragments::new(&fragment, second).unwrap().map(|f| f[14..].to_vec()));
        }
        prop_assert_eq!(reassemble(&packets), Some(payload));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), flags in any::<u16>(), mtu: u16) {
        let mut frame = frame(&[], &[], flags, &bytes);
        if let Some(words) = bytes.first().map(|b| b & 0x0f) {
            frame[14] = 0x40 | words;
        }
        for fragment in Fragments::new(&frame, mtu).into_iter().flatten() {
            prop_assert!(fragment.len() - 14 <= usize::from(mtu));
        }
    }
}

#[test]
fn options_are_copied_by_their_bit() {
    let options = [&RECORD_ROUTE[..], &[1], &SECURITY].concat();
    let frame = frame(&[], &options, 0, &[5; 200]);
    let cut: Vec<Vec<u8>> = Fragments::new(&frame, 100).unwrap().collect();
    assert_eq!(cut.len(), 4);
    assert_eq!(cut[0][14], 0x4a);
    assert_eq!(cut[0][34..53], options);
    for later in &cut[1..] {
        assert_eq!(later[14], 0x48);
        assert_eq!(later[34..45], SECURITY);
        assert_eq!(later[45], END_OF_OPTIONS);
    }
}

#[test]
fn a_malformed_option_ends_the_copying() {
    for bad in [
        vec![0x82, 0, 9, 9],
        vec![0x82, 1, 9, 9],
        vec![0x82, 9, 9, 9],
        vec![1, 1, 1, 0x82],
    ] {
        assert_eq!(Ipv4Options::copied(&bad).len, 0, "{bad:?}");
    }
    let good = [&SECURITY[..], &[0x83]].concat();
    assert_eq!(
        Ipv4Options::copied(&good).as_slice(),
        [&SECURITY[..], &[0]].concat()
    );
}

#[test]
fn packets_that_cannot_be_fragmented_are_refused() {
    let payload = [0; 100];
    assert!(Fragments::new(&frame(&[], &[], 0, &payload), 28).is_some());
    assert!(Fragments::new(&frame(&[], &[], 0, &payload), 27).is_none());
    assert!(Fragments::new(&frame(&[], &[1; 40], 0, &payload), 67).is_none());
    assert!(Fragments::new(&frame(&[], &[], DONT_FRAGMENT, &payload), 68).is_none());
    // 65,528 and 100 bytes exceed the largest packet.
    assert!(Fragments::new(&frame(&[], &[], 0x1fff, &payload), 68).is_none());
    let mut arp = frame(&[], &[], 0, &payload);
    arp[13] = 6;
    assert!(Fragments::new(&arp, 68).is_none());
}

#[test]
fn padding_is_left_out() {
    let mut padded = frame(&[], &[], 0, &[7; 16]);
    padded.resize(60, 0xee);
    let cut: Vec<Vec<u8>> = Fragments::new(&padded, 28).unwrap().collect();
    assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [42, 42]);
    assert!(cut.iter().all(|f| f[34..] == [7; 8]));
}
