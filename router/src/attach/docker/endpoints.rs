//! Endpoints of Docker networks. Nothing that the driver asks for waits for dockerd, which holds locks while it asks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use mesh_engine::container::EngineContainer;
use mesh_engine::docker::recovery::is_bare;
use mesh_engine::error::EngineError;
use mesh_engine::plugin::call::JoinedEndpoint;
use mesh_host::docker::deferral::{AddressSetting, FINISH_WAIT};
use mesh_host::docker::endpoint::{ContainerRef, DockerEndpoint, EndpointOptions, GivenAddresses};
use mesh_host::leases::lease_owner::lease_owner;
use mesh_host::network::scoped::ScopedAddress;
use mesh_proto::address::AddressArg;
use mesh_proto::api::Runtime;
use mesh_proto::ids::Mac;
use mesh_proto::network::NetworkId;

use super::UserNetworks;
use crate::attach::AttachmentError;
use crate::attach::foundation::Foundation;
use crate::attach::kernel::{KernelApi, KernelError, KernelHandle, NetnsRef};
use crate::attach::leases::{LeaseCollector, LeaseRequest, LeaseSource};
use crate::attach::networks::AttachedNetworks;
use crate::attach::stored_table::StoredTable;
use crate::attach::wakeups::Wakeups;
use crate::engine::Engines;

/// Longest time that the start of a container waits for what Docker does not do.
const SETTLE_WAIT: Duration = Duration::from_secs(1);
const SETTLE_POLL: Duration = Duration::from_millis(2);
/// Longest time for an address that nobody claimed before: another router may own its space.
const CLAIM_WAIT: Duration = Duration::from_secs(5);

/// Called with the addresses of a container of Docker, each with the owner of its lease.
type BeforeStart = dyn Fn(&[(String, IpNet)]) + Send + Sync;

/// An endpoint as Docker knows it.
pub(crate) struct KnownEndpoint {
    /// Id of its network.
    pub(crate) network: String,
    /// None before it is joined.
    pub(crate) container: Option<EngineContainer>,
}

/// Makes, finishes and removes the interfaces of Docker's endpoints.
pub(crate) struct DockerEndpoints {
    table: Arc<StoredTable>,
    kernel: KernelHandle,
    engines: Engines,
    source: Arc<LeaseSource>,
    leases: Arc<LeaseCollector>,
    wakeups: Arc<Wakeups>,
    networks: Arc<AttachedNetworks>,
    users: Arc<UserNetworks>,
    before_start: OnceLock<Arc<BeforeStart>>,
}

impl DockerEndpoints {
    pub(in crate::attach) fn new(base: &Foundation, users: Arc<UserNetworks>) -> Self {
        Self {
            table: base.table.clone(),
            kernel: base.kernel.clone(),
            engines: base.engines.clone(),
            source: base.source.clone(),
            leases: base.leases.clone(),
            wakeups: base.wakeups.clone(),
            networks: base.networks.clone(),
            users,
            before_start: OnceLock::new(),
        }
    }

    /// Reserves the address and makes the pair; returns the MAC of the container's interface. Without a wish, the address
    /// is the next one of the default subnet, for as long as the endpoint lasts.
    ///
    /// # Errors
    /// The address is used; the kernel's. Nothing is left of the attempt.
    pub(crate) async fn create(
        &self,
        id: &str,
        network: &str,
        wanted: Option<EndpointOptions>,
        mac: Option<Mac>,
    ) -> Result<(EndpointOptions, Mac), AttachmentError> {
        if let Some(wanted) = wanted {
            let mac = self.create_wanted(id, network, &wanted).await?;
            return Ok((wanted, mac));
        }
        let wanted = self.choose(id, mac).await?;
        let made = self.create_wanted(id, network, &wanted).await;
        if made.is_err() {
            let addresses = [wanted.address];
            let owner = &wanted.lease_owner;
            self.source
                .give_back(owner, wanted.network, &addresses)
                .await;
        }
        Ok((wanted, made?))
    }

