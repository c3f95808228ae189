//! Containers whose mesh network was removed, and the restoration of these networks.

use std::collections::BTreeSet;
use std::sync::Arc;

use bollard::errors::Error;
use bollard::models::{ContainerSummary, EndpointSettings, Network, NetworkConnectRequest};
use bollard::query_parameters::ListContainersOptions;

use super::answers::has_process;
use super::client::DockerClient;
use super::networks::{DriverNetworks, has_our_driver, may_be_ours, renamed};
use crate::engine::patience::Patience;
use crate::engine::{Connection, EngineError};

/// Target of a container's network connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leads {
    /// A network of ours.
    ToOurs,
    /// A network that does not exist any more, and may have been ours.
    Nowhere,
    /// A network of another driver.
    Elsewhere,
}

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
        let is_ours = |c: &ContainerSummary| leads(c, &networks).any(|to| to != Leads::Elsewhere);
        let ours = containers.into_iter().filter(is_ours);
        Ok(ours.filter_map(|c| c.id).collect())
    }

    /// Returns the stopped containers with a connection to a removed network of ours.
    pub(super) async fn list(&self) -> Result<Vec<String>, EngineError> {
        let (containers, networks) = self.containers_and_networks().await?;
        let is_stranded = |c: &ContainerSummary| {
            !has_process(c) && leads(c, &networks).any(|to| to == Leads::Nowhere)
        };
        let stranded = containers.into_iter().filter(is_stranded);
        Ok(stranded.filter_map(|c| c.id).collect())
    }

    async fn containers_and_networks(
        &self,
    ) -> Result<(Vec<ContainerSummary>, Vec<Network>), EngineError> {
        let options = ListContainersOptions {
            all: true,
            ..ListContainersOptions::default()
        };
        let client = self.client.get().await?;
        let found = client.list_containers(Some(options)).await;
        let containers = found.map_err(|e| self.client.error(e, None))?;
        // Listed after the containers, so that a new container's network is in the list.
        Ok((containers, self.networks.all_networks().await?))
    }

    /// Creates the network of a connection again if needed, and connects a stopped container to it.
    pub(super) async fn connect_again(
        &self,
        container: &str,
        connection: &Connection,
    ) -> Result<(), EngineError> {
        let old = connection.network.as_str();
        let network = renamed(old, self.patience.within(self.networks.base()).await?);
        self.patience.within(self.networks.ensure(&network)).await?;
        if network != old {
            self.networks.disconnect(old, container).await?;
        }
        let request = || NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(EndpointSettings {
                driver_opts: Some(connection.options.clone().into_iter().collect()),
                aliases: Some(own_aliases(container, &connection.aliases)),
                ..EndpointSettings::default()
            }),
        };
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

fn leads(container: &ContainerSummary, existing: &[Network]) -> impl Iterator<Item = Leads> {
    let settings = container.network_settings.as_ref();
    let ends = settings.and_then(|s| s.networks.as_ref());
    let ends = ends.into_iter().flatten();
    ends.map(move |(name, end)| leads_to(name, end.network_id.as_deref(), existing))
}

/// Resolves a connection by network id; a container that never ran may have only the name.
fn leads_to(name: &str, id: Option<&str>, existing: &[Network]) -> Leads {
    let called = existing.iter().find(|n| n.name.as_deref() == Some(name));
    let id = id.filter(|id| !id.is_empty());
    let network = match id {
        Some(id) => existing.iter().find(|n| n.id.as_deref() == Some(id)),
        None => called,
    };
    match network {
        Some(network) if has_our_driver(network) => Leads::ToOurs,
        Some(_) => Leads::Elsewhere,
        None if may_be_ours(name) || called.is_some_and(has_our_driver) => Leads::Nowhere,
        None => Leads::Elsewhere,
    }
}

/// Returns the aliases without the short id, which Docker adds by itself.
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

    #[test]
    fn connections_lead_where_their_ids_say() {
        let existing: Vec<Network> = serde_json::from_str(
            r#"[{"Id":"1","Name":"mesh-net","Driver":"mesh"},{"Id":"2","Name":"mesh","Driver":"bridge"},
                {"Id":"3","Name":"shop","Driver":"mesh"}]"#,
        )
        .unwrap();
        for (name, id, want) in [
            ("mesh-net", Some("1"), Leads::ToOurs),
            ("mesh", Some("2"), Leads::Elsewhere),
            // The name of the removed network is taken by another driver.
            ("mesh", Some("0"), Leads::Nowhere),
            ("shop", Some("0"), Leads::Nowhere),
            ("mesh-net-1", Some("0"), Leads::Nowhere),
            ("other", Some("0"), Leads::Elsewhere),
            ("mesh", Some(""), Leads::Elsewhere),
            ("mesh-net", None, Leads::ToOurs),
            ("mesh-1", None, Leads::Nowhere),
        ] {
            assert_eq!(leads_to(name, id, &existing), want, "{name} {id:?}");
        }
    }
}
