//! Attachments: all that is on the mesh on this host, which is containers of Docker and podman, and processes in namespaces of ours.
//!
//! | way in | who makes the namespace | who plugs | it goes when |
//! |---|---|---|---|
//! | `run`, Docker | Docker | Docker, through the network driver ([`crate::driver`]) | Docker says so |
//! | `run`, podman | the router | the router | the container is removed |
//! | `run`, process | the router | the router | the process ends |
//! | `attach` | the engine | the router | the container stops; it comes back when it runs again |
//! | `expose` | – (the host's own) | the router: an address of the bridge | `hide` says so |
//!
//! One table holds all of it, stored before it is acted upon. A change is: reserve the addresses in the table, act on
//! the kernel, undo the reservation if that failed. [`Attachments::reconcile`] makes the kernel agree with the table.
//!
//! | part | subject |
//! |---|---|
//! | `stored_table`, `published` | the table, stored and published; its types and decisions are in [`mesh_host`] |
//! | `foundation` | the parts that all others stand on |
//! | `operations`, `wakeups` | turns of those that change something, and reasons to look early |
//! | `networks` | networks found, joined, opened and left |
//! | `leases` | addresses acquired and released |
//! | `containers` | `run`, `attach`, `detach` |
//! | `docker` | endpoints and networks of Docker |
//! | `host` | `expose`, `attach-bridge` |
//! | `reconcile` | the kernel, Docker and the table made to agree |
//! | [`kernel`] | the seam to the kernel |

mod containers;
mod docker;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod foundation;
mod host;
pub mod kernel;
mod leases;
mod networks;
mod operations;
mod published;
mod reconcile;
mod stored_table;
#[cfg(test)]
mod tests;
mod wakeups;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use mesh_engine::plugin::call::JoinedEndpoint;
use mesh_host::exposure::ExposedName;
use mesh_host::hosts::HostsWish;
use mesh_host::member::ResolverSite;
use mesh_host::network::view::NetworkView;
use mesh_host::table::{Announced, AttachmentTable};
use mesh_names::MeshName;
use mesh_networks::HostNetworks;
use mesh_proto::api::{
    AbandonRequest, AdoptRequest, ArrivedRequest, AttachRequest, AttachedContainer,
    ContainerAddresses, DetachRequest, ExposeRequest, Exposed, Hidden, HideRequest, HostReport,
    PrepareRequest, Prepared, Runtime,
};
use mesh_proto::network::NetworkId;
use tokio::sync::watch;

use crate::engine::Engines;
use crate::ipam::Allocator;
use crate::state::{StateError, Store};
use containers::{ContainerCommands, Detachment, Members, Preparations, Tenants};
use docker::{DockerEndpoints, DockerNetworks, DockerParts, DockerPools, Revival, UserNetworks};
use foundation::Foundation;
use host::{HostExposer, Uplinks};
use kernel::KernelApi;
use reconcile::{
    BridgeRepair, DockerRepairs, EndpointRepair, MemberRepair, Orphans, Reconciler,
    RemovedNetworks, Repairs,
};

pub(crate) use docker::SwarmNetworks;
pub use error::AttachmentError;
pub use kernel::HostKernel;
pub use leases::AddressBook;
pub use networks::{CreateAnswer, JoinAnswer, NetworkAccess};

/// All that attachments ask of the rest of the router, and of the host.
pub struct Surroundings {
    /// State files.
    pub store: Arc<Store>,
    /// The kernel.
    pub kernel: Arc<dyn KernelApi>,
    /// Engines of this host.
    pub engines: Engines,
    /// Holders of addresses elsewhere in the mesh.
    pub book: AddressBook,
    /// Allocation of addresses.
    pub allocator: Allocator,
    /// Networks of the mesh.
    pub networks: Arc<dyn NetworkAccess>,
}

/// The parts, and their owner. Shared between the API, the Docker driver and the reconciler.
pub struct Attachments {
    /// Name of the bridge.
    bridge: String,
    base: Foundation,
    preparations: Preparations,
    containers: ContainerCommands,
    docker: DockerParts,
    exposer: Arc<HostExposer>,
    uplinks: Arc<Uplinks>,
    reconciler: Reconciler,
}

