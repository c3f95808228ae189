//! Super-frames and unfinished checksums across the mesh.

use super::net::*;
use crate::forward::*;
use crate::network::NetworkId;
use crate::offload::{PortFrame, Segmentation, VirtioHeader};

const HEADERS: usize = 14 + 20 + 20;
const SEGMENT: usize = MTU as usize - 40;

/// A TCP super-frame over IPv4 with `payload` bytes, from container `from` to container `to`.
fn super_frame(from: usize, to: usize, payload: usize) -> Vec<u8> {
    let mut bytes = [&mac(to).0[..], &mac(from).0, &[0x08, 0x00, 0x45, 0]].concat();
    let total = u16::try_from(40 + payload).unwrap();
    bytes.extend(total.to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 10, 2, 1, 1, 10, 2, 1, 2]);
    bytes.extend([
        0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0,
    ]);
    bytes.extend((0..payload).map(|i| u8::try_from(i % 251).unwrap()));
    bytes
}

fn header() -> VirtioHeader {
    VirtioHeader {
        needs_checksum: true,
        segmentation: Segmentation::Tcp4,
        ecn: false,
        header_len: u16::try_from(HEADERS).unwrap(),
        segment_size: u16::try_from(SEGMENT).unwrap(),
        checksum_start: 34,
        checksum_offset: 16,
    }
}

fn send(net: &mut Net, header: VirtioHeader, bytes: &[u8]) {
    net.with(0, |node, now, out| {
        let mut frames = [PortFrame { header, bytes }].into_iter();
        let Node {
            forwarder,
            snap,
            scratch,
            ..
        } = node;
        forwarder.egress(snap, NetworkId::DEFAULT, &mut frames, now, scratch, out);
    });
}

fn payload_of(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.iter().flat_map(|f| f[HEADERS..].to_vec()).collect()
}

#[test]
fn a_super_frame_arrives_as_frames_of_the_mesh() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 9, 1);
    let bytes = super_frame(0, 9, 60_000);
    send(&mut net, header(), &bytes);
    assert_eq!(net.flying.len(), 60_000_usize.div_ceil(SEGMENT));
    net.run();
    let frames = net.taken(1);
    assert!(frames.iter().all(|f| f.len() <= 14 + usize::from(MTU)));
    assert!(payload_of(&frames) == bytes[HEADERS..], "other bytes");
    assert_eq!(
        net.partial(1),
        frames.len(),
        "their checksums are unfinished"
    );
    assert_eq!(net.count(0, Counter::FramesIn), 1);
}

#[test]
fn a_super_frame_is_relayed_flooded_and_kept_like_others() {
    let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
    let bytes = super_frame(0, 9, 3 * SEGMENT);
    // Destination unknown: flooded.
    send(&mut net, header(), &bytes);
    net.run();
    for router in [1, 2] {
        assert!(payload_of(&net.taken(router)) == bytes[HEADERS..]);
    }
    net.knows(0, 9, 2);
    send(&mut net, header(), &bytes);
    net.run();
    assert!(payload_of(&net.taken(2)) == bytes[HEADERS..], "relayed");

    net.path(0, 2, Path::None);
    send(&mut net, header(), &bytes);
    assert!(net.flying.is_empty());
    net.path(0, 2, Path::Via(id(1)));
    net.flush(0);
    net.run();
    assert!(payload_of(&net.taken(2)) == bytes[HEADERS..], "kept");
}

#[test]
fn equal_segments_leave_as_one_run() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 9, 1);
    let bytes = super_frame(0, 9, 20 * SEGMENT + 7);
    let mut runs = Vec::new();
    net.with(0, |node, now, out| {
        let mut frames = [PortFrame {
            header: header(),
            bytes: &bytes,
        }]
        .into_iter();
        let Node {
            forwarder,
            snap,
            scratch,
            ..
        } = node;
        forwarder.egress(snap, NetworkId::DEFAULT, &mut frames, now, scratch, out);
        runs = out.outgoing.runs().iter().map(Run::datagrams).collect();
    });
    assert_eq!(runs, [21]);
}

#[test]
fn a_frame_whose_offloads_make_no_sense_is_counted() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 9, 1);
    let mut wrong = header();
    wrong.segmentation = Segmentation::Tcp6;
    send(&mut net, wrong, &super_frame(0, 9, 5_000));
    assert_eq!(net.dropped(0), [("offload", 1)]);
    assert!(net.flying.is_empty());
}
