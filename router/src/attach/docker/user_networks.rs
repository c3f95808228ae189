//! Docker networks that users created with our driver: the network of the mesh that each of them is.
//!
//! Docker tells the name of a network by an event only, after it is created; it is never asked from inside a call of its
//! own, as it holds locks while it asks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use mesh_engine::error::EngineError;
use mesh_engine::network::{ListedNetwork, may_be_ours};
use mesh_host::docker::user_networks::{
    DockerPresence, MeshTarget, MirrorNetwork, NewUserNetwork, ResolvedNetwork, UserNetwork,
    auxiliary_owner,
};
use mesh_host::network::scoped::ScopedAddress;
use mesh_networks::NetworkSubnet;
use mesh_proto::api::Runtime;
use mesh_proto::network::NetworkId;

use crate::attach::AttachmentError;
use crate::attach::foundation::Foundation;
use crate::attach::leases::{LeaseRequest, LeaseSource};
use crate::attach::networks::AttachedNetworks;
use crate::attach::stored_table::StoredTable;
use crate::clock::Clock;
use crate::engine::{Engine, Engines};
use crate::networks::occupied;

/// Longest wait for the name of a network, which Docker tells right after it is created.
const NAME_WAIT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(10);
/// Longest wait for the lease of an auxiliary address.
const LEASE_WAIT: Duration = Duration::from_secs(2);
/// Attempts to remove a network of the mesh that was made for a Docker network, and the time between them: this router is
/// a member for some seconds more.
const REMOVALS: u32 = 10;
const BETWEEN: Duration = Duration::from_secs(3);

/// Docker networks of users.
pub(crate) struct UserNetworks {
    table: Arc<StoredTable>,
    engines: Engines,
    source: Arc<LeaseSource>,
    networks: Arc<AttachedNetworks>,
    presence: Mutex<DockerPresence>,
    /// Networks that Docker did not take, as was told.
    told: Mutex<BTreeSet<NetworkId>>,
    clock: Clock,
}

impl UserNetworks {
    pub(in crate::attach) fn new(base: &Foundation) -> Self {
        Self {
            table: base.table.clone(),
            engines: base.engines.clone(),
            source: base.source.clone(),
            networks: base.networks.clone(),
            presence: Mutex::default(),
            told: Mutex::default(),
            clock: Clock::start(),
        }
    }

    /// Notes a network that Docker creates.
    ///
    /// # Errors
    /// It cannot be one of the mesh.
    pub(crate) fn created(&self, id: &str, new: NewUserNetwork) -> Result<(), AttachmentError> {
        let create = |table: &mut mesh_host::table::AttachmentTable| {
            Ok(table.user_networks.create_network(id, new)?)
        };
        self.table.change(create)
    }

    /// Notes the name of a network, and sees to it that the mesh has one of that name.
    pub(crate) async fn named(&self, id: &str, name: &str) {
        let is_news = self
            .table
            .record(|table| table.user_networks.set_name(id, name));
        if !is_news || !self.has_addresses(id) {
            return;
        }
        if let Err(error) = self.find(id).await {
            tracing::warn!("the Docker network {name} cannot be used: {error}");
        }
    }

    /// Forgets a network that Docker removes, and removes the network of the mesh that was made for it if nobody uses it.
    pub(crate) fn deleted(&self, id: &str) {
        let removed = self
            .table
            .record(|table| table.user_networks.delete_network(id));
        let Some(made) = removed
            .map(|network| network.made)
            .filter(|made| !made.is_default())
        else {
            return;
        };
        remove_soon(self.networks.clone(), made);
    }

    /// Returns whether Docker has given the endpoints of a network addresses: those of other networks are chosen by us.
    pub(crate) fn has_addresses(&self, id: &str) -> bool {
        self.table
            .read(|table| table.user_networks.has_addresses(id))
    }

    /// Returns the owner of the lease of an address of a network; none if Docker did not ask for it.
    pub(crate) fn lease_of(&self, network: &str, address: IpNet) -> Option<String> {
        self.table
            .read(|table| table.user_networks.lease_of(network, address))
    }

