//! Addresses of the host itself on the mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mesh_names::MeshName;
use mesh_proto::api::ExposedAddress;
use mesh_proto::network::NetworkId;
use serde::{Deserialize, Serialize};

use crate::network::scoped::ScopedAddress;
use crate::network::view::NetworkView;

/// A name of the host in a network, and the addresses that it leads to.
pub type ExposedName = (NetworkId, MeshName, Vec<IpAddr>);

/// The way in which the host is exposed with one address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostExposure {
    /// True if addresses are translated on the way out of its subnet and into it.
    pub masquerade: bool,
    /// True if the host forwards between its subnet and everything else, not only what is outside.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
    /// Its names in the mesh.
    pub names: BTreeSet<MeshName>,
}

/// All addresses of the host, in all networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExposureTable(BTreeMap<ScopedAddress, HostExposure>);

impl ExposureTable {
    /// Returns the addresses, in order.
    pub fn addresses(&self) -> impl Iterator<Item = ScopedAddress> + Clone + '_ {
        self.0.keys().copied()
    }

    /// Returns the addresses with how they are exposed.
    pub fn iter(&self) -> impl Iterator<Item = (ScopedAddress, &HostExposure)> + Clone {
        self.0
            .iter()
            .map(|(address, exposure)| (*address, exposure))
    }

    /// Returns the number of addresses.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the host is not exposed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the host has this address in this subnet of this network.
    pub fn contains(&self, address: &ScopedAddress) -> bool {
        self.0.contains_key(address)
    }

    /// Returns the names of the host in each network, with the addresses that they lead to.
    pub fn names(&self) -> Vec<ExposedName> {
        let mut names: BTreeMap<(NetworkId, &MeshName), Vec<IpAddr>> = BTreeMap::new();
        for (address, exposure) in self.iter() {
            for name in &exposure.names {
                let addresses = names.entry((address.network, name)).or_default();
                addresses.push(address.ip());
            }
        }
        let names = names.into_iter();
        names
            .map(|((network, name), to)| (network, name.clone(), to))
            .collect()
    }

    /// Returns those of `addresses` that the host has, as users are shown them.
    pub fn shown(
        &self,
        addresses: &[ScopedAddress],
        networks: NetworkView<'_>,
    ) -> Vec<ExposedAddress> {
        let shown = addresses.iter().filter_map(|scoped| {
            let exposure = self.0.get(scoped)?;
            let mac = (networks.host_mac)(scoped.network);
            let names = exposure.names.iter();
            Some(ExposedAddress {
                address: scoped.address.to_string(),
                network: networks.shown(&scoped.network),
                mac: mac.map(|mac| mac.to_string()).unwrap_or_default(),
                masquerade: exposure.masquerade,
                forward: exposure.forward,
                names: names.map(ToString::to_string).collect(),
            })
        });
        shown.collect()
    }

    /// Removes addresses.
    pub fn remove(&mut self, addresses: &[ScopedAddress]) {
        self.0.retain(|address, _| !addresses.contains(address));
    }

    pub(crate) fn entry(&mut self, address: ScopedAddress) -> &mut HostExposure {
        self.0.entry(address).or_default()
    }
}

#[cfg(test)]
mod tests {
    use mesh_proto::ids::Mac;

    use super::*;

    #[test]
    fn a_name_leads_to_all_addresses_it_was_given_with() {
        let mut table = ExposureTable::default();
        let gateway = MeshName::relative("gw").unwrap();
        let addresses: [ScopedAddress; 2] =
            ["10.2.1.254/24", "10.3.1.254/24"].map(|a| a.parse().unwrap());
        let web = ScopedAddress::new(NetworkId([7; 16]), addresses[0].address);
        table.entry(web).names.insert(gateway.clone());
        for address in addresses {
            table.entry(address).names.insert(gateway.clone());
        }
        let to = addresses.map(|a| a.ip()).to_vec();
        let in_web = (web.network, gateway.clone(), vec![to[0]]);
        let named = |to: &[IpAddr]| (NetworkId::DEFAULT, gateway.clone(), to.to_vec());
        assert_eq!(table.names(), [named(&to), in_web.clone()]);
        let view = NetworkView {
            name: &|_| "web".to_owned(),
            bridge: &|_| "mesh".to_owned(),
            host_mac: &|_| Some(Mac([2, 0, 0, 0, 0, 1])),
        };
        let shown = table.shown(&[web], view);
        assert_eq!((shown.len(), shown[0].network.as_str()), (1, "web"));
        let shown = table.shown(&addresses[1..], view);
        assert_eq!(shown.len(), 1);
        assert_eq!(
            (shown[0].address.as_str(), shown[0].mac.as_str()),
            ("10.3.1.254/24", "02:00:00:00:00:01")
        );
        table.remove(&addresses[..1]);
        assert_eq!(table.names(), [named(&to[1..]), in_web]);
    }
}
