//! A kernel in memory that can be told to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use ipnet::IpNet;
use mesh_host::docker::deferral::AddressSetting;
use mesh_host::interface::ContainerInterface;
use mesh_networks::{DEFAULT_NETWORK, NetworkDefinition, UnknownNetwork};
use mesh_proto::ids::Mac;
use mesh_proto::network::NetworkId;

use super::kernel::{
    BridgeRepairs, ExposureOutcome, ExposurePlan, KernelApi, KernelError, KernelResult, NetnsRef,
};
use super::{JoinAnswer, NetworkAccess};

#[derive(Default)]
pub(crate) struct World {
    /// Interfaces by tag, with where they are; none while Docker has not moved them.
    pub(crate) interfaces: BTreeMap<String, (Option<NetnsRef>, ContainerInterface)>,
    pub(crate) namespaces: BTreeSet<PathBuf>,
    /// Processes and when they began.
    pub(crate) processes: BTreeMap<u32, u64>,
    pub(crate) bridge: bool,
    /// Tags of interfaces without carrier.
    pub(crate) resting: BTreeSet<String>,
    /// Settings of ports that somebody changed.
    pub(crate) changed: Vec<String>,
    /// The host's addresses on the bridge of `default`.
    pub(crate) host: BTreeSet<IpNet>,
    /// Those on the bridges of other networks.
    pub(crate) host_in: BTreeSet<(NetworkId, IpNet)>,
    /// Other bridges, and whether they are joined.
    pub(crate) bridges: BTreeMap<String, bool>,
    /// The networks that other bridges were joined to last.
    pub(crate) joined_to: BTreeMap<String, NetworkId>,
    /// For what the firewall has rules, in `default`.
    pub(crate) rules: ExposurePlan,
    /// For what it has rules in other networks.
    pub(crate) rules_in: BTreeMap<NetworkId, ExposurePlan>,
    /// The networks that are open, with MTU and alias.
    pub(crate) open: BTreeMap<NetworkId, (Option<u16>, String)>,
    /// The number of successes of the operation of that name before it fails once.
    failures: BTreeMap<&'static str, u32>,
}

pub(crate) struct FakeKernel {
    world: Mutex<World>,
    /// Counts ends of processes.
    ends: watch::Sender<u32>,
}

impl FakeKernel {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            world: Mutex::default(),
            ends: watch::Sender::default(),
        })
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn start_process(&self, pid: u32) {
        self.world().processes.insert(pid, u64::from(pid) * 100);
    }

    /// Ends a process, and the interfaces in its namespace with it.
    pub(crate) fn end_process(&self, pid: u32) {
        let mut world = self.world();
        world.processes.remove(&pid);
        world
            .interfaces
            .retain(|_, (place, _)| *place != Some(NetnsRef::Pid(pid)));
        drop(world);
        self.ends.send_modify(|n| *n += 1);
    }

    /// A namespace that Docker made, or unmakes with what is in it.
    pub(crate) fn add_sandbox(&self, path: &str) {
        self.world().namespaces.insert(path.into());
    }

    pub(crate) fn remove_sandbox(&self, path: &str) {
        let mut world = self.world();
        world.namespaces.remove(Path::new(path));
        let place = Some(NetnsRef::Path(path.into()));
        world.interfaces.retain(|_, (p, _)| *p != place);
    }

    /// The operation fails once, after `successes` more successes.
    pub(crate) fn fail(&self, operation: &'static str, successes: u32) {
        self.world().failures.insert(operation, successes);
    }

    /// `address` of each interface and where it is.
    pub(crate) fn plugged_addresses(&self) -> Vec<String> {
        let mut found: Vec<String> = self
            .world()
            .interfaces
            .values()
            .map(|(_, i)| i.address.to_string())
            .collect();
        found.sort();
        found
    }

    fn enter(&self, operation: &'static str) -> KernelResult<MutexGuard<'_, World>> {
        let mut world = self.world();
        match world.failures.get_mut(operation) {
            Some(0) => {
                world.failures.remove(operation);
                Err(KernelError(format!("{operation} failed as told")))
            }
            Some(n) => {
                *n -= 1;
                Ok(world)
            }
            None => Ok(world),
        }
    }
}

impl KernelApi for FakeKernel {
    fn ensure_bridge(&self, resting: &BTreeSet<String>) -> KernelResult<BridgeRepairs> {
        let mut world = self.enter("ensure_bridge")?;
        let was = std::mem::replace(&mut world.bridge, true);
        world.resting.clone_from(resting);
        Ok(BridgeRepairs {
            anything: !was,
            port: !was,
            changed: std::mem::take(&mut world.changed),
        })
    }

