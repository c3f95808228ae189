//! The published parts of the table: for the control plane, for name servers, and for those who show leases.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mesh_host::docker::endpoint::ContainerRef;
use mesh_host::exposure::ExposedName;
use mesh_host::leases::container_names::ContainerNames;
use mesh_host::leases::lease_owner::id;
use mesh_host::member::ResolverSite;
use mesh_host::table::{Announced, AttachmentTable};
use mesh_proto::ids::Mac;
use mesh_proto::network::NetworkId;
use tokio::sync::watch;

/// The parts of the table that others read, told when they change.
pub(super) struct PublishedTable {
    announced: watch::Sender<Vec<Announced>>,
    resolver_sites: watch::Sender<Vec<ResolverSite>>,
    exposed_names: watch::Sender<Vec<ExposedName>>,
    /// Names of the containers that have leases.
    called: ContainerNames,
    beside: Mutex<BesideTable>,
}

/// Knowledge that is published with the table, and not stored.
#[derive(Default)]
struct BesideTable {
    /// The host's MAC addresses on the mesh, by network, once they are known.
    host_macs: BTreeMap<NetworkId, Mac>,
    /// Containers that Docker keeps, by the ids in the owners of their leases.
    keepers: BTreeMap<String, ContainerRef>,
    /// Number of renames of containers so far.
    renames: u64,
}

impl PublishedTable {
    /// Publishes nothing yet; names of containers go to `called`.
    pub(super) fn new(called: ContainerNames) -> Self {
        Self {
            announced: watch::Sender::default(),
            resolver_sites: watch::Sender::default(),
            exposed_names: watch::Sender::default(),
            called,
            beside: Mutex::default(),
        }
    }

    /// Returns the addresses that this router announces to the mesh, sorted.
    pub(super) fn announced(&self) -> watch::Receiver<Vec<Announced>> {
        self.announced.subscribe()
    }

    /// Returns the containers that are answered within their namespaces, sorted.
    pub(super) fn resolver_sites(&self) -> watch::Receiver<Vec<ResolverSite>> {
        self.resolver_sites.subscribe()
    }

    /// Returns the names of the host.
    pub(super) fn exposed_names(&self) -> watch::Receiver<Vec<ExposedName>> {
        self.exposed_names.subscribe()
    }

    /// Returns the host's MAC addresses on the mesh, by network, once they are known.
    pub(super) fn host_macs(&self) -> BTreeMap<NetworkId, Mac> {
        self.beside().host_macs.clone()
    }

    /// Notes the host's MAC address in a network; returns whether that is news.
    pub(super) fn set_host_mac(&self, network: NetworkId, mac: Mac) -> bool {
        self.beside().host_macs.insert(network, mac) != Some(mac)
    }

    /// Forgets the host's MAC address in a network.
    pub(super) fn forget_host_mac(&self, network: NetworkId) {
        self.beside().host_macs.remove(&network);
    }

    /// Returns the number of renames so far.
    pub(super) fn renames(&self) -> u64 {
        self.beside().renames
    }

    /// Notes the containers that Docker keeps, running or not, by the ids in the owners of their leases. Returns false,
    /// and changes nothing, if a container was renamed since there were `renames`: its name may be the old one.
    pub(super) fn set_keepers(
        &self,
        keepers: BTreeMap<String, ContainerRef>,
        renames: u64,
    ) -> bool {
        let mut beside = self.beside();
        let is_current = beside.renames == renames;
        if is_current {
            beside.keepers = keepers;
        }
        is_current
    }

    /// Notes another name of a container that Docker keeps.
    pub(super) fn rename_keeper(&self, container: &str, name: &str) {
        let mut beside = self.beside();
        beside.renames += 1;
        let keepers = beside.keepers.values_mut();
        keepers
            .filter(|keeper| keeper.id == container)
            .for_each(|keeper| name.clone_into(&mut keeper.name));
    }

    /// Publishes the table.
    pub(super) fn publish(&self, table: &AttachmentTable) {
        send(&self.exposed_names, table.exposed.names());
        send(&self.resolver_sites, table.members.resolver_sites());
        self.publish_names(table);
        send(&self.announced, table.announced(&self.host_macs()));
    }

    /// Publishes the names of containers, by each id that the owner of a lease may have.
    pub(super) fn publish_names(&self, table: &AttachmentTable) {
        let mut names: BTreeMap<String, String> = {
            let beside = self.beside();
            let keepers = beside.keepers.iter();
            keepers
                .map(|(id, keeper)| (id.clone(), keeper.name.clone()))
                .collect()
        };
        names.extend(table.container_names(id));
        self.called.set(names);
    }

    fn beside(&self) -> MutexGuard<'_, BesideTable> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn send<T: PartialEq>(to: &watch::Sender<T>, value: T) {
    to.send_if_modified(|old| {
        let changed = *old != value;
        *old = value;
        changed
    });
}
