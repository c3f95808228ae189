//! What a signature of Ed25519 covers, in all that routers sign: a label of its own for each kind, then the bytes.

use serde::Serialize;

use crate::crypto::identity::{self, BadSignature, Identity};
use crate::ids::PeerId;
use crate::wire::codec::{self, CodecError};

/// Bytes of the signature, which comes first.
pub(super) const SIGNATURE: usize = 64;

/// The signature of `identity` over `label` and the encoded `envelope`, and that envelope.
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

/// Whether the signature in `bytes` is that of `sign_key`, and `sign_key` that of `origin`.
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
