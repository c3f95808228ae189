//! ChaCha20-Poly1305 (RFC 8439) by RustCrypto, whose keys are erased.

use core::fmt;

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce, Tag};

use super::{Forged, KEY_LEN};

/// A key of one direction of a link, or of one step of a handshake. Erased on drop, cannot be copied, prints nothing.
pub struct ChaChaKey {
    cipher: ChaCha20Poly1305,
}

impl fmt::Debug for ChaChaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChaChaKey")
    }
}

impl zeroize::ZeroizeOnDrop for ChaChaKey {}

impl ChaChaKey {
    /// A key of 32 secret bytes.
    pub fn new(key: [u8; KEY_LEN]) -> Self {
        let key = zeroize::Zeroizing::new(key);
        Self {
            cipher: ChaCha20Poly1305::new((&*key).into()),
        }
    }

    /// Encrypts `body` in place and returns the tag over `aad` and `body`.
    ///
    /// A body longer than the cipher allows (256 GiB) is wiped instead, so that it does not leave as clear text.
    pub fn seal(&self, counter: u64, aad: &[u8], body: &mut [u8]) -> [u8; 16] {
        let buffer = InOutBuf::from(&mut *body);
        let sealed = self
            .cipher
            .encrypt_inout_detached(&nonce(counter), aad, buffer);
        match sealed {
            Ok(tag) => tag.into(),
            Err(_) => {
                body.fill(0);
                [0; 16]
            }
        }
    }

    /// Decrypts `body` in place if `tag` is right.
    ///
    /// # Errors
    /// [`Forged`] when it is not; `body` then still is ciphertext.
    pub fn open(
        &self,
        counter: u64,
        aad: &[u8],
        body: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), Forged> {
        self.cipher
            .decrypt_inout_detached(&nonce(counter), aad, InOutBuf::from(body), &Tag::from(*tag))
            .map_err(|_| Forged)
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce.into()
}
