//! Signed messages from one router to another.

use std::sync::LazyLock;

use mesh_proto::crypto::identity::Identity;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::MAX_RECORD;
use mesh_proto::topology::unicast::SignedUnicast;
use mesh_proto::wire::topic::Topic;

static AUTHOR: LazyLock<Identity> = LazyLock::new(|| Identity::from_seeds([1; 32], [2; 32]));
static GENUINE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(seeds);

/// A parsed message keeps its bytes; only a message signed by the author verifies.
pub(super) fn target(data: &[u8]) {
    let Ok(message) = SignedUnicast::parse(data.to_vec()) else {
        return;
    };
    assert_eq!(message.bytes(), data);
    assert!(data.len() <= MAX_RECORD && data.ends_with(message.body()));
    let is_genuine = message.verify(&AUTHOR.sign_key()).is_ok();
    assert_eq!(is_genuine, GENUINE.iter().any(|bytes| bytes == data));
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let bodies: [&[u8]; 3] = [b"", b"hello", &[7; 300]];
    let signed = |body: &&[u8]| {
        let to = PeerId([9; 16]);
        let message = SignedUnicast::sign(Topic::ADDRESSES, to, body, &AUTHOR);
        message.expect("short enough").into_bytes()
    };
    bodies.iter().map(signed).collect()
}
