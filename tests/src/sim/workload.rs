//! Workload of containers that start, request an address, and stop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::Ipv4Net;
use mesh_proto::ids::PeerId;
use mesh_proto::ipam::{AddressRequest, Ipam, Slicing};
use mesh_proto::names::{Container, MeshName};

use super::invariants::addresses::{self, AddressHolder, TOLD};
use super::invariants::{Check, Violation, names};
use super::network::HostId;
use super::router::SimRouter;
use super::world::{SimEvent, World};

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
    pub(crate) addr: Option<Ipv4Addr>,
    request: Option<u64>,
}

/// State of the workload.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) slicing: Slicing,
    busy: bool,
    serial: u64,
    /// Identities whose disks are lost.
    pub(crate) dead: Vec<PeerId>,
    /// Hosts that allocated each other's addresses while they were clones.
    excused: BTreeSet<HostId>,
    /// True while duplicate addresses are permitted; `known` holds those that existed when that ended.
    overlaps: bool,
    known: BTreeSet<Ipv4Addr>,
    /// True if operators removed all `dead` routers.
    removed: bool,
    /// Number of addresses allocated.
    pub(crate) given: usize,
}

impl Workload {
    pub(crate) fn new(slicing: Slicing) -> Self {
        Self {
            slicing,
            busy: false,
            serial: 0,
            dead: Vec::new(),
            excused: BTreeSet::new(),
            overlaps: false,
            known: BTreeSet::new(),
            removed: false,
            given: 0,
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

    /// True if each slice must have at most one owner that allocates from it.
    fn is_strict(&self) -> bool {
        !self.overlaps && self.excused.is_empty()
    }
}

impl World {
    /// Starts or stops a container somewhere, and schedules the next step.
    pub(crate) fn guests_live(&mut self) {
        self.queue.push(self.now + PACE, SimEvent::Workload);
        if !self.workload.busy {
            return;
        }
        let running = self.running();
        let Some(host) = running.get(self.rng.below(running.len())).copied() else {
            return;
        };
        let names: Vec<String> = self.hosts[host].workload.keys().cloned().collect();
        if !names.is_empty() && self.rng.chance(GO) {
            let name = &names[self.rng.below(names.len())];
            return self.guest_goes(host, name);
        }
        // A router that never heard of the range's owner takes the range after a while: two meshes, a scenario of its
        // own.
        let ipam = self.ipam(host);
        let has_map = ipam.is_some_and(|ipam| !ipam.owners().is_empty());
        if has_map {
            let want = self.some_want();
            self.guest_comes(host, want, PATIENCE);
        }
    }

    fn some_want(&mut self) -> AddressRequest {
        let range = self.workload.slicing.range();
        let subnet = |bits: u8| Ipv4Net::new(range.network(), bits).unwrap_or(range);
        match self.rng.below(6) {
            0 => {
                let size = 1usize << (32 - range.prefix_len());
                let at = 1 + self.rng.below(size.min(POPULAR) - 2);
                let at = u32::from(range.network()) + u32::try_from(at).unwrap_or(1);
                AddressRequest::Address(Ipv4Addr::from(at))
            }
            1 => AddressRequest::Subnet(subnet((range.prefix_len() + 1).min(30))),
            2 => AddressRequest::Subnet(subnet(28.max(range.prefix_len()))),
            _ => AddressRequest::Subnet(range),
        }
    }

    fn guest_comes(&mut self, host: HostId, want: AddressRequest, patience: Duration) {
        self.workload.serial += 1;
        let number = self.workload.serial;
        let name = format!("g{number}");
        let guest = LeaseHolder {
            addr: None,
            request: Some(number),
        };
        self.hosts[host].workload.insert(name.clone(), guest);
        let mut opened = false;
        self.tell_router(host, |router, now| {
            opened = router.with_addresses(now, |addresses, local| {
                addresses.ask(number, &name, want, [local + patience, local])
            });
        });
        if !opened {
            self.hosts[host].workload.remove(&name);
        }
    }

    fn guest_goes(&mut self, host: HostId, name: &str) {
        self.hosts[host].workload.remove(name);
        self.tell_router(host, |router, now| {
            router.with_addresses(now, |a, local| a.release(name, local));
        });
        self.tell_names(host);
    }

    /// Makes the router announce the names of its containers.
    pub(crate) fn tell_names(&mut self, host: HostId) {
        let workload = self.hosts[host].workload.iter();
        let named = workload.filter_map(|(name, guest)| {
            Some(Container {
                id: name.clone(),
                names: vec![MeshName::relative(name).ok()?],
                addresses: vec![guest.addr?.into()],
                ports: Vec::new(),
            })
        });
        let named: Vec<Container> = named.collect();
        self.tell_router(host, |router, now| router.set_named(named, now));
    }

    /// Checks the DNS promises: D2 always, D1 when quiet.
    pub(crate) fn check_names(&self) -> Check {
        for (host, router) in self.routers() {
            let reachable: BTreeSet<PeerId> = router.reachable().into_iter().collect();
            names::within_reach(host, router.names().names(), &reachable)?;
        }
        Ok(())
    }

    pub(crate) fn names_in_peace(&mut self) -> Check {
        if !self.workload.excused.is_empty() {
            return Ok(());
        }
        for component in self.components() {
            let mut truth: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
            for holder in self.holders().filter(|h| component.contains(&h.host)) {
                let addresses = truth.entry(holder.name.to_owned()).or_default();
                addresses.insert(holder.addr.into());
            }
            for (host, router) in self.routers().filter(|(h, _)| component.contains(h)) {
                names::are_true(host, router.names().names(), &truth)?;
            }
        }
        Ok(())
    }

    fn routers(&self) -> impl Iterator<Item = (HostId, &SimRouter)> {
        let hosts = self.hosts.iter().enumerate();
        hosts.filter_map(|(host, at)| Some((host, at.process.as_ref()?.as_router()?)))
    }

    /// In each component without an owner of the range, one container requests an address, by which the range is taken.
    /// Only one: during start-up two routers may not know each other, and both take it, a scenario of its own.
    pub(crate) fn found(&mut self) {
        let range = self.workload.slicing.range();
        for component in self.components() {
            let hosts: Vec<HostId> = component.into_iter().collect();
            let has_map = |h: &HostId| self.ipam(*h).is_some_and(|i| !i.owners().is_empty());
            if !hosts.iter().any(has_map) {
                let host = hosts[self.rng.below(hosts.len())];
                self.guest_comes(host, AddressRequest::Subnet(range), FOUNDERS_PATIENCE);
            }
        }
    }

    /// Handles the router's answer to a request.
    pub(crate) fn answered(
        &mut self,
        host: HostId,
        request: u64,
        result: &Result<Ipv4Addr, String>,
    ) {
        self.trace.line(
            self.now,
            format_args!("h{host}: address for g{request}: {result:?}"),
        );
        let workload = &mut self.hosts[host].workload;
        let waits = |guest: &LeaseHolder| guest.request == Some(request);
        let Some(name) = workload
            .iter()
            .find(|(_, g)| waits(g))
            .map(|(n, _)| n.clone())
        else {
            return;
        };
        match result {
            Ok(addr) => {
                let (addr, request) = (Some(*addr), None);
                workload.insert(name, LeaseHolder { addr, request });
                self.workload.given += 1;
                // Scheduled rather than called: effects of the router come first.
                self.queue.push(self.now, SimEvent::Named(host));
                let check = self.check_addresses();
                self.check(check);
            }
            Err(_) => drop(workload.remove(&name)),
        }
    }

    /// The router ended: pending requests fail.
    pub(crate) fn requests_end(&mut self, host: HostId) {
        self.hosts[host].workload.retain(|_, g| g.addr.is_some());
    }

    /// Checks after a start that all confirmed addresses are on the disk (I13), and frees unused ones.
    pub(crate) fn mend(&mut self, host: HostId) {
        let Some(ipam) = self.ipam(host) else {
            return;
        };
        let held: Vec<(Ipv4Addr, String)> = ipam
            .allocations()
            .map(|a| (a.addr, a.container.to_owned()))
            .collect();
        let workload = self.hosts[host].workload.clone();
        if !self.workload.excused.contains(&host) {
            let told = workload.iter().filter_map(|(name, g)| Some((g.addr?, name)));
            for (addr, name) in told {
                if !held.contains(&(addr, name.clone())) {
                    let detail = format!("router {host} told {name} of {addr} and forgot it");
                    return self.check(Err(Violation::new(TOLD, detail)));
                }
            }
        }
        let lives = |name: &str, addr: Ipv4Addr| {
            workload
                .get(name)
                .is_some_and(|guest| guest.addr == Some(addr))
        };
        self.tell_router(host, |router, now| {
            router.with_addresses(now, |addresses, local| addresses.mend(lives, local));
        });
        self.tell_names(host);
    }

    /// Runs `mesh rmpeer` as an operator.
    pub(crate) fn remove(&mut self, at: HostId, host: HostId, force: bool) {
        let dead = self.workload.dead.iter().rev().take(REMEMBERED);
        let mut dead: Vec<PeerId> = dead.copied().collect();
        if force {
            dead.push(self.hosts[host].state.identity.id());
        }
        self.workload.removed = true;
        let mut said = Vec::new();
        self.tell_router(at, |router, now| {
            for peer in dead {
                // Always forced, since the simulator does not wait ten minutes. The majority rule would keep the parts
                // of a partition from removing each other; here the operators know better.
                let done = router.with_addresses(now, |addresses, local| {
                    Some(addresses.ipam().remove(peer, true, local))
                });
                said.push(format!("{peer}: {done:?}"));
            }
        });
        for line in said {
            self.trace
                .line(self.now, format_args!("h{at} removes {line}"));
        }
    }

    fn holders(&self) -> impl Iterator<Item = AddressHolder<'_>> {
        self.hosts.iter().enumerate().flat_map(|(host, at)| {
            let workload = at.workload.iter();
            workload.filter_map(move |(name, guest)| {
                let addr = guest.addr?;
                Some(AddressHolder { host, name, addr })
            })
        })
    }

    /// Checks I1, and I2 unless exempted.
    pub(crate) fn check_addresses(&self) -> Check {
        let doubles = addresses::doubles(self.holders());
        for (first, second) in &doubles {
            let excused = |h: &AddressHolder<'_>| self.workload.excused.contains(&h.host);
            let known = self.workload.overlaps || self.workload.known.contains(&first.addr);
            if !known && !excused(first) && !excused(second) {
                return Err(addresses::twice(first, second));
            }
        }
        if self.workload.is_strict() && self.workload.known.is_empty() {
            let usable = self.ipams().map(|(host, ipam)| (host, ipam.usable()));
            addresses::one_owner(usable)?;
        }
        Ok(())
    }

    fn ipam(&self, host: HostId) -> Option<&Ipam> {
        self.hosts[host].process.as_ref()?.as_router()?.ipam()
    }

    fn ipams(&self) -> impl Iterator<Item = (HostId, &Ipam)> {
        (0..self.hosts.len()).filter_map(|host| Some((host, self.ipam(host)?)))
    }

    /// Checks that both holders of every duplicate address report it; from now on new ones are violations.
    pub(crate) fn check_reported(&mut self) {
        let doubles = addresses::doubles(self.holders());
        let reports = |host: HostId, addr: Ipv4Addr| {
            self.ipam(host)
                .is_none_or(|ipam| ipam.conflicts().iter().any(|c| c.addr == addr))
        };
        let mut check = Ok(());
        for (first, second) in &doubles {
            for holder in [first, second] {
                if !reports(holder.host, holder.addr) {
                    check = Err(addresses::unreported(holder));
                }
            }
        }
        self.workload.known = doubles.iter().map(|(first, _)| first.addr).collect();
        self.workload.overlaps = false;
        self.check(check);
    }

    /// Checks, when quiet, that all routers of a component have one map, and that allocated space equals held space and
    /// is all usable.
    pub(crate) fn addresses_in_peace(&mut self) -> Check {
        if !self.workload.is_strict() {
            return Ok(());
        }
        for component in self.components() {
            let ipams: Vec<_> = self
                .ipams()
                .filter(|(host, _)| component.contains(host))
                .collect();
            addresses::one_map(&ipams)?;
            addresses::nothing_leaks(&ipams, &self.workload.slicing)?;
            if self.workload.removed {
                addresses::all_owned(&ipams)?;
            }
        }
        let known: BTreeSet<(HostId, Ipv4Addr)> =
            self.holders().map(|h| (h.host, h.addr)).collect();
        addresses::all_held(self.ipams(), &known)
    }
}
