//! Networks of this host's containers, by which their names are stated and their queries answered.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mesh_names::AskerNetworks;
use mesh_proto::api::{AttachedContainer, AttachedInterface};
use mesh_proto::network::NetworkId;

/// Networks other than `default` of the interfaces on this host, by full id of the container and address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceNetworks(BTreeMap<(String, IpAddr), NetworkId>);

impl InterfaceNetworks {
    /// Returns the network of an address of a container.
    pub fn network(&self, container: &str, address: IpAddr) -> NetworkId {
        if self.0.is_empty() {
            return NetworkId::DEFAULT;
        }
        let found = self.0.get(&(container.to_owned(), address));
        found.copied().unwrap_or_default()
    }

    /// Returns the addresses of a container in each of its networks, in the order of its interfaces.
    pub fn addresses(&self, row: &AttachedContainer) -> Vec<(NetworkId, Vec<IpAddr>)> {
        let mut found: Vec<(NetworkId, Vec<IpAddr>)> = Vec::new();
        for address in row.interfaces.iter().filter_map(address) {
            let network = self.network(&row.container, address);
            match found.iter_mut().find(|(known, _)| *known == network) {
                Some((_, addresses)) => addresses.push(address),
                None => found.push((network, vec![address])),
            }
        }
        found
    }

    /// Returns the networks whose names a container is answered, in the order of its interfaces.
    pub fn asker(&self, row: &AttachedContainer) -> AskerNetworks {
        let networks = self.addresses(row).into_iter();
        AskerNetworks::of(networks.map(|(network, _)| network))
    }
}

impl FromIterator<(String, IpAddr, NetworkId)> for InterfaceNetworks {
    fn from_iter<I: IntoIterator<Item = (String, IpAddr, NetworkId)>>(interfaces: I) -> Self {
        let interfaces = interfaces.into_iter();
        let others = interfaces.filter(|(_, _, network)| !network.is_default());
        Self(
            others
                .map(|(container, ip, network)| ((container, ip), network))
                .collect(),
        )
    }
}

/// Returns the address of an interface.
fn address(interface: &AttachedInterface) -> Option<IpAddr> {
    let text = interface.address.split('/').next().unwrap_or_default();
    text.parse().ok()
}
