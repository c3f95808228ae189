//! Bytes of messages and announcements.

use mesh_proto::crypto::key_transfer::KeyTransfer;
use mesh_proto::limits::{MAX_NETWORK_EXTENSION, MAX_NETWORK_KEYS};
use mesh_proto::network::NetworkKeyPrint;
use proptest::prelude::*;

use super::*;

fn prints() -> impl Strategy<Value = Vec<NetworkKeyPrint>> {
    let prints = prop::collection::btree_set(any::<[u8; 16]>(), 1..=MAX_NETWORK_KEYS);
    prints.prop_map(|all| all.into_iter().map(NetworkKeyPrint).collect())
}

fn message() -> impl Strategy<Value = KeyMessage> {
    let request = (any::<[u8; 16]>(), any::<[u8; 32]>(), prints());
    let request = request.prop_map(|(network, public, wanted)| {
        KeyMessage::Request(KeyRequest {
            network: NetworkId(network),
            public,
            wanted,
        })
    });
    let reply = (
        any::<[u8; 16]>(),
        any::<[u8; 32]>(),
        any::<[u8; 32]>(),
        1..=MAX_NETWORK_KEYS,
    );
    let reply = reply.prop_map(|(network, asker_public, giver_public, keys)| {
        KeyMessage::Reply(KeyReply {
            network: NetworkId(network),
            asker_public,
            giver_public,
            sealed: vec![7; KeyTransfer::sealed_len(keys)],
        })
    });
    prop_oneof![request, reply]
}

proptest! {
    #[test]
    fn messages_survive_encoding_and_no_part_of_one_is_one(message in message()) {
        let bytes = message.encode();
        prop_assert_eq!(KeyMessage::decode(&bytes), Ok(message));
        for len in 0..bytes.len() {
            prop_assert_eq!(KeyMessage::decode(&bytes[..len]), Err(BadKeyMessage));
        }
        let longer = [&bytes[..], &[0]].concat();
        prop_assert_eq!(KeyMessage::decode(&longer), Err(BadKeyMessage));
    }

    #[test]
    fn a_flipped_bit_gives_another_message_or_none(message in message()) {
        let bytes = message.encode();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = KeyMessage::decode(&bad) {
                prop_assert_ne!(&read, &message);
                prop_assert_eq!(read.encode(), bad);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = KeyMessage::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes.clone());
        }
        let read = KeyAnnouncement::read(&bytes);
        prop_assert_eq!(KeyAnnouncement::read(&read.encode()), read);
    }

    #[test]
    fn announcements_survive_encoding_and_what_follows_is_skipped(
        prints in prints(),
        flags: (bool, bool),
        rest in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let (stale, next) = flags;
        let keys = prints.into_iter().map(|print| AnnouncedKey { print, stale, next });
        let says = KeyAnnouncement { keys: keys.collect() };
        let bytes = says.encode();
        prop_assert!(bytes.len() + 20 <= MAX_NETWORK_EXTENSION);
        for len in 0..bytes.len() {
            prop_assert_eq!(KeyAnnouncement::read(&bytes[..len]), KeyAnnouncement::default());
        }
        prop_assert_eq!(KeyAnnouncement::read(&[bytes, rest].concat()), says);
    }
}

#[test]
fn a_request_asks_for_something_and_for_nothing_twice() {
    let request = |wanted: Vec<NetworkKeyPrint>| {
        KeyMessage::Request(KeyRequest {
            network: id(1),
            public: [2; 32],
            wanted,
        })
    };
    let print = NetworkKeyPrint([3; 16]);
    let other = |n| NetworkKeyPrint([n; 16]);
    for bad in [vec![], vec![print, print], (0..5).map(other).collect()] {
        let bytes = request(bad).encode();
        assert_eq!(KeyMessage::decode(&bytes), Err(BadKeyMessage));
    }
    let mut later = request(vec![print]).encode();
    later[0] = 2;
    assert_eq!(KeyMessage::decode(&later), Err(BadKeyMessage));
}
