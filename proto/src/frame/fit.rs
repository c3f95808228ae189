//! Handling of frames that exceed the MTU of a path.

use super::ethernet::{self, EthernetView};
use super::icmp;
use super::ipv4::Ipv4View;
use super::ipv4_fragment::Fragments;

/// Handling of one frame.
#[derive(Debug)]
pub enum Fit<'a> {
    /// The frame fits and is sent unchanged.
    Whole,
    /// These fragments are sent instead, each short enough.
    Fragments(Fragments<'a>),
    /// The frame is dropped, and its sender gets this frame with an ICMP error, through the port it came from. The
    /// caller limits the rate.
    TooBig(Vec<u8>),
    /// Neither is possible: no IP, a group address, an ICMP error, or a later fragment with DF. Only the datagram
    /// that carries the frame can be fragmented.
    Opaque,
}

/// Decides how to send `frame` on a path for frames of at most `longest` bytes, with Ethernet header and VLAN tags.
///
/// It is meant for ordinary frames. The sender of a super-frame could not shorten it: it is segmented first.
pub fn fit(frame: &[u8], longest: usize) -> Fit<'_> {
    if frame.len() <= longest {
        return Fit::Whole;
    }
    too_long(frame, longest).unwrap_or(Fit::Opaque)
}

fn too_long(frame: &[u8], longest: usize) -> Option<Fit<'_>> {
    let view = EthernetView::new_checked(frame).ok()?;
    let link = frame.len() - view.payload().len();
    let room = longest.checked_sub(link)?;
    let mtu = u16::try_from(room).ok()?;
    if view.ethertype() == ethernet::IPV4 && !Ipv4View::new_checked(view.payload())?.dont_fragment()
    {
        return Fragments::new(frame, mtu).map(Fit::Fragments);
    }
    icmp::too_big(frame, mtu).map(Fit::TooBig)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an IPv4 UDP packet of `len` bytes in an Ethernet frame.
    fn ipv4(len: u16, flags: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(&[0, 7, flags, 0, 64, 17, 0, 0, 10, 2, 1, 1, 10, 2, 1, 2]);
        frame.resize(14 + usize::from(len), 0);
        frame
    }

    #[test]
    fn frames_that_fit_are_sent_unchanged() {
        assert!(matches!(fit(&[], 0), Fit::Whole));
        assert!(matches!(fit(&[0xff; 1294], 1294), Fit::Whole));
        assert!(matches!(fit(&[0xff; 1295], 1294), Fit::Opaque));
        assert!(matches!(fit(&ipv4(1280, 0x40), 1294), Fit::Whole));
    }

    #[test]
    fn ipv4_is_fragmented_or_reported_by_its_df_flag() {
        let frame = ipv4(1281, 0);
        let Fit::Fragments(fragments) = fit(&frame, 1294) else {
            panic!("not cut")
        };
        let lengths: Vec<usize> = fragments.map(|f| f.len()).collect();
        assert_eq!(lengths, [14 + 20 + 1256, 14 + 20 + 5]);
        let frame = ipv4(1281, 0x40);
        let Fit::TooBig(answer) = fit(&frame, 1294) else {
            panic!("not reported")
        };
        assert_eq!(answer[14 + 20..][..2], [3, 4]);
        assert_eq!(answer[14 + 20 + 6..][..2], 1280u16.to_be_bytes());
    }

    #[test]
    fn tags_reduce_the_room_for_the_packet() {
        let plain = ipv4(1280, 0x40);
        let tagged = [&plain[..12], &[0x81, 0, 0, 5], &plain[12..]].concat();
        assert!(matches!(fit(&tagged, 1298), Fit::Whole));
        let Fit::TooBig(answer) = fit(&tagged, 1294) else {
            panic!("not reported")
        };
        assert_eq!(answer[12..16], [0x81, 0, 0, 5]);
        assert_eq!(answer[18 + 20 + 6..][..2], 1276u16.to_be_bytes());
    }

    #[test]
    fn frames_without_a_permitted_icmp_error_are_opaque() {
        let arp = [&[2; 12][..], &[8, 6], &[0; 2000]].concat();
        assert!(matches!(fit(&arp, 1294), Fit::Opaque));
        let mut broadcast = ipv4(1281, 0x40);
        broadcast[..6].fill(0xff);
        assert!(matches!(fit(&broadcast, 1294), Fit::Opaque));
        // The packet fits and only padding exceeds the path: the sender cannot change that.
        let mut padded = ipv4(300, 0x40);
        padded.resize(700, 0);
        assert!(matches!(fit(&padded, 500), Fit::Opaque));
        assert!(matches!(fit(&ipv4(1281, 0), 10), Fit::Opaque));
    }
}
