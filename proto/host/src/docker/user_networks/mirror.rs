//! Docker networks that the router makes for networks of the mesh.

use std::net::IpAddr;

use ipnet::IpNet;
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
    /// Its first IPv4 subnet, and its first one of IPv6 if it has any, each with its gateway.
    pub subnets: Vec<(IpNet, Option<IpAddr>)>,
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
        let first = |v6: bool| {
            let mut subnets = definition.subnets.iter();
            let first = subnets.find(|subnet| subnet.net.addr().is_ipv6() == v6);
            first.map(|subnet| (subnet.net, subnet.gateway))
        };
        let mut subnets = vec![first(false)?];
        subnets.extend(first(true));
        Some(Self {
            name: definition.name.to_string(),
            network: definition.id,
            subnets,
            internal: definition.internal,
        })
    }
}