    /// Asks Docker for its networks: their names, those that were made without us, and those that are gone.
    ///
    /// # Errors
    /// Docker cannot be asked.
    pub(crate) async fn look(&self) -> Result<(), EngineError> {
        let Some(docker) = self.engines.of(Runtime::Docker) else {
            return Ok(());
        };
        let listed = docker.user_networks().await?;
        self.ensure_default(&*docker, &listed).await?;
        let ids: BTreeSet<String> = listed.iter().map(|listed| listed.id.clone()).collect();
        self.table.record(|table| {
            lock(&self.presence).settle(&mut table.user_networks, &ids, self.clock.now());
            for listed in &listed {
                // One that is too much is refused when it is used.
                let _ = table
                    .user_networks
                    .create_network(&listed.id, listed.new.clone());
            }
        });
        for listed in &listed {
            self.named(&listed.id, &listed.name).await;
        }
        self.mirror(&*docker, &listed).await;
        Ok(())
    }

    /// Makes the Docker network of the network `default` if it is missing: `docker run --network mesh`.
    async fn ensure_default(
        &self,
        docker: &dyn Engine,
        listed: &[ListedNetwork],
    ) -> Result<(), EngineError> {
        let base = docker.network_base().await?;
        if listed.iter().any(|network| network.name == base) {
            return Ok(());
        }
        if let Err(error) = docker.ensure_network(base).await
            && lock(&self.told).insert(NetworkId::DEFAULT)
        {
            tracing::warn!("Docker has no network {base} on this host: {error}");
        }
        Ok(())
    }

    /// Makes the Docker networks of networks of the mesh that are missing, and removes those whose networks were removed.
    async fn mirror(&self, docker: &dyn Engine, listed: &[ListedNetwork]) {
        let all = self.networks.access().all();
        for mirror in all
            .iter()
            .filter_map(|definition| MirrorNetwork::of(definition))
        {
            let is_there = listed.iter().any(|listed| listed.name == mirror.name);
            let has_name = self.networks.access().resolve(&mirror.name) == Ok(mirror.network);
            if is_there || !has_name || may_be_ours(&mirror.name) {
                continue;
            }
            let Err(error) = docker.create_mirror(&mirror).await else {
                continue;
            };
            if lock(&self.told).insert(mirror.network) {
                let name = &mirror.name;
                tracing::warn!("the network {name} has no Docker network on this host: {error}");
            }
        }
        let is_known = |id: NetworkId| all.iter().any(|definition| definition.id == id);
        lock(&self.told).retain(|id| id.is_default() || is_known(*id));
        for listed in listed {
            let is_removed = |id: NetworkId| self.networks.access().is_removed(&id);
            if !listed.mirrors.is_some_and(is_removed) {
                continue;
            }
            // Containers may still be on it; they are disconnected first.
            if let Err(error) = docker.remove_network(&listed.id).await {
                tracing::debug!(%error, "a Docker network of a removed network is left for now");
            }
        }
    }

    /// Returns the network of the mesh that a Docker network is, once its name is known. Makes it if the mesh has none of
    /// that name.
    ///
    /// # Errors
    /// Docker does not tell the name; the mesh has a network of that name with other properties.
    pub(crate) async fn find(&self, id: &str) -> Result<NetworkId, AttachmentError> {
        let began = Instant::now();
        let network = loop {
            let known = self
                .table
                .read(|table| table.user_networks.network(id).cloned());
            match known {
                Some(network) if network.target(may_be_ours).is_some() => break network,
                _ if began.elapsed() < NAME_WAIT => tokio::time::sleep(POLL).await,
                _ => {
                    return Err(AttachmentError::Network(
                        "Docker has not told the name of this network yet; try again".into(),
                    ));
                }
            }
        };
        let mesh_network = match network.target(may_be_ours) {
            Some(MeshTarget::Named(name)) => self.make(id, name, &network).await?,
            Some(MeshTarget::Existing(text)) => {
                let found = self.existing(text).await?;
                match self.networks.access().definition(&found) {
                    // Its leader made both.
                    Some(definition) if definition.swarm_network() == Some(id) => found,
                    Some(definition) => self.compare(definition.name.as_str(), &network).await?,
                    None => found,
                }
            }
            Some(MeshTarget::Default) | None => NetworkId::DEFAULT,
        };
        self.note_resolved(id, mesh_network);
        self.lease_auxiliary(id, mesh_network).await;
        Ok(mesh_network)
    }

