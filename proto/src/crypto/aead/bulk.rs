//! Ciphers of sessions, implemented by `ring` in assembly chosen at run time.

use core::fmt;

use ring::aead::{
    AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey,
};
use ring::error::Unspecified;
use zeroize::Zeroizing;

use super::{Forged, KEY_LEN, Suite};

/// Key of one direction of a session. It cannot be copied and is never printed.
///
/// It is *not* erased when dropped: `ring` does not give access to the expanded key, which stays in freed memory
/// until that is reused. The 32 bytes from which it was made are erased.
pub struct AeadKey {
    suite: Suite,
    /// `None` if `ring` refused the key, which happens for a wrong length only; such a key seals and opens nothing.
    key: Option<LessSafeKey>,
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AeadKey({})", self.suite)
    }
}

impl AeadKey {
    /// Creates a key from 32 secret bytes.
    pub fn new(suite: Suite, key: [u8; KEY_LEN]) -> Self {
        let key = Zeroizing::new(key);
        let unbound = UnboundKey::new(algorithm(suite), &key[..]);
        Self {
            suite,
            key: unbound.ok().map(LessSafeKey::new),
        }
    }

    /// Returns the cipher suite.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Encrypts `body` in place and returns the tag over `aad` and `body`.
    ///
    /// A body longer than the cipher allows (64 GiB) is zeroed, so that it is not sent as plaintext.
    pub fn seal(&self, counter: u64, aad: &[u8], body: &mut [u8]) -> [u8; 16] {
        let sealed = self.key.as_ref().ok_or(Unspecified).and_then(|key| {
            key.seal_in_place_separate_tag(self.nonce(counter), Aad::from(aad), body)
        });
        match sealed
            .ok()
            .and_then(|tag| tag.as_ref().first_chunk().copied())
        {
            Some(tag) => tag,
            None => {
                body.fill(0);
                [0; 16]
            }
        }
    }

    /// Decrypts `body` in place if `tag` is valid.
    ///
    /// # Errors
    /// [`Forged`] if it is not; the content of `body` is then unspecified.
    pub fn open(
        &self,
        counter: u64,
        aad: &[u8],
        body: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), Forged> {
        let (nonce, aad, tag) = (self.nonce(counter), Aad::from(aad), Tag::from(*tag));
        let key = self.key.as_ref().ok_or(Forged)?;
        key.open_in_place_separate_tag(nonce, aad, tag, body, 0..)
            .map(|_| ())
            .map_err(|_| Forged)
    }

    fn nonce(&self, counter: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&match self.suite {
            Suite::ChaCha20Poly1305 => counter.to_le_bytes(),
            Suite::Aes256Gcm => counter.to_be_bytes(),
        });
        Nonce::assume_unique_for_key(nonce)
    }
}

fn algorithm(suite: Suite) -> &'static Algorithm {
    match suite {
        Suite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        Suite::Aes256Gcm => &AES_256_GCM,
    }
}
