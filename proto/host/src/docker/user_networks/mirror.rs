//! Docker networks that the router makes for networks of the mesh.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use mesh_networks::NetworkDefinition;
use mesh_proto::network::NetworkId;

use super::network::is_of_docker;

/// A Docker network that the router makes for a network of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorNetwork {
    /// Name.
    pub name: String,
    /// The network of the mesh.
    pub network: NetworkId,
    /// Its first IPv4 subnet.
    pub subnet: Ipv4Net,
    /// The gateway in that.
    pub gateway: Option<IpAddr>,
    /// True if it leads nowhere else.
    pub internal: bool,
}

impl MirrorNetwork {
    /// Returns the Docker network for a network of the mesh; none for one that has no IPv4 subnet, or that was made for a
    /// Docker network of one host.
    pub fn of(definition: &NetworkDefinition) -> Option<Self> {
        if is_of_docker(definition) {
            return None;
        }
        let mut subnets = definition.subnets.iter();
        let (subnet, gateway) = subnets.find_map(|subnet| match subnet.net {
            IpNet::V4(v4) => Some((v4, subnet.gateway)),
            IpNet::V6(_) => None,
        })?;
        Some(Self {
            name: definition.name.to_string(),
            network: definition.id,
            subnet,
            gateway,
            internal: definition.internal,
        })
    }
}