    /// Makes the pair of an endpoint in a user's network, with the addresses that IPAM drivers of Docker have given it.
    ///
    /// # Errors
    /// The network cannot be used; an address is used; the kernel's. Nothing is left of the attempt.
    pub(crate) async fn create_given(
        &self,
        id: &str,
        network: &str,
        given: GivenAddresses,
        mac: Option<Mac>,
    ) -> Result<(EndpointOptions, Mac), AttachmentError> {
        let mesh_network = self.users.find(network).await?;
        let owner_of = |address: IpNet| self.users.lease_of(network, address);
        let is_ours = given.all().all(|address| owner_of(address).is_some());
        let owner =
            |address| owner_of(address).unwrap_or_else(|| lease_owner(Runtime::Docker, "", id));
        let wanted = EndpointOptions::given(mesh_network, given, owner, mac);
        let made = self.create_wanted(id, network, &wanted).await;
        let made = made.map_err(|error| match is_ours {
            true => error,
            false => AttachmentError::Allocation(format!(
                "{error}; Docker chose it without asking the mesh: create the network with --ipam-driver mesh"
            )),
        });
        Ok((wanted, made?))
    }

    /// Acquires an address for an endpoint that was given none.
    async fn choose(&self, id: &str, mac: Option<Mac>) -> Result<EndpointOptions, AttachmentError> {
        let lease = lease_request(lease_owner(Runtime::Docker, "", id));
        let args = [AddressArg::Default];
        let acquired = self.source.acquire(&lease, NetworkId::DEFAULT, &args).await;
        let without = |error: AttachmentError| {
            AttachmentError::Allocation(format!(
                "no address for the container ({error}); give it one with --driver-opt mesh.address=10.2.1.1/24, after \
                 docker network disconnect of what is stopped"
            ))
        };
        let acquired = acquired.map_err(without)?;
        let mut addresses = acquired.addresses.into_iter();
        let first = addresses.next();
        let given = GivenAddresses {
            first: first.ok_or(AttachmentError::Allocation("no address".into()))?,
            second: addresses.next(),
        };
        let owner = |_| lease.owner.clone();
        let network = NetworkId::DEFAULT;
        Ok(EndpointOptions::given(network, given, owner, mac))
    }

    async fn create_wanted(
        &self,
        id: &str,
        network: &str,
        wanted: &EndpointOptions,
    ) -> Result<Mac, AttachmentError> {
        let scoped = wanted.scoped();
        self.networks.open_for(scoped).await?;
        for address in wanted.all_scoped() {
            self.drop_stale(address, id).await?;
        }
        let lease = lease_request(match wanted.lease_owner.is_empty() {
            // The same again for the same connection.
            true => lease_owner(Runtime::Docker, "", network),
            false => wanted.lease_owner.clone(),
        });
        // Held already, when the container was prepared or ran before.
        self.source.claim(scoped, &lease).await?;
        if let Some(second) = &wanted.second {
            let lease = lease_request(second.lease_owner.clone());
            let scoped = ScopedAddress::new(wanted.network, second.address);
            self.source.claim(scoped, &lease).await?;
        }
        let endpoint = DockerEndpoint::new(network, wanted, lease.owner);
        let interface = endpoint.interface(id);
        let mac = interface.mac;
        // Swarm has freed an address before it gives it again; who announces it still is about to learn that.
        let is_free = self.networks.is_swarms(scoped);
        let elsewhere = |network, ip| (!is_free).then(|| self.source.elsewhere(network, ip))?;
        self.table
            .change(|table| Ok(table.insert_endpoint(id, endpoint, &elsewhere)?))?;
        let made = self
            .kernel
            .run(move |kernel| kernel.make_endpoint(&interface));
        match made.await {
            Ok(peer) => {
                self.table
                    .record(|table| table.endpoints.set_peer(id, peer));
                Ok(mac)
            }
            Err(error) => {
                self.table.record(|table| table.endpoints.remove(id));
                Err(error.into())
            }
        }
    }

    /// Removes an endpoint whose interface went with its container, while dockerd could not say so: it has no address.
    async fn drop_stale(&self, scoped: ScopedAddress, id: &str) -> Result<(), AttachmentError> {
        let ScopedAddress { network, address } = scoped;
        let binding = self
            .table
            .read(|table| table.binding_of(network, address.addr()));
        let endpoint = binding.and_then(|binding| binding.endpoint);
        let Some(other) = endpoint.filter(|other| other != id) else {
            return Ok(());
        };
        let plugged = self.kernel.run(|kernel| kernel.plugged()).await?;
        self.table
            .record(|table| table.endpoints.remove_stale(&other, &plugged));
        Ok(())
    }

