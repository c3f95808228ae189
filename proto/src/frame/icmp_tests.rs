use core::net::{Ipv4Addr, Ipv6Addr};

use pnet::packet::Packet;
use pnet::packet::icmp::{IcmpPacket, destination_unreachable::DestinationUnreachablePacket};
use pnet::packet::icmpv6::Icmpv6Packet;
use pnet::packet::ipv4::Ipv4Packet;
use pnet::packet::ipv6::Ipv6Packet;
use pnet::packet::{icmp, icmpv6, ipv4};
use proptest::prelude::*;

use super::*;

const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 2, 1, 1);
const DESTINATION: Ipv4Addr = Ipv4Addr::new(10, 2, 1, 2);
const SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const DESTINATION_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

fn ethernet(tags: &[u8], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let macs = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    [&macs[..], tags, &ethertype.to_be_bytes(), payload].concat()
}

fn v4(protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let words = u8::try_from(5 + options.len() / 4).unwrap();
    let total = u16::try_from(20 + options.len() + payload.len()).unwrap();
    let [hi, lo] = total.to_be_bytes();
    let fixed = [0x40 | words, 0, hi, lo, 0, 7, 0x40, 0, 64, protocol, 0, 0];
    let addresses = [SOURCE.octets(), DESTINATION.octets()].concat();
    [&fixed[..], &addresses, options, payload].concat()
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [hi, lo] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let addresses = [SOURCE_V6.octets(), DESTINATION_V6.octets()].concat();
    [&[0x60, 0, 0, 0, hi, lo, next, 64][..], &addresses, payload].concat()
}

fn answer_v4(packet: &[u8]) -> Option<Vec<u8>> {
    too_big(&ethernet(&[], ethernet::IPV4, packet), 1280)
}

fn answer_v6(packet: &[u8]) -> Option<Vec<u8>> {
    too_big(&ethernet(&[], ethernet::IPV6, packet), 1280)
}

proptest! {
    #[test]
    fn pnet_reads_the_answer_in_ipv4(
        payload in prop::collection::vec(any::<u8>(), 1281..2000),
        options in 0usize..10,
        tagged: bool,
        mtu in 68u16..1280,
    ) {
        let tags: &[u8] = if tagged { &[0x81, 0, 0xe0, 9] } else { &[] };
        let packet = v4(17, &vec![1; 4 * options], &payload);
        let answer = too_big(&ethernet(tags, ethernet::IPV4, &packet), mtu).unwrap();
        prop_assert_eq!(&answer[..12], [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        prop_assert_eq!(&answer[12..12 + tags.len()], tags);
        let ip = Ipv4Packet::new(&answer[14 + tags.len()..]).unwrap();
        prop_assert_eq!(ip.get_checksum(), ipv4::checksum(&ip));
        prop_assert_eq!((ip.get_source(), ip.get_destination()), (DESTINATION, SOURCE));
        prop_assert_eq!(usize::from(ip.get_total_length()), MAX_IPV4);
        let icmp = IcmpPacket::new(ip.payload()).unwrap();
        prop_assert_eq!(icmp.get_checksum(), icmp::checksum(&icmp));
        prop_assert_eq!((icmp.get_icmp_type().0, icmp.get_icmp_code().0), (3, 4));
        let unreachable = DestinationUnreachablePacket::new(ip.payload()).unwrap();
        prop_assert_eq!(unreachable.get_next_hop_mtu(), mtu);
        prop_assert_eq!(unreachable.payload(), &packet[..548]);
    }

    #[test]
    fn pnet_reads_the_answer_in_ipv6(
        payload in prop::collection::vec(any::<u8>(), 1401..2000),
        mtu in 0u16..1400,
    ) {
        let packet = v6(17, &payload);
        let answer = too_big(&ethernet(&[], ethernet::IPV6, &packet), mtu).unwrap();
        let ip = Ipv6Packet::new(&answer[14..]).unwrap();
        prop_assert_eq!((ip.get_source(), ip.get_destination()), (DESTINATION_V6, SOURCE_V6));
        prop_assert_eq!(answer.len(), 14 + 1280);
        let message = Icmpv6Packet::new(ip.payload()).unwrap();
        let sum = icmpv6::checksum(&message, &DESTINATION_V6, &SOURCE_V6);
        prop_assert_eq!(message.get_checksum(), sum);
        prop_assert_eq!((message.get_icmpv6_type().0, message.get_icmpv6_code().0), (2, 0));
        prop_assert_eq!(&ip.payload()[4..8], u32::from(mtu.max(1280)).to_be_bytes());
        prop_assert_eq!(&ip.payload()[8..], &packet[..1232]);
    }

    #[test]
    fn no_frame_panics_and_no_answer_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..200), mtu: u16) {
        for ethertype in [ethernet::IPV4, ethernet::IPV6] {
            let mut frame = ethernet(&[], ethertype, &bytes);
            if let Some(first) = frame.get_mut(14) {
                *first = if ethertype == ethernet::IPV4 { 0x45 } else { 0x60 };
            }
            if let Some(answer) = too_big(&frame, mtu) {
                prop_assert_eq!(too_big(&answer, 0), None);
            }
        }
    }
}

