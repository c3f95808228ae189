//! What attachments ask of the kernel, and nothing more: the seam at which tests put a fake.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use ipnet::IpNet;
use mesh_proto::ids::Mac;

/// Why the kernel did not do it: what was tried, on what, and the cause; ready to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KernelError(pub String);

/// The answer of the kernel.
pub type KernelResult<T> = Result<T, KernelError>;

/// A network namespace to plug into.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The one of a process.
    Pid(u32),
    /// The one mounted at a path.
    Path(PathBuf),
}

/// One interface of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What it is found by, unique on this host; at most 200 bytes.
    pub tag: String,
    /// The name it had in the container; empty if it has had none.
    pub name: String,
    /// Its address with the prefix length of its subnet.
    pub address: IpNet,
    /// Its MAC address.
    pub mac: Mac,
    /// Whether 224.0.0.0/4 goes to it.
    pub multicast: bool,
}

/// Whether an interface that Docker plugged is given its address by us, because Docker was not told of it, or of its
/// subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Add {
    /// Docker gives it.
    No,
    /// Once another address of the container brings the route of the subnet.
    Covered,
    /// Now, since no other address does so.
    Now,
}

/// What [`Kernel::ensure_bridge`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// The bridge, an interface in it, or the firewall rule was missing and is back.
    pub anything: bool,
    /// The router's port is new and must be opened again.
    pub port: bool,
    /// Settings of ports of the bridge that somebody else had changed; a line for each port.
    pub changed: Vec<String>,
}

/// The host's own part in the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSide {
    /// Its addresses on the bridge, and whether addresses are translated between their subnets and elsewhere.
    pub addresses: BTreeMap<IpNet, bool>,
    /// Those in whose subnets the host forwards from and to everything, other subnets of the mesh and containers on other
    /// bridges of the host included.
    pub open: BTreeSet<IpNet>,
    /// The range that routers share: what comes from there is of the mesh.
    pub range: Option<IpNet>,
}

/// What [`Kernel::expose`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostExposed {
    /// The bridge's MAC address, if it was given any address.
    pub mac: Option<Mac>,
    /// Addresses that were not there.
    pub new: Vec<IpNet>,
    /// Whether firewall rules were put in or changed.
    pub rules: bool,
    /// What was changed besides, or stands in the way; one line each.
    pub notes: Vec<String>,
}

/// The kernel's side of one mesh on this host: its bridge, containers' interfaces, namespaces of ours, processes.
///
/// Calls block for milliseconds unless said otherwise; they are made off the control thread.
pub trait Kernel: Send + Sync {
    /// Makes or mends the bridge, the router's port, the firewall rule, what was taken out of the bridge, and settings of
    /// ports. Interfaces with the tags in `resting` have no carrier.
    ///
    /// # Errors
    /// What could not be mended; the rest was tried.
    fn ensure_bridge(&self, resting: &BTreeSet<String>) -> KernelResult<Mended>;

    /// Takes the carrier from an interface, which keeps its address in the container, or gives it back; whether there is
    /// such an interface.
    ///
    /// # Errors
    /// The kernel's.
    fn rest(&self, tag: &str, resting: bool) -> KernelResult<bool>;

    /// Plugs an interface into a namespace under the name it had, or else the first free of `mesh0`, `mesh1`, …; returns
    /// the name. Success if it is there already.
    ///
    /// # Errors
    /// The cause; nothing is left of the attempt.
    fn plug(&self, target: &Target, interface: &Interface) -> KernelResult<String>;

    /// Takes an interface out by its tag; whether it was there.
    ///
    /// # Errors
    /// It is still there.
    fn unplug(&self, tag: &str) -> KernelResult<bool>;

    /// Tags of all interfaces of ours that exist.
    ///
    /// # Errors
    /// The kernel's list of interfaces cannot be read.
    fn plugged(&self) -> KernelResult<BTreeSet<String>>;

    /// Tags of those interfaces whose far end is in another namespace: in a container.
    ///
    /// # Errors
    /// The kernel's list of interfaces cannot be read.
    fn arrived(&self) -> KernelResult<BTreeSet<String>>;

    /// Addresses that the interfaces of a namespace have.
    ///
    /// # Errors
    /// There is no such namespace.
    fn addresses_in(&self, target: &Target) -> KernelResult<BTreeSet<IpAddr>>;

    /// Makes a pair whose far end Docker will move into a container; returns the name of the far end.
    ///
    /// # Errors
    /// The cause; nothing is left of the attempt.
    fn make_endpoint(&self, interface: &Interface) -> KernelResult<String>;

    /// Waits a moment until Docker has moved the interface into the namespace at `sandbox`, then finishes it; returns its
    /// name there, or none while the interface is not there: to be called again.
    ///
    /// # Errors
    /// The kernel's.
    fn finish_endpoint(
        &self,
        sandbox: &Path,
        interface: &Interface,
        add: Add,
    ) -> KernelResult<Option<String>>;

    /// Whether the host could be given these addresses. Nothing is changed.
    ///
    /// # Errors
    /// What stands in the way, and what to do.
    fn check_exposure(&self, addresses: &[IpNet], masquerade: bool) -> KernelResult<()>;

    /// Makes the bridge have these addresses, the host forward, and the firewall translate and let pass what it should.
    /// Called again it changes nothing, or mends what somebody else changed. Other addresses of the bridge stay.
    ///
    /// # Errors
    /// The first failure; the caller undoes.
    fn expose(&self, side: &HostSide) -> KernelResult<HostExposed>;

    /// Takes addresses from the bridge.
    ///
    /// # Errors
    /// One is still there.
    fn hide(&self, addresses: &[IpNet]) -> KernelResult<()>;

    /// Joins another bridge to ours, or mends what is missing of that; whether anything was. A probe with `nonce` in it is
    /// sent first, and may take half a second to be missed.
    ///
    /// # Errors
    /// There is no such bridge, or it leads to ours already; nothing is left of the attempt.
    fn join_bridge(&self, other: &str, nonce: [u8; 16]) -> KernelResult<bool>;

    /// Takes another bridge off ours; whether it was joined.
    ///
    /// # Errors
    /// It is still joined.
    fn leave_bridge(&self, other: &str) -> KernelResult<bool>;

    /// What translates addresses here; none while nothing does.
    fn firewall(&self) -> Option<&'static str>;

    /// Makes a named namespace with its loopback up; returns its path. Success if it is there already.
    ///
    /// # Errors
    /// The kernel's.
    fn create_netns(&self, name: &str) -> KernelResult<PathBuf>;

    /// Removes a named namespace; whether it was there.
    ///
    /// # Errors
    /// The kernel's.
    fn delete_netns(&self, name: &str) -> KernelResult<bool>;

    /// Whether a namespace is mounted at `path`; Docker leaves empty files where some have been. Does not block.
    fn is_netns(&self, path: &Path) -> bool;

    /// The names of all namespaces that begin with `prefix`.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn netns_names(&self, prefix: &str) -> KernelResult<Vec<String>>;

    /// When a process began, in clock ticks since boot; none when it has ended. Together with the pid it names a
    /// process for good.
    fn process_start(&self, pid: u32) -> Option<u64>;

    /// Resolves when the process has ended; at once if it has already.
    fn process_end(&self, pid: u32) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Removes every interface and firewall rule of this bridge, whatever made them; one line for each kind removed.
    ///
    /// # Errors
    /// The first failure, after the rest was tried.
    fn remove_all(&self) -> KernelResult<Vec<String>>;
}
