//! Workload of containers that start, request an address, and stop.

mod checks;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use mesh_ipam::{AddressRequest, Slicing};
use mesh_names::{Container, MeshName};
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;

use super::addresses::WorkloadRequest;
use super::event::SimEvent;
use super::families::SUBNET;
use super::hosts::Hosts;
use super::network::HostId;
use super::rng::Rng;
use super::runtime::SimRuntime;

/// Interval between starts or stops of containers.
const PACE: Duration = Duration::from_millis(150);
/// Timeout of a container's request for an address.
const PATIENCE: Duration = Duration::from_secs(4);
/// The same for the first request: a router with peers waits 5 s for them before it takes the range.
const FOUNDERS_PATIENCE: Duration = Duration::from_secs(7);
/// Probability per mille that an existing container stops instead of a new one starting.
const GO: u32 = 450;
/// Number of lost machines that operators remember.
const REMEMBERED: usize = 8;
/// Explicitly requested addresses are among the first of the range, so that several containers request the same one.
const POPULAR: usize = 64;

/// A container that has an address or waits for one.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaseHolder {
    /// The network of its address and names.
    pub(crate) network: NetworkId,
    pub(crate) addr: Option<Ipv4Addr>,
    request: Option<u64>,
}

/// Containers of one host, by name.
type HostContainers = BTreeMap<String, LeaseHolder>;

/// Number of names that containers share, in one network or in several.
const SHARED_NAMES: u64 = 5;

/// Next step of the workload.
#[derive(Clone, Debug)]
pub(crate) enum WorkloadStep {
    Start(WorkloadRequest),
    Stop { host: HostId, container: String },
}

/// State of the workload.
#[derive(Debug)]
pub(crate) struct Workload {
    slicing: Slicing,
    hosts: Vec<HostContainers>,
    /// Networks besides `default` in which containers of a host may have their names.
    networks: Vec<Vec<NetworkId>>,
    busy: bool,
    serial: u64,
    /// Identities whose disks are lost.
    dead: Vec<PeerId>,
    /// Hosts that allocated each other's addresses while they were clones.
    excused: BTreeSet<HostId>,
    /// True while duplicate addresses are permitted; `known` holds those that existed when that ended.
    overlaps: bool,
    known: BTreeSet<(NetworkId, Ipv4Addr)>,
    /// True if operators removed all `dead` routers.
    removed: bool,
    allocated: usize,
}

impl Workload {
    /// Returns the workload of hosts with these networks besides `default`.
    pub(crate) fn new(slicing: Slicing, networks: impl Iterator<Item = Vec<NetworkId>>) -> Self {
        let networks: Vec<Vec<NetworkId>> = networks.collect();
        Self {
            slicing,
            hosts: vec![HostContainers::new(); networks.len()],
            networks,
            busy: false,
            serial: 0,
            dead: Vec::new(),
            excused: BTreeSet::new(),
            overlaps: false,
            known: BTreeSet::new(),
            removed: false,
            allocated: 0,
        }
    }

    pub(crate) fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    pub(crate) fn excuse(&mut self, hosts: [HostId; 2]) {
        self.excused.extend(hosts);
    }

    pub(crate) fn allow_overlaps(&mut self) {
        self.overlaps = true;
    }

    /// Returns the number of addresses allocated.
    pub(crate) fn allocated(&self) -> usize {
        self.allocated
    }

    // Starts and stops

    /// Schedules the step after the next one, and returns the next one, if there is any.
    pub(crate) fn next(&mut self, hosts: &Hosts, runtime: &mut SimRuntime) -> Option<WorkloadStep> {
        runtime.after(PACE, SimEvent::Workload);
        if !self.busy {
            return None;
        }
        let rng = runtime.rng();
        let running = hosts.running();
        let host = running.get(rng.below(running.len())).copied()?;
        let containers: Vec<&String> = self.hosts[host].keys().collect();
        if !containers.is_empty() && rng.chance(GO) {
            let container = containers[rng.below(containers.len())].clone();
            self.hosts[host].remove(&container);
            return Some(WorkloadStep::Stop { host, container });
        }
        let network = self.any_network(host, rng);
        // A router that never heard of the range's owner takes the range after a while: two meshes, a scenario of its
        // own.
        (!network.is_default() || has_map(hosts, host)).then(|| {
            let address = self.any_request(network, rng);
            WorkloadStep::Start(self.request((host, network), address, PATIENCE))
        })
    }

    /// In a component without an owner of the range, returns the request of one container, by which the range is taken.
    /// Only one: during start-up two routers may not know each other, and both take it, a scenario of its own.
    pub(crate) fn bootstrap(
        &mut self,
        component: BTreeSet<HostId>,
        hosts: &Hosts,
        rng: &mut Rng,
    ) -> Option<WorkloadRequest> {
        if component.iter().any(|host| has_map(hosts, *host)) {
            return None;
        }
        let component: Vec<HostId> = component.into_iter().collect();
        let host = component[rng.below(component.len())];
        let range = AddressRequest::Subnet(self.slicing.range());
        let place = (host, NetworkId::DEFAULT);
        Some(self.request(place, range, FOUNDERS_PATIENCE))
    }

