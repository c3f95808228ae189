//! All that operators see of networks, apart from containers.

use core::num::NonZeroU16;
use std::sync::Arc;

use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;

use super::Networks;
use super::definition::NetworkDefinition;

/// Network, with its place in the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportedNetwork {
    /// Definition.
    pub definition: Arc<NetworkDefinition>,
    /// Network that has its name, if another has: this one is known by its id only.
    pub shadowed_by: Option<NetworkId>,
    /// Routers that have containers in it, this one included, by id.
    pub members: Vec<NetworkMember>,
    /// Routers that state it, this one included, by id; none right after all of them went out of reach.
    pub stated_by: Vec<PeerId>,
}

/// Router that has containers in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetworkMember {
    /// The router.
    pub router: PeerId,
    /// Label that it assigned to the network.
    pub label: NonZeroU16,
    /// True if it is within reach, or this router.
    pub is_reachable: bool,
}

/// Figures about all networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkFigures {
    /// Networks that are known, `default` not counted.
    pub known: usize,
    /// Networks in which this router has containers.
    pub used: usize,
    /// Removed networks that are remembered.
    pub removed: usize,
    /// Networks and removals that this router states though it neither made nor uses them.
    pub adopted: usize,
    /// Networks that had no room in this router's statement.
    pub left_out: usize,
    /// Routers of which networks were refused for lack of room.
    pub without_room: usize,
    /// Statements that were refused as malformed.
    pub refused: u64,
    /// Messages about keys that were refused, or not answered.
    pub refused_messages: u64,
}

impl Networks {
    /// Returns all networks besides `default`, by name, shadowed ones after the one that has the name.
    pub fn report(&self) -> Vec<ReportedNetwork> {
        let networks = self.ledger.live().iter();
        let reported = networks.map(|(id, known)| {
            let is_mine = self.stated.definitions.iter().any(|d| d.id == *id);
            let mut stated_by: Vec<PeerId> = self.origins.stating(id).copied().collect();
            stated_by.extend(is_mine.then_some(self.me));
            stated_by.sort();
            ReportedNetwork {
                definition: known.definition.clone(),
                shadowed_by: self.names.shadowed_by(id),
                members: self.members(id),
                stated_by,
            }
        });
        let mut reported: Vec<ReportedNetwork> = reported.collect();
        reported.sort_by(|a, b| {
            let (a, b) = (&a.definition, &b.definition);
            (&a.name, a.precedence()).cmp(&(&b.name, b.precedence()))
        });
        reported
    }

    /// Returns figures about all networks.
    pub fn figures(&self) -> NetworkFigures {
        NetworkFigures {
            known: self.ledger.live().len(),
            used: self.labels.used().len(),
            removed: self.ledger.gone().len(),
            adopted: self.adoption.adopted().len(),
            left_out: self.left_out,
            without_room: self.origins.refused(),
            refused: self.refused,
            refused_messages: self.keys.refused(),
        }
    }
}
