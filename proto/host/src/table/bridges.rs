//! Other bridges of the host that are joined to the mesh, each to one network.

use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::network::NetworkId;
use serde::{Deserialize, Serialize};

use crate::network::scoped::{mark, unmark};

/// Other bridges, by name, with the network that each is joined to. Stored as a list of names, each with the id of its
/// network unless that is `default`; no name of an interface is long enough to be taken for such an id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "BTreeSet<String>", from = "BTreeSet<String>")]
pub struct JoinedBridges(BTreeMap<String, NetworkId>);

impl JoinedBridges {
    /// Returns the network that a bridge is joined to.
    pub fn get(&self, bridge: &str) -> Option<NetworkId> {
        self.0.get(bridge).copied()
    }

    /// Returns all bridges with their networks, in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, NetworkId)> {
        self.0
            .iter()
            .map(|(bridge, network)| (bridge.as_str(), *network))
    }

    /// Returns the number of bridges.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a bridge; one that is there is joined to this network from now on.
    pub fn insert(&mut self, bridge: &str, network: NetworkId) {
        self.0.insert(bridge.to_owned(), network);
    }

    /// Removes a bridge, and returns the network that it was joined to.
    pub fn remove(&mut self, bridge: &str) -> Option<NetworkId> {
        self.0.remove(bridge)
    }
}

impl From<JoinedBridges> for BTreeSet<String> {
    fn from(bridges: JoinedBridges) -> Self {
        let all = bridges.iter();
        all.map(|(bridge, network)| mark(bridge, network)).collect()
    }
}

impl From<BTreeSet<String>> for JoinedBridges {
    fn from(stored: BTreeSet<String>) -> Self {
        let all = stored.iter().map(|marked| unmark(marked));
        Self(
            all.map(|(bridge, network)| (bridge.to_owned(), network))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_of_default_are_stored_as_ever() {
        let mut bridges = JoinedBridges::default();
        bridges.insert("br0", NetworkId::DEFAULT);
        assert_eq!(serde_json::to_string(&bridges).unwrap(), r#"["br0"]"#);
        let web = NetworkId([7; 16]);
        bridges.insert("br@1", web);
        let stored = serde_json::to_string(&bridges).unwrap();
        assert_eq!(
            serde_json::from_str::<JoinedBridges>(&stored).unwrap(),
            bridges
        );
        assert_eq!((bridges.get("br@1"), bridges.get("br")), (Some(web), None));
        assert_eq!(bridges.remove("br0"), Some(NetworkId::DEFAULT));
        assert_eq!(bridges.count(), 1);
    }
}
