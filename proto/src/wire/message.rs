//! Messages between two neighbours on an authenticated link.
//!
//! A message is a tag (one byte) and its body, encoded by [`super::codec`]:
//!
//! | tag | message | body |
//! |---|---|---|
//! | 1 | `Ping` | nonce `u64` |
//! | 2 | `Pong` | nonce `u64` of the ping |
//! | 3 | `Records` | list of signed records (bytes) |
//! | 4 | `Digest` | 16 bytes |
//! | 5 | `Summary` | first peer (16 bytes), last peer (16 bytes), list of [`DigestEntry`] |
//! | 6 | `Request` | list of peer (16 bytes) ‖ topic (1 byte) |
//! | 7 | `Observed` | socket address |
//! | 8 | `Bye` | reason (text) |
//! | 9 | `Hashes` | depth (1 byte), prefix `u16`, 16 times 8 bytes |
//! | 10 | `KeepLink` | `bool` |
//! | 11 | `Unicast` | hops `u8`, signed message (bytes) |
//! | 12 | `IHave` | list of (`PeerId`, topic, epoch `u64`, seq `u64`) |
//!
//! The receiver skips and counts messages with other tags, so that later versions can add messages.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::bounded::{self, Blob};
use super::codec::{self, CodecError};
use crate::ids::{PeerId, Version};
use crate::limits::{
    MAX_BYE_REASON, MAX_LINK_MESSAGE, MAX_RECORD, MAX_RECORDS_PER_MESSAGE, MAX_RECORDS_PER_REQUEST,
    MAX_SUMMARY,
};
use crate::wire::digest_tree::{CHILDREN, DigestNode};
use crate::wire::topic::RecordKey;

/// Message between neighbours. A list that exceeds its bound in [`crate::limits`] is refused when decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkMessage {
    /// Keepalive request.
    Ping {
        /// Returned in the [`LinkMessage::Pong`].
        nonce: u64,
    },
    /// Keepalive reply.
    Pong {
        /// Nonce of the ping.
        nonce: u64,
    },
    /// Signed records, verbatim; at most [`MAX_RECORDS_PER_MESSAGE`]. Neither parsed nor verified here.
    Records(Vec<Vec<u8>>),
    /// Digest over the records of all routers that the sender can reach; starts anti-entropy.
    Digest([u8; 16]),
    /// Hashes of the children of a node of the digest tree.
    Hashes(Hashes),
    /// Records that the sender has for a range of peers.
    Summary(Summary),
    /// Request for records, like Graft in Plumtree; at most [`MAX_RECORDS_PER_REQUEST`].
    Request(Vec<RecordKey>),
    /// Underlay address at which the sender sees the receiver.
    Observed(SocketAddr),
    /// True if the sender keeps this link, which is the initial state; false if it may be closed.
    KeepLink(bool),
    /// Signed message from one router to another, verbatim. Neither parsed nor verified here.
    Unicast {
        /// Remaining hops, this one included.
        hops: u8,
        /// Encoded message of at most [`MAX_RECORD`] bytes.
        bytes: Vec<u8>,
    },
    /// Advertisement of records that the sender has (lazy push of Plumtree); neighbours request those they lack. At most
    /// [`MAX_RECORDS_PER_REQUEST`].
    IHave(Vec<(RecordKey, Version)>),
    /// The sender closes the link.
    Bye {
        /// Reason, for operators; truncated to [`MAX_BYE_REASON`] bytes when encoded.
        reason: String,
    },
    /// Message of a later version, with its tag: skipped and counted. Cannot be encoded.
    Unknown(u8),
}

/// Records that a router has of the peers from `first` to `last`, both included. It lacks those that are not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// First peer of the range.
    pub first: PeerId,
    /// Last peer of the range.
    pub last: PeerId,
    /// Entries in ascending order of peers; at most [`MAX_SUMMARY`].
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_SUMMARY>")]
    pub entries: Vec<DigestEntry>,
}

/// Version and fingerprint of one record, like an LSA header in OSPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestEntry {
    /// Key of the record.
    pub key: RecordKey,
    /// True if the sender can reach the origin; otherwise it is listed only so that the record is not sent.
    pub reachable: bool,
    /// Version of the record.
    pub version: Version,
    /// First four bytes of the record's hash, which distinguish two records of one version.
    pub fingerprint: [u8; 4],
}

