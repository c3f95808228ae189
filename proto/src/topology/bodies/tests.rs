//! Encoded bodies decode to the same value, within their bounds and without control characters.

use super::*;
use crate::ids::Mac;
use crate::limits::{
    MAX_ATTACHED, MAX_CONTAINER_NAME, MAX_LINKS_RECORD, MAX_RECORD, RECORD_OVERHEAD,
};
use crate::network::NetworkId;
use crate::topology::testing::{body_of, identity};
use crate::wire::codec::CodecError;
use proptest::collection::vec;
use proptest::prelude::*;

fn far() -> SocketAddr {
    "[fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
        .parse()
        .unwrap()
}

fn neighbour(n: u8) -> Neighbour {
    Neighbour {
        peer: PeerPrefix([n; 8]),
        outbound: n & 1 != 0,
        established: n & 2 != 0,
        cost: u16::from(n) * 257,
        address: (n & 4 != 0).then(far),
    }
}

fn attached(container: &str) -> Attached {
    Attached {
        network: NetworkId::DEFAULT,
        mac: Mac([2; 6]),
        addr: "fd00::1/64".parse().unwrap(),
        container: container.into(),
        moves: 0,
    }
}

const MALFORMED: RecordError = RecordError::Malformed(CodecError::Malformed);

#[test]
fn a_usual_link_takes_eleven_bytes() {
    let mut usual = neighbour(3);
    usual.cost = 20;
    assert_eq!(encode_links(&[usual; 8]).len(), 1 + 8 * 11);
    let fullest = encode_links(&vec![neighbour(0xff); MAX_NEIGHBOURS]);
    assert!(
        fullest.len() + RECORD_OVERHEAD <= MAX_LINKS_RECORD,
        "{}",
        fullest.len()
    );
}

#[test]
fn one_more_than_each_bound_is_refused() {
    let mut body = body_of(&identity(1));
    body.nickname = "n".repeat(MAX_NICKNAME);
    body.endpoints = vec![far(); MAX_ENDPOINTS];
    body.features = u64::MAX;
    assert_eq!(IdentityBody::decode(&body.encode()), Ok(body.clone()));
    body.endpoints.push(far());
    assert_eq!(IdentityBody::decode(&body.encode()), Err(MALFORMED));
    body.endpoints.pop();
    body.nickname.push('x');
    assert_eq!(IdentityBody::decode(&body.encode()), Err(MALFORMED));
    let links = |n| decode_links(&encode_links(&vec![neighbour(1); n]));
    assert!(links(MAX_NEIGHBOURS).is_ok());
    assert_eq!(links(MAX_NEIGHBOURS + 1), Err(MALFORMED));
    let containers = |n| decode_attached(&encode_attached(&vec![attached(""); n]));
    assert!(containers(MAX_ATTACHED).is_ok());
    assert_eq!(containers(MAX_ATTACHED + 1), Err(MALFORMED));
}

#[test]
fn container_names_are_cleaned_and_left_out_without_room() {
    let container = |body: &[u8]| decode_attached(body).unwrap()[0].container.clone();
    assert_eq!(
        container(&encode_attached(&[attached("we\nb\x1b[31m")])),
        "web[31m"
    );
    let long = "c".repeat(200);
    assert_eq!(
        container(&encode_attached(&[attached(&long)])).len(),
        MAX_CONTAINER_NAME
    );
    let many = encode_attached(&vec![attached(&long); MAX_ATTACHED]);
    assert!(many.len() + RECORD_OVERHEAD <= MAX_RECORD);
    assert_eq!(container(&many), "");
}

#[test]
fn control_characters_are_refused_and_an_empty_body_means_none() {
    let mut body = body_of(&identity(1));
    body.nickname = "a\x1b[2J".into();
    assert_eq!(
        IdentityBody::decode(&body.encode()),
        Err(RecordError::ControlCharacters)
    );
    let mut raw = encode_attached(&[attached("axb")]);
    let name = raw.len() - 3;
    raw[name] = b'\n';
    assert_eq!(decode_attached(&raw), Err(RecordError::ControlCharacters));
    assert_eq!(decode_links(&[]), Ok(Vec::new()));
    assert_eq!(decode_attached(&[]), Ok(Vec::new()));
    assert!(IdentityBody::decode(&[]).is_err());
}

proptest! {
    #[test]
    fn links_survive(ns in vec(any::<u8>(), 0..40)) {
        let links: Vec<Neighbour> = ns.into_iter().map(neighbour).collect();
        prop_assert_eq!(decode_links(&encode_links(&links)), Ok(links));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok(links) = decode_links(&bytes) {
            prop_assert_eq!(decode_links(&encode_links(&links)), Ok(links));
        }
        if let Ok(attached) = decode_attached(&bytes) {
            prop_assert_eq!(decode_attached(&encode_attached(&attached)), Ok(attached));
        }
        if let Ok(body) = IdentityBody::decode(&bytes) {
            prop_assert_eq!(IdentityBody::decode(&body.encode()), Ok(body));
        }
    }
}
