//! Beat: a small Ethernet frame that a router sends to its peers through VXLAN, to probe the exact path of
//! containers' frames.
//!
//! Its destination is the nearest-bridge group address (IEEE 802.1Q table 8-1), which no bridge forwards, so it
//! reaches the router at the other end and no container. It is not encrypted, like all frames on this path; it is
//! checked by its nonce, which is also in the sealed offers of both sides.

use crate::ids::{Mac, PeerId};

/// Destination address of beats.
pub const BEAT_GROUP: Mac = Mac([0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e]);
/// EtherType of beats: local experimental (IEEE 802 section 9.2.3).
pub const BEAT_ETHERTYPE: u16 = 0x88b5;

const MAGIC: [u8; 4] = *b"mesh";
/// Length of the shortest Ethernet frame without FCS, in bytes.
const MIN_FRAME: usize = 60;

/// Keepalive through VXLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Claimed sender.
    pub peer: PeerId,
    /// Nonce of the sender's offers.
    pub nonce: u64,
}

impl Beat {
    /// Encodes the frame with the source address `source`: after the Ethernet header `"mesh" ‖ PeerId ‖ nonce u64`
    /// (big-endian), padded with zeros to 60 bytes.
    pub fn to_frame(self, source: Mac) -> Vec<u8> {
        let mut frame = Vec::with_capacity(MIN_FRAME);
        frame.extend_from_slice(&BEAT_GROUP.0);
        frame.extend_from_slice(&source.0);
        frame.extend_from_slice(&BEAT_ETHERTYPE.to_be_bytes());
        frame.extend_from_slice(&MAGIC);
        frame.extend_from_slice(&self.peer.0);
        frame.extend_from_slice(&self.nonce.to_be_bytes());
        frame.resize(MIN_FRAME, 0);
        frame
    }

    /// Decodes a frame; `None` if it is no beat. Bytes after the nonce are ignored.
    pub fn from_frame(frame: &[u8]) -> Option<Self> {
        let rest = frame.strip_prefix(&BEAT_GROUP.0)?.get(6..)?;
        let rest = rest.strip_prefix(&BEAT_ETHERTYPE.to_be_bytes())?;
        let rest = rest.strip_prefix(&MAGIC)?;
        let (peer, rest) = rest.split_first_chunk::<16>()?;
        let (nonce, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            peer: PeerId(*peer),
            nonce: u64::from_be_bytes(*nonce),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn beats_decode(peer: [u8; 16], nonce: u64, source: [u8; 6]) {
            let beat = Beat { peer: PeerId(peer), nonce };
            let frame = beat.to_frame(Mac(source));
            prop_assert_eq!(frame.len(), MIN_FRAME);
            prop_assert_eq!(Beat::from_frame(&frame), Some(beat));
        }

        #[test]
        fn any_frame_is_decoded_without_panic(frame in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(Beat::from_frame(&frame), None);
        }
    }

    #[test]
    fn a_damaged_frame_is_no_beat() {
        let beat = Beat {
            peer: PeerId([7; 16]),
            nonce: 9,
        };
        let frame = beat.to_frame(Mac([2; 6]));
        for cut in 0..42 {
            assert_eq!(Beat::from_frame(&frame[..cut]), None, "{cut}");
        }
        for at in (0..6).chain(12..18) {
            let mut bad = frame.clone();
            bad[at] ^= 1;
            assert_eq!(Beat::from_frame(&bad), None, "{at}");
        }
    }
}
