//! Ed25519 signatures of records and unicast messages: they cover a label for the kind, then the bytes.

use serde::Serialize;

use crate::crypto::identity::{self, BadSignature, Identity};
use crate::ids::PeerId;
use crate::wire::codec::{self, CodecError};

/// Length of the signature, which comes first, in bytes.
pub(super) const SIGNATURE: usize = 64;

/// Encodes `envelope` and signs it with `label`; returns the signature followed by the encoded envelope.
pub(super) fn sign(
    label: &[u8],
    envelope: &impl Serialize,
    identity: &Identity,
) -> Result<Vec<u8>, CodecError> {
    let mut message = label.to_vec();
    codec::encode(envelope, &mut message)?;
    let mut bytes = identity.sign(&message).to_vec();
    bytes.extend_from_slice(&message[label.len()..]);
    Ok(bytes)
}

/// Verifies that `bytes` are signed with `sign_key`, and that this is the key of `origin`.
pub(super) fn verify(
    label: &[u8],
    bytes: &[u8],
    sign_key: &[u8; 32],
    origin: PeerId,
) -> Result<(), BadSignature> {
    if identity::peer_id(sign_key) != origin {
        return Err(BadSignature);
    }
    let (signature, signed) = bytes.split_first_chunk().ok_or(BadSignature)?;
    identity::verify(sign_key, &[label, signed].concat(), signature)
}
