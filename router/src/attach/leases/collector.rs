//! The garbage collector of leases at work: gathers what is known of them, releases and claims. [`LeaseGc`] decides.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use mesh_engine::container::EngineContainer;
use mesh_host::docker::driver_options;
use mesh_host::docker::endpoint::ContainerRef;
use mesh_host::leases::lease_gc::{
    DockerPromises, HeldLease, LeaseFacts, LeaseGc, LeaseKind, LeaseOwners, LeasedAddress,
};
use mesh_host::leases::lease_owner::{HOST, id, is_of_docker, lease_owner};
use mesh_host::network::scoped::ScopedAddress;
use mesh_host::table::{LeaseSubject, Reservation};
use mesh_proto::api::Runtime;
use mesh_proto::network::NetworkId;

use super::{LeaseRequest, LeaseSource};
use crate::attach::kernel::KernelHandle;
use crate::attach::operations::Operations;
use crate::attach::stored_table::StoredTable;
use crate::clock::Clock;
use crate::engine::Engines;

/// Longest time for the claim of an address in use; tried again by the next look.
const MEND_WAIT: Duration = Duration::from_secs(2);

/// Keeps the leases of this host to those that somebody can use.
pub(crate) struct LeaseCollector {
    table: Arc<StoredTable>,
    source: Arc<LeaseSource>,
    kernel: KernelHandle,
    engines: Engines,
    operations: Arc<Operations>,
    gc: Mutex<LeaseGc>,
    promises: Mutex<DockerPromises>,
    clock: Clock,
}

impl LeaseCollector {
    pub(crate) fn new(
        table: Arc<StoredTable>,
        source: Arc<LeaseSource>,
        kernel: KernelHandle,
        engines: Engines,
        operations: Arc<Operations>,
    ) -> Self {
        Self {
            table,
            source,
            kernel,
            engines,
            operations,
            gc: Mutex::default(),
            promises: Mutex::default(),
            clock: Clock::start(),
        }
    }

    /// Keeps the leases of a preparation, and its network open, as long as its caller lives.
    pub(crate) fn reserve(&self, id: &str, request: &LeaseRequest, network: NetworkId) {
        // Of one that cannot be seen from here the container has to be seen in time.
        let Some(caller) = self.kernel.process(request.caller) else {
            return;
        };
        let lease_owner = request.owner.clone();
        let mesh_networks = Some(network).filter(|network| !network.is_default());
        self.table.record(|table| {
            table.live_reservations(|process| self.kernel.is_alive(process));
            table.prepare(
                id,
                Reservation {
                    lease_owner,
                    caller,
                    mesh_networks: mesh_networks.into_iter().collect(),
                },
            );
        });
    }

    /// Forgets a preparation that was refused.
    pub(crate) fn forget(&self, id: &str) {
        self.table.record(|table| table.unprepare(id));
    }

    /// Releases what the container of a preparation, which did not start, does not use.
    pub(crate) async fn abandon(&self, id: &str) {
        let kept = self.table.record(|table| table.unprepare(id));
        let Some(Reservation { lease_owner, .. }) = kept else {
            return;
        };
        let used = self.used();
        for held in self.source.leases().await {
            let address = (held.network, held.addr);
            if held.owner == lease_owner && !used.contains_key(&address) {
                self.source.release(address, &lease_owner).await;
            }
        }
    }

    /// Notes that addresses were in use until now: they are free as soon as nobody else can use them.
    pub(crate) fn note_used(&self, addresses: impl IntoIterator<Item = ScopedAddress>) {
        let mut gc = self.gc();
        for scoped in addresses {
            if let Some((leased, _)) = self.source.lease_of(scoped) {
                gc.note_used(leased);
            }
        }
    }

    /// Remembers the leases of before this run: no request of this one waits for them.
    pub(crate) async fn note_inherited(&self) {
        let held = self.source.leases().await.into_iter();
        self.gc()
            .set_inherited(held.map(|held| (held.network, held.addr)));
    }

    /// Releases the leases that nobody can use any more, and claims those of addresses that are used.
    pub(crate) async fn collect(&self) {
        if !self.source.is_on() || self.operations.is_retired() {
            return;
        }
        let held = self.held().await;
        let mut prepared = self
            .table
            .record(|table| table.live_reservations(|process| self.kernel.is_alive(process)));
        self.table
            .read(|table| prepared.extend(table.user_networks.auxiliary_owners()));
        let promised = self.promised(&held).await;
        // Before the table is looked at: an address that is exposed by then is in it.
        let is_exposing = self.operations.is_exposing();
        let used = self.used();
        let facts = LeaseFacts {
            held: &held,
            prepared: &prepared,
            promised: promised.as_ref(),
            is_exposing,
            used: &used,
        };
        let free = self.gc().sweep(facts, self.clock.now());
        for (address, owner) in free {
            tracing::info!("{} is free: its container is gone", address.1);
            self.source.release(address, &owner).await;
            self.table
                .record(|table| table.user_networks.retain_given(|other| *other != owner));
        }
        let missing = self.gc().missing(facts);
        let claiming = async {
            for (network, net, owner) in missing {
                self.claim(network, net, owner).await;
            }
        };
        // What takes longer is for the next look.
        let _ = tokio::time::timeout(2 * MEND_WAIT, claiming).await;
    }

