//! Header of the UDP datagrams, and the layout of their bodies.
//!
//! All integers are big-endian. The header has 16 bytes, all of which are associated data of the AEAD:
//!
//! ```text
//! byte  0      version (1) in the high four bits, kind in the low four
//! byte  1      hop limit: how many more routers may forward this datagram
//! bytes 2–3    label of the network of Data and its fragments, assigned by the receiver; 0: `default`, or no frames
//! bytes 4–7    receiver index: the receiver's handle of the session, chosen by the receiver
//! bytes 8–15   counter: the AEAD nonce of this datagram, never used twice under one key
//! ```
//!
//! The rest by kind:
//!
//! | kind | name | after the header |
//! |---|---|---|
//! | 1, 2, 3 | Init, Response, Cookie | a handshake message (`session`) |
//! | 4 | Data | AEAD( frames ) ‖ tag; end to end |
//! | 5 | Relay | destination peer id (16) ‖ inner datagram, complete ‖ tag; hop by hop |
//! | 6 | Flood | AEAD( origin peer id (16) ‖ origin epoch (8) ‖ sequence (8) ‖ frames ) ‖ tag; hop by hop |
//! | 7 | Probe | AEAD( payload of the control plane ) ‖ tag; end to end |
//! | 8 | Fragment | AEAD( a fragment, see [`crate::fragment`] ) ‖ tag; like the datagram that was fragmented |
//! | 9 | NetworkFlood | AEAD( [`NetworkFloodPrefix`] ‖ frames sealed with the key of the network ) ‖ tag; hop by hop |
//!
//! *Frames* is one or more times: two bytes with a flag in the highest bit and a length of 15 bits ‖ Ethernet frame
//! of that length, without padding. The flag marks a *partial* frame: the checksum field of its TCP or UDP header
//! holds the sum of the pseudo-header only, folded and not inverted, as left by a sender with checksum offload. The
//! tag protects the frame inside the mesh; the router that delivers it to a port without checksum offload completes
//! the checksum.
//!
//! AEAD and tag (16 bytes) are those of the session's suite ([`crate::crypto::aead`], which defines the nonce). The
//! tag of a Relay datagram is that of an empty message with [`Associated`] data: a hop can verify source and
//! destination of the datagram, and cannot read the inner datagram.

mod frames;
mod network_flood;
mod relay;

use core::fmt;

pub use self::frames::{Frames, InnerFrame, MAX_PACKED, push_frame, push_frame_prefix};
pub use self::network_flood::{NETWORK_FLOOD_PREFIX_LEN, NetworkFloodPrefix};
pub use self::relay::{Associated, split_relay};
use crate::ids::{PeerId, SessionIndex};
use crate::network::NetworkLabel;

/// First payload byte of a Probe that only compares paths: it does not update the sender's endpoint.
pub const PROBE_COMPARE: u8 = 5;
/// First payload byte of the answer to a [`PROBE_COMPARE`].
pub const PROBE_COMPARED: u8 = 6;

/// Length of the header, in bytes.
pub const HEADER_LEN: usize = 16;
/// Length of an authentication tag, in bytes.
pub const TAG_LEN: usize = 16;
/// Version of the datagram format.
pub const VERSION: u8 = 1;
/// Bytes that a Relay datagram adds to its inner datagram: header, destination, tag.
pub const RELAY_OVERHEAD: usize = HEADER_LEN + PEER_ID_LEN + TAG_LEN;
/// Length of origin, epoch and sequence at the start of a Flood body, in bytes.
pub const FLOOD_PREFIX_LEN: usize = PEER_ID_LEN + 16;
/// Length of the prefix of each packed frame, in bytes.
pub const FRAME_PREFIX_LEN: usize = 2;

/// Length of a [`PeerId`], in bytes.
pub const PEER_ID_LEN: usize = 16;

/// Kind of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// First message of a session handshake.
    Init = 1,
    /// Second message of a session handshake.
    Response = 2,
    /// Answer of a router under load: the sender must prove its address and try again.
    Cookie = 3,
    /// Frames, sealed end to end.
    Data = 4,
    /// Encapsulated datagram on its way through another router.
    Relay = 5,
    /// Frames for every router, sealed for one neighbour.
    Flood = 6,
    /// Payload of the control plane, sealed end to end.
    Probe = 7,
    /// Fragment of a datagram that exceeds the path MTU.
    Fragment = 8,
    /// Frames for the members of a network other than `default`, sealed for them, and again for one neighbour.
    NetworkFlood = 9,
}

