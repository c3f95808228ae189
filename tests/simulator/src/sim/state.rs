//! State of a router that survives a crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_proto::control::StoredNeighbour;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::ids::PeerName;

/// State that a router keeps on disk.
#[derive(Clone)]
pub(crate) struct RouterState {
    pub(crate) identity: Arc<Identity>,
    pub(crate) epoch: u64,
    pub(crate) targets: Vec<String>,
    pub(crate) neighbours: Vec<StoredNeighbour>,
    pub(crate) pins: BTreeMap<PeerName, [u8; 32]>,
}

/// Change of the state.
#[derive(Debug)]
pub(crate) enum StateChange {
    Pin(PeerName, [u8; 32]),
    Unpin(PeerName),
    Targets(Vec<String>),
    Neighbours(Vec<StoredNeighbour>),
    Epoch(u64),
}

impl RouterState {
    /// Returns the state before the first start.
    pub(crate) fn new(identity: Identity, targets: Vec<String>) -> Self {
        Self {
            identity: Arc::new(identity),
            epoch: 0,
            targets,
            neighbours: Vec::new(),
            pins: BTreeMap::new(),
        }
    }

    pub(crate) fn apply(&mut self, change: StateChange) {
        match change {
            StateChange::Pin(name, key) => drop(self.pins.insert(name, key)),
            StateChange::Unpin(name) => drop(self.pins.remove(&name)),
            StateChange::Epoch(epoch) => self.epoch = self.epoch.max(epoch),
            StateChange::Targets(targets) => self.targets = targets,
            StateChange::Neighbours(all) => self.neighbours = all,
        }
    }
}
