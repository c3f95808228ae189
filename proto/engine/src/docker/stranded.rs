//! Containers whose mesh network was removed, and requests that restore their connections.

use std::collections::BTreeSet;

use bollard_stubs::models::{ContainerSummary, EndpointSettings, Network, NetworkConnectRequest};

use super::container::has_process;
use super::networks::has_our_driver;
use crate::container::{EngineContainer, NetworkConnection};
use crate::network::{OwnNetwork, may_be_ours};
use mesh_host::docker::driver_options;

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

/// Returns the containers on networks of ours, existing or removed.
pub fn containers_of_ours(
    containers: Vec<ContainerSummary>,
    networks: &[Network],
) -> BTreeSet<String> {
    let is_ours = |c: &ContainerSummary| leads(c, networks).any(|to| to != Leads::Elsewhere);
    let ours = containers.into_iter().filter(is_ours);
    ours.filter_map(|c| c.id).collect()
}

/// Returns the stopped containers with a connection to a removed network of ours.
pub fn stranded_containers(containers: Vec<ContainerSummary>, networks: &[Network]) -> Vec<String> {
    let is_stranded =
        |c: &ContainerSummary| !has_process(c) && leads(c, networks).any(|to| to == Leads::Nowhere);
    let stranded = containers.into_iter().filter(is_stranded);
    stranded.filter_map(|c| c.id).collect()
}

/// Returns the request that connects a stopped container to a network with the options it had.
pub fn connection_request(
    container: &str,
    connection: &NetworkConnection,
) -> NetworkConnectRequest {
    NetworkConnectRequest {
        container: container.to_owned(),
        endpoint_config: Some(EndpointSettings {
            driver_opts: Some(connection.options.clone().into_iter().collect()),
            aliases: Some(own_aliases(container, &connection.aliases)),
            ..EndpointSettings::default()
        }),
    }
}

/// Returns the connections of a stopped container to networks that are gone; `ours` are the ids of all networks that were
/// ever seen to be ours.
pub fn lost_connections<'a>(
    container: &'a EngineContainer,
    existing: &[OwnNetwork],
    ours: &BTreeSet<String>,
) -> Vec<&'a NetworkConnection> {
    let is_lost = |c: &&NetworkConnection| {
        let was_ours =
            ours.contains(&c.network_id) || driver_options::promise(&c.options).is_some();
        let leads_to = |network: &OwnNetwork| match c.network_id.is_empty() {
            // It never ran.
            true => network.name == c.network,
            false => network.id == c.network_id,
        };
        was_ours && !existing.iter().any(leads_to)
    };
    container.networks.iter().filter(is_lost).collect()
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

    #[test]
    fn a_network_is_lost_if_it_was_ours_and_is_gone() {
        let to = |network: &str, id: &str| NetworkConnection {
            network: network.into(),
            network_id: id.into(),
            ..NetworkConnection::default()
        };
        let promised = NetworkConnection {
            options: [("mesh.address".to_owned(), "10.2.1.1/24".to_owned())].into(),
            ..to("mesh-7", "")
        };
        let container = EngineContainer {
            networks: vec![
                to("mesh", "1"),
                to("mesh-1", "2"),
                to("bridge", "3"),
                promised,
            ],
            ..EngineContainer::default()
        };
        let existing = [OwnNetwork {
            id: "1".into(),
            name: "mesh".into(),
            made_by_us: true,
        }];
        let ours = ["1", "2"].map(str::to_owned).into();
        let lost = lost_connections(&container, &existing, &ours);
        let names: Vec<&str> = lost.iter().map(|c| c.network.as_str()).collect();
        assert_eq!(names, ["mesh-1", "mesh-7"]);
    }
}
