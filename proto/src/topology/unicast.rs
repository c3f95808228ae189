//! Unicast messages: from one router to another about one topic, signed with Ed25519, forwarded along the links.
//!
//! | bytes | what |
//! |---|---|
//! | 64 | Ed25519 signature over `"mesh unicast v1"` ‖ the rest, verified strictly |
//! | 1 | topic |
//! | 16 | origin |
//! | 16 | destination |
//! | rest | length and bytes of the body, in the format of the topic |
//!
//! Messages may be lost, delayed, reordered and duplicated, and are not acknowledged; protocols on top must cope with
//! that.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::error::RecordError;
use super::signed::{Signed, SignedHeader};
use crate::crypto::identity::{BadSignature, Identity};
use crate::ids::PeerId;
#[cfg(any(doc, test))]
use crate::limits::MAX_RECORD;
use crate::wire::topic::Topic;

/// Message from one router to another, with the bytes that were signed.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUnicast(Signed<UnicastHeader>);

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct UnicastHeader {
    topic: Topic,
    origin: PeerId,
    destination: PeerId,
}

impl SignedHeader for UnicastHeader {
    const LABEL: &'static [u8] = b"mesh unicast v1";

    fn origin(&self) -> PeerId {
        self.origin
    }
}

impl SignedUnicast {
    /// Signs a message of `identity` to `destination` about `topic`.
    ///
    /// # Errors
    /// [`RecordError::TooLong`] if the message exceeds [`MAX_RECORD`].
    pub fn sign(
        topic: Topic,
        destination: PeerId,
        body: &[u8],
        identity: &Identity,
    ) -> Result<Self, RecordError> {
        let header = UnicastHeader {
            topic,
            origin: identity.id(),
            destination,
        };
        Signed::sign(&header, body, identity).map(Self)
    }

    /// Parses a message. Structure and bounds are checked, the signature is not: see [`SignedUnicast::verify`].
    ///
    /// # Errors
    /// [`RecordError`] if it is too long or malformed.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, RecordError> {
        Signed::parse(bytes).map(Self)
    }

    /// Verifies that the message is signed with `sign_key`, and that this is the key of its origin.
    ///
    /// # Errors
    /// [`BadSignature`] if it is not.
    pub fn verify(&self, sign_key: &[u8; 32]) -> Result<(), BadSignature> {
        self.0.verify(sign_key)
    }

    /// Returns the topic.
    pub fn topic(&self) -> Topic {
        self.0.header().topic
    }

    /// Returns the sending router.
    pub fn origin(&self) -> PeerId {
        self.0.header().origin
    }

    /// Returns the receiving router.
    pub fn destination(&self) -> PeerId {
        self.0.header().destination
    }

    /// Returns the encoded body.
    pub fn body(&self) -> &[u8] {
        self.0.body()
    }

    /// Returns the message as transmitted.
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Returns the message as transmitted.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

impl fmt::Debug for SignedUnicast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to, topic) = (self.origin(), self.destination(), self.topic());
        let len = self.body().len();
        write!(f, "SignedUnicast({from} to {to}, {topic}, {len} bytes)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn identity() -> Identity {
        Identity::from_seeds([1; 32], [2; 32])
    }

    fn signed(body: &[u8]) -> SignedUnicast {
        SignedUnicast::sign(Topic::ADDRESSES, PeerId([9; 16]), body, &identity()).unwrap()
    }

    #[test]
    fn signed_messages_parse_and_verify() {
        let message = signed(b"hello");
        let read = SignedUnicast::parse(message.bytes().to_vec()).unwrap();
        assert_eq!(read, message);
        assert_eq!(read.body(), b"hello");
        assert_eq!(
            (read.origin(), read.destination(), read.topic()),
            (identity().id(), PeerId([9; 16]), Topic::ADDRESSES)
        );
        assert!(read.verify(&identity().sign_key()).is_ok());
        let other = Identity::from_seeds([3; 32], [4; 32]);
        assert!(read.verify(&other.sign_key()).is_err());
    }

    #[test]
    fn a_flipped_bit_anywhere_and_every_truncation_is_noticed() {
        let bytes = signed(b"hello").into_bytes();
        let key = identity().sign_key();
        for n in 0..bytes.len() {
            assert!(
                SignedUnicast::parse(bytes[..n].to_vec()).is_err(),
                "cut at {n}"
            );
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[n] ^= 1 << bit;
                let good = SignedUnicast::parse(changed).is_ok_and(|m| m.verify(&key).is_ok());
                assert!(!good, "bit {bit} of byte {n}");
            }
        }
    }

    #[test]
    fn the_longest_body_fits_and_one_byte_more_does_not() {
        let overhead = signed(&[0; 70_000]).bytes().len() - 70_000;
        let longest = vec![0; MAX_RECORD - overhead];
        assert_eq!(signed(&longest).body().len(), longest.len());
        let longer = vec![0; longest.len() + 1];
        let refused = SignedUnicast::sign(Topic::ADDRESSES, PeerId([9; 16]), &longer, &identity());
        assert_eq!(refused, Err(RecordError::TooLong(MAX_RECORD + 1)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..300)) {
            if let Ok(message) = SignedUnicast::parse(bytes.clone()) {
                prop_assert_eq!(message.bytes(), &bytes[..]);
                prop_assert!(message.body().len() <= bytes.len());
            }
        }
    }
}
