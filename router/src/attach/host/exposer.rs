//! `mesh expose` and `mesh hide`: addresses of the host itself, on the bridge.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use mesh_host::arguments::{ArgumentMeaning, parse_addresses, parse_each, patience, texts, wanted};
use mesh_host::exposure::ExposureTable;
use mesh_host::leases::lease_owner::HOST;
use mesh_names::MeshName;
use mesh_proto::address::AddressArg;
use mesh_proto::api::{ExposeRequest, Exposed, ExposedAddress, Hidden, HideRequest, HostReport};
use tokio::sync::Notify;

use crate::attach::AttachmentError;
use crate::attach::foundation::Foundation;
use crate::attach::kernel::{ExposureOutcome, ExposurePlan, KernelHandle};
use crate::attach::leases::{LeaseRequest, LeaseSource};
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
        let args = parse_addresses(&request.addresses)?;
        let lease = LeaseRequest {
            owner: HOST.to_owned(),
            patience: patience(request.timeout)?,
            caller: request.caller_pid,
        };
        let _guard = self.operations.begin_exposure().await;
        let args = self.known(&args)?;
        let explicit = args.iter().filter_map(|arg| match arg {
            AddressArg::Ip(ip) => Some(*ip),
            _ => None,
        });
        self.check(explicit.collect(), request.masquerade).await?;
        let acquired = self.source.acquire(&lease, &args).await?;
        self.source.await_release(&acquired.addresses).await;
        let exposed = self
            .expose_with(&acquired.addresses, request, name.as_ref())
            .await;
        if exposed.is_err() {
            self.source.give_back(&lease.owner, &acquired.fresh).await;
        }
        exposed
    }

    async fn expose_with(
        &self,
        addresses: &[IpNet],
        request: &ExposeRequest,
        name: Option<&MeshName>,
    ) -> Result<Exposed, AttachmentError> {
        self.check(addresses.to_vec(), request.masquerade).await?;
        let _agreeing = self.agreeing.lock().await;
        let before = self.table.read(|table| table.exposed.clone());
        let elsewhere = |ip| self.source.elsewhere(ip);
        let ways = (request.masquerade, request.forward);
        self.table.change(|table| {
            let mut addresses = addresses.iter();
            Ok(addresses.try_for_each(|address| table.expose(*address, ways, name, &elsewhere))?)
        })?;
        match self.agree().await {
            Ok(done) => Ok(Exposed {
                addresses: self.shown(addresses),
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
        let new: Vec<IpNet> = self.table.read(|table| {
            let all = table.exposed.addresses();
            all.filter(|address| !before.contains(address)).collect()
        });
        self.table.record(|table| table.exposed = before);
        let hidden = self.kernel.run(move |kernel| kernel.hide(&new)).await;
        if let Err(error) = hidden {
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
        let args = parse_each(&request.addresses)?;
        let _guard = self.operations.begin_exposure().await;
        let mut hidden = Hidden::default();
        let mut gone: BTreeSet<IpNet> = BTreeSet::new();
        if args.is_empty() {
            gone.extend(self.addresses());
        }
        for arg in args {
            let found = self.meant_by(arg)?;
            if found.is_empty() {
                hidden.unknown.push(wanted(arg));
            }
            gone.extend(found);
        }
        let gone: Vec<IpNet> = gone.into_iter().collect();
        self.hide_these(&gone).await?;
        hidden.addresses = texts(&gone);
        Ok(hidden)
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
    async fn hide_these(&self, gone: &[IpNet]) -> Result<(), AttachmentError> {
        if gone.is_empty() {
            return Ok(());
        }
        let _agreeing = self.agreeing.lock().await;
        let mut rest = self.plan();
        rest.addresses.retain(|address, _| !gone.contains(address));
        rest.open.retain(|address| !gone.contains(address));
        let addresses = gone.to_vec();
        self.kernel
            .run(move |kernel| {
                kernel.hide(&addresses)?;
                kernel.expose(&rest).map(drop)
            })
            .await?;
        self.table.record(|table| table.exposed.remove(gone));
        self.source.give_back(HOST, gone).await;
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

    /// Makes the kernel agree with the table. Callers hold `agreeing`.
    async fn agree(&self) -> Result<ExposureOutcome, AttachmentError> {
        let plan = self.plan();
        let done = self.kernel.run(move |kernel| kernel.expose(&plan)).await?;
        self.settled.store(true, Ordering::Relaxed);
        if let Some(mac) = done.mac {
            self.table.set_host_mac(mac);
        }
        Ok(done)
    }

    fn plan(&self) -> ExposurePlan {
        let range = self.source.range().map(IpNet::V4);
        self.table.read(|table| {
            let exposed = table.exposed.iter();
            let open = exposed.clone().filter(|(_, exposure)| exposure.forward);
            ExposurePlan {
                open: open.map(|(address, _)| address).collect(),
                addresses: exposed
                    .map(|(a, exposure)| (a, exposure.masquerade))
                    .collect(),
                range,
            }
        })
    }

    /// Refuses addresses that the host does not have yet and cannot have.
    async fn check(
        &self,
        mut addresses: Vec<IpNet>,
        masquerade: bool,
    ) -> Result<(), AttachmentError> {
        self.table
            .read(|table| addresses.retain(|address| !table.exposed.contains(address)));
        let checked = self
            .kernel
            .run(move |kernel| kernel.check_exposure(&addresses, masquerade))
            .await;
        checked.map_err(|error| AttachmentError::Invalid(error.0))
    }

    /// Returns arguments with addresses that the host has already in place of subnets.
    fn known(&self, args: &[AddressArg]) -> Result<Vec<AddressArg>, AttachmentError> {
        let known = |arg: &AddressArg| {
            let found = match arg {
                AddressArg::Ip(_) => None,
                _ => self.meant_by(*arg)?.first().copied(),
            };
            Ok(found.map_or(*arg, AddressArg::Ip))
        };
        args.iter().map(known).collect()
    }

    /// Returns those of the host's addresses that an argument means.
    fn meant_by(&self, arg: AddressArg) -> Result<Vec<IpNet>, AttachmentError> {
        let meaning = ArgumentMeaning::of(arg, || self.source.default_subnet())?;
        let mut all = self.addresses();
        all.retain(|address| meaning.covers(*address));
        Ok(all)
    }

    fn addresses(&self) -> Vec<IpNet> {
        self.table.read(|table| table.exposed.addresses().collect())
    }

    fn shown(&self, addresses: &[IpNet]) -> Vec<ExposedAddress> {
        let mac = self.table.host_mac();
        self.table.read(|table| table.exposed.shown(addresses, mac))
    }

    fn lock_problem(&self) -> MutexGuard<'_, Option<String>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
