//! Start of the body of a NetworkFlood datagram.

use super::PEER_ID_LEN;
use crate::ids::PeerId;
use crate::network::{BroadcastStream, NetworkId, NetworkKeyId};

/// Length of the prefix at the start of a NetworkFlood body, in bytes.
pub const NETWORK_FLOOD_PREFIX_LEN: usize = 2 * PEER_ID_LEN + 3 * 8 + 4;

/// Start of the body of a NetworkFlood datagram: it identifies the broadcast and the key that seals its frames, and is
/// their associated data.
///
/// ```text
/// bytes  0–15  network id
/// bytes 16–31  origin peer id
/// bytes 32–39  origin epoch
/// bytes 40–47  salt of this run of the origin
/// bytes 48–55  sequence
/// bytes 56–59  id of the network's key
/// then         AEAD( frames ) ‖ tag
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkFloodPrefix {
    /// Network and origin.
    pub stream: BroadcastStream,
    /// Number of the broadcast in the stream.
    pub sequence: u64,
    /// Key of the network with which the frames are sealed.
    pub key: NetworkKeyId,
}

impl NetworkFloodPrefix {
    /// Splits the opened body of a NetworkFlood datagram into its prefix and the sealed frames. `None` if it is too
    /// short, or names the network `default`, whose broadcasts are Flood datagrams.
    pub fn split(body: &[u8]) -> Option<(NetworkFloodPrefix, &[u8])> {
        let (network, rest) = body.split_first_chunk::<16>()?;
        let (origin, rest) = rest.split_first_chunk::<PEER_ID_LEN>()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (salt, rest) = rest.split_first_chunk::<8>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (key, sealed) = rest.split_first_chunk::<4>()?;
        let stream = BroadcastStream {
            network: NetworkId(*network),
            origin: PeerId(*origin),
            epoch: u64::from_be_bytes(*epoch),
            salt: u64::from_be_bytes(*salt),
        };
        let prefix = NetworkFloodPrefix {
            stream,
            sequence: u64::from_be_bytes(*sequence),
            key: NetworkKeyId(u32::from_be_bytes(*key)),
        };
        (!stream.network.is_default()).then_some((prefix, sealed))
    }

    /// Appends the prefix to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream.network.0);
        out.extend_from_slice(&self.stream.origin.0);
        out.extend_from_slice(&self.stream.epoch.to_be_bytes());
        out.extend_from_slice(&self.stream.salt.to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.key.0.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn network_flood_prefixes_survive(
            network: [u8; 16],
            origin: [u8; 16],
            numbers: [u64; 3],
            key: u32,
            rest in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let [epoch, salt, sequence] = numbers;
            let stream = BroadcastStream {
                network: NetworkId(network),
                origin: PeerId(origin),
                epoch,
                salt,
            };
            let prefix = NetworkFloodPrefix { stream, sequence, key: NetworkKeyId(key) };
            let mut out = Vec::new();
            prefix.encode(&mut out);
            prop_assert_eq!(out.len(), NETWORK_FLOOD_PREFIX_LEN);
            out.extend_from_slice(&rest);
            let known = (network != [0; 16]).then_some((prefix, &rest[..]));
            prop_assert_eq!(NetworkFloodPrefix::split(&out), known);
            prop_assert_eq!(NetworkFloodPrefix::split(&out[..NETWORK_FLOOD_PREFIX_LEN - 1]), None);
            out[..16].fill(0);
            prop_assert_eq!(NetworkFloodPrefix::split(&out), None);
        }
    }
}
