//! Effects of the networks on the rest of the router.

use std::sync::Arc;

use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;

use super::definition::NetworkDefinition;

/// Effect that the caller carries out, in the order of the outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworksOutput {
    /// [`super::Networks::content`] changed; it is to be on disk before further outputs are carried out.
    Persist,
    /// This is the new statement of this router, for its record of [`mesh_proto::wire::topic::Topic::NETWORKS`].
    State(Vec<u8>),
    /// There is a new network.
    Added(Arc<NetworkDefinition>),
    /// A network has a newer definition.
    Changed(Arc<NetworkDefinition>),
    /// A network has ended.
    Removed {
        /// Its last definition.
        definition: Arc<NetworkDefinition>,
        /// Router that removed it.
        by: PeerId,
        /// True if this router has containers in it, which it detaches now; it is no member any more.
        was_member: bool,
    },
    /// A network lost its name to another one, and is known by its id only.
    Shadowed {
        /// The network.
        definition: Arc<NetworkDefinition>,
        /// The network that has the name.
        by: NetworkId,
        /// True if this router created it, or has containers in it: its operator is told.
        is_own: bool,
    },
    /// A network has its name back.
    Revealed(Arc<NetworkDefinition>),
    /// The members of a network, their labels or their reachability changed.
    Members(NetworkId),
    /// The keys of a network changed ([`super::Networks::keys`]).
    Keys(NetworkId),
    /// Message about keys to one router, of [`mesh_proto::wire::topic::Topic::NETWORKS`]; secret parts are sealed for it.
    Send {
        /// The router.
        to: PeerId,
        /// Body of the message.
        body: Vec<u8>,
    },
    /// There is room again: the present statement of this router is to be handed in once more.
    Reread(PeerId),
}
