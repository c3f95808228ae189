//! Symmetric state of a handshake (Noise section 5.2): chaining key, transcript hash, cipher key and nonce.

use core::fmt;

use blake2::{Blake2s256, Digest};
use hkdf::SimpleHkdf;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::NoiseError;
use crate::crypto::aead::ChaChaKey;

pub(super) const TAG: usize = 16;

/// Transport keys of the two directions; erased when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SplitKeys {
    /// Key that seals what this side sends.
    pub send: [u8; 32],
    /// Key that opens what this side receives.
    pub recv: [u8; 32],
}

impl fmt::Debug for SplitKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SplitKeys(..)")
    }
}

/// Symmetric state. Cloned only to try a received message; each clone is erased when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct SymmetricState {
    chaining_key: [u8; 32],
    hash: [u8; 32],
    key: Option<[u8; 32]>,
    nonce: u64,
}

impl SymmetricState {
    pub(super) fn new(protocol_name: &[u8]) -> Self {
        // Both protocol names are longer than HASHLEN (32), so they are hashed.
        let hash = Blake2s256::digest(protocol_name).into();
        Self {
            chaining_key: hash,
            hash,
            key: None,
            nonce: 0,
        }
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        self.hash
    }

    pub(super) fn mix_hash(&mut self, data: &[u8]) {
        self.hash = Blake2s256::new()
            .chain_update(self.hash)
            .chain_update(data)
            .finalize()
            .into();
    }

    pub(super) fn mix_key(&mut self, input: &[u8]) {
        let mut out = Zeroizing::new([0; 64]);
        self.derive(input, &mut out[..]);
        self.chaining_key.copy_from_slice(&out[..32]);
        self.set_key(&out[32..]);
    }

    pub(super) fn mix_key_and_hash(&mut self, input: &[u8]) {
        let mut out = Zeroizing::new([0; 96]);
        self.derive(input, &mut out[..]);
        self.chaining_key.copy_from_slice(&out[..32]);
        self.mix_hash(&out[32..64]);
        self.set_key(&out[64..]);
    }

    /// Appends `plaintext` to `out`, encrypted once there is a key.
    pub(super) fn encrypt_and_hash(&mut self, plaintext: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(plaintext);
        if let Some(key) = &self.key {
            let tag = ChaChaKey::new(*key).seal(self.nonce, &self.hash, &mut out[start..]);
            out.extend_from_slice(&tag);
            self.nonce += 1;
        }
        self.mix_hash(&out[start..]);
    }

    /// Returns the plaintext of `ciphertext`; an error leaves the state as before.
    pub(super) fn decrypt_and_hash(&mut self, ciphertext: &[u8]) -> Result<Vec<u8>, NoiseError> {
        let plaintext = match &self.key {
            None => ciphertext.to_vec(),
            Some(key) => {
                let (body, tag) = ciphertext
                    .split_last_chunk::<TAG>()
                    .ok_or(NoiseError::TooShort)?;
                let mut plaintext = body.to_vec();
                ChaChaKey::new(*key)
                    .open(self.nonce, &self.hash, &mut plaintext, tag)
                    .map_err(|_| NoiseError::Unauthentic)?;
                self.nonce += 1;
                plaintext
            }
        };
        self.mix_hash(ciphertext);
        Ok(plaintext)
    }

    /// Returns the number of bytes that encryption adds in the present state.
    pub(super) fn overhead(&self) -> usize {
        if self.key.is_some() { TAG } else { 0 }
    }

    /// Returns the transport keys of both directions, as (send, recv) of the initiator.
    pub(super) fn split(&self) -> SplitKeys {
        let mut out = Zeroizing::new([0; 64]);
        self.derive(&[], &mut out[..]);
        let mut keys = SplitKeys {
            send: [0; 32],
            recv: [0; 32],
        };
        keys.send.copy_from_slice(&out[..32]);
        keys.recv.copy_from_slice(&out[32..]);
        keys
    }

    fn set_key(&mut self, key: &[u8]) {
        self.key.get_or_insert_default().copy_from_slice(key);
        self.nonce = 0;
    }

    /// HKDF of Noise (section 4.3): that of RFC 5869 with the chaining key as salt and an empty info.
    fn derive(&self, input: &[u8], out: &mut [u8]) {
        let expanded =
            SimpleHkdf::<Blake2s256>::new(Some(&self.chaining_key), input).expand(&[], out);
        debug_assert!(expanded.is_ok(), "96 bytes are within HKDF's reach");
    }
}
