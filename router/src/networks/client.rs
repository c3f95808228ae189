//! The way in for the rest of the router: a handle that asks for networks.

use std::sync::Arc;

use mesh_networks::{CreatedNetwork, NetworkDefinition, NetworkDirectory, NewNetwork, NotRemoved};
use mesh_proto::api::{NetworkReport, NetworksSummary};
use mesh_proto::network::NetworkId;
use tokio::sync::{mpsc, oneshot, watch};

use crate::ipam::{Allocator, plan_of};

/// Requests that may wait for the control thread.
pub(super) const REQUESTS: usize = 256;
const STOPPING: &str = "the router is stopping";

/// Request to [`super::NetworksShell`]. Errors are one line, ready to print.
#[derive(Debug)]
pub(crate) enum NetworksRequest {
    /// Creates a network.
    Create {
        /// The network.
        new: Box<NewNetwork>,
        /// Sent once it is stored.
        answer: oneshot::Sender<Result<CreatedNetwork, String>>,
    },
    /// Removes a network.
    Remove {
        /// Name or id as typed.
        name: String,
        /// True if containers in it do not matter.
        force: bool,
        /// Sent once it is stored.
        answer: oneshot::Sender<Result<NetworkId, NotRemoved>>,
    },
    /// Makes this router a member of a network.
    Join {
        /// The network.
        network: NetworkId,
        /// Sent once it is stored.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// Returns all networks.
    List(oneshot::Sender<Vec<NetworkReport>>),
    /// Returns one network.
    Inspect {
        /// Name or id as typed.
        name: String,
        /// The network, or the error.
        answer: oneshot::Sender<Result<NetworkReport, String>>,
    },
    /// Returns figures and warnings for the report.
    Summary(oneshot::Sender<(Option<NetworksSummary>, Vec<String>)>),
}

/// A handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NetworksClient {
    requests: mpsc::Sender<NetworksRequest>,
    directory: watch::Receiver<Arc<NetworkDirectory>>,
    allocator: Allocator,
    mesh_mtu: u16,
}

impl NetworksClient {
    /// Creates a handle.
    pub(super) fn new(
        requests: mpsc::Sender<NetworksRequest>,
        directory: watch::Receiver<Arc<NetworkDirectory>>,
        allocator: Allocator,
        mesh_mtu: u16,
    ) -> Self {
        Self {
            requests,
            directory,
            allocator,
            mesh_mtu,
        }
    }

    /// Returns the MTU of the mesh.
    pub(crate) fn mesh_mtu(&self) -> u16 {
        self.mesh_mtu
    }

    /// Creates a network, or finds the one that is as asked for; returns once it is stored.
    ///
    /// # Errors
    /// One line.
    pub async fn create(&self, new: NewNetwork) -> Result<CreatedNetwork, String> {
        let new = Box::new(new);
        let created = self
            .ask(|answer| NetworksRequest::Create { new, answer })
            .await??;
        if let Some(definition) = self.definition(&created.id).filter(|_| created.is_new) {
            // All its addresses are this router's at first.
            self.allocator.define(plan_of(&definition), true).await;
        }
        Ok(created)
    }

    /// Removes a network, given by its name or id, for the whole mesh; returns once that is stored.
    ///
    /// # Errors
    /// The reason, with those who use it.
    pub async fn remove(&self, name: &str, force: bool) -> Result<NetworkId, NotRemoved> {
        let name = name.to_owned();
        let asked = self.ask(|answer| NetworksRequest::Remove {
            name,
            force,
            answer,
        });
        asked.await.map_err(NotRemoved::Refused)?
    }

    /// Makes this router a member of a network before a container starts in it; returns once others may learn of it. A
    /// membership that no container uses after 10 s is left again.
    ///
    /// # Errors
    /// One line.
    pub async fn join(&self, network: NetworkId) -> Result<(), String> {
        self.ask(|answer| NetworksRequest::Join { network, answer })
            .await?
    }

    /// Returns all networks, `default` first.
    ///
    /// # Errors
    /// The router is stopping.
    pub async fn list(&self) -> Result<Vec<NetworkReport>, String> {
        self.ask(NetworksRequest::List).await
    }

    /// Returns the network with this name or id.
    ///
    /// # Errors
    /// One line.
    pub async fn inspect(&self, name: &str) -> Result<NetworkReport, String> {
        let name = name.to_owned();
        self.ask(|answer| NetworksRequest::Inspect { name, answer })
            .await?
    }

    /// Returns figures for the report, and warnings.
    pub async fn summary(&self) -> (Option<NetworksSummary>, Vec<String>) {
        let asked = self.ask(NetworksRequest::Summary).await;
        asked.unwrap_or_default()
    }

    /// Returns the names and definitions of all networks, as they change.
    pub fn directory(&self) -> watch::Receiver<Arc<NetworkDirectory>> {
        self.directory.clone()
    }

    /// Returns the network with this name or id.
    ///
    /// # Errors
    /// One line.
    pub fn resolve(&self, text: &str) -> Result<NetworkId, String> {
        let found = self.directory.borrow().resolve(text);
        found.map_err(|error| error.to_string())
    }

    /// Returns the definition of a network; `None` for `default`, and for one that is not known.
    pub fn definition(&self, network: &NetworkId) -> Option<Arc<NetworkDefinition>> {
        self.directory.borrow().get(network).cloned()
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> NetworksRequest,
    ) -> Result<T, String> {
        let (answer, receiver) = oneshot::channel();
        let sent = self.requests.send(request(answer)).await;
        sent.map_err(|_| STOPPING.to_owned())?;
        receiver.await.map_err(|_| STOPPING.to_owned())
    }
}
