//! Names that the operator added and removed.

use core::net::IpAddr;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::name::MeshName;
use mesh_proto::limits::{MAX_HOST_NAME_PAIRS, MAX_MANUAL_NAMES, MAX_NAME_ADDRESSES};
use mesh_proto::network::NetworkId;

/// Manual changes, which are kept over restarts of the router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualNames {
    /// Added names.
    pub added: BTreeSet<ManualName>,
    /// Removed names of containers in the network `default`: container id and name.
    pub removed: BTreeSet<(String, MeshName)>,
    /// Removed names of containers in other networks.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub removed_elsewhere: BTreeSet<RemovedName>,
}

/// Removed name of a container in another network than `default`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RemovedName {
    /// The network.
    #[serde(with = "network_text")]
    pub network: NetworkId,
    /// Full id of the container.
    pub container: String,
    /// Name without the domain.
    pub name: MeshName,
}

/// Manually added name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ManualName {
    /// Network of the name.
    #[serde(
        default,
        with = "network_text",
        skip_serializing_if = "NetworkId::is_default"
    )]
    pub network: NetworkId,
    /// Full id of the container; the name exists while that is in the network. Empty for a permanent name.
    pub container: String,
    /// Name without the domain.
    pub name: MeshName,
    /// Addresses of the name; empty for those of the container.
    pub addresses: BTreeSet<IpAddr>,
}

/// Reason why a name is not added; one line, ready to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// Neither a container nor an address is given.
    #[error("{0} would lead nowhere; give an address or a container")]
    Nowhere(MeshName),
    /// No address of a container.
    #[error("{0} cannot be the address of a name (multicast, loopback or unspecified)")]
    NotAnAddress(IpAddr),
    /// More addresses than one name may have.
    #[error("{0} addresses for one name; at most {MAX_NAME_ADDRESSES} are possible")]
    TooManyAddresses(usize),
    /// The table is full.
    #[error("{MAX_MANUAL_NAMES} names were changed by hand on this host already; remove some")]
    Full,
    /// More addresses than all manually added names may have.
    #[error(
        "the names added by hand on this host have {0} addresses then; at most {MAX_HOST_NAME_PAIRS} are possible"
    )]
    TooManyPairs(usize),
    /// The statement of this host would exceed its bound.
    #[error(
        "there is no room for {0} among the names that this host announces; remove some (`mesh dns-remove`)"
    )]
    NoRoom(MeshName),
}

impl ManualNames {
    pub(super) fn len(&self) -> usize {
        self.added.len() + self.removed.len() + self.removed_elsewhere.len()
    }

    /// Returns the removed names of containers: network, container and name.
    pub(super) fn removed_names(&self) -> impl Iterator<Item = (NetworkId, &str, &MeshName)> {
        let removed = self.removed.iter();
        let removed = removed.map(|(id, name)| (NetworkId::DEFAULT, id.as_str(), name));
        let elsewhere = self.removed_elsewhere.iter();
        removed.chain(elsewhere.map(|r| (r.network, r.container.as_str(), &r.name)))
    }

    /// Returns true if a name of a container is removed.
    pub(super) fn is_removed(&self, network: NetworkId, container: &str, name: &MeshName) -> bool {
        let removed = RemovedName::new(network, container, name);
        match network.is_default() {
            true => self.removed.contains(&(removed.container, removed.name)),
            false => self.removed_elsewhere.contains(&removed),
        }
    }

    /// Removes a name that a container has by itself. Returns false if it is removed already.
    pub(super) fn suppress(
        &mut self,
        network: NetworkId,
        container: &str,
        name: &MeshName,
    ) -> bool {
        let removed = RemovedName::new(network, container, name);
        match network.is_default() {
            true => self.removed.insert((removed.container, removed.name)),
            false => self.removed_elsewhere.insert(removed),
        }
    }

    /// Undoes the removal of a name.
    pub(super) fn restore(&mut self, network: NetworkId, container: &str, name: &MeshName) {
        let removed = RemovedName::new(network, container, name);
        match network.is_default() {
            true => self.removed.remove(&(removed.container, removed.name)),
            false => self.removed_elsewhere.remove(&removed),
        };
    }

    /// Drops the changes for containers that do not exist.
    pub(super) fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        self.added
            .retain(|a| a.container.is_empty() || exists(&a.container));
        self.removed.retain(|(container, _)| exists(container));
        self.removed_elsewhere.retain(|r| exists(&r.container));
    }

    pub(super) fn insert(&mut self, mut added: ManualName) -> Result<(), AddError> {
        let same = |a: &&ManualName| {
            (a.network, &a.container, &a.name) == (added.network, &added.container, &added.name)
        };
        let old: Vec<ManualName> = self.added.iter().filter(same).cloned().collect();
        for old in old {
            // An entry for all addresses of the container and one for certain addresses are kept side by side.
            if old.addresses.is_empty() == added.addresses.is_empty() {
                added.addresses.extend(&old.addresses);
                self.added.remove(&old);
            }
        }
        if added.addresses.len() > MAX_NAME_ADDRESSES {
            return Err(AddError::TooManyAddresses(added.addresses.len()));
        }
        if self.len() >= MAX_MANUAL_NAMES {
            return Err(AddError::Full);
        }
        let pairs: usize = self.added.iter().map(|a| a.addresses.len()).sum();
        let pairs = pairs + added.addresses.len();
        if pairs > MAX_HOST_NAME_PAIRS {
            return Err(AddError::TooManyPairs(pairs));
        }
        self.added.insert(added);
        Ok(())
    }

    /// Enforces the bound on the content of a file.
    pub(super) fn bound(&mut self) {
        while self.len() > MAX_MANUAL_NAMES {
            let popped = self.added.pop_last().is_some() || self.removed.pop_last().is_some();
            if !popped {
                self.removed_elsewhere.pop_last();
            }
        }
    }
}

impl RemovedName {
    fn new(network: NetworkId, container: &str, name: &MeshName) -> Self {
        Self {
            network,
            container: container.to_owned(),
            name: name.clone(),
        }
    }
}

/// A network in a file: its hexadecimal digits.
mod network_text {
    use mesh_proto::network::NetworkId;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &NetworkId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NetworkId, D::Error> {
        let text = String::deserialize(from)?;
        NetworkId::from_hex(&text).ok_or_else(|| D::Error::custom("not the id of a network"))
    }
}
