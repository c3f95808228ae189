//! ChaCha20-Poly1305 (RFC 8439), implemented by RustCrypto, with keys that are erased.

use core::fmt;

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce, Tag};

use super::{Forged, KEY_LEN};

/// Key of one direction of a link, or of one step of a handshake. It is erased when dropped, cannot be copied, and is
/// never printed.
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
    /// Creates a key from 32 secret bytes.
    pub fn new(key: [u8; KEY_LEN]) -> Self {
        let key = zeroize::Zeroizing::new(key);
        Self {
            cipher: ChaCha20Poly1305::new((&*key).into()),
        }
    }

    /// Encrypts `body` in place and returns the tag over `aad` and `body`.
    ///
    /// A body longer than the cipher allows (256 GiB) is zeroed, so that it is not sent as plaintext.
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

    /// Decrypts `body` in place if `tag` is valid.
    ///
    /// # Errors
    /// [`Forged`] if it is not; `body` is then unchanged.
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
