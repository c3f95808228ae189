//! Ethernet II frames without FCS, with up to two VLAN tags (IEEE 802.1Q, 802.1ad).
//!
//! ```text
//! bytes 0–5    destination MAC
//! bytes 6–11   source MAC
//! bytes 12–13  EtherType, or a tag (0x8100, 0x88a8): 2 bytes of tag control follow, then the next EtherType
//! then         payload
//! ```

use crate::ids::Mac;

/// Length of an Ethernet header without tags, in bytes.
pub const HEADER_LEN: usize = 14;
/// Length of a VLAN tag, in bytes.
pub const VLAN_TAG_LEN: usize = 4;
/// Shortest frame on a wire, without FCS, in bytes; shorter ones are padded with zeros.
pub const MIN_FRAME: usize = 60;

/// EtherType of IPv4 (RFC 894).
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP (RFC 826).
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6 (RFC 2464).
pub const IPV6: u16 = 0x86dd;
/// EtherType of a VLAN tag (IEEE 802.1Q).
pub const VLAN: u16 = 0x8100;
/// EtherType of a service VLAN tag (IEEE 802.1ad).
pub const SERVICE_VLAN: u16 = 0x88a8;

/// Error: the frame is too short for an Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame is shorter than an Ethernet header")]
pub struct Runt;

/// Frame with a complete header.
#[derive(Clone, Copy, Debug)]
pub struct EthernetView<'a> {
    destination: Mac,
    source: Mac,
    ethertype: u16,
    vlan: Option<u16>,
    payload: &'a [u8],
}

impl<'a> EthernetView<'a> {
    /// Parses the header of `frame`; a third tag, or a truncated one, stays in the payload.
    ///
    /// # Errors
    /// [`Runt`] if it is shorter than [`HEADER_LEN`].
    pub fn new_checked(frame: &'a [u8]) -> Result<Self, Runt> {
        let (destination, rest) = frame.split_first_chunk().ok_or(Runt)?;
        let (source, rest) = rest.split_first_chunk().ok_or(Runt)?;
        let (ethertype, payload) = rest.split_first_chunk().ok_or(Runt)?;
        let mut view = Self {
            destination: Mac(*destination),
            source: Mac(*source),
            ethertype: u16::from_be_bytes(*ethertype),
            vlan: None,
            payload,
        };
        view.strip_tag();
        view.strip_tag();
        Ok(view)
    }

    fn strip_tag(&mut self) {
        if !matches!(self.ethertype, VLAN | SERVICE_VLAN) {
            return;
        }
        let Some(([c0, c1, e0, e1], payload)) = self.payload.split_first_chunk() else {
            return;
        };
        let outermost = u16::from_be_bytes([*c0, *c1]) & 0x0fff;
        self.vlan = self.vlan.or(Some(outermost));
        self.ethertype = u16::from_be_bytes([*e0, *e1]);
        self.payload = payload;
    }

    /// Returns the destination MAC.
    pub fn destination(&self) -> Mac {
        self.destination
    }

    /// Returns the source MAC.
    pub fn source(&self) -> Mac {
        self.source
    }

    /// Returns the EtherType behind the tags; a value up to 1,500 is the length of an IEEE 802.3 frame.
    pub fn ethertype(&self) -> u16 {
        self.ethertype
    }

    /// Returns the VLAN id of the outermost tag.
    pub fn vlan(&self) -> Option<u16> {
        self.vlan
    }

    /// Returns the bytes after the EtherType, padding included.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns true if bridges must not forward the destination: STP, LLDP, pause frames and others
    /// (01:80:c2:00:00:00 to 0f, IEEE 802.1D table 7-10).
    pub fn is_link_local(&self) -> bool {
        let Mac([a, b, c, d, e, f]) = self.destination;
        [a, b, c, d, e] == [0x01, 0x80, 0xc2, 0, 0] && f <= 0x0f
    }
}

#[cfg(test)]
mod tests {
    use pnet::packet::ethernet::EthernetPacket;
    use pnet::packet::vlan::VlanPacket;
    use pnet::packet::{Packet, ethernet::EtherTypes};
    use proptest::prelude::*;

    use super::*;

    fn frame(ethertypes_and_rest: &[u8]) -> Vec<u8> {
        [
            &[1, 2, 3, 4, 5, 6, 0x12, 8, 9, 10, 11, 12][..],
            ethertypes_and_rest,
        ]
        .concat()
    }

