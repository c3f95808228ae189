//! What one router says of itself, signed with its Ed25519 key.
//!
//! A record travels, is hashed and is compared as the bytes its origin made:
//!
//! | bytes | what |
//! |---|---|
//! | 64 | Ed25519 signature over `"mesh record v1"` ‖ body, verified strictly (RFC 8032, no malleable signatures) |
//! | rest | body: the members of [`RecordBody`] in order, as [`crate::wire::codec`] writes them |
//!
//! Later versions put what is new into `extensions`; a router passes on what it does not understand.
//!
//! A record with `seq` 0 is an *introduction*: it has no neighbours, containers or extensions, is small enough for the
//! handshake of a link, and gives way to every real record of its origin's present start.

use core::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::crypto::identity::{self, BadSignature, Identity};
use crate::ids::{Mac, PeerId, PeerName, Version};
use crate::limits::{
    MAX_ATTACHED, MAX_CONTAINER_NAME, MAX_ENDPOINTS, MAX_EXTENSION, MAX_EXTENSIONS, MAX_NEIGHBOURS,
    MAX_NICKNAME, MAX_RECORD,
};
use crate::wire::bounded;
use crate::wire::codec::{self, CodecError};

const LABEL: &[u8] = b"mesh record v1";
const SIGNATURE: usize = 64;

/// What a router says of itself. Lists and texts beyond the bounds in [`crate::limits`] are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordBody {
    /// How new this is; `seq` 0 is kept for introductions.
    pub version: Version,
    /// What people call the router.
    pub name: PeerName,
    /// Its host name, for people; without control characters.
    #[serde(deserialize_with = "bounded::text::<_, MAX_NICKNAME>")]
    pub nickname: String,
    /// Ed25519 public key, of which the origin's [`PeerId`] is a hash.
    pub sign_key: [u8; 32],
    /// X25519 public key of links and sessions.
    pub dh_key: [u8; 32],
    /// Underlay addresses (TCP and UDP) where it may be reached, best first. IPv6 scopes are not carried.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_ENDPOINTS>")]
    pub endpoints: Vec<SocketAddr>,
    /// Its links.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_NEIGHBOURS>")]
    pub neighbours: Vec<Neighbour>,
    /// Containers' interfaces on its host.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_ATTACHED>")]
    pub attached: Vec<Attached>,
    /// Optional parts of the protocol it speaks.
    pub features: u64,
    /// What later versions add, by number; at most [`MAX_EXTENSIONS`].
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_EXTENSIONS>")]
    pub extensions: Vec<Extension>,
}

/// One link of a router, as that router sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Who is at the other end.
    pub peer: PeerId,
    /// Whether the record's origin dialled.
    pub outbound: bool,
    /// Whether frames may go this way; a link carries frames when both ends say so.
    pub established: bool,
    /// What the link costs; routes count hops in this version.
    pub cost: u16,
    /// The other end's underlay address, as seen by the record's origin.
    pub address: Option<SocketAddr>,
}

/// One interface of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Its MAC address.
    pub mac: Mac,
    /// Its address and prefix length.
    pub addr: IpNet,
    /// Short name of the container, for people; empty where the record would have become too long.
    #[serde(deserialize_with = "bounded::text::<_, MAX_CONTAINER_NAME>")]
    pub container: String,
}

/// Something a later version says: its number, and at most [`MAX_EXTENSION`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension(
    /// What it is.
    pub u16,
    /// What it says.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_EXTENSION>")]
    pub Vec<u8>,
);

/// Why a record is refused, or cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Longer than [`MAX_RECORD`].
    #[error("the record has {0} bytes; at most {MAX_RECORD} are allowed")]
    TooLong(usize),
    /// Not a record, or a bound is exceeded.
    #[error("the record is {0}")]
    Malformed(#[from] CodecError),
    /// A name with control characters, which could write anything on an operator's terminal.
    #[error("a name in the record has control characters")]
    ControlCharacters,
    /// The signature is not that of the key in the record.
    #[error("the record's signature is wrong")]
    BadSignature,
    /// Asked to sign for somebody else's key.
    #[error("the record is about other keys than those it is to be signed with")]
    OtherKeys,
}

/// A record with the bytes that were signed. Cheap to clone.
#[derive(Clone)]
pub struct SignedRecord(Arc<Inner>);

struct Inner {
    bytes: Box<[u8]>,
    body: RecordBody,
    origin: PeerId,
    hash: [u8; 16],
}

/// Checks signatures. The simulator, which shows one record to a thousand routers, brings one that remembers.
pub trait Verifier {
    /// Whether the record's signature is that of the key in it.
    ///
    /// # Errors
    /// [`BadSignature`] when it is not.
    fn verify(&self, record: &SignedRecord) -> Result<(), BadSignature>;
}

/// The verifier that computes (about 40 µs for a record).
#[derive(Clone, Copy, Debug, Default)]
pub struct Ed25519;

impl Verifier for Ed25519 {
    fn verify(&self, record: &SignedRecord) -> Result<(), BadSignature> {
        record.verify()
    }
}

