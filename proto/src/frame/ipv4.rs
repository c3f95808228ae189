//! IPv4 packets (RFC 791).
//!
//! ```text
//! byte  0      version (4) in the high four bits, header length in words of 4 bytes in the low four
//! bytes 2–3    total length               bytes 4–5    identification
//! bytes 6–7    flags (DF 0x4000, MF 0x2000) and fragment offset in units of 8 bytes
//! byte  8      time to live               byte  9      protocol
//! bytes 10–11  checksum of the header     bytes 12–15  source
//! bytes 16–19  destination                then         options
//! ```

use core::net::Ipv4Addr;

/// Length of a header without options, in bytes.
pub const MIN_HEADER: usize = 20;
/// Flag that forbids fragmentation, in bytes 6–7.
pub const DONT_FRAGMENT: u16 = 0x4000;
/// Flag of every fragment but the last, in bytes 6–7.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// Mask of the fragment offset in bytes 6–7, in units of [`FRAGMENT_UNIT`] bytes.
pub const OFFSET: u16 = 0x1fff;
/// Unit of fragment offsets, in bytes.
pub const FRAGMENT_UNIT: usize = 8;
/// Protocol number of ICMP.
pub const ICMP: u8 = 1;

/// IPv4 packet with a complete header and a valid length; its checksum is not verified.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4View<'a> {
    fixed: &'a [u8; MIN_HEADER],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Ipv4View<'a> {
    /// Parses the packet at the start of `bytes`; bytes after its total length are padding.
    ///
    /// `None` if version, header length or total length are not those of a complete packet.
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, _) = bytes.split_first_chunk::<MIN_HEADER>()?;
        let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        let header = usize::from(fixed[0] & 0x0f) * 4;
        let packet = bytes.get(..total)?;
        let options = packet.get(MIN_HEADER..header)?;
        let payload = packet.get(header..)?;
        (fixed[0] >> 4 == 4).then_some(Self {
            fixed,
            options,
            payload,
        })
    }

    /// Returns the header without options.
    pub fn fixed(&self) -> &'a [u8; MIN_HEADER] {
        self.fixed
    }

    /// Returns the options, padding included: 0 to 40 bytes, a multiple of 4.
    pub fn options(&self) -> &'a [u8] {
        self.options
    }

    /// Returns the payload.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns the length of the packet in bytes, header included.
    pub fn total_len(&self) -> usize {
        MIN_HEADER + self.options.len() + self.payload.len()
    }

    /// Returns true if routers must not fragment the packet.
    pub fn dont_fragment(&self) -> bool {
        self.flags() & DONT_FRAGMENT != 0
    }

    /// Returns true if it is a fragment but not the last one.
    pub fn more_fragments(&self) -> bool {
        self.flags() & MORE_FRAGMENTS != 0
    }

    /// Returns the offset of its payload in that of the original packet, in units of [`FRAGMENT_UNIT`] bytes.
    pub fn offset(&self) -> u16 {
        self.flags() & OFFSET
    }

    /// Returns the protocol number of the payload.
    pub fn protocol(&self) -> u8 {
        self.fixed[9]
    }

    /// Returns the source address.
    pub fn source(&self) -> Ipv4Addr {
        let [.., a, b, c, d, _, _, _, _] = *self.fixed;
        Ipv4Addr::new(a, b, c, d)
    }

    /// Returns the destination address.
    pub fn destination(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.fixed;
        Ipv4Addr::new(a, b, c, d)
    }

    fn flags(&self) -> u16 {
        u16::from_be_bytes([self.fixed[6], self.fixed[7]])
    }
}

#[cfg(test)]
mod tests {
    use pnet::packet::Packet;
    use pnet::packet::ipv4::{Ipv4Flags, Ipv4Packet};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_pnet(mut bytes in prop::collection::vec(any::<u8>(), 20..120), header in 0u8..16, total in 0u16..130) {
            bytes[0] = 0x40 | header;
            bytes[2..4].copy_from_slice(&total.to_be_bytes());
            let whole = header >= 5
                && usize::from(total) >= usize::from(header) * 4
                && usize::from(total) <= bytes.len();
            let view = Ipv4View::new_checked(&bytes);
            prop_assert_eq!(view.is_some(), whole);
            let Some(view) = view else { return Ok(()) };
            let theirs = Ipv4Packet::new(&bytes).unwrap();
            prop_assert_eq!(view.source(), theirs.get_source());
            prop_assert_eq!(view.destination(), theirs.get_destination());
            prop_assert_eq!(view.protocol(), theirs.get_next_level_protocol().0);
            prop_assert_eq!(view.offset(), theirs.get_fragment_offset());
            prop_assert_eq!(view.dont_fragment(), theirs.get_flags() & Ipv4Flags::DontFragment != 0);
            prop_assert_eq!(view.more_fragments(), theirs.get_flags() & Ipv4Flags::MoreFragments != 0);
            prop_assert_eq!(view.options(), theirs.get_options_raw());
            prop_assert_eq!(view.payload(), theirs.payload());
            prop_assert_eq!(view.total_len(), usize::from(total));
        }
    }

    #[test]
    fn another_version_and_every_cut_are_refused() {
        let mut packet = [0; 28];
        packet[0] = 0x45;
        packet[3] = 28;
        assert!(Ipv4View::new_checked(&packet).is_some());
        for len in 0..28 {
            assert!(Ipv4View::new_checked(&packet[..len]).is_none(), "{len}");
        }
        packet[0] = 0x65;
        assert!(Ipv4View::new_checked(&packet).is_none());
    }
}
