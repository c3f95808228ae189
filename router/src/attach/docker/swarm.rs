//! Networks of Docker's Swarm: its leader makes each of them once, and all nodes find it by the id that they are told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use mesh_engine::plugin::NETWORK_OPTION;
use mesh_engine::plugin::swarm::SwarmNetwork;
use mesh_host::docker::swarm::{SwarmAddress, SwarmPoolId};
use mesh_networks::{
    NetworkDefinition, NetworkName, NetworkSubnet, NewNetwork, SwarmSplit, choose_subnet,
};
use mesh_proto::api::Runtime;
use mesh_proto::network::NetworkId;

use super::user_networks::remove_soon;
use crate::attach::AttachmentError;
use crate::attach::foundation::{Foundation, fresh_id};
use crate::attach::leases::LeaseSource;
use crate::attach::networks::AttachedNetworks;
use crate::attach::stored_table::StoredTable;
use crate::engine::Engines;
use crate::networks::occupied;

/// Longest time for Docker to tell the name of a network which it makes.
const NAME_WAIT: Duration = Duration::from_secs(2);
/// Characters of Swarm's id in the names of networks whose own names are taken.
const SHORT_ID: usize = 8;

/// Networks of Swarm, and their addresses.
pub(crate) struct SwarmNetworks {
    table: Arc<StoredTable>,
    engines: Engines,
    source: Arc<LeaseSource>,
    networks: Arc<AttachedNetworks>,
}

impl SwarmNetworks {
    pub(in crate::attach) fn new(base: &Foundation) -> Self {
        Self {
            table: base.table.clone(),
            engines: base.engines.clone(),
            source: base.source.clone(),
            networks: base.networks.clone(),
        }
    }

    /// Returns the id of a new pool; a subnet is chosen if none is given.
    ///
    /// # Errors
    /// The range is outside the subnet; no subnet is free.
    pub(crate) async fn request_pool(
        &self,
        subnet: Option<Ipv4Net>,
        range: Option<Ipv4Net>,
    ) -> Result<SwarmPoolId, AttachmentError> {
        let token = fresh_id()?;
        let subnet = match subnet {
            Some(subnet) => subnet,
            None => self.choose(&token).await?,
        };
        Ok(SwarmPoolId::new(subnet, range, &token)?)
    }

    /// Chooses a subnet that overlaps no network of the mesh or of this host.
    async fn choose(&self, token: &str) -> Result<Ipv4Net, AttachmentError> {
        let all = self.networks.access().all();
        let mut taken = self.avoided().await;
        taken.extend(
            all.iter()
                .flat_map(|network| network.subnets.iter())
                .map(|subnet| subnet.net),
        );
        choose_subnet(token, &taken).ok_or_else(|| {
            AttachmentError::Network("no private subnet is free; give --subnet".into())
        })
    }

    async fn avoided(&self) -> Vec<IpNet> {
        let occupied = tokio::task::spawn_blocking(occupied).await;
        let mut avoid = occupied.map(Result::unwrap_or_default).unwrap_or_default();
        avoid.extend(self.source.range().map(IpNet::V4));
        avoid
    }

    /// Gives an address of a pool.
    ///
    /// # Errors
    /// It is in use; none is free; a node asks without an address.
    pub(crate) fn request_address(
        &self,
        pool: &SwarmPoolId,
        wanted: SwarmAddress,
        is_leader: bool,
    ) -> Result<Ipv4Net, AttachmentError> {
        if !is_leader {
            return Ok(pool.on_node(wanted)?);
        }
        self.table
            .change(|table| Ok(table.swarm.give(pool, wanted)?))
    }

    /// Frees an address of a pool. A node that frees one has no such pool here.
    pub(crate) fn release_address(&self, pool: &SwarmPoolId, address: std::net::Ipv4Addr) {
        self.table
            .record(|table| table.swarm.take_back(pool, address));
    }

    /// Forgets a pool.
    pub(crate) fn release_pool(&self, pool: &SwarmPoolId) {
        self.table.record(|table| table.swarm.release_pool(pool));
    }

