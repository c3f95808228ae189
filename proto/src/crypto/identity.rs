//! Identity of a router: an Ed25519 key that signs its records, and an X25519 key for its links and sessions.

use core::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::dh::DhSecret;
use crate::ids::PeerId;

const PEER_ID_LABEL: &[u8] = b"mesh peer id v1";

/// Keys of one router; secrets are erased when dropped and never printed.
pub struct Identity {
    sign: SigningKey,
    dh: DhSecret,
    id: PeerId,
}

/// Error: the signature does not verify with the given key, or the key is weak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

impl Identity {
    /// Creates the identity from an Ed25519 seed (RFC 8032) and an X25519 secret (RFC 7748), 32 random bytes each.
    pub fn from_seeds(sign: [u8; 32], dh: [u8; 32]) -> Self {
        let sign = SigningKey::from_bytes(&sign);
        let id = peer_id(sign.verifying_key().as_bytes());
        Self {
            sign,
            dh: DhSecret::from_bytes(dh),
            id,
        }
    }

    /// Returns the id of this router.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Returns the public Ed25519 key.
    pub fn sign_key(&self) -> [u8; 32] {
        self.sign.verifying_key().to_bytes()
    }

    /// Returns the public X25519 key.
    pub fn dh_key(&self) -> [u8; 32] {
        self.dh.public()
    }

    /// Returns the secret X25519 key.
    pub fn dh_secret(&self) -> &DhSecret {
        &self.dh
    }

    /// Returns the Ed25519 signature over `message`; the caller prefixes a label for the purpose of the message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.sign.sign(message).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.id)
    }
}

/// Returns the id of the router with this `sign_key`: the first 16 bytes of SHA-256("mesh peer id v1" ‖ key).
pub fn peer_id(sign_key: &[u8; 32]) -> PeerId {
    let digest = Sha256::new()
        .chain_update(PEER_ID_LABEL)
        .chain_update(sign_key)
        .finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    PeerId(id)
}

/// Verifies that `signature` is one of `sign_key` over `message`. Malleable signatures and small-order keys are
/// refused, so that all routers accept the same records.
pub fn verify(
    sign_key: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), BadSignature> {
    let key = VerifyingKey::from_bytes(sign_key).map_err(|_| BadSignature)?;
    key.verify_strict(message, &Signature::from_bytes(signature))
        .map_err(|_| BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::from_seeds([1; 32], [2; 32])
    }

    #[test]
    fn id_is_the_labelled_hash_of_the_signing_key() {
        let me = identity();
        let mut text = b"mesh peer id v1".to_vec();
        text.extend_from_slice(&me.sign_key());
        assert_eq!(me.id().0, Sha256::digest(&text)[..16]);
        assert_eq!(peer_id(&me.sign_key()), me.id());
    }

    #[test]
    fn id_depends_on_the_signing_key_only() {
        assert_eq!(identity().id(), Identity::from_seeds([1; 32], [9; 32]).id());
        assert_ne!(identity().id(), Identity::from_seeds([3; 32], [2; 32]).id());
    }

    #[test]
    fn every_flipped_bit_of_a_signature_is_refused() {
        let me = identity();
        let signature = me.sign(b"record");
        assert_eq!(verify(&me.sign_key(), b"record", &signature), Ok(()));
        for bit in 0..512 {
            let mut bad = signature;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(&me.sign_key(), b"record", &bad), Err(BadSignature));
        }
        assert_eq!(
            verify(&me.sign_key(), b"recorD", &signature),
            Err(BadSignature)
        );
    }

    #[test]
    fn small_order_keys_sign_nothing() {
        // With the neutral element as key, (R = neutral, s = 0) satisfies the equation for every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert_eq!(verify(&neutral, b"anything", &signature), Err(BadSignature));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let text = format!("{:?} {:?}", identity(), identity().dh_secret());
        assert_eq!(text, format!("Identity({}) DhSecret(..)", identity().id()));
    }
}