impl Kind {
    /// Returns the kind with number `n`; `None` if there is none.
    pub fn from_number(n: u8) -> Option<Kind> {
        Some(match n {
            1 => Kind::Init,
            2 => Kind::Response,
            3 => Kind::Cookie,
            4 => Kind::Data,
            5 => Kind::Relay,
            6 => Kind::Flood,
            7 => Kind::Probe,
            8 => Kind::Fragment,
            9 => Kind::NetworkFlood,
            _ => return None,
        })
    }

    /// Returns true if the datagram is a message of a session handshake.
    pub fn is_handshake(self) -> bool {
        matches!(self, Kind::Init | Kind::Response | Kind::Cookie)
    }

    /// Returns true for a kind that two routers exchange end to end, so that others may relay it.
    pub fn is_end_to_end(self) -> bool {
        !matches!(self, Kind::Relay | Kind::Flood | Kind::NetworkFlood)
    }

    /// Returns true for a kind whose header has the label of a network.
    pub fn has_label(self) -> bool {
        matches!(self, Kind::Data | Kind::Fragment)
    }
}

/// Decoded header of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Kind of the datagram.
    pub kind: Kind,
    /// Number of further routers that may forward it.
    pub hop_limit: u8,
    /// The receiver's handle of the network; 0 for kinds without frames of one network.
    pub label: NetworkLabel,
    /// The receiver's handle of the session.
    pub receiver: SessionIndex,
    /// Counter, which gives the nonce under the session's key.
    pub counter: u64,
}

/// Reason why bytes are no datagram header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Fewer than [`HEADER_LEN`] bytes.
    Truncated,
    /// A version other than [`VERSION`].
    Version(u8),
    /// Unknown kind.
    Kind(u8),
    /// A label, in a datagram of a kind that has none.
    Label(u16),
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "shorter than a datagram header"),
            Self::Version(v) => write!(f, "datagram version {v} is not {VERSION}"),
            Self::Kind(k) => write!(f, "unknown datagram kind {k}"),
            Self::Label(n) => write!(f, "label {n} in a datagram of a kind that has none"),
        }
    }
}

impl std::error::Error for HeaderError {}

impl Header {
    /// Decodes the first [`HEADER_LEN`] bytes of `datagram`.
    ///
    /// # Errors
    /// [`HeaderError`] if they are too few, if version or kind are unknown, or if a kind without label has one.
    pub fn parse(datagram: &[u8]) -> Result<Header, HeaderError> {
        let (bytes, _) = datagram
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(HeaderError::Truncated)?;
        let [first, hop_limit, n0, n1, i0, i1, i2, i3, counter @ ..] = *bytes;
        if first >> 4 != VERSION {
            return Err(HeaderError::Version(first >> 4));
        }
        let kind = Kind::from_number(first & 0x0f).ok_or(HeaderError::Kind(first & 0x0f))?;
        let label = NetworkLabel(u16::from_be_bytes([n0, n1]));
        if !label.is_default() && !kind.has_label() {
            return Err(HeaderError::Label(label.0));
        }
        Ok(Header {
            kind,
            hop_limit,
            label,
            receiver: SessionIndex(u32::from_be_bytes([i0, i1, i2, i3])),
            counter: u64::from_be_bytes(counter),
        })
    }

    /// Returns the encoded header.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0] = VERSION << 4 | self.kind as u8;
        out[1] = self.hop_limit;
        out[2..4].copy_from_slice(&self.label.0.to_be_bytes());
        out[4..8].copy_from_slice(&self.receiver.0.to_be_bytes());
        out[8..].copy_from_slice(&self.counter.to_be_bytes());
        out
    }
}

/// Received datagram, with its header parsed.
#[derive(Debug)]
pub struct Datagram<'a> {
    header: Header,
    bytes: &'a mut [u8],
}

impl<'a> Datagram<'a> {
    /// Parses the header of a received datagram; nothing is authenticated yet.
    ///
    /// # Errors
    /// [`HeaderError`] as for [`Header::parse`].
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, HeaderError> {
        let header = Header::parse(bytes)?;
        Ok(Self { header, bytes })
    }

    /// Returns the header.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Returns the complete datagram, header included.
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Returns header and bytes.
    pub fn into_parts(self) -> (Header, &'a mut [u8]) {
        (self.header, self.bytes)
    }
}

/// Start of the body of a Flood datagram, which identifies the broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FloodPrefix {
    /// Router at whose port the frames entered.
    pub origin: PeerId,
    /// Boot epoch of the origin.
    pub epoch: u64,
    /// Sequence number of the broadcast within the epoch.
    pub sequence: u64,
}

