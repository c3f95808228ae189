//! A few routers with several networks, disks that forget what is not synced, and a mesh that loses and is cut.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::super::*;
use mesh_proto::entropy::{Entropy, SeededEntropy};
use mesh_proto::network::NetworkId;

const STEP: Duration = Duration::from_millis(20);
const RED: NetworkId = NetworkId([13; 16]);
const BLUE: NetworkId = NetworkId([9; 16]);
const NETWORKS: [NetworkId; 3] = [NetworkId::DEFAULT, RED, BLUE];
const GATEWAYS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
];

/// Mistakes that are planted, to see that the checks find them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SetPlant {
    /// A message about one network is taken for one about another.
    MixedMessages,
    /// Statements about two networks are taken for one another's.
    MixedStatements,
    /// Entries of the journal count as synced at once.
    UnsyncedSpaces,
    /// The journal of a restart is that of another network.
    MixedJournals,
    /// Each router takes itself for the founder.
    AllFound,
    /// The address of the gateway is not told.
    NoGateway,
}

/// One journal on a disk.
#[derive(Default)]
struct SetDisk {
    synced: Vec<Vec<u8>>,
    unsynced: VecDeque<(u64, Vec<u8>)>,
}

struct SetHost {
    set: Option<IpamSet>,
    epoch: u64,
    disks: [SetDisk; 2],
    /// Newest records of all, with their ages.
    gossip: BTreeMap<PeerId, (u64, Vec<u8>)>,
    group: u8,
    containers: BTreeMap<(NetworkId, String), IpAddr>,
    requests: BTreeMap<u64, (NetworkId, String)>,
    failures: Vec<AddressRefusal>,
    left: Option<usize>,
}

enum SetEvent {
    Message(PeerId, PeerId, Vec<u8>),
    Record(PeerId, PeerId),
    Synced(PeerId, u64, usize, u64),
    Reach(PeerId),
}

struct SetWorld {
    rng: SeededEntropy,
    now: Instant,
    hosts: BTreeMap<PeerId, SetHost>,
    events: BTreeMap<(Instant, u64), SetEvent>,
    serial: u64,
    plant: Option<SetPlant>,
    removed: BTreeSet<NetworkId>,
    /// Networks in which addresses may be held twice now; `default` from the start, as routers may begin apart.
    lax: BTreeSet<NetworkId>,
}

fn plan(network: NetworkId, founder: PeerId, gateway: bool) -> NetworkPlan {
    let net = |text: &str| -> IpNet { text.parse().unwrap() };
    let [v4, v6] = GATEWAYS.map(|address| gateway.then_some(address));
    let subnet = |subnet, range, gateway| SubnetPlan {
        subnet: net(subnet),
        range: net(range),
        gateway,
    };
    // Equal subnets in both.
    let subnets = vec![
        subnet("10.1.0.0/27", "10.1.0.0/27", v4),
        subnet("10.2.0.0/28", "10.2.0.8/29", None),
        subnet("fd00::/123", "fd00::/123", v6),
    ];
    NetworkPlan {
        network,
        founder,
        subnets,
    }
}

impl SetWorld {
    fn new(seed: u64, hosts: u64, plant: Option<SetPlant>) -> Self {
        let mut world = Self {
            rng: SeededEntropy::new(seed),
            now: Instant::from_nanos(1_000_000_000),
            hosts: BTreeMap::new(),
            events: BTreeMap::new(),
            serial: 0,
            plant,
            removed: BTreeSet::new(),
            lax: BTreeSet::from([NetworkId::DEFAULT]),
        };
        for _ in 0..hosts {
            let mut id = [0; 16];
            world.rng.fill(&mut id);
            let host = SetHost {
                set: None,
                epoch: 0,
                disks: Default::default(),
                gossip: BTreeMap::new(),
                group: 0,
                containers: BTreeMap::new(),
                requests: BTreeMap::new(),
                failures: Vec::new(),
                left: None,
            };
            world.hosts.insert(PeerId(id), host);
        }
        for id in world.ids() {
            world.start(id).unwrap();
        }
        world
    }

    fn below(&mut self, n: u64) -> u64 {
        self.rng.u64() % n.max(1)
    }