    /// Returns the network with a name or id. Waits for one that another host may just have made.
    async fn existing(&self, text: &str) -> Result<NetworkId, AttachmentError> {
        let began = Instant::now();
        loop {
            match self.networks.access().resolve(text) {
                Ok(found) => return Ok(found),
                Err(_) if began.elapsed() < NAME_WAIT => tokio::time::sleep(POLL).await,
                Err(error) => return Err(AttachmentError::Network(error)),
            }
        }
    }

    async fn make(
        &self,
        id: &str,
        name: &str,
        network: &UserNetwork,
    ) -> Result<NetworkId, AttachmentError> {
        if self.networks.access().resolve(name).is_ok() {
            return self.compare(name, network).await;
        }
        let avoid = tokio::task::spawn_blocking(occupied).await;
        let mut avoid: Vec<IpNet> = match avoid {
            Ok(Ok(occupied)) => occupied,
            _ => Vec::new(),
        };
        avoid.extend(self.source.range().map(IpNet::V4));
        let created = self
            .networks
            .access()
            .create(network.wish(name, avoid))
            .await;
        let Ok(created) = created else {
            // Somebody else may have made it at this moment.
            return self.compare(name, network).await;
        };
        if created.is_new {
            let made = created.id;
            self.table
                .record(|table| table.user_networks.set_made(id, made));
        }
        Ok(created.id)
    }

    /// Returns the network of this name, which exists; other hosts may have given it another range.
    async fn compare(
        &self,
        name: &str,
        network: &UserNetwork,
    ) -> Result<NetworkId, AttachmentError> {
        let mut wish = network.wish(name, Vec::new());
        for subnet in &mut wish.subnets {
            subnet.ip_range = None;
        }
        let found = self.networks.access().create(wish).await;
        found
            .map(|found| found.id)
            .map_err(AttachmentError::Network)
    }

    /// Leases the auxiliary addresses, so that no container of the mesh gets one.
    async fn lease_auxiliary(&self, id: &str, network: NetworkId) {
        let pools: Vec<_> = self.table.read(|table| {
            let pools = table.user_networks.pools_of(id);
            pools
                .map(|(id, pool)| (auxiliary_owner(id), pool.subnet, pool.auxiliary.clone()))
                .collect()
        });
        for (owner, subnet, auxiliary) in pools {
            let request = LeaseRequest {
                owner,
                patience: LEASE_WAIT,
                caller: 0,
            };
            for address in auxiliary {
                let address = IpNet::new_assert(address, subnet.prefix_len());
                let scoped = ScopedAddress::new(network, address);
                // Another host may have it for the same purpose.
                if let Err(error) = self.source.claim(scoped, &request).await {
                    tracing::debug!(%error, "an auxiliary address is leased already");
                }
            }
        }
    }

    /// Notes the network that was found, for the plugin process, which starts containers while no router runs.
    fn note_resolved(&self, id: &str, found: NetworkId) {
        let resolved = match self.networks.access().definition(&found) {
            Some(definition) => ResolvedNetwork::of(&definition),
            None => {
                let subnet = self.source.default_subnet().ok();
                let subnets = subnet.map(|subnet| NetworkSubnet {
                    net: subnet.into(),
                    gateway: None,
                    ip_range: None,
                });
                ResolvedNetwork {
                    network: found,
                    subnets: subnets.into_iter().collect(),
                    ..ResolvedNetwork::default()
                }
            }
        };
        self.table
            .record(|table| table.user_networks.set_resolved(id, resolved));
    }
}

/// Removes a network of the mesh that was made for a Docker network, if nobody uses it.
pub(super) fn remove_soon(networks: Arc<AttachedNetworks>, made: NetworkId) {
    tokio::spawn(async move {
        for _ in 0..REMOVALS {
            if networks.access().remove(made).await.is_ok() {
                return;
            }
            tokio::time::sleep(BETWEEN).await;
        }
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
