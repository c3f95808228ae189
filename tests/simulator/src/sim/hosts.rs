//! All hosts of a world, by number, identity, address and name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::{Index, IndexMut};

use mesh_ipam::Ipam;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;

use super::host::{SimHost, address, number_of};
use super::network::HostId;
use super::plan::WorldPlan;
use super::rng::Rng;
use super::router::SimRouter;
use super::state::RouterState;
use super::tcp::ProcessId;

/// All hosts.
pub(crate) struct Hosts {
    hosts: Vec<SimHost>,
    /// Host of every identity, former ones included.
    by_peer: BTreeMap<PeerId, HostId>,
}

impl Index<HostId> for Hosts {
    type Output = SimHost;

    fn index(&self, host: HostId) -> &SimHost {
        &self.hosts[host]
    }
}

impl IndexMut<HostId> for Hosts {
    fn index_mut(&mut self, host: HostId) -> &mut SimHost {
        &mut self.hosts[host]
    }
}

impl Hosts {
    pub(crate) fn new(plan: &WorldPlan, rng: &mut Rng) -> Self {
        let target = |to: &HostId| {
            if plan.names {
                format!("h{to}")
            } else {
                address(*to, 0).ip().to_string()
            }
        };
        let host = |id| {
            let targets = plan.targets.get(id).map(Vec::as_slice).unwrap_or_default();
            let typed = targets.iter().map(target).collect();
            SimHost::new(id, typed, plan.clocks, rng)
        };
        let hosts: Vec<SimHost> = (0..plan.hosts).map(host).collect();
        let by_peer = hosts.iter().map(SimHost::peer).zip(0..).collect();
        Self { hosts, by_peer }
    }

    pub(crate) fn len(&self) -> usize {
        self.hosts.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &SimHost> {
        self.hosts.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut SimHost> {
        self.hosts.iter_mut()
    }

    // Processes

    /// True if this is the last start of its host's process.
    pub(crate) fn is_current(&self, process: ProcessId) -> bool {
        self.hosts[process.host].last_start() == process
    }

    /// True if this start of a process still runs.
    pub(crate) fn runs(&self, process: ProcessId) -> bool {
        self.is_current(process) && self.hosts[process.host].is_running()
    }

    pub(crate) fn router(&self, host: HostId) -> Option<&SimRouter> {
        self.hosts[host].router()
    }

    /// Returns the running routers.
    pub(crate) fn routers(&self) -> impl Iterator<Item = (HostId, &SimRouter)> {
        let hosts = self.hosts.iter();
        hosts.filter_map(|host| Some((host.id(), host.router()?)))
    }

    /// Returns the hosts with a running router.
    pub(crate) fn running(&self) -> Vec<HostId> {
        self.routers().map(|(host, _)| host).collect()
    }

    /// Returns the address allocation of a running router.
    pub(crate) fn ipam(&self, host: HostId) -> Option<&Ipam> {
        self.router(host)?.ipam()
    }

    /// Returns the allocation of a host's router in a network; none where it takes no part.
    pub(crate) fn allocation(&self, host: HostId, network: NetworkId) -> Option<&Ipam> {
        match network.is_default() {
            true => self.ipam(host),
            false => self.router(host)?.space(network),
        }
    }

    /// Returns the allocations of all routers that take part in a network.
    pub(crate) fn allocations(&self, network: NetworkId) -> impl Iterator<Item = (HostId, &Ipam)> {
        self.routers()
            .filter_map(move |(host, _)| Some((host, self.allocation(host, network)?)))
    }

    // Names and addresses

    /// Returns the host with an underlay address.
    pub(crate) fn at(&self, address: SocketAddr) -> Option<HostId> {
        let number = number_of(address)?;
        (self.hosts.get(number)?.address() == address).then_some(number)
    }

    /// Returns the underlay address of a host by name, such as `h3`.
    pub(crate) fn resolve(&self, name: &str) -> Option<SocketAddr> {
        let number: HostId = name.strip_prefix('h')?.parse().ok()?;
        Some(self.hosts.get(number)?.address())
    }

    /// Returns the host of a router by its present or former identity.
    pub(crate) fn host_of(&self, peer: &PeerId) -> Option<HostId> {
        self.by_peer.get(peer).copied()
    }

    /// Returns the number of identities so far.
    pub(crate) fn identities(&self) -> usize {
        self.by_peer.len()
    }

    // State on disks

    /// Reinstalls a machine: identity and journal are gone. Returns its old identity, unless another host has it, too.
    pub(crate) fn reinstall(&mut self, host: HostId, rng: &mut Rng) -> Option<PeerId> {
        let identity = Identity::from_seeds(rng.key(), rng.key());
        self.by_peer.insert(identity.id(), host);
        let old = self.hosts[host].peer();
        let mut others = self.hosts.iter().filter(|h| h.id() != host);
        let is_dead = !others.any(|h| h.peer() == old);
        self.hosts[host].lose_state(identity);
        is_dead.then_some(old)
    }

    /// Copies key, state and disk of one host to another.
    pub(crate) fn clone_host(&mut self, of: HostId, to: HostId) {
        let copied = self.hosts[of].state.clone();
        let at = [of, to].map(|h| self.hosts[h].address().ip().to_string());
        let names = [of, to].map(|h| format!("h{h}"));
        // Targets of both, except each other's addresses: dialling each other they would meet their own key, and learn
        // nothing.
        let mut targets = copied.targets.clone();
        targets.extend_from_slice(self.hosts[to].typed());
        targets.sort();
        targets.dedup();
        targets.retain(|t| !at.contains(t) && !names.contains(t));
        self.hosts[to].state = RouterState { targets, ..copied };
        let copies = self.hosts[of].disk_copies();
        self.hosts[to].copy_disks(copies);
    }
}
