//! Records: statements of one router about one topic, signed with its Ed25519 key.
//!
//! A record is transmitted, hashed and compared as the bytes that its origin made:
//!
//! | bytes | what |
//! |---|---|
//! | 64 | Ed25519 signature over `"mesh record v1"` ‖ the rest, verified strictly (RFC 8032, no malleable signatures) |
//! | 1 | topic |
//! | 16 | origin |
//! | 2 to 18 | version: epoch and sequence number, as [`crate::wire::codec`] encodes them |
//! | rest | length and bytes of the body: one of [`super::bodies`], or bytes left to other parts of the router |
//!
//! The key that verifies it is in the origin's record about [`Topic::IDENTITY`]; the origin is a hash of that key.

use core::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::bodies::{self, Attached, Content, IdentityBody, Neighbour};
use super::error::RecordError;
#[cfg(test)]
use super::signed::SIGNATURE;
use super::signed::{Signed, SignedHeader};
use super::unicast::SignedUnicast;
use crate::crypto::identity::{self, BadSignature, Identity};
use crate::ids::{PeerId, Version};
#[cfg(test)]
use crate::limits::MAX_RECORD;
use crate::wire::topic::{RecordKey, Topic};

/// Record with the bytes that were signed. Cheap to clone.
#[derive(Clone)]
pub struct SignedRecord(Arc<ParsedRecord>);

struct ParsedRecord {
    signed: Signed<RecordHeader>,
    content: Content,
    hash: [u8; 16],
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct RecordHeader {
    topic: Topic,
    origin: PeerId,
    version: Version,
}

impl SignedHeader for RecordHeader {
    const LABEL: &'static [u8] = b"mesh record v1";

    fn origin(&self) -> PeerId {
        self.origin
    }
}

/// Parser of records and verifier of signatures. The simulator shows each record to a thousand routers and therefore
/// uses one with a cache.
pub trait Verifier {
    /// Parses a record; see [`SignedRecord::parse`].
    ///
    /// # Errors
    /// [`RecordError`] if it is too long, malformed or has control characters.
    fn parse(&self, bytes: &[u8]) -> Result<SignedRecord, RecordError> {
        SignedRecord::parse(bytes)
    }

    /// Verifies that the record is signed with `sign_key`, and that this is the key of its origin.
    ///
    /// # Errors
    /// [`BadSignature`] if it is not.
    fn verify(&self, record: &SignedRecord, sign_key: &[u8; 32]) -> Result<(), BadSignature>;

    /// Verifies that the unicast message is signed with `sign_key`, and that this is the key of its origin.
    ///
    /// # Errors
    /// [`BadSignature`] if it is not.
    fn verify_unicast(
        &self,
        message: &SignedUnicast,
        sign_key: &[u8; 32],
    ) -> Result<(), BadSignature> {
        message.verify(sign_key)
    }
}

/// Verifier that computes each signature (about 40 µs per record).
#[derive(Clone, Copy, Debug, Default)]
pub struct Ed25519;

impl Verifier for Ed25519 {
    fn verify(&self, record: &SignedRecord, sign_key: &[u8; 32]) -> Result<(), BadSignature> {
        record.verify(sign_key)
    }
}

impl SignedRecord {
    /// Signs a record of `identity` about `topic`.
    ///
    /// # Errors
    /// [`RecordError`] if a bound is exceeded, or the body of a known topic is malformed or has other keys than those
    /// of `identity`.
    pub fn sign(
        topic: Topic,
        version: Version,
        body: &[u8],
        identity: &Identity,
    ) -> Result<Self, RecordError> {
        let header = RecordHeader {
            topic,
            origin: identity.id(),
            version,
        };
        let record = Self::with_content(Signed::sign(&header, body, identity)?)?;
        if record
            .as_identity()
            .is_some_and(|body| body.dh_key != identity.dh_key())
        {
            return Err(RecordError::OtherKeys);
        }
        Ok(record)
    }

