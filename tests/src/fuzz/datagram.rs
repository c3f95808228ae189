//! Datagram headers, packed frames, prefixes of floods and Relay envelopes.

use mesh_proto::crypto::network_key::NetworkKey;
use mesh_proto::ids::{PeerId, SessionIndex};
use mesh_proto::network::{BroadcastStream, NetworkId, NetworkLabel};
use mesh_proto::wire::datagram::{
    FLOOD_PREFIX_LEN, FRAME_PREFIX_LEN, FloodPrefix, Frames, HEADER_LEN, Header, InnerFrame, Kind,
    NETWORK_FLOOD_PREFIX_LEN, NetworkFloodPrefix, push_frame, split_relay,
};

/// Any accepted input encodes to the bytes that it was parsed from.
pub(super) fn target(data: &[u8]) {
    if let Ok(header) = Header::parse(data) {
        assert_eq!(header.encode()[..], data[..HEADER_LEN]);
    }
    let mut frames = Frames::new(data);
    let mut packed = Vec::new();
    for frame in frames.by_ref() {
        assert!(push_frame(&mut packed, frame));
    }
    assert!(data.starts_with(&packed));
    assert_eq!(frames.is_clean(), packed.len() == data.len());
    if let Some((prefix, rest)) = FloodPrefix::split(data) {
        let mut out = Vec::new();
        prefix.encode(&mut out);
        assert_eq!(out.len(), FLOOD_PREFIX_LEN);
        out.extend_from_slice(rest);
        assert_eq!(out, data);
    }
    if let Some((prefix, sealed)) = NetworkFloodPrefix::split(data) {
        let mut out = Vec::new();
        prefix.encode(&mut out);
        assert_eq!(out.len(), NETWORK_FLOOD_PREFIX_LEN);
        out.extend_from_slice(sealed);
        assert_eq!(out, data);
        assert!(!prefix.stream.network.is_default());
        let (key, mut body) = (NetworkKey::new([5; 32]), data.to_vec());
        let opened = key.open(
            &prefix.stream,
            prefix.sequence,
            NETWORK_FLOOD_PREFIX_LEN,
            &mut body,
        );
        assert!(opened.is_err() || prefix.key == key.id());
    }
    if let Some((peer, inner)) = split_relay(data) {
        assert!(inner.len() >= HEADER_LEN);
        assert_eq!([&peer.0[..], inner].concat(), data);
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (1..10)
        .filter_map(Kind::from_number)
        .map(|kind| {
            let header = Header {
                kind,
                hop_limit: 16,
                label: NetworkLabel::DEFAULT,
                receiver: SessionIndex(7),
                counter: 9,
            };
            header.encode().to_vec()
        })
        .collect();
    let mut body = Vec::new();
    for size in [60, 0, 1, 14] {
        push_frame(&mut body, InnerFrame::complete(&vec![2; size]));
    }
    debug_assert!(body.len() > FRAME_PREFIX_LEN);
    let mut flood = Vec::new();
    let origin = PeerId([3; 16]);
    FloodPrefix {
        origin,
        epoch: 1,
        sequence: 2,
    }
    .encode(&mut flood);
    flood.extend_from_slice(&body);
    let relay = [&[4; 16][..], &seeds[3], &body].concat();
    let mut labelled = seeds[3].clone();
    labelled[2..4].copy_from_slice(&[1, 2]);
    seeds.extend([network_flood(&body), labelled, body, flood, relay]);
    seeds
}

/// Returns a broadcast of a network that opens with the key of the target.
fn network_flood(frames: &[u8]) -> Vec<u8> {
    let key = NetworkKey::new([5; 32]);
    let stream = BroadcastStream {
        network: NetworkId([6; 16]),
        origin: PeerId([3; 16]),
        epoch: 1,
        salt: 2,
    };
    let prefix = NetworkFloodPrefix {
        stream,
        sequence: 3,
        key: key.id(),
    };
    let mut body = Vec::new();
    prefix.encode(&mut body);
    body.extend_from_slice(frames);
    key.seal(
        &stream,
        prefix.sequence,
        NETWORK_FLOOD_PREFIX_LEN,
        &mut body,
    );
    body
}
