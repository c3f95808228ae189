//! `mesh expose` and `mesh hide`: addresses of the host itself, on the bridge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use mesh_host::arguments::{ArgumentMeaning, patience};
use mesh_host::exposure::ExposureTable;
use mesh_host::leases::lease_owner::HOST;
use mesh_host::network::addresses::AddressFor;
use mesh_host::network::scoped::ScopedAddress;
use mesh_host::network::view::NetworkView;
use mesh_names::MeshName;
use mesh_proto::address::AddressArg;
use mesh_proto::api::{ExposeRequest, Exposed, ExposedAddress, Hidden, HideRequest, HostReport};
use mesh_proto::network::NetworkId;
use tokio::sync::Notify;

use crate::attach::AttachmentError;
use crate::attach::foundation::Foundation;
use crate::attach::kernel::{ExposureOutcome, ExposurePlan, KernelHandle};
use crate::attach::leases::{LeaseRequest, LeaseSource};
use crate::attach::networks::{AttachedNetworks, ChosenNetwork, meanings};
use crate::attach::operations::Operations;
use crate::attach::stored_table::StoredTable;

/// Time between two looks at addresses and rules: what somebody flushed is back within 5 s, however busy the host is.
const PERIOD: Duration = Duration::from_secs(2);

/// Gives addresses on the mesh to the host, and keeps them.
pub(crate) struct HostExposer {
    table: Arc<StoredTable>,
    kernel: KernelHandle,
    source: Arc<LeaseSource>,
    operations: Arc<Operations>,
    networks: Arc<AttachedNetworks>,
    /// Held while the kernel is made to agree with the table.
    agreeing: tokio::sync::Mutex<()>,
    wake: Notify,
    /// True once the kernel agreed with the table in this run: what differs later somebody else did.
    settled: AtomicBool,
    restored: AtomicU64,
    /// The failure of the last look.
    problem: Mutex<Option<String>>,
}

impl HostExposer {
    pub(crate) fn new(base: &Foundation) -> Self {
        Self {
            table: base.table.clone(),
            kernel: base.kernel.clone(),
            source: base.source.clone(),
            operations: base.operations.clone(),
            networks: base.networks.clone(),
            agreeing: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            settled: AtomicBool::new(false),
            restored: AtomicU64::new(0),
            problem: Mutex::default(),
        }
    }

    /// Gives the host addresses on the mesh; one it has already is success, and takes on what is said of masquerading and
    /// forwarding.
    ///
    /// # Errors
    /// An address that is used, or in the way of another interface's; no firewall program; the kernel's. Nothing is left of
    /// the attempt.
    pub(crate) async fn expose(
        &self,
        request: &ExposeRequest,
        name: Option<MeshName>,
    ) -> Result<Exposed, AttachmentError> {
        let network = self.networks.choose(&request.network)?;
        let args = network.addresses(&request.addresses, AddressFor::Host)?;
        self.refuse_way_out(&network, request)?;
        let lease = LeaseRequest {
            owner: HOST.to_owned(),
            patience: patience(request.timeout)?,
            caller: request.caller_pid,
        };
        let _guard = self.operations.begin_exposure().await;
        let args = self.known(&network, &args)?;
        let explicit = args.iter().filter_map(|arg| match arg {
            AddressArg::Ip(ip) => Some(*ip),
            _ => None,
        });
        let id = network.id;
        self.check(id, explicit.collect(), request.masquerade)
            .await?;
        let acquired = self.source.acquire(&lease, id, &args).await?;
        self.source.await_release(id, &acquired.addresses).await;
        self.networks.open(&network).await?;
        let exposed = self
            .expose_with(id, &acquired.addresses, request, name.as_ref())
            .await;
        if exposed.is_err() {
            let fresh = &acquired.fresh;
            self.source.give_back(&lease.owner, id, fresh).await;
        }
        exposed
    }

