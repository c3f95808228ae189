//! The IPAM driver: pools and addresses that Docker asks for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use mesh_engine::plugin::ipam::WantedAddress;
use mesh_host::docker::user_networks::{
    DockerPool, UNKNOWN_POOL, UNKNOWN_POOL6, UserNetworkError, WantedPool, auxiliary_owner,
};
use mesh_host::leases::lease_owner::lease_owner;
use mesh_host::network::addresses::{AddressFor, check_in};
use mesh_host::network::scoped::ScopedAddress;
use mesh_host::table::{AttachRefusal, AttachmentTable};
use mesh_ipam::{ANY_SUBNET, ANY_SUBNET6};
use mesh_proto::address::AddressArg;
use mesh_proto::api::Runtime;
use mesh_proto::network::NetworkId;

use super::UserNetworks;
use crate::attach::AttachmentError;
use crate::attach::foundation::{Foundation, fresh_id};
use crate::attach::leases::{LeaseRequest, LeaseSource};
use crate::attach::networks::AttachedNetworks;
use crate::attach::stored_table::StoredTable;

/// Longest wait for the network of an equal pool.
const LINK_WAIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);
/// Longest time for an address: another router may own its space.
const ADDRESS_WAIT: Duration = Duration::from_secs(5);

/// Pools of Docker.
pub(crate) struct DockerPools {
    table: Arc<StoredTable>,
    source: Arc<LeaseSource>,
    networks: Arc<AttachedNetworks>,
    users: Arc<UserNetworks>,
}

impl DockerPools {
    pub(in crate::attach) fn new(base: &Foundation, users: Arc<UserNetworks>) -> Self {
        Self {
            table: base.table.clone(),
            source: base.source.clone(),
            networks: base.networks.clone(),
            users,
        }
    }

    /// Makes a pool, with an id that Docker keeps for as long as the network; waits for the network of an equal one.
    ///
    /// # Errors
    /// There is no such network; there are too many pools; the table cannot be stored.
    pub(crate) async fn request_pool(
        &self,
        wanted: WantedPool,
    ) -> Result<(String, IpNet), AttachmentError> {
        let subnet = match (wanted.subnet, &wanted.mesh_network) {
            (Some(subnet), _) => subnet,
            (None, Some(name)) => self.subnet_of(name, wanted.is_v6)?,
            (None, None) => unknown_pool(wanted.is_v6),
        };
        let id = format!("mesh-{}", fresh_id()?);
        let request = |subnet: IpNet| {
            let wanted = wanted.clone();
            self.table.change(|table: &mut AttachmentTable| {
                let asked = table.user_networks.request_pool(&id, subnet, wanted);
                match asked {
                    Err(UserNetworkError::Busy(_)) => Ok(false),
                    asked => Ok(asked.map(|()| true)?),
                }
            })
        };
        let began = Instant::now();
        while !request(subnet)? {
            if began.elapsed() < LINK_WAIT {
                tokio::time::sleep(POLL).await;
                continue;
            }
            self.table
                .record(|table| table.user_networks.give_up_open(subnet));
        }
        Ok((id, subnet))
    }

    /// Returns the first subnet of a network of the mesh, of IPv6 or of IPv4.
    fn subnet_of(&self, name: &str, is_v6: bool) -> Result<IpNet, AttachmentError> {
        let access = self.networks.access();
        let id = access.resolve(name).map_err(AttachmentError::Network)?;
        let subnets = self.networks.subnets(&id);
        let mut subnets = subnets.iter().copied();
        let first = subnets.find(|subnet| subnet.addr().is_ipv6() == is_v6);
        Ok(first.unwrap_or(unknown_pool(is_v6)))
    }

    /// Forgets a pool, and frees all its addresses.
    pub(crate) async fn release_pool(&self, id: &str) {
        let released = self
            .table
            .record(|table| table.user_networks.release_pool(id));
        let Some(pool) = released else { return };
        let auxiliary = auxiliary_owner(id);
        for held in self.source.leases().await {
            if held.owner == auxiliary || pool.given.values().any(|owner| *owner == held.owner) {
                self.source
                    .release((held.network, held.addr), &held.owner)
                    .await;
            }
        }
    }

