//! TCP and UDP packets: endpoints and payload.

use std::net::{IpAddr, SocketAddr};

use super::ethernet::{self, EthernetView};
use super::ipv4::Ipv4View;
use super::ipv6::Ipv6View;

/// Protocol number of TCP (IANA).
pub const TCP: u8 = 6;
/// Protocol number of UDP (IANA).
pub const UDP: u8 = 17;

/// TCP segment or UDP datagram with complete ports; neither length nor checksum is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportView<'a> {
    /// True for UDP, false for TCP.
    pub udp: bool,
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port.
    pub destination: SocketAddr,
    /// Bytes after the UDP header; empty for TCP.
    pub payload: &'a [u8],
}

/// Length of a UDP header, in bytes.
const UDP_HEADER: usize = 8;

impl<'a> TransportView<'a> {
    /// Parses the packet in `frame`, behind up to two VLAN tags.
    ///
    /// `None` if it is neither TCP nor UDP over IP, or a fragment other than the first.
    pub fn from_frame(frame: &EthernetView<'a>) -> Option<Self> {
        match frame.ethertype() {
            ethernet::IPV4 => {
                let ip = Ipv4View::new_checked(frame.payload())?;
                let ends = (IpAddr::V4(ip.source()), IpAddr::V4(ip.destination()));
                let first = ip.offset() == 0;
                first.then(|| Self::new(ip.protocol(), ends, ip.payload()))?
            }
            ethernet::IPV6 => {
                let ip = Ipv6View::new_checked(frame.payload())?;
                let ends = (IpAddr::V6(ip.source()), IpAddr::V6(ip.destination()));
                let (protocol, rest) = ip.upper()?;
                Self::new(protocol, ends, rest)
            }
            _ => None,
        }
    }

    /// Returns the packet with source and destination exchanged.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            ..self
        }
    }

    fn new(protocol: u8, (from, to): (IpAddr, IpAddr), bytes: &'a [u8]) -> Option<Self> {
        let ([s0, s1, d0, d1], _) = bytes.split_first_chunk()?;
        let payload = match protocol {
            UDP => bytes.get(UDP_HEADER..)?,
            TCP => &[],
            _ => return None,
        };
        Some(Self {
            udp: protocol == UDP,
            source: SocketAddr::new(from, u16::from_be_bytes([*s0, *s1])),
            destination: SocketAddr::new(to, u16::from_be_bytes([*d0, *d1])),
            payload,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns a frame with these tags' EtherTypes before an IPv4 or IPv6 packet with ports and this payload.
    pub(crate) fn frame(
        tags: &[u16],
        protocol: u8,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut upper = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        if protocol == UDP {
            let length = u16::try_from(UDP_HEADER + payload.len()).unwrap();
            upper.extend_from_slice(&length.to_be_bytes());
            upper.extend_from_slice(&[0, 0]);
        } else {
            upper.extend_from_slice(&[0; 8]);
            upper.extend_from_slice(&[0x50, 2, 0, 0, 0, 0, 0, 0]);
        }
        upper.extend_from_slice(payload);
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        for tag in tags {
            frame.extend_from_slice(&tag.to_be_bytes());
            frame.extend_from_slice(&[0, 7]);
        }
        let length = u16::try_from(upper.len()).unwrap();
        match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                frame.extend_from_slice(&ethernet::IPV4.to_be_bytes());
                let [hi, lo] = (20 + length).to_be_bytes();
                frame.extend_from_slice(&[0x45, 0, hi, lo, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
                frame.extend_from_slice(&from.octets());
                frame.extend_from_slice(&to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                frame.extend_from_slice(&ethernet::IPV6.to_be_bytes());
                let [hi, lo] = length.to_be_bytes();
                frame.extend_from_slice(&[0x60, 0, 0, 0, hi, lo, protocol, 64]);
                frame.extend_from_slice(&from.octets());
                frame.extend_from_slice(&to.octets());
            }
            _ => panic!("two families"),
        }
        frame.extend_from_slice(&upper);
        frame
    }

    fn view(frame: &[u8]) -> Option<TransportView<'_>> {
        TransportView::from_frame(&EthernetView::new_checked(frame).unwrap())
    }

    #[test]
    fn ends_and_payload_are_found_in_both_families_behind_tags() {
        let ends = [
            ("192.0.2.1:6783", "192.0.2.2:40000"),
            ("[2001:db8::1]:6783", "[2001:db8::2]:40000"),
        ];
        for (from, to) in ends {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            for tags in [
                &[][..],
                &[ethernet::VLAN],
                &[ethernet::SERVICE_VLAN, ethernet::VLAN],
            ] {
                for protocol in [UDP, TCP] {
                    let frame = frame(tags, protocol, from, to, b"x");
                    let expected = TransportView {
                        udp: protocol == UDP,
                        source: from,
                        destination: to,
                        payload: if protocol == UDP { b"x" } else { b"" },
                    };
                    assert_eq!(view(&frame), Some(expected));
                }
                assert_eq!(view(&frame(tags, 1, from, to, b"x")), None);
            }
        }
    }

    #[test]
    fn later_fragments_and_short_packets_have_no_ports() {
        let (from, to) = (
            "192.0.2.1:1".parse().unwrap(),
            "192.0.2.2:2".parse().unwrap(),
        );
        let mut whole = frame(&[], UDP, from, to, b"");
        for cut in 0..whole.len() - 14 {
            assert_eq!(view(&whole[..14 + cut]), None);
        }
        whole[14 + 7] = 1;
        assert_eq!(view(&whole), None);
    }

    proptest! {
        #[test]
        fn any_frame_is_looked_at_without_panic(mut frame in prop::collection::vec(any::<u8>(), 14..120), six: bool, protocol in prop::sample::select(vec![6u8, 17])) {
            let kind = if six { ethernet::IPV6 } else { ethernet::IPV4 };
            frame[12..14].copy_from_slice(&kind.to_be_bytes());
            if let Some(at) = frame.get_mut(if six { 20 } else { 23 }) {
                *at = protocol;
            }
            let _ = view(&frame);
        }
    }
}
