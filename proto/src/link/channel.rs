//! Encrypted records of a link, used once both sides have keys.

use core::fmt;

use zeroize::Zeroizing;

use crate::crypto::aead::{ChaChaKey, Forged};
use crate::limits::{LINK_REKEY_BYTES, LINK_REKEY_RECORDS, MAX_LINK_RECORD};
use crate::noise::SplitKeys;

pub(super) const TAG: usize = 16;

/// First plaintext byte of a record.
pub(super) mod kind {
    pub(in crate::link) const PART: u8 = 0;
    pub(in crate::link) const LAST: u8 = 1;
    pub(in crate::link) const CONFIRM: u8 = 2;
    pub(in crate::link) const REFUSAL: u8 = 3;
}

/// Bytes of a message that fit one record.
const CHUNK: usize = MAX_LINK_RECORD - TAG - 1;

/// Limits on the use of one key: those of the protocol, or lower ones in tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct RekeyAfter {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Default for RekeyAfter {
    fn default() -> Self {
        Self {
            records: LINK_REKEY_RECORDS,
            bytes: LINK_REKEY_BYTES,
        }
    }
}

/// Keys of both directions of one link.
pub(super) struct Channel {
    send: Direction,
    recv: Direction,
}

impl Channel {
    pub(super) fn new(keys: &SplitKeys, rekey: RekeyAfter) -> Self {
        Self {
            send: Direction::new(keys.send, rekey),
            recv: Direction::new(keys.recv, rekey),
        }
    }

    /// Appends a message, in as many records as needed.
    pub(super) fn seal_message(&mut self, message: &[u8], out: &mut Vec<u8>) {
        let mut rest = message;
        while rest.len() > CHUNK {
            let (part, after) = rest.split_at(CHUNK);
            self.seal(kind::PART, part, out);
            rest = after;
        }
        self.seal(kind::LAST, rest, out);
    }

    /// Appends one record; `body` must fit.
    pub(super) fn seal(&mut self, kind: u8, body: &[u8], out: &mut Vec<u8>) {
        let length = u16::try_from(1 + body.len() + TAG)
            .unwrap_or(u16::MAX)
            .to_be_bytes();
        out.extend_from_slice(&length);
        let start = out.len();
        out.push(kind);
        out.extend_from_slice(body);
        let tag = self
            .send
            .key
            .seal(self.send.counter, &length, &mut out[start..]);
        out.extend_from_slice(&tag);
        self.send.advance(out.len() - start);
    }

    /// Opens a complete record, length included, in place. Returns its kind and its body.
    pub(super) fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<(u8, &'a [u8]), Forged> {
        let (length, ciphertext) = record.split_first_chunk_mut::<2>().ok_or(Forged)?;
        let used = ciphertext.len();
        let (body, tag) = ciphertext.split_last_chunk_mut::<TAG>().ok_or(Forged)?;
        self.recv.key.open(self.recv.counter, length, body, tag)?;
        self.recv.advance(used);
        let (kind, body) = body.split_first().ok_or(Forged)?;
        Ok((*kind, body))
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channel(..)")
    }
}

/// Key of one direction, and counters of its use.
struct Direction {
    key: ChaChaKey,
    counter: u64,
    records: u64,
    bytes: u64,
    rekey: RekeyAfter,
}

impl Direction {
    fn new(key: [u8; 32], rekey: RekeyAfter) -> Self {
        Self {
            key: ChaChaKey::new(key),
            counter: 0,
            records: 0,
            bytes: 0,
            rekey,
        }
    }

    /// Counts one sealed or opened record with `bytes` bytes of ciphertext, and replaces the key if due.
    fn advance(&mut self, bytes: usize) {
        self.counter += 1;
        self.records += 1;
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.records >= self.rekey.records || self.bytes >= self.rekey.bytes {
            self.replace_key();
            self.records = 0;
            self.bytes = 0;
        }
    }

    /// Replaces the key as `REKEY` of Noise (section 11.3): 32 zero bytes encrypted with the highest nonce, without
    /// the tag.
    fn replace_key(&mut self) {
        let mut next = Zeroizing::new([0; 32]);
        self.key.seal(u64::MAX, &[], &mut *next);
        self.key = ChaChaKey::new(*next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(rekey: RekeyAfter) -> (Channel, Channel) {
        let keys = |send, recv| SplitKeys {
            send: [send; 32],
            recv: [recv; 32],
        };
        (
            Channel::new(&keys(1, 2), rekey),
            Channel::new(&keys(2, 1), rekey),
        )
    }

    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        while let [a, b, ..] = bytes {
            let (record, rest) = bytes.split_at(2 + usize::from(u16::from_be_bytes([*a, *b])));
            records.push(record.to_vec());
            bytes = rest;
        }
        records
    }

    #[test]
    fn parts_fit_records_and_come_out_in_order() {
        let (mut a, mut b) = pair(RekeyAfter::default());
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let message: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut out = Vec::new();
            a.seal_message(&message, &mut out);
            let mut whole = Vec::new();
            let mut kinds = Vec::new();
            for mut record in records(&out) {
                assert!(record.len() <= 2 + MAX_LINK_RECORD);
                let (kind, body) = b.open(&mut record).unwrap();
                kinds.push(kind);
                whole.extend_from_slice(body);
            }
            assert_eq!(whole, message);
            assert_eq!(kinds.pop(), Some(kind::LAST));
            assert!(kinds.iter().all(|k| *k == kind::PART));
        }
    }

    #[test]
    fn replayed_reordered_and_reflected_records_are_refused() {
        let (mut a, mut b) = pair(RekeyAfter::default());
        let mut out = Vec::new();
        a.seal(kind::LAST, b"one", &mut out);
        a.seal(kind::LAST, b"two", &mut out);
        let [one, two] = &records(&out)[..] else {
            panic!()
        };
        assert!(b.open(&mut two.clone()).is_err(), "reordered");
        assert!(b.open(&mut one.clone()).is_ok());
        assert!(b.open(&mut one.clone()).is_err(), "replayed");
        assert!(a.open(&mut two.clone()).is_err(), "reflected");
        assert!(b.open(&mut two.clone()).is_ok());
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (mut a, mut b) = pair(RekeyAfter::default());
        let mut out = Vec::new();
        a.seal(kind::LAST, b"body", &mut out);
        for at in 0..out.len() {
            let mut changed = out.clone();
            changed[at] ^= 0x10;
            assert!(b.open(&mut changed).is_err(), "byte {at}");
        }
        for short in 0..out.len() {
            assert!(b.open(&mut out[..short].to_vec()).is_err(), "{short} bytes");
        }
        assert!(b.open(&mut out).is_ok());
    }

    #[test]
    fn both_sides_replace_keys_at_the_same_record() {
        for rekey in [
            RekeyAfter {
                records: 3,
                bytes: u64::MAX,
            },
            RekeyAfter {
                records: u64::MAX,
                bytes: 50,
            },
        ] {
            let (mut a, mut b) = pair(rekey);
            let (mut fixed, _) = pair(RekeyAfter::default());
            let mut same = 0;
            for n in 0..20u8 {
                let (mut out, mut without) = (Vec::new(), Vec::new());
                a.seal(kind::LAST, &[n], &mut out);
                fixed.seal(kind::LAST, &[n], &mut without);
                same += u8::from(out == without);
                assert_eq!(b.open(&mut out).unwrap(), (kind::LAST, &[n][..]));
            }
            assert_eq!(
                same, 3,
                "the first key seals the first three records and no other"
            );
        }
    }
}
