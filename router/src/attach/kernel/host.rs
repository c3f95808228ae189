//! The kernel of this host.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use mesh_host::docker::deferral::AddressSetting;
use mesh_host::interface::{ContainerInterface, network_of};
use mesh_proto::network::NetworkId;
use mesh_sys::attach::{self, AttachError, Attachment, Endpoint, Plug};
use mesh_sys::bridge::{self, BridgeConfig, Outcome};
use mesh_sys::firewall::exposure::{Backend, Rules};
use mesh_sys::firewall::{self, Changed};
use mesh_sys::interface::sysctl;
use mesh_sys::netlink::{HostLinks, Netlink};
use mesh_sys::netns::Netns;
use mesh_sys::process::{self, ProcessWatch};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::warnings::Warnings;

use super::late_address::give_address;
use super::{
    BridgeRepairs, ExposureOutcome, ExposurePlan, KernelApi, KernelError, KernelResult, NetnsRef,
    NetworkBridges, PlainBridges, error, exposing,
};

/// Subjects of warnings.
const FIREWALL: &str = "firewall";
const SETTINGS: &str = "settings";
/// Directory of named namespaces.
const NETNS_DIR: &str = "/run/netns";
/// Longest time that one call waits for Docker to move an interface: short, since a thread waits.
const FINISH_STEP: Duration = Duration::from_millis(250);
/// Time between two looks for an interface that Docker is about to move.
const POLL: Duration = Duration::from_millis(2);

/// Acts on the network namespace of the process.
#[derive(Clone, Debug)]
pub struct HostKernel {
    /// The bridge.
    pub bridge: BridgeConfig,
    /// True if offloads are switched off on what is plugged, as a pcap port needs.
    pub offloads_off: bool,
    /// Warnings about what this host does without.
    pub warnings: Warnings,
    /// Bridges of networks besides `default`.
    pub networks: Arc<dyn NetworkBridges>,
    /// The firewall's part of exposing the host, by network.
    rules: Arc<Mutex<BTreeMap<NetworkId, Arc<Rules>>>>,
    /// The networks that are open, besides `default`.
    open: Arc<Mutex<BTreeMap<NetworkId, OpenBridge>>>,
}

/// The bridge of a network, as it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OpenBridge {
    mtu: u16,
    alias: String,
}

impl HostKernel {
    /// The kernel, with a bridge that is or will be there.
    pub fn new(bridge: BridgeConfig, offloads_off: bool) -> Self {
        Self {
            networks: Arc::new(PlainBridges::new(bridge.clone())),
            bridge,
            offloads_off,
            warnings: Warnings::default(),
            rules: Arc::default(),
            open: Arc::default(),
        }
    }

    /// Returns the name of the bridge of a network.
    fn bridge_name(&self, network: NetworkId) -> String {
        match network.is_default() {
            true => self.bridge.name.clone(),
            false => self.networks.bridge(network),
        }
    }

    /// Returns the bridge of a network as it is to be.
    fn config_of(&self, network: NetworkId) -> BridgeConfig {
        let open = lock(&self.open);
        BridgeConfig {
            name: self.bridge_name(network),
            mtu: open.get(&network).map_or(self.bridge.mtu, |open| open.mtu),
            ..self.bridge.clone()
        }
    }

    /// Returns the names of the bridges that are open, with the main one.
    fn open_bridges(&self) -> BTreeSet<String> {
        let open: Vec<NetworkId> = lock(&self.open).keys().copied().collect();
        let open = open.into_iter().map(|network| self.bridge_name(network));
        open.chain([self.bridge.name.clone()]).collect()
    }

    /// Returns the firewall's part of exposing the host in a network.
    fn rules(&self, network: NetworkId) -> Arc<Rules> {
        let mut rules = lock(&self.rules);
        let made = || Arc::new(Rules::new(&self.bridge_name(network)));
        rules.entry(network).or_insert_with(made).clone()
    }

    /// Returns the names of all bridges of the mesh on this host.
    fn all_bridges(&self, host: &HostLinks) -> BTreeSet<String> {
        let mut all = self.open_bridges();
        all.extend(self.networks.strays(host));
        all
    }