    #[test]
    fn plain_frame() {
        let frame = frame(&[0x08, 0x06, 0xaa]);
        let view = EthernetView::new_checked(&frame).unwrap();
        assert_eq!(view.destination(), Mac([1, 2, 3, 4, 5, 6]));
        assert_eq!(view.source(), Mac([0x12, 8, 9, 10, 11, 12]));
        assert_eq!(
            (view.ethertype(), view.vlan(), view.payload()),
            (ARP, None, &[0xaa][..])
        );
    }

    #[test]
    fn one_and_two_tags() {
        let one = frame(&[0x81, 0x00, 0xe0, 0x2a, 0x86, 0xdd, 1]);
        let view = EthernetView::new_checked(&one).unwrap();
        assert_eq!(
            (view.ethertype(), view.vlan(), view.payload()),
            (IPV6, Some(42), &[1][..])
        );
        let two = frame(&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 9, 0x08, 0x00]);
        let view = EthernetView::new_checked(&two).unwrap();
        assert_eq!(
            (view.ethertype(), view.vlan(), view.payload()),
            (IPV4, Some(7), &[][..])
        );
    }

    #[test]
    fn a_third_tag_and_a_cut_tag_stay_in_the_payload() {
        let three = frame(&[0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 8, 0]);
        let view = EthernetView::new_checked(&three).unwrap();
        assert_eq!(
            (view.ethertype(), view.payload()),
            (VLAN, &[0, 3, 8, 0][..])
        );
        let cut = frame(&[0x81, 0, 0, 1, 8]);
        let view = EthernetView::new_checked(&cut).unwrap();
        assert_eq!(
            (view.ethertype(), view.vlan(), view.payload()),
            (VLAN, None, &[0, 1, 8][..])
        );
    }

    #[test]
    fn runts_are_refused_at_each_length() {
        for len in 0..HEADER_LEN {
            assert_eq!(
                EthernetView::new_checked(&[0; HEADER_LEN][..len]).unwrap_err(),
                Runt
            );
        }
        assert!(EthernetView::new_checked(&[0; HEADER_LEN]).is_ok());
    }

    #[test]
    fn bridge_groups_are_known() {
        let to = |mac: &str| {
            let mut frame = frame(&[0, 0]);
            frame[..6].copy_from_slice(&mac.parse::<Mac>().unwrap().0);
            EthernetView::new_checked(&frame).unwrap().is_link_local()
        };
        assert!(to("01:80:c2:00:00:00") && to("01:80:c2:00:00:0e") && to("01:80:c2:00:00:0f"));
        assert!(!to("01:80:c2:00:00:10") && !to("ff:ff:ff:ff:ff:ff") && !to("01:80:c2:00:01:00"));
    }

    proptest! {
        #[test]
        fn agrees_with_pnet(mut bytes in prop::collection::vec(any::<u8>(), 0..80), tag in 0usize..4) {
            let tags = [[0x81, 0x00], [0x88, 0xa8], [0x08, 0x00], [0x08, 0x06]];
            if let Some(field) = bytes.get_mut(12..14) {
                field.copy_from_slice(&tags[tag]);
            }
            let theirs = EthernetPacket::new(&bytes);
            let ours = EthernetView::new_checked(&bytes);
            prop_assert_eq!(ours.is_ok(), theirs.is_some());
            let (Ok(ours), Some(theirs)) = (ours, theirs) else { return Ok(()) };
            prop_assert_eq!(ours.destination().0, <[u8; 6]>::from(theirs.get_destination()));
            prop_assert_eq!(ours.source().0, <[u8; 6]>::from(theirs.get_source()));
            if ![EtherTypes::Vlan, EtherTypes::QinQ, EtherTypes::PBridge].contains(&theirs.get_ethertype()) {
                prop_assert_eq!(ours.ethertype(), theirs.get_ethertype().0);
                prop_assert_eq!(ours.payload(), theirs.payload());
                prop_assert_eq!(ours.vlan(), None);
            } else if let Some(vlan) = VlanPacket::new(theirs.payload()) {
                prop_assert_eq!(ours.vlan(), Some(vlan.get_vlan_identifier()));
            }
        }
    }
}
