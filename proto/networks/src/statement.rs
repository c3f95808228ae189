//! Statement of one router about networks, replaced as a whole by a newer one.
//!
//! It is encoded as `02`, then [`NetworksStatement`] by [`mesh_proto::wire::codec`]. What later versions add is in the
//! members `extension`: this version passes those of a definition on as they are, and skips the others.

use core::num::NonZeroU16;

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use mesh_proto::limits::{
    MAX_NETWORK_DEFINITION, MAX_NETWORK_EXTENSION, MAX_NETWORKS_STATEMENT, MAX_STATED_NETWORKS,
    MAX_STATED_TOMBSTONES, MAX_USED_NETWORKS,
};
use mesh_proto::network::NetworkId;
use mesh_proto::wire::{bounded, codec};

use super::definition::{DefinitionError, NetworkDefinition, NetworkVersion};

/// First byte; others are formats of later versions.
const FORMAT: u8 = 2;
/// Elements of a list that are decoded, so that an error can say how many there are.
const DECODED: usize = 8_192;
/// Bytes of a membership, at most.
pub(crate) const MEMBERSHIP: usize = 16 + 3 + 1 + 3 + MAX_NETWORK_EXTENSION;
/// Bytes of a removal, at most.
pub(crate) const REMOVAL: usize = 16 + 9 + 16 + 3;
/// Bytes around the elements of the lists, at most.
pub(crate) const AROUND: usize = 1 + 3 * 3 + 3 + MAX_NETWORK_EXTENSION;

// The networks in which a router has containers always have room.
const _: () = assert!(
    MAX_USED_NETWORKS * (MAX_NETWORK_DEFINITION + MEMBERSHIP) + AROUND <= MAX_NETWORKS_STATEMENT,
    "the definitions of all used networks fit a statement"
);

/// Networks that a router states, and those in which it has containers. Each list is in the order of ids, without
/// duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworksStatement {
    /// Definitions: those that the router created or adopted, and those of `memberships`.
    #[serde(deserialize_with = "bounded::list::<_, _, DECODED>")]
    pub definitions: Vec<NetworkDefinition>,
    /// Removed networks.
    #[serde(deserialize_with = "bounded::list::<_, _, DECODED>")]
    pub removals: Vec<NetworkRemoval>,
    /// Networks in which the router has containers.
    #[serde(deserialize_with = "bounded::list::<_, _, DECODED>")]
    pub memberships: Vec<NetworkMembership>,
    /// Members of later versions, which are skipped.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_NETWORK_EXTENSION>")]
    pub extension: Vec<u8>,
}

/// Tombstone: the network is removed, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRemoval {
    /// The network.
    pub network: NetworkId,
    /// Version of the removal; its author removed the network.
    pub version: NetworkVersion,
    /// Hours for which the origin has known, when it made the statement.
    pub age: u16,
}

/// Membership of a router in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkMembership {
    /// The network.
    pub network: NetworkId,
    /// Label that the router assigned to it, unique among those of the router.
    pub label: NonZeroU16,
    /// True if its last container left a short time ago: the network may be removed.
    pub is_idle: bool,
    /// Members of later versions, which are skipped.
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_NETWORK_EXTENSION>")]
    pub extension: Vec<u8>,
}

/// Reason why a statement is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworksError {
    /// Longer than [`MAX_NETWORKS_STATEMENT`].
    #[error("networks: {0} bytes, and a statement has {MAX_NETWORKS_STATEMENT} at most")]
    TooLong(usize),
    /// Format of another version.
    #[error("networks: format {0} is not known")]
    Format(u8),
    /// Malformed.
    #[error("networks: malformed")]
    Malformed,
    /// More elements than a list of a statement has.
    #[error("networks: {count} {what}, and a statement has {most} at most")]
    TooMany {
        /// Kind of elements.
        what: &'static str,
        /// Number of elements.
        count: usize,
        /// Most that there may be.
        most: usize,
    },
    /// The ids are not in ascending order.
    #[error("networks: {0} is there twice or out of order")]
    Order(NetworkId),
    /// The network `default`, which is not stated.
    #[error("networks: the network 'default' is stated")]
    Default,
    /// Bad definition.
    #[error("network {0}: {1}")]
    Definition(NetworkId, DefinitionError),
    /// Stated and removed at once.
    #[error("network {0}: stated and removed at once")]
    Contradiction(NetworkId),
    /// One label for two networks.
    #[error("network {0}: the label {1} is that of another network")]
    LabelTwice(NetworkId, NonZeroU16),
    /// Membership without a definition.
    #[error("network {0}: a membership without a definition")]
    Undefined(NetworkId),
}

impl NetworksStatement {
    /// Returns the bytes that travel.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        // None of the types fails to be encoded.
        let _ = codec::encode(self, &mut out);
        out
    }

    /// Decodes a statement.
    ///
    /// # Errors
    /// [`NetworksError`] for anything that a router of this version does not encode.
    pub fn decode(bytes: &[u8]) -> Result<Self, NetworksError> {
        if bytes.len() > MAX_NETWORKS_STATEMENT {
            return Err(NetworksError::TooLong(bytes.len()));
        }
        let statement: Self = match bytes.split_first() {
            Some((&FORMAT, rest)) => codec::decode(rest).map_err(|_| NetworksError::Malformed)?,
            Some((format, _)) => return Err(NetworksError::Format(*format)),
            None => return Err(NetworksError::Malformed),
        };
        statement.check().map(|()| statement)
    }

    /// Checks all that the decoder of the members leaves open.
    ///
    /// # Errors
    /// [`NetworksError`].
    pub fn check(&self) -> Result<(), NetworksError> {
        let (stated, removed) = (self.definitions.len(), self.removals.len());
        count("networks", stated, MAX_STATED_NETWORKS)?;
        count("removed networks", removed, MAX_STATED_TOMBSTONES)?;
        count("memberships", self.memberships.len(), MAX_USED_NETWORKS)?;
        let defined = ordered(self.definitions.iter().map(|d| d.id))?;
        let removed = ordered(self.removals.iter().map(|r| r.network))?;
        let used = ordered(self.memberships.iter().map(|m| m.network))?;
        for definition in &self.definitions {
            let checked = definition.check();
            checked.map_err(|error| NetworksError::Definition(definition.id, error))?;
        }
        if let Some(id) = defined.intersection(&removed).next() {
            return Err(NetworksError::Contradiction(*id));
        }
        let mut labels = BTreeSet::new();
        let mut memberships = self.memberships.iter();
        if let Some(twice) = memberships.find(|m| !labels.insert(m.label)) {
            return Err(NetworksError::LabelTwice(twice.network, twice.label));
        }
        match used.difference(&defined).next() {
            Some(id) => Err(NetworksError::Undefined(*id)),
            None => Ok(()),
        }
    }
}

fn count(what: &'static str, count: usize, most: usize) -> Result<(), NetworksError> {
    match count <= most {
        true => Ok(()),
        false => Err(NetworksError::TooMany { what, count, most }),
    }
}

fn ordered(ids: impl Iterator<Item = NetworkId>) -> Result<BTreeSet<NetworkId>, NetworksError> {
    let mut seen: BTreeSet<NetworkId> = BTreeSet::new();
    for id in ids {
        if id.is_default() {
            return Err(NetworksError::Default);
        }
        if seen.last().is_some_and(|last| *last >= id) {
            return Err(NetworksError::Order(id));
        }
        seen.insert(id);
    }
    Ok(seen)
}