    fn list(&self) -> KernelResult<Vec<Attachment>> {
        let host = HostLinks::read().map_err(error)?;
        Ok(attach::list(&host, &self.all_bridges(&host)))
    }
}

impl HostKernel {
    /// Has the firewall let frames between containers of this host pass; returns whether that was to be done. Most
    /// firewalls do so by themselves, so one that cannot be told is no reason not to run.
    fn let_pass(&self, bridge: &str) -> bool {
        let rules = firewall::ensure_forward_accept(bridge);
        self.warnings.note(FIREWALL, &rules, |e| {
            format!(
                "{e}; where a firewall drops what bridges forward (as with Docker), containers of this host do not reach \
                 one another"
            )
        });
        rules.is_ok_and(|done| [done.ipv4, done.ipv6].contains(&Changed::Yes))
    }

    fn tell_not_set(&self) {
        match sysctl::take_not_set() {
            Some(why) => self.warnings.set(
                SETTINGS,
                format!("{why}; this host and its containers run with the kernel's own settings"),
            ),
            None => self.warnings.clear(SETTINGS),
        }
    }
}

impl KernelApi for HostKernel {
    fn ensure_bridge(&self, resting: &BTreeSet<String>) -> KernelResult<BridgeRepairs> {
        let name = &self.bridge.name;
        let ensured = bridge::ensure_bridge(&self.bridge).map_err(error)?;
        let host = HostLinks::read().map_err(error)?;
        let changed = match host.has_changed_ports(name) {
            true => bridge::ports::set_back(name).map_err(error)?,
            false => Vec::new(),
        };
        let rule = self.let_pass(name);
        self.tell_not_set();
        let mut repairs = BridgeRepairs {
            anything: ensured.bridge == Outcome::Created
                || ensured.port == Outcome::Created
                || rule,
            port: ensured.port == Outcome::Created,
            changed,
        };
        let mended = self.networks.mend(&host)?;
        // Bridges that were made again have other indices.
        let host = match mended.anything {
            true => HostLinks::read().map_err(error)?,
            false => host,
        };
        let reconnected = attach::reconnect_all(&host, &self.open_bridges(), resting);
        repairs.anything |= mended.anything || reconnected.map_err(error)? > 0;
        repairs.changed.extend(mended.changed);
        Ok(repairs)
    }

    fn open_network(&self, network: NetworkId, mtu: Option<u16>, alias: &str) -> KernelResult<()> {
        let mtu = mtu.unwrap_or(self.bridge.mtu).min(self.bridge.mtu);
        let wanted = OpenBridge {
            mtu,
            alias: alias.to_owned(),
        };
        // Each look asks for all that is used; what is open is mended with the main bridge.
        if lock(&self.open).get(&network) == Some(&wanted) {
            return Ok(());
        }
        self.networks
            .open(network, mtu, &format!("mesh network {alias}"))?;
        lock(&self.open).insert(network, wanted);
        Ok(())
    }

    fn close_network(&self, network: NetworkId) -> KernelResult<()> {
        let rules = lock(&self.rules).remove(&network);
        let exposed = rules.map_or(Ok(Changed::No), |rules| rules.remove());
        self.networks.close(network)?;
        lock(&self.open).remove(&network);
        exposed.map(drop).map_err(error)
    }

    fn remove_strays(&self, used: &BTreeSet<NetworkId>) -> KernelResult<()> {
        let mut kept: BTreeSet<String> = used.iter().map(|id| self.bridge_name(*id)).collect();
        kept.extend(lock(&self.open).keys().map(|id| self.networks.bridge(*id)));
        let host = HostLinks::read().map_err(error)?;
        for stray in self.networks.strays(&host) {
            let is_free = !kept.contains(&stray);
            let only = BTreeSet::from([stray.clone()]);
            if is_free && attach::list(&host, &only).is_empty() {
                self.networks.remove_stray(&stray)?;
            }
        }
        Ok(())
    }

    fn bridge_of(&self, network: NetworkId) -> String {
        self.bridge_name(network)
    }

    fn rest(&self, tag: &str, resting: bool) -> KernelResult<bool> {
        attach::rest(&self.bridge_name(network_of(tag)), tag, resting).map_err(error)
    }

