//! A few routers with disks that forget what is not synced, and a network that loses, repeats, delays and is cut.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::super::durable::{Fault, replay};
use super::super::spaces::space;
use super::super::*;
use mesh_proto::entropy::{Entropy, SeededEntropy};
use mesh_proto::limits::IPAM_TICK;

pub(super) const STEP: Duration = Duration::from_millis(20);

/// One host: its containers outlive its router's process.
pub(super) struct Host {
    pub(super) id: PeerId,
    pub(super) router: Option<Ipam>,
    epoch: u64,
    /// What survives a crash, and what may.
    disk: Vec<Vec<u8>>,
    unsynced: VecDeque<(u64, Vec<u8>)>,
    /// Newest statements of all, as gossip keeps them.
    gossip: BTreeMap<PeerId, Vec<u8>>,
    pub(super) group: u8,
    pub(super) containers: BTreeMap<String, Ipv4Addr>,
    requests: BTreeMap<u64, (String, Instant)>,
    pub(super) failures: Vec<AddressRefusal>,
    pub(super) left: bool,
}

enum Event {
    Message(PeerId, PeerId, Vec<u8>),
    Statement(PeerId, PeerId, Vec<u8>),
    Synced(PeerId, u64, u64),
    Reachable(PeerId, PeerId),
}

pub(super) struct World {
    pub(super) rng: SeededEntropy,
    pub(super) now: Instant,
    pub(super) hosts: BTreeMap<PeerId, Host>,
    events: BTreeMap<(Instant, u64), Event>,
    serial: u64,
    pub(super) range: Ipv4Net,
    /// Percentage of messages lost; as many are repeated.
    pub(super) loss: u64,
    pub(super) fault: Option<Fault>,
    /// Whether no address may be held twice, and no slice be used twice, now.
    pub(super) strict: bool,
    /// Addresses that were held twice when that was allowed.
    pub(super) excused: BTreeSet<Ipv4Addr>,
    pub(super) allocated: usize,
    lost: Vec<PeerId>,
    pub(super) reclaim: Option<Duration>,
    /// The rules are those of a network besides `default`.
    pub(super) is_network: bool,
    /// Planted mistake: each router takes itself for the founder of the network.
    pub(super) all_found: bool,
    founder: Option<PeerId>,
    /// When a router (first) heard of another one that it can reach.
    met: BTreeMap<(PeerId, PeerId), Instant>,
}

impl World {
    pub(super) fn new(seed: u64, range: &str, fault: Option<Fault>) -> Self {
        Self {
            rng: SeededEntropy::new(seed),
            now: Instant::from_nanos(1_000_000_000),
            hosts: BTreeMap::new(),
            events: BTreeMap::new(),
            serial: 0,
            range: range.parse().unwrap(),
            loss: 10,
            fault,
            strict: true,
            excused: BTreeSet::new(),
            allocated: 0,
            lost: Vec::new(),
            reclaim: None,
            is_network: false,
            all_found: false,
            founder: None,
            met: BTreeMap::new(),
        }
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.rng.u64() % n.max(1)
    }

    /// A new host with an identity that nobody had.
    pub(super) fn add(&mut self, group: u8) -> PeerId {
        let mut id = [0; 16];
        self.rng.fill(&mut id);
        let id = PeerId(id);
        let host = Host {
            id,
            router: None,
            epoch: 0,
            disk: Vec::new(),
            unsynced: VecDeque::new(),
            gossip: BTreeMap::new(),
            group,
            containers: BTreeMap::new(),
            requests: BTreeMap::new(),
            failures: Vec::new(),
            left: false,
        };
        self.hosts.insert(id, host);
        self.start(id);
        id
    }

    pub(super) fn start(&mut self, id: PeerId) {
        let (now, fault, slicing) = (self.now, self.fault, self.slicing());
        let founder = *self.founder.get_or_insert(id);
        let founder = self.is_network.then_some(match self.all_found {
            true => id,
            false => founder,
        });
        let host = self.hosts.get_mut(&id).unwrap();
        host.epoch += 1;
        let config = IpamConfig {
            me: id,
            epoch: host.epoch,
            slicing,
            auto_reclaim: self.reclaim,
        };
        let entries = host.disk.iter().map(Vec::as_slice);
        let mut ipam = space::open(config, founder, entries, now).unwrap();
        if founder == Some(id) && host.epoch == 1 {
            space::found(&mut ipam, now);
        }
        ipam.registry.durable_mut().plant(fault);
        // A start rewrites the journal, as the shell would.
        if !host.disk.is_empty() {
            host.disk = ipam.snapshot();
        }
        host.router = Some(ipam);
        self.reconnect();
        self.drain(id).unwrap();
    }

