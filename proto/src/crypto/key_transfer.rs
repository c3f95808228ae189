//! Transfer of keys of a network from one router to another, through routers that must not read them.
//!
//! It is an ephemeral Diffie-Hellman: the asker sends a fresh X25519 key, the giver answers with another one and the
//! keys, sealed under what both agree on. Both messages are signed by their senders (`topology::unicast`), so nobody in
//! between has a part in the agreement. Both secrets are erased after one use, so recordings stay closed even to one
//! who later obtains all long-lived keys.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::aead::{ChaChaKey, Forged, KEY_LEN};
use super::dh::{DhSecret, LowOrder};
use super::network_key::NetworkKey;
use crate::ids::PeerId;
use crate::network::NetworkId;

const LABEL: &[u8] = b"mesh network key transfer v1";
/// Length of a tag, in bytes.
const TAG_LEN: usize = 16;
/// Bytes of one key: flags, and the key.
const ENTRY_LEN: usize = 1 + KEY_LEN;
/// Flag of a key that is to be replaced.
const STALE: u8 = 1;

/// Both ends of a transfer, and what they said in clear: all of it is bound into the agreement.
#[derive(Clone, Copy, Debug)]
pub struct KeyTransfer<'a> {
    /// Network of the keys.
    pub network: &'a NetworkId,
    /// Router that asked.
    pub asker: &'a PeerId,
    /// Router that gives.
    pub giver: &'a PeerId,
    /// Ephemeral public key of the asker.
    pub asker_public: &'a [u8; 32],
    /// Ephemeral public key of the giver.
    pub giver_public: &'a [u8; 32],
}

/// Key that was transferred.
#[derive(Debug)]
pub struct TransferredKey {
    /// The key.
    pub key: NetworkKey,
    /// True if the giver wants it replaced.
    pub stale: bool,
}