    fn plug(&self, target: &NetnsRef, interface: &ContainerInterface) -> KernelResult<String> {
        let netns = netns_of(target)?;
        let config = self.config_of(interface.network);
        let mut plug = Plug {
            bridge: &config.name,
            netns: &netns,
            ifname: Some(interface.name.as_str()).filter(|name| !name.is_empty()),
            mac: interface.mac,
            mtu: config.mtu,
            address: interface.address,
            second: interface.second,
            multicast_route: interface.multicast,
            alias: &interface.tag,
            offloads_off: self.offloads_off,
        };
        let mut done = attach::plug(&plug);
        if matches!(done, Err(AttachError::NameTaken(_))) {
            plug.ifname = None;
            done = attach::plug(&plug);
        }
        done.map(|done| done.ifname).map_err(error)
    }

    fn unplug(&self, tag: &str) -> KernelResult<bool> {
        let bridge = self.bridge_name(network_of(tag));
        let removed = attach::unplug(&bridge, tag).map_err(error)?;
        Ok(removed > 0)
    }

    fn plugged(&self) -> KernelResult<BTreeSet<String>> {
        Ok(self.list()?.into_iter().map(|a| a.alias).collect())
    }

    fn arrived(&self) -> KernelResult<BTreeSet<String>> {
        let arrived = self.list()?.into_iter().filter(|a| a.arrived);
        Ok(arrived.map(|a| a.alias).collect())
    }

    fn addresses_in(&self, target: &NetnsRef) -> KernelResult<BTreeSet<IpAddr>> {
        let addresses = netns_of(target)?
            .run_in(|| Netlink::open()?.address().list())
            .map_err(error)?
            .map_err(error)?;
        Ok(addresses.iter().map(|entry| entry.address.addr()).collect())
    }

    fn make_endpoint(&self, interface: &ContainerInterface) -> KernelResult<String> {
        let config = self.config_of(interface.network);
        let endpoint = Endpoint {
            bridge: &config.name,
            alias: &interface.tag,
            mac: interface.mac,
            mtu: config.mtu,
            offloads_off: self.offloads_off,
        };
        attach::make_endpoint(&endpoint).map_err(error)
    }

    fn finish_endpoint(
        &self,
        sandbox: &Path,
        interface: &ContainerInterface,
        setting: AddressSetting,
    ) -> KernelResult<Option<String>> {
        let deadline = Instant::now() + FINISH_STEP;
        // Docker makes an empty file there before it mounts the namespace on it.
        while !self.is_netns(sandbox) {
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
        if setting != AddressSetting::Never {
            let needs_cover = setting == AddressSetting::OnceCovered;
            while !give_address(sandbox, interface, needs_cover)? {
                if Instant::now() >= deadline {
                    return Ok(None);
                }
                std::thread::sleep(POLL);
            }
        }
        match attach::finish_endpoint(sandbox, interface.mac, deadline) {
            Ok(ifname) => Ok(Some(ifname)),
            Err(AttachError::Timeout(_)) => Ok(None),
            Err(e) => Err(error(e)),
        }
    }

    fn create_netns(&self, name: &str) -> KernelResult<PathBuf> {
        let path = Path::new(NETNS_DIR).join(name);
        if Netns::open(&path).is_ok() {
            return Ok(path);
        }
        // A name without a namespace behind it is what a power cut in the middle leaves.
        Netns::delete_named(name).map_err(error)?;
        Netns::create_named(name).map_err(error)?;
        Ok(path)
    }

    fn delete_netns(&self, name: &str) -> KernelResult<bool> {
        Netns::delete_named(name).map_err(error)
    }

    fn is_netns(&self, path: &Path) -> bool {
        // A mounted namespace is on the kernel's own file system, not on that of its directory.
        let device = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).ok();
        let (own, around) = (device(path), path.parent().and_then(device));
        own.is_some() && own != around
    }

