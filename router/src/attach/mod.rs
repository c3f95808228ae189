//! What is on the mesh on this host: containers of Docker and podman, and processes in namespaces of ours.
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

mod acquire;
mod arrived;
mod bridges;
mod called;
mod containers;
mod endpoints;
mod error;
mod expose;
#[cfg(test)]
pub(crate) mod fake;
mod holds;
mod host;
mod inside;
pub mod kernel;
mod meddling;
mod namespaces;
mod networks;
mod ps;
mod reconcile;
mod recover;
mod rest;
mod revive;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use mesh_proto::address::{AddressArg, mac_for};
use mesh_proto::api::EXPOSE;
use mesh_proto::ids::Mac;
use mesh_proto::limits::MAX_ATTACHED;
use tokio::sync::{Notify, watch};

use crate::engine::Engines;
use crate::ipam::Allocator;
use crate::state::{StateError, Store};
use holds::Holds;
use kernel::{Kernel, KernelError};
use table::{Endpoint, Home, Member, Table};

pub use endpoints::{EndpointOptions, Late};
pub use error::AttachError;
pub use expose::ExposedName;
pub use host::HostKernel;
pub use inside::{Inside, Place};
pub use table::HostsWish;
pub(crate) use table::{parse_tag, tag};

/// Addresses that one command may give to a container.
const MAX_ADDRESSES: usize = 32;
/// Time that an address which is held elsewhere has to be given up.
const RELEASE_WAIT: Duration = Duration::from_millis(1_500);
const RELEASE_POLLS: u32 = 15;

/// Who has an address elsewhere in the mesh, in words that complete "… is already used by …", as
/// `container web on 7a:…(host2)`; none when nobody has it. This router's own announcements are left out.
pub type AddressBook = Arc<dyn Fn(IpAddr) -> Option<String> + Send + Sync>;

/// Told of the addresses of a container of Docker, each with the name under which it is held.
type BeforeStart = dyn Fn(&[(String, IpNet)]) + Send + Sync;

/// One address that this router announces to the mesh.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Announced {
    /// Address with the prefix length of its subnet.
    pub address: IpNet,
    /// MAC address of the interface.
    pub mac: Mac,
    /// Container or command name.
    pub container: String,
}

/// The owner of what is on the mesh on this host. Shared between the API, the Docker driver and the reconciler.
pub struct Attachments {
    store: Arc<Store>,
    kernel: Arc<dyn Kernel>,
    engines: Engines,
    book: AddressBook,
    allocator: Allocator,
    /// What is held for nobody in sight.
    holds: Mutex<Holds>,
    /// Name of the bridge.
    bridge: String,
    /// Namespaces of ours begin with it.
    netns_prefix: String,
    /// Never held over an `await`: the driver must answer while another operation waits for dockerd.
    table: Mutex<Table>,
    /// One operation of a user at a time, and none while the reconciler acts. The driver does not take it.
    operations: tokio::sync::Mutex<()>,
    announced: watch::Sender<Vec<Announced>>,
    inside: watch::Sender<Vec<Inside>>,
    port_generation: watch::Sender<u64>,
    /// Since when an endpoint was seen without a container.
    half_made: Mutex<BTreeMap<String, Instant>>,
    /// Something was done without us: Docker is to be asked by the next look.
    again: AtomicBool,
    /// The host's own part in the mesh.
    host_part: expose::HostPart,
    /// Told of a container of Docker before its first process runs.
    before_start: OnceLock<Arc<BeforeStart>>,
    /// Why bridges that should be joined are not.
    apart: bridges::Apart,
    /// Wakes the reconciler.
    wake: Notify,
    /// Whether podman is to be asked by the next look at everything.
    ask_podman: AtomicBool,
    /// What others changed at ports of the bridge.
    meddling: meddling::Meddling,
    started: Instant,
}

impl Attachments {
    /// Reads what was on the mesh when the router last ran. Nothing is plugged before [`Attachments::run`] or
    /// [`Attachments::reconcile`].
    ///
    /// # Errors
    /// The stored table cannot be read.
    pub fn open(
        store: Arc<Store>,
        kernel: Arc<dyn Kernel>,
        engines: Engines,
        book: AddressBook,
        allocator: Allocator,
        bridge: &str,
    ) -> Result<Arc<Self>, StateError> {
        let mut table: Table = store.attachments()?;
        // The router was stopped before these were made.
        table
            .endpoints
            .retain(|_, end| !end.peer.is_empty() || end.sandbox.is_some());
        let attachments = Arc::new(Self {
            store,
            kernel,
            engines,
            book,
            allocator,
            holds: Mutex::default(),
            bridge: bridge.to_owned(),
            netns_prefix: netns_prefix(bridge),
            table: Mutex::new(table),
            operations: tokio::sync::Mutex::default(),
            announced: watch::Sender::default(),
            inside: watch::Sender::default(),
            port_generation: watch::Sender::default(),
            half_made: Mutex::default(),
            again: AtomicBool::new(false),
            host_part: expose::HostPart::default(),
            before_start: OnceLock::new(),
            apart: bridges::Apart::default(),
            wake: Notify::new(),
            ask_podman: AtomicBool::new(false),
            meddling: meddling::Meddling::default(),
            started: Instant::now(),
        });
        attachments.publish();
        Ok(attachments)
    }

