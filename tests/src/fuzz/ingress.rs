//! Datagrams received by a router with live sessions: arbitrary bytes, and validly or invalidly sealed ones of peers.

use mesh_proto::crypto::network_key::NetworkKey;
use mesh_proto::forward::{Collected, LaneEvent};
use mesh_proto::frame::ethernet::EthernetView;
use mesh_proto::ids::{Mac, PeerId};
use mesh_proto::limits::{MAX_DATAGRAM, MAX_FDB, MAX_FRAME, MAX_HANDSHAKE};
use mesh_proto::network::{BroadcastStream, NetworkId, NetworkLabel};
use mesh_proto::wire::datagram::{
    FloodPrefix, Header, InnerFrame, Kind, NETWORK_FLOOD_PREFIX_LEN, NetworkFloodPrefix, push_frame,
};

use super::fixture::{self, PEERS, Plane};
use super::input::{Input, Script};

const STEPS: usize = 32;

/// A datagram that no peer sealed yields no frame and no datagram; sealed ones stay within bounds.
pub(super) fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let mut plane = Plane::new();
    let mut last = Vec::new();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let operation = input.below(10);
        let from = 1 + u8::try_from(input.below(usize::from(PEERS))).unwrap_or(0);
        let (datagram, sealed) = match operation {
            0 => (input.long_chunk().to_vec(), false),
            1 => (last.clone(), false),
            2 => {
                let (at, mask) = (input.u16(), input.byte());
                (damaged(&last, at, mask), false)
            }
            3 => {
                plane.wait(u64::from(input.u16()));
                continue;
            }
            _ => (peer_says(&mut input, &plane, from, operation), true),
        };
        let sink = plane.ingress(fixture::address(from), &datagram);
        check(&sink);
        // The last peer has no session of its own: the one before seals for it. A broadcast of a member may come by any
        // neighbour.
        let is_member = fixture::MEMBERS.contains(&from.min(PEERS - 1)) || operation == 9;
        assert!(sink.elsewhere.is_empty() || (sealed && is_member));
        if !sealed {
            check_stranger(&sink, &datagram);
        }
        last = datagram;
        assert!(plane.forwarder.fdb().len() <= MAX_FDB);
    }
}

fn damaged(datagram: &[u8], at: u16, mask: u8) -> Vec<u8> {
    let mut bytes = datagram.to_vec();
    let len = bytes.len().max(1);
    if let Some(byte) = bytes.get_mut(usize::from(at) % len) {
        *byte ^= mask;
    }
    bytes
}

fn peer_says(input: &mut Input<'_>, plane: &Plane, from: u8, operation: usize) -> Vec<u8> {
    let hop_limit = input.byte();
    let now = plane.now;
    let end = plane.end(from);
    let mut out = Vec::new();
    let sealed = match operation {
        4 => end.seal(Kind::Data, hop_limit, &[], &body(input), now, &mut out),
        5 => end.seal(Kind::Probe, hop_limit, &[], input.chunk(), now, &mut out),
        6 => {
            let mut flood = Vec::new();
            let origin = fixture::id(input.byte() % (PEERS + 2));
            let (epoch, sequence) = (u64::from(input.byte()), u64::from(input.byte()));
            let prefix = FloodPrefix {
                origin,
                epoch,
                sequence,
            };
            prefix.encode(&mut flood);
            flood.extend(body(input));
            end.seal(Kind::Flood, hop_limit, &[], &flood, now, &mut out)
        }
        8 => {
            let label = NetworkLabel(u16::from(input.byte() % 8));
            let draft = end.begin_labelled(Kind::Data, hop_limit, label, &mut out);
            out.extend(body(input));
            end.finish(draft, 0, now, &mut out)
        }
        9 => {
            let flood = network_flood(input);
            end.seal(Kind::NetworkFlood, hop_limit, &[], &flood, now, &mut out)
        }
        _ => {
            let to = fixture::id(input.byte() % (PEERS + 2));
            let clear = envelope(input, plane, to);
            end.seal(Kind::Relay, hop_limit, &clear, &[], now, &mut out)
        }
    };
    // A key may be too old; then nothing was sent.
    let _ = sealed;
    out
}

/// Returns the body of a broadcast of a network, sealed with its key or another.
fn network_flood(input: &mut Input<'_>) -> Vec<u8> {
    let (which, wrong_key) = (input.byte(), input.flag());
    let network = match which % 4 {
        0 => NetworkId([7; 16]),
        _ => fixture::NETWORK,
    };
    let key = match wrong_key {
        true => NetworkKey::new([1; 32]),
        false => fixture::network_key(),
    };
    let stream = BroadcastStream {
        network,
        origin: fixture::id(input.byte() % (PEERS + 2)),
        epoch: input.byte().into(),
        salt: 1,
    };
    let prefix = NetworkFloodPrefix {
        stream,
        sequence: input.byte().into(),
        key: fixture::network_key().id(),
    };
    let mut flood = Vec::new();
    prefix.encode(&mut flood);
    flood.extend(body(input));
    key.seal(
        &stream,
        prefix.sequence,
        NETWORK_FLOOD_PREFIX_LEN,
        &mut flood,
    );
    flood
}