    fn slicing(&self) -> Slicing {
        match self.is_network {
            true => Slicing::of_subnet(self.range.into()).unwrap(),
            false => Slicing::new(self.range).unwrap(),
        }
    }

    /// The process dies: of what was not synced a beginning may be there.
    pub(super) fn crash(&mut self, id: PeerId) {
        let kept = self.below(4);
        let host = self.hosts.get_mut(&id).unwrap();
        host.router = None;
        host.requests.clear();
        host.gossip.clear();
        if kept > 0 {
            let n = usize::try_from(kept).unwrap() * host.unsynced.len() / 4;
            let kept = host.unsynced.drain(..n).map(|(_, bytes)| bytes);
            host.disk.extend(kept);
        }
        host.unsynced.clear();
        self.reconnect();
    }

    /// The host is gone, disk and all.
    pub(super) fn destroy(&mut self, id: PeerId) {
        self.hosts.remove(&id);
        self.lost.push(id);
        // Gossip forgets records of routers that are long gone.
        if self.lost.len() > 20 {
            let oldest = self.lost.remove(0);
            let hosts = self.hosts.values_mut();
            hosts.for_each(|host| drop(host.gossip.remove(&oldest)));
        }
        self.reconnect();
    }

    pub(super) fn set_group(&mut self, id: PeerId, group: u8) {
        self.hosts.get_mut(&id).unwrap().group = group;
    }

    pub(super) fn ids(&self) -> Vec<PeerId> {
        self.hosts.keys().copied().collect()
    }

    pub(super) fn running(&self) -> Vec<PeerId> {
        let up = self.hosts.values().filter(|h| h.router.is_some());
        up.map(|h| h.id).collect()
    }

    pub(super) fn pick(&mut self, from: &[PeerId]) -> Option<PeerId> {
        let n = self.below(u64::try_from(from.len()).unwrap());
        from.get(usize::try_from(n).unwrap()).copied()
    }

    fn schedule(&mut self, delay: Duration, event: Event) {
        self.serial += 1;
        self.events.insert((self.now + delay, self.serial), event);
    }

    fn delay(&mut self, most: u64) -> Duration {
        Duration::from_millis(1 + self.below(most))
    }

    /// Each router notices by itself, and later, which others it can reach.
    pub(super) fn reconnect(&mut self) {
        let ids: Vec<PeerId> = self.ids();
        let known: BTreeSet<PeerId> = self
            .hosts
            .values()
            .filter_map(|h| h.router.as_ref())
            .flat_map(|r| r.registry.peers().ids())
            .chain(ids.iter().copied())
            .collect();
        for a in &ids {
            for b in &known {
                let delay = self.delay(800);
                self.schedule(delay, Event::Reachable(*a, *b));
            }
        }
    }

    fn connected(&self, a: &PeerId, b: &PeerId) -> bool {
        match (self.hosts.get(a), self.hosts.get(b)) {
            (Some(a), Some(b)) => {
                a.group == b.group && a.router.is_some() && b.router.is_some() && a.id != b.id
            }
            _ => false,
        }
    }

    /// Lets one router act, with what follows from it.
    pub(super) fn act(
        &mut self,
        id: PeerId,
        f: impl FnOnce(&mut Ipam, Instant),
    ) -> Result<(), String> {
        let now = self.now;
        if let Some(router) = self.hosts.get_mut(&id).and_then(|h| h.router.as_mut()) {
            f(router, now);
        }
        self.drain(id)
    }

    fn drain(&mut self, id: PeerId) -> Result<(), String> {
        loop {
            let host = self.hosts.get_mut(&id);
            let Some(output) = host.and_then(|h| h.router.as_mut()?.poll_output()) else {
                return Ok(());
            };
            self.carry_out(id, output)?;
        }
    }