    /// What this router announces to the mesh, sorted; changes within milliseconds of what happens on the host.
    pub fn announced(&self) -> watch::Receiver<Vec<Announced>> {
        self.announced.subscribe()
    }

    /// Raised whenever the router's port had to be made again and must be opened again.
    pub fn port_generation(&self) -> watch::Receiver<u64> {
        self.port_generation.subscribe()
    }

    /// The engines of this host.
    pub fn engines(&self) -> &Engines {
        &self.engines
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the table if that can be stored; else it stays as it is.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Table) -> Result<T, AttachError>,
    ) -> Result<T, AttachError> {
        let mut table = self.table();
        let mut next = table.clone();
        let result = change(&mut next)?;
        if next != *table {
            self.store.set_attachments(&next)?;
            *table = next;
            drop(table);
            self.publish();
        }
        Ok(result)
    }

    /// Changes the table because the world has changed already; a failure to store it is only logged, and mended by the
    /// next change.
    fn record<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.table();
        let before = table.clone();
        let result = change(&mut table);
        if before != *table {
            if let Err(error) = self.store.set_attachments(&*table) {
                tracing::error!(%error, "the list of attachments is not stored");
            }
            drop(table);
            self.publish();
        }
        result
    }

    fn publish(&self) {
        let table = self.table();
        // The host is announced once the MAC address of its bridge is known.
        let host_mac = self.host_part.mac();
        let announced = table.held().filter_map(|held| {
            let mac = match held.is_host() {
                true => host_mac?,
                false => mac_for(held.address.addr()),
            };
            Some(Announced {
                address: held.address,
                mac,
                container: held.name,
            })
        });
        let mut list: Vec<Announced> = announced.collect();
        list.sort();
        self.host_part.publish(&table);
        self.publish_inside(&table);
        self.publish_called(&table);
        drop(table);
        self.announced.send_if_modified(|old| {
            let changed = *old != list;
            *old = list;
            changed
        });
    }

    /// Runs something on the kernel off this thread.
    async fn on_kernel<T: Send + 'static>(
        &self,
        f: impl FnOnce(&dyn Kernel) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, KernelError> {
        let kernel = self.kernel.clone();
        let done = tokio::task::spawn_blocking(move || f(&*kernel)).await;
        done.unwrap_or_else(|e| Err(KernelError(format!("the operation was cut short: {e}"))))
    }

    /// Waits a moment for addresses that somebody elsewhere in the mesh holds: what was just given up there is news here
    /// only after the gossip's hold-down. Whoever still holds one then is told by the check that follows.
    async fn await_release(&self, addresses: &[IpNet]) {
        for _ in 0..RELEASE_POLLS {
            if addresses.iter().all(|a| (self.book)(a.addr()).is_none()) {
                return;
            }
            tokio::time::sleep(RELEASE_WAIT / RELEASE_POLLS).await;
        }
    }

    /// Refuses an address that someone else has, here or elsewhere. True when `owner` has it already.
    fn check_address(
        &self,
        table: &Table,
        address: IpNet,
        owner: &str,
    ) -> Result<bool, AttachError> {
        let ip = address.addr();
        if let Some(held) = table.holder(ip) {
            if held.owner != owner {
                let holder = held.words();
                return Err(AttachError::InUse { ip, holder });
            }
            if held.address != address && owner == EXPOSE {
                return Err(AttachError::ExposedOtherwise(held.address));
            }
            if held.address != address {
                return Err(AttachError::OtherPrefix {
                    name: held.name,
                    has: held.address,
                });
            }
            return Ok(true);
        }
        if let Some(holder) = (self.book)(ip) {
            return Err(AttachError::InUse { ip, holder });
        }
        if table.len() >= MAX_ATTACHED {
            return Err(AttachError::Full);
        }
        Ok(false)
    }

    /// Wakes the reconciler when the process ends.
    fn watch(self: &Arc<Self>, pid: u32) {
        let end = self.kernel.process_end(pid);
        let this = Arc::downgrade(self);
        tokio::spawn(async move {
            end.await;
            if let Some(this) = this.upgrade() {
                this.wake.notify_one();
            }
        });
    }
}

/// The addresses of the host that a router which is not running had given it.
///
/// # Errors
/// The stored table cannot be read.
pub(crate) fn stored_exposure(store: &Store) -> Result<Vec<IpNet>, StateError> {
    let table: Table = store.attachments()?;
    Ok(table.exposed.into_keys().collect())
}

/// Namespaces of the mesh on this bridge begin with it.
pub(crate) fn netns_prefix(bridge: &str) -> String {
    format!("{bridge}-ns-")
}

/// Address arguments, each once, in order; none means any address of the default subnet.
fn parse_addresses(args: &[String]) -> Result<Vec<AddressArg>, AttachError> {
    let mut addresses: Vec<AddressArg> = Vec::new();
    for arg in args {
        let address = arg.parse()?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.len() {
        0 => Ok(vec![AddressArg::Default]),
        n if n > MAX_ADDRESSES => Err(AttachError::TooManyAddresses(n)),
        _ => Ok(addresses),
    }
}

/// Addresses as `attach` and `detach` print them.
fn texts(addresses: &[IpNet]) -> Vec<String> {
    addresses.iter().map(|a| a.addr().to_string()).collect()
}