impl FloodPrefix {
    /// Splits the opened body of a Flood datagram into its prefix and the frames; `None` if it is too short.
    pub fn split(body: &[u8]) -> Option<(FloodPrefix, &[u8])> {
        let (origin, rest) = body.split_first_chunk::<PEER_ID_LEN>()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (sequence, frames) = rest.split_first_chunk::<8>()?;
        let prefix = FloodPrefix {
            origin: PeerId(*origin),
            epoch: u64::from_be_bytes(*epoch),
            sequence: u64::from_be_bytes(*sequence),
        };
        Some((prefix, frames))
    }

    /// Appends the prefix to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.origin.0);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn header_bytes_are_as_documented() {
        let header = Header {
            kind: Kind::Data,
            hop_limit: 16,
            label: NetworkLabel(0x0506),
            receiver: SessionIndex(0x0102_0304),
            counter: 0x1112_1314_1516_1718,
        };
        let expected = [
            0x14, 16, 5, 6, 1, 2, 3, 4, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18,
        ];
        assert_eq!(header.encode(), expected);
        assert_eq!(Header::parse(&expected), Ok(header));
    }

    #[test]
    fn foreign_headers_are_named() {
        let good = Header {
            kind: Kind::Probe,
            hop_limit: 1,
            label: NetworkLabel::DEFAULT,
            receiver: SessionIndex(1),
            counter: 0,
        }
        .encode();
        for len in 0..HEADER_LEN {
            assert_eq!(Header::parse(&good[..len]), Err(HeaderError::Truncated));
        }
        let with = |at: usize, byte: u8| {
            let mut b = good;
            b[at] = byte;
            Header::parse(&b)
        };
        assert_eq!(with(0, 0x24), Err(HeaderError::Version(2)));
        assert_eq!(with(0, 0x10), Err(HeaderError::Kind(0)));
        assert_eq!(with(0, 0x1a), Err(HeaderError::Kind(10)));
        assert_eq!(with(3, 9), Err(HeaderError::Label(9)));
        assert_eq!(with(2, 1), Err(HeaderError::Label(0x100)));
    }

    #[test]
    fn only_the_first_three_kinds_are_handshakes() {
        let handshakes: Vec<u8> = (0..16)
            .filter(|n| Kind::from_number(*n).is_some_and(Kind::is_handshake))
            .collect();
        assert_eq!(handshakes, [1, 2, 3]);
    }

    #[test]
    fn only_relay_and_floods_go_hop_by_hop() {
        let hop_by_hop: Vec<Kind> = (0..16)
            .filter_map(Kind::from_number)
            .filter(|kind| !kind.is_end_to_end())
            .collect();
        assert_eq!(hop_by_hop, [Kind::Relay, Kind::Flood, Kind::NetworkFlood]);
    }

    #[test]
    fn only_data_and_its_fragments_have_labels() {
        let labelled: Vec<Kind> = (0..16)
            .filter_map(Kind::from_number)
            .filter(|kind| kind.has_label())
            .collect();
        assert_eq!(labelled, [Kind::Data, Kind::Fragment]);
    }

    proptest! {
        #[test]
        fn headers_survive_the_wire(kind in 1u8..10, hop_limit: u8, label: u16, index: u32, counter: u64) {
            let kind = Kind::from_number(kind).unwrap();
            let header = Header {
                kind,
                hop_limit,
                label: NetworkLabel(if kind.has_label() { label } else { 0 }),
                receiver: SessionIndex(index),
                counter,
            };
            prop_assert_eq!(Header::parse(&header.encode()), Ok(header));
        }

        #[test]
        fn any_accepted_header_encodes_to_itself(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert_eq!(&header.encode()[..], &bytes[..HEADER_LEN]);
            }
        }

        #[test]
        fn flood_prefixes_survive(origin: [u8; 16], epoch: u64, sequence: u64, rest in prop::collection::vec(any::<u8>(), 0..9)) {
            let prefix = FloodPrefix { origin: PeerId(origin), epoch, sequence };
            let mut out = Vec::new();
            prefix.encode(&mut out);
            prop_assert_eq!(out.len(), FLOOD_PREFIX_LEN);
            out.extend_from_slice(&rest);
            prop_assert_eq!(FloodPrefix::split(&out), Some((prefix, &rest[..])));
            prop_assert_eq!(FloodPrefix::split(&out[..FLOOD_PREFIX_LEN - 1]), None);
        }
    }
}
