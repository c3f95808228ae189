//! IPv6 packets and their chain of extension headers (RFC 8200).
//!
//! ```text
//! byte  0      version (6) in the high four bits
//! bytes 4–5    payload length             byte  6      next header
//! byte  7      hop limit                  bytes 8–23   source
//! bytes 24–39  destination                then         extension headers, payload
//! ```

use core::net::Ipv6Addr;

/// Length of the header without extension headers, in bytes.
pub const HEADER_LEN: usize = 40;
/// Smallest MTU of a link (RFC 8200 section 5).
pub const MIN_MTU: u16 = 1280;
/// Next-header number of ICMPv6.
pub const ICMP: u8 = 58;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// IPv6 packet with a complete header and a valid length.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6View<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> Ipv6View<'a> {
    /// Parses the packet at the start of `bytes`; bytes after its payload length are padding.
    ///
    /// `None` if version or payload length are not those of a complete packet.
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let payload = rest.get(..length)?;
        (header[0] >> 4 == 6).then_some(Self { header, payload })
    }

    /// Returns the header.
    pub fn header(&self) -> &'a [u8; HEADER_LEN] {
        self.header
    }

    /// Returns the bytes after the header, extension headers included.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Returns the length of the packet in bytes, header included.
    pub fn total_len(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }

    /// Returns the source address.
    pub fn source(&self) -> Ipv6Addr {
        self.address(8)
    }

    /// Returns the destination address.
    pub fn destination(&self) -> Ipv6Addr {
        self.address(24)
    }

    fn address(&self, at: usize) -> Ipv6Addr {
        let octets = self.header.get(at..).and_then(<[u8]>::first_chunk::<16>);
        octets.map_or(Ipv6Addr::UNSPECIFIED, |octets| Ipv6Addr::from(*octets))
    }

    /// Returns the protocol behind the extension headers, and its payload.
    ///
    /// `None` for a fragment other than the first, and if the chain is truncated.
    pub fn upper(&self) -> Option<(u8, &'a [u8])> {
        let (mut next, mut rest) = (self.header[6], self.payload);
        loop {
            let units = match next {
                HOP_BY_HOP | ROUTING | DESTINATION => 8 * (usize::from(*rest.get(1)?) + 1),
                AUTHENTICATION => 4 * (usize::from(*rest.get(1)?) + 2),
                FRAGMENT => {
                    let offset = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]) >> 3;
                    (offset == 0).then_some(8)?
                }
                _ => return Some((next, rest)),
            };
            // Each header takes at least 8 bytes, so the loop ends.
            next = *rest.first()?;
            rest = rest.get(units..)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        packet[5] = u8::try_from(payload.len()).unwrap();
        packet.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
        packet.extend_from_slice(&Ipv6Addr::UNSPECIFIED.octets());
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn the_upper_protocol_is_found_behind_extension_headers() {
        let options = [DESTINATION, 0, 1, 4, 0, 0, 0, 0];
        let long = [AUTHENTICATION, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let authentication = [FRAGMENT, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let first = [ICMP, 0, 0, 1, 0, 0, 0, 9];
        let chain = [&options[..], &long, &authentication, &first, &[128, 0]].concat();
        let whole = packet(HOP_BY_HOP, &chain);
        let view = Ipv6View::new_checked(&whole).unwrap();
        assert_eq!(view.source(), Ipv6Addr::LOCALHOST);
        assert_eq!(view.destination(), Ipv6Addr::UNSPECIFIED);
        assert_eq!(view.upper(), Some((ICMP, &[128, 0][..])));
        for cut in 0..chain.len() - 2 {
            let cut = packet(HOP_BY_HOP, &chain[..cut]);
            assert_eq!(Ipv6View::new_checked(&cut).unwrap().upper(), None);
        }
        let later = packet(FRAGMENT, &[ICMP, 0, 0, 8, 0, 0, 0, 9]);
        assert_eq!(Ipv6View::new_checked(&later).unwrap().upper(), None);
    }

    #[test]
    fn another_version_and_every_cut_are_refused() {
        let mut whole = packet(17, &[0; 8]);
        assert!(Ipv6View::new_checked(&whole).is_some());
        for len in 0..whole.len() {
            assert!(Ipv6View::new_checked(&whole[..len]).is_none(), "{len}");
        }
        whole[0] = 0x45;
        assert!(Ipv6View::new_checked(&whole).is_none());
    }

    proptest! {
        #[test]
        fn any_chain_ends(next: u8, payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let whole = packet(next, &payload);
            let view = Ipv6View::new_checked(&whole).unwrap();
            if let Some((_, rest)) = view.upper() {
                prop_assert!(payload.ends_with(rest));
            }
        }
    }
}
