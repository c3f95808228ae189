//! Networks of the mesh, as attachments see them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use mesh_networks::{CreatedNetwork, NetworkDefinition, NewNetwork};
use mesh_proto::network::NetworkId;

/// The answer to [`NetworkAccess::join`].
pub type JoinAnswer<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// The answer to [`NetworkAccess::create`].
pub type CreateAnswer<'a> =
    Pin<Box<dyn Future<Output = Result<CreatedNetwork, String>> + Send + 'a>>;

/// The networks that the mesh has, and this router's membership in them.
pub trait NetworkAccess: Send + Sync {
    /// Returns the network with this name or id.
    ///
    /// # Errors
    /// One line for the user: there is none.
    fn resolve(&self, name: &str) -> Result<NetworkId, String>;

    /// Makes this router a member of a network; success if it is one.
    ///
    /// # Errors
    /// One line for the user: there is no such network, or this host can use no more.
    fn join(&self, network: NetworkId) -> JoinAnswer<'_>;

    /// Returns a network; none if the mesh does not have it, and for `default`.
    fn definition(&self, network: &NetworkId) -> Option<Arc<NetworkDefinition>>;

    /// Makes a network, or finds the one of that name that is as asked for.
    ///
    /// # Errors
    /// One line for the user: the network of that name has other properties.
    fn create(&self, new: NewNetwork) -> CreateAnswer<'_> {
        let refused = format!("the network {} cannot be made here", new.name);
        Box::pin(std::future::ready(Err(refused)))
    }

    /// Removes a network that nobody uses.
    ///
    /// # Errors
    /// One line: somebody uses it.
    fn remove(&self, network: NetworkId) -> JoinAnswer<'_> {
        let refused = format!("the network {network} cannot be removed here");
        Box::pin(std::future::ready(Err(refused)))
    }

    /// Returns all networks besides `default`.
    fn all(&self) -> Vec<Arc<NetworkDefinition>> {
        Vec::new()
    }

    /// Returns true if a network was removed; false also for one that is not known yet.
    fn is_removed(&self, network: &NetworkId) -> bool {
        self.definition(network).is_none()
    }
}