    /// Refuses to let anything out of a network that leads nowhere else.
    fn refuse_way_out(
        &self,
        network: &ChosenNetwork,
        request: &ExposeRequest,
    ) -> Result<(), AttachmentError> {
        let definition = network.definition();
        let internal = definition.filter(|definition| definition.internal);
        match internal {
            Some(network) if request.masquerade || request.forward => {
                let name = &network.name;
                Err(AttachmentError::Invalid(format!(
                    "the network {name} is internal, so this host forwards nothing into it or out of it; expose with \
                     --without-masquerade and without --forward"
                )))
            }
            _ => Ok(()),
        }
    }

    async fn expose_with(
        &self,
        network: NetworkId,
        addresses: &[IpNet],
        request: &ExposeRequest,
        name: Option<&MeshName>,
    ) -> Result<Exposed, AttachmentError> {
        self.check(network, addresses.to_vec(), request.masquerade)
            .await?;
        let addresses = addresses.iter();
        let addresses: Vec<ScopedAddress> = addresses
            .map(|address| ScopedAddress::new(network, *address))
            .collect();
        let _agreeing = self.agreeing.lock().await;
        let before = self.table.read(|table| table.exposed.clone());
        let elsewhere = |network, ip| self.source.elsewhere(network, ip);
        let ways = (request.masquerade, request.forward);
        self.table.change(|table| {
            let mut addresses = addresses.iter();
            Ok(addresses.try_for_each(|address| table.expose(*address, ways, name, &elsewhere))?)
        })?;
        match self.agree().await {
            Ok(done) => Ok(Exposed {
                addresses: self.shown(&addresses),
                notes: done.notes,
            }),
            Err(error) => {
                self.undo(before).await;
                Err(error)
            }
        }
    }

    /// Puts back what was exposed before an attempt that failed.
    async fn undo(&self, before: ExposureTable) {
        let new: Vec<ScopedAddress> = self.table.read(|table| {
            let all = table.exposed.addresses();
            all.filter(|address| !before.contains(address)).collect()
        });
        self.table.record(|table| table.exposed = before);
        let hidden = self.kernel.run(move |kernel| {
            by_network(&new)
                .into_iter()
                .try_for_each(|(network, addresses)| kernel.hide(network, &addresses))
        });
        if let Err(error) = hidden.await {
            tracing::warn!(%error, "not all of an attempt to expose the host could be undone");
        }
        if let Err(error) = self.agree().await {
            tracing::warn!(%error, "not all of an attempt to expose the host could be undone");
        }
    }

    /// Takes addresses from the host, or all; one it does not have is success.
    ///
    /// # Errors
    /// The kernel's; then the rest of what was exposed, and what could not be taken away, is as before.
    pub(crate) async fn hide(&self, request: &HideRequest) -> Result<Hidden, AttachmentError> {
        let network = self.networks.choose(&request.network)?;
        let subnet = || self.source.default_subnet();
        let args = meanings(network.id, &request.addresses, subnet)?;
        let _guard = self.operations.begin_exposure().await;
        let mut hidden = Hidden::default();
        let mut gone: BTreeSet<ScopedAddress> = BTreeSet::new();
        if args.is_empty() {
            // Without a network all is meant, in all networks.
            let is_meant =
                |a: &ScopedAddress| request.network.is_empty() || a.network == network.id;
            gone.extend(self.addresses().into_iter().filter(is_meant));
        }
        for (arg, what) in args {
            let found = self.meant_by(network.id, arg);
            if found.is_empty() {
                hidden.unknown.push(what);
            }
            gone.extend(found);
        }
        let gone: Vec<ScopedAddress> = gone.into_iter().collect();
        self.hide_these(&gone).await?;
        hidden.addresses = gone.iter().map(|scoped| scoped.ip().to_string()).collect();
        Ok(hidden)
    }

