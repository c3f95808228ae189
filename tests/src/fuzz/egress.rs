//! Frames on the local port, as any container may send them.

use mesh_proto::fdb::Owner;
use mesh_proto::forward::Collected;
use mesh_proto::ids::Mac;
use mesh_proto::limits::{MAX_DATAGRAM, MAX_FDB_PER_OWNER};
use mesh_proto::wire::datagram::{
    FloodPrefix, Frames, HEADER_LEN, Header, Kind, PEER_ID_LEN, TAG_LEN,
};

use super::fixture::{self, PEERS, Plane};
use super::input::{Input, Script};

const STEPS: usize = 16;

/// Every outgoing frame is one that came in, sent to the right peer, and sealed for that peer.
pub(super) fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let mut plane = Plane::new();
    for n in 1..=PEERS {
        plane
            .forwarder
            .fdb()
            .learn(fixture::mac(n), Owner::Peer(fixture::id(n)), plane.now);
    }
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        match input.below(8) {
            0 => plane.wait(u64::from(input.u16())),
            1 => {
                plane.snapshot.settle_until = plane.now + core::time::Duration::from_secs(1);
            }
            _ => {
                let batch: Vec<Vec<u8>> = (0..=input.below(6)).map(|_| frame(&mut input)).collect();
                frames.extend(batch.iter().cloned());
                let slices: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
                let sink = plane.egress(&slices);
                check(&plane, &sink, &frames);
            }
        }
    }
}

fn frame(input: &mut Input<'_>) -> Vec<u8> {
    match input.below(6) {
        0 => input.long_chunk().to_vec(),
        1 => fixture::frame(input.byte(), Mac::BROADCAST, input.chunk()),
        2 => {
            let size = usize::from(input.u16()) % 10_000;
            fixture::frame(input.byte(), fixture::mac(input.byte() % 8), &vec![0; size])
        }
        _ => fixture::frame(input.byte(), fixture::mac(input.byte() % 8), input.chunk()),
    }
}

fn check(plane: &Plane, sink: &Collected, frames: &[Vec<u8>]) {
    assert!(sink.frames.is_empty(), "a frame came back");
    assert!(plane.forwarder.fdb().len() <= MAX_FDB_PER_OWNER + usize::from(PEERS));
    for (to, datagram) in &sink.datagrams() {
        assert!(datagram.len() <= MAX_DATAGRAM);
        let hop = (1..PEERS).find(|n| fixture::address(*n) == *to);
        let hop = hop.expect("sent to a peer with a session");
        let mut bytes = datagram.clone();
        let header = Header::parse(&bytes).expect("a whole header");
        let body = match header.kind {
            Kind::Relay => {
                let clear = bytes.len() - HEADER_LEN - TAG_LEN;
                let opened = plane.end(hop).open(&mut bytes, clear, plane.now);
                let opened = opened.expect("sealed for the neighbour");
                assert_eq!(opened.clear[..PEER_ID_LEN], fixture::id(3).0);
                let mut inner = opened.clear[PEER_ID_LEN..].to_vec();
                open(plane, 3, &mut inner)
            }
            _ => open(plane, hop, &mut bytes),
        };
        check_body(header.kind, &body, frames);
    }
}

fn open(plane: &Plane, peer: u8, datagram: &mut [u8]) -> Vec<u8> {
    let opened = plane.end(peer).open(datagram, 0, plane.now);
    opened.expect("sealed for the peer").body.to_vec()
}

fn check_body(kind: Kind, body: &[u8], frames: &[Vec<u8>]) {
    let packed = if kind == Kind::Flood {
        let (prefix, packed) = FloodPrefix::split(body).expect("a whole prefix");
        assert_eq!(prefix.origin, fixture::id(0));
        packed
    } else {
        body
    };
    let mut unpacked = Frames::new(packed);
    let mut count = 0;
    for frame in unpacked.by_ref() {
        assert!(
            frames.iter().any(|f| f == frame.bytes),
            "a frame nobody sent"
        );
        count += 1;
    }
    assert!(count > 0 && unpacked.is_clean());
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let to = |n: u8, payload: &[u8]| Script::new().put(&[3, 9, n]).chunk(payload).done();
    let all = |from: u8| Script::new().put(&[1, from]).chunk(b"who has").done();
    let batch = |frames: &[Vec<u8>]| {
        let count = u8::try_from(frames.len().saturating_sub(1)).unwrap_or(0);
        Script::new().put(&[2, count]).put(&frames.concat()).done()
    };
    vec![
        batch(&[to(1, b"direct")]),
        batch(&[to(1, b"a"), to(1, b"b"), to(2, b"c"), to(1, b"d")]),
        batch(&[to(3, b"relayed"), to(3, b"too")]),
        batch(&[to(4, b"no session"), to(5, b"unknown")]),
        batch(&[all(8), all(9), all(8)]),
        [vec![1], batch(&[all(8)]), vec![0, 4, 0], batch(&[all(8)])].concat(),
        batch(&[Script::new().put(&[2, 5, 98, 9, 1]).done()]),
        batch(&[Script::new().put(&[2, 0x20, 0, 9, 3]).done()]),
        batch(&[Script::new().put(&[0]).long_chunk(&[1; 13]).done()]),
    ]
}
