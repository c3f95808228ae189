//! Ids of networks in stored text: hexadecimal digits, as users see them.

use std::collections::BTreeSet;

use mesh_proto::network::NetworkId;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Writes an id; for serde's `with`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(id: &NetworkId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&id.to_string())
}

/// Reads an id; for serde's `with`.
///
/// # Errors
/// Those of the deserializer; the text is no id.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NetworkId, D::Error> {
    HexNetwork::deserialize(deserializer).map(|id| id.0)
}

/// Sets of ids; for serde's `with`.
pub mod set {
    use super::*;

    /// Writes a set.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(
        ids: &BTreeSet<NetworkId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(ids.iter().map(|id| HexNetwork(*id)))
    }

    /// Reads a set.
    ///
    /// # Errors
    /// Those of the deserializer; a text is no id.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeSet<NetworkId>, D::Error> {
        let ids = Vec::<HexNetwork>::deserialize(deserializer)?;
        Ok(ids.into_iter().map(|id| id.0).collect())
    }
}

/// One id in text.
struct HexNetwork(NetworkId);

impl Serialize for HexNetwork {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for HexNetwork {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let id = NetworkId::from_hex(&text);
        id.map(Self)
            .ok_or_else(|| D::Error::custom(format!("'{}' is no network", text.escape_debug())))
    }
}