impl Attachments {
    /// Reads what was on the mesh when the router last ran. Nothing is plugged before [`Attachments::run`] or
    /// [`Attachments::reconcile`].
    ///
    /// # Errors
    /// The stored table cannot be read.
    pub fn open(around: Surroundings, bridge: &str) -> Result<Arc<Self>, StateError> {
        let base = Foundation::open(around)?;
        let members = Arc::new(Members::new(&base));
        let tenants = Arc::new(Tenants::new(&base, &members));
        let users = Arc::new(UserNetworks::new(&base));
        let swarm = Arc::new(SwarmNetworks::new(&base));
        let endpoints = Arc::new(DockerEndpoints::new(&base, users.clone()));
        let networks = Arc::new(DockerNetworks::new(&base));
        let exposer = Arc::new(HostExposer::new(&base));
        let uplinks = Arc::new(Uplinks::new(&base));
        let prefix = netns_prefix(bridge);
        let docker = DockerRepairs {
            endpoints: endpoints.clone(),
            networks: networks.clone(),
            users: users.clone(),
            swarm: swarm.clone(),
            revival: Revival::new(&base),
        };
        let preparations = Preparations::new(&base, &members, &tenants, prefix.clone());
        let detachment = Arc::new(Detachment::new(&base, &members, &endpoints));
        let containers = ContainerCommands::new(&base, &members, &tenants, &endpoints, &detachment);
        let repairs = Repairs {
            networks: RemovedNetworks::new(&base, detachment, exposer.clone(), uplinks.clone()),
            bridge: BridgeRepair::new(&base, exposer.clone(), uplinks.clone()),
            members: MemberRepair::new(&base, members, tenants),
            endpoints: EndpointRepair::new(&base, endpoints.clone()),
            orphans: Orphans::new(&base, endpoints.clone(), prefix),
        };
        Ok(Arc::new(Self {
            bridge: bridge.to_owned(),
            preparations,
            containers,
            docker: DockerParts {
                endpoints,
                networks,
                pools: DockerPools::new(&base, users.clone()),
                users,
                swarm,
            },
            exposer,
            uplinks,
            reconciler: Reconciler::new(&base, repairs, docker),
            base,
        }))
    }

    /// Reconciles at once, then every 3 s and whenever a container's process ends. Runs until it is dropped.
    pub async fn run(self: Arc<Self>) {
        self.reconciler.run().await;
    }

    /// Makes the kernel agree with the table once; podman is slow to ask. Failures are logged and tried again by the next
    /// look.
    pub async fn reconcile(&self, ask_podman: bool) {
        self.reconciler.reconcile(ask_podman).await;
    }

    /// Keeps what the host is exposed as, at once and every 2 s. Runs until it is dropped.
    pub async fn keep_exposed(self: Arc<Self>) {
        self.exposer.run().await;
    }

    /// Takes everything off the mesh for good: the space is about to be handed over.
    ///
    /// # Errors
    /// An interface could not be removed; it can be tried again.
    pub async fn retire(&self) -> Result<(), AttachmentError> {
        self.base.operations.retire();
        self.exposer.hide_all().await?;
        let _guard = self.base.operations.begin().await;
        self.uplinks.leave_all().await?;
        self.reconciler.clear().await?;
        self.base.networks.close_all().await
    }
}

/// Requests of users.
impl Attachments {
    /// Makes ready what `mesh run` gives to the engine: networks of Docker, or a namespace with its interfaces up.
    ///
    /// # Errors
    /// An address that cannot be used, an engine that is away, the kernel's. Nothing is left of the attempt.
    pub async fn prepare(&self, request: &PrepareRequest) -> Result<Prepared, AttachmentError> {
        self.preparations.prepare(request).await
    }

    /// Has a prepared namespace live as long as the container or the process.
    ///
    /// # Errors
    /// [`AttachmentError::NotPrepared`] after the caller's end or `abandon`; [`AttachmentError::NoProcess`].
    pub async fn adopt(&self, request: &AdoptRequest) -> Result<(), AttachmentError> {
        self.preparations.adopt(request).await
    }

    /// Undoes [`Attachments::prepare`]; success if that was done already.
    ///
    /// # Errors
    /// The namespace cannot be removed.
    pub async fn abandon(&self, request: &AbandonRequest) -> Result<(), AttachmentError> {
        self.preparations.abandon(request).await
    }

    /// Waits until a container has its addresses. One that has ended already cannot be looked at, and is success.
    ///
    /// # Errors
    /// The addresses that are missing.
    pub async fn arrived(&self, request: &ArrivedRequest) -> Result<(), AttachmentError> {
        containers::await_addresses(request, &self.base.engines, &self.base.kernel).await
    }