    async fn held(&self) -> BTreeMap<LeasedAddress, HeldLease> {
        let held = self.source.leases().await.into_iter();
        held.map(|held| {
            let kind = match &held.owner {
                owner if is_of_docker(owner) => LeaseKind::Docker,
                owner if owner == HOST => LeaseKind::Host,
                _ => LeaseKind::Other,
            };
            let owner = held.owner;
            ((held.network, held.addr), HeldLease { owner, kind })
        })
        .collect()
    }

    async fn claim(&self, network: NetworkId, net: IpNet, owner: String) {
        let request = LeaseRequest {
            owner,
            patience: MEND_WAIT,
            caller: 0,
        };
        let scoped = ScopedAddress::new(network, net);
        let claimed = self.source.claim(scoped, &request).await;
        let address = (network, net.addr());
        match claimed {
            Ok(()) => self.gc().claimed(address),
            Err(error) => {
                if self.gc().not_claimed(address) {
                    tracing::warn!("{} is used here and cannot be claimed: {error}", address.1);
                }
            }
        }
    }

    /// Returns the leased addresses that the table uses, with the owners of the leases.
    fn used(&self) -> LeaseOwners {
        self.table.read(|table| {
            let mut used = LeaseOwners::new();
            for (scoped, subject) in table.leases() {
                let Some((leased, net)) = self.source.lease_of(scoped) else {
                    continue;
                };
                // One that goes with an IPv4 address tells less than that.
                let has_own = scoped.ip() == leased.1;
                if has_own || !used.contains_key(&leased) {
                    used.insert(leased, (net, owner_of(&subject)));
                }
            }
            used
        })
    }

    /// Returns what Docker keeps for its containers; none when it cannot be asked. It is asked again only when there are
    /// other containers, or other addresses that nobody in the table uses, than before.
    async fn promised(&self, held: &BTreeMap<LeasedAddress, HeldLease>) -> Option<LeaseOwners> {
        let docker = self.engines.of(Runtime::Docker)?;
        let open = DockerPromises::open(held, &self.used());
        if self.promises().is_moot(&open) {
            return Some(LeaseOwners::new());
        }
        let renames = self.table.renames();
        let containers = docker.on_mesh().await.ok()?;
        if let Some(known) = self.promises().known(&containers, &open) {
            return Some(known.clone());
        }
        let mut found = Vec::new();
        for container in &containers {
            // One that is gone, or Docker is: the next look will tell.
            found.push(docker.inspect(container).await.ok()?);
        }
        let (promised, keepers) = self.promises_of(&found);
        if self.table.set_keepers(keepers, renames) {
            self.promises().learn(containers, open, promised.clone());
        }
        Some(promised)
    }

    /// Has Docker asked again at the next look: its events were missed until now.
    pub(crate) fn forget_promises(&self) {
        *self.promises() = DockerPromises::default();
    }

    /// Returns what these containers are promised, and whose promises they are by the ids in the owners of the leases.
    fn promises_of(
        &self,
        containers: &[EngineContainer],
    ) -> (LeaseOwners, BTreeMap<String, ContainerRef>) {
        let mut promised = LeaseOwners::new();
        let mut keepers = BTreeMap::new();
        for container in containers {
            let connections = container.connections.iter();
            // An IPv4 address comes first: one that goes with it tells less.
            for (scoped, owner) in connections.flat_map(driver_options::promises) {
                let Some((leased, net)) = self.source.lease_of(scoped) else {
                    continue;
                };
                let keeper = ContainerRef {
                    id: container.id.clone(),
                    name: container.name.clone(),
                };
                keepers.extend(id(&owner).map(|id| (id.to_owned(), keeper)));
                promised.entry(leased).or_insert((net, owner));
            }
        }
        (promised, keepers)
    }

    fn gc(&self) -> MutexGuard<'_, LeaseGc> {
        self.gc.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn promises(&self) -> MutexGuard<'_, DockerPromises> {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the owner of a lease, as the allocator knows it.
fn owner_of(subject: &LeaseSubject<'_>) -> String {
    match subject {
        LeaseSubject::Container(runtime, id) => lease_owner(*runtime, "", id),
        LeaseSubject::Stored(owner) => (*owner).to_owned(),
        LeaseSubject::Host => HOST.to_owned(),
    }
}