/// Returns the body of a relay envelope: a datagram sealed by peer 3, or arbitrary bytes.
fn envelope(input: &mut Input<'_>, plane: &Plane, to: PeerId) -> Vec<u8> {
    let mut clear = to.0.to_vec();
    if input.flag() {
        let kind = Kind::from_number(input.byte() % 10).unwrap_or(Kind::Data);
        let sealed = plane
            .end(3)
            .seal(kind, 1, &[], &body(input), plane.now, &mut clear);
        let _ = sealed;
    } else {
        clear.extend_from_slice(input.chunk());
    }
    clear
}

/// Returns packed frames, or arbitrary bytes.
fn body(input: &mut Input<'_>) -> Vec<u8> {
    if input.flag() {
        return input.long_chunk().to_vec();
    }
    let mut body = Vec::new();
    for _ in 0..input.below(4) {
        let to = match input.byte() {
            0xff => Mac::BROADCAST,
            n => fixture::mac(n),
        };
        let frame = fixture::frame(input.byte(), to, input.chunk());
        push_frame(&mut body, InnerFrame::complete(&frame));
    }
    body
}

fn check(sink: &Collected) {
    let elsewhere = sink.elsewhere.iter().map(|(network, frame)| {
        assert_eq!(*network, fixture::NETWORK);
        frame
    });
    for frame in sink.frames.iter().chain(elsewhere) {
        let view = EthernetView::new_checked(frame).expect("only whole frames are injected");
        assert!(frame.len() <= MAX_FRAME && !view.source().is_group() && !view.is_link_local());
    }
    for (to, datagram) in &sink.datagrams() {
        assert!((1..=PEERS).any(|n| fixture::address(n) == *to));
        assert!(datagram.len() <= MAX_DATAGRAM);
        let header = Header::parse(datagram).expect("only whole datagrams are sent");
        assert!(header.hop_limit < 16, "a hop limit that grows");
    }
    for event in &sink.events {
        if let LaneEvent::Handshake { bytes, .. } = event {
            assert!(bytes.len() <= MAX_HANDSHAKE);
        }
    }
}

fn check_stranger(sink: &Collected, datagram: &[u8]) {
    assert!(sink.frames.is_empty() && sink.elsewhere.is_empty() && sink.outgoing.is_empty());
    for event in &sink.events {
        match event {
            LaneEvent::Handshake { bytes, .. } => assert_eq!(bytes, datagram),
            LaneEvent::UnknownIndex { .. } => {}
            other => panic!("unauthenticated bytes led to {other:?}"),
        }
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let data = |to: u8| Script::new().put(&[4, 0, 16, 0, 1, to, 1]).chunk(b"hello");
    let packed = Script::new()
        .put(&[4, 0, 16, 0, 3, 1, 2])
        .chunk(&[0; 46])
        .put(&[0xff, 3])
        .chunk(b"x")
        .put(&[4, 5])
        .chunk(b"");
    let flood = |origin: u8, sequence: u8| {
        Script::new()
            .put(&[6, 0, 16, origin, 1, sequence, 0, 1, 0xff, 9])
            .chunk(b"everybody")
    };
    let relay = |to: u8| {
        Script::new()
            .put(&[7, 0, 16, to, 1, 4, 0, 1, 1, 2])
            .chunk(b"far")
    };
    let network = |origin: u8, key: u8, sequence: u8| {
        Script::new()
            .put(&[9, 0, 16, 1, key, origin, 1, sequence, 0, 1, 0xff, 9])
            .chunk(b"members")
    };
    let handshake = [&[0x11, 16, 0, 0, 0, 0, 0, 9][..], &[0x80; 152]].concat();
    let again = data(2).put(&[1, 0]).put(&[2, 0, 0, 20, 1]);
    vec![
        data(1).done(),
        packed.done(),
        again.done(),
        flood(3, 1).put(&flood(3, 1).done()).done(),
        flood(0, 1).done(),
        flood(1, 2)
            .put(&[3, 0, 8, 0])
            .put(&flood(1, 3).done())
            .done(),
        relay(2).put(&relay(0).done()).done(),
        relay(3).done(),
        Script::new().put(&[7, 1, 3, 2, 0]).chunk(&handshake).done(),
        Script::new().put(&[0, 2]).long_chunk(&handshake).done(),
        Script::new().put(&[5, 1, 1]).chunk(&[0; 9]).done(),
        Script::new()
            .put(&[4, 0, 1, 1])
            .long_chunk(&[0, 60, 1])
            .done(),
        Script::new()
            .put(&[8, 0, 16, 5, 0, 1, 1, 1])
            .chunk(b"label")
            .done(),
        Script::new()
            .put(&[8, 1, 16, 5, 0, 1, 1, 1])
            .chunk(b"of no member")
            .done(),
        network(3, 0, 1).put(&network(3, 0, 1).done()).done(),
        network(2, 1, 2).done(),
        network(4, 0, 3).done(),
    ]
}
