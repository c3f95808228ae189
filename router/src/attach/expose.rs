//! `mesh expose` and `mesh hide`: addresses of the host itself, on the bridge.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use mesh_proto::address::AddressArg;
use mesh_proto::api::{
    Attached, AttachedInterface, EXPOSE, ExposeRequest, Exposed, ExposedAddress, Hidden,
    HideRequest, HostReport, Runtime,
};
use mesh_proto::ids::Mac;
use mesh_proto::limits::{MAX_EXPOSED, MAX_EXPOSED_NAMES};
use mesh_proto::names::MeshName;
use tokio::sync::{Notify, watch};

use super::acquire::{Ask, patience};
use super::kernel::{HostExposed, HostSide};
use super::table::{Exposure, Table};
use super::{AttachError, Attachments, parse_addresses, texts};
use crate::ipam::holder::HOST;

/// Time between two looks at addresses and rules: what somebody flushed is back within 5 s, however busy the host is.
const PERIOD: Duration = Duration::from_secs(2);

/// A name of the host, and the addresses it leads to.
pub type ExposedName = (MeshName, Vec<IpAddr>);

/// What is known of the host's own part in the mesh beyond the table.
#[derive(Default)]
pub(super) struct HostPart {
    /// Held for the whole of `expose` and `hide`: one at a time.
    commands: tokio::sync::Mutex<()>,
    /// Held while the kernel is made to agree with the table.
    kernel: tokio::sync::Mutex<()>,
    names: watch::Sender<Vec<ExposedName>>,
    wake: Notify,
    /// Whether the kernel agreed with the table once in this run: what differs later somebody else did.
    settled: AtomicBool,
    restored: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    mac: Option<Mac>,
    /// What went wrong at the last look.
    problem: Option<String>,
}

impl HostPart {
    /// The host's MAC address on the mesh, once it is known.
    pub(super) fn mac(&self) -> Option<Mac> {
        self.seen().mac
    }

