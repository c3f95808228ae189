//! Signed records.

use std::array;
use std::sync::LazyLock;

use mesh_proto::ids::Version;
use mesh_proto::limits::{
    MAX_ATTACHED, MAX_CONTAINER_NAME, MAX_ENDPOINTS, MAX_NEIGHBOURS, MAX_NICKNAME, MAX_TOPICS,
};
use mesh_proto::network::NetworkId;
use mesh_proto::topology::bodies::{self, Attached, IdentityBody};
use mesh_proto::topology::record::SignedRecord;
use mesh_proto::topology::settings::Settings;
use mesh_proto::wire::topic::Topic;

use super::fixture;

/// Keys of the router that signs the corpus, and of others that never sign. To make one takes as long as a verification.
static SIGN_KEYS: LazyLock<[[u8; 32]; 16]> =
    LazyLock::new(|| array::from_fn(|n| fixture::identity(number(n)).sign_key()));

fn number(n: usize) -> u8 {
    u8::try_from(n).expect("fewer than 256 keys")
}

/// A parsed record is within its bounds, contains no control characters in texts, and keeps its bytes.
pub(super) fn target(data: &[u8]) {
    let Ok(record) = SignedRecord::parse(data) else {
        return;
    };
    assert_eq!(record.bytes(), data);
    assert!(data.len() <= record.topic().max_record());
    assert!((1..=MAX_TOPICS).contains(&record.topic().number()));
    assert!(data.ends_with(record.body()));
    check_content(&record);
    let signed = SIGN_KEYS.iter().position(|key| record.verify(key).is_ok());
    match signed {
        Some(n) => assert_eq!(record.origin(), fixture::identity(number(n)).id()),
        None => assert!(record.introduces().is_err(), "a signature was forged"),
    }
}

/// Checks that parsed content is within its bounds, and survives encoding.
fn check_content(record: &SignedRecord) {
    let printable = |text: &str| !text.chars().any(char::is_control);
    if let Some(body) = record.as_identity() {
        assert!(body.nickname.len() <= MAX_NICKNAME && printable(&body.nickname));
        assert!(body.endpoints.len() <= MAX_ENDPOINTS);
        assert_eq!(IdentityBody::decode(&body.encode()).as_ref(), Ok(body));
    }
    let links = record.links();
    assert!(links.len() <= MAX_NEIGHBOURS);
    let again = bodies::decode_links(&bodies::encode_links(links));
    assert_eq!(again.as_deref(), Ok(links));
    let attached = record.attached();
    assert!(attached.len() <= MAX_ATTACHED);
    for attached in attached {
        assert!(attached.container.len() <= MAX_CONTAINER_NAME);
        assert!(printable(&attached.container));
        assert!(attached.addr.prefix_len() <= attached.addr.max_prefix_len());
    }
    assert!(attached.is_sorted_by_key(|attached| attached.network));
    let encoded = bodies::encode_attached(attached);
    assert_eq!(bodies::decode_attached(&encoded).as_deref(), Ok(attached));
    // Groups of other networks have one encoding.
    let default = attached.iter().filter(|one| one.network.is_default());
    let default = bodies::encode_attached(&default.cloned().collect::<Vec<_>>());
    assert!(record.body().ends_with(&encoded[default.len()..]));
    // Any body parses as settings; text that cannot be printed is left out.
    let settings = Settings::decode(record.body());
    let text = String::from_utf8(settings.encode()).expect("text");
    assert!(text.split('\n').all(printable));
    assert_eq!(Settings::decode(text.as_bytes()), settings);
}

/// Returns one record of each known topic, one of another topic, and one with containers in several networks.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let identity = fixture::identity(1);
    let mut who = fixture::body_of(&identity);
    who.endpoints = vec![
        fixture::address(1),
        "[fd00::1]:6783".parse().expect("an address"),
    ];
    let mut links: Vec<_> = (2..5).map(|n| fixture::neighbour(fixture::id(n))).collect();
    links[0].address = Some(fixture::address(2));
    let attached = Attached {
        mac: fixture::mac(1),
        addr: "10.2.1.1/24".parse().expect("an address"),
        container: "web".to_owned(),
        moves: 0,
        network: NetworkId::DEFAULT,
    };
    let networks = [0, 1, 1, 9].map(|k| Attached {
        network: NetworkId([k; 16]),
        ..attached.clone()
    });
    let says = |topic, body: &[u8]| {
        let version = Version { epoch: 7, seq: 300 };
        SignedRecord::sign(topic, version, body, &identity).ok()
    };
    let records = [
        Some(fixture::introduction(
            &identity,
            Version { epoch: 1, seq: 1 },
        )),
        says(Topic::IDENTITY, &who.encode()),
        says(Topic::LINKS, &bodies::encode_links(&links)),
        says(Topic::ATTACHED, &bodies::encode_attached(&[attached])),
        says(Topic::NAMES, b"whatever"),
        Topic::new(MAX_TOPICS).and_then(|topic| says(topic, &[])),
        says(Topic::ATTACHED, &bodies::encode_attached(&networks)),
    ];
    let records = records.into_iter().flatten();
    records.map(|record| record.bytes().to_vec()).collect()
}