    fn ids(&self) -> Vec<PeerId> {
        self.hosts.keys().copied().collect()
    }

    fn pick(&mut self) -> PeerId {
        let ids = self.ids();
        ids[usize::try_from(self.below(u64::try_from(ids.len()).unwrap())).unwrap()]
    }

    fn host(&mut self, id: PeerId) -> &mut SetHost {
        self.hosts.get_mut(&id).unwrap()
    }

    fn set(&self, id: PeerId) -> &IpamSet {
        self.hosts[&id].set.as_ref().unwrap()
    }

    fn founder(&self, network: NetworkId) -> PeerId {
        let ids = self.ids();
        ids[usize::from(network == BLUE)]
    }

    fn start(&mut self, id: PeerId) -> Result<(), String> {
        let (now, plant) = (self.now, self.plant);
        let founders = [RED, BLUE].map(|network| (network, self.founder(network)));
        let removed = self.removed.clone();
        let host = self.host(id);
        host.epoch += 1;
        let config = IpamConfig {
            me: id,
            epoch: host.epoch,
            slicing: Slicing::new("10.32.0.0/26".parse().unwrap()).unwrap(),
            auto_reclaim: None,
        };
        let entries = |disk: &SetDisk| -> Vec<Vec<u8>> { disk.synced.clone() };
        let (default, mut spaces) = (entries(&host.disks[0]), entries(&host.disks[1]));
        if plant == Some(SetPlant::MixedJournals) {
            spaces.iter_mut().for_each(|entry| swap(entry));
        }
        let default = Ipam::new(config, default.iter().map(Vec::as_slice), now).unwrap();
        let mut set = IpamSet::new(&config, default, now);
        let is_first = spaces.is_empty();
        if !is_first {
            set.restore(spaces.iter().map(Vec::as_slice), now).unwrap();
            host.disks[1].synced = set.spaces_snapshot().1;
        }
        for (network, founder) in founders {
            if removed.contains(&network) {
                continue;
            }
            let founder = match plant {
                Some(SetPlant::AllFound) => id,
                _ => founder,
            };
            let gateway = plant != Some(SetPlant::NoGateway);
            set.define(plan(network, founder, gateway), now);
            // Created at this moment, at the first start.
            if founder == id && is_first && host.epoch == 1 {
                set.found(&network, now).unwrap();
            }
        }
        host.set = Some(set);
        self.reconnect();
        self.drain(id)
    }

    /// The process dies: of what was not synced a beginning may be there.
    fn crash(&mut self, id: PeerId) {
        let kept = usize::try_from(self.below(5)).unwrap();
        let host = self.host(id);
        host.set = None;
        host.requests.clear();
        host.gossip.clear();
        for disk in &mut host.disks {
            let n = kept * disk.unsynced.len() / 4;
            let n = n.min(disk.unsynced.len());
            let kept: Vec<Vec<u8>> = disk.unsynced.drain(..n).map(|(_, e)| e).collect();
            disk.synced.extend(kept);
            disk.unsynced.clear();
        }
        self.reconnect();
    }

    fn reconnect(&mut self) {
        for id in self.ids() {
            let delay = self.delay(600);
            self.schedule(delay, SetEvent::Reach(id));
        }
    }

    fn delay(&mut self, most: u64) -> Duration {
        Duration::from_millis(1 + self.below(most))
    }

    fn schedule(&mut self, delay: Duration, event: SetEvent) {
        self.serial += 1;
        self.events.insert((self.now + delay, self.serial), event);
    }

    fn connected(&self, a: PeerId, b: PeerId) -> bool {
        match (self.hosts.get(&a), self.hosts.get(&b)) {
            (Some(x), Some(y)) => {
                a != b && x.group == y.group && x.set.is_some() && y.set.is_some()
            }
            _ => false,
        }
    }

    fn act(&mut self, id: PeerId, f: impl FnOnce(&mut IpamSet, Instant)) -> Result<(), String> {
        let now = self.now;
        if let Some(set) = self.hosts.get_mut(&id).and_then(|h| h.set.as_mut()) {
            f(set, now);
        }
        self.drain(id)
    }

