//! Networks of containers on this host: found by name, joined and opened before something is plugged into them, closed
//! when nothing has used them for a while, and left when the mesh has them no more.

mod access;
mod notes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use mesh_host::arguments::{ArgumentMeaning, parse_addresses};
use mesh_host::network::addresses::{AddressFor, check_in, parse_in};
use mesh_host::network::scoped::ScopedAddress;
use mesh_host::network::usage::UsedNetworks;
use mesh_host::table::AttachmentTable;
use mesh_networks::{DEFAULT_NETWORK, HostNetworks, NetworkDefinition, UnknownNetwork};
use mesh_proto::address::AddressArg;
use mesh_proto::api::AttachedContainer;
use mesh_proto::limits::MAX_NETWORKS;
use mesh_proto::network::NetworkId;
use tokio::sync::watch;

use super::AttachmentError;
use super::kernel::KernelHandle;
use super::stored_table::StoredTable;
use crate::clock::Clock;
use notes::EvictionNotes;

pub use access::{CreateAnswer, JoinAnswer, NetworkAccess};
pub(crate) use notes::EvictedContainer;

/// The network of a request.
#[derive(Clone)]
pub(crate) struct ChosenNetwork {
    /// Its id.
    pub(crate) id: NetworkId,
    /// None for `default`.
    definition: Option<Arc<NetworkDefinition>>,
}

impl ChosenNetwork {
    /// Returns what address arguments of a request mean in it.
    ///
    /// # Errors
    /// An argument that cannot be used in it.
    pub(crate) fn addresses(
        &self,
        args: &[String],
        purpose: AddressFor,
    ) -> Result<Vec<AddressArg>, AttachmentError> {
        let Some(definition) = &self.definition else {
            return Ok(parse_addresses(args)?);
        };
        Ok(parse_in(definition, args, purpose)?)
    }

    /// Returns a definition; none for `default`.
    pub(crate) fn definition(&self) -> Option<&NetworkDefinition> {
        self.definition.as_deref()
    }

    /// Returns an address in it.
    pub(crate) fn scoped(&self, address: IpNet) -> ScopedAddress {
        ScopedAddress::new(self.id, address)
    }
}

/// Keeps the networks that containers of this host are in.
pub(crate) struct AttachedNetworks {
    access: Arc<dyn NetworkAccess>,
    kernel: KernelHandle,
    table: Arc<StoredTable>,
    usage: Mutex<UsedNetworks>,
    open: watch::Sender<HostNetworks>,
    /// Names of networks that are used, also after they were removed; at most [`MAX_NETWORKS`], then all are forgotten.
    names: Mutex<BTreeMap<NetworkId, String>>,
    /// Networks that could not be opened, with the reason as it was told.
    failed: Mutex<BTreeMap<NetworkId, String>>,
    notes: Mutex<EvictionNotes>,
    clock: Clock,
}

impl AttachedNetworks {
    pub(super) fn new(
        access: Arc<dyn NetworkAccess>,
        kernel: KernelHandle,
        table: Arc<StoredTable>,
    ) -> Self {
        let used = table.read(AttachmentTable::used_networks);
        let clock = Clock::start();
        let mut usage = UsedNetworks::default();
        for network in &used {
            usage.note(*network, clock.now());
        }
        let open = usage.open();
        Self {
            access,
            kernel,
            table,
            usage: Mutex::new(usage),
            open: watch::Sender::new(open),
            names: Mutex::default(),
            failed: Mutex::default(),
            notes: Mutex::default(),
            clock,
        }
    }

    /// Returns the networks besides `default` that are open here.
    pub(super) fn opened(&self) -> watch::Receiver<HostNetworks> {
        self.open.subscribe()
    }

    /// Returns the networks of the mesh.
    pub(crate) fn access(&self) -> &dyn NetworkAccess {
        &*self.access
    }

    /// Returns true if Docker's Swarm alone gives out this address.
    pub(crate) fn is_swarms(&self, scoped: ScopedAddress) -> bool {
        let definition = self.access.definition(&scoped.network);
        definition.is_some_and(|definition| definition.is_swarms(scoped.ip()))
    }

    /// Returns the network that a request names; the empty name is `default`.
    ///
    /// # Errors
    /// There is no such network.
    pub(crate) fn choose(&self, name: &str) -> Result<ChosenNetwork, AttachmentError> {
        let id = match name {
            "" | DEFAULT_NETWORK => NetworkId::DEFAULT,
            name => self
                .access
                .resolve(name)
                .map_err(AttachmentError::Network)?,
        };
        self.chosen(id)
    }

    fn chosen(&self, id: NetworkId) -> Result<ChosenNetwork, AttachmentError> {
        if id.is_default() {
            return Ok(ChosenNetwork {
                id,
                definition: None,
            });
        }
        let Some(definition) = self.access.definition(&id) else {
            let unknown = UnknownNetwork::Missing(self.name(&id));
            return Err(AttachmentError::Network(unknown.to_string()));
        };
        let mut names = lock(&self.names);
        if names.len() >= MAX_NETWORKS {
            names.clear();
        }
        names.insert(id, definition.name.to_string());
        Ok(ChosenNetwork {
            id,
            definition: Some(definition),
        })
    }

    /// Makes this router a member of a network, and its bridge; nothing is to be done for `default`.
    ///
    /// # Errors
    /// This host can use no more networks; the kernel's.
    pub(crate) async fn open(&self, network: &ChosenNetwork) -> Result<(), AttachmentError> {
        let (id, Some(definition)) = (network.id, &network.definition) else {
            return Ok(());
        };
        // Before the membership: one that nobody uses is given up.
        self.lock_usage().note(id, self.clock.now());
        self.publish();
        self.access
            .join(id)
            .await
            .map_err(AttachmentError::Network)?;
        let (mtu, alias) = (definition.mtu, definition.name.to_string());
        let opened = self
            .kernel
            .run(move |kernel| kernel.open_network(id, mtu, &alias));
        Ok(opened.await?)
    }

