//! Identities, secrets, link messages and records.

use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::wire::message::{Held, LinkMessage, Summary};

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
    let password = MeshSecret::from_password("correct horse battery").unwrap();
    let open = MeshSecret::open();
    Vectors::from([
        ("link psk of the key file", key.link_psk().to_vec()),
        ("session psk of the key file", key.session_psk().to_vec()),
        ("link psk of the password", password.link_psk().to_vec()),
        (
            "session psk of the password",
            password.session_psk().to_vec(),
        ),
        ("link psk of an open mesh", open.link_psk().to_vec()),
        ("session psk of an open mesh", open.session_psk().to_vec()),
    ])
}

pub(crate) fn messages() -> Vectors {
    let held = Held {
        peer: PeerId([0xaa; 16]),
        version: Version { epoch: 3, seq: 300 },
        fingerprint: [1, 2, 3, 4],
    };
    let summary = Summary {
        first: PeerId([0; 16]),
        last: PeerId([0xff; 16]),
        held: vec![held],
    };
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
        ("Want", encoded(LinkMessage::Want(vec![PeerId([0xaa; 16])]))),
        (
            "Observed v4",
            encoded(LinkMessage::Observed("192.0.2.1:6783".parse().unwrap())),
        ),
        (
            "Observed v6",
            encoded(LinkMessage::Observed("[2001:db8::1]:6783".parse().unwrap())),
        ),
        ("Bye", encoded(LinkMessage::Bye { reason })),
    ])
}

pub(crate) fn record() -> Vectors {
    let record = routers::a().record;
    record.verify().unwrap();
    let (signature, body) = record.bytes().split_at(64);
    Vectors::from([
        ("record of A, signature", signature.to_vec()),
        ("record of A, body", body.to_vec()),
        ("record of A, hash", record.hash().to_vec()),
    ])
}

/// A decoder takes a number in more bytes than it needs; the document says so.
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
    // Of a u16 (the port) at most the form with 2 bytes.
    let observed = |port: &[u8]| LinkMessage::decode(&[&[7, 0, 192, 0, 2, 1], port].concat());
    assert!(observed(&[0xfb, 0, 7]).is_ok());
    assert!(observed(&[0xfc, 0, 0, 0, 7]).is_err());
}
