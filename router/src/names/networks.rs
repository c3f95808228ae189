//! Networks in the service of names: whose bridge or word leads to which.

use std::net::IpAddr;
use std::sync::Arc;

use mesh_host::member::ResolverSite;
use mesh_names::AskerNetworks;
use mesh_networks::{DEFAULT_NETWORK, NetworkDirectory};
use mesh_proto::network::NetworkId;
use mesh_sys::ifname::{is_network_bridge, network_bridge};
use tokio::sync::watch;

use super::NamesError;

/// Networks of the mesh as users and interfaces of this host call them.
#[derive(Clone, Debug)]
pub struct CalledNetworks {
    /// Name of the mesh's main bridge.
    bridge: String,
    directory: watch::Receiver<Arc<NetworkDirectory>>,
}

/// The part of an interface in the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BridgeRole {
    /// It is no bridge of the mesh.
    Foreign,
    /// The bridge of a network, which is none for a network that is not known (any more).
    OfNetwork(Option<NetworkId>),
}

impl CalledNetworks {
    /// Returns the names on a host with this main bridge.
    pub fn new(bridge: &str, directory: watch::Receiver<Arc<NetworkDirectory>>) -> Self {
        Self {
            bridge: bridge.to_owned(),
            directory,
        }
    }

    /// Returns the name of the mesh's main bridge.
    pub(super) fn main_bridge(&self) -> &str {
        &self.bridge
    }

    /// Returns the network that a user calls `name`, by name or id; empty: `default`.
    ///
    /// # Errors
    /// [`NamesError::Network`].
    pub(super) fn resolve(&self, name: &str) -> Result<NetworkId, NamesError> {
        if name.is_empty() || name == DEFAULT_NETWORK {
            return Ok(NetworkId::DEFAULT);
        }
        let found = self.directory.borrow().resolve(name);
        found.map_err(|error| NamesError::Network(error.to_string()))
    }

    /// Returns the name of a network for users; empty for `default`.
    pub fn shown(&self, network: &NetworkId) -> String {
        match network.is_default() {
            true => String::new(),
            false => self.directory.borrow().name(network),
        }
    }

    /// Returns true if Docker's Swarm gives this address in one of these networks.
    pub(super) fn is_swarms(&self, asker: &AskerNetworks, ip: IpAddr) -> bool {
        let directory = self.directory.borrow();
        let mut networks = asker.as_slice().iter();
        networks.any(|id| directory.get(id).is_some_and(|found| found.is_swarms(ip)))
    }

    /// Returns the part of an interface in the mesh. On a bridge of the mesh only the host is answered, and an address
    /// there puts the host into its network.
    pub(super) fn role_of(&self, interface: &str) -> BridgeRole {
        if interface == self.bridge {
            return BridgeRole::OfNetwork(Some(NetworkId::DEFAULT));
        }
        if !is_network_bridge(interface) {
            return BridgeRole::Foreign;
        }
        let directory = self.directory.borrow();
        let mut known = directory.ids();
        let found = known.find(|id| network_bridge(&self.bridge, id) == interface);
        BridgeRole::OfNetwork(found.copied())
    }
}

/// Returns the networks of the containers in a namespace, in the order in which they are searched.
pub(super) fn of_sites<'a>(sites: impl Iterator<Item = &'a ResolverSite>) -> AskerNetworks {
    AskerNetworks::of(sites.flat_map(|site| site.networks.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_called_by_its_name_and_a_bridge_by_none() {
        let (_sender, directory) = watch::channel(Arc::default());
        let names = CalledNetworks::new("mesh", directory);
        assert_eq!(names.resolve("").unwrap(), NetworkId::DEFAULT);
        assert_eq!(names.resolve("default").unwrap(), NetworkId::DEFAULT);
        assert_eq!(names.shown(&NetworkId::DEFAULT), "");
        let error = names.resolve("nowhere").unwrap_err().to_string();
        assert!(error.contains("nowhere"), "{error}");
        let default = BridgeRole::OfNetwork(Some(NetworkId::DEFAULT));
        assert_eq!(names.role_of("mesh"), default);
        assert_eq!(names.role_of("docker0"), BridgeRole::Foreign);
        // Containers behind the bridge of a network are never taken for those of `default`.
        let bridge = network_bridge("mesh", &NetworkId([7; 16]));
        assert_eq!(names.role_of(&bridge), BridgeRole::OfNetwork(None));
    }
}