    /// Opens the network of an address that a container was given before, if it can have it there.
    ///
    /// # Errors
    /// The network was removed, or does not have such an address; those of [`AttachedNetworks::open`].
    pub(crate) async fn open_for(&self, address: ScopedAddress) -> Result<(), AttachmentError> {
        let network = self.chosen(address.network)?;
        if let Some(definition) = network.definition() {
            check_in(definition, address.address, AddressFor::Anything)?;
        }
        self.open(&network).await
    }

    /// Opens a network that is used already; returns false for one that is not known, or not yet.
    ///
    /// # Errors
    /// Those of [`AttachedNetworks::open`].
    pub(crate) async fn reopen(&self, network: NetworkId) -> Result<bool, AttachmentError> {
        match self.chosen(network) {
            Ok(network) => self.open(&network).await.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Returns the name of a network, or its id if it has none.
    pub(crate) fn name(&self, network: &NetworkId) -> String {
        if network.is_default() {
            return DEFAULT_NETWORK.to_owned();
        }
        if let Some(definition) = self.access.definition(network) {
            return definition.name.to_string();
        }
        let known = lock(&self.names).get(network).cloned();
        known.unwrap_or_else(|| network.to_string())
    }

    /// Returns whether nothing may be forwarded out of a network or into it.
    pub(crate) fn is_internal(&self, network: &NetworkId) -> bool {
        let definition = self.access.definition(network);
        definition.is_some_and(|definition| definition.internal)
    }

    /// Returns the subnets of a network other than `default`.
    pub(crate) fn subnets(&self, network: &NetworkId) -> Vec<IpNet> {
        let definition = self.access.definition(network);
        definition.map_or_else(Vec::new, |definition| {
            definition.subnets.iter().map(|subnet| subnet.net).collect()
        })
    }

    /// Opens what is used, closes what is not, and returns the networks that were removed under containers of this host.
    pub(super) async fn mend(&self) -> Vec<NetworkId> {
        let used = self.table.read(AttachmentTable::used_networks);
        // One that is not known yet has a definition on its way.
        let is_defined = |network: &NetworkId| !self.access.is_removed(network);
        let changes = self.lock_usage().look(&used, is_defined, self.clock.now());
        self.publish();
        for id in &used {
            let opened = self.reopen(*id).await;
            self.tell(*id, opened.err());
        }
        for id in changes.close {
            let closed = self.kernel.run(move |kernel| kernel.close_network(id));
            self.tell(id, closed.await.err().map(AttachmentError::from));
            // The bridge that is made next time has another one.
            self.table.forget_host_mac(id);
            lock(&self.names).remove(&id);
        }
        let strays = self.kernel.run(move |kernel| kernel.remove_strays(&used));
        if let Err(error) = strays.await {
            tracing::warn!(%error, "a bridge of a network that nothing uses is left");
        }
        changes.removed
    }

    /// Closes all networks for good: nothing is in them any more.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) async fn close_all(&self) -> Result<(), AttachmentError> {
        let open = self.lock_usage().open();
        let closed = self.kernel.run(move |kernel| {
            let mut all = open.used.into_iter().chain(open.idle);
            all.try_for_each(|network| kernel.close_network(network))
        });
        Ok(closed.await?)
    }

    /// Notes that a container was detached from a network that was removed.
    pub(super) fn note_eviction(&self, evicted: EvictedContainer) {
        lock(&self.notes).note(evicted, self.clock.now());
    }

    /// Forgets what happened to a container: it was attached or detached since.
    pub(crate) fn forget_eviction(&self, container: &str) {
        lock(&self.notes).forget(container);
    }

    /// Adds to the rows of `ps` what happened to containers of late.
    pub(super) fn annotate(&self, rows: &mut Vec<AttachedContainer>) {
        lock(&self.notes).annotate(rows, self.clock.now());
    }

    fn publish(&self) {
        let open = self.lock_usage().open();
        self.open.send_if_modified(|old| {
            let changed = *old != open;
            *old = open;
            changed
        });
    }

    fn tell(&self, network: NetworkId, error: Option<AttachmentError>) {
        let name = self.name(&network);
        let mut failed = lock(&self.failed);
        let Some(error) = error.map(|error| error.to_string()) else {
            failed.remove(&network);
            return;
        };
        if failed.insert(network, error.clone()).as_ref() != Some(&error) {
            tracing::warn!("the network {name} is not as it should be on this host: {error}");
        }
    }

    fn lock_usage(&self) -> MutexGuard<'_, UsedNetworks> {
        lock(&self.usage)
    }
}

/// Returns what arguments mean for addresses that are there already.
///
/// # Errors
/// An argument that cannot be used; those of `default_subnet`.
pub(crate) fn meanings(
    network: NetworkId,
    args: &[String],
    default_subnet: impl Fn() -> Result<ipnet::Ipv4Net, AttachmentError>,
) -> Result<Vec<(ArgumentMeaning, String)>, AttachmentError> {
    if !network.is_default() {
        return Ok(ArgumentMeaning::parse_in(args)?);
    }
    let args = mesh_host::arguments::parse_each(args)?.into_iter();
    let meaning = |arg| {
        let shown = mesh_host::arguments::wanted(arg);
        Ok((ArgumentMeaning::of(arg, &default_subnet)?, shown))
    };
    args.map(meaning).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
