//! What becomes of a frame on a path that may be too narrow for it.

use super::ethernet::{self, EthernetView};
use super::icmp;
use super::ipv4::Ipv4View;
use super::ipv4_fragment::Fragments;

/// The fate of a frame.
#[derive(Debug)]
pub enum Fit<'a> {
    /// It goes as it is.
    Whole,
    /// In its place go these, each short enough.
    Fragments(Fragments<'a>),
    /// It does not go; its sender is to get this frame, by the port it came from. The caller limits the rate.
    TooBig(Vec<u8>),
    /// Neither: no IP, a group, an ICMP error, a fragment that must not be cut. Only the datagram around it can be cut.
    Opaque,
}

/// Decides what becomes of `frame` where frames of at most `longest` bytes pass, Ethernet header and VLAN tags included.
///
/// For a frame of a port without offloads, or one that was cut to what the wire would carry: a super-frame is no packet
/// that its sender would make shorter.
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

    /// An IPv4 UDP packet of `len` bytes in an Ethernet frame.
    fn ipv4(len: u16, flags: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(&[0, 7, flags, 0, 64, 17, 0, 0, 10, 2, 1, 1, 10, 2, 1, 2]);
        frame.resize(14 + usize::from(len), 0);
        frame
    }

    #[test]
    fn what_fits_goes_as_it_is_whatever_it_is() {
        assert!(matches!(fit(&[], 0), Fit::Whole));
        assert!(matches!(fit(&[0xff; 1294], 1294), Fit::Whole));
        assert!(matches!(fit(&[0xff; 1295], 1294), Fit::Opaque));
        assert!(matches!(fit(&ipv4(1280, 0x40), 1294), Fit::Whole));
    }

    #[test]
    fn ipv4_is_cut_where_it_may_be_and_reported_where_not() {
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
    fn the_room_of_tags_is_not_the_packets() {
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
    fn whom_nobody_may_tell_is_opaque() {
        let arp = [&[2; 12][..], &[8, 6], &[0; 2000]].concat();
        assert!(matches!(fit(&arp, 1294), Fit::Opaque));
        let mut broadcast = ipv4(1281, 0x40);
        broadcast[..6].fill(0xff);
        assert!(matches!(fit(&broadcast, 1294), Fit::Opaque));
        // A packet that fits, in a frame that does not, is nothing a sender could mend.
        let mut padded = ipv4(300, 0x40);
        padded.resize(700, 0);
        assert!(matches!(fit(&padded, 500), Fit::Opaque));
        assert!(matches!(fit(&ipv4(1281, 0), 10), Fit::Opaque));
    }
}