    /// As the shell does it: new spaces first hear what others stated before.
    fn drain(&mut self, id: PeerId) -> Result<(), String> {
        loop {
            self.catch_up(id);
            let host = self.hosts.get_mut(&id);
            let Some(output) = host.and_then(|h| h.set.as_mut()?.poll_output()) else {
                return Ok(());
            };
            self.carry_out(id, output)?;
        }
    }

    fn catch_up(&mut self, id: PeerId) {
        let now = self.now;
        let Some(mut host) = self.hosts.remove(&id) else {
            return;
        };
        if let Some(set) = &mut host.set {
            while set.take_reread() {
                for (origin, (_, bytes)) in &host.gossip {
                    let there = self.hosts.get(origin);
                    let reachable = there.is_some_and(|h| h.group == host.group && h.set.is_some());
                    set.reread(*origin, bytes, reachable, now);
                }
            }
        }
        self.hosts.insert(id, host);
    }

    fn carry_out(&mut self, id: PeerId, output: SetOutput) -> Result<(), String> {
        match output {
            SetOutput::Persist { position, entry } => self.write(id, 0, position, entry)?,
            SetOutput::PersistSpace { position, entry } => self.write(id, 1, position, entry)?,
            SetOutput::Record(bytes) => {
                self.serial += 1;
                let age = self.serial;
                self.host(id).gossip.insert(id, (age, bytes));
                for to in self.ids() {
                    let delay = self.delay(40);
                    self.schedule(delay, SetEvent::Record(id, to));
                }
            }
            SetOutput::Send { to, mut bytes } => {
                if self.plant == Some(SetPlant::MixedMessages) && self.below(3) == 0 {
                    swap(&mut bytes);
                }
                for _ in 0..self.below(20).min(2) {
                    let delay = self.delay(60);
                    self.schedule(delay, SetEvent::Message(id, to, bytes.clone()));
                }
            }
            SetOutput::Allocated { request, address } => {
                self.allocated(id, request, address.addr())?;
            }
            SetOutput::Failed { request, why } => {
                let host = self.host(id);
                host.requests.remove(&request.0);
                host.failures.push(why);
            }
            SetOutput::Left { orphaned } => self.host(id).left = Some(orphaned),
        }
        Ok(())
    }

    fn write(&mut self, id: PeerId, n: usize, at: u64, entry: Vec<u8>) -> Result<(), String> {
        let delay = self.delay(40);
        let host = self.host(id);
        let next = host.disks[n]
            .unsynced
            .back()
            .map(|(position, _)| position + 1);
        if next.is_some_and(|next| next != at) {
            return Err(format!("{id}: entry {at} of journal {n} is out of order"));
        }
        host.disks[n].unsynced.push_back((at, entry));
        let epoch = host.epoch;
        self.schedule(delay, SetEvent::Synced(id, epoch, n, at));
        if self.plant == Some(SetPlant::UnsyncedSpaces) && n == 1 {
            let now = self.now;
            self.host(id)
                .set
                .as_mut()
                .unwrap()
                .spaces_persisted(at, now);
        }
        Ok(())
    }

    /// Nobody else has the address in this network.
    fn allocated(&mut self, id: PeerId, request: RequestId, addr: IpAddr) -> Result<(), String> {
        let host = self.host(id);
        let Some((network, container)) = host.requests.remove(&request.0) else {
            return Err(format!("{id}: an answer to a request that there is not"));
        };
        let is_default = network.is_default();
        let ranges = match is_default {
            true => &["10.32.0.0/26"][..],
            false => &["10.1.0.0/27", "10.2.0.8/29", "fd00::/123"],
        };
        let mut ranges = ranges.iter().map(|range| range.parse::<IpNet>().unwrap());
        if !ranges.any(|range| range.contains(&addr)) {
            return Err(format!("{addr} is of no subnet of {network}"));
        }
        if !is_default && GATEWAYS.contains(&addr) {
            return Err(format!("{addr} is the gateway"));
        }
        for (other, host) in &self.hosts {
            for ((theirs, name), held) in &host.containers {
                let same = *other == id && *name == container;
                let twice = *held == addr && *theirs == network && !same;
                if twice && !self.lax.contains(&network) {
                    return Err(format!("{addr} of {network} for {id} and for {other}"));
                }
            }
        }
        let host = self.host(id);
        host.containers.insert((network, container), addr);
        Ok(())
    }