impl SignedRecord {
    /// Signs `body`. Container names are cut to their bound and cleaned of control characters; if the record would be
    /// longer than [`MAX_RECORD`], they are left out altogether.
    ///
    /// # Errors
    /// [`RecordError`] when a bound is exceeded, or when the keys in `body` are not those of `identity`.
    pub fn sign(body: &RecordBody, identity: &Identity) -> Result<Self, RecordError> {
        if body.sign_key != identity.sign_key() || body.dh_key != identity.dh_key() {
            return Err(RecordError::OtherKeys);
        }
        let mut body = body.clone();
        for attached in &mut body.attached {
            attached.container = presentable(&attached.container);
        }
        let mut encoded = signing_input(&body)?;
        if SIGNATURE + encoded.len() - LABEL.len() > MAX_RECORD {
            body.attached.iter_mut().for_each(|a| a.container.clear());
            encoded = signing_input(&body)?;
        }
        let mut bytes = identity.sign(&encoded).to_vec();
        bytes.extend_from_slice(&encoded[LABEL.len()..]);
        Self::parse(&bytes)
    }

    /// Reads a record. Structure and bounds are checked, the signature is not: see [`SignedRecord::verify`].
    ///
    /// # Errors
    /// [`RecordError`] when it is too long, malformed or not fit to print.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let encoded = bytes.get(SIGNATURE..).ok_or(CodecError::Malformed)?;
        let body: RecordBody = codec::decode(encoded)?;
        let names = body.attached.iter().map(|a| &a.container);
        if names
            .chain([&body.nickname])
            .any(|name| name.chars().any(char::is_control))
        {
            return Err(RecordError::ControlCharacters);
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&Sha256::digest(bytes)[..16]);
        Ok(Self(Arc::new(Inner {
            origin: identity::peer_id(&body.sign_key),
            bytes: bytes.into(),
            body,
            hash,
        })))
    }

    /// Whether the signature is that of the key in the record.
    ///
    /// # Errors
    /// [`BadSignature`] when it is not.
    pub fn verify(&self) -> Result<(), BadSignature> {
        let (signature, encoded) = self.0.bytes.split_first_chunk().ok_or(BadSignature)?;
        let message = [LABEL, encoded].concat();
        identity::verify(&self.0.body.sign_key, &message, signature)
    }

    /// The introduction of the same router, for the handshake of a link: at most some 700 bytes.
    ///
    /// # Errors
    /// [`RecordError::OtherKeys`] when the record is not `identity`'s.
    pub fn introduction(&self, identity: &Identity) -> Result<Self, RecordError> {
        let body = self.body();
        let version = Version {
            epoch: body.version.epoch,
            seq: 0,
        };
        let introduction = RecordBody {
            version,
            name: body.name,
            nickname: body.nickname.clone(),
            sign_key: body.sign_key,
            dh_key: body.dh_key,
            endpoints: body.endpoints.clone(),
            neighbours: Vec::new(),
            attached: Vec::new(),
            features: body.features,
            extensions: Vec::new(),
        };
        Self::sign(&introduction, identity)
    }

    /// Who says it.
    pub fn origin(&self) -> PeerId {
        self.0.origin
    }

    /// What is said.
    pub fn body(&self) -> &RecordBody {
        &self.0.body
    }

    /// How new it is.
    pub fn version(&self) -> Version {
        self.0.body.version
    }

    /// The record as it travels.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The first 16 bytes of the SHA-256 of [`SignedRecord::bytes`].
    pub fn hash(&self) -> [u8; 16] {
        self.0.hash
    }
}

impl PartialEq for SignedRecord {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for SignedRecord {}

impl fmt::Debug for SignedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { epoch, seq } = self.version();
        write!(f, "SignedRecord({} {epoch}.{seq})", self.0.origin)
    }
}

fn signing_input(body: &RecordBody) -> Result<Vec<u8>, CodecError> {
    let mut out = LABEL.to_vec();
    codec::encode(body, &mut out)?;
    Ok(out)
}

