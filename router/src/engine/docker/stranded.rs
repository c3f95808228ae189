//! Containers whose mesh network was removed, and the restoration of these networks.

use std::collections::BTreeSet;
use std::sync::Arc;

use bollard::errors::Error;
use bollard::models::{ContainerSummary, Network};
use mesh_engine::container::NetworkConnection;
use mesh_engine::docker::stranded;
use mesh_engine::error::EngineError;
use mesh_engine::network::renamed;

use super::client::DockerClient;
use super::networks::DriverNetworks;
use crate::engine::patience::Patience;

/// Containers of one dockerd on networks of ours, existing or removed.
pub(super) struct StrandedContainers {
    client: Arc<DockerClient>,
    networks: DriverNetworks,
    patience: Arc<Patience>,
}

impl StrandedContainers {
    pub(super) fn new(
        client: Arc<DockerClient>,
        networks: DriverNetworks,
        patience: Arc<Patience>,
    ) -> Self {
        Self {
            client,
            networks,
            patience,
        }
    }

    /// Returns the containers on networks of ours, existing or removed.
    pub(super) async fn containers_of_ours(&self) -> Result<BTreeSet<String>, EngineError> {
        let (containers, networks) = self.containers_and_networks().await?;
        Ok(stranded::containers_of_ours(containers, &networks))
    }

    /// Returns the stopped containers with a connection to a removed network of ours.
    pub(super) async fn list(&self) -> Result<Vec<String>, EngineError> {
        let (containers, networks) = self.containers_and_networks().await?;
        Ok(stranded::stranded_containers(containers, &networks))
    }

    async fn containers_and_networks(
        &self,
    ) -> Result<(Vec<ContainerSummary>, Vec<Network>), EngineError> {
        let containers = self.client.all_containers().await?;
        // Listed after the containers, so that a new container's network is in the list.
        Ok((containers, self.networks.all_networks().await?))
    }

    /// Creates the network of a connection again if needed, and connects a stopped container to it.
    pub(super) async fn connect_again(
        &self,
        container: &str,
        connection: &NetworkConnection,
    ) -> Result<(), EngineError> {
        let old = connection.network.as_str();
        let network = renamed(old, self.patience.within(self.networks.base()).await?);
        self.patience.within(self.networks.ensure(&network)).await?;
        if network != old {
            self.networks.disconnect(old, container).await?;
        }
        let request = || stranded::connection_request(container, connection);
        let client = self.client.get().await?;
        match client.connect_network(&network, request()).await {
            Ok(()) => Ok(()),
            // This engine does not replace a connection to a missing network.
            Err(Error::DockerResponseServerError { .. }) => {
                self.networks.disconnect(&network, container).await?;
                let again = client.connect_network(&network, request()).await;
                again.map_err(|e| self.client.error(e, Some(container)))
            }
            Err(e) => Err(self.client.error(e, Some(container))),
        }
    }
}
