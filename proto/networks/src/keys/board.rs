//! Announcements of keys of all routers, as their statements have them.

use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;

use super::announcement::KeyAnnouncement;
use crate::statement::NetworksStatement;

/// Announcements of the routers whose statements are kept; routers without any have no entry.
#[derive(Debug, Default)]
pub(super) struct KeyBoard {
    by_origin: BTreeMap<PeerId, BTreeMap<NetworkId, KeyAnnouncement>>,
}

impl KeyBoard {
    /// Replaces what a router announces. Returns the networks about which it is something else.
    pub(super) fn replace(
        &mut self,
        origin: PeerId,
        statement: &NetworksStatement,
    ) -> BTreeSet<NetworkId> {
        let memberships = statement.memberships.iter();
        let says = memberships.map(|m| (m.network, KeyAnnouncement::read(&m.extension)));
        let says: BTreeMap<NetworkId, KeyAnnouncement> =
            says.filter(|(_, says)| !says.keys.is_empty()).collect();
        let before = self.forget(&origin);
        let all: BTreeSet<NetworkId> = says.keys().chain(before.keys()).copied().collect();
        let changed = all.into_iter().filter(|id| says.get(id) != before.get(id));
        let changed = changed.collect();
        if !says.is_empty() {
            self.by_origin.insert(origin, says);
        }
        changed
    }

    /// Removes what a router announces, and returns it.
    pub(super) fn forget(&mut self, origin: &PeerId) -> BTreeMap<NetworkId, KeyAnnouncement> {
        self.by_origin.remove(origin).unwrap_or_default()
    }

    /// Returns what a router announces about a network.
    pub(super) fn get(&self, origin: &PeerId, network: &NetworkId) -> Option<&KeyAnnouncement> {
        self.by_origin.get(origin)?.get(network)
    }
}