    fn open_network(&self, network: NetworkId, mtu: Option<u16>, alias: &str) -> KernelResult<()> {
        let mut world = self.enter("open_network")?;
        world.open.insert(network, (mtu, alias.to_owned()));
        Ok(())
    }

    fn close_network(&self, network: NetworkId) -> KernelResult<()> {
        let mut world = self.enter("close_network")?;
        world.open.remove(&network);
        world.rules_in.remove(&network);
        Ok(())
    }

    fn remove_strays(&self, _: &BTreeSet<NetworkId>) -> KernelResult<()> {
        self.enter("remove_strays").map(drop)
    }

    fn bridge_of(&self, network: NetworkId) -> String {
        match network.is_default() {
            true => "mesh".to_owned(),
            false => format!("mn{}", &network.to_string()[..10]),
        }
    }

    fn rest(&self, tag: &str, resting: bool) -> KernelResult<bool> {
        let mut world = self.enter("rest")?;
        match resting {
            true => world.resting.insert(tag.to_owned()),
            false => world.resting.remove(tag),
        };
        Ok(world.interfaces.contains_key(tag))
    }

    fn plug(&self, target: &NetnsRef, interface: &ContainerInterface) -> KernelResult<String> {
        let mut world = self.enter("plug")?;
        let is_there = match target {
            NetnsRef::Pid(pid) => world.processes.contains_key(pid),
            NetnsRef::Path(path) => world.namespaces.contains(path),
        };
        if !is_there {
            return Err(KernelError(format!("no namespace {target:?}")));
        }
        if !interface.network.is_default() && !world.open.contains_key(&interface.network) {
            return Err(KernelError(format!("no bridge of {}", interface.network)));
        }
        let here = Some(target.clone());
        if !world.interfaces.contains_key(&interface.tag) {
            world
                .interfaces
                .insert(interface.tag.clone(), (here.clone(), interface.clone()));
        }
        if !interface.name.is_empty() {
            return Ok(interface.name.clone());
        }
        let in_it = world
            .interfaces
            .values()
            .filter(|(place, _)| *place == here)
            .count();
        Ok(format!("mesh{}", in_it - 1))
    }

    fn unplug(&self, tag: &str) -> KernelResult<bool> {
        Ok(self.enter("unplug")?.interfaces.remove(tag).is_some())
    }

    fn plugged(&self) -> KernelResult<BTreeSet<String>> {
        Ok(self.enter("plugged")?.interfaces.keys().cloned().collect())
    }

    fn arrived(&self) -> KernelResult<BTreeSet<String>> {
        let world = self.enter("arrived")?;
        let all = world.interfaces.iter();
        let arrived = all.filter(|(_, (place, _))| place.is_some());
        Ok(arrived.map(|(tag, _)| tag.clone()).collect())
    }

    fn addresses_in(&self, target: &NetnsRef) -> KernelResult<BTreeSet<IpAddr>> {
        let world = self.enter("addresses_in")?;
        let here = world.interfaces.values();
        let here = here.filter(|(place, _)| place.as_ref() == Some(target));
        Ok(here.map(|(_, i)| i.address.addr()).collect())
    }

    fn make_endpoint(&self, interface: &ContainerInterface) -> KernelResult<String> {
        let mut world = self.enter("make_endpoint")?;
        if !interface.network.is_default() && !world.open.contains_key(&interface.network) {
            return Err(KernelError(format!("no bridge of {}", interface.network)));
        }
        world
            .interfaces
            .insert(interface.tag.clone(), (None, interface.clone()));
        Ok("peer0".into())
    }

    fn finish_endpoint(
        &self,
        sandbox: &Path,
        interface: &ContainerInterface,
        _: AddressSetting,
    ) -> KernelResult<Option<String>> {
        let mut world = self.enter("finish_endpoint")?;
        let place = NetnsRef::Path(sandbox.to_owned());
        let entry = world.interfaces.get_mut(&interface.tag);
        let entry = entry.ok_or_else(|| KernelError("no such interface".into()))?;
        entry.0 = Some(place);
        Ok(Some("mesh0".into()))
    }

    fn create_netns(&self, name: &str) -> KernelResult<PathBuf> {
        let path = Path::new("/run/netns").join(name);
        self.enter("create_netns")?.namespaces.insert(path.clone());
        Ok(path)
    }