    /// Takes the addresses in one network from the host.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn hide_network(&self, network: NetworkId) -> Result<(), AttachmentError> {
        let _guard = self.operations.begin_exposure().await;
        let mut gone = self.addresses();
        gone.retain(|scoped| scoped.network == network);
        self.hide_these(&gone).await
    }

    /// Takes all addresses from the host.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn hide_all(&self) -> Result<(), AttachmentError> {
        let _guard = self.operations.begin_exposure().await;
        self.hide_these(&self.addresses()).await
    }

    /// Hides addresses in the kernel first: what is cut short is then exposed still, and can be hidden again.
    async fn hide_these(&self, gone: &[ScopedAddress]) -> Result<(), AttachmentError> {
        if gone.is_empty() {
            return Ok(());
        }
        let _agreeing = self.agreeing.lock().await;
        for (network, addresses) in by_network(gone) {
            let mut rest = self.plan(network);
            rest.addresses
                .retain(|address, _| !addresses.contains(address));
            rest.open.retain(|address| !addresses.contains(address));
            let hidden = addresses.clone();
            self.kernel
                .run(move |kernel| {
                    kernel.hide(network, &hidden)?;
                    kernel.expose(&rest).map(drop)
                })
                .await?;
            let scoped = addresses.iter();
            let scoped: Vec<ScopedAddress> = scoped
                .map(|address| ScopedAddress::new(network, *address))
                .collect();
            self.table.record(|table| table.exposed.remove(&scoped));
            self.source.give_back(HOST, network, &addresses).await;
        }
        Ok(())
    }

    /// Returns the host's addresses, firewall and repairs, for the report.
    pub(crate) fn report(&self) -> HostReport {
        HostReport {
            exposed: self.shown(&self.addresses()),
            firewall: self.kernel.firewall().unwrap_or_default().to_owned(),
            restored: self.restored.load(Ordering::Relaxed),
            ..HostReport::default()
        }
    }

    /// Returns what keeps the host from what it is exposed as; one line.
    pub(crate) fn problem(&self) -> Option<String> {
        self.lock_problem().clone()
    }

    /// Makes the kernel agree with the table at once and every 2 s, as long as the host is exposed. Runs until it is
    /// dropped.
    pub(crate) async fn run(&self) {
        loop {
            let is_exposed = self.table.read(|table| !table.exposed.is_empty());
            if is_exposed && !self.operations.is_retired() {
                self.look().await;
            }
            let _ = tokio::time::timeout(PERIOD, self.wake.notified()).await;
        }
    }

    /// Has the exposer look now: something happened to the bridge.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    async fn look(&self) {
        let _agreeing = self.agreeing.lock().await;
        let was_settled = self.settled.load(Ordering::Relaxed);
        let done = self.agree().await;
        let problem = done.as_ref().err().map(ToString::to_string);
        let known = std::mem::replace(&mut *self.lock_problem(), problem.clone());
        match (&done, problem) {
            (Ok(done), _) if was_settled && (done.rules || !done.new.is_empty()) => {
                let times = self.restored.fetch_add(1, Ordering::Relaxed);
                if times == 0 {
                    tracing::warn!(
                        "somebody removed firewall rules or an address of `mesh expose`; they are back, and will be again \
                         (told once; `mesh report` counts)"
                    );
                }
            }
            (_, Some(problem)) if known.as_ref() != Some(&problem) => {
                tracing::warn!("this host is not exposed as it should be: {problem}");
            }
            _ => {}
        }
    }

    /// Makes the kernel agree with the table, in `default` and in each network that the host is exposed in. Callers hold
    /// `agreeing`.
    async fn agree(&self) -> Result<ExposureOutcome, AttachmentError> {
        let mut networks: BTreeSet<NetworkId> = BTreeSet::from([NetworkId::DEFAULT]);
        networks.extend(self.addresses().iter().map(|scoped| scoped.network));
        let mut all = ExposureOutcome::default();
        for network in networks {
            // After a boot its bridge is not there.
            if !self.networks.reopen(network).await? {
                continue;
            }
            let plan = self.plan(network);
            let done = self.kernel.run(move |kernel| kernel.expose(&plan)).await?;
            if let Some(mac) = done.mac {
                self.table.set_host_mac(network, mac);
            }
            all.new.extend(done.new);
            all.rules |= done.rules;
            let notes = done.notes.into_iter();
            all.notes.extend(
                notes
                    .filter(|note| !all.notes.contains(note))
                    .collect::<Vec<_>>(),
            );
        }
        self.settled.store(true, Ordering::Relaxed);
        Ok(all)
    }

    fn plan(&self, network: NetworkId) -> ExposurePlan {
        let inside = match network.is_default() {
            true => self.source.range().map(IpNet::V4).into_iter().collect(),
            false => self.networks.subnets(&network).into_iter().collect(),
        };
        let internal = self.networks.is_internal(&network);
        self.table.read(|table| {
            let exposed = table.exposed.iter();
            let exposed = exposed.filter(|(scoped, _)| scoped.network == network);
            let open = exposed.clone().filter(|(_, exposure)| exposure.forward);
            ExposurePlan {
                network,
                open: open.map(|(scoped, _)| scoped.address).collect(),
                addresses: exposed
                    .map(|(scoped, exposure)| (scoped.address, exposure.masquerade))
                    .collect(),
                inside,
                internal,
            }
        })
    }

    /// Refuses addresses that the host does not have yet and cannot have.
    async fn check(
        &self,
        network: NetworkId,
        mut addresses: Vec<IpNet>,
        masquerade: bool,
    ) -> Result<(), AttachmentError> {
        self.table.read(|table| {
            let is_there = |a: &IpNet| table.exposed.contains(&ScopedAddress::new(network, *a));
            addresses.retain(|address| !is_there(address));
        });
        let checked = self
            .kernel
            .run(move |kernel| kernel.check_exposure(network, &addresses, masquerade))
            .await;
        checked.map_err(|error| AttachmentError::Invalid(error.0))
    }

    /// Returns arguments with addresses that the host has already in place of subnets.
    fn known(
        &self,
        network: &ChosenNetwork,
        args: &[AddressArg],
    ) -> Result<Vec<AddressArg>, AttachmentError> {
        let mut known = Vec::new();
        for arg in args {
            if matches!(arg, AddressArg::Ip(_)) {
                known.push(*arg);
                continue;
            }
            let meaning = ArgumentMeaning::of(*arg, || self.source.default_subnet())?;
            let Some(found) = self.meant_by(network.id, meaning).first().copied() else {
                known.push(*arg);
                continue;
            };
            known.push(AddressArg::Ip(found.address));
            let beside = self.source.beside(found);
            let beside = beside.filter(|_| matches!(arg, AddressArg::Default));
            known.extend(beside.map(AddressArg::Ip));
        }
        Ok(known)
    }

    /// Returns those of the host's addresses in a network that an argument means.
    fn meant_by(&self, network: NetworkId, arg: ArgumentMeaning) -> Vec<ScopedAddress> {
        let mut all = self.addresses();
        all.retain(|scoped| scoped.network == network && arg.covers(scoped.address));
        all
    }

    fn addresses(&self) -> Vec<ScopedAddress> {
        self.table.read(|table| table.exposed.addresses().collect())
    }

    fn shown(&self, addresses: &[ScopedAddress]) -> Vec<ExposedAddress> {
        let macs = self.table.host_macs();
        let view = NetworkView {
            name: &|network| self.networks.name(network),
            bridge: &|network| self.kernel.bridge_of(network),
            host_mac: &|network| macs.get(&network).copied(),
        };
        self.table
            .read(|table| table.exposed.shown(addresses, view))
    }

    fn lock_problem(&self) -> MutexGuard<'_, Option<String>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns addresses by their networks.
fn by_network(addresses: &[ScopedAddress]) -> BTreeMap<NetworkId, Vec<IpNet>> {
    let mut all: BTreeMap<NetworkId, Vec<IpNet>> = BTreeMap::new();
    for scoped in addresses {
        all.entry(scoped.network).or_default().push(scoped.address);
    }
    all
}
