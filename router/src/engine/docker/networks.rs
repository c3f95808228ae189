//! Networks of ours that containers have, whether they exist or not.

use std::collections::{BTreeSet, HashMap};

use bollard::errors::Error;
use bollard::models::{EndpointSettings, NetworkConnectRequest};
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions};

use super::Docker;
use super::answers::has_process;
use crate::engine::{Connection, DRIVER, EngineError};

/// Networks of one container have at most so many names: `mesh`, `mesh-1`, …
const NAMES: usize = 32;

impl Docker {
    /// Names that networks of ours have, made or not: by them Docker finds containers also when the network is gone.
    pub(super) async fn names_of_networks(&self) -> Result<Vec<String>, EngineError> {
        let numbered = (1..NAMES).map(|k| format!("{DRIVER}-{k}"));
        let mut names: BTreeSet<String> = numbered.collect();
        names.insert(DRIVER.to_owned());
        names.extend(self.our_networks().await?);
        Ok(names.into_iter().collect())
    }

    pub(super) async fn ids_of_networks(
        &self,
        driver: Option<&str>,
    ) -> Result<BTreeSet<String>, EngineError> {
        let client = self.client().await?;
        let found = client.list_networks(None::<ListNetworksOptions>).await;
        let found = found.map_err(|e| self.error(e, None))?.into_iter();
        let ours = found.filter(|n| driver.is_none() || n.driver.as_deref() == driver);
        Ok(ours.filter_map(|n| n.id).collect())
    }

    pub(super) async fn stranded_containers(&self) -> Result<Vec<String>, EngineError> {
        let names = self.names_of_networks().await?;
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("network".to_owned(), names.clone())])),
            ..ListContainersOptions::default()
        };
        let client = self.client().await?;
        let found = client.list_containers(Some(options)).await;
        let found = found.map_err(|e| self.error(e, None))?;
        // After the containers: what is made in between exists for both.
        let existing = self.ids_of_networks(None).await?;
        let is_lost = |(name, end): (&String, &EndpointSettings)| {
            let id = end.network_id.as_deref().unwrap_or_default();
            names.contains(name) && !id.is_empty() && !existing.contains(id)
        };
        let stranded = found.into_iter().filter(|c| {
            let networks = c
                .network_settings
                .as_ref()
                .and_then(|s| s.networks.as_ref());
            !has_process(c) && networks.is_some_and(|all| all.iter().any(is_lost))
        });
        Ok(stranded.filter_map(|c| c.id).collect())
    }

    pub(super) async fn connect_as(
        &self,
        container: &str,
        connection: &Connection,
    ) -> Result<(), EngineError> {
        let client = self.client().await?;
        let request = || NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(EndpointSettings {
                driver_opts: Some(connection.options.clone().into_iter().collect()),
                aliases: Some(own_aliases(container, &connection.aliases)),
                ..EndpointSettings::default()
            }),
        };
        let network = connection.network.as_str();
        match client.connect_network(network, request()).await {
            Ok(()) => Ok(()),
            // An engine that does not replace what leads nowhere.
            Err(Error::DockerResponseServerError { .. }) => {
                self.disconnect_from(network, container).await?;
                let again = client.connect_network(network, request()).await;
                again.map_err(|e| self.error(e, Some(container)))
            }
            Err(e) => Err(self.error(e, Some(container))),
        }
    }
}

/// Without the short id, which Docker adds by itself.
fn own_aliases(container: &str, aliases: &[String]) -> Vec<String> {
    let is_own = |alias: &&String| !container.starts_with(alias.as_str());
    aliases.iter().filter(is_own).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_id_is_dockers() {
        let aliases = ["shop".to_owned(), "3491a7345a44".to_owned()];
        assert_eq!(own_aliases("3491a7345a44b4ce", &aliases), ["shop"]);
    }
}