    /// Returns one of the networks of a host.
    fn any_network(&self, host: HostId, rng: &mut Rng) -> NetworkId {
        let others = &self.networks[host];
        if others.is_empty() {
            return NetworkId::DEFAULT;
        }
        let chosen = rng.below(1 + others.len()).checked_sub(1);
        chosen.map_or(NetworkId::DEFAULT, |k| others[k])
    }

    fn any_request(&self, network: NetworkId, rng: &mut Rng) -> AddressRequest {
        let range = match network.is_default() {
            true => self.slicing.range(),
            false => SUBNET,
        };
        let subnet = |bits: u8| Ipv4Net::new(range.network(), bits).unwrap_or(range);
        match rng.below(6) {
            0 => {
                let size = 1usize << (32 - range.prefix_len());
                let at = 1 + rng.below(size.min(POPULAR) - 2);
                let at = u32::from(range.network()) + u32::try_from(at).unwrap_or(1);
                AddressRequest::Address(Ipv4Addr::from(at))
            }
            1 => AddressRequest::Subnet(subnet((range.prefix_len() + 1).min(30))),
            2 => AddressRequest::Subnet(subnet(28.max(range.prefix_len()))),
            _ => AddressRequest::Subnet(range),
        }
    }

    fn request(
        &mut self,
        (host, network): (HostId, NetworkId),
        address: AddressRequest,
        patience: Duration,
    ) -> WorkloadRequest {
        self.serial += 1;
        let number = self.serial;
        let container = format!("g{number}");
        let holder = LeaseHolder {
            network,
            addr: None,
            request: Some(number),
        };
        self.hosts[host].insert(container.clone(), holder);
        WorkloadRequest {
            host,
            number,
            container,
            network,
            address,
            patience,
        }
    }

    /// Removes a container whose request the router did not take.
    pub(crate) fn withdraw(&mut self, host: HostId, container: &str) {
        self.hosts[host].remove(container);
    }

    /// Handles the router's answer to a request. Returns true if a container got its address.
    pub(crate) fn answered(
        &mut self,
        host: HostId,
        request: u64,
        result: &Result<Ipv4Addr, String>,
    ) -> bool {
        let containers = &mut self.hosts[host];
        let mut waiting = containers.iter();
        let found = waiting.find(|(_, holder)| holder.request == Some(request));
        let Some((name, network)) = found.map(|(name, holder)| (name.clone(), holder.network))
        else {
            return false;
        };
        match result {
            Ok(addr) => {
                let (addr, request) = (Some(*addr), None);
                let holder = LeaseHolder {
                    network,
                    addr,
                    request,
                };
                containers.insert(name, holder);
                self.allocated += 1;
                true
            }
            Err(_) => {
                containers.remove(&name);
                false
            }
        }
    }

    // Routers and machines

    /// Fails the pending requests of a router that ended.
    pub(crate) fn router_ended(&mut self, host: HostId) {
        self.hosts[host].retain(|_, holder| holder.addr.is_some());
    }

    /// Removes the containers of a machine that is reinstalled; its router had this identity, unless another has it.
    pub(crate) fn machine_lost(&mut self, host: HostId, peer: Option<PeerId>) {
        self.hosts[host].clear();
        self.dead.extend(peer);
    }

    /// Returns the lost routers that operators remove.
    pub(crate) fn remove_dead(&mut self) -> Vec<PeerId> {
        self.removed = true;
        let dead = self.dead.iter().rev().take(REMEMBERED);
        dead.copied().collect()
    }

    /// Returns the containers on a host.
    pub(crate) fn containers(&self, host: HostId) -> &BTreeMap<String, LeaseHolder> {
        &self.hosts[host]
    }

    /// Returns the containers on a host that have an address, with their names.
    pub(crate) fn named(&self, host: HostId) -> Vec<Container> {
        let named = self.hosts[host].iter().filter_map(|(name, holder)| {
            let names = self.names_of(host, name).into_iter();
            let names = names.map(|name| MeshName::relative(&name).ok());
            Some(Container {
                id: name.clone(),
                network: holder.network,
                names: names.collect::<Option<_>>()?,
                addresses: vec![holder.addr?.into()],
                ports: Vec::new(),
            })
        });
        named.collect()
    }

    /// Returns the names of a container: its own, and where there are networks one that others have, too.
    fn names_of(&self, host: HostId, container: &str) -> Vec<String> {
        let mut names = vec![container.to_owned()];
        if !self.networks[host].is_empty() {
            names.push(format!("shared{}", number(container) % SHARED_NAMES));
        }
        names
    }
}

/// Returns the number in the name of a container.
fn number(container: &str) -> u64 {
    let digits = container.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or(0)
}

/// True if a router knows an owner of the range.
fn has_map(hosts: &Hosts, host: HostId) -> bool {
    let ipam = hosts.ipam(host);
    ipam.is_some_and(|ipam| !ipam.owners().is_empty())
}
