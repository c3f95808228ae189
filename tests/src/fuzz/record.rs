//! Signed records.

use mesh_proto::ids::Version;
use mesh_proto::limits::{
    MAX_ATTACHED, MAX_CONTAINER_NAME, MAX_ENDPOINTS, MAX_EXTENSION, MAX_EXTENSIONS, MAX_NEIGHBOURS,
    MAX_NICKNAME, MAX_RECORD,
};
use mesh_proto::topology::record::{Attached, Extension, RecordBody, SignedRecord};
use mesh_proto::wire::codec;

use super::fixture;

/// A record that is read is within its bounds, fit to print, and travels as the bytes it came in.
pub(super) fn target(data: &[u8]) {
    let Ok(record) = SignedRecord::parse(data) else {
        return;
    };
    assert_eq!(record.bytes(), data);
    assert!(data.len() <= MAX_RECORD);
    let body = record.body();
    check_bounds(body);
    let mut encoded = Vec::new();
    codec::encode(body, &mut encoded).expect("what was read can be written");
    assert_eq!(codec::decode::<RecordBody>(&encoded).as_ref(), Ok(body));
    if record.verify().is_ok() {
        let known = (0..=u8::MAX).any(|n| fixture::identity(n).sign_key() == body.sign_key);
        assert!(known, "a signature was forged");
    }
}

fn check_bounds(body: &RecordBody) {
    let printable = |text: &str| !text.chars().any(char::is_control);
    assert!(body.nickname.len() <= MAX_NICKNAME && printable(&body.nickname));
    assert!(body.endpoints.len() <= MAX_ENDPOINTS);
    assert!(body.neighbours.len() <= MAX_NEIGHBOURS);
    assert!(body.attached.len() <= MAX_ATTACHED);
    for attached in &body.attached {
        assert!(attached.container.len() <= MAX_CONTAINER_NAME);
        assert!(printable(&attached.container));
        assert!(attached.addr.prefix_len() <= attached.addr.max_prefix_len());
    }
    assert!(body.extensions.len() <= MAX_EXTENSIONS);
    assert!(body.extensions.iter().all(|e| e.1.len() <= MAX_EXTENSION));
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let identity = fixture::identity(1);
    let small = fixture::body_of(&identity, Version { epoch: 1, seq: 1 });
    let mut full = fixture::body_of(&identity, Version { epoch: 7, seq: 300 });
    full.endpoints = vec![
        fixture::address(1),
        "[fd00::1]:6783".parse().expect("an address"),
    ];
    full.neighbours = (2..5).map(|n| fixture::neighbour(fixture::id(n))).collect();
    full.neighbours[0].address = Some(fixture::address(2));
    full.attached = vec![Attached {
        mac: fixture::mac(1),
        addr: "10.2.1.1/24".parse().expect("an address"),
        container: "web".to_owned(),
    }];
    full.extensions = vec![Extension(9, vec![1, 2, 3])];
    [small, full]
        .iter()
        .filter_map(|body| SignedRecord::sign(body, &identity).ok())
        .map(|record| record.bytes().to_vec())
        .collect()
}