/// Hashes over the records of reachable routers, for each child of a node of the digest tree; zeros for no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// Node of the digest tree.
    pub node: DigestNode,
    /// Last eight bytes of the sum of the records' hashes, for each child.
    pub sums: [[u8; 8]; CHILDREN],
}

type RecordBlob<'a> = Blob<'a, MAX_RECORD>;

#[derive(Serialize, Deserialize)]
struct RecordList<'a>(
    #[serde(
        borrow,
        deserialize_with = "bounded::list::<_, _, MAX_RECORDS_PER_MESSAGE>"
    )]
    Vec<RecordBlob<'a>>,
);

#[derive(Serialize, Deserialize)]
struct RequestList(
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_RECORDS_PER_REQUEST>")] Vec<RecordKey>,
);

#[derive(Serialize, Deserialize)]
struct IHaveList(
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_RECORDS_PER_REQUEST>")]
    Vec<(RecordKey, Version)>,
);

#[derive(Serialize, Deserialize)]
struct HashList(u8, u16, [[u8; 8]; CHILDREN]);

#[derive(Serialize, Deserialize)]
struct Passed<'a>(u8, #[serde(borrow)] RecordBlob<'a>);

#[derive(Serialize, Deserialize)]
struct Reason(#[serde(deserialize_with = "bounded::text::<_, MAX_BYE_REASON>")] String);

mod tag {
    pub(super) const PING: u8 = 1;
    pub(super) const PONG: u8 = 2;
    pub(super) const RECORDS: u8 = 3;
    pub(super) const DIGEST: u8 = 4;
    pub(super) const SUMMARY: u8 = 5;
    pub(super) const REQUEST: u8 = 6;
    pub(super) const OBSERVED: u8 = 7;
    pub(super) const BYE: u8 = 8;
    pub(super) const HASHES: u8 = 9;
    pub(super) const KEEP_LINK: u8 = 10;
    pub(super) const UNICAST: u8 = 11;
    pub(super) const I_HAVE: u8 = 12;
}

impl LinkMessage {
    /// Encodes the message, not yet sealed.
    ///
    /// # Errors
    /// [`CodecError::Unencodable`] if it is longer than [`MAX_LINK_MESSAGE`] or has a list beyond its bound.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut out = Vec::new();
        match self {
            Self::Ping { nonce } => tagged(tag::PING, nonce, &mut out),
            Self::Pong { nonce } => tagged(tag::PONG, nonce, &mut out),
            Self::Records(records) => {
                within(records.len(), MAX_RECORDS_PER_MESSAGE)?;
                let blobs = records.iter().map(|r| Blob(r)).collect();
                tagged(tag::RECORDS, &RecordList(blobs), &mut out)
            }
            Self::Digest(digest) => tagged(tag::DIGEST, digest, &mut out),
            Self::Summary(summary) => {
                within(summary.entries.len(), MAX_SUMMARY)?;
                tagged(tag::SUMMARY, summary, &mut out)
            }
            Self::Request(keys) => {
                within(keys.len(), MAX_RECORDS_PER_REQUEST)?;
                tagged(tag::REQUEST, keys, &mut out)
            }
            Self::Hashes(Hashes { node, sums }) => {
                let list = HashList(node.depth(), node.prefix(), *sums);
                tagged(tag::HASHES, &list, &mut out)
            }
            Self::IHave(records) => {
                within(records.len(), MAX_RECORDS_PER_REQUEST)?;
                tagged(tag::I_HAVE, records, &mut out)
            }
            Self::KeepLink(keep) => tagged(tag::KEEP_LINK, keep, &mut out),
            Self::Unicast { hops, bytes } => {
                within(bytes.len(), MAX_RECORD)?;
                tagged(tag::UNICAST, &Passed(*hops, Blob(bytes)), &mut out)
            }
            Self::Observed(address) => tagged(tag::OBSERVED, address, &mut out),
            Self::Bye { reason } => {
                let reason = bounded::truncated(reason, MAX_BYE_REASON);
                tagged(tag::BYE, &reason, &mut out)
            }
            Self::Unknown(_) => Err(CodecError::Unencodable),
        }?;
        within(out.len(), MAX_LINK_MESSAGE)?;
        Ok(out)
    }

    /// Decodes one message that fills `bytes`.
    ///
    /// # Errors
    /// [`CodecError`] if the body is malformed, too long or exceeds a bound; an unknown tag is not an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (&tag, body) = bytes.split_first().ok_or(CodecError::Malformed)?;
        Ok(match tag {
            tag::PING => Self::Ping {
                nonce: codec::decode(body)?,
            },
            tag::PONG => Self::Pong {
                nonce: codec::decode(body)?,
            },
            tag::RECORDS => {
                let RecordList(blobs) = codec::decode(body)?;
                Self::Records(blobs.into_iter().map(|b| b.0.to_vec()).collect())
            }
            tag::DIGEST => Self::Digest(codec::decode(body)?),
            tag::SUMMARY => Self::Summary(codec::decode(body)?),
            tag::REQUEST => Self::Request(codec::decode::<RequestList>(body)?.0),
            tag::I_HAVE => Self::IHave(codec::decode::<IHaveList>(body)?.0),
            tag::KEEP_LINK => Self::KeepLink(codec::decode(body)?),
            tag::OBSERVED => Self::Observed(codec::decode(body)?),
            tag::BYE => Self::Bye {
                reason: codec::decode::<Reason>(body)?.0,
            },
            tag::HASHES => {
                let HashList(depth, prefix, sums) = codec::decode(body)?;
                let node = DigestNode::new(depth, prefix).ok_or(CodecError::Malformed)?;
                Self::Hashes(Hashes { node, sums })
            }
            tag::UNICAST => {
                let Passed(hops, bytes) = codec::decode(body)?;
                let bytes = bytes.0.to_vec();
                Self::Unicast { hops, bytes }
            }
            other => Self::Unknown(other),
        })
    }
}

