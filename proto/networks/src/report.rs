//! All that is known of networks, for operators and for the rest of the router.

use core::num::NonZeroU16;
use std::sync::Arc;

use mesh_proto::forward::NetworkKeys;
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;

use super::Networks;
use super::definition::NetworkDefinition;
use super::refusal::UnknownNetwork;
use super::view::resolve;

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
    /// True if its last container left a short time ago.
    pub is_idle: bool,
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
    /// Returns the network with this name or, in hexadecimal digits, this id or the start of it, at least four of them.
    ///
    /// # Errors
    /// [`UnknownNetwork`].
    pub fn resolve(&self, text: &str) -> Result<NetworkId, UnknownNetwork> {
        resolve(text, self.names.all(), self.ledger.live().keys())
    }

    /// Returns the definition of a network; `None` for `default`, and for one that is not known.
    pub fn get(&self, id: &NetworkId) -> Option<&Arc<NetworkDefinition>> {
        self.ledger.get(id)
    }

    /// Returns the routers that have containers in a network, by id, with their labels. Those out of reach are kept until
    /// [`Networks::forget`].
    pub fn members(&self, id: &NetworkId) -> Vec<NetworkMember> {
        let others = self.origins.members(id);
        let others = others.map(|(router, membership)| NetworkMember {
            router: *router,
            label: membership.label,
            is_idle: membership.is_idle,
            is_reachable: self.origins.is_reachable(router),
        });
        let me = self.labels.used().get(id).map(|label| NetworkMember {
            router: self.me,
            label: *label,
            is_idle: self.idle.contains(id),
            is_reachable: true,
        });
        let mut members: Vec<NetworkMember> = others.chain(me).collect();
        members.sort();
        members
    }

    /// Returns the networks in which this router has containers, with their labels.
    pub fn memberships(&self) -> impl Iterator<Item = (NetworkId, NonZeroU16)> {
        self.labels.used().iter().map(|(id, label)| (*id, *label))
    }

    /// Returns the keys of a network in which this router has containers: the first one seals broadcasts, all of them
    /// open. None for a while after [`Networks::join`], and for other networks.
    pub fn keys(&self, id: &NetworkId) -> NetworkKeys {
        self.keys.keys(id)
    }

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
