//! Key of a network, with which its members seal broadcasts for one another.
//!
//! A router that relays a broadcast without being a member of its network has no key, and cannot read it. Members
//! share one key, so it does not say which of them sealed: a member can speak in the name of another one.

use core::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::aead::{ChaChaKey, Forged, KEY_LEN};
use crate::network::{BroadcastStream, NetworkId, NetworkKeyId, NetworkKeyPrint};

const ID_LABEL: &[u8] = b"mesh network key id v1";
const PRINT_LABEL: &[u8] = b"mesh network key print v1";
const STREAM_LABEL: &[u8] = b"mesh network broadcasts v1";
/// Length of a tag, in bytes.
const TAG_LEN: usize = 16;

/// Key of one network, 32 random bytes. It is erased when dropped, and never printed.
///
/// # Nonces
/// Each stream of broadcasts has a key of its own, HKDF-SHA256(network key, label ‖ network ‖ origin ‖ epoch ‖ salt),
/// and the nonce is the sequence number in the stream. So two origins never have a (key, nonce) in common, nor have two
/// runs of one origin, even if a restored state directory repeats the epoch.
pub struct NetworkKey {
    id: NetworkKeyId,
    key: Zeroizing<[u8; KEY_LEN]>,
}

impl fmt::Debug for NetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkKey({:08x})", self.id.0)
    }
}

impl NetworkKey {
    /// Creates a key from 32 secret bytes.
    pub fn new(key: [u8; KEY_LEN]) -> Self {
        let key = Zeroizing::new(key);
        let mut id = [0; 4];
        expand(&key, &[ID_LABEL], &mut id);
        let id = NetworkKeyId(u32::from_be_bytes(id));
        Self { id, key }
    }

    /// Returns the id of the key.
    pub fn id(&self) -> NetworkKeyId {
        self.id
    }

    /// Returns the fingerprint of the key, if it is that of `network`.
    pub fn print(&self, network: &NetworkId) -> NetworkKeyPrint {
        let mut print = [0; 16];
        expand(&self.key, &[PRINT_LABEL, &network.0], &mut print);
        NetworkKeyPrint(print)
    }

    /// Returns the secret bytes, for a transfer to another member.
    pub(super) fn secret(&self) -> &[u8; KEY_LEN] {
        &self.key
    }

    /// Seals broadcast `sequence` of `stream` at the end of `body`: encrypts all but the first `clear_len` bytes, which
    /// are associated data, and appends the tag over both.
    pub fn seal(
        &self,
        stream: &BroadcastStream,
        sequence: u64,
        clear_len: usize,
        body: &mut Vec<u8>,
    ) {
        let clear_len = clear_len.min(body.len());
        let (clear, frames) = body.split_at_mut(clear_len);
        let tag = self.stream_key(stream).seal(sequence, clear, frames);
        body.extend_from_slice(&tag);
    }

    /// Opens broadcast `sequence` of `stream` in place, and returns what was encrypted. The first `clear_len` bytes of
    /// `body` are associated data.
    ///
    /// # Errors
    /// [`Forged`] if it is too short, or was not sealed so with this key.
    pub fn open<'b>(
        &self,
        stream: &BroadcastStream,
        sequence: u64,
        clear_len: usize,
        body: &'b mut [u8],
    ) -> Result<&'b [u8], Forged> {
        let (clear, sealed) = body.split_at_mut_checked(clear_len).ok_or(Forged)?;
        let (frames, tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(Forged)?;
        self.stream_key(stream).open(sequence, clear, frames, tag)?;
        Ok(frames)
    }

    fn stream_key(&self, stream: &BroadcastStream) -> ChaChaKey {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        let info: [&[u8]; 5] = [
            STREAM_LABEL,
            &stream.network.0,
            &stream.origin.0,
            &stream.epoch.to_be_bytes(),
            &stream.salt.to_be_bytes(),
        ];
        expand(&self.key, &info, &mut *key);
        ChaChaKey::new(*key)
    }
}

