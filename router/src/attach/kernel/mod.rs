//! The kernel's part of attachments, and nothing more: the seam at which tests put a fake.

mod bridges;
mod exposing;
mod handle;
mod host;
mod late_address;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use ipnet::IpNet;
use mesh_host::docker::deferral::AddressSetting;
use mesh_host::interface::ContainerInterface;
use mesh_proto::ids::Mac;
use mesh_proto::network::NetworkId;

pub use bridges::{NetworkBridges, PlainBridges};
pub(crate) use handle::KernelHandle;
pub use host::HostKernel;

/// Why the kernel did not do it: what was tried, on what, and the cause; ready to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KernelError(pub String);

/// The answer of the kernel.
pub type KernelResult<T> = Result<T, KernelError>;

/// A network namespace to plug into.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetnsRef {
    /// The one of a process.
    Pid(u32),
    /// The one mounted at a path.
    Path(PathBuf),
}

/// Repairs by [`KernelApi::ensure_bridge`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeRepairs {
    /// The bridge, an interface in it, or the firewall rule was missing and is back.
    pub anything: bool,
    /// The router's port is new and must be opened again.
    pub port: bool,
    /// Settings of ports of the bridge that somebody else had changed; a line for each port.
    pub changed: Vec<String>,
}

/// The host's own part in one network of the mesh, as it is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExposurePlan {
    /// The network.
    pub network: NetworkId,
    /// Its addresses on the bridge; true if addresses are translated between their subnets and elsewhere.
    pub addresses: BTreeMap<IpNet, bool>,
    /// Those in whose subnets the host forwards from and to everything, other subnets of the mesh and containers on other
    /// bridges of the host included.
    pub open: BTreeSet<IpNet>,
    /// Further subnets of the network, for `default` the range that routers share: what comes from there is of the mesh.
    pub inside: BTreeSet<IpNet>,
    /// True if the host forwards nothing into the network or out of it.
    pub internal: bool,
}

/// Changes by [`KernelApi::expose`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExposureOutcome {
    /// The bridge's MAC address, if it was given any address.
    pub mac: Option<Mac>,
    /// Addresses that were not there.
    pub new: Vec<IpNet>,
    /// True if firewall rules were put in or changed.
    pub rules: bool,
    /// Other changes of the host, and obstacles; one line each.
    pub notes: Vec<String>,
}

/// The kernel's side of one mesh on this host: its bridge, containers' interfaces, namespaces of ours, processes.
///
/// Calls block for milliseconds unless said otherwise; they are made off the control thread.
pub trait KernelApi: Send + Sync {
    /// Makes or mends the bridge of `default`, the router's port, the firewall rule, what was taken out of a bridge, and
    /// settings of ports. Interfaces with the tags in `resting` have no carrier.
    ///
    /// # Errors
    /// The first repair that failed; the rest was tried.
    fn ensure_bridge(&self, resting: &BTreeSet<String>) -> KernelResult<BridgeRepairs>;

    /// Makes the bridge of a network other than `default`, with the router's port on it, or mends them; `alias` is for
    /// people. Without an MTU it has that of the mesh. Idempotent.
    ///
    /// # Errors
    /// The kernel's.
    fn open_network(&self, network: NetworkId, mtu: Option<u16>, alias: &str) -> KernelResult<()>;

    /// Removes the bridge of a network that nothing uses, and all that was made for it; success if there is none.
    ///
    /// # Errors
    /// The kernel's.
    fn close_network(&self, network: NetworkId) -> KernelResult<()>;

    /// Removes bridges of networks that an earlier run left and that are none of `used`, unless a container is on one.
    ///
    /// # Errors
    /// The kernel's.
    fn remove_strays(&self, used: &BTreeSet<NetworkId>) -> KernelResult<()>;

    /// Returns the name of the bridge of a network.
    fn bridge_of(&self, network: NetworkId) -> String;

