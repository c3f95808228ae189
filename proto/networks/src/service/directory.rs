//! Names and definitions of all networks at one moment, for parts of the router that do not own the networks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_proto::network::NetworkId;

use crate::Networks;
use crate::definition::NetworkDefinition;
use crate::definition::name::{DEFAULT_NETWORK, NetworkName};
use crate::refusal::UnknownNetwork;
use crate::view::resolve;

/// Digits of an id that are shown where it is cut.
pub const SHORT_ID: usize = 12;

/// All networks, as they were when this was made.
#[derive(Clone, Debug, Default)]
pub struct NetworkDirectory {
    live: BTreeMap<NetworkId, Arc<NetworkDefinition>>,
    names: BTreeMap<NetworkName, NetworkId>,
    removed: BTreeSet<NetworkId>,
}

impl NetworkDirectory {
    /// Lists the present networks.
    pub(crate) fn of(networks: &Networks) -> Self {
        let ledger = &networks.ledger;
        let live = ledger.live().iter();
        let definitions = ledger.live().values().map(|known| &known.definition);
        let names = definitions.filter_map(|definition| {
            let holder = networks.names.get(&definition.name)?;
            Some((definition.name.clone(), holder))
        });
        Self {
            names: names.collect(),
            live: live
                .map(|(id, known)| (*id, known.definition.clone()))
                .collect(),
            removed: ledger.gone().keys().copied().collect(),
        }
    }

    /// Returns the network with this name or, in hexadecimal digits, this id or the start of it.
    ///
    /// # Errors
    /// [`UnknownNetwork`].
    pub fn resolve(&self, text: &str) -> Result<NetworkId, UnknownNetwork> {
        resolve(text, &self.names, self.live.keys())
    }

    /// Returns the definition of a network; `None` for `default`, and for one that is not known.
    pub fn get(&self, id: &NetworkId) -> Option<&Arc<NetworkDefinition>> {
        self.live.get(id)
    }

    /// Returns the present networks, in the order of their ids; without `default`.
    pub fn definitions(&self) -> impl Iterator<Item = &NetworkDefinition> {
        self.live.values().map(|definition| &**definition)
    }

    /// Returns the ids of the removed networks that are remembered.
    pub fn removed(&self) -> impl Iterator<Item = NetworkId> {
        self.removed.iter().copied()
    }

    /// Returns the ids of the present networks, in order; without `default`.
    pub fn ids(&self) -> impl Iterator<Item = &NetworkId> {
        self.live.keys()
    }

    /// Returns the definitions of all networks besides `default`.
    pub fn all(&self) -> impl Iterator<Item = &Arc<NetworkDefinition>> {
        self.live.values()
    }

    /// Returns true if a network was removed; false also for one that is not known yet.
    pub fn is_removed(&self, id: &NetworkId) -> bool {
        self.removed.contains(id)
    }

    /// Returns the text by which users know a network: its name; for one that lost its name, or is not known, the first
    /// digits of its id.
    pub fn name(&self, id: &NetworkId) -> String {
        if id.is_default() {
            return DEFAULT_NETWORK.to_owned();
        }
        let name = self.live.get(id).map(|definition| &definition.name);
        match name.filter(|name| self.names.get(name) == Some(id)) {
            Some(name) => name.to_string(),
            None => short(id),
        }
    }
}

/// Returns the first digits of an id.
pub(crate) fn short(id: &NetworkId) -> String {
    let mut digits = id.to_string();
    digits.truncate(SHORT_ID);
    digits
}
