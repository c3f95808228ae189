use super::*;
use crate::interface::ethtool::disable_offloads;
use crate::netlink::{Netlink, VethSpec};
use crate::testing::{NamedNetns, needs_root};

const PLAIN: VirtioHeader = VirtioHeader::PLAIN;
const WAIT: Duration = Duration::from_millis(500);

/// Creates a veth pair `a`, `b`, both up without traffic, in a namespace of its own.
fn silent_pair() -> NamedNetns {
    let named = NamedNetns::new();
    named.run(|| {
        let mut netlink = Netlink::open().unwrap();
        let spec = VethSpec {
            name: "a",
            peer_name: "b",
            peer_netns: None,
            peer_mac: None,
            mtu: 1376,
        };
        netlink.link().create_veth(&spec).unwrap();
        for name in ["a", "b"] {
            let _ = crate::interface::sysctl::set_if_present(
                crate::interface::sysctl::SysctlGroup::Ipv6Conf,
                name,
                "disable_ipv6",
                "1",
            );
            disable_offloads(name).unwrap();
            let link = netlink.link().require(name).unwrap();
            netlink.link().set_up(link.index).unwrap();
        }
    });
    named
}

fn frame(number: u8, length: usize) -> Vec<u8> {
    let mut frame = vec![number; length];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
    frame
}

/// Reads frames until there are `count`, or none arrives within a wait.
fn read(reader: &mut PcapReader, count: usize) -> Vec<Vec<u8>> {
    let mut batch = FrameBatch::with_capacity(64);
    let mut frames = Vec::new();
    while frames.len() < count {
        reader.recv(&mut batch, WAIT).unwrap();
        if batch.is_empty() {
            break;
        }
        frames.extend(batch.iter().map(|(_, frame)| frame.to_vec()));
    }
    frames
}

#[test]
fn frames_go_both_ways_and_never_back() {
    if needs_root("frames_go_both_ways_and_never_back") {
        return;
    }
    silent_pair().run(|| {
        let (mut a_reader, mut a_writer) = PcapPort::open("a").unwrap().split();
        let (mut b_reader, mut b_writer) = PcapPort::open("b").unwrap().split();
        a_writer.send(&PLAIN, &frame(1, 60)).unwrap();
        b_writer.send(&PLAIN, &frame(2, 1390)).unwrap();
        assert_eq!(read(&mut b_reader, 1), [frame(1, 60)]);
        assert_eq!(read(&mut a_reader, 1), [frame(2, 1390)]);
        let mut batch = FrameBatch::with_capacity(4);
        for reader in [&mut a_reader, &mut b_reader] {
            reader.recv(&mut batch, Duration::from_millis(50)).unwrap();
            assert!(batch.is_empty(), "a port must not see what it sends");
        }
        assert_eq!(
            a_writer.send(&PLAIN, &frame(3, 1391)),
            Err(PortError::Refused(1391))
        );
        assert_eq!(a_writer.send(&PLAIN, &[]), Err(PortError::Refused(0)));
        let unfinished = VirtioHeader {
            needs_checksum: true,
            ..PLAIN
        };
        assert_eq!(
            a_writer.send(&unfinished, &frame(3, 60)),
            Err(PortError::Refused(60))
        );
    });
}

#[test]
fn one_wake_up_takes_what_is_waiting() {
    if needs_root("one_wake_up_takes_what_is_waiting") {
        return;
    }
    silent_pair().run(|| {
        let (mut reader, _a) = PcapPort::open("a").unwrap().split();
        let (_b, mut writer) = PcapPort::open("b").unwrap().split();
        for number in 0..40 {
            writer.send(&PLAIN, &frame(number, 100)).unwrap();
        }
        let mut batch = FrameBatch::with_capacity(32);
        reader.recv(&mut batch, WAIT).unwrap();
        assert_eq!(batch.len(), 32);
        reader.recv(&mut batch, WAIT).unwrap();
        assert_eq!(batch.len(), 8);
        assert_eq!(reader.losses().dropped, 0);
    });
}

#[test]
fn a_burst_of_a_thousand_full_frames_fits_the_buffer() {
    if needs_root("a_burst_of_a_thousand_full_frames_fits_the_buffer") {
        return;
    }
    silent_pair().run(|| {
        let (mut reader, _a) = PcapPort::open("a").unwrap().split();
        let (_b, mut writer) = PcapPort::open("b").unwrap().split();
        for _ in 0..1_000 {
            writer.send(&PLAIN, &frame(7, 1390)).unwrap();
        }
        let count = read(&mut reader, 1_000).len();
        assert_eq!((count, reader.losses().dropped), (1_000, 0));
    });
}

#[test]
fn a_deleted_interface_is_noticed() {
    if needs_root("a_deleted_interface_is_noticed") {
        return;
    }
    silent_pair().run(|| {
        let (mut reader, mut writer) = PcapPort::open("a").unwrap().split();
        assert!(Netlink::open().unwrap().link().delete_by_name("a").unwrap());
        let mut batch = FrameBatch::with_capacity(4);
        let down = PortError::Down("a".to_owned());
        assert_eq!(reader.recv(&mut batch, WAIT), Err(down.clone()));
        assert_eq!(writer.send(&PLAIN, &frame(1, 60)), Err(down));
        assert!(PcapPort::open("a").is_err());
        assert!(PcapPort::open("lo").is_ok(), "loopback speaks Ethernet too");
    });
}