    /// Takes the carrier from an interface, which keeps its address in the container, or gives it back; whether there is
    /// such an interface.
    ///
    /// # Errors
    /// The kernel's.
    fn rest(&self, tag: &str, resting: bool) -> KernelResult<bool>;

    /// Plugs an interface of its network into a namespace under the name it had, or else the first free of `mesh0`, `mesh1`, …; returns
    /// the name. Success if it is there already.
    ///
    /// # Errors
    /// The cause; nothing is left of the attempt.
    fn plug(&self, target: &NetnsRef, interface: &ContainerInterface) -> KernelResult<String>;

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
    fn addresses_in(&self, target: &NetnsRef) -> KernelResult<BTreeSet<IpAddr>>;

    /// Makes a pair whose far end Docker will move into a container; returns the name of the far end.
    ///
    /// # Errors
    /// The cause; nothing is left of the attempt.
    fn make_endpoint(&self, interface: &ContainerInterface) -> KernelResult<String>;

    /// Waits a moment until Docker has moved the interface into the namespace at `sandbox`, then finishes it; returns its
    /// name there, or none while the interface is not there: to be called again.
    ///
    /// # Errors
    /// The kernel's.
    fn finish_endpoint(
        &self,
        sandbox: &Path,
        interface: &ContainerInterface,
        setting: AddressSetting,
    ) -> KernelResult<Option<String>>;

    /// Checks whether the host could be given these addresses in a network. Nothing is changed.
    ///
    /// # Errors
    /// The obstacle, and what to do.
    fn check_exposure(
        &self,
        network: NetworkId,
        addresses: &[IpNet],
        masquerade: bool,
    ) -> KernelResult<()>;

    /// Makes the bridge of the network have these addresses, the host forward, and the firewall translate and let pass what it should.
    /// Called again it changes nothing, or mends what somebody else changed. Other addresses of the bridge stay.
    ///
    /// # Errors
    /// The first failure; the caller undoes.
    fn expose(&self, plan: &ExposurePlan) -> KernelResult<ExposureOutcome>;

    /// Takes addresses from the bridge of a network.
    ///
    /// # Errors
    /// One is still there.
    fn hide(&self, network: NetworkId, addresses: &[IpNet]) -> KernelResult<()>;

    /// Joins another bridge to that of a network, or mends what is missing of that; whether anything was. A probe with `nonce` in it is
    /// sent first, and may take half a second to be missed.
    ///
    /// # Errors
    /// There is no such bridge, or it leads to ours already; nothing is left of the attempt.
    fn join_bridge(&self, network: NetworkId, other: &str, nonce: [u8; 16]) -> KernelResult<bool>;

    /// Takes another bridge off that of a network; whether it was joined.
    ///
    /// # Errors
    /// It is still joined.
    fn leave_bridge(&self, network: NetworkId, other: &str) -> KernelResult<bool>;

    /// Returns the firewall that translates addresses here; none while nothing does.
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

    /// Returns whether a namespace is mounted at `path`; Docker leaves empty files where some have been. Does not block.
    fn is_netns(&self, path: &Path) -> bool;

    /// Returns the names of all namespaces that begin with `prefix`.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn netns_names(&self, prefix: &str) -> KernelResult<Vec<String>>;

    /// Returns the start of a process, in clock ticks since boot; none when it has ended. Together with the pid it names
    /// a process for good.
    fn process_start(&self, pid: u32) -> Option<u64>;

    /// Resolves when the process has ended; at once if it has already.
    fn process_end(&self, pid: u32) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Removes every interface and firewall rule of this bridge, by whatever program they were made; one line for each
    /// kind removed.
    ///
    /// # Errors
    /// The first failure, after the rest was tried.
    fn remove_all(&self) -> KernelResult<Vec<String>>;
}

fn error(e: impl std::fmt::Display) -> KernelError {
    KernelError(e.to_string())
}
