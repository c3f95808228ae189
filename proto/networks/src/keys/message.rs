//! Messages between two members: request for keys, and reply.
//!
//! `01`, then the tag and the members by [`mesh_proto::wire::codec`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use mesh_proto::crypto::key_transfer::KeyTransfer;
use mesh_proto::limits::MAX_NETWORK_KEYS;
use mesh_proto::network::{NetworkId, NetworkKeyPrint};
use mesh_proto::wire::{bounded, codec};

/// First byte; others are formats of later versions.
const FORMAT: u8 = 1;
/// Bytes of all keys of a network when they are sealed.
const MAX_SEALED: usize = KeyTransfer::sealed_len(MAX_NETWORK_KEYS);

/// Message about keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyMessage {
    /// Request of a member that lacks keys.
    Request(KeyRequest),
    /// Answer of one that has some of them.
    Reply(KeyReply),
}

/// Request for keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRequest {
    /// Network of the keys.
    pub network: NetworkId,
    /// Ephemeral X25519 key of the asker, for this request only.
    pub public: [u8; 32],
    /// Keys that the asker lacks: at least one, none twice.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_NETWORK_KEYS>")]
    pub wanted: Vec<NetworkKeyPrint>,
}

/// Keys, sealed for the asker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReply {
    /// Network of the keys.
    pub network: NetworkId,
    /// Ephemeral X25519 key of the request.
    pub asker_public: [u8; 32],
    /// Ephemeral X25519 key of the giver, for this reply only.
    pub giver_public: [u8; 32],
    /// Keys, as [`KeyTransfer::seal`] seals them.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_SEALED>")]
    pub sealed: Vec<u8>,
}

/// Error: a message about keys of networks is malformed, or of a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message about keys of networks is malformed or of a later version")]
pub struct BadKeyMessage;

impl KeyMessage {
    /// Returns the bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        // None of the types fails to be encoded.
        let _ = codec::encode(self, &mut out);
        out
    }

    /// Decodes a message.
    ///
    /// # Errors
    /// [`BadKeyMessage`] for anything that a router of this version does not encode.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadKeyMessage> {
        let message: Self = match bytes.split_first() {
            Some((&FORMAT, rest)) => codec::decode(rest).map_err(|_| BadKeyMessage)?,
            _ => return Err(BadKeyMessage),
        };
        let is_good = match &message {
            Self::Request(request) => {
                let all: BTreeSet<&NetworkKeyPrint> = request.wanted.iter().collect();
                !all.is_empty() && all.len() == request.wanted.len()
            }
            Self::Reply(reply) => (1..=MAX_NETWORK_KEYS)
                .any(|keys| reply.sealed.len() == KeyTransfer::sealed_len(keys)),
        };
        is_good.then_some(message).ok_or(BadKeyMessage)
    }
}
