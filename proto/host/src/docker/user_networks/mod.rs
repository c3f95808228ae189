//! Docker networks with our driver and the address pools of our IPAM driver, as Docker told of them.
//!
//! Docker asks for a pool before it creates the network, tells the driver the network's id and its pools without their ids,
//! and tells the name of the network to nobody but the listeners of its events. So a pool belongs to the network that is
//! created next with an equal subnet; that this is the right one is kept certain by refusing a second pool with the same
//! subnet until the first has its network, or some seconds are over.

mod mirror;
mod network;
mod pool;
mod presence;
mod resolved;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_proto::limits::{MAX_DOCKER_NETWORKS, MAX_DOCKER_POOLS};
use mesh_proto::network::{NetworkId, leased_part};
use serde::{Deserialize, Serialize};

pub use mirror::MirrorNetwork;
pub use network::{MeshTarget, NewUserNetwork, UserNetwork, UserSubnet};
pub use pool::{DockerPool, PoolLink, UNKNOWN_POOL, UNKNOWN_POOL6, WantedPool, auxiliary_owner};
pub use presence::DockerPresence;
pub use resolved::{ResolvedNetwork, WayOut};

/// All networks, by Docker's ids, and all pools, by ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserNetworkTable {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pools: BTreeMap<String, DockerPool>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    networks: BTreeMap<String, UserNetwork>,
}

/// Reason why Docker gets no pool, network or address; one line, ready to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserNetworkError {
    /// An equal pool has no network yet.
    #[error("another network with the subnet {0} is being created; try again")]
    Busy(IpNet),
    /// Too many pools.
    #[error("Docker has {MAX_DOCKER_POOLS} address pools of mesh already; remove networks")]
    TooManyPools,
    /// Too many networks.
    #[error("Docker has {MAX_DOCKER_NETWORKS} networks of mesh already; remove some")]
    TooManyNetworks,
    /// More than one subnet of a family in one Docker network.
    #[error(
        "a network of the driver mesh has one IPv4 subnet in Docker, and one of IPv6; give --subnet once for each"
    )]
    TwoSubnets,
    /// A part that is not in the subnet.
    #[error("{part} is outside the subnet {subnet}; give a part of it")]
    Outside {
        /// The range or address.
        part: String,
        /// The subnet.
        subnet: IpNet,
    },
    /// A range beyond the addresses that are leased.
    #[error("the range {range} is beyond the addresses that are given; give a part of {leased}")]
    RangeBeyond {
        /// The range.
        range: IpNet,
        /// The part of the subnet of which addresses are leased.
        leased: IpNet,
    },
    /// Docker names a pool that is not known.
    #[error("the address pool {0} is not known; remove the Docker network and create it again")]
    UnknownPool(String),
    /// A pool without a network of our driver.
    #[error(
        "the IPAM driver mesh is for networks of the driver mesh: docker network create -d mesh --ipam-driver mesh"
    )]
    OtherDriver,
    /// An address that is kept for something else.
    #[error(
        "{0} is an auxiliary address of the network, which no container can have; give another address"
    )]
    Auxiliary(IpAddr),
}

