//! Networks other than `default` that have members on this host, as the control plane publishes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::domain::BroadcastDomain;
use crate::crypto::network_key::NetworkKey;
use crate::ids::PeerId;
use crate::limits::{MAX_NETWORK_KEYS, MAX_NETWORKS_HERE};
use crate::network::{NetworkId, NetworkKeyId, NetworkLabel};

/// Label that a peer assigned to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLabel {
    /// Label in Data for the peer.
    pub label: NetworkLabel,
    /// Boot epoch of the peer in which it assigned the label. In another one the label may mean another network, so
    /// frames wait until the present one is known.
    pub epoch: u64,
}

/// Keys of one network.
#[derive(Clone, Debug, Default)]
pub struct NetworkKeys {
    keys: Vec<Arc<NetworkKey>>,
}

impl NetworkKeys {
    /// Creates the list of these keys: the first one seals, and all of them open. Of more than [`MAX_NETWORK_KEYS`] the
    /// last ones are left out.
    pub fn new(mut keys: Vec<Arc<NetworkKey>>) -> Self {
        keys.truncate(MAX_NETWORK_KEYS);
        Self { keys }
    }

    /// Returns the key that seals broadcasts; `None` as long as none is known.
    pub fn sealing(&self) -> Option<&NetworkKey> {
        self.keys.first().map(Arc::as_ref)
    }

    /// Returns the key with this id.
    pub fn get(&self, id: NetworkKeyId) -> Option<&NetworkKey> {
        let mut keys = self.keys.iter();
        keys.find(|key| key.id() == id).map(Arc::as_ref)
    }
}

/// Membership of this host in one network.
#[derive(Clone, Debug)]
pub struct SnapshotNetwork {
    /// Tables of the network on this host.
    pub domain: Arc<BroadcastDomain>,
    /// Label of the network in Data for this router; not 0. Within a boot epoch it never gets another meaning.
    pub label: NetworkLabel,
    /// The other routers that announce members in the network.
    pub peers: BTreeMap<PeerId, PeerLabel>,
    /// Keys of its broadcasts.
    pub keys: NetworkKeys,
}

/// Reason why a membership cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotNetworksError {
    /// More than [`MAX_NETWORKS_HERE`].
    #[error("more than {MAX_NETWORKS_HERE} networks on one host")]
    TooMany,
    /// The network is listed twice.
    #[error("network {0} is listed twice")]
    Twice(NetworkId),
    /// The label is that of another network, or 0.
    #[error("label {} of network {} is taken", .1.0, .0)]
    LabelTaken(NetworkId, NetworkLabel),
}

/// Memberships of this host in networks other than `default`.
#[derive(Clone, Debug, Default)]
pub struct SnapshotNetworks {
    by_id: BTreeMap<NetworkId, Arc<SnapshotNetwork>>,
    by_label: BTreeMap<NetworkLabel, Arc<SnapshotNetwork>>,
}

impl SnapshotNetworks {
    /// Creates the list of these memberships.
    ///
    /// # Errors
    /// [`SnapshotNetworksError`] if there are too many, or if two have the same network or label.
    pub fn new(
        memberships: impl IntoIterator<Item = Arc<SnapshotNetwork>>,
    ) -> Result<Self, SnapshotNetworksError> {
        let mut networks = Self::default();
        for membership in memberships {
            networks.add(membership)?;
        }
        Ok(networks)
    }

    /// Adds a membership.
    ///
    /// # Errors
    /// As [`SnapshotNetworks::new`]; nothing is changed.
    pub(crate) fn add(
        &mut self,
        membership: Arc<SnapshotNetwork>,
    ) -> Result<(), SnapshotNetworksError> {
        let (id, label) = (membership.domain.network(), membership.label);
        self.check(id, label)?;
        self.by_label.insert(label, membership.clone());
        self.by_id.insert(id, membership);
        Ok(())
    }

    /// Checks that a membership in `network` with this label may be added.
    pub(crate) fn check(
        &self,
        network: NetworkId,
        label: NetworkLabel,
    ) -> Result<(), SnapshotNetworksError> {
        if self.by_id.len() >= MAX_NETWORKS_HERE {
            return Err(SnapshotNetworksError::TooMany);
        }
        if label.is_default() || self.by_label.contains_key(&label) {
            return Err(SnapshotNetworksError::LabelTaken(network, label));
        }
        if network.is_default() || self.by_id.contains_key(&network) {
            return Err(SnapshotNetworksError::Twice(network));
        }
        Ok(())
    }

    /// Returns the membership in `network`.
    pub fn get(&self, network: NetworkId) -> Option<&SnapshotNetwork> {
        self.by_id.get(&network).map(Arc::as_ref)
    }

    /// Returns the membership in the network to which this router assigned `label`.
    pub fn by_label(&self, label: NetworkLabel) -> Option<&SnapshotNetwork> {
        self.by_label.get(&label).map(Arc::as_ref)
    }

    /// Returns all memberships, in the order of the networks' ids.
    pub fn iter(&self) -> impl Iterator<Item = &SnapshotNetwork> {
        self.by_id.values().map(Arc::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;
    use crate::forward::GroupLimits;
    use crate::forward::domain::DomainShares;

    fn membership(network: u8, label: u16) -> Arc<SnapshotNetwork> {
        let shares = DomainShares::new(GroupLimits::default());
        let network = NetworkId([network; 16]);
        let domain = BroadcastDomain::of_network(network, &shares, &mut SeededEntropy::new(1));
        Arc::new(SnapshotNetwork {
            domain: Arc::new(domain),
            label: NetworkLabel(label),
            peers: BTreeMap::new(),
            keys: NetworkKeys::default(),
        })
    }

    fn error(list: &[(u8, u16)]) -> Option<SnapshotNetworksError> {
        let all = list
            .iter()
            .map(|(network, label)| membership(*network, *label));
        SnapshotNetworks::new(all).err()
    }

    #[test]
    fn each_network_and_each_label_occurs_once_and_default_never() {
        let (one, two) = (NetworkId([1; 16]), NetworkId([2; 16]));
        let taken = |id, label| Some(SnapshotNetworksError::LabelTaken(id, NetworkLabel(label)));
        assert_eq!(error(&[(1, 7), (2, 8)]), None);
        assert_eq!(error(&[(1, 7), (2, 7)]), taken(two, 7));
        assert_eq!(
            error(&[(1, 7), (1, 8)]),
            Some(SnapshotNetworksError::Twice(one))
        );
        assert_eq!(error(&[(1, 0)]), taken(one, 0));
        assert_eq!(
            error(&[(0, 7)]),
            Some(SnapshotNetworksError::Twice(NetworkId::DEFAULT))
        );
    }

    #[test]
    fn a_host_has_a_bounded_number_of_networks_and_keys() {
        let list: Vec<(u8, u16)> = (1..=u8::MAX).map(|n| (n, n.into())).collect();
        assert_eq!(error(&list[..MAX_NETWORKS_HERE]), None);
        assert_eq!(
            error(&list[..=MAX_NETWORKS_HERE]),
            Some(SnapshotNetworksError::TooMany)
        );
        let keys: Vec<_> = (0..9).map(|n| Arc::new(NetworkKey::new([n; 32]))).collect();
        let known = NetworkKeys::new(keys.clone());
        assert_eq!(known.sealing().unwrap().id(), keys[0].id());
        assert!(known.get(keys[MAX_NETWORK_KEYS - 1].id()).is_some());
        assert!(known.get(keys[MAX_NETWORK_KEYS].id()).is_none());
    }
}
