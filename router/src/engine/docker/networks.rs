//! Docker networks of mesh, and containers on them.

use std::collections::BTreeSet;

use bollard::errors::Error;
use bollard::models::{ContainerSummary, Network};
use bollard::query_parameters::ListContainersOptions;
use mesh_engine::container::NetworkConnection;
use mesh_engine::docker::networks::{base_beside, creation, exists, own_networks};
use mesh_engine::docker::stranded;
use mesh_engine::error::EngineError;
use mesh_engine::network::{OwnNetwork, renamed};

use super::Docker;

impl Docker {
    /// Returns the networks with our driver, sorted by name.
    pub(super) async fn our_networks(&self) -> Result<Vec<OwnNetwork>, EngineError> {
        Ok(own_networks(self.all_networks().await?))
    }

    /// Returns the prefix for names of our networks.
    pub(super) async fn base(&self) -> Result<&'static str, EngineError> {
        base_beside(&self.all_networks().await?)
    }

    /// Creates a network of that name, unless it exists.
    pub(super) async fn make_network(&self, name: &str) -> Result<(), EngineError> {
        if self.is_there(name).await? {
            return Ok(());
        }
        let client = self.client().await?;
        match client.create_network(creation(name)).await {
            // Older engines silently create a second network of the same name.
            Ok(made) => match self.is_there(name).await {
                Err(taken) => {
                    let removed = client.remove_network(&made.id).await;
                    removed.map_err(|e| self.error(e, None))?;
                    Err(taken)
                }
                Ok(_) => Ok(()),
            },
            // It may have been created concurrently.
            Err(e) => match self.is_there(name).await? {
                true => Ok(()),
                false => Err(self.error(e, None)),
            },
        }
    }

    /// Removes a network by its id; success if it does not exist.
    pub(super) async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let client = self.client().await?;
        match client.remove_network(id).await {
            Err(Error::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(()),
            answer => answer.map_err(|e| self.error(e, None)),
        }
    }

    /// Returns true if a network of that name exists and is ours; an error if it has another driver.
    async fn is_there(&self, name: &str) -> Result<bool, EngineError> {
        exists(name, &self.all_networks().await?)
    }

    /// Returns the containers on networks of ours, existing or removed.
    pub(super) async fn containers_of_ours(&self) -> Result<BTreeSet<String>, EngineError> {
        let (containers, networks) = self.containers_and_networks().await?;
        Ok(stranded::containers_of_ours(containers, &networks))
    }

    /// Returns the stopped containers with a connection to a removed network of ours.
    pub(super) async fn stranded_containers(&self) -> Result<Vec<String>, EngineError> {
        let (containers, networks) = self.containers_and_networks().await?;
        Ok(stranded::stranded_containers(containers, &networks))
    }

    /// Creates the network of a connection again, and connects a stopped container to it.
    pub(super) async fn connect_again(
        &self,
        container: &str,
        connection: &NetworkConnection,
    ) -> Result<(), EngineError> {
        let old = connection.network.as_str();
        let network = renamed(old, self.patience.within(self.base()).await?);
        self.patience.within(self.make_network(&network)).await?;
        if network != old {
            self.disconnect_from(old, container).await?;
        }
        let request = || stranded::connection_request(container, connection);
        let client = self.client().await?;
        match client.connect_network(&network, request()).await {
            Ok(()) => Ok(()),
            // This engine does not replace a connection to a missing network.
            Err(Error::DockerResponseServerError { .. }) => {
                self.disconnect_from(&network, container).await?;
                let again = client.connect_network(&network, request()).await;
                again.map_err(|e| self.error(e, Some(container)))
            }
            Err(e) => Err(self.error(e, Some(container))),
        }
    }

    async fn containers_and_networks(
        &self,
    ) -> Result<(Vec<ContainerSummary>, Vec<Network>), EngineError> {
        let containers = self.all_containers().await?;
        // Listed after the containers, so that a new container's network is in the list.
        Ok((containers, self.all_networks().await?))
    }

    /// Returns all containers of this engine, running or not.
    pub(super) async fn all_containers(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        let options = ListContainersOptions {
            all: true,
            ..ListContainersOptions::default()
        };
        let client = self.client().await?;
        let found = client.list_containers(Some(options)).await;
        found.map_err(|e| self.error(e, None))
    }

    /// Returns all networks of this engine, of any driver.
    async fn all_networks(&self) -> Result<Vec<Network>, EngineError> {
        let client = self.client().await?;
        let all = client.list_networks(None).await;
        all.map_err(|e| self.error(e, None))
    }
}
