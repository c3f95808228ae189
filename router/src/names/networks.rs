//! Networks in the service of names: whose interface, bridge or word leads to which. All that the parts of networks tell
//! this service comes through here; until then everything is in `default`.

use mesh_dns::containers::networks::InterfaceNetworks;
use mesh_host::exposure::ExposedName;
use mesh_host::member::ResolverSite;
use mesh_names::AskerNetworks;
use mesh_proto::network::NetworkId;

use super::NamesError;
use crate::attach::Attachments;

/// Name of the network that is always there.
const DEFAULT: &str = "default";

/// Returns the network that a user calls `name`, by name or id; empty: `default`.
///
/// # Errors
/// [`NamesError::Network`].
pub(super) fn resolve(name: &str) -> Result<NetworkId, NamesError> {
    if name.is_empty() || name == DEFAULT {
        return Ok(NetworkId::DEFAULT);
    }
    NetworkId::from_hex(name).ok_or_else(|| NamesError::Network(name.to_owned()))
}

/// Returns the name of a network for users; empty for `default`.
pub fn shown(network: &NetworkId) -> String {
    match network.is_default() {
        true => String::new(),
        false => network.to_string(),
    }
}

/// Returns the networks of all interfaces on this host.
pub(super) fn of_interfaces(_attachments: &Attachments) -> InterfaceNetworks {
    InterfaceNetworks::default()
}

/// Returns the names of the host with their networks.
pub(super) fn of_exposed(names: &[ExposedName]) -> Vec<(NetworkId, ExposedName)> {
    let names = names.iter().cloned();
    names.map(|name| (NetworkId::DEFAULT, name)).collect()
}

/// Returns the networks of the containers in a namespace, in the order in which they are searched.
pub(super) fn of_sites<'a>(sites: impl Iterator<Item = &'a ResolverSite>) -> AskerNetworks {
    AskerNetworks::of(sites.flat_map(|site| site.networks.iter().copied()))
}

/// Returns the network whose bridge this interface is; `main` is the bridge of `default`. On such a bridge only the host is
/// answered, and an address there puts the host into the network.
pub(super) fn of_bridge(main: &str, interface: &str) -> Option<NetworkId> {
    (interface == main).then_some(NetworkId::DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_called_by_its_name_or_id() {
        assert_eq!(resolve("").unwrap(), NetworkId::DEFAULT);
        assert_eq!(resolve("default").unwrap(), NetworkId::DEFAULT);
        let web = NetworkId([0xab; 16]);
        assert_eq!(resolve(&shown(&web)).unwrap(), web);
        assert_eq!(shown(&NetworkId::DEFAULT), "");
        let error = resolve("nowhere").unwrap_err().to_string();
        assert!(error.starts_with("there is no network nowhere"), "{error}");
    }
}
