//! Docker networks of mesh. They are recognised by driver, label and id, since anyone may use their names.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard_stubs::models::{Ipam, IpamConfig, Network, NetworkCreateRequest};
use ipnet::IpNet;
use mesh_host::docker::user_networks::{MirrorNetwork, NewUserNetwork};
use mesh_proto::network::NetworkId;

use super::refused;
use crate::error::EngineError;
use crate::network::{
    BASES, DRIVER, ListedNetwork, NascentNetwork, OwnNetwork, SWARM_DRIVER, free_base, may_be_ours,
};
use crate::plugin::{MTU_OPTION, NETWORK_OPTION};

/// Label of networks that the router created.
const LABEL: &str = "mesh.network";
/// Label with the id of the network of the mesh that a network stands for.
const MIRROR_LABEL: &str = "io.mesh.network";

/// Returns the networks with our driver, sorted by name.
pub fn own_networks(all: Vec<Network>) -> Vec<OwnNetwork> {
    let mut ours: Vec<OwnNetwork> = all
        .into_iter()
        .filter(has_our_driver)
        .filter_map(own)
        .collect();
    ours.sort_by(|a, b| a.name.cmp(&b.name));
    ours
}

/// Returns what Docker says of the networks with our driver, those of Swarm included.
pub fn listed_networks(all: Vec<Network>) -> Vec<ListedNetwork> {
    let is_ours = |n: &Network| has_our_driver(n) || n.driver.as_deref() == Some(SWARM_DRIVER);
    let ours = all.into_iter().filter(is_ours);
    ours.filter_map(listed).collect()
}

/// Returns the network with an id, which has no driver yet while Swarm's leader makes it.
pub fn nascent_network(all: Vec<Network>, id: &str) -> Option<NascentNetwork> {
    let network = all.into_iter().find(|n| n.id.as_deref() == Some(id))?;
    Some(NascentNetwork {
        internal: network.internal == Some(true),
        name: network.name?,
    })
}

fn listed(network: Network) -> Option<ListedNetwork> {
    let options = network.options.unwrap_or_default();
    let ipam = network.ipam.unwrap_or_default();
    let of_pool = ipam.options.unwrap_or_default();
    let pools = ipam
        .config
        .unwrap_or_default()
        .into_iter()
        .filter_map(|config| {
            let subnet: IpNet = config.subnet?.parse().ok()?;
            let gateway = config.gateway.and_then(|gateway| gateway.parse().ok());
            Some((subnet.trunc(), gateway))
        });
    let labels = network.labels.unwrap_or_default();
    let mirrors = labels.get(MIRROR_LABEL);
    let mesh_network = options.get(NETWORK_OPTION).or(of_pool.get(NETWORK_OPTION));
    Some(ListedNetwork {
        id: network.id?,
        name: network.name?,
        mirrors: mirrors.and_then(|id| NetworkId::from_hex(id)),
        new: NewUserNetwork {
            pools: first_of_each_family(pools),
            internal: network.internal == Some(true),
            mtu: options.get(MTU_OPTION).and_then(|mtu| mtu.parse().ok()),
            mesh_network: mesh_network.cloned(),
        },
    })
}

fn first_of_each_family(
    pools: impl Iterator<Item = (IpNet, Option<IpAddr>)>,
) -> Vec<(IpNet, Option<IpAddr>)> {
    let mut first: Vec<(IpNet, Option<IpAddr>)> = Vec::new();
    for pool in pools {
        let is_v6 = pool.0.addr().is_ipv6();
        if first.iter().all(|(net, _)| net.addr().is_ipv6() != is_v6) {
            first.push(pool);
        }
    }
    first
}

/// Returns the prefix for names of our networks beside those that exist.
///
/// # Errors
/// Networks of other drivers use all of them.
pub fn base_beside(all: &[Network]) -> Result<&'static str, EngineError> {
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

/// Returns true if a network of that name exists and is ours.
///
/// # Errors
/// It has another driver.
pub fn exists(name: &str, all: &[Network]) -> Result<bool, EngineError> {
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

/// Returns the ids of our networks of a name if there are several, the last to be kept first: an engine that creates two
/// networks of one name can connect a container to neither by name.
pub fn namesakes(name: &str, all: &[Network]) -> Vec<String> {
    let ours = all.iter().filter(|n| has_our_driver(n));
    let called = ours.filter(|n| n.name.as_deref() == Some(name));
    let mut ids: Vec<String> = called.filter_map(|n| n.id.clone()).collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    match ids.len() {
        0 | 1 => Vec::new(),
        _ => ids,
    }
}

/// Returns the request that creates a network of ours, without address management.
pub fn creation(name: &str) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some(DRIVER.to_owned()),
        ipam: Some(Ipam {
            driver: Some("null".to_owned()),
            ..Ipam::default()
        }),
        labels: Some(HashMap::from([(LABEL.to_owned(), "1".to_owned())])),
        ..NetworkCreateRequest::default()
    }
}

/// Returns the request that creates the Docker network of a network of the mesh.
pub fn mirror_creation(mirror: &MirrorNetwork) -> NetworkCreateRequest {
    let id = mirror.network.to_string();
    let subnets = mirror.subnets.iter();
    let config = subnets.map(|(subnet, gateway)| IpamConfig {
        subnet: Some(subnet.to_string()),
        gateway: gateway.map(|gateway| gateway.to_string()),
        ..IpamConfig::default()
    });
    let is_v6 = |(subnet, _): &(IpNet, Option<IpAddr>)| subnet.addr().is_ipv6();
    NetworkCreateRequest {
        name: mirror.name.clone(),
        driver: Some(DRIVER.to_owned()),
        internal: Some(mirror.internal),
        enable_ipv6: Some(mirror.subnets.iter().any(is_v6)),
        ipam: Some(Ipam {
            driver: Some(DRIVER.to_owned()),
            config: Some(config.collect()),
            options: Some(HashMap::from([(NETWORK_OPTION.to_owned(), id.clone())])),
        }),
        labels: Some(HashMap::from([
            (LABEL.to_owned(), "1".to_owned()),
            (MIRROR_LABEL.to_owned(), id),
        ])),
        ..NetworkCreateRequest::default()
    }
}

/// Returns true if the network has our driver, and is one of this host alone.
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn all_but_one_of_a_name_are_too_many() {
        let network = |id: &str, name: &str, driver: &str| Network {
            id: Some(id.to_owned()),
            name: Some(name.to_owned()),
            driver: Some(driver.to_owned()),
            ..Network::default()
        };
        let one = [network("a", "mesh", "mesh"), network("b", "mesh-1", "mesh")];
        assert!(namesakes("mesh", &one).is_empty());
        let all = [
            network("a", "mesh", "mesh"),
            network("c", "mesh", "mesh"),
            network("b", "mesh", "bridge"),
        ];
        assert_eq!(namesakes("mesh", &all), ["c", "a"]);
    }

    #[test]
    fn a_name_of_another_driver_is_refused() {
        let all: Vec<Network> = serde_json::from_str(
            r#"[{"Id":"1","Name":"mesh","Driver":"bridge"},{"Id":"2","Name":"shop","Driver":"mesh"}]"#,
        )
        .unwrap();
        assert!(
            exists("mesh", &all)
                .unwrap_err()
                .to_string()
                .contains("of the driver bridge")
        );
        assert_eq!(
            (exists("shop", &all), exists("x", &all)),
            (Ok(true), Ok(false))
        );
        assert_eq!(base_beside(&all), Ok("mesh-net"));
        let ours = own_networks(all);
        assert_eq!(
            ours.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(),
            ["shop"]
        );
    }
}
