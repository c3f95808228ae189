//! Ed25519 signatures of records and unicast messages: they cover a label for the kind, then the bytes.
//!
//! | bytes | content |
//! |---|---|
//! | 64 | Ed25519 signature over the label ‖ the rest, verified strictly (RFC 8032, no malleable signatures) |
//! | … | header |
//! | rest | length and bytes of the body |

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::RecordError;
use crate::crypto::identity::{self, BadSignature, Identity};
use crate::ids::PeerId;
use crate::limits::MAX_RECORD;
use crate::wire::bounded::Blob;
use crate::wire::codec::{self, CodecError};

/// Length of the signature, which comes first, in bytes.
pub(super) const SIGNATURE: usize = 64;

/// Fields before the body of a signed message.
pub(super) trait SignedHeader: Serialize + DeserializeOwned {
    /// Label of the kind of message, which its signature covers.
    const LABEL: &'static [u8];

    /// Returns the signer.
    fn origin(&self) -> PeerId;
}

/// Signed message as transmitted, with its header.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Signed<T> {
    bytes: Box<[u8]>,
    header: T,
    /// Length of the body, which is at the end of the bytes.
    body: usize,
}

impl<T: SignedHeader> Signed<T> {
    /// Signs `header` and `body` with the key of `identity`.
    ///
    /// # Errors
    /// [`RecordError::TooLong`] if the message exceeds [`MAX_RECORD`].
    pub(super) fn sign(header: &T, body: &[u8], identity: &Identity) -> Result<Self, RecordError> {
        let mut message = T::LABEL.to_vec();
        codec::encode(&(header, Blob::<MAX_RECORD>(body)), &mut message)?;
        let mut bytes = identity.sign(&message).to_vec();
        bytes.extend_from_slice(&message[T::LABEL.len()..]);
        Self::parse(bytes)
    }

    /// Parses a message. Structure and length are checked, the signature is not: see [`Signed::verify`].
    ///
    /// # Errors
    /// [`RecordError`] if it is too long or malformed.
    pub(super) fn parse(bytes: impl Into<Box<[u8]>>) -> Result<Self, RecordError> {
        let bytes = bytes.into();
        if bytes.len() > MAX_RECORD {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let signed = bytes.get(SIGNATURE..).ok_or(CodecError::Malformed)?;
        let (header, body): (T, Blob<'_, MAX_RECORD>) = codec::decode(signed)?;
        let body = body.0.len();
        Ok(Self {
            bytes,
            header,
            body,
        })
    }

    /// Verifies that the message is signed with `sign_key`, and that this is the key of its origin.
    pub(super) fn verify(&self, sign_key: &[u8; 32]) -> Result<(), BadSignature> {
        if identity::peer_id(sign_key) != self.header.origin() {
            return Err(BadSignature);
        }
        let (signature, signed) = self.bytes.split_first_chunk().ok_or(BadSignature)?;
        identity::verify(sign_key, &[T::LABEL, signed].concat(), signature)
    }

    /// Returns the header.
    pub(super) fn header(&self) -> &T {
        &self.header
    }

    /// Returns the encoded body.
    pub(super) fn body(&self) -> &[u8] {
        let start = self.bytes.len() - self.body;
        self.bytes.get(start..).unwrap_or_default()
    }

    /// Returns the message as transmitted.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the message as transmitted.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_vec()
    }
}