fn expand(key: &[u8; KEY_LEN], info: &[&[u8]], out: &mut [u8]) {
    let expanded = Hkdf::<Sha256>::new(None, key).expand_multi_info(info, out);
    debug_assert!(expanded.is_ok(), "32 bytes are within HKDF's reach");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::PeerId;
    use crate::network::NetworkId;

    const STREAM: BroadcastStream = BroadcastStream {
        network: NetworkId([1; 16]),
        origin: PeerId([2; 16]),
        epoch: 3,
        salt: 4,
    };
    const CLEAR: usize = 5;

    fn key() -> NetworkKey {
        NetworkKey::new([7; 32])
    }

    fn sealed(stream: &BroadcastStream, sequence: u64, frames: &[u8]) -> Vec<u8> {
        let mut body = [&b"clear"[..], frames].concat();
        key().seal(stream, sequence, CLEAR, &mut body);
        body
    }

    #[test]
    fn the_id_follows_from_the_key() {
        assert_eq!(key().id(), NetworkKey::new([7; 32]).id());
        assert_ne!(key().id(), NetworkKey::new([8; 32]).id());
        assert_eq!(
            format!("{:?}", key()),
            format!("NetworkKey({:08x})", key().id().0)
        );
    }

    #[test]
    fn the_fingerprint_follows_from_key_and_network() {
        let print = |key, network| NetworkKey::new([key; 32]).print(&NetworkId([network; 16]));
        assert_eq!(print(7, 1), print(7, 1));
        let all: BTreeSet<_> = [print(7, 1), print(7, 2), print(8, 1), print(8, 2)].into();
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn nothing_opens_under_another_key_stream_or_number() {
        let body = sealed(&STREAM, 9, b"frames");
        let open = |key: &NetworkKey, stream: &BroadcastStream, sequence| {
            let mut body = body.clone();
            let opened = key.open(stream, sequence, CLEAR, &mut body);
            opened.map(<[u8]>::to_vec)
        };
        assert_eq!(open(&key(), &STREAM, 9), Ok(b"frames".to_vec()));
        assert_eq!(open(&NetworkKey::new([8; 32]), &STREAM, 9), Err(Forged));
        assert_eq!(open(&key(), &STREAM, 8), Err(Forged));
        let (mut network, mut origin, mut epoch, mut salt) = (STREAM, STREAM, STREAM, STREAM);
        network.network.0[0] = 9;
        origin.origin.0[0] = 9;
        epoch.epoch = 9;
        salt.salt = 9;
        for other in [network, origin, epoch, salt] {
            assert_eq!(open(&key(), &other, 9), Err(Forged), "{other:?}");
        }
    }

    #[test]
    fn streams_and_numbers_have_different_key_streams() {
        let streams = (0..4u64).flat_map(|n| {
            let stream = |epoch, salt| BroadcastStream {
                epoch,
                salt,
                ..STREAM
            };
            let origin = BroadcastStream {
                origin: PeerId([u8::try_from(n).unwrap() + 3; 16]),
                ..STREAM
            };
            [stream(n + 10, 0), stream(0, n + 10), origin]
        });
        let zeros = |stream: BroadcastStream| {
            [0, 1, 1 << 33]
                .map(|sequence| sealed(&stream, sequence, &[0; 16])[CLEAR..][..16].to_vec())
        };
        let all: BTreeSet<Vec<u8>> = streams.flat_map(zeros).collect();
        assert_eq!(all.len(), 4 * 3 * 3);
    }

    proptest! {
        #[test]
        fn every_truncation_and_flipped_bit_is_refused(frames in prop::collection::vec(any::<u8>(), 0..40), sequence: u64) {
            let body = sealed(&STREAM, sequence, &frames);
            let open = |mut body: Vec<u8>| {
                let opened = key().open(&STREAM, sequence, CLEAR, &mut body);
                opened.map(<[u8]>::to_vec)
            };
            prop_assert_eq!(open(body.clone()), Ok(frames));
            for len in 0..body.len() {
                prop_assert_eq!(open(body[..len].to_vec()), Err(Forged), "{}", len);
            }
            for bit in 0..body.len() * 8 {
                let mut bad = body.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                prop_assert_eq!(open(bad), Err(Forged), "bit {}", bit);
            }
        }
    }
}
