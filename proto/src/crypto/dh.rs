//! X25519 key agreement (RFC 7748) that refuses predictable results.

use core::fmt;

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Diffie-Hellman secret with its public key; erased when dropped, and never printed.
pub struct DhSecret {
    secret: StaticSecret,
    public: [u8; 32],
}

/// Error: the public key of the other side is of low order, so the shared secret would be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the public key is of low order")]
pub struct LowOrder;

impl DhSecret {
    /// Creates a secret from these bytes, which are clamped on use as in RFC 7748 section 5.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let secret = StaticSecret::from(bytes);
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }

    /// Returns the public key of this secret.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Returns the secret shared with the owner of the public key `remote`.
    pub fn agree(&self, remote: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, LowOrder> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*remote));
        if !shared.was_contributory() {
            return Err(LowOrder);
        }
        Ok(Zeroizing::new(shared.to_bytes()))
    }

    /// Returns a copy, for a state that outlives the borrow of the original.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            secret: self.secret.clone(),
            public: self.public,
        }
    }
}

impl fmt::Debug for DhSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DhSecret(..)")
    }
}
