//! Frames that are longer than the path MTU.

use mesh_proto::checksum::checksum_of;
use mesh_proto::frame::ethernet::EthernetView;
use mesh_proto::frame::fit::{Fit, fit};
use mesh_proto::frame::ipv4::{FRAGMENT_UNIT, Ipv4View};
use mesh_proto::ids::Mac;

use super::fixture;
use super::input::Input;

/// Fragments fit, are valid, and carry the packet's payload exactly once; an ICMP answer goes to the sender, and is not
/// itself answered.
pub(super) fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let longest = usize::from(input.u16()) % 2_000;
    let frame = input.rest();
    match fit(frame, longest) {
        Fit::Whole => assert!(frame.len() <= longest),
        Fit::Opaque => assert!(frame.len() > longest),
        Fit::TooBig(answer) => {
            assert_eq!(answer[..6], frame[6..12]);
            assert_eq!(answer[6..12], frame[..6]);
            assert!(!matches!(fit(&answer, answer.len() - 1), Fit::TooBig(_)));
        }
        Fit::Fragments(fragments) => {
            let mut next = ipv4(frame).offset();
            let mut carried = Vec::new();
            for fragment in fragments {
                assert!(fragment.len() <= longest);
                let packet = ipv4(&fragment);
                assert_eq!(checksum_of(&[packet.fixed(), packet.options()]), 0);
                assert_eq!(packet.offset(), next);
                next +=
                    u16::try_from(packet.payload().len() / FRAGMENT_UNIT).expect("a short packet");
                carried.extend_from_slice(packet.payload());
            }
            assert_eq!(carried, ipv4(frame).payload());
        }
    }
}

fn ipv4(frame: &[u8]) -> Ipv4View<'_> {
    let view = EthernetView::new_checked(frame).expect("a whole header");
    Ipv4View::new_checked(view.payload()).expect("a whole packet")
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let header = |flags: u8, options: &[u8]| {
        let words = 0x45 + u8::try_from(options.len() / 4).unwrap_or(0);
        let fixed = [
            words, 0, 0, 200, 0, 7, flags, 0, 64, 17, 0, 0, 10, 2, 1, 1, 10, 2, 1, 2,
        ];
        let mut packet = [&fixed[..], options].concat();
        packet.resize(200, 0x5a);
        packet
    };
    let mut six = vec![0x60, 0, 0, 0, 5, 0x78, 17, 64];
    six.resize(40 + 0x578, 0xfd);
    let to = fixture::mac(2);
    let plain = fixture::frame(1, to, &header(0, &[]));
    let with_options = fixture::frame(1, to, &header(0, &[0x82, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1]));
    let forbidden = fixture::frame(1, to, &header(0x40, &[]));
    let broadcast = fixture::frame(1, Mac::BROADCAST, &header(0x40, &[]));
    let tagged = [&plain[..12], &[0x81, 0, 0, 5], &plain[12..]].concat();
    let mut six = fixture::frame(1, to, &six);
    six[12..14].copy_from_slice(&[0x86, 0xdd]);
    let narrow = |frame: &[u8]| [&[0, 110][..], frame].concat();
    vec![
        narrow(&plain),
        narrow(&with_options),
        narrow(&forbidden),
        narrow(&broadcast),
        narrow(&tagged),
        [&[5, 14][..], &six].concat(),
    ]
}
