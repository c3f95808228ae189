//! Docker networks of mesh. They are recognised by driver, label and id, since anyone may use their names.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::errors::Error;
use bollard::models::{Ipam, Network, NetworkCreateRequest, NetworkDisconnectRequest};

use super::client::{DockerClient, refused};
use crate::engine::{DRIVER, EngineError, NetworkEndpoint, OwnNetwork};

/// Label of networks that the router created.
const LABEL: &str = "mesh.network";
/// Prefixes for names of our networks, in order of preference: the first one that no other driver's network uses.
const BASES: [&str; 4] = [DRIVER, "mesh-net", "mesh-own", "mesh-docker"];

/// Networks of one dockerd, and its endpoints on them.
#[derive(Clone)]
pub(super) struct DriverNetworks {
    client: Arc<DockerClient>,
}

impl DriverNetworks {
    pub(super) fn new(client: Arc<DockerClient>) -> Self {
        Self { client }
    }

    /// Returns the networks with our driver, sorted by name.
    pub(super) async fn ours(&self) -> Result<Vec<OwnNetwork>, EngineError> {
        let all = self.all_networks().await?.into_iter();
        let mut ours: Vec<OwnNetwork> = all.filter(has_our_driver).filter_map(own).collect();
        ours.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(ours)
    }

    /// Returns the prefix for names of our networks.
    pub(super) async fn base(&self) -> Result<&'static str, EngineError> {
        let all = self.all_networks().await?;
        let others = all.iter().filter(|n| !has_our_driver(n));
        let names: Vec<&str> = others.filter_map(|n| n.name.as_deref()).collect();
        free_base(&names).ok_or_else(|| {
            refused(format!(
                "networks of other drivers have all names that mesh would give to its own ({}); rename one: docker \
                 network rm, and create",
                BASES.join(", ")
            ))
        })
    }

    /// Creates a network of that name, unless it exists.
    pub(super) async fn ensure(&self, name: &str) -> Result<(), EngineError> {
        if self.is_there(name).await? {
            return Ok(());
        }
        let client = self.client.get().await?;
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some(DRIVER.to_owned()),
            ipam: Some(Ipam {
                driver: Some("null".to_owned()),
                ..Ipam::default()
            }),
            labels: Some(HashMap::from([(LABEL.to_owned(), "1".to_owned())])),
            ..NetworkCreateRequest::default()
        };
        match client.create_network(request).await {
            // Older engines silently create a second network of the same name.
            Ok(made) => match self.is_there(name).await {
                Err(taken) => {
                    let removed = client.remove_network(&made.id).await;
                    removed.map_err(|e| self.client.error(e, None))?;
                    Err(taken)
                }
                Ok(_) => Ok(()),
            },
            // It may have been created concurrently.
            Err(e) => match self.is_there(name).await? {
                true => Ok(()),
                false => Err(self.client.error(e, None)),
            },
        }
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
        let ends = found.containers.unwrap_or_default().into_iter();
        Ok(ends
            .filter_map(|(container, end)| {
                Some(NetworkEndpoint {
                    endpoint: end.endpoint_id?,
                    container,
                    name: end.name.unwrap_or_default(),
                })
            })
            .collect())
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
            }) if status_code == 404 || message.contains("is not connected") => Ok(()),
            Err(e) => Err(self.client.error(e, Some(container))),
        }
    }

    /// True if a network of that name exists and is ours; an error if it has another driver.
    async fn is_there(&self, name: &str) -> Result<bool, EngineError> {
        let all = self.all_networks().await?;
        let mut called = all.iter().filter(|n| n.name.as_deref() == Some(name));
        let other = called.clone().find(|n| !has_our_driver(n));
        match other {
            Some(other) => {
                let driver = other.driver.as_deref().unwrap_or("another driver");
                Err(refused(format!(
                    "there is a network {name} of the driver {driver}, which is not mesh's; rename it: docker network rm, \
                     and create"
                )))
            }
            None => Ok(called.next().is_some()),
        }
    }

    /// Returns all networks of this engine, of any driver.
    pub(super) async fn all_networks(&self) -> Result<Vec<Network>, EngineError> {
        let client = self.client.get().await?;
        let all = client.list_networks(None).await;
        all.map_err(|e| self.client.error(e, None))
    }
}

pub(super) fn has_our_driver(network: &Network) -> bool {
    network.driver.as_deref() == Some(DRIVER)
}

fn own(network: Network) -> Option<OwnNetwork> {
    let name = network.name?;
    let has_label = network.labels.unwrap_or_default().contains_key(LABEL);
    Some(OwnNetwork {
        id: network.id?,
        // Networks of earlier versions have no label.
        made_by_us: has_label || may_be_ours(&name),
        name,
    })
}

/// True for `base` itself and for `base-<number>`: `mesh`, `mesh-1`, ….
fn is_of(base: &str, name: &str) -> bool {
    let is_number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    name.strip_prefix(base)
        .is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(is_number))
}

/// True if the router could have chosen this network name.
pub(super) fn may_be_ours(name: &str) -> bool {
    BASES.iter().any(|base| is_of(base, name))
}

/// Returns the name for a network that is created again, with the current prefix.
pub(super) fn renamed(name: &str, base: &str) -> String {
    let old = BASES.iter().find(|old| is_of(old, name));
    let number = old.and_then(|old| name.strip_prefix(old));
    number.map_or_else(|| name.to_owned(), |number| format!("{base}{number}"))
}

fn free_base(others: &[&str]) -> Option<&'static str> {
    let is_free = |base: &&str| !others.iter().any(|name| is_of(base, name));
    BASES.iter().copied().find(is_free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_chosen_beside_other_peoples() {
        for (others, base) in [
            (
                &["bridge", "meshed", "mesh-", "mesh-x", "my-mesh"][..],
                Some("mesh"),
            ),
            (&["mesh"], Some("mesh-net")),
            (&["mesh-1"], Some("mesh-net")),
            (&["mesh-12", "mesh-net"], Some("mesh-own")),
            (&["mesh", "mesh-net-3", "mesh-own", "mesh-docker"], None),
        ] {
            assert_eq!(free_base(others), base, "{others:?}");
        }
    }

    #[test]
    fn a_network_that_is_made_again_keeps_its_number() {
        for (name, base, want) in [
            ("mesh", "mesh", "mesh"),
            ("mesh-1", "mesh", "mesh-1"),
            ("mesh", "mesh-net", "mesh-net"),
            ("mesh-12", "mesh-net", "mesh-net-12"),
            ("mesh-net-3", "mesh", "mesh-3"),
            ("shop", "mesh-net", "shop"),
        ] {
            assert_eq!(renamed(name, base), want, "{name} on {base}");
        }
    }

    #[test]
    fn ours_are_told_by_driver_and_label() {
        let read = |json: &str| -> Network { serde_json::from_str(json).unwrap() };
        let labelled =
            read(r#"{"Id":"1","Name":"any","Driver":"mesh","Labels":{"mesh.network":"1"}}"#);
        let old = read(r#"{"Id":"2","Name":"mesh-1","Driver":"mesh"}"#);
        let by_hand = read(r#"{"Id":"3","Name":"shop","Driver":"mesh","Labels":{}}"#);
        let other = read(r#"{"Id":"4","Name":"mesh","Driver":"bridge"}"#);
        assert!(!has_our_driver(&other));
        let made = [labelled, old, by_hand].map(|n| own(n).map(|n| n.made_by_us));
        assert_eq!(made, [Some(true), Some(true), Some(false)]);
    }
}
