//! Views of Ethernet frames and ARP packets.

use std::net::Ipv4Addr;

use mesh_proto::frame::arp::{ArpPacket, gratuitous_arp};
use mesh_proto::frame::ethernet::{EthernetView, HEADER_LEN, VLAN_TAG_LEN};
use mesh_proto::ids::Mac;

use super::fixture;

/// Views stay within their frame, and an ARP packet survives encoding and parsing.
pub(super) fn target(data: &[u8]) {
    let Ok(view) = EthernetView::new_checked(data) else {
        assert!(data.len() < HEADER_LEN);
        return;
    };
    assert!(data.ends_with(view.payload()));
    let header = data.len() - view.payload().len();
    assert!((HEADER_LEN..=HEADER_LEN + 2 * VLAN_TAG_LEN).contains(&header));
    assert_eq!(view.vlan().is_some(), header > HEADER_LEN);
    assert!(view.vlan().is_none_or(|vlan| vlan < 4096));
    assert!(data.starts_with(&[view.destination().0, view.source().0].concat()));
    assert!(!view.is_link_local() || view.destination().is_group());
    if let Some(packet) = ArpPacket::from_frame(&view) {
        let written = packet.to_frame(view.destination());
        let again = EthernetView::new_checked(&written).expect("a whole frame");
        assert_eq!(ArpPacket::from_frame(&again), Some(packet));
        assert_eq!(again.source(), packet.sender_mac);
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mac = fixture::mac(1);
    let arp = gratuitous_arp(mac, Ipv4Addr::new(10, 2, 1, 1)).to_vec();
    let plain = fixture::frame(1, Mac::BROADCAST, &[0x45; 46]);
    let tagged = |tags: &[&[u8]]| [&plain[..12], &tags.concat(), &plain[12..]].concat();
    let one = tagged(&[&[0x81, 0, 0xe0, 5]]);
    let two = tagged(&[&[0x88, 0xa8, 0, 7], &[0x81, 0, 0, 9]]);
    let cut = one[..15].to_vec();
    let stp = fixture::frame(1, Mac([1, 0x80, 0xc2, 0, 0, 0]), &[0; 46]);
    vec![arp, plain, one, two, cut, stp]
}