    /// Parses a record. Structure and bounds are checked, the signature is not: see [`SignedRecord::verify`].
    ///
    /// # Errors
    /// [`RecordError`] if it is too long, malformed, has control characters, or is an identity that does not match
    /// its origin.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::with_content(Signed::parse(bytes)?)
    }

    /// Parses the body of a record.
    fn with_content(signed: Signed<RecordHeader>) -> Result<Self, RecordError> {
        let (bytes, body) = (signed.bytes(), signed.body());
        let RecordHeader { topic, origin, .. } = *signed.header();
        if bytes.len() > topic.max_record() {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let content = match topic {
            Topic::IDENTITY => Content::Identity(Box::new(IdentityBody::decode(body)?)),
            Topic::LINKS => Content::Links(bodies::decode_links(body)?.into()),
            Topic::ATTACHED => Content::Attached(bodies::decode_attached(body)?.into()),
            _ => Content::Opaque,
        };
        if let Content::Identity(body) = &content
            && identity::peer_id(&body.sign_key) != origin
        {
            return Err(RecordError::OtherKeys);
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&Sha256::digest(bytes)[..16]);
        Ok(Self(Arc::new(ParsedRecord {
            signed,
            content,
            hash,
        })))
    }

    /// Verifies that the record is signed with `sign_key`, and that this is the key of its origin.
    ///
    /// # Errors
    /// [`BadSignature`] if it is not.
    pub fn verify(&self, sign_key: &[u8; 32]) -> Result<(), BadSignature> {
        self.0.signed.verify(sign_key)
    }

    /// Verifies a self-signed introduction: a record about [`Topic::IDENTITY`], signed with the key in it. Returns
    /// its body.
    ///
    /// # Errors
    /// [`RecordError::NoIdentity`] or [`RecordError::BadSignature`].
    pub fn introduces(&self) -> Result<&IdentityBody, RecordError> {
        let body = self.as_identity().ok_or(RecordError::NoIdentity)?;
        self.verify(&body.sign_key)
            .map_err(|_| RecordError::BadSignature)?;
        Ok(body)
    }

    /// Returns the router that made the record.
    pub fn origin(&self) -> PeerId {
        self.0.signed.header().origin
    }

    /// Returns the topic.
    pub fn topic(&self) -> Topic {
        self.0.signed.header().topic
    }

    /// Returns the key under which the record is stored.
    pub fn key(&self) -> RecordKey {
        RecordKey::new(self.origin(), self.topic())
    }

    /// Returns the version.
    pub fn version(&self) -> Version {
        self.0.signed.header().version
    }

    /// Returns the encoded body.
    pub fn body(&self) -> &[u8] {
        self.0.signed.body()
    }

    /// Returns the identity body; `None` if the topic is another one.
    pub fn as_identity(&self) -> Option<&IdentityBody> {
        match &self.0.content {
            Content::Identity(body) => Some(body),
            _ => None,
        }
    }

    /// Returns the origin's links; empty if the topic is another one.
    pub fn links(&self) -> &[Neighbour] {
        match &self.0.content {
            Content::Links(links) => links,
            _ => &[],
        }
    }

    /// Returns the origin's containers; empty if the topic is another one.
    pub fn attached(&self) -> &[Attached] {
        match &self.0.content {
            Content::Attached(attached) => attached,
            _ => &[],
        }
    }

    /// Returns the record as transmitted.
    pub fn bytes(&self) -> &[u8] {
        self.0.signed.bytes()
    }

    /// Returns the first 16 bytes of the SHA-256 of [`SignedRecord::bytes`].
    pub fn hash(&self) -> [u8; 16] {
        self.0.hash
    }
}

impl PartialEq for SignedRecord {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for SignedRecord {}

impl fmt::Debug for SignedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { epoch, seq } = self.version();
        write!(
            f,
            "SignedRecord({} {} {epoch}.{seq})",
            self.origin(),
            self.topic()
        )
    }
}

#[cfg(test)]
mod tests;
