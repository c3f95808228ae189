//! ChaCha20-Poly1305 (RFC 8439) in place, with a counter for a nonce.
//!
//! The nonce is four zero bytes and the counter in little-endian order, as Noise defines it for ChaChaPoly. The
//! caller owes that no counter is used twice with one key.

use core::fmt;

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce, Tag};

/// A key of one direction of one session. Zeroized on drop, cannot be copied, prints nothing.
pub struct AeadKey {
    cipher: ChaCha20Poly1305,
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey")
    }
}

impl zeroize::ZeroizeOnDrop for AeadKey {}

/// The tag does not belong to this key, counter, associated data and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authentication failed")]
pub struct Forged;

impl AeadKey {
    /// A key of 32 secret bytes.
    pub fn new(key: [u8; 32]) -> Self {
        let key = zeroize::Zeroizing::new(key);
        Self {
            cipher: ChaCha20Poly1305::new((&*key).into()),
        }
    }

    /// Encrypts `body` in place and returns the tag over `aad` and `body`.
    pub fn seal(&self, counter: u64, aad: &[u8], body: &mut [u8]) -> [u8; 16] {
        self.cipher
            .encrypt_inout_detached(&nonce(counter), aad, InOutBuf::from(body))
            .map_or_else(
                // The only failure is a body beyond 256 GiB, which no slice of ours can be.
                |_| [0; 16],
                Into::into,
            )
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// RFC 8439, appendix A.5: its nonce begins with four zero bytes, as ours do.
    #[test]
    fn rfc_8439_appendix_a5() {
        let key: [u8; 32] =
            hex("1c9240a5eb55d38af333888604f6b5f0 473917c1402b80099dca5cbc207075c0")
                .try_into()
                .unwrap();
        let counter = u64::from_le_bytes(hex("0102030405060708").try_into().unwrap());
        let aad = hex("f33388860000000000004e91");
        let tag: [u8; 16] = hex("eead9d67890cbb22392336fea1851f38").try_into().unwrap();
        let ciphertext = hex(
            "64a0861575861af460f062c79be643bd 5e805cfd345cf389f108670ac76c8cb2
             4c6cfc18755d43eea09ee94e382d26b0 bdb7b73c321b0100d4f03b7f355894cf
             332f830e710b97ce98c8a84abd0b9481 14ad176e008d33bd60f982b1ff37c855
             9797a06ef4f0ef61c186324e2b350638 3606907b6a7c02b0f9f6157b53c867e4
             b9166c767b804d46a59b5216cde7a4e9 9040c5a40433225ee282a1b0a06c523e
             af4534d7f83fa1155b0047718cbc546a 0d072b04b3564eea1b422273f548271a
             0bb2316053fa76991955ebd63159434e cebb4e466dae5a1073a6727627097a10
             49e617d91d361094fa68f0ff77987130 305beaba2eda04df997b714d6c6f2c29
             a6ad5cb4022b02709b",
        );
        let plaintext = "Internet-Drafts are draft documents valid for a maximum of six months and may be \
             updated, replaced, or obsoleted by other documents at any time. It is inappropriate to use \
             Internet-Drafts as reference material or to cite them other than as /\u{201c}work in progress./\u{201d}";
        let key = AeadKey::new(key);

        let mut body = ciphertext.clone();
        key.open(counter, &aad, &mut body, &tag).unwrap();
        assert_eq!(std::str::from_utf8(&body).unwrap(), plaintext);
        assert_eq!(key.seal(counter, &aad, &mut body), tag);
        assert_eq!(body, ciphertext);
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", AeadKey::new([0x5a; 32])), "AeadKey");
    }

    #[test]
    fn a_refused_body_is_left_as_it_was() {
        let key = AeadKey::new([1; 32]);
        let mut body = *b"plain";
        let tag = key.seal(1, b"aad", &mut body);
        let sealed = body;
        assert_eq!(key.open(2, b"aad", &mut body, &tag), Err(Forged));
        assert_eq!(body, sealed);
        assert_eq!(key.open(1, b"", &mut body, &tag), Err(Forged));
        assert_eq!(key.open(1, b"aad", &mut body, &tag), Ok(()));
        assert_eq!(&body, b"plain");
    }

    proptest! {
        #[test]
        fn any_change_is_noticed(key: [u8; 32], counter: u64, aad in prop::collection::vec(any::<u8>(), 1..40),
                                 body in prop::collection::vec(any::<u8>(), 1..100), at: prop::sample::Index, bit in 0u8..8) {
            let key = AeadKey::new(key);
            let mut sealed = body.clone();
            let tag = key.seal(counter, &aad, &mut sealed);
            let mut all = [&aad[..], &sealed, &tag].concat();
            let at = at.index(all.len());
            all[at] ^= 1 << bit;
            let (a, rest) = all.split_at_mut(aad.len());
            let (b, t) = rest.split_at_mut(body.len());
            prop_assert_eq!(key.open(counter, a, b, &t.try_into().unwrap()), Err(Forged));
            prop_assert_eq!(key.open(counter, &aad, &mut sealed, &tag), Ok(()));
            prop_assert_eq!(sealed, body);
        }
    }
}