    fn request(&mut self, id: PeerId, network: NetworkId) -> Result<(), String> {
        let subnet = match network.is_default() {
            true => "10.32.0.0/26".parse().unwrap(),
            false => ANY_SUBNET,
        };
        self.request_of(id, network, subnet)
    }

    /// Of one family or the other, where there are both.
    fn request_any(&mut self, id: PeerId, network: NetworkId) -> Result<(), String> {
        match !network.is_default() && self.below(3) == 0 {
            true => self.request_of(id, network, ANY_SUBNET6),
            false => self.request(id, network),
        }
    }

    fn request_of(&mut self, id: PeerId, network: NetworkId, subnet: IpNet) -> Result<(), String> {
        if self.hosts[&id].set.is_none() || self.removed.contains(&network) {
            return Ok(());
        }
        self.serial += 1;
        let number = self.serial;
        let name = format!("c{number}");
        self.host(id)
            .requests
            .insert(number, (network, name.clone()));
        // Before the first request, as the shell does it.
        if !network.is_default() {
            self.act(id, |set, now| set.open(&network, now).unwrap())?;
        }
        let mut refused = false;
        self.act(id, |set, now| {
            let want = AddressQuery::AnyOf(subnet);
            let until = now + Duration::from_secs(6);
            let id = RequestId(number);
            refused = set.request(&network, id, &name, want, until, now).is_err();
        })?;
        if refused {
            self.host(id).requests.remove(&number);
        }
        Ok(())
    }

    fn release_one(&mut self, id: PeerId) -> Result<(), String> {
        if self.hosts[&id].set.is_none() {
            return Ok(());
        }
        let Some(((network, name), addr)) = self.host(id).containers.pop_first() else {
            return Ok(());
        };
        self.act(id, |set, now| {
            set.release_address(&network, &name, addr, now);
        })
    }

