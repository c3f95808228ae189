//! Address pools that Docker asks the IPAM driver for. Docker keeps the id of a pool for as long as its network exists.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// The pool that Docker is answered while its network, and so the subnet, is not known. Docker compares it with nothing.
pub const UNKNOWN_POOL: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));
/// The same of IPv6.
pub const UNKNOWN_POOL6: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0));

/// A pool as Docker asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WantedPool {
    /// `--subnet`.
    pub subnet: Option<IpNet>,
    /// `--ip-range`.
    pub ip_range: Option<IpNet>,
    /// `--ipam-opt mesh.network=NAME`: name or id of a network of the mesh.
    pub mesh_network: Option<String>,
    /// True for a pool of IPv6.
    pub is_v6: bool,
}

/// The network of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolLink {
    /// Docker has not told yet: it is about to create the network, and gives it gateway and auxiliary addresses first.
    Open,
    /// Docker did not tell within some seconds: the network has another driver, or was given up.
    Orphan,
    /// Id of Docker's network.
    Network(String),
}

/// An address pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DockerPool {
    /// The subnet as Docker was answered; [`UNKNOWN_POOL`] or [`UNKNOWN_POOL6`] if it was not known.
    pub subnet: IpNet,
    /// The part of it of which addresses are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<IpNet>,
    /// Name or id of the network of the mesh, if it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh_network: Option<String>,
    /// The address of the gateway, if it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Auxiliary addresses, which no container gets.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub auxiliary: BTreeSet<IpAddr>,
    /// Its network.
    pub link: PoolLink,
    /// Addresses of containers, with the owners of their leases.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub given: BTreeMap<IpAddr, String>,
}

impl DockerPool {
    pub(super) fn new(subnet: IpNet, wanted: WantedPool) -> Self {
        Self {
            subnet,
            ip_range: wanted.ip_range,
            mesh_network: wanted.mesh_network,
            gateway: None,
            auxiliary: BTreeSet::new(),
            link: PoolLink::Open,
            given: BTreeMap::new(),
        }
    }

    /// Returns the id of its network, once that is known.
    pub fn network(&self) -> Option<&str> {
        match &self.link {
            PoolLink::Network(id) => Some(id),
            PoolLink::Open | PoolLink::Orphan => None,
        }
    }

    /// Returns true if the network is not known yet.
    pub fn is_open(&self) -> bool {
        self.link == PoolLink::Open
    }

    /// Returns the subnet, if it is known.
    pub fn known_subnet(&self) -> Option<IpNet> {
        known(self.subnet)
    }
}

/// Returns the subnet of a pool, if it is known.
pub(super) fn known(subnet: IpNet) -> Option<IpNet> {
    (subnet.prefix_len() > 0).then_some(subnet)
}

/// Returns the owner of the lease of an auxiliary address of a pool.
pub fn auxiliary_owner(pool: &str) -> String {
    format!("docker-aux::{pool}")
}