    fn carry_out(&mut self, id: PeerId, output: IpamOutput) -> Result<(), String> {
        match output {
            IpamOutput::Persist { position, entry } => {
                let delay = self.delay(40);
                let host = self.hosts.get_mut(&id).unwrap();
                host.unsynced.push_back((position, entry));
                let epoch = host.epoch;
                self.schedule(delay, Event::Synced(id, epoch, position));
            }
            IpamOutput::Statement(bytes) => {
                self.hosts
                    .get_mut(&id)
                    .unwrap()
                    .gossip
                    .insert(id, bytes.clone());
                for to in self.ids() {
                    self.transmit(|_| Event::Statement(id, to, bytes.clone()));
                }
            }
            IpamOutput::Send { to, bytes } => {
                self.transmit(|_| Event::Message(id, to, bytes.clone()));
            }
            IpamOutput::Allocated { request, addr, .. } => self.allocated(id, request, addr)?,
            IpamOutput::Failed { request, why } => {
                let host = self.hosts.get_mut(&id).unwrap();
                host.requests.remove(&request.0);
                host.failures.push(why);
            }
            IpamOutput::Left { .. } => self.hosts.get_mut(&id).unwrap().left = true,
        }
        Ok(())
    }

    fn transmit(&mut self, event: impl Fn(()) -> Event) {
        if self.below(100) >= self.loss {
            let delay = self.delay(60);
            self.schedule(delay, event(()));
        }
        if self.below(100) < self.loss {
            let delay = self.delay(3_000);
            self.schedule(delay, event(()));
        }
    }

    /// I1: nobody else has the address.
    fn allocated(&mut self, id: PeerId, request: RequestId, addr: Ipv4Addr) -> Result<(), String> {
        let host = self.hosts.get_mut(&id).unwrap();
        let Some((container, _)) = host.requests.remove(&request.0) else {
            return Err(format!("{id}: an answer to a request that there is not"));
        };
        for other in self.hosts.values() {
            for (name, held) in &other.containers {
                let same = other.id == id && *name == container;
                if *held == addr && !same {
                    if self.knew(id, other.id, addr) {
                        return Err(format!("I1: {addr} for {id}, which knew of {}", other.id));
                    }
                    if self.strict && !self.excused.contains(&addr) {
                        return Err(format!("I1: {addr} for {id} and for {}", other.id));
                    }
                    self.excused.insert(addr);
                }
            }
        }
        self.allocated += 1;
        let host = self.hosts.get_mut(&id).unwrap();
        if let Some(old) = host.containers.insert(container, addr)
            && old != addr
        {
            return Err(format!("{id}: another address for the same container"));
        }
        Ok(())
    }

    /// Whether a router has long met another that says it holds an address, or may have given it out.
    fn knew(&self, id: PeerId, other: PeerId, addr: Ipv4Addr) -> bool {
        let router = self.hosts[&id].router.as_ref().unwrap();
        let met = self.met.get(&(id, other));
        if met.is_none_or(|at| self.now.since(*at) < Duration::from_millis(60)) {
            return false;
        }
        let peers = router.registry.peers();
        let slice = router.registry.slicing().slice_of(addr).unwrap();
        // What was lent was chosen by the lender, perhaps long ago.
        let decides = router.registry.state().claims().is_mine(slice);
        decides
            && peers.is_member(&other)
            && peers.statement(&other).is_some_and(|s| {
                s.own.iter().any(|run| run.slices().contains(&slice))
                    || s.pins.iter().any(|p| p.addr == addr && p.router.is_none())
            })
    }

    fn note_met(&mut self, id: PeerId, other: PeerId) {
        let router = self.hosts[&id].router.as_ref();
        // From when it owns anything.
        let counts = |r: &Ipam| {
            let peers = r.registry.peers();
            peers.is_member(&other) && peers.statement(&other).is_some_and(|s| !s.own.is_empty())
        };
        if router.is_some_and(counts) {
            self.met.entry((id, other)).or_insert(self.now);
        } else {
            self.met.remove(&(id, other));
        }
    }

    pub(super) fn request(&mut self, id: PeerId, want: AddressRequest) -> Result<(), String> {
        let deadline = self.now + Duration::from_secs(8);
        self.serial += 1;
        let number = self.serial;
        let name = format!("c{number}");
        let host = self.hosts.get_mut(&id).unwrap();
        host.requests.insert(number, (name.clone(), deadline));
        let mut refused = false;
        self.act(id, |ipam, now| {
            let id = RequestId(number);
            let result = match want {
                AddressRequest::Subnet(net) => ipam.allocate(id, &name, net, deadline, now),
                AddressRequest::Address(addr) => {
                    let net = Ipv4Net::new(addr, 12).unwrap();
                    ipam.claim(id, &name, net, deadline, now)
                }
            };
            refused = result.is_err();
        })?;
        if refused {
            self.hosts.get_mut(&id).unwrap().requests.remove(&number);
        }
        Ok(())
    }