    fn run(&mut self, time: Duration) -> Result<(), String> {
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
            if self.below(4) == 0 {
                let (a, b) = (self.pick(), self.pick());
                for origin in self.ids() {
                    self.pass_on(a, b, origin)?;
                }
            }
            for id in self.ids() {
                let now = self.now;
                let set = self.hosts[&id].set.as_ref();
                if set.is_some_and(|set| set.next_deadline() <= now) {
                    self.act(id, IpamSet::handle_timeout)?;
                }
            }
        }
        Ok(())
    }

    fn happen(&mut self, event: SetEvent) -> Result<(), String> {
        match event {
            SetEvent::Message(from, to, bytes) if self.connected(from, to) => {
                self.act(to, |set, now| {
                    set.handle_message(from, &bytes, now).unwrap();
                })
            }
            SetEvent::Record(origin, to) => self.pass_on(origin, to, origin),
            SetEvent::Reach(id) => {
                let known: Vec<PeerId> = match self.hosts.get(&id) {
                    Some(host) => host.gossip.keys().copied().collect(),
                    None => return Ok(()),
                };
                let all: Vec<(PeerId, bool)> =
                    known.iter().map(|p| (*p, self.connected(id, *p))).collect();
                self.act(id, |set, now| set.set_reachable(all.into_iter(), now))
            }
            SetEvent::Synced(id, epoch, n, position) => {
                let Some(host) = self.hosts.get_mut(&id).filter(|h| h.epoch == epoch) else {
                    return Ok(());
                };
                if host.set.is_none() {
                    return Ok(());
                }
                let disk = &mut host.disks[n];
                while let Some((at, _)) = disk.unsynced.front()
                    && *at <= position
                {
                    let (_, entry) = disk.unsynced.pop_front().unwrap();
                    disk.synced.push(entry);
                }
                self.act(id, |set, now| match n {
                    0 => set.persisted(position, now),
                    _ => set.spaces_persisted(position, now),
                })
            }
            SetEvent::Message(..) => Ok(()),
        }
    }

    /// One neighbour tells another what it knows of a third.
    fn pass_on(&mut self, from: PeerId, to: PeerId, origin: PeerId) -> Result<(), String> {
        if !self.connected(from, to) || origin == to {
            return Ok(());
        }
        let Some((age, mut bytes)) = self.hosts[&from].gossip.get(&origin).cloned() else {
            return Ok(());
        };
        let known = self.hosts[&to].gossip.get(&origin).map(|(age, _)| *age);
        if known >= Some(age) {
            return Ok(());
        }
        self.host(to).gossip.insert(origin, (age, bytes.clone()));
        let reachable = self.connected(to, origin);
        if self.plant == Some(SetPlant::MixedStatements) && self.below(3) == 0 {
            mix_statements(&mut bytes);
        }
        self.act(to, |set, now| {
            set.handle_record(origin, &bytes, reachable, now).unwrap();
        })
    }

    /// Everybody is there and connected, for as long as it takes.
    fn heal(&mut self) -> Result<(), String> {
        for id in self.ids() {
            self.host(id).group = 0;
            if self.hosts[&id].set.is_none() {
                self.start(id)?;
            }
        }
        self.reconnect();
        self.run(Duration::from_secs(14))
    }

    /// Routers that take part in a space know the same claims, and exactly what containers hold is leased.
    fn check_peace(&self) -> Result<(), String> {
        let mut digests: BTreeMap<SpaceId, BTreeSet<[u8; 32]>> = BTreeMap::new();
        for id in self.ids() {
            let (set, host) = (self.set(id), &self.hosts[&id]);
            for (space, ipam) in set.spaces() {
                digests.entry(*space).or_default().insert(ipam.digest());
                let open: Vec<_> = ipam.waiting().collect();
                if !open.is_empty() {
                    return Err(format!("{id}: {open:?} after all"));
                }
            }
            let leased: BTreeMap<(NetworkId, String), IpAddr> = set
                .allocations()
                .map(|lease| ((lease.network, lease.container.to_owned()), lease.address))
                .collect();
            // A crash may leave a lease of which nobody was told.
            for (container, addr) in &host.containers {
                if leased.get(container) != Some(addr) {
                    return Err(format!("{id}: {addr} of {container:?} was forgotten"));
                }
            }
            self.check_disk(id)?;
        }
        match digests.iter().find(|(_, digests)| digests.len() > 1) {
            Some((space, _)) => Err(format!("different maps of {space:?}")),
            None => Ok(()),
        }
    }

    /// What is on the disk of the other spaces leads to what the router knows.
    fn check_disk(&self, id: PeerId) -> Result<(), String> {
        let host = &self.hosts[&id];
        let disk = &host.disks[1];
        let unsynced = disk.unsynced.iter().map(|(_, entry)| entry);
        let all: Vec<&[u8]> = disk
            .synced
            .iter()
            .chain(unsynced)
            .map(Vec::as_slice)
            .collect();
        let config = IpamConfig {
            me: id,
            epoch: host.epoch,
            slicing: Slicing::new("10.32.0.0/26".parse().unwrap()).unwrap(),
            auto_reclaim: None,
        };
        let mut again = IpamSet::new(&config, Ipam::new(config, [], self.now).unwrap(), self.now);
        if !all.is_empty() {
            again.restore(all, self.now).map_err(|e| e.to_string())?;
        }
        let (theirs, ours): (Vec<_>, Vec<_>) =
            (again.spaces().collect(), self.set(id).spaces().collect());
        let is_same = theirs.len() == ours.len()
            && theirs
                .iter()
                .zip(&ours)
                .all(|(a, b)| a.0 == b.0 && a.1.registry.state() == b.1.registry.state());
        match is_same {
            true => Ok(()),
            false => Err(format!("{id}: journal and state differ")),
        }
    }
}

/// Puts one network in place of the other.
fn swap(bytes: &mut [u8]) {
    for at in 0..bytes.len().saturating_sub(15) {
        let id = &mut bytes[at..at + 16];
        if id == RED.0 {
            id.copy_from_slice(&BLUE.0);
        } else if id == BLUE.0 {
            id.copy_from_slice(&RED.0);
        }
    }
}

