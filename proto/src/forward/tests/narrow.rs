//! Paths whose MTU is smaller than a full frame needs.

use pnet::packet::Packet as _;
use pnet::packet::ipv4::Ipv4Packet;

use super::net::*;
use crate::forward::*;
use crate::limits::{PARTIAL_AGE, TOO_BIG_BURST};
use crate::network::NetworkId;
use crate::offload::{PortFrame, Segmentation, VirtioHeader, has_valid_checksum};
use crate::wire::datagram::{Header, Kind};

const ETHERNET: usize = 14;

impl Net {
    /// Sets the path from `me` to `peer`: longest datagram `datagram` bytes, path MTU `mtu` bytes.
    fn narrow(&mut self, me: usize, peer: usize, datagram: u16, mtu: u16) {
        let path = self.nodes[me].snap.peers.get_mut(&id(peer)).unwrap();
        (path.datagram, path.mtu) = (datagram, mtu);
    }

    /// Returns every datagram sent from `me` to `peer` so far.
    fn flown(&self, me: usize, peer: usize) -> impl Iterator<Item = &[u8]> {
        let on_way = self.log.iter().filter(move |f| (f.0, f.1) == (me, peer));
        on_way.map(|f| &f.2[..])
    }

    fn longest_flown(&self, me: usize, peer: usize) -> usize {
        self.flown(me, peer).map(<[u8]>::len).max().unwrap()
    }

    /// Returns true if `me` sent fragments to `peer`.
    fn cuts(&self, me: usize, peer: usize) -> bool {
        let mut kinds = self.flown(me, peer).map(|d| Header::parse(d).unwrap().kind);
        kinds.any(|kind| kind == Kind::Fragment)
    }
}

/// An IPv4 UDP packet of `len` bytes from container `from` to container `to`; its checksum is left out.
fn packet(from: usize, to: usize, len: u16, dont_fragment: bool) -> Vec<u8> {
    let flags = if dont_fragment { 0x40 } else { 0 };
    let mut ip = vec![0x45, 0];
    ip.extend(len.to_be_bytes());
    ip.extend([
        0, 7, flags, 0, 64, 17, 0, 0, 10, 2, 1, 1, 10, 2, 1, 2, 0x9c, 0x40, 0, 53,
    ]);
    ip.extend((len - 20).to_be_bytes());
    ip.extend([0, 0]);
    ip.extend((28..len).map(|i| u8::try_from(i % 251).unwrap()));
    frame(mac(from), mac(to), &ip)
}

fn send_offloaded(net: &mut Net, header: VirtioHeader, bytes: &[u8]) {
    net.with(0, |node, now, out| {
        let mut frames = [PortFrame { header, bytes }].into_iter();
        let snap = &node.snap;
        node.forwarder.egress(
            snap,
            NetworkId::DEFAULT,
            &mut frames,
            now,
            &mut node.scratch,
            out,
        );
    });
    net.run();
}

fn offload(segmentation: Segmentation, segment_size: usize) -> VirtioHeader {
    let is_udp = segmentation == Segmentation::Udp;
    VirtioHeader {
        needs_checksum: true,
        segmentation,
        ecn: false,
        header_len: if is_udp { 42 } else { 54 },
        segment_size: u16::try_from(segment_size).unwrap(),
        checksum_start: 34,
        checksum_offset: if is_udp { 6 } else { 16 },
    }
}

#[test]
fn tcp_is_segmented_to_the_path_mtu_transparently() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 9, 1);
    net.narrow(0, 1, 1372, 1324);
    let mut bytes = packet(0, 9, 40_020, true);
    bytes[23] = 6;
    bytes[ETHERNET + 20 + 12] = 0x50;
    send_offloaded(
        &mut net,
        offload(Segmentation::Tcp4, usize::from(MTU) - 40),
        &bytes,
    );
    let taken = net.taken(1);
    assert_eq!(
        taken.iter().map(Vec::len).max(),
        Some(ETHERNET + 1324),
        "as long as may be"
    );
    let payload: Vec<u8> = taken.iter().flat_map(|f| f[54..].to_vec()).collect();
    assert!(payload == bytes[54..]);
    assert_eq!(net.longest_flown(0, 1), 1372);
    assert!(!net.cuts(0, 1) && net.taken(0).is_empty());
}