    /// Makes the network of the mesh for one of Swarm, or finds it: each new leader asks again. Returns the options that all
    /// nodes are told, among them the id of the network.
    ///
    /// # Errors
    /// It cannot be one of the mesh.
    pub(crate) async fn allocate(
        &self,
        new: SwarmNetwork,
    ) -> Result<BTreeMap<String, String>, AttachmentError> {
        let (subnet, _) = new
            .subnet
            .ok_or_else(|| AttachmentError::Network("the network has no IPv4 subnet".into()))?;
        let pool = self.table.read(|table| table.swarm.open(subnet));
        let network = match self.of_swarm(&new.id) {
            Some(existing) => existing.id,
            None => self.create(&new, pool.as_ref()).await?,
        };
        if let Some(pool) = &pool {
            self.table.record(|table| table.swarm.link(&new.id, pool));
        }
        let mut options = new.options;
        options.insert(NETWORK_OPTION.to_owned(), network.to_string());
        Ok(options)
    }

    /// Returns the network of the mesh that was made for one of Swarm.
    fn of_swarm(&self, id: &str) -> Option<Arc<NetworkDefinition>> {
        let mut all = self.networks.access().all().into_iter();
        all.find(|definition| definition.swarm_network() == Some(id))
    }

    async fn create(
        &self,
        new: &SwarmNetwork,
        pool: Option<&SwarmPoolId>,
    ) -> Result<NetworkId, AttachmentError> {
        let Some((subnet, gateway)) = new.subnet else {
            return Ok(NetworkId::DEFAULT);
        };
        // An id that each new leader repeats leads to no network once that was removed by force.
        if let Some(other) = &new.mesh_network
            && self.networks.access().resolve(other).is_ok()
        {
            return Err(AttachmentError::Network(format!(
                "a network of Swarm cannot be the network {other}; leave out {NETWORK_OPTION}"
            )));
        }
        let split = match pool {
            Some(pool) => SwarmSplit::of(subnet, Some(pool.range)),
            None => SwarmSplit::whole(subnet),
        };
        let (name, internal) = self.name_of(&new.id).await;
        let wish = NewNetwork {
            name,
            subnets: vec![NetworkSubnet {
                net: subnet.into(),
                // Docker's own IPAM always has one, that leads nowhere.
                gateway: gateway.filter(|_| pool.is_some()).map(Into::into),
                ip_range: split.mesh.map(Into::into),
            }],
            ipv4: true,
            internal,
            mtu: new.mtu,
            labels: split.labels(&new.id).into(),
            ..NewNetwork::default()
        };
        let created = self.networks.access().create(wish).await;
        let created = created.map_err(AttachmentError::Network)?;
        Ok(created.id)
    }

    /// Returns a name that no network of the mesh has, and whether the network is internal, as Docker tells: the call that
    /// makes the network says neither.
    async fn name_of(&self, id: &str) -> (String, bool) {
        let short: String = id.chars().take(SHORT_ID).collect();
        let nameless = format!("swarm-{short}");
        let asked = async {
            let docker = self.engines.of(Runtime::Docker)?;
            docker.nascent_network(id).await.ok().flatten()
        };
        let Ok(Some(network)) = tokio::time::timeout(NAME_WAIT, asked).await else {
            return (nameless, false);
        };
        let beside = format!("{}-{short}", network.name);
        let mut names = [network.name, beside].into_iter();
        let is_free = |name: &String| {
            NetworkName::parse(name).is_ok() && self.networks.access().resolve(name).is_err()
        };
        let name = names.find(is_free);
        (name.unwrap_or(nameless), network.internal)
    }

    /// Removes the network of the mesh that was made for one of Swarm, as soon as no node uses it.
    pub(crate) fn free(&self, id: &str) {
        self.table.record(|table| table.swarm.drop_network(id));
        if let Some(definition) = self.of_swarm(id) {
            remove_soon(self.networks.clone(), definition.id);
        }
    }

    /// Drops what earlier leaderships of this host left of networks that are gone.
    pub(crate) fn look(&self) {
        let all = self.networks.access().all();
        if all.is_empty() || self.table.read(|table| table.swarm.is_empty()) {
            return;
        }
        let exists = |id: &str| {
            let mut all = all.iter();
            all.any(|definition| definition.swarm_network() == Some(id))
        };
        self.table
            .record(|table| table.swarm.retain_networks(exists));
    }
}
