//! Makes the kernel agree with the table: what someone deleted comes back, what has ended goes. What is to be done is
//! decided in [`mesh_host::reconcile`], [`mesh_host::orphan`], [`mesh_host::network::usage`] and
//! [`mesh_host::leases::lease_gc`].

mod bridge_repair;
mod endpoint_repair;
mod member_repair;
mod orphans;
mod removed_networks;

use std::sync::Arc;
use std::time::Duration;

use mesh_engine::error::EngineError;
use mesh_host::reconcile::{EngineListing, EngineListings, needs_listing};
use mesh_proto::api::Runtime;
use tokio::sync::watch;

use super::AttachmentError;
use super::docker::{DockerEndpoints, DockerNetworks, Revival, SwarmNetworks, UserNetworks};
use super::foundation::Foundation;
use super::kernel::KernelHandle;
use super::leases::LeaseCollector;
use super::operations::Operations;
use super::stored_table::StoredTable;
use super::wakeups::Wakeups;
use crate::engine::Engines;

pub(super) use bridge_repair::BridgeRepair;
pub(super) use endpoint_repair::EndpointRepair;
pub(super) use member_repair::MemberRepair;
pub(super) use orphans::Orphans;
pub(super) use removed_networks::RemovedNetworks;

/// Time between two looks at everything.
const PERIOD: Duration = Duration::from_secs(3);
/// Every so many looks podman is asked, too: it has no daemon, and each question costs a process.
const PODMAN_EVERY: u32 = 3;
/// Every so many looks Docker is asked for what was connected or disconnected without us, and for networks that are gone.
const DOCKER_EVERY: u32 = 10;

/// Repairs in the kernel, in this order.
pub(super) struct Repairs {
    pub(super) networks: RemovedNetworks,
    pub(super) bridge: BridgeRepair,
    pub(super) members: MemberRepair,
    pub(super) endpoints: EndpointRepair,
    pub(super) orphans: Orphans,
}

/// Repairs in Docker.
pub(super) struct DockerRepairs {
    pub(super) endpoints: Arc<DockerEndpoints>,
    pub(super) networks: Arc<DockerNetworks>,
    pub(super) users: Arc<UserNetworks>,
    pub(super) swarm: Arc<SwarmNetworks>,
    pub(super) revival: Revival,
}

/// Looks at everything, again and again.
pub(super) struct Reconciler {
    table: Arc<StoredTable>,
    kernel: KernelHandle,
    engines: Engines,
    operations: Arc<Operations>,
    wakeups: Arc<Wakeups>,
    leases: Arc<LeaseCollector>,
    repairs: Repairs,
    docker: DockerRepairs,
}

impl Reconciler {
    pub(super) fn new(base: &Foundation, repairs: Repairs, docker: DockerRepairs) -> Self {
        Self {
            table: base.table.clone(),
            kernel: base.kernel.clone(),
            engines: base.engines.clone(),
            operations: base.operations.clone(),
            wakeups: base.wakeups.clone(),
            leases: base.leases.clone(),
            repairs,
            docker,
        }
    }

    /// Reconciles at once, then every 3 s and whenever a container's process ends. Runs until it is dropped.
    pub(super) async fn run(&self) {
        for pid in self.table.read(|table| table.members.pids()) {
            self.wakeups.wake_at_end(&self.kernel, pid);
        }
        self.leases.note_inherited().await;
        let mut is_settled = false;
        for round in 0u32.. {
            let is_due = round % PODMAN_EVERY == 0;
            let ask_podman = self.wakeups.take_podman() || is_due;
            self.reconcile(ask_podman).await;
            let again = self.wakeups.take_docker();
            if again || !is_settled || round % DOCKER_EVERY == 0 {
                is_settled = self.settle_docker().await;
            }
            self.leases.collect().await;
            if is_due {
                self.docker.revival.revive().await;
            }
            self.wakeups.wait(PERIOD).await;
        }
    }

    /// Looks at everything once; `ask_podman` as podman is slow to ask. Failures are logged and tried again by the next
    /// look.
    pub(super) async fn reconcile(&self, ask_podman: bool) {
        if self.operations.is_retired() {
            return;
        }
        // Asked before the operations are locked.
        let listings = self.list(ask_podman).await;
        let _guard = self.operations.begin().await;
        self.repairs.networks.mend().await;
        self.repairs.bridge.mend().await;
        // The table before the interfaces: what the driver makes in between is then in neither or in the second only.
        let table = self.table.read(Clone::clone);
        let Ok(plugged) = self.kernel.run(|kernel| kernel.plugged()).await else {
            return;
        };
        for (key, member) in table.members.iter() {
            let mended = self.repairs.members.mend(key, member, &listings, &plugged);
            if let Err(error) = mended.await {
                tracing::warn!(%error, container = member.name, "an attachment could not be mended");
            }
        }
        for (id, end) in table.endpoints.iter() {
            self.repairs.endpoints.mend(id, end, &plugged).await;
        }
        self.repairs.orphans.settle(&plugged).await;
        self.docker.endpoints.resolve_owners().await;
    }

    async fn list(&self, ask_podman: bool) -> EngineListings {
        let (docker, podman) = self.table.read(|table| {
            let needs = |runtime| needs_listing(&table.members, runtime);
            (needs(Runtime::Docker), needs(Runtime::Podman))
        });
        EngineListings {
            docker: self.list_of(Runtime::Docker, docker).await,
            podman: self.list_of(Runtime::Podman, podman && ask_podman).await,
        }
    }

    async fn list_of(&self, runtime: Runtime, needed: bool) -> EngineListing {
        let engine = self.engines.of(runtime).filter(|_| needed)?;
        engine.list().await.ok()
    }

    /// Mends what Docker did without the router: endpoints without addresses, and networks that stopped containers miss.
    /// Returns whether it could be asked.
    async fn settle_docker(&self) -> bool {
        if self.operations.is_retired() {
            return true;
        }
        self.docker.swarm.look();
        let users = self.docker.users.look().await;
        let users = users.map_err(AttachmentError::from);
        let bare = self.docker.endpoints.address_bare().await;
        let networks = self.docker.networks.mend().await;
        let networks = networks.map_err(AttachmentError::from);
        for error in [users.err(), bare.err(), networks.err()]
            .into_iter()
            .flatten()
        {
            match error {
                AttachmentError::Engine(EngineError::Unavailable(_) | EngineError::Silent(_)) => {
                    return false;
                }
                error => tracing::warn!(%error, "not all containers of Docker could be mended"),
            }
        }
        true
    }

    /// Takes all interfaces of containers off the mesh, and forgets them. Callers have the turn to change containers.
    ///
    /// # Errors
    /// An interface could not be removed.
    pub(super) async fn clear(&self) -> Result<(), AttachmentError> {
        let plugged = self.kernel.run(|kernel| kernel.plugged()).await?;
        self.kernel
            .unplug_all(plugged.into_iter().collect())
            .await?;
        self.table.record(|table| {
            table.members.clear();
            table.endpoints.clear();
        });
        Ok(())
    }

    /// Returns a number that is raised whenever the router's port had to be made again and must be opened again.
    pub(super) fn port_generation(&self) -> watch::Receiver<u64> {
        self.repairs.bridge.port_generation()
    }

    /// Returns the changes of late at ports of `bridge` by somebody else, as a warning.
    pub(super) fn interference(&self, bridge: &str) -> Option<String> {
        self.repairs.bridge.interference(bridge)
    }

    /// Starts containers that Docker gave up on because the router was away.
    #[cfg(test)]
    pub(super) async fn revive(&self) {
        self.docker.revival.revive().await;
    }
}