impl UserNetworkTable {
    /// Returns true if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty() && self.networks.is_empty()
    }

    /// Adds a pool with an id of our choice. `subnet` is what Docker is answered.
    ///
    /// # Errors
    /// [`UserNetworkError::Busy`], which passes; others do not.
    pub fn request_pool(
        &mut self,
        id: &str,
        subnet: IpNet,
        wanted: WantedPool,
    ) -> Result<(), UserNetworkError> {
        if let Some(range) = wanted.ip_range
            && !subnet.contains(&range)
        {
            let part = range.to_string();
            return Err(UserNetworkError::Outside { part, subnet });
        }
        let leased = leased_part(subnet);
        if let Some(range) = wanted.ip_range.filter(|_| pool::known(subnet).is_some())
            && !leased.contains(&range)
            && !range.contains(&leased)
        {
            return Err(UserNetworkError::RangeBeyond { range, leased });
        }
        if self.open(subnet).next().is_some() {
            return Err(UserNetworkError::Busy(subnet));
        }
        if self.pools.len() >= MAX_DOCKER_POOLS {
            return Err(UserNetworkError::TooManyPools);
        }
        let pool = DockerPool::new(subnet, wanted);
        self.pools.insert(id.to_owned(), pool);
        Ok(())
    }

    fn open(&mut self, subnet: IpNet) -> impl Iterator<Item = &mut DockerPool> {
        let pools = self.pools.values_mut();
        pools.filter(move |pool| pool.is_open() && pool.subnet == subnet)
    }

    /// Gives up waiting for the network of a pool with this subnet: it comes no more.
    pub fn give_up_open(&mut self, subnet: IpNet) {
        for pool in self.open(subnet) {
            pool.link = PoolLink::Orphan;
        }
    }

    /// Notes a network, and links it to the pool with its subnet that has none. The same network again changes nothing.
    ///
    /// # Errors
    /// It has two subnets; there are too many networks.
    pub fn create_network(
        &mut self,
        id: &str,
        new: NewUserNetwork,
    ) -> Result<(), UserNetworkError> {
        if self.networks.contains_key(id) {
            return Ok(());
        }
        if self.networks.len() >= MAX_DOCKER_NETWORKS {
            return Err(UserNetworkError::TooManyNetworks);
        }
        let (v6, v4): (Vec<IpNet>, Vec<IpNet>) = new
            .pools
            .iter()
            .map(|(subnet, _)| *subnet)
            .partition(|subnet| subnet.addr().is_ipv6());
        if v4.len() > 1 || v6.len() > 1 {
            return Err(UserNetworkError::TwoSubnets);
        }
        let mut network = UserNetwork {
            internal: new.internal,
            mtu: new.mtu,
            mesh_network: new.mesh_network,
            ..UserNetwork::default()
        };
        let subnet = v4.first().copied().unwrap_or(UNKNOWN_POOL);
        let ipv4 = self.link_pool(id, subnet, &mut network.mesh_network);
        (network.subnet, network.gateway, network.ip_range) =
            (ipv4.subnet, ipv4.gateway, ipv4.ip_range);
        network.ipv6 = v6
            .first()
            .map(|subnet| self.link_pool(id, *subnet, &mut network.mesh_network));
        self.networks.insert(id.to_owned(), network);
        Ok(())
    }

    /// Links the pool with this subnet that has no network to one. Returns what is known of the subnet then.
    fn link_pool(
        &mut self,
        id: &str,
        subnet: IpNet,
        mesh_network: &mut Option<String>,
    ) -> UserSubnet {
        let mut known = UserSubnet {
            subnet: pool::known(subnet),
            ..UserSubnet::default()
        };
        if let Some(pool) = self.open(subnet).next() {
            pool.link = PoolLink::Network(id.to_owned());
            known.gateway = pool.gateway;
            known.ip_range = pool.ip_range;
            if mesh_network.is_none() {
                mesh_network.clone_from(&pool.mesh_network);
            }
        }
        known
    }

    /// Notes the name of a network; returns true if that is news.
    pub fn set_name(&mut self, id: &str, name: &str) -> bool {
        let Some(network) = self.networks.get_mut(id) else {
            return false;
        };
        let is_new = network.name.as_deref() != Some(name);
        network.name = Some(name.to_owned());
        is_new
    }

    /// Notes the network of the mesh that was made for a Docker network.
    pub fn set_made(&mut self, id: &str, made: NetworkId) {
        if let Some(network) = self.networks.get_mut(id) {
            network.made = made;
        }
    }

    /// Notes the network of the mesh that a Docker network is now.
    pub fn set_resolved(&mut self, id: &str, resolved: ResolvedNetwork) {
        if let Some(network) = self.networks.get_mut(id) {
            network.resolved = Some(resolved);
        }
    }

    /// Returns whether Docker has given the endpoints of a network addresses: those of other networks are chosen by us.
    pub fn has_addresses(&self, id: &str) -> bool {
        let network = self.networks.get(id);
        let is_known = |network: &UserNetwork| network.subnet.is_some() || network.ipv6.is_some();
        network.is_some_and(is_known) || self.pools_of(id).next().is_some()
    }

    /// Returns the way of a container of a Docker network out of the mesh: none if Docker gives no addresses in it.
    pub fn way_out(&self, id: &str, addresses: impl IntoIterator<Item = IpAddr>) -> WayOut {
        let network = self.networks.get(id).filter(|network| !network.internal);
        let resolved = network.and_then(|network| network.resolved.as_ref());
        match resolved.filter(|_| self.has_addresses(id)) {
            Some(resolved) => resolved.way_out(addresses),
            None => WayOut::default(),
        }
    }

    /// Removes a network. Its pool stays until Docker releases it.
    pub fn delete_network(&mut self, id: &str) -> Option<UserNetwork> {
        let network = self.networks.remove(id)?;
        let pools = self.pools.values_mut();
        for pool in pools.filter(|pool| pool.network() == Some(id)) {
            pool.link = PoolLink::Orphan;
        }
        Some(network)
    }

    /// Removes a pool; Docker uses its id no more.
    pub fn release_pool(&mut self, id: &str) -> Option<DockerPool> {
        self.pools.remove(id)
    }

    /// Removes networks with their pools, and pools that belong to no network.
    pub(super) fn remove_all(&mut self, is_gone: impl Fn(&str) -> bool) {
        self.networks.retain(|id, _| !is_gone(id));
        self.pools
            .retain(|id, pool| !is_gone(pool.network().unwrap_or(id)));
    }

    /// Returns the ids of all networks, and of the pools that belong to none.
    pub(super) fn ids(&self) -> BTreeSet<String> {
        let orphans = self
            .pools
            .iter()
            .filter(|(_, pool)| pool.network().is_none());
        let orphans = orphans.map(|(id, _)| id);
        self.networks.keys().chain(orphans).cloned().collect()
    }

    /// Returns a network.
    pub fn network(&self, id: &str) -> Option<&UserNetwork> {
        self.networks.get(id)
    }

    /// Returns all networks.
    pub fn networks(&self) -> impl Iterator<Item = (&str, &UserNetwork)> {
        self.networks
            .iter()
            .map(|(id, network)| (id.as_str(), network))
    }

    /// Returns a pool.
    ///
    /// # Errors
    /// It is not known.
    pub fn pool(&self, id: &str) -> Result<&DockerPool, UserNetworkError> {
        let unknown = || UserNetworkError::UnknownPool(id.escape_debug().to_string());
        self.pools.get(id).ok_or_else(unknown)
    }

    /// Returns the pools of a network, one of each family at most, with their ids.
    pub fn pools_of(&self, network: &str) -> impl Iterator<Item = (&str, &DockerPool)> {
        let pools = self.pools.iter().map(|(id, pool)| (id.as_str(), pool));
        pools.filter(move |(_, pool)| pool.network() == Some(network))
    }

    /// Notes the gateway, or an auxiliary address, of a pool whose network is not created yet; returns it as Docker reads
    /// it.
    ///
    /// # Errors
    /// The pool is not known; the address is outside its subnet.
    pub fn reserve(
        &mut self,
        id: &str,
        address: IpAddr,
        is_gateway: bool,
    ) -> Result<IpNet, UserNetworkError> {
        let subnet = self.pool(id)?.subnet;
        if !subnet.contains(&address) {
            let part = address.to_string();
            return Err(UserNetworkError::Outside { part, subnet });
        }
        if let Some(pool) = self.pools.get_mut(id) {
            match is_gateway {
                true => pool.gateway = Some(address),
                false => _ = pool.auxiliary.insert(address),
            }
        }
        Ok(IpNet::new_assert(address, subnet.prefix_len()))
    }

    /// Notes the owner of the lease of an address that a container gets.
    pub fn give(&mut self, id: &str, address: IpAddr, owner: &str) {
        if let Some(pool) = self.pools.get_mut(id) {
            pool.given.insert(address, owner.to_owned());
        }
    }

    /// Notes that an address of a pool is given up; returns the owner of its lease.
    pub fn take_back(&mut self, id: &str, address: IpAddr) -> Option<String> {
        let pool = self.pools.get_mut(id)?;
        pool.given.remove(&address)
    }

    /// Returns the owner of the lease of an address of a network; none if Docker did not ask for it.
    pub fn owner_of(&self, network: &str, address: IpAddr) -> Option<&str> {
        let mut owners = self.pools_of(network);
        owners.find_map(|(_, pool)| pool.given.get(&address).map(String::as_str))
    }

    /// Returns the owner of the lease of an address of a network likewise.
    pub fn lease_of(&self, network: &str, address: IpNet) -> Option<String> {
        self.owner_of(network, address.addr()).map(str::to_owned)
    }

    /// Returns the owners of leases of auxiliary addresses, which last as long as their pools.
    pub fn auxiliary_owners(&self) -> impl Iterator<Item = String> {
        let pools = self.pools.iter();
        let with = pools.filter(|(_, pool)| !pool.auxiliary.is_empty());
        with.map(|(id, _)| auxiliary_owner(id))
    }

    /// Forgets addresses that were given and that `is_used` does not know.
    pub fn retain_given(&mut self, is_used: impl Fn(&str) -> bool) {
        for pool in self.pools.values_mut() {
            pool.given.retain(|_, owner| is_used(owner));
        }
    }
}