    fn delete_netns(&self, name: &str) -> KernelResult<bool> {
        let path = Path::new("/run/netns").join(name);
        Ok(self.enter("delete_netns")?.namespaces.remove(&path))
    }

    fn is_netns(&self, path: &Path) -> bool {
        self.world().namespaces.contains(path)
    }

    fn netns_names(&self, prefix: &str) -> KernelResult<Vec<String>> {
        let world = self.enter("netns_names")?;
        let names = world
            .namespaces
            .iter()
            .filter_map(|p| p.strip_prefix("/run/netns").ok());
        let names = names.map(|n| n.to_string_lossy().into_owned());
        Ok(names.filter(|n| n.starts_with(prefix)).collect())
    }

    fn check_exposure(&self, _: NetworkId, _: &[IpNet], _: bool) -> KernelResult<()> {
        self.enter("check_exposure").map(drop)
    }

    fn expose(&self, side: &ExposurePlan) -> KernelResult<ExposureOutcome> {
        let mut world = self.enter("expose")?;
        let all = side.addresses.keys().copied();
        let (rules, new);
        if side.network.is_default() {
            rules = world.rules != *side;
            world.rules.clone_from(side);
            new = all.filter(|a| !world.host.contains(a)).collect::<Vec<_>>();
            world.host.extend(&new);
        } else {
            let network = side.network;
            let before = world.rules_in.insert(network, side.clone());
            rules = before.as_ref() != Some(side);
            new = all
                .filter(|a| !world.host_in.contains(&(network, *a)))
                .collect();
            world.host_in.extend(new.iter().map(|a| (network, *a)));
        }
        // As a kernel may fail when half of it is done.
        drop(world);
        drop(self.enter("expose at its end")?);
        Ok(ExposureOutcome {
            mac: (!side.addresses.is_empty()).then_some(Mac([2, 0, 0, 0, 0, 1])),
            new,
            rules,
            notes: Vec::new(),
        })
    }

    fn hide(&self, network: NetworkId, addresses: &[IpNet]) -> KernelResult<()> {
        let mut world = self.enter("hide")?;
        if network.is_default() {
            world.host.retain(|a| !addresses.contains(a));
        }
        let is_hidden = |(of, a): &(NetworkId, IpNet)| *of == network && addresses.contains(a);
        world.host_in.retain(|one| !is_hidden(one));
        Ok(())
    }

    fn join_bridge(&self, network: NetworkId, other: &str, _: [u8; 16]) -> KernelResult<bool> {
        let mut world = self.enter("join_bridge")?;
        world.joined_to.insert(other.to_owned(), network);
        match world.bridges.get_mut(other) {
            Some(joined) => Ok(!std::mem::replace(joined, true)),
            None => Err(KernelError(format!("there is no bridge {other}"))),
        }
    }

    fn leave_bridge(&self, _: NetworkId, other: &str) -> KernelResult<bool> {
        let mut world = self.enter("leave_bridge")?;
        let joined = world.bridges.get_mut(other);
        Ok(joined.is_some_and(|joined| std::mem::replace(joined, false)))
    }

    fn firewall(&self) -> Option<&'static str> {
        None
    }

    fn process_start(&self, pid: u32) -> Option<u64> {
        self.world().processes.get(&pid).copied()
    }

    fn process_end(&self, pid: u32) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        if !self.world().processes.contains_key(&pid) {
            return Box::pin(std::future::ready(()));
        }
        let mut ends = self.ends.subscribe();
        Box::pin(async move { drop(ends.changed().await) })
    }

    fn remove_all(&self) -> KernelResult<Vec<String>> {
        let mut world = self.enter("remove_all")?;
        world.interfaces.clear();
        world.open.clear();
        world.bridge = false;
        Ok(vec!["everything".into()])
    }
}

/// Knows the network `default` and no other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefaultNetworkOnly;

impl NetworkAccess for DefaultNetworkOnly {
    fn resolve(&self, name: &str) -> Result<NetworkId, String> {
        match name {
            DEFAULT_NETWORK => Ok(NetworkId::DEFAULT),
            other => Err(UnknownNetwork::Missing(other.to_owned()).to_string()),
        }
    }

    fn join(&self, network: NetworkId) -> JoinAnswer<'_> {
        let unknown = UnknownNetwork::Missing(network.to_string()).to_string();
        Box::pin(std::future::ready(Err(unknown)))
    }

    fn definition(&self, _: &NetworkId) -> Option<Arc<NetworkDefinition>> {
        None
    }
}