    /// Plugs a running container; an address it has already is success.
    ///
    /// # Errors
    /// An address that is used elsewhere, a container that is not there, not running, or on the host's network; the
    /// kernel's. Nothing is left of the attempt.
    pub async fn attach(
        &self,
        request: &AttachRequest,
    ) -> Result<ContainerAddresses, AttachmentError> {
        self.containers.attach(request).await
    }

    /// Unplugs a container, running or not, from some or all of its addresses.
    ///
    /// # Errors
    /// A container that is not there, an address it does not have; then nothing is done.
    pub async fn detach(
        &self,
        request: &DetachRequest,
    ) -> Result<ContainerAddresses, AttachmentError> {
        self.containers.detach(request).await
    }

    /// Gives the host addresses on the mesh; one it has already is success.
    ///
    /// # Errors
    /// An address that is used, or in the way of another interface's; no firewall program; the kernel's. Nothing is left of
    /// the attempt.
    pub async fn expose(
        &self,
        request: &ExposeRequest,
        name: Option<MeshName>,
    ) -> Result<Exposed, AttachmentError> {
        self.exposer.expose(request, name).await
    }

    /// Takes addresses from the host, or all; one it does not have is success.
    ///
    /// # Errors
    /// The kernel's; then the rest of what was exposed, and what could not be taken away, is as before.
    pub async fn hide(&self, request: &HideRequest) -> Result<Hidden, AttachmentError> {
        self.exposer.hide(request).await
    }

    /// Joins another bridge of the host to a network of the mesh; one that is joined to it already is success.
    ///
    /// # Errors
    /// There is no such network or bridge, or it leads to the mesh already, or is on another network; the kernel's. Nothing
    /// is left of the attempt.
    pub async fn attach_bridge(&self, network: &str, name: &str) -> Result<(), AttachmentError> {
        self.uplinks.attach(network, name).await
    }

    /// Takes a bridge off the mesh.
    ///
    /// # Errors
    /// It was not attached; the kernel's.
    pub async fn detach_bridge(&self, name: &str) -> Result<(), AttachmentError> {
        self.uplinks.detach(name).await
    }

    /// Makes Docker networks again that stopped containers want, and connects these with the addresses they had; returns
    /// the number of containers.
    ///
    /// # Errors
    /// Docker cannot be asked, or refuses for one of them; the others are mended.
    pub(crate) async fn mend_networks(&self) -> Result<usize, AttachmentError> {
        Ok(self.docker.networks.mend().await?)
    }
}

/// Requests of the Docker driver. None of them waits for dockerd, which holds locks while it asks.
impl Attachments {
    /// Returns Docker's parts.
    pub(crate) fn docker(&self) -> &DockerParts {
        &self.docker
    }

    /// Notes that Docker is about to move the interface into the namespace at `sandbox`.
    ///
    /// # Errors
    /// The endpoint is not known.
    pub(crate) fn join(
        &self,
        id: &str,
        sandbox: PathBuf,
    ) -> Result<JoinedEndpoint, AttachmentError> {
        self.docker.endpoints.join(id, sandbox)
    }

    /// Forgets an endpoint; one that is not known is none too.
    pub(crate) async fn delete_endpoint(&self, id: &str) {
        self.docker.endpoints.delete(id).await;
    }

    /// Looks at everything now: Docker was answered without the router, or the mesh has other networks.
    pub fn look_again(&self) {
        self.base.wakeups.wake_for_docker();
    }
}

/// Views for others, and events of the engines.
impl Attachments {
    /// Returns what this router announces to the mesh, sorted; changes within milliseconds of what happens on the host.
    pub fn announced(&self) -> watch::Receiver<Vec<Announced>> {
        self.base.table.published().announced()
    }

    /// Returns the networks besides `default` that containers of this host are in, or were in a moment ago: this router is
    /// a member of them.
    pub fn open_networks(&self) -> watch::Receiver<HostNetworks> {
        self.base.networks.opened()
    }

    /// Returns the containers that are answered within their namespaces, sorted; changes as they come and go.
    pub(crate) fn resolver_sites(&self) -> watch::Receiver<Vec<ResolverSite>> {
        self.base.table.published().resolver_sites()
    }

    /// Returns the networks of the mesh that Docker's networks with endpoints here are, by their ids.
    pub(crate) fn docker_networks(&self) -> BTreeMap<String, NetworkId> {
        self.base
            .table
            .read(|table| table.endpoints.mesh_networks())
    }

    /// Returns the names of the host.
    pub(crate) fn exposed_names(&self) -> watch::Receiver<Vec<ExposedName>> {
        self.base.table.published().exposed_names()
    }