    pub(super) fn release(&mut self, id: PeerId, container: &str) -> Result<(), String> {
        self.hosts
            .get_mut(&id)
            .unwrap()
            .containers
            .remove(container);
        let container = container.to_owned();
        self.act(id, |ipam, now| ipam.release(&container, now))
    }

    /// Lets `time` pass, and checks everything all the time.
    pub(super) fn run(&mut self, time: Duration) -> Result<(), String> {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            while let Some(((at, _), _)) = self.events.first_key_value() {
                if *at > self.now {
                    break;
                }
                let (_, event) = self.events.pop_first().unwrap();
                self.happen(event)?;
            }
            self.exchange()?;
            for id in self.running() {
                let router = self.hosts[&id].router.as_ref().unwrap();
                if router.next_deadline() <= self.now {
                    self.act(id, Ipam::handle_timeout)?;
                }
            }
            self.check()?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Message(from, to, bytes) if self.connected(&from, &to) => {
                self.act(to, |ipam, now| {
                    ipam.handle_message(from, &bytes, now).unwrap();
                })
            }
            Event::Statement(origin, to, bytes) if self.connected(&origin, &to) => {
                self.tell(origin, to, &bytes)
            }
            Event::Reachable(a, b) => {
                let reachable = self.connected(&a, &b);
                if self.hosts.contains_key(&a) {
                    self.act(a, |ipam, now| ipam.set_reachable(b, reachable, now))?;
                    self.note_met(a, b);
                }
                Ok(())
            }
            Event::Synced(id, epoch, position) => {
                let Some(host) = self.hosts.get_mut(&id).filter(|h| h.epoch == epoch) else {
                    return Ok(());
                };
                if host.router.is_none() {
                    return Ok(());
                }
                while host.unsynced.front().is_some_and(|(p, _)| *p <= position) {
                    let (_, bytes) = host.unsynced.pop_front().unwrap();
                    host.disk.push(bytes);
                }
                self.act(id, |ipam, now| ipam.persisted(position, now))
            }
            _ => Ok(()),
        }
    }

    fn tell(&mut self, origin: PeerId, to: PeerId, bytes: &[u8]) -> Result<(), String> {
        let version = |b: &[u8]| IpamStatement::decode(b).unwrap().version;
        let reachable = self.connected(&origin, &to);
        let host = self.hosts.get_mut(&to).unwrap();
        let known = host.gossip.get(&origin);
        if origin == to || known.is_some_and(|k| version(k) >= version(bytes)) {
            return Ok(());
        }
        host.gossip.insert(origin, bytes.to_vec());
        self.act(to, |ipam, now| {
            // Whether it can be reached is what the router noticed.
            let peers = ipam.registry.peers();
            let noticed = match peers.since(&origin) {
                Some(_) => peers.is_reachable(&origin),
                None => reachable,
            };
            ipam.handle_statement(origin, bytes, noticed, now).unwrap();
        })?;
        self.note_met(to, origin);
        Ok(())
    }

    /// Neighbours compare what they know, so that nothing stays lost.
    fn exchange(&mut self) -> Result<(), String> {
        let up = self.running();
        if self.below(3) != 0 || up.len() < 2 {
            return Ok(());
        }
        let (Some(a), Some(b)) = (self.pick(&up), self.pick(&up)) else {
            return Ok(());
        };
        if self.connected(&a, &b) {
            for (origin, bytes) in self.hosts[&a].gossip.clone() {
                self.tell(origin, b, &bytes)?;
            }
            for (origin, bytes) in self.hosts[&b].gossip.clone() {
                self.tell(origin, a, &bytes)?;
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let up = || {
            self.hosts
                .values()
                .filter_map(|h| Some((h, h.router.as_ref()?)))
        };
        let slices = self.slicing().count();
        if self.strict && self.excused.is_empty() {
            for slice in 0..slices {
                let users = up()
                    .filter(|(_, r)| r.registry.durable().may_use(slice))
                    .count();
                if users > 1 {
                    let who: Vec<_> = up()
                        .filter(|(_, r)| r.registry.durable().may_use(slice))
                        .map(|(h, r)| (h.id, h.group, r.registry.state().claims().get(slice)))
                        .collect();
                    return Err(format!("I2: slice {slice} is used by {who:?}"));
                }
            }
        }
        for (host, router) in up() {
            for (_, deadline) in host.requests.values() {
                if self.now > *deadline + IPAM_TICK * 2 + Duration::from_millis(100) {
                    return Err(format!("{}: a request without an end", host.id));
                }
            }
            for waiting in router.waiting() {
                if waiting.why.to_string().is_empty() || waiting.deadline <= waiting.since {
                    return Err("a wait without reason or deadline".to_owned());
                }
            }
            let leases = router.registry.state().leases();
            let used: u32 = (0..slices).map(|s| leases.in_slice(s)).sum();
            let counted = leases.all_local().len() + leases.all_remote().len();
            if usize::try_from(used).unwrap() != counted {
                return Err(format!("{}: used addresses are miscounted", host.id));
            }
        }
        Ok(())
    }

    /// I13: what is on each disk leads to what the router knows, or to something it knew.
    pub(super) fn check_disks(&self) -> Result<(), String> {
        for host in self.hosts.values() {
            let Some(router) = &host.router else { continue };
            let unsynced = host.unsynced.iter().map(|(_, bytes)| bytes);
            let all = host.disk.iter().chain(unsynced).map(Vec::as_slice);
            let state = replay(host.id, *router.registry.slicing(), all);
            if state.as_ref() != Ok(router.registry.state()) {
                return Err(format!("I13: {}: journal and state differ", host.id));
            }
            let short = router.snapshot();
            let short = short.iter().map(Vec::as_slice);
            let state = replay(host.id, *router.registry.slicing(), short);
            if state.as_ref() != Ok(router.registry.state()) {
                return Err(format!("I13: {}: snapshot and state differ", host.id));
            }
        }
        Ok(())
    }

    /// I3, and that nothing is lost: in peace all have one map, and exactly what is held is taken.
    pub(super) fn check_peace(&self) -> Result<(), String> {
        self.check_disks()?;
        let routers: Vec<&Ipam> = self
            .hosts
            .values()
            .filter_map(|h| h.router.as_ref())
            .collect();
        let digests: BTreeSet<[u8; 32]> = routers.iter().map(|r| r.digest()).collect();
        if digests.len() > 1 {
            return Err(format!("I3: {} different maps", digests.len()));
        }
        let slicing = self.slicing();
        for slice in 0..slicing.count() {
            let owner = routers
                .iter()
                .find_map(|r| r.registry.state().claims().owner(slice));
            let Some(router) = owner.and_then(|o| self.hosts.get(&o)?.router.as_ref()) else {
                continue;
            };
            let state = router.registry.state();
            let (claims, leases) = (state.claims(), state.leases());
            if !claims.is_usable(slice) {
                let contests = claims.rivals(slice);
                let claim = claims.get(slice);
                return Err(format!(
                    "slice {slice} cannot be used by its owner: {claim:?}, contests {contests:?}, round {:?}, up {:?}",
                    router.vote,
                    self.running()
                ));
            }
            let range = slicing.addresses(slice);
            let taken = |a: &Ipv4Addr| range.contains(&u64::from(u32::from(*a)));
            let remote = leases.all_remote().keys();
            let local = leases.all_local().keys();
            let known: BTreeSet<Ipv4Addr> = local.chain(remote).copied().filter(taken).collect();
            let real = routers
                .iter()
                .flat_map(|r| r.registry.state().leases().all_local().keys());
            let real: BTreeSet<Ipv4Addr> = real.copied().filter(taken).collect();
            if known != real {
                return Err(format!("slice {slice}: {known:?} taken, {real:?} held"));
            }
        }
        for host in self.hosts.values().filter(|h| h.router.is_some()) {
            let router = host.router.as_ref().unwrap();
            for addr in host.containers.values() {
                if router.registry.state().leases().local(addr).is_none() {
                    return Err(format!("{}: {addr} of a container was forgotten", host.id));
                }
            }
        }
        Ok(())
    }

    /// Addresses held by two containers now, each with both routers.
    pub(super) fn duplicates(&self) -> Vec<(Ipv4Addr, PeerId, PeerId)> {
        let mut seen: BTreeMap<Ipv4Addr, PeerId> = BTreeMap::new();
        let mut out = Vec::new();
        for host in self.hosts.values().filter(|h| h.router.is_some()) {
            for addr in host.containers.values() {
                if let Some(other) = seen.insert(*addr, host.id) {
                    out.push((*addr, other, host.id));
                }
            }
        }
        out
    }

    /// Whether both sides of each duplicate report it.
    pub(super) fn check_reported(&self) -> Result<(), String> {
        for (addr, a, b) in self.duplicates() {
            for id in [a, b] {
                let router = self.hosts[&id].router.as_ref().unwrap();
                if !router.conflicts().iter().any(|c| c.addr == addr) {
                    return Err(format!("{id} does not report that {addr} is held twice"));
                }
            }
        }
        Ok(())
    }
}
