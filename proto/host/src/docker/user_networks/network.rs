//! Docker networks with our driver that users created.

use std::net::IpAddr;

use ipnet::IpNet;
use mesh_networks::{DEFAULT_NETWORK, NetworkDefinition, NetworkSubnet, NewNetwork, UserLabel};
use mesh_proto::network::NetworkId;
use serde::{Deserialize, Serialize};

use super::ResolvedNetwork;
use crate::network::hex;

/// Label of networks of the mesh that were made for a Docker network.
const MADE_BY: &str = "io.mesh.made-by";
const BY_DOCKER: &str = "docker";

/// Returns true if a network of the mesh was made for a Docker network of one host, or of a Swarm: other hosts get none by
/// themselves.
pub(super) fn is_of_docker(definition: &NetworkDefinition) -> bool {
    let mut labels = definition.labels.iter();
    definition.swarm_network().is_some()
        || labels.any(|label| label.key == MADE_BY && label.value == BY_DOCKER)
}

/// A Docker network as the driver is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewUserNetwork {
    /// Its pools, with the gateway of each.
    pub pools: Vec<(IpNet, Option<IpAddr>)>,
    /// `--internal`.
    pub internal: bool,
    /// `-o com.docker.network.driver.mtu=N`.
    pub mtu: Option<u16>,
    /// `-o mesh.network=NAME`: name or id of a network of the mesh.
    pub mesh_network: Option<String>,
}

/// A subnet of a Docker network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSubnet {
    /// The subnet that Docker gave it: the user's choice, or that of Docker's own IPAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<IpNet>,
    /// The user's gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The part of the subnet of which addresses are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<IpNet>,
}

impl UserSubnet {
    /// Returns the subnet as a network of the mesh has it, if it is known.
    fn wish(&self) -> Option<NetworkSubnet> {
        self.subnet.map(|net| NetworkSubnet {
            net,
            gateway: self.gateway,
            ip_range: self.ip_range,
        })
    }
}

/// A Docker network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserNetwork {
    /// Its name, once Docker has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The IPv4 subnet that Docker gave it: the user's choice, or that of Docker's own IPAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<IpNet>,
    /// The user's gateway in that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The part of the subnet of which addresses are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<IpNet>,
    /// Its IPv6 subnet; none without `--ipv6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<UserSubnet>,
    /// True if it leads nowhere else.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub internal: bool,
    /// MTU, if the user gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Name or id of the network of the mesh, if it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_network: Option<String>,
    /// The network of the mesh that was made for it; `default` if there was one already.
    #[serde(default, skip_serializing_if = "NetworkId::is_default", with = "hex")]
    pub made: NetworkId,
    /// The network of the mesh that it was found to be when a container started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ResolvedNetwork>,
}

/// The network of the mesh that a Docker network is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeshTarget<'a> {
    /// The network `default`.
    Default,
    /// The one that has this name or id; it is not made if there is none.
    Existing(&'a str),
    /// The one with this name; it is made if there is none.
    Named(&'a str),
}

impl UserNetwork {
    /// Returns the network of the mesh that it is; none before Docker has told its name. `is_ours` tells the names that the
    /// router gives to networks of its own.
    pub fn target(&self, is_ours: impl Fn(&str) -> bool) -> Option<MeshTarget<'_>> {
        if let Some(given) = &self.mesh_network {
            return Some(match given.as_str() {
                DEFAULT_NETWORK => MeshTarget::Default,
                given => MeshTarget::Existing(given),
            });
        }
        let name = self.name.as_deref()?;
        Some(match name == DEFAULT_NETWORK || is_ours(name) {
            true => MeshTarget::Default,
            false => MeshTarget::Named(name),
        })
    }

    /// Returns the network of the mesh that it asks for; its range only counts where it is made.
    pub fn wish(&self, name: &str, avoid: Vec<IpNet>) -> NewNetwork {
        let ipv4 = UserSubnet {
            subnet: self.subnet,
            gateway: self.gateway,
            ip_range: self.ip_range,
        };
        let subnets = core::iter::once(&ipv4).chain(&self.ipv6);
        NewNetwork {
            name: name.to_owned(),
            subnets: subnets.filter_map(UserSubnet::wish).collect(),
            ipv4: true,
            ipv6: self.ipv6.is_some(),
            internal: self.internal,
            mtu: self.mtu,
            labels: vec![UserLabel {
                key: MADE_BY.to_owned(),
                value: BY_DOCKER.to_owned(),
            }],
            avoid,
        }
    }
}
