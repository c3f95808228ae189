//! X25519 key agreement (RFC 7748) that refuses results an attacker can predict.

use core::fmt;

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// A Diffie-Hellman secret with its public key; erased when dropped, prints nothing of itself.
pub struct DhSecret {
    secret: StaticSecret,
    public: [u8; 32],
}

/// The other side's public key is of low order: the shared secret would be all zeroes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the public key is of low order")]
pub struct LowOrder;

impl DhSecret {
    /// The secret with these bytes; they are clamped as RFC 7748 section 5 says when used.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let secret = StaticSecret::from(bytes);
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }

    /// The public key that belongs to this secret.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// The secret shared with the holder of `remote`.
    pub fn agree(&self, remote: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, LowOrder> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*remote));
        if !shared.was_contributory() {
            return Err(LowOrder);
        }
        Ok(Zeroizing::new(shared.to_bytes()))
    }

    /// A second copy, for a state that must outlive the borrow of the first.
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