    /// Tells the names of the host.
    pub(super) fn publish(&self, table: &Table) {
        let mut names: BTreeMap<&MeshName, Vec<IpAddr>> = BTreeMap::new();
        for (address, exposure) in &table.exposed {
            for name in &exposure.names {
                names.entry(name).or_default().push(address.addr());
            }
        }
        let names = names.into_iter().map(|(name, to)| (name.clone(), to));
        let names: Vec<ExposedName> = names.collect();
        self.names.send_if_modified(|old| {
            let changed = *old != names;
            *old = names;
            changed
        });
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attachments {
    /// Gives the host addresses on the mesh; one it has already is success, and takes on what is said of masquerading and
    /// forwarding.
    ///
    /// # Errors
    /// An address that is used, or in the way of another interface's; no firewall program; the kernel's. Nothing is left of
    /// the attempt.
    pub async fn expose(
        self: &Arc<Self>,
        request: &ExposeRequest,
        name: Option<MeshName>,
    ) -> Result<Exposed, AttachError> {
        let args = parse_addresses(&request.addresses)?;
        let ask = Ask {
            holder: HOST.to_owned(),
            patience: patience(request.timeout)?,
            caller: request.caller_pid,
        };
        let _turn = self.host_part.commands.lock().await;
        let args = self.known_of_host(&args)?;
        let explicit = args.iter().filter_map(|arg| match arg {
            AddressArg::Ip(ip) => Some(*ip),
            _ => None,
        });
        self.check_exposure(explicit.collect(), request.masquerade)
            .await?;
        let acquired = self.acquire(&ask, &args).await?;
        self.await_release(&acquired.addresses).await;
        let exposed = self
            .expose_with(&acquired.addresses, request, name.as_ref())
            .await;
        if exposed.is_err() {
            self.give_back(&ask.holder, &acquired.fresh).await;
        }
        exposed
    }

    /// Takes addresses from the host, or all; one it does not have is success.
    ///
    /// # Errors
    /// The kernel's; then the rest of what was exposed, and what could not be taken away, is as before.
    pub async fn hide(&self, request: &HideRequest) -> Result<Hidden, AttachError> {
        let mut args: Vec<AddressArg> = Vec::new();
        for arg in &request.addresses {
            args.push(arg.parse()?);
        }
        let _turn = self.host_part.commands.lock().await;
        let mut hidden = Hidden::default();
        let mut gone: BTreeSet<IpNet> = BTreeSet::new();
        if args.is_empty() {
            gone.extend(self.table().exposed.keys());
        }
        for arg in args {
            let found = self.exposed_as(arg)?;
            if found.is_empty() {
                hidden.unknown.push(super::error::wanted(arg));
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
    pub(super) async fn hide_all(&self) -> Result<(), AttachError> {
        let _turn = self.host_part.commands.lock().await;
        let all: Vec<IpNet> = self.table().exposed.keys().copied().collect();
        self.hide_these(&all).await
    }

    /// The names of the host; told when they change.
    pub fn exposed_names(&self) -> watch::Receiver<Vec<ExposedName>> {
        self.host_part.names.subscribe()
    }

    /// The host's part in the mesh, for the report.
    pub fn host_report(&self) -> HostReport {
        let all: Vec<IpNet> = self.table().exposed.keys().copied().collect();
        HostReport {
            exposed: self.shown_exposed(&all),
            firewall: self.kernel.firewall().unwrap_or_default().to_owned(),
            restored: self.host_part.restored.load(Ordering::Relaxed),
            bridges: self.bridges_report(),
        }
    }

    /// What keeps the host from what it is exposed as; one line.
    pub fn host_problem(&self) -> Option<String> {
        self.host_part.seen().problem.clone()
    }

    /// Makes the kernel agree with the table at once and every 2 s, as long as the host is exposed. Runs until it is
    /// dropped.
    pub async fn keep_exposed(self: Arc<Self>) {
        loop {
            if !self.table().exposed.is_empty() && !self.is_retired() {
                self.look_at_exposed().await;
            }
            let _ = tokio::time::timeout(PERIOD, self.host_part.wake.notified()).await;
        }
    }

    /// Something happened to the bridge: look at it now.
    pub(super) fn wake_exposed(&self) {
        self.host_part.wake.notify_one();
    }

    /// Whether an `expose` or `hide` is under way.
    pub(super) fn is_exposing(&self) -> bool {
        self.host_part.commands.try_lock().is_err()
    }

    /// The host's line of `mesh ps`.
    pub(super) fn host_row(&self, table: &Table) -> Option<Attached> {
        let mac = self.host_part.mac().map(|mac| mac.to_string());
        let shown = |address: &IpNet| AttachedInterface {
            name: self.bridge.clone(),
            mac: mac.clone().unwrap_or_default(),
            address: address.to_string(),
        };
        let interfaces: Vec<AttachedInterface> = table.exposed.keys().map(shown).collect();
        (!interfaces.is_empty()).then(|| Attached {
            container: EXPOSE.to_owned(),
            name: EXPOSE.to_owned(),
            runtime: Runtime::Host,
            interfaces,
        })
    }

    async fn expose_with(
        &self,
        addresses: &[IpNet],
        request: &ExposeRequest,
        name: Option<&MeshName>,
    ) -> Result<Exposed, AttachError> {
        self.check_exposure(addresses.to_vec(), request.masquerade)
            .await?;
        let _kernel = self.host_part.kernel.lock().await;
        let before = self.table().exposed.clone();
        self.change(|table| {
            for address in addresses {
                self.enter(table, *address, request, name)?;
            }
            Ok(())
        })?;
        match self.agree().await {
            Ok(done) => Ok(Exposed {
                addresses: self.shown_exposed(addresses),
                notes: done.notes,
            }),
            Err(error) => {
                self.undo(before).await;
                Err(error)
            }
        }
    }

    /// Enters one address, or what is new of it.
    fn enter(
        &self,
        table: &mut Table,
        address: IpNet,
        request: &ExposeRequest,
        name: Option<&MeshName>,
    ) -> Result<(), AttachError> {
        let is_there = self.check_address(table, address, EXPOSE)?;
        if !is_there && table.exposed.len() >= MAX_EXPOSED {
            let what = format!("{MAX_EXPOSED} addresses");
            return Err(AttachError::TooMuchExposed(what));
        }
        let exposure = table.exposed.entry(address).or_default();
        exposure.masquerade = request.masquerade;
        exposure.forward = request.forward;
        exposure.names.extend(name.cloned());
        if exposure.names.len() > MAX_EXPOSED_NAMES {
            let what = format!("{MAX_EXPOSED_NAMES} names for {address}");
            return Err(AttachError::TooMuchExposed(what));
        }
        Ok(())
    }

    /// Puts back what was exposed before an attempt that failed.
    async fn undo(&self, before: BTreeMap<IpNet, Exposure>) {
        let new: Vec<IpNet> = {
            let table = self.table();
            let all = table.exposed.keys();
            all.filter(|a| !before.contains_key(a)).copied().collect()
        };
        self.record(|table| table.exposed = before);
        let hidden = self.on_kernel(move |kernel| kernel.hide(&new)).await;
        if let Err(error) = hidden {
            tracing::warn!(%error, "not all of an attempt to expose the host could be undone");
        }
        if let Err(error) = self.agree().await {
            tracing::warn!(%error, "not all of an attempt to expose the host could be undone");
        }
    }

    /// The kernel first: what is cut short is then exposed still, and can be hidden again.
    async fn hide_these(&self, gone: &[IpNet]) -> Result<(), AttachError> {
        if gone.is_empty() {
            return Ok(());
        }
        let _kernel = self.host_part.kernel.lock().await;
        let mut rest = self.host_side();
        rest.addresses.retain(|address, _| !gone.contains(address));
        rest.open.retain(|address| !gone.contains(address));
        let addresses = gone.to_vec();
        self.on_kernel(move |kernel| {
            kernel.hide(&addresses)?;
            kernel.expose(&rest).map(drop)
        })
        .await?;
        self.record(|table| table.exposed.retain(|address, _| !gone.contains(address)));
        self.give_back(HOST, gone).await;
        Ok(())
    }

    async fn look_at_exposed(&self) {
        let _kernel = self.host_part.kernel.lock().await;
        let was_settled = self.host_part.settled.load(Ordering::Relaxed);
        let done = self.agree().await;
        let problem = done.as_ref().err().map(ToString::to_string);
        let known = std::mem::replace(&mut self.host_part.seen().problem, problem.clone());
        match (&done, problem) {
            (Ok(done), _) if was_settled && (done.rules || !done.new.is_empty()) => {
                let times = self.host_part.restored.fetch_add(1, Ordering::Relaxed);
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

    /// Makes the kernel agree with the table. To be called with the lock of the kernel's part.
    async fn agree(&self) -> Result<HostExposed, AttachError> {
        let side = self.host_side();
        let done = self.on_kernel(move |kernel| kernel.expose(&side)).await?;
        self.host_part.settled.store(true, Ordering::Relaxed);
        if let Some(mac) = done.mac
            && self.host_part.seen().mac.replace(mac) != Some(mac)
        {
            self.publish();
        }
        Ok(done)
    }

    fn host_side(&self) -> HostSide {
        let range = self.allocator.pool().ok().map(|pool| pool.range.into());
        let table = self.table();
        let addresses = table.exposed.iter();
        let open = addresses.clone().filter(|(_, e)| e.forward);
        HostSide {
            open: open.map(|(address, _)| *address).collect(),
            addresses: addresses.map(|(a, e)| (*a, e.masquerade)).collect(),
            range,
        }
    }

    /// Refuses addresses that the host does not have yet and cannot have.
    async fn check_exposure(
        &self,
        mut addresses: Vec<IpNet>,
        masquerade: bool,
    ) -> Result<(), AttachError> {
        addresses.retain(|address| !self.table().exposed.contains_key(address));
        let checked = self
            .on_kernel(move |kernel| kernel.check_exposure(&addresses, masquerade))
            .await;
        checked.map_err(|error| AttachError::Invalid(error.0))
    }

    /// Arguments, with addresses that the host has already in place of subnets.
    fn known_of_host(&self, args: &[AddressArg]) -> Result<Vec<AddressArg>, AttachError> {
        let known = |arg: &AddressArg| {
            let found = match arg {
                AddressArg::Ip(_) => None,
                _ => self.exposed_as(*arg)?.first().copied(),
            };
            Ok(found.map_or(*arg, AddressArg::Ip))
        };
        args.iter().map(known).collect()
    }

    /// Of the host's addresses, what an argument means.
    fn exposed_as(&self, arg: AddressArg) -> Result<Vec<IpNet>, AttachError> {
        let subnet = match arg {
            AddressArg::Ip(ip) => IpNet::from(ip.addr()),
            AddressArg::Net(net) => net,
            AddressArg::Default => self.default_subnet()?.into(),
        };
        let is_meant = |address: &&IpNet| match arg {
            AddressArg::Ip(ip) => address.addr() == ip.addr(),
            _ => address.trunc() == subnet,
        };
        let table = self.table();
        Ok(table.exposed.keys().filter(is_meant).copied().collect())
    }

    fn shown_exposed(&self, addresses: &[IpNet]) -> Vec<ExposedAddress> {
        let mac = self.host_part.mac().map(|mac| mac.to_string());
        let table = self.table();
        let shown = addresses.iter().filter_map(|address| {
            let exposure = table.exposed.get(address)?;
            let names = exposure.names.iter();
            Some(ExposedAddress {
                address: address.to_string(),
                mac: mac.clone().unwrap_or_default(),
                masquerade: exposure.masquerade,
                forward: exposure.forward,
                names: names.map(ToString::to_string).collect(),
            })
        });
        shown.collect()
    }
}
