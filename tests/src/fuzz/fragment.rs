//! Fragments of datagrams, from any number of sessions.

use std::time::Duration;

use mesh_proto::fragment::{Fragment, Reassembly, split};
use mesh_proto::ids::SessionIndex;
use mesh_proto::limits::{MAX_DATAGRAM, MAX_PARTIAL_BYTES, MAX_PARTIALS, PARTIAL_AGE};
use mesh_proto::network::NetworkLabel;
use mesh_proto::wire::datagram::Kind;

use super::fixture::START;
use super::input::{Input, Script};

/// Bounds hold for any input, a reassembled datagram equals its fragments, and nothing is kept forever.
pub(super) fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let mut reassembly = Reassembly::default();
    let mut now = START;
    while !input.is_empty() {
        now += Duration::from_millis(u64::from(input.byte()));
        // Two bits of the byte are a label.
        let byte = input.byte();
        let session = SessionIndex(u32::from(byte & 0x3f));
        let label = NetworkLabel((byte >> 6).into());
        let body = input.chunk();
        let Some(fragment) = Fragment::decode(body) else {
            continue;
        };
        let mut again = Vec::new();
        fragment.encode(&mut again);
        assert_eq!(again, body);
        if let Ok(Some(whole)) = reassembly.push(session, label, &fragment, now) {
            assert_eq!(whole.kind, fragment.kind);
            assert!(whole.content.len() >= usize::from(fragment.count));
            assert!(whole.content.len() <= MAX_DATAGRAM);
        }
        assert!(reassembly.len() <= MAX_PARTIALS);
        assert!(reassembly.bytes() <= MAX_PARTIAL_BYTES);
    }
    reassembly.expire(now + PARTIAL_AGE);
    assert!(reassembly.is_empty() && reassembly.bytes() == 0);
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let bodies = |kind, id| -> Vec<Vec<u8>> {
        let fragments = split(kind, id, b"what is too long for the path", 18);
        let body = |fragment: Fragment<'_>| {
            let mut out = Vec::new();
            fragment.encode(&mut out);
            out
        };
        fragments.expect("it can be fragmented").map(body).collect()
    };
    let arrive = |wait: u8, bodies: &[Vec<u8>]| {
        let script = Script::new();
        let put = |script: Script, body: &Vec<u8>| script.put(&[wait, 1]).chunk(body);
        bodies.iter().fold(script, put).done()
    };
    let data = bodies(Kind::Data, 1);
    let mut backwards = bodies(Kind::Flood, 2);
    backwards.reverse();
    vec![
        arrive(0, &data),
        arrive(1, &backwards),
        arrive(
            255,
            &[data.clone(), backwards.clone(), data.clone()].concat(),
        ),
        arrive(0, &bodies(Kind::Relay, 3)[1..]),
    ]
}