    fn netns_names(&self, prefix: &str) -> KernelResult<Vec<String>> {
        let entries = match std::fs::read_dir(NETNS_DIR) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(KernelError(format!("cannot read {NETNS_DIR}: {e}"))),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| name.starts_with(prefix)).collect())
    }

    fn check_exposure(
        &self,
        network: NetworkId,
        addresses: &[IpNet],
        masquerade: bool,
    ) -> KernelResult<()> {
        let bridge = self.bridge_name(network);
        exposing::check(&self.rules(network), &bridge, addresses, masquerade)
    }

    fn expose(&self, plan: &ExposurePlan) -> KernelResult<ExposureOutcome> {
        let bridge = self.bridge_name(plan.network);
        exposing::expose(&self.rules(plan.network), &bridge, plan)
    }

    fn hide(&self, network: NetworkId, addresses: &[IpNet]) -> KernelResult<()> {
        bridge::host::remove_addresses(&self.bridge_name(network), addresses).map_err(error)
    }

    fn join_bridge(&self, network: NetworkId, other: &str, nonce: [u8; 16]) -> KernelResult<bool> {
        let config = self.config_of(network);
        let host = HostLinks::read().map_err(error)?;
        if other != config.name && self.all_bridges(&host).contains(other) {
            return Err(KernelError(format!(
                "cannot attach the bridge {other}: it is that of a network of the mesh, and networks stay apart"
            )));
        }
        bridge::join::join(&config, other, self.offloads_off, nonce)
            .map(|outcome| outcome == Outcome::Created)
            .map_err(error)
    }

    fn leave_bridge(&self, network: NetworkId, other: &str) -> KernelResult<bool> {
        bridge::join::leave(&self.bridge_name(network), other).map_err(error)
    }

    fn firewall(&self) -> Option<&'static str> {
        let rules = lock(&self.rules);
        let mut used = rules.values().filter_map(|rules| rules.used());
        used.next().map(Backend::name)
    }

    fn process_start(&self, pid: u32) -> Option<u64> {
        process::start_time(i32::try_from(pid).ok()?).ok()
    }

    fn process_end(&self, pid: u32) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let watch = signed(pid)
            .ok()
            .and_then(|pid| ProcessWatch::open(pid).ok());
        Box::pin(async move {
            let Some(watch) = watch else { return };
            // Without a reactor slot the end is noticed by the next look at all processes instead.
            match readable(watch) {
                Ok(fd) => drop(fd.readable().await),
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn remove_all(&self) -> KernelResult<Vec<String>> {
        let mut removed = Vec::new();
        let mut result = Ok(());
        let host = HostLinks::read().map_err(error)?;
        for bridge in self.all_bridges(&host) {
            match self.remove_bridge(&bridge) {
                Ok(lines) => removed.extend(lines),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result.map(|()| removed)
    }
}

impl HostKernel {
    /// Removes all that was made for one bridge.
    fn remove_bridge(&self, name: &str) -> KernelResult<Vec<String>> {
        let rules = firewall::remove_forward_accept(name).map_err(error);
        let networks = bridge::network::remove_all_networks(name).map_err(error);
        let links = bridge::remove_all(name).map_err(error);
        let passing = firewall::networks::remove(name).map_err(error);
        // After the devices that it guards.
        let guard = firewall::sources::remove(name).map_err(error);
        let exposed = Rules::new(name).remove().map_err(error);
        let queries = firewall::service::remove(name).map_err(error);
        let mut removed = Vec::new();
        let (rules, links, guard, networks) = (rules?, links?, guard?, networks?);
        let all = [rules.ipv4, rules.ipv6, guard, exposed?, queries?, passing?];
        if all.contains(&Changed::Yes) {
            removed.push(format!("firewall rules for {name}"));
        }
        if networks > 0 {
            removed.push(format!(
                "{networks} network interfaces of networks of {name}"
            ));
        }
        if links > 0 {
            removed.push(format!("{links} network interfaces of {name}"));
        }
        Ok(removed)
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe; a ProcessWatch owns its descriptor and never replaces it"
)]
fn readable(watch: ProcessWatch) -> io::Result<AsyncFd<ProcessWatch>> {
    AsyncFd::with_interest(watch, Interest::READABLE)
}

fn netns_of(target: &NetnsRef) -> KernelResult<Netns> {
    let netns = match target {
        NetnsRef::Pid(pid) => Netns::of_pid(signed(*pid)?),
        NetnsRef::Path(path) => Netns::open(path),
    };
    netns.map_err(error)
}

fn signed(pid: u32) -> KernelResult<i32> {
    i32::try_from(pid).map_err(|_| KernelError(format!("{pid} is not a process id")))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
