use pnet::packet::Packet;
use pnet::packet::ethernet::EthernetPacket;
use pnet::packet::icmpv6::ndp::{
    MutableNdpOptionPacket, MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NdpOption,
    NdpOptionTypes, NeighborAdvertFlags, NeighborAdvertPacket,
};
use pnet::packet::icmpv6::{self, Icmpv6Code, Icmpv6Packet, Icmpv6Type, Icmpv6Types};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv6::Ipv6Packet;
use proptest::prelude::*;

use super::*;

const ASKER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const TARGET: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x12, 0x3456);
const ASKER_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const TARGET_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// Returns an ICMPv6 message in a frame to the solicited-node group of [`TARGET`], with a checksum by pnet.
fn frame(source: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff12, 0x3456);
    let mut message = message.to_vec();
    if let Some(packet) = Icmpv6Packet::new(&message) {
        let sum = icmpv6::checksum(&packet, &source, &group);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    let [hi, lo] = u16::try_from(message.len()).unwrap().to_be_bytes();
    [
        &[0x33, 0x33, 0xff, 0x12, 0x34, 0x56][..],
        &ASKER_MAC.0,
        &[0x86, 0xdd, 0x60, 0, 0, 0, hi, lo, 58, 255],
        &source.octets(),
        &group.octets(),
        &message,
    ]
    .concat()
}

fn option(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1][..], &mac.0].concat()
}

/// Returns a solicitation for [`TARGET`], encoded by pnet.
fn solicitation(options: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 24 + options.len()];
    let mut packet = MutableNeighborSolicitPacket::new(&mut message).unwrap();
    packet.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
    packet.set_target_addr(TARGET);
    message[24..].copy_from_slice(options);
    message
}

fn read(frame: &[u8]) -> Option<NdpMessage> {
    NdpMessage::from_frame(&EthernetView::new_checked(frame).unwrap())
}

#[test]
fn a_solicitation_that_pnet_wrote_is_read() {
    let mut option_bytes = [0; 8];
    let mut written = MutableNdpOptionPacket::new(&mut option_bytes).unwrap();
    written.populate(&NdpOption {
        option_type: NdpOptionTypes::SourceLLAddr,
        length: 1,
        data: ASKER_MAC.0.to_vec(),
    });
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    let expected = |source, source_mac| {
        Some(NdpMessage::Solicitation(Solicitation {
            source,
            source_mac,
            target: TARGET,
        }))
    };
    for options in [&option_bytes[..], &[nonce, option_bytes].concat()] {
        let asked = frame(ASKER, &solicitation(options));
        assert_eq!(read(&asked), expected(ASKER, Some(ASKER_MAC)));
    }
    let asked = frame(Ipv6Addr::UNSPECIFIED, &solicitation(&nonce));
    assert_eq!(read(&asked), expected(Ipv6Addr::UNSPECIFIED, None));
}

#[test]
fn an_advertisement_that_pnet_wrote_is_read() {
    let mut message = vec![0; 32];
    let mut packet = MutableNeighborAdvertPacket::new(&mut message).unwrap();
    packet.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
    packet.set_target_addr(TARGET);
    message[24..].copy_from_slice(&option(2, TARGET_MAC));
    let told = |target_mac| {
        Some(NdpMessage::Advertisement(Advertisement {
            target: TARGET,
            target_mac,
        }))
    };
    assert_eq!(read(&frame(TARGET, &message)), told(Some(TARGET_MAC)));
    assert_eq!(read(&frame(TARGET, &message[..24])), told(None));
}

#[test]
fn invalid_messages_are_refused() {
    let whole = frame(ASKER, &solicitation(&option(1, ASKER_MAC)));
    assert!(read(&whole).is_some());
    for len in ethernet::HEADER_LEN..whole.len() {
        assert_eq!(read(&whole[..len]), None, "{len}");
    }
    // Each bit that the checksum covers, and each of the fields that are checked.
    for bit in (8 * 18)..(8 * whole.len()) {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(read(&changed), None, "bit {bit}");
    }
    let bad = |change: fn(&mut Vec<u8>)| {
        let mut message = solicitation(&option(1, ASKER_MAC));
        change(&mut message);
        assert_eq!(read(&frame(ASKER, &message)), None, "{message:?}");
    };
    bad(|m| m[0] = 133);
    bad(|m| m[1] = 1);
    bad(|m| m[8..24].copy_from_slice(&"ff02::1".parse::<Ipv6Addr>().unwrap().octets()));
    bad(|m| m[25] = 0);
    bad(|m| m[25] = 2);
    bad(|m| m.push(1));
}

#[test]
fn pnet_reads_the_answer() {
    let answer = advertise(TARGET, TARGET_MAC, (ASKER, ASKER_MAC));
    let ethernet = EthernetPacket::new(&answer).unwrap();
    assert_eq!(<[u8; 6]>::from(ethernet.get_destination()), ASKER_MAC.0);
    assert_eq!(<[u8; 6]>::from(ethernet.get_source()), TARGET_MAC.0);
    let ip = Ipv6Packet::new(ethernet.payload()).unwrap();
    assert_eq!((ip.get_version(), ip.get_hop_limit()), (6, 255));
    assert_eq!(ip.get_next_header(), IpNextHeaderProtocols::Icmpv6);
    assert_eq!((ip.get_source(), ip.get_destination()), (TARGET, ASKER));
    assert_eq!(usize::from(ip.get_payload_length()), ip.payload().len());
    let icmp = Icmpv6Packet::new(ip.payload()).unwrap();
    assert_eq!(icmp.get_icmpv6_type(), Icmpv6Type(136));
    assert_eq!(icmp.get_icmpv6_code(), Icmpv6Code(0));
    let sum = icmpv6::checksum(&icmp, &TARGET, &ASKER);
    assert_eq!(icmp.get_checksum(), sum);
    let told = NeighborAdvertPacket::new(ip.payload()).unwrap();
    assert_eq!(told.get_flags(), NeighborAdvertFlags::Solicited);
    assert_eq!(told.get_target_addr(), TARGET);
    let [option] = &told.get_options()[..] else {
        panic!("one option")
    };
    assert_eq!(option.option_type, NdpOptionTypes::TargetLLAddr);
    assert_eq!((option.length, &option.data[..]), (1, &TARGET_MAC.0[..]));
}

proptest! {
    #[test]
    fn answers_are_read_as_they_were_written(target: u128, asker: u128, macs: [[u8; 6]; 2]) {
        let target = Ipv6Addr::from(target);
        prop_assume!(!target.is_multicast());
        let answer = advertise(target, Mac(macs[0]), (asker.into(), Mac(macs[1])));
        let told = Advertisement { target, target_mac: Some(Mac(macs[0])) };
        prop_assert_eq!(read(&answer), Some(NdpMessage::Advertisement(told)));
    }

    #[test]
    fn no_options_panic(options in prop::collection::vec(any::<u8>(), 0..64)) {
        let whole = options.len() % 8 == 0;
        if let Some(NdpMessage::Solicitation(asked)) = read(&frame(ASKER, &solicitation(&options))) {
            prop_assert!(whole);
            prop_assert_eq!((asked.source, asked.target), (ASKER, TARGET));
        }
    }
}
