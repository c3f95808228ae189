//! Docker networks of mesh, and endpoints on them.

use std::sync::Arc;

use bollard::errors::Error;
use bollard::models::{Network, NetworkDisconnectRequest};
use mesh_engine::docker::networks::{
    base_beside, creation, exists, listed_networks, mirror_creation, namesakes, nascent_network,
    own_networks,
};
use mesh_engine::docker::{container, is_disconnected};
use mesh_engine::error::EngineError;
use mesh_engine::network::{ListedNetwork, NascentNetwork, NetworkEndpoint, OwnNetwork};
use mesh_host::docker::user_networks::MirrorNetwork;
use tokio::sync::Mutex;

use super::client::DockerClient;

/// Networks of one dockerd, and its endpoints on them.
#[derive(Clone)]
pub(super) struct DriverNetworks {
    client: Arc<DockerClient>,
    /// Held while a network is created: older engines silently create a second one of the same name.
    creating: Arc<Mutex<()>>,
}

impl DriverNetworks {
    pub(super) fn new(client: Arc<DockerClient>) -> Self {
        Self {
            client,
            creating: Arc::default(),
        }
    }

    /// Returns the networks with our driver, sorted by name.
    pub(super) async fn ours(&self) -> Result<Vec<OwnNetwork>, EngineError> {
        Ok(own_networks(self.all_networks().await?))
    }

    /// Returns what Docker says of the networks with our driver.
    pub(super) async fn listed(&self) -> Result<Vec<ListedNetwork>, EngineError> {
        Ok(listed_networks(self.all_networks().await?))
    }

    /// Returns the network of Swarm with an id, which its leader is about to make.
    pub(super) async fn nascent(&self, id: &str) -> Result<Option<NascentNetwork>, EngineError> {
        Ok(nascent_network(self.all_networks().await?, id))
    }

    /// Returns the prefix for names of our networks.
    pub(super) async fn base(&self) -> Result<&'static str, EngineError> {
        base_beside(&self.all_networks().await?)
    }

    /// Creates a network of that name, unless it exists.
    pub(super) async fn ensure(&self, name: &str) -> Result<(), EngineError> {
        let _one_at_a_time = self.creating.lock().await;
        let all = self.all_networks().await?;
        if exists(name, &all)? {
            return self.keep_one(name, &all).await;
        }
        let client = self.client.get().await?;
        match client.create_network(creation(name)).await {
            // Another program may have created one, too.
            Ok(made) => {
                let all = self.all_networks().await?;
                match exists(name, &all) {
                    Err(taken) => {
                        let removed = client.remove_network(&made.id).await;
                        removed.map_err(|e| self.client.error(e, None))?;
                        Err(taken)
                    }
                    Ok(_) => self.keep_one(name, &all).await,
                }
            }
            // It may have been created concurrently.
            Err(e) => match self.is_there(name).await? {
                true => Ok(()),
                false => Err(self.client.error(e, None)),
            },
        }
    }

    /// Creates the network of a network of the mesh, unless there is one of that name.
    pub(super) async fn create_mirror(&self, mirror: &MirrorNetwork) -> Result<(), EngineError> {
        let _one_at_a_time = self.creating.lock().await;
        if exists(&mirror.name, &self.all_networks().await?)? {
            return Ok(());
        }
        let client = self.client.get().await?;
        let created = client.create_network(mirror_creation(mirror)).await;
        created.map(drop).map_err(|e| self.client.error(e, None))
    }

    /// Removes all networks of a name but one; those that containers are on stay.
    async fn keep_one(&self, name: &str, all: &[Network]) -> Result<(), EngineError> {
        let same = namesakes(name, all);
        let mut left = same.len();
        let client = self.client.get().await?;
        for id in same {
            if left > 1 && client.remove_network(&id).await.is_ok() {
                left -= 1;
            }
        }
        Ok(())
    }

    /// Removes a network by its id; success if it does not exist.
    pub(super) async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let client = self.client.get().await?;
        match client.remove_network(id).await {
            Err(Error::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(()),
            answer => answer.map_err(|e| self.client.error(e, None)),
        }
    }

    /// Returns the current endpoints on a network, given by its id or name.
    pub(super) async fn endpoints(
        &self,
        network: &str,
    ) -> Result<Vec<NetworkEndpoint>, EngineError> {
        let client = self.client.get().await?;
        let answer = client.inspect_network(network, None).await;
        let found = answer.map_err(|e| self.client.error(e, None))?;
        Ok(container::endpoints(found))
    }

    /// Disconnects a container by force; success if it was not connected.
    pub(super) async fn disconnect(
        &self,
        network: &str,
        container: &str,
    ) -> Result<(), EngineError> {
        let client = self.client.get().await?;
        let request = NetworkDisconnectRequest {
            container: container.to_owned(),
            force: Some(true),
        };
        match client.disconnect_network(network, request).await {
            Ok(()) => Ok(()),
            Err(Error::DockerResponseServerError {
                status_code,
                message,
            }) if is_disconnected(status_code, &message) => Ok(()),
            Err(e) => Err(self.client.error(e, Some(container))),
        }
    }

    /// Returns true if a network of that name exists and is ours; an error if it has another driver.
    async fn is_there(&self, name: &str) -> Result<bool, EngineError> {
        exists(name, &self.all_networks().await?)
    }

    /// Returns all networks of this engine, of any driver.
    pub(super) async fn all_networks(&self) -> Result<Vec<Network>, EngineError> {
        let client = self.client.get().await?;
        let all = client.list_networks(None).await;
        all.map_err(|e| self.client.error(e, None))
    }
}
