//! Identities, secrets, link messages and records.

use mesh_proto::crypto::secret::{MeshSecret, Realm};
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::topology::record::SignedRecord;
use mesh_proto::wire::digest_tree::{CHILDREN, DigestNode};
use mesh_proto::wire::message::{DigestEntry, Hashes, LinkMessage, Summary};
use mesh_proto::wire::topic::{RecordKey, Topic};

use crate::Vectors;
use crate::routers;

pub(crate) fn identities() -> Vectors {
    let (a, b) = (routers::a().identity, routers::b().identity);
    Vectors::from([
        ("sign key of A", a.sign_key().to_vec()),
        ("dh key of A", a.dh_key().to_vec()),
        ("peer id of A", a.id().0.to_vec()),
        ("sign key of B", b.sign_key().to_vec()),
        ("dh key of B", b.dh_key().to_vec()),
        ("peer id of B", b.id().0.to_vec()),
    ])
}

pub(crate) fn secrets() -> Vectors {
    let key = routers::secret();
    let password = MeshSecret::from_password("correct horse battery", &Realm::default()).unwrap();
    let named = Realm::new("blue").unwrap();
    let named = MeshSecret::from_key_bytes([5; 32]).of_mesh(&named);
    let open = MeshSecret::open();
    Vectors::from([
        ("link psk of the key file", key.link_psk().to_vec()),
        ("session psk of the key file", key.session_psk().to_vec()),
        ("link psk of the password", password.link_psk().to_vec()),
        (
            "session psk of the password",
            password.session_psk().to_vec(),
        ),
        (
            "bytes 32 to 39 of a hello in the mesh named blue",
            named.mesh_tag().to_vec(),
        ),
        ("link psk of an open mesh", open.link_psk().to_vec()),
        ("session psk of an open mesh", open.session_psk().to_vec()),
    ])
}

pub(crate) fn messages() -> Vectors {
    let entry = DigestEntry {
        key: RecordKey::new(PeerId([0xaa; 16]), Topic::LINKS),
        reachable: true,
        version: Version { epoch: 3, seq: 300 },
        fingerprint: [1, 2, 3, 4],
    };
    let summary = Summary {
        first: PeerId([0; 16]),
        last: PeerId([0xff; 16]),
        entries: vec![entry],
    };
    let mut hashes = Hashes {
        node: DigestNode::new(1, 0xa).unwrap(),
        sums: [[0; 8]; CHILDREN],
    };
    hashes.sums[0xa] = [0xee; 8];
    let reason = "that router was stopped".into();
    let encoded = |message: LinkMessage| {
        let bytes = message.encode().unwrap();
        assert_eq!(LinkMessage::decode(&bytes), Ok(message));
        bytes
    };
    Vectors::from([
        ("Ping", encoded(LinkMessage::Ping { nonce: 1 })),
        (
            "Pong",
            encoded(LinkMessage::Pong {
                nonce: 0x0123_4567_89ab_cdef,
            }),
        ),
        (
            "Records",
            encoded(LinkMessage::Records(vec![vec![0xaa, 0xbb], vec![0xcc]])),
        ),
        ("Digest", encoded(LinkMessage::Digest([0xdd; 16]))),
        ("Summary", encoded(LinkMessage::Summary(summary))),
        ("Request", encoded(LinkMessage::Request(vec![entry.key]))),
        (
            "Observed v4",
            encoded(LinkMessage::Observed("192.0.2.1:6783".parse().unwrap())),
        ),
        (
            "Observed v6",
            encoded(LinkMessage::Observed("[2001:db8::1]:6783".parse().unwrap())),
        ),
        ("Bye", encoded(LinkMessage::Bye { reason })),
        ("KeepLink", encoded(LinkMessage::KeepLink(false))),
        ("Hashes", encoded(LinkMessage::Hashes(hashes))),
        (
            "Unicast",
            encoded(LinkMessage::Unicast {
                hops: 16,
                bytes: vec![0xaa, 0xbb],
            }),
        ),
        (
            "IHave",
            encoded(LinkMessage::IHave(vec![(entry.key, entry.version)])),
        ),
    ])
}

pub(crate) fn record() -> Vectors {
    let a = routers::a();
    let key = a.identity.sign_key();
    let parts = |record: &SignedRecord| {
        record.verify(&key).unwrap();
        let (signature, signed) = record.bytes().split_at(64);
        (signature.to_vec(), signed.to_vec())
    };
    let who = parts(&a.record);
    let links = parts(&routers::links_of_a());
    let attached = parts(&routers::attached_of_a());
    Vectors::from([
        ("identity of A, signature", who.0),
        ("identity of A, signed", who.1),
        ("identity of A, hash", a.record.hash().to_vec()),
        ("links of A, signature", links.0),
        ("links of A, signed", links.1),
        ("attached of A, signature", attached.0),
        ("attached of A, signed", attached.1),
        (
            "attached, the body with a container in a network",
            routers::attached_in_a_network(),
        ),
    ])
}

/// The decoder accepts a number in more bytes than needed, as the document says.
#[test]
fn longer_forms_of_a_number_are_read() {
    let ping = |body: &[u8]| LinkMessage::decode(&[&[1], body].concat());
    for form in [
        &[7][..],
        &[0xfb, 0, 7],
        &[0xfc, 0, 0, 0, 7],
        &[0xfd, 0, 0, 0, 0, 0, 0, 0, 7],
    ] {
        assert_eq!(ping(form), Ok(LinkMessage::Ping { nonce: 7 }), "{form:?}");
    }
    assert!(
        ping(&[0xfe; 17]).is_err(),
        "16 bytes are too many for a u64"
    );
    // A u16 (the port) has no longer form than that with 2 bytes.
    let observed = |port: &[u8]| LinkMessage::decode(&[&[7, 0, 192, 0, 2, 1], port].concat());
    assert!(observed(&[0xfb, 0, 7]).is_ok());
    assert!(observed(&[0xfc, 0, 0, 0, 7]).is_err());
}