    /// Returns a number that is raised whenever the router's port had to be made again and must be opened again.
    pub fn port_generation(&self) -> watch::Receiver<u64> {
        self.reconciler.port_generation()
    }

    /// Returns the engines of this host.
    pub fn engines(&self) -> &Engines {
        &self.base.engines
    }

    /// Returns the names of all that is in a network on this host, running or not, sorted.
    pub(crate) fn names_in(&self, network: NetworkId) -> Vec<String> {
        let bindings = self.base.table.read(|table| table.bindings_in(network));
        let names: BTreeSet<String> = bindings.into_iter().map(|binding| binding.name).collect();
        names.into_iter().collect()
    }

    /// Returns what is on the mesh on this host, by container.
    pub fn ps(&self) -> Vec<AttachedContainer> {
        let mut rows = self.rows();
        self.base.networks.annotate(&mut rows);
        rows
    }

    /// Returns the addresses of containers in networks besides `default`, each with the container as `ps` lists it.
    pub(crate) fn network_addresses<T: FromIterator<(String, IpAddr, NetworkId)>>(&self) -> T {
        self.base
            .table
            .read(|table| table.network_addresses().collect())
    }

    fn rows(&self) -> Vec<AttachedContainer> {
        let macs = self.base.table.host_macs();
        let view = NetworkView {
            name: &|network| self.base.networks.name(network),
            bridge: &|network| self.base.kernel.bridge_of(network),
            host_mac: &|network| macs.get(&network).copied(),
        };
        self.base.table.read(|table| table.ps(view))
    }

    /// Returns whether this container, by its full id, is Docker's.
    pub(crate) fn is_of_docker(&self, container: &str) -> bool {
        let rows = self.ps();
        let mut rows = rows.iter().filter(|row| row.container == container);
        rows.any(|row| row.runtime == Runtime::Docker)
    }

    /// Returns whether a container of podman is on the mesh, running or stopped.
    pub(crate) fn has_podman(&self) -> bool {
        self.base
            .table
            .read(|table| table.members.has_runtime(Runtime::Podman))
    }

    /// Returns the users' wishes about the `/etc/hosts` of containers that were attached.
    pub(crate) fn hosts_wishes(&self) -> BTreeMap<String, HostsWish> {
        self.base.table.read(|table| table.members.hosts_wishes())
    }

    /// Returns the host's part in the mesh, for the report.
    pub fn host_report(&self) -> HostReport {
        HostReport {
            bridges: self.uplinks.report(),
            ..self.exposer.report()
        }
    }

    /// Returns what keeps the host from what it is exposed as; one line.
    pub fn host_problem(&self) -> Option<String> {
        self.exposer.problem()
    }

    /// Returns the changes of late at ports of the bridge by somebody else, as a warning.
    pub fn interference(&self) -> Option<String> {
        self.reconciler.interference(&self.bridge)
    }

    /// Calls `told` for each container of Docker before its first process runs, with its addresses and the owners of
    /// their leases.
    pub(crate) fn before_start(&self, told: impl Fn(&[(String, IpNet)]) + Send + Sync + 'static) {
        self.docker.endpoints.before_start(told);
    }

    /// Asks Docker for the containers of endpoints that have no owner yet.
    pub(crate) async fn resolve_owners(&self) {
        self.docker.endpoints.resolve_owners().await;
    }

    /// Notes another name of a container.
    pub(crate) fn rename(&self, container: &str, name: &str) {
        self.base.table.rename(container, name);
    }

    /// Notes that events of Docker may have been missed until now.
    pub(crate) fn docker_connected(&self) {
        self.base.leases.forget_promises();
    }

    /// Asks podman soon: something about a container of it is not as it was.
    pub(crate) fn look_at_podman(&self) {
        self.base.wakeups.wake_for_podman();
    }
}

/// Returns the addresses of the host in the network `default` that a router which is not running had given it.
///
/// # Errors
/// The stored table cannot be read.
pub(crate) fn stored_exposure(store: &Store) -> Result<Vec<IpNet>, StateError> {
    let table: AttachmentTable = store.attachments()?;
    let of_default = table.exposed.addresses().filter(|a| a.network.is_default());
    Ok(of_default.map(|scoped| scoped.address).collect())
}

/// Returns the beginning of the names of the mesh's namespaces on this bridge.
pub(crate) fn netns_prefix(bridge: &str) -> String {
    format!("{bridge}-ns-")
}
