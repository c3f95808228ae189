//! Changes of names by the operator: the container that is meant, and why a change is refused.

use std::collections::BTreeSet;

use mesh_names::{AddError, NameError};
use mesh_proto::api::AttachedContainer;
use mesh_proto::network::NetworkId;

use crate::containers::networks::InterfaceNetworks;

/// Reason why a name is not changed; one line, ready to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameChangeError {
    /// Not a valid name in the mesh.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name cannot be added.
    #[error(transparent)]
    Add(#[from] AddError),
    /// The request has neither a container nor an address with a name.
    #[error(
        "nothing to go by: give a container, or an address and -h NAME, like `mesh dns-add 10.2.1.1 -h web`"
    )]
    Nothing,
    /// The name to remove does not exist.
    #[error("{0} has no such name; `mesh status dns` lists what there is")]
    NotThere(String),
    /// The container is not in the network.
    #[error(
        "{0} is not in that network, where the name would lead nowhere; say one of its own (--net NETWORK)"
    )]
    OtherNetwork(String),
}

/// A container of this host, as the target of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeTarget {
    /// Full id.
    pub id: String,
    /// Name, as it is shown.
    pub name: String,
    /// Networks that it is in; none while it is not on the mesh.
    pub networks: BTreeSet<NetworkId>,
}

impl ChangeTarget {
    /// Returns true if it is in the network, or may be once it is on the mesh.
    pub(super) fn may_be_in(&self, network: &NetworkId) -> bool {
        self.networks.is_empty() || self.networks.contains(network)
    }
}

/// Returns the attached container that a user calls `wanted`.
pub fn attached_target(
    rows: &[AttachedContainer],
    networks: &InterfaceNetworks,
    wanted: &str,
) -> Option<ChangeTarget> {
    let named = |row: &&AttachedContainer| row.name == wanted || row.container == wanted;
    rows.iter().find(named).map(|row| ChangeTarget {
        id: row.container.clone(),
        name: row.name.clone(),
        networks: networks.asker(row).as_slice().iter().copied().collect(),
    })
}