    /// Notes that Docker is about to move the interface into the namespace at `sandbox`. What is left to do in the
    /// container is done as soon as it is there.
    ///
    /// # Errors
    /// The endpoint is not known.
    pub(crate) fn join(
        self: &Arc<Self>,
        id: &str,
        sandbox: PathBuf,
    ) -> Result<JoinedEndpoint, AttachmentError> {
        let joined = self.table.change(|table| {
            let unknown =
                || AttachmentError::Invalid(format!("the router does not know endpoint {id}"));
            let end = table.endpoints.join(id, &sandbox).ok_or_else(unknown)?;
            let networks = &table.user_networks;
            Ok(JoinedEndpoint {
                peer: end.peer.clone(),
                multicast: end.multicast,
                way_out: networks.way_out(&end.network, end.all_scoped().map(|scoped| scoped.ip())),
            })
        })?;
        self.finish_later(id, sandbox);
        Ok(joined)
    }

    /// Does what Docker does not do, once the interface is in the container.
    pub(crate) fn finish_later(self: &Arc<Self>, id: &str, sandbox: PathBuf) {
        let this = self.clone();
        let id = id.to_owned();
        tokio::spawn(async move { this.finish(&id, sandbox).await });
    }

    /// Waits for the interface to arrive, does what Docker does not, and learns the container's name.
    async fn finish(&self, id: &str, sandbox: PathBuf) {
        let began = Instant::now();
        // The container may fail to start for reasons of its own; it leaves the network then.
        while let Some(end) = self.joined_to(id, &sandbox) {
            let waited = began.elapsed();
            let setting = AddressSetting::after(waited, end.deferred);
            let (place, interface) = (sandbox.clone(), end.interface(id));
            let step =
                move |kernel: &dyn KernelApi| kernel.finish_endpoint(&place, &interface, setting);
            let error = match self.kernel.run(step).await {
                Ok(Some(ifname)) => {
                    self.table
                        .record(|table| table.endpoints.set_ifname(id, ifname));
                    break;
                }
                Ok(None) if waited < FINISH_WAIT => continue,
                Ok(None) => KernelError(format!(
                    "Docker moved no interface with {} into it in time",
                    end.address
                )),
                Err(error) => error,
            };
            if self.joined_to(id, &sandbox).is_some() {
                tracing::warn!(%error, endpoint = id, "an interface of a container is not finished");
            }
            break;
        }
        self.resolve_owners().await;
    }

    fn joined_to(&self, id: &str, sandbox: &Path) -> Option<DockerEndpoint> {
        self.table
            .read(|table| table.endpoints.joined_to(id, sandbox))
    }

    /// Waits until all is done that can be done for a container now, for a second at most: Docker asks about an endpoint
    /// that it has joined. An engine that had the namespace before has plugged it by now, and starts the container's first
    /// process after the answers.
    pub(crate) async fn settled(&self, id: &str) {
        self.tell_before_start(id).await;
        let sandbox = self.table.read(|table| table.endpoints.sandbox(id));
        let Some(sandbox) = sandbox.filter(|path| self.kernel.is_netns(path)) else {
            return;
        };
        let is_unfinished = || {
            self.table
                .read(|table| table.endpoints.is_unfinished(&sandbox))
        };
        let deadline = Instant::now() + SETTLE_WAIT;
        while is_unfinished() && Instant::now() < deadline {
            tokio::time::sleep(SETTLE_POLL).await;
        }
    }

    /// Has `told` called for each container of Docker before its first process runs.
    pub(crate) fn before_start(&self, told: impl Fn(&[(String, IpNet)]) + Send + Sync + 'static) {
        // The first counts; there is one.
        let _ = self.before_start.set(Arc::new(told));
    }

    async fn tell_before_start(&self, id: &str) {
        let Some(told) = self.before_start.get().cloned() else {
            return;
        };
        let joined = self
            .table
            .read(|table| table.endpoints.addresses_beside(id));
        // It writes a file.
        let done = tokio::task::spawn_blocking(move || told(&joined)).await;
        if let Err(error) = done {
            tracing::error!("a container that starts was not looked after: {error}");
        }
    }

    /// Notes that the container stops, or leaves the network.
    pub(crate) fn leave(&self, id: &str) {
        self.table.record(|table| table.endpoints.leave(id));
    }

    /// Forgets an endpoint; one that is not known is none too.
    pub(crate) async fn delete(&self, id: &str) {
        let known = self.table.record(|table| table.endpoints.remove(id));
        let Some(end) = known else {
            return;
        };
        let tag = end.interface(id).tag;
        if let Err(error) = self.kernel.unplug_all(vec![tag]).await {
            tracing::warn!(%error, "an interface of a container that is gone is left; trying again");
        }
        self.leases.note_used(end.all_scoped());
        self.wakeups.wake();
    }