#[test]
fn a_short_answer_is_padded() {
    let frame = ethernet(&[], ethernet::IPV4, &v4(17, &[], &[0; 9]));
    assert_eq!(too_big(&frame, 28).unwrap().len(), 14 + 28 + 29);
    let frame = ethernet(&[], ethernet::IPV4, &v4(17, &[], &[]));
    assert_eq!(too_big(&frame, 19).unwrap().len(), 14 + 28 + 20);
}

#[test]
fn errors_are_not_answered_and_questions_are() {
    for kind in 0..=u8::MAX {
        let message = [&[kind][..], &[0; 1400]].concat();
        let errors_v4 = [3, 4, 5, 11, 12].contains(&kind);
        assert_eq!(
            answer_v4(&v4(1, &[], &message)).is_none(),
            errors_v4,
            "{kind}"
        );
        let errors_v6 = kind < 128 || kind == 137;
        assert_eq!(answer_v6(&v6(58, &message)).is_none(), errors_v6, "{kind}");
        let behind = [&[58, 0, 1, 4, 0, 0, 0, 0][..], &message].concat();
        assert_eq!(answer_v6(&v6(60, &behind)).is_none(), errors_v6, "{kind}");
    }
}

#[test]
fn only_the_first_fragment_is_answered() {
    let mut packet = v4(17, &[], &[0; 1400]);
    packet[6] = 0x20;
    assert!(answer_v4(&packet).is_some());
    packet[7] = 1;
    assert!(answer_v4(&packet).is_none());
    let fragment = |offset| [&[17, 0, 0, offset, 0, 0, 0, 1][..], &[0; 1400]].concat();
    assert!(answer_v6(&v6(44, &fragment(1))).is_some());
    assert!(answer_v6(&v6(44, &fragment(9))).is_none());
}

#[test]
fn groups_and_unspecified_addresses_are_not_answered() {
    let good = v4(17, &[], &[0; 1400]);
    assert!(answer_v4(&good).is_some());
    for at in [12, 16] {
        for bad in [[224, 0, 0, 1], [255; 4], [0; 4], [127, 0, 0, 1]] {
            let mut packet = good.clone();
            packet[at..at + 4].copy_from_slice(&bad);
            assert!(answer_v4(&packet).is_none(), "{bad:?} at {at}");
        }
    }
    let good = v6(17, &[0; 1400]);
    assert!(answer_v6(&good).is_some());
    for at in [8, 24] {
        for bad in [
            Ipv6Addr::UNSPECIFIED,
            Ipv6Addr::LOCALHOST,
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        ] {
            let mut packet = good.clone();
            packet[at..at + 16].copy_from_slice(&bad.octets());
            assert!(answer_v6(&packet).is_none(), "{bad} at {at}");
        }
    }
    for at in [0, 6] {
        let mut frame = ethernet(&[], ethernet::IPV6, &good);
        frame[at] |= 1;
        assert!(too_big(&frame, 1280).is_none());
    }
}

#[test]
fn a_packet_that_passes_is_not_reported() {
    assert!(answer_v4(&v4(17, &[], &[0; 1260])).is_none());
    assert!(answer_v4(&v4(17, &[], &[0; 1261])).is_some());
    assert!(answer_v6(&v6(17, &[0; 1240])).is_none());
    assert!(answer_v6(&v6(17, &[0; 1241])).is_some());
}