#[test]
fn ipv4_without_dont_fragment_is_fragmented() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 9, 1);
    net.narrow(0, 1, 1328, 1280);
    let sent = packet(0, 9, MTU, false);
    net.send(0, std::slice::from_ref(&sent));
    let taken = net.taken(1);
    assert_eq!(taken.len(), 2);
    let mut carried = Vec::new();
    for fragment in &taken {
        assert!(fragment.len() <= ETHERNET + 1280);
        let ip = Ipv4Packet::new(&fragment[ETHERNET..]).unwrap();
        carried.extend_from_slice(ip.payload());
    }
    assert_eq!(carried, sent[ETHERNET + 20..]);
    assert!(!net.cuts(0, 1));
    assert_eq!(net.count(0, Counter::FramesFragmented), 1);
}

#[test]
fn senders_of_df_packets_get_icmp_errors_at_a_limited_rate() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 9, 1);
    net.narrow(0, 1, 1372, 1324);
    net.send(0, &[packet(0, 9, 1325, true), packet(0, 9, 1324, true)]);
    assert_eq!(net.taken(1), [packet(0, 9, 1324, true)]);
    let told = net.taken(0);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0][..6], mac(0).0);
    assert_eq!(told[0][6..12], mac(9).0);
    assert_eq!(told[0][34..36], [3, 4], "fragmentation needed");
    assert_eq!(told[0][40..42], 1324u16.to_be_bytes());
    assert_eq!(net.dropped(0), [("path_mtu", 1)]);

    net.send(0, &vec![packet(0, 9, 1325, true); 200]);
    let told = u64::try_from(net.taken(0).len()).unwrap();
    assert_eq!(told, TOO_BIG_BURST - 1);
    assert_eq!(net.count(0, Counter::TooBigSent), TOO_BIG_BURST);
    assert_eq!(net.dropped(0), [("path_mtu", 201)]);
}

#[test]
fn datagrams_of_a_super_frame_that_do_not_fit_are_frames_like_others() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 9, 1);
    net.narrow(0, 1, 1372, 1324);
    let size = usize::from(MTU) - 28;
    let sent = packet(0, 9, 28 + 3 * u16::try_from(size).unwrap(), false);
    // Its checksum field holds no sum of the pseudo-header: the checksum is recomputed.
    let header = VirtioHeader {
        needs_checksum: false,
        ..offload(Segmentation::Udp, size)
    };
    send_offloaded(&mut net, header, &sent);
    let taken = net.taken(1);
    assert_eq!(taken.len(), 6, "each in two fragments");
    assert_eq!(net.partial(1), 0);
    let whole: Vec<u8> = [&taken[0][..], &taken[1][34..]].concat();
    let mut packet = whole;
    packet[16..18].copy_from_slice(&MTU.to_be_bytes());
    packet[20] = 0;
    assert!(has_valid_checksum(&packet), "finished before it was cut");
}

#[test]
fn full_frames_cross_a_path_that_is_too_narrow_for_any() {
    for datagram in [548, 672, 1200] {
        let mut net = Net::wire(2, &[(0, 1)]);
        net.knows(0, 9, 1);
        net.narrow(0, 1, datagram, MTU);
        let sent = [
            packet(0, 9, MTU, true),
            packet(0, 9, 100, true),
            packet(0, 9, MTU, false),
        ];
        net.send(0, &sent);
        assert_eq!(net.taken(1), sent);
        assert!(net.longest_flown(0, 1) <= usize::from(datagram));
        assert!(net.cuts(0, 1));
        assert_eq!(net.dropped(0), []);
    }
}