    /// Asks Docker for the containers of endpoints that have no owner yet.
    pub(crate) async fn resolve_owners(&self) {
        let networks = self
            .table
            .read(|table| table.endpoints.networks_without_owners());
        let docker = self.engines.of(Runtime::Docker);
        let Some(docker) = docker.filter(|_| !networks.is_empty()) else {
            return;
        };
        for network in networks {
            let Ok(found) = docker.endpoints(&network).await else {
                continue;
            };
            self.table.record(|table| {
                for end in found {
                    let owner = ContainerRef {
                        id: end.container,
                        name: end.name,
                    };
                    table.endpoints.set_owner(&end.endpoint, owner);
                }
            });
        }
    }

    /// Returns what Docker says of an endpoint; none when it knows no such one.
    ///
    /// # Errors
    /// Docker cannot be asked.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<KnownEndpoint>, EngineError> {
        let Some(docker) = self.engines.of(Runtime::Docker) else {
            return Ok(None);
        };
        let hosts = docker.networks().await?.into_iter().map(|n| n.id);
        let of_swarm = docker.user_networks().await?.into_iter().map(|n| n.id);
        for network in hosts.chain(of_swarm).collect::<BTreeSet<String>>() {
            let ends = docker.endpoints(&network).await?;
            let Some(end) = ends.into_iter().find(|end| end.endpoint == id) else {
                continue;
            };
            let container = match docker.inspect(&end.container).await {
                Ok(container) => Some(container),
                Err(EngineError::NoContainer(_)) => None,
                Err(error) => return Err(error),
            };
            return Ok(Some(KnownEndpoint { network, container }));
        }
        Ok(None)
    }

    /// Enters an endpoint that was made and joined without the router.
    pub(crate) fn enter(
        &self,
        id: &str,
        network: &str,
        container: &EngineContainer,
        wanted: &EndpointOptions,
    ) {
        let endpoint = DockerEndpoint {
            sandbox: Some(container.sandbox.clone().into()),
            owner: Some(container.reference()),
            ..DockerEndpoint::new(network, wanted, wanted.lease_owner.clone())
        };
        self.table
            .record(|table| table.endpoints.insert_if_absent(id, endpoint));
    }

    /// Gives an address to containers that Docker connected while no router could choose one; the next look plugs them.
    ///
    /// # Errors
    /// Docker cannot be asked; no address is free.
    pub(crate) async fn address_bare(&self) -> Result<(), AttachmentError> {
        let Some(docker) = self.engines.of(Runtime::Docker) else {
            return Ok(());
        };
        for network in docker.networks().await? {
            // Docker has given their endpoints addresses.
            if self.users.has_addresses(&network.id) {
                continue;
            }
            for end in docker.endpoints(&network.id).await? {
                let id = &end.endpoint;
                if self.table.read(|table| table.endpoints.get(id).is_some()) {
                    continue;
                }
                let Ok(container) = docker.inspect(&end.container).await else {
                    continue;
                };
                if is_bare(&container, id) && container.running {
                    let wanted = self.choose(id, None).await?;
                    self.enter(id, &network.id, &container, &wanted);
                    self.wakeups.wake();
                }
            }
        }
        Ok(())
    }

    /// Plugs an endpoint into its namespace again. One that left in the meantime is taken out.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn put_back(
        &self,
        id: &str,
        end: &DockerEndpoint,
        sandbox: &Path,
    ) -> Result<(), KernelError> {
        let interface = end.interface(id);
        let tag = interface.tag.clone();
        let target = NetnsRef::Path(sandbox.to_owned());
        let ifname = self
            .kernel
            .run(move |kernel| kernel.plug(&target, &interface))
            .await?;
        if self.is_joined(id) {
            self.table
                .record(|table| table.endpoints.set_ifname(id, ifname));
        } else {
            let _ = self.kernel.unplug_all(vec![tag]).await;
        }
        Ok(())
    }

    /// Returns whether an endpoint is joined to a namespace.
    pub(crate) fn is_joined(&self, id: &str) -> bool {
        self.table
            .read(|table| table.endpoints.sandbox(id).is_some())
    }
}

fn lease_request(owner: String) -> LeaseRequest {
    LeaseRequest {
        owner,
        patience: CLAIM_WAIT,
        caller: 0,
    }
}