/// Puts the statements about the first network in place of those about the second.
fn mix_statements(bytes: &mut Vec<u8>) {
    let Ok(mut record) = AddressRecord::decode(bytes) else {
        return;
    };
    let red = record.spaces.clone();
    for stated in &mut record.spaces {
        let mut other = stated.space;
        other.id = RED;
        if let Some(theirs) = red.iter().find(|s| s.space == other) {
            stated.statement = theirs.statement;
        }
    }
    *bytes = record.encode();
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Containers come and go in three networks; routers crash, and are cut off from one another from the first moment on.
fn story(seed: u64, plant: Option<SetPlant>) -> Result<(), String> {
    let mut w = SetWorld::new(seed, 3 + seed % 3, plant);
    for _ in 0..70 {
        let id = w.pick();
        match w.below(24) {
            0 if w.hosts[&id].set.is_some() => w.crash(id),
            // Of what was asked for just now nothing may be on the disk.
            1 if w.hosts[&id].set.is_some() => {
                let network = NETWORKS[usize::try_from(w.below(3)).unwrap()];
                w.request_any(id, network)?;
                w.crash(id);
            }
            1..=3 if w.hosts[&id].set.is_none() => w.start(id)?,
            4 => {
                let group = u8::try_from(w.below(2)).unwrap();
                w.host(id).group = group;
                w.reconnect();
            }
            5 => {
                for id in w.ids() {
                    w.host(id).group = 0;
                }
                w.reconnect();
            }
            6..=9 => w.release_one(id)?,
            _ => {
                let network = NETWORKS[usize::try_from(w.below(3)).unwrap()];
                w.request_any(id, network)?;
            }
        }
        let pause = 10 + w.below(150);
        w.run(ms(pause))?;
    }
    w.heal()?;
    w.check_peace()
}

#[test]
fn networks_stay_apart_whatever_happens() {
    let failures: Vec<String> = (0..120)
        .filter_map(|seed| Some(format!("seed {seed}: {}", story(seed, None).err()?)))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn planted_mistakes_are_found() {
    for plant in [
        SetPlant::MixedMessages,
        SetPlant::MixedStatements,
        SetPlant::UnsyncedSpaces,
        SetPlant::MixedJournals,
        SetPlant::AllFound,
        SetPlant::NoGateway,
    ] {
        let found = (0..120).find_map(|seed| Some((seed, story(seed, Some(plant)).err()?)));
        match found {
            Some((seed, what)) => println!("{plant:?}: seed {seed}: {what}"),
            None => panic!("{plant:?} was not found"),
        }
    }
}

/// Two networks with equal subnets: every address is given out in both, and no more.
#[test]
fn every_address_is_usable_in_each_network() {
    let mut w = SetWorld::new(7, 3, None);
    w.run(ms(2_000)).unwrap();
    for round in 0..50 {
        for network in [RED, BLUE] {
            let ids = w.ids();
            w.request(ids[round % 3], network).unwrap();
        }
        w.run(ms(300)).unwrap();
    }
    w.run(ms(8_000)).unwrap();
    for network in [RED, BLUE] {
        let hosts = w.hosts.values();
        let held = hosts.flat_map(|h| h.containers.iter().filter(|((n, _), _)| *n == network));
        let held: BTreeSet<IpAddr> = held.map(|(_, addr)| *addr).collect();
        // 30 hosts without the gateway, and of the other subnet the range without the last address.
        assert_eq!(held.len(), 29 + 7, "{held:?}");
    }
    let failures: Vec<_> = w.hosts.values().flat_map(|h| &h.failures).collect();
    assert_eq!(failures.len(), 100 - 72);
    assert!(
        failures
            .iter()
            .any(|why| matches!(why, AddressRefusal::Exhausted(_))),
        "{failures:?}"
    );
    w.check_peace().unwrap();
}

/// The subnet of IPv6 counts apart from the others, and has as many addresses as one of IPv4 of its size.
#[test]
fn every_address_of_ipv6_is_usable() {
    let mut w = SetWorld::new(9, 3, None);
    w.run(ms(2_000)).unwrap();
    for round in 0..33 {
        let id = w.ids()[round % 3];
        w.request_of(id, RED, ANY_SUBNET6).unwrap();
        w.run(ms(300)).unwrap();
    }
    w.run(ms(8_000)).unwrap();
    let held = w.hosts.values().flat_map(|h| h.containers.values());
    let held: BTreeSet<IpAddr> = held.copied().collect();
    assert_eq!(held.len(), 29, "{held:?}");
    assert!(held.iter().all(IpAddr::is_ipv6), "{held:?}");
    let whole = AddressRefusal::Exhausted("fd00::/123".parse().unwrap());
    let failures: Vec<_> = w.hosts.values().flat_map(|h| &h.failures).collect();
    assert_eq!(failures, [&whole; 4]);
    w.request(w.ids()[0], RED).unwrap();
    w.run(ms(1_000)).unwrap();
    w.check_peace().unwrap();
}

#[test]
fn an_address_of_choice_is_claimed_outside_the_range_and_as_gateway_too() {
    let mut w = SetWorld::new(8, 2, None);
    w.run(ms(1_000)).unwrap();
    let id = w.ids()[0];
    let claim = |w: &mut SetWorld, text: &str| {
        w.serial += 1;
        let (now, request) = (w.now, RequestId(w.serial));
        let want = AddressQuery::Exactly(text.parse::<IpAddr>().unwrap().into());
        let set = w.host(id).set.as_mut().unwrap();
        set.request(&RED, request, text, want, now + ms(5_000), now)
    };
    let outside = claim(&mut w, "10.3.0.1").unwrap_err();
    assert_eq!(
        outside.to_string(),
        "10.3.0.1/32 is in none of the network's subnets; take one of 10.1.0.0/27, 10.2.0.0/28, fd00::/123"
    );
    for text in ["10.1.0.1", "10.2.0.3", "fd00::1", "fd00::1e"] {
        claim(&mut w, text).unwrap();
        let addr: IpAddr = text.parse().unwrap();
        let leased: Vec<_> = w.set(id).allocations().collect();
        let is_it = |lease: &NetworkLease<'_>| lease.network == RED && lease.address == addr;
        assert!(leased.iter().any(is_it), "{text}");
    }
    let last = claim(&mut w, "fd00::1f").unwrap_err();
    assert_eq!(last, AddressRefusal::NotAHost("fd00::1f".parse().unwrap()));
    let unknown = NetworkId([77; 16]);
    let set = w.host(id).set.as_mut().unwrap();
    let refused = set.open(&unknown, Instant::ZERO);
    assert_eq!(
        refused,
        Err(AddressRefusal::Network(NetworkRefusal::Unknown(unknown)))
    );
}

/// A network that is removed ends its requests, its leases and its journal, and the other one goes on.
#[test]
fn a_removed_network_leaves_nothing_and_touches_no_other() {
    let mut w = SetWorld::new(11, 3, None);
    w.run(ms(1_000)).unwrap();
    for _ in 0..4 {
        for id in w.ids() {
            w.request(id, RED).unwrap();
            w.request(id, BLUE).unwrap();
        }
        w.run(ms(1_500)).unwrap();
    }
    let ids = w.ids();
    // One request is under way.
    w.request(ids[2], RED).unwrap();
    w.removed.insert(RED);
    for id in ids {
        w.act(id, |set, now| set.remove_network(&RED, now)).unwrap();
        w.host(id)
            .containers
            .retain(|(network, _), _| *network != RED);
    }
    w.run(ms(2_000)).unwrap();
    for id in w.ids() {
        assert!(w.set(id).spaces().all(|(space, _)| space.network == BLUE));
        let (_, record) = &w.hosts[&id].gossip[&id];
        let record = AddressRecord::decode(record).unwrap();
        let blue = plan(BLUE, id, true).subnets;
        let blue = blue.iter().map(|subnet| {
            let (network, subnet) = (BLUE, subnet.subnet);
            SpaceTag::of(&SpaceId { network, subnet })
        });
        let blue: Vec<SpaceTag> = blue.collect();
        let mut stated = record.spaces.iter();
        assert!(stated.all(|s| blue.contains(&s.space)));
        w.crash(id);
    }
    w.heal().unwrap();
    w.check_peace().unwrap();
    for id in w.ids() {
        w.request(id, BLUE).unwrap();
        let refused = w.host(id).set.as_mut().unwrap().open(&RED, Instant::ZERO);
        assert_eq!(
            refused,
            Err(AddressRefusal::Network(NetworkRefusal::Unknown(RED)))
        );
    }
    w.run(ms(3_000)).unwrap();
    w.check_peace().unwrap();
}

/// A router that was removed in `default` is removed in the networks, though nobody asked there.
#[test]
fn a_removal_reaches_all_networks() {
    let mut w = SetWorld::new(13, 4, None);
    w.run(ms(6_000)).unwrap();
    for id in w.ids() {
        w.request(id, NetworkId::DEFAULT).unwrap();
        w.run(ms(1_000)).unwrap();
    }
    let ids = w.ids();
    // The founder of the network, and one more, use it.
    w.request(ids[0], RED).unwrap();
    w.request(ids[1], RED).unwrap();
    w.run(ms(6_000)).unwrap();
    w.hosts.remove(&ids[0]);
    w.reconnect();
    w.run(ms(2_000)).unwrap();
    // On a host without anything in the network.
    w.act(ids[3], |set, now| {
        set.remove(ids[0], true, now).unwrap();
    })
    .unwrap();
    w.run(ms(9_000)).unwrap();
    for (_, ipam) in w.set(ids[1]).spaces() {
        assert!(ipam.owners().iter().all(|owner| owner.peer == ids[1]));
    }
    let before = w.hosts[&ids[1]].containers.len();
    for _ in 0..25 {
        w.request(ids[1], RED).unwrap();
    }
    w.run(ms(7_000)).unwrap();
    assert_eq!(w.hosts[&ids[1]].containers.len(), before + 25);
}

/// What a router has goes to others when it leaves, in each network.
#[test]
fn who_leaves_hands_over_all_networks() {
    let mut w = SetWorld::new(17, 3, None);
    w.run(ms(1_000)).unwrap();
    for id in w.ids() {
        for network in NETWORKS {
            w.request(id, network).unwrap();
        }
        w.run(ms(2_000)).unwrap();
    }
    let gone = w.ids()[0];
    while !w.hosts[&gone].containers.is_empty() {
        w.release_one(gone).unwrap();
    }
    w.act(gone, IpamSet::leave).unwrap();
    w.run(ms(12_000)).unwrap();
    assert_eq!(w.hosts[&gone].left, Some(0));
    w.hosts.remove(&gone);
    w.reconnect();
    w.run(ms(2_000)).unwrap();
    for id in w.ids() {
        for (space, ipam) in w.set(id).spaces() {
            let owners = ipam.owners();
            assert!(
                owners.iter().all(|o| o.peer != gone),
                "{space:?} {owners:?}"
            );
        }
    }
}

/// A mesh without other networks: outputs are those of `default` alone.
#[test]
fn without_other_networks_nothing_is_added() {
    let config = IpamConfig {
        me: PeerId([1; 16]),
        epoch: 1,
        slicing: Slicing::new("10.32.0.0/24".parse().unwrap()).unwrap(),
        auto_reclaim: None,
    };
    let now = Instant::from_nanos(1_000_000_000);
    let mut alone = Ipam::new(config, [], now).unwrap();
    let mut set = IpamSet::new(&config, Ipam::new(config, [], now).unwrap(), now);
    let net = config.slicing.range();
    let mut at = now;
    for n in 0..50 {
        at += ms(60);
        alone.allocate(RequestId(n), "c", net, at, at).unwrap();
        let want = AddressQuery::AnyOf(net.into());
        set.request(&NetworkId::DEFAULT, RequestId(n), "c", want, at, at)
            .unwrap();
        assert_eq!(set.next_deadline(), alone.next_deadline());
        alone.handle_timeout(at);
        set.handle_timeout(at);
        loop {
            let (a, b) = (alone.poll_output(), set.poll_output());
            match (a, b) {
                (None, None) => break,
                (
                    Some(IpamOutput::Persist { position, entry }),
                    Some(SetOutput::Persist {
                        position: p,
                        entry: e,
                    }),
                ) => {
                    assert_eq!((position, &entry), (p, &e));
                    alone.persisted(position, at);
                    set.persisted(position, at);
                }
                (Some(IpamOutput::Statement(a)), Some(SetOutput::Record(b))) => assert_eq!(a, b),
                (
                    Some(IpamOutput::Allocated { addr: a, .. }),
                    Some(SetOutput::Allocated { address: b, .. }),
                ) => {
                    assert_eq!(IpAddr::V4(a), b.addr());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(set.next_deadline(), alone.next_deadline());
    }
}
