//! The network of the mesh that a Docker network was found to be: enough to start its containers without a router.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mesh_networks::{NetworkDefinition, NetworkSubnet};
use mesh_proto::network::NetworkId;
use serde::{Deserialize, Serialize};

use crate::network::hex;

/// A network of the mesh as it was when a container of the Docker network started last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvedNetwork {
    /// Its id.
    #[serde(default, skip_serializing_if = "NetworkId::is_default", with = "hex")]
    pub network: NetworkId,
    /// MTU, if it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// True if it leads nowhere else.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub internal: bool,
    /// Its subnets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<NetworkSubnet>,
}

/// The way of a container out of the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WayOut {
    /// True if Docker gives it an interface on a bridge of its own beside, for published ports and the default route.
    pub docker_gateway: bool,
    /// Its default gateway, on the mesh.
    pub gateway: Option<Ipv4Addr>,
    /// Its default gateway for IPv6, on the mesh.
    pub gateway6: Option<Ipv6Addr>,
}

impl ResolvedNetwork {
    /// Returns the network with this definition.
    pub fn of(definition: &NetworkDefinition) -> Self {
        Self {
            network: definition.id,
            mtu: definition.mtu,
            internal: definition.internal,
            subnets: definition.subnets.clone(),
        }
    }

    /// Returns an address with the prefix length of its subnet; none outside all subnets.
    pub fn with_prefix(&self, address: IpAddr) -> Option<IpNet> {
        let subnet = self.subnet_of(address)?;
        Some(IpNet::new_assert(address, subnet.net.prefix_len()))
    }

    /// Returns the way out for a container with these addresses.
    pub(super) fn way_out(&self, addresses: impl IntoIterator<Item = IpAddr>) -> WayOut {
        if self.internal {
            return WayOut::default();
        }
        let mut way_out = WayOut {
            docker_gateway: true,
            ..WayOut::default()
        };
        for address in addresses {
            let gateway = self.subnet_of(address).and_then(|subnet| subnet.gateway);
            match gateway.filter(|gateway| *gateway != address) {
                Some(IpAddr::V4(v4)) => way_out.gateway = Some(v4),
                Some(IpAddr::V6(v6)) => way_out.gateway6 = Some(v6),
                None => {}
            }
        }
        way_out
    }

    fn subnet_of(&self, address: IpAddr) -> Option<&NetworkSubnet> {
        let mut subnets = self.subnets.iter();
        subnets.find(|subnet| subnet.net.contains(&address))
    }
}