    /// Acquires an address for a container, or notes one that Docker keeps for something else.
    ///
    /// # Errors
    /// It is not free; none is; the pool has no network of ours.
    pub(crate) async fn request_address(
        &self,
        wanted: WantedAddress,
    ) -> Result<IpNet, AttachmentError> {
        let id = &wanted.pool;
        let pool = self
            .table
            .read(|table| table.user_networks.pool(id).cloned())?;
        if let Some(address) = wanted.address
            && (wanted.is_gateway || pool.is_open())
        {
            let reserve = |table: &mut AttachmentTable| {
                Ok(table
                    .user_networks
                    .reserve(id, address, wanted.is_gateway)?)
            };
            return self.table.change(reserve);
        }
        let docker = pool.network().ok_or(UserNetworkError::OtherDriver)?;
        if let Some(kept) = wanted.address.filter(|ip| pool.auxiliary.contains(ip)) {
            return Err(UserNetworkError::Auxiliary(kept).into());
        }
        let network = self.users.find(docker).await?;
        let lease = LeaseRequest {
            owner: lease_owner(Runtime::Docker, "", &fresh_id()?),
            patience: ADDRESS_WAIT,
            caller: 0,
        };
        let arg = match wanted.address {
            Some(address) => AddressArg::Ip(self.explicit(network, address, &pool)?),
            None => any_of(network, &pool),
        };
        let acquired = self.source.acquire(&lease, network, &[arg]).await?;
        let Some(address) = acquired.addresses.first().copied() else {
            let text = "no address is free in this network";
            return Err(AttachmentError::Allocation(text.into()));
        };
        self.table
            .record(|table| table.user_networks.give(id, address.addr(), &lease.owner));
        Ok(address)
    }

    /// Returns an address that was asked for with the prefix length of its subnet, unless somebody has it.
    fn explicit(
        &self,
        network: NetworkId,
        address: IpAddr,
        pool: &DockerPool,
    ) -> Result<IpNet, AttachmentError> {
        let subnets = self.networks.subnets(&network);
        let subnet = subnets.iter().find(|subnet| subnet.contains(&address));
        let prefix = match (subnet, pool.known_subnet()) {
            (Some(subnet), _) => subnet.prefix_len(),
            (None, Some(subnet)) => subnet.prefix_len(),
            (None, None) => self.source.default_subnet()?.prefix_len(),
        };
        let asked = IpNet::new_assert(address, prefix);
        if let Some(definition) = self.networks.access().definition(&network) {
            check_in(&definition, asked, AddressFor::Container)?;
        }
        let scoped = ScopedAddress::new(network, asked);
        let here = self
            .table
            .read(|table| table.binding_of(network, scoped.ip()));
        let holder = here.map(|binding| binding.words());
        match holder.or_else(|| self.source.elsewhere(network, scoped.ip())) {
            Some(holder) => Err(AttachRefusal::InUse {
                ip: scoped.ip(),
                holder,
            }
            .into()),
            None => Ok(asked),
        }
    }

    /// Frees an address; one that no container has is free already.
    pub(crate) async fn release_address(&self, pool: &str, address: IpAddr) {
        let owner = self
            .table
            .record(|table| table.user_networks.take_back(pool, address));
        let Some(owner) = owner else { return };
        for held in self.source.leases().await {
            if held.owner == owner && held.addr == address {
                self.source.release((held.network, held.addr), &owner).await;
            }
        }
    }
}

/// Returns the argument for any address of a pool.
fn any_of(network: NetworkId, pool: &DockerPool) -> AddressArg {
    match pool.ip_range {
        Some(range) => AddressArg::Net(range),
        None if pool.subnet.addr().is_ipv6() => AddressArg::Net(ANY_SUBNET6),
        None if network.is_default() => AddressArg::Default,
        None => AddressArg::Net(ANY_SUBNET),
    }
}

fn unknown_pool(is_v6: bool) -> IpNet {
    match is_v6 {
        true => UNKNOWN_POOL6,
        false => UNKNOWN_POOL,
    }
}