impl KeyTransfer<'_> {
    /// Returns the length of so many keys when they are sealed.
    pub const fn sealed_len(keys: usize) -> usize {
        keys * ENTRY_LEN + TAG_LEN
    }

    /// Seals keys, each with whether it is to be replaced. `secret` is the ephemeral secret of the giver, for this use
    /// only.
    ///
    /// # Errors
    /// [`LowOrder`] if the asker sent a bad public key.
    pub fn seal<'k>(
        &self,
        secret: &DhSecret,
        keys: impl Iterator<Item = (&'k NetworkKey, bool)>,
    ) -> Result<Vec<u8>, LowOrder> {
        let cipher = self.cipher(secret, self.asker_public)?;
        let keys: Vec<(&NetworkKey, bool)> = keys.collect();
        // With room for all, so that no plaintext is left in a buffer that grew.
        let mut body = Vec::with_capacity(Self::sealed_len(keys.len()));
        for (key, stale) in keys {
            body.push(if stale { STALE } else { 0 });
            body.extend_from_slice(key.secret());
        }
        let tag = cipher.seal(0, &[], &mut body);
        body.extend_from_slice(&tag);
        Ok(body)
    }

    /// Opens what was sealed by [`KeyTransfer::seal`]. `secret` is the ephemeral secret of the asker.
    ///
    /// # Errors
    /// [`Forged`] if the giver did not seal it so, or sent a bad public key.
    pub fn open(&self, secret: &DhSecret, sealed: &[u8]) -> Result<Vec<TransferredKey>, Forged> {
        let cipher = self.cipher(secret, self.giver_public);
        let cipher = cipher.map_err(|LowOrder| Forged)?;
        let (body, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(Forged)?;
        let mut body = Zeroizing::new(body.to_vec());
        cipher.open(0, &[], &mut body, tag)?;
        if body.len() % ENTRY_LEN != 0 {
            return Err(Forged);
        }
        let keys = body.chunks_exact(ENTRY_LEN).map(|entry| {
            let mut key = Zeroizing::new([0; KEY_LEN]);
            key.copy_from_slice(&entry[1..]);
            TransferredKey {
                key: NetworkKey::new(*key),
                stale: entry[0] & STALE != 0,
            }
        });
        Ok(keys.collect())
    }

    fn cipher(&self, secret: &DhSecret, remote: &[u8; 32]) -> Result<ChaChaKey, LowOrder> {
        let shared = secret.agree(remote)?;
        let info: [&[u8]; 6] = [
            LABEL,
            &self.network.0,
            &self.asker.0,
            &self.giver.0,
            self.asker_public,
            self.giver_public,
        ];
        let mut key = Zeroizing::new([0; KEY_LEN]);
        let expanded = Hkdf::<Sha256>::new(None, &shared[..]).expand_multi_info(&info, &mut *key);
        debug_assert!(expanded.is_ok(), "32 bytes are within HKDF's reach");
        Ok(ChaChaKey::new(*key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: NetworkId = NetworkId([1; 16]);
    const ASKER: PeerId = PeerId([2; 16]);
    const GIVER: PeerId = PeerId([3; 16]);

    fn secrets() -> (DhSecret, DhSecret) {
        (DhSecret::from_bytes([4; 32]), DhSecret::from_bytes([5; 32]))
    }

    fn transfer<'a>(publics: &'a ([u8; 32], [u8; 32])) -> KeyTransfer<'a> {
        KeyTransfer {
            network: &NETWORK,
            asker: &ASKER,
            giver: &GIVER,
            asker_public: &publics.0,
            giver_public: &publics.1,
        }
    }

    #[test]
    fn keys_arrive_with_their_flags_and_are_not_in_the_message() {
        let (asker, giver) = secrets();
        let publics = (asker.public(), giver.public());
        let keys = [NetworkKey::new([6; 32]), NetworkKey::new([7; 32])];
        let both = keys.iter().zip([false, true]);
        let sealed = transfer(&publics).seal(&giver, both).unwrap();
        assert_eq!(sealed.len(), KeyTransfer::sealed_len(2));
        assert!(!sealed.windows(8).any(|w| w == [6; 8] || w == [7; 8]));
        let opened = transfer(&publics).open(&asker, &sealed).unwrap();
        let opened = opened.iter().map(|k| (k.key.id(), k.stale));
        let sent = keys.iter().map(NetworkKey::id).zip([false, true]);
        assert!(opened.eq(sent));
    }

    #[test]
    fn every_flipped_bit_truncation_and_other_party_is_refused() {
        let (asker, giver) = secrets();
        let publics = (asker.public(), giver.public());
        let key = NetworkKey::new([6; 32]);
        let one = || core::iter::once((&key, false));
        let sealed = transfer(&publics).seal(&giver, one()).unwrap();
        for len in 0..sealed.len() {
            assert!(transfer(&publics).open(&asker, &sealed[..len]).is_err());
        }
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(transfer(&publics).open(&asker, &bad).is_err(), "{bit}");
        }
        let (network, other) = (NetworkId([9; 16]), PeerId([9; 16]));
        let good = transfer(&publics);
        let changed = [
            KeyTransfer {
                network: &network,
                ..good
            },
            KeyTransfer {
                asker: &other,
                ..good
            },
            KeyTransfer {
                giver: &other,
                ..good
            },
        ];
        for transfer in changed {
            assert!(transfer.open(&asker, &sealed).is_err(), "{transfer:?}");
        }
        // An eavesdropper has the public keys, and secrets of its own.
        assert!(
            transfer(&publics)
                .open(&DhSecret::from_bytes([8; 32]), &sealed)
                .is_err()
        );
        // A public key of low order leads to no agreement.
        let bad = (asker.public(), [0; 32]);
        assert!(transfer(&bad).open(&asker, &sealed).is_err());
        assert!(
            transfer(&([0; 32], giver.public()))
                .seal(&giver, one())
                .is_err()
        );
    }

    #[test]
    fn a_length_that_is_no_number_of_keys_is_refused() {
        let (asker, giver) = secrets();
        let publics = (asker.public(), giver.public());
        let cipher = transfer(&publics).cipher(&giver, &asker.public()).unwrap();
        let mut body = vec![0; ENTRY_LEN + 1];
        let tag = cipher.seal(0, &[], &mut body);
        body.extend_from_slice(&tag);
        assert!(transfer(&publics).open(&asker, &body).is_err());
    }

    #[test]
    fn nothing_secret_is_printed() {
        let key = TransferredKey {
            key: NetworkKey::new([6; 32]),
            stale: true,
        };
        let text = format!("{key:?}");
        assert!(
            text.starts_with("TransferredKey { key: NetworkKey("),
            "{text}"
        );
    }
}