fn tagged<T: Serialize>(tag: u8, body: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    out.push(tag);
    codec::encode(body, out)
}

fn within(len: usize, max: usize) -> Result<(), CodecError> {
    if len > max {
        return Err(CodecError::Unencodable);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_TOPICS;
    use crate::wire::digest_tree::MAX_DEPTH;
    use crate::wire::topic::Topic;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn peer() -> impl Strategy<Value = PeerId> {
        any::<[u8; 16]>().prop_map(PeerId)
    }

    fn key() -> impl Strategy<Value = RecordKey> {
        (peer(), 1..=MAX_TOPICS).prop_map(|(origin, topic)| {
            RecordKey::new(origin, Topic::new(topic).unwrap_or(Topic::IDENTITY))
        })
    }

    fn digest_entry() -> impl Strategy<Value = DigestEntry> {
        let version = (any::<u64>(), any::<u64>());
        (key(), version, any::<[u8; 4]>(), any::<bool>()).prop_map(
            |(key, (epoch, seq), fingerprint, reachable)| DigestEntry {
                key,
                reachable,
                version: Version { epoch, seq },
                fingerprint,
            },
        )
    }

    fn hashes() -> impl Strategy<Value = Hashes> {
        (0..=MAX_DEPTH, any::<u16>(), any::<[[u8; 8]; CHILDREN]>()).prop_map(
            |(depth, prefix, sums)| {
                let prefix = u32::from(prefix) & ((1 << (4 * u32::from(depth))) - 1);
                let prefix = u16::try_from(prefix).unwrap_or(0);
                Hashes {
                    node: DigestNode::new(depth, prefix).unwrap(),
                    sums,
                }
            },
        )
    }

    fn address() -> impl Strategy<Value = SocketAddr> {
        (any::<std::net::IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    fn message() -> impl Strategy<Value = LinkMessage> {
        prop_oneof![
            any::<u64>().prop_map(|nonce| LinkMessage::Ping { nonce }),
            any::<u64>().prop_map(|nonce| LinkMessage::Pong { nonce }),
            vec(vec(any::<u8>(), 0..300), 0..20).prop_map(LinkMessage::Records),
            any::<[u8; 16]>().prop_map(LinkMessage::Digest),
            (peer(), peer(), vec(digest_entry(), 0..20)).prop_map(|(first, last, entries)| {
                LinkMessage::Summary(Summary {
                    first,
                    last,
                    entries,
                })
            }),
            vec(key(), 0..20).prop_map(LinkMessage::Request),
            hashes().prop_map(LinkMessage::Hashes),
            any::<bool>().prop_map(LinkMessage::KeepLink),
            vec(
                digest_entry().prop_map(|entry| (entry.key, entry.version)),
                0..20
            )
            .prop_map(LinkMessage::IHave),
            address().prop_map(LinkMessage::Observed),
            (any::<u8>(), vec(any::<u8>(), 0..300))
                .prop_map(|(hops, bytes)| LinkMessage::Unicast { hops, bytes }),
            "[ -~]{0,100}".prop_map(|reason| LinkMessage::Bye { reason }),
        ]
    }

    proptest! {
        #[test]
        fn encoded_messages_decode(message in message()) {
            let bytes = message.encode().unwrap();
            prop_assert_eq!(LinkMessage::decode(&bytes), Ok(message));
        }

        #[test]
        fn a_message_cut_or_lengthened_is_refused(message in message(), cut in any::<prop::sample::Index>()) {
            let mut bytes = message.encode().unwrap();
            let shorter = &bytes[..cut.index(bytes.len())];
            prop_assert!(LinkMessage::decode(shorter).is_err());
            bytes.push(0);
            prop_assert!(LinkMessage::decode(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(tag in 0u8..14, body in vec(any::<u8>(), 0..200)) {
            let mut bytes = vec![tag];
            bytes.extend(body);
            let known = (1..=12).contains(&tag);
            match LinkMessage::decode(&bytes) {
                Ok(LinkMessage::Unknown(t)) => prop_assert!(!known && t == tag),
                Ok(m) => prop_assert!(known && m.encode().is_ok()),
                Err(_) => prop_assert!(known),
            }
        }

    }

    #[test]
    fn the_largest_lists_fit_a_message_and_one_more_is_refused() {
        let key = RecordKey::new(PeerId([0xff; 16]), Topic::LINKS);
        let entry = DigestEntry {
            key,
            reachable: true,
            version: Version {
                epoch: u64::MAX,
                seq: u64::MAX,
            },
            fingerprint: [0xff; 4],
        };
        let summary = |n| {
            LinkMessage::Summary(Summary {
                first: PeerId([0; 16]),
                last: PeerId([0xff; 16]),
                entries: vec![entry; n],
            })
        };
        let bytes = summary(MAX_SUMMARY).encode().unwrap();
        assert!(LinkMessage::decode(&bytes).is_ok());
        assert!(summary(MAX_SUMMARY + 1).encode().is_err());

        let request = |n| LinkMessage::Request(vec![key; n]);
        let bytes = request(MAX_RECORDS_PER_REQUEST).encode().unwrap();
        assert!(LinkMessage::decode(&bytes).is_ok());
        assert!(request(MAX_RECORDS_PER_REQUEST + 1).encode().is_err());

        let largest = vec![0; MAX_RECORD];
        assert!(LinkMessage::Records(vec![largest]).encode().is_ok());
        let too_large = vec![0; MAX_RECORD + 1];
        let bytes = LinkMessage::Records(vec![too_large]).encode().unwrap();
        assert!(LinkMessage::decode(&bytes).is_err());

        let unicast = |n| LinkMessage::Unicast {
            hops: u8::MAX,
            bytes: vec![0; n],
        };
        let bytes = unicast(MAX_RECORD).encode().unwrap();
        assert!(LinkMessage::decode(&bytes).is_ok());
        assert!(unicast(MAX_RECORD + 1).encode().is_err());
    }

    #[test]
    fn the_number_of_records_is_bounded() {
        let records = |n| LinkMessage::Records(vec![vec![1; 4]; n]);
        assert!(records(MAX_RECORDS_PER_MESSAGE).encode().is_ok());
        assert!(records(MAX_RECORDS_PER_MESSAGE + 1).encode().is_err());
        assert!(LinkMessage::Unknown(99).encode().is_err());
    }

    #[test]
    fn a_long_reason_is_cut() {
        let bytes = LinkMessage::Bye {
            reason: "ä".repeat(MAX_BYE_REASON),
        }
        .encode()
        .unwrap();
        let Ok(LinkMessage::Bye { reason }) = LinkMessage::decode(&bytes) else {
            panic!("not a bye");
        };
        assert_eq!(reason, "ä".repeat(MAX_BYE_REASON / 2));
    }
}