#[test]
fn broadcasts_and_relayed_frames_cross_a_narrow_hop_anywhere() {
    for (from, to) in [(0, 1), (1, 2)] {
        let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
        net.narrow(from, to, 672, MTU);
        if (from, to) == (0, 1) {
            // Router 2 is behind the same first hop.
            net.narrow(0, 2, 672, MTU);
        }
        // Container 9 is unknown: flooded.
        let sent = [packet(0, 9, MTU, true)];
        net.send(0, &sent);
        assert_eq!(net.taken(1), sent);
        assert_eq!(net.taken(2), sent);
        let flooded = net.flown(from, to).count();

        net.knows(0, 9, 2);
        net.send(0, &sent);
        assert_eq!(net.taken(2), sent, "relayed");
        assert!(net.flown(from, to).count() > flooded + 1);
        assert!(net.longest_flown(from, to) <= 672);
        for router in 0..3 {
            assert_eq!(net.dropped(router), [], "{router}");
        }
    }
}

#[test]
fn waiting_frames_cross_a_narrow_path() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 9, 1);
    net.narrow(0, 1, 672, MTU);
    net.path(0, 1, Path::None);
    let sent = [packet(0, 9, MTU, true), packet(0, 9, MTU, true)];
    net.send(0, &sent);
    assert!(net.taken(1).is_empty());
    net.path(0, 1, Path::Direct(address(1)));
    net.flush(0);
    net.run();
    assert_eq!(net.taken(1), sent);
}

#[test]
fn frames_that_are_not_ip_are_sent_in_fragments() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 9, 1);
    net.narrow(0, 1, 1328, 1280);
    let mut sent = frame(mac(0), mac(9), &[7; MTU as usize]);
    sent[12..14].copy_from_slice(&[0x88, 0xb5]);
    net.send(0, std::slice::from_ref(&sent));
    assert_eq!(net.taken(1), [sent]);
    assert!(net.cuts(0, 1));
}

#[test]
fn a_lost_piece_is_counted_with_its_datagram() {
    let mut net = Net::wire(2, &[(0, 1)]);
    net.knows(0, 9, 1);
    net.narrow(0, 1, 672, MTU);
    net.egress(0, &[packet(0, 9, MTU, true)]);
    net.flying.pop_back();
    net.run();
    assert_eq!(net.nodes[1].forwarder.partials().0, 1);
    net.wait(u64::try_from(PARTIAL_AGE.as_millis()).unwrap());
    let now = net.now;
    net.nodes[1].forwarder.sweep(now);
    assert_eq!(net.dropped(1), [("fragment_lost", 1)]);
    assert_eq!(net.nodes[1].forwarder.partials(), (0, 0));
    assert!(net.taken(1).is_empty());
}

#[test]
fn hop_by_hop_fragments_are_refused_when_relayed() {
    use crate::fragment::Fragment;
    let mut net = Net::wire(3, &[(0, 1), (1, 2)]);
    for kind in [Kind::Flood, Kind::Relay] {
        let mut body = Vec::new();
        let fragment = Fragment {
            kind,
            id: 1,
            index: 0,
            count: 2,
            bytes: &[1; 40],
        };
        fragment.encode(&mut body);
        // Router 2 seals the fragment for router 0, and router 1 relays it.
        net.with(2, |node, now, out| {
            let transport = node.snap.peers[&id(0)].transport.clone().unwrap();
            let mut datagram = Vec::new();
            transport
                .seal(Kind::Fragment, 1, &[], &body, now, &mut datagram)
                .unwrap();
            node.forwarder
                .send_to_peer(&node.snap, id(0), &datagram, now, out)
                .unwrap();
        });
        net.run();
    }
    assert_eq!(net.dropped(0), [("malformed", 2)]);
    assert_eq!(net.nodes[0].forwarder.partials(), (0, 0));
}