fn presentable(name: &str) -> String {
    let clean: String = name.chars().filter(|c| !c.is_control()).collect();
    bounded::truncated(&clean, MAX_CONTAINER_NAME).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::testing::{body_of, identity};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn full_body(identity: &Identity) -> RecordBody {
        let mut body = body_of(identity);
        let v6 = "[fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
            .parse()
            .unwrap();
        body.version = Version {
            epoch: u64::MAX,
            seq: u64::MAX,
        };
        body.nickname = "n".repeat(MAX_NICKNAME);
        body.endpoints = vec![v6; MAX_ENDPOINTS];
        body.neighbours = vec![
            Neighbour {
                peer: PeerId([1; 16]),
                outbound: true,
                established: true,
                cost: u16::MAX,
                address: Some(v6)
            };
            MAX_NEIGHBOURS
        ];
        body.attached = vec![
            Attached {
                mac: Mac([2; 6]),
                addr: "fd00::1/64".parse().unwrap(),
                container: "c".repeat(200)
            };
            MAX_ATTACHED
        ];
        body.features = u64::MAX;
        body.extensions = vec![Extension(u16::MAX, vec![0xff; MAX_EXTENSION]); MAX_EXTENSIONS];
        body
    }

    #[test]
    fn what_is_signed_is_parsed_and_verifies() {
        let identity = identity(1);
        let mut body = full_body(&identity);
        body.attached.truncate(1);
        let record = SignedRecord::sign(&body, &identity).unwrap();
        let back = SignedRecord::parse(record.bytes()).unwrap();
        back.verify().unwrap();
        assert_eq!(Ed25519.verify(&back), Ok(()));
        assert_eq!(back.origin(), identity.id());
        body.attached[0].container.truncate(MAX_CONTAINER_NAME);
        assert_eq!(back.body(), &body);
        assert_eq!(back, record);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let record = SignedRecord::sign(&body_of(&identity(1)), &identity(1)).unwrap();
        for at in 0..record.bytes().len() {
            let mut bytes = record.bytes().to_vec();
            bytes[at] ^= 1 << (at % 8);
            let noticed = SignedRecord::parse(&bytes).map_or(true, |r| r.verify().is_err());
            assert!(noticed, "byte {at}");
        }
    }

    #[test]
    fn the_fullest_record_can_be_signed_without_names() {
        let identity = identity(1);
        let record = SignedRecord::sign(&full_body(&identity), &identity).unwrap();
        assert!(record.bytes().len() <= MAX_RECORD);
        assert!(
            record
                .body()
                .attached
                .iter()
                .all(|a| a.container.is_empty())
        );
        assert_eq!(record.body().attached.len(), MAX_ATTACHED);
    }

    #[test]
    fn one_more_than_each_bound_is_refused() {
        let identity = identity(1);
        let refused = |change: fn(&mut RecordBody)| {
            let mut body = full_body(&identity);
            body.attached.truncate(1);
            change(&mut body);
            SignedRecord::sign(&body, &identity).unwrap_err()
        };
        let malformed = RecordError::Malformed(CodecError::Malformed);
        assert_eq!(refused(|b| b.nickname.push('x')), malformed);
        assert_eq!(refused(|b| b.endpoints.push(b.endpoints[0])), malformed);
        assert_eq!(refused(|b| b.neighbours.push(b.neighbours[0])), malformed);
        assert_eq!(
            refused(|b| b.attached = vec![b.attached[0].clone(); MAX_ATTACHED + 1]),
            malformed
        );
        assert_eq!(
            refused(|b| b.extensions.push(Extension(1, vec![]))),
            malformed
        );
        assert_eq!(refused(|b| b.extensions[0].1.push(1)), malformed);
        assert_eq!(
            refused(|b| b.nickname = "a\x1b[2J".into()),
            RecordError::ControlCharacters
        );
        assert_eq!(refused(|b| b.sign_key[0] ^= 1), RecordError::OtherKeys);
        assert_eq!(refused(|b| b.dh_key[0] ^= 1), RecordError::OtherKeys);
        let long = vec![0; MAX_RECORD + 1];
        assert_eq!(
            SignedRecord::parse(&long),
            Err(RecordError::TooLong(MAX_RECORD + 1))
        );
    }

    #[test]
    fn container_names_are_made_presentable() {
        let identity = identity(1);
        let mut body = full_body(&identity);
        body.attached.truncate(1);
        body.attached[0].container = "we\nb\x1b[31m".into();
        let record = SignedRecord::sign(&body, &identity).unwrap();
        assert_eq!(record.body().attached[0].container, "web[31m");
    }

    #[test]
    fn an_introduction_is_small_and_older_than_any_real_record() {
        let identity = identity(1);
        let record = SignedRecord::sign(&full_body(&identity), &identity).unwrap();
        let introduction = record.introduction(&identity).unwrap();
        assert!(
            introduction.bytes().len() < 800,
            "{}",
            introduction.bytes().len()
        );
        assert_eq!(
            introduction.version(),
            Version {
                epoch: u64::MAX,
                seq: 0
            }
        );
        assert_eq!(introduction.body().endpoints.len(), MAX_ENDPOINTS);
        introduction.verify().unwrap();
    }

    #[test]
    fn a_signature_by_another_key_is_refused() {
        let mine = SignedRecord::sign(&body_of(&identity(1)), &identity(1)).unwrap();
        let other = SignedRecord::sign(&body_of(&identity(2)), &identity(2)).unwrap();
        let mut bytes = other.bytes()[..SIGNATURE].to_vec();
        bytes.extend_from_slice(&mine.bytes()[SIGNATURE..]);
        assert!(SignedRecord::parse(&bytes).unwrap().verify().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in vec(any::<u8>(), 0..400)) {
            if let Ok(record) = SignedRecord::parse(&bytes) {
                prop_assert!(record.verify().is_err());
            }
        }

        #[test]
        fn a_record_cut_anywhere_is_refused(cut in 0usize..300) {
            let record = SignedRecord::sign(&body_of(&identity(1)), &identity(1)).unwrap();
            let cut = cut % record.bytes().len();
            prop_assert!(SignedRecord::parse(&record.bytes()[..cut]).is_err());
        }
    }
}
