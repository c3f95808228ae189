//! Several routers with a record and messages each, on links that lose, delay, duplicate and reorder messages.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use mesh_proto::crypto::network_key::NetworkKey;
use mesh_proto::forward::NetworkKeys;
use mesh_proto::network::{BroadcastStream, NetworkKeyId};

use super::*;

/// The network of these tests.
pub(super) const NET: NetworkId = NetworkId([40; 16]);
/// Least time between two records of one router, as in the control plane.
const HOLD_DOWN: Duration = Duration::from_secs(1);

/// Entropy that remembers all keys that it gave.
#[derive(Debug)]
pub(super) struct Dice {
    inner: SeededEntropy,
    pub(super) keys: Vec<[u8; 32]>,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            inner: SeededEntropy::new(seed),
            keys: Vec::new(),
        }
    }
}

impl Entropy for Dice {
    fn fill(&mut self, out: &mut [u8]) {
        self.inner.fill(out);
        self.keys.extend(<[u8; 32]>::try_from(&*out).ok());
    }
}

/// Router.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) me: PeerId,
    pub(super) networks: Networks,
    pub(super) dice: Dice,
    pub(super) group: u8,
    /// Time since which it has been in this group and a member with a key.
    settled: Instant,
    record: (u64, Vec<u8>),
    /// Record that waits for the hold-down.
    waiting: bool,
    recorded: Instant,
    stored: BTreeMap<PeerId, u64>,
    is_member: bool,
}

#[derive(Clone, Debug)]
enum Flight {
    Record(u64, Vec<u8>),
    Message(Vec<u8>),
}

/// Quality of the links.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    /// Messages of a hundred that are lost.
    pub(super) loss: u64,
    /// Messages of a hundred that come twice.
    pub(super) twice: u64,
    /// Longest delay, in milliseconds.
    pub(super) delay: u64,
}

pub(super) const GOOD: Links = Links {
    loss: 0,
    twice: 0,
    delay: 20,
};
pub(super) const BAD: Links = Links {
    loss: 25,
    twice: 25,
    delay: 600,
};

#[derive(Debug)]
pub(super) struct World {
    pub(super) hosts: Vec<Host>,
    pub(super) now: Instant,
    pub(super) links: Links,
    dice: SeededEntropy,
    flights: BTreeMap<(Instant, u64), (PeerId, PeerId, Flight)>,
    sent: u64,
    pub(super) messages: usize,
    pub(super) records: usize,
    /// All that was sent, to be searched for keys.
    pub(super) said: Vec<Vec<u8>>,
    /// Keys that sealed anywhere, in the order in which they began to.
    pub(super) sealed: Vec<NetworkKeyId>,
    /// Broadcasts that were sealed, and those that a router could not open that was there before.
    pub(super) broadcasts: (usize, usize),
    /// True if broadcasts are sealed all the time.
    pub(super) is_talking: bool,
    talked: Instant,
}

impl World {
    pub(super) fn new(hosts: u8, links: Links, seed: u64) -> Self {
        let mut world = Self {
            hosts: Vec::new(),
            now: START,
            links,
            dice: SeededEntropy::new(seed),
            flights: BTreeMap::new(),
            sent: 0,
            messages: 0,
            records: 0,
            said: Vec::new(),
            sealed: Vec::new(),
            broadcasts: (0, 0),
            is_talking: false,
            talked: START,
        };
        for n in 1..=hosts {
            let host = world.host(n);
            world.hosts.push(host);
        }
        for at in 0..world.hosts.len() {
            world.start(at);
        }
        world
    }

    fn host(&mut self, n: u8) -> Host {
        let me = PeerId([n; 16]);
        Host {
            me,
            networks: networks(me),
            dice: Dice::new(self.dice.u64()),
            group: 0,
            settled: self.now,
            record: (0, Vec::new()),
            waiting: false,
            recorded: Instant::ZERO,
            stored: BTreeMap::new(),
            is_member: false,
        }
    }

    /// Tells a new run of a router what it had on disk: the network.
    fn start(&mut self, at: usize) {
        let now = self.now;
        let author = PeerId([99; 16]);
        let known = NetworksStatement {
            definitions: vec![NetworkDefinition {
                id: NET,
                ..definition(40, author)
            }],
            ..NetworksStatement::default()
        };
        let networks = &mut self.hosts[at].networks;
        networks
            .handle_statement(author, &known.encode(), now)
            .unwrap();
        self.meet(at);
    }

    /// Lets a router and all of its group see one another.
    fn meet(&mut self, at: usize) {
        for other in 0..self.hosts.len() {
            let is_near = self.hosts[at].group == self.hosts[other].group;
            for (a, b) in [(at, other), (other, at)] {
                let (peer, record) = (self.hosts[b].me, self.hosts[b].record.clone());
                let now = self.now;
                self.hosts[a].networks.set_reachable(peer, is_near, now);
                if is_near && a != b {
                    self.fly(peer, self.hosts[a].me, &Flight::Record(record.0, record.1));
                }
            }
        }
        self.drain(at);
    }

    pub(super) fn join(&mut self, at: usize) {
        let now = self.now;
        let host = &mut self.hosts[at];
        (host.is_member, host.settled) = (true, now);
        host.networks.join(NET, now).unwrap();
        self.drain(at);
    }

    pub(super) fn leave(&mut self, at: usize) {
        let now = self.now;
        let host = &mut self.hosts[at];
        host.is_member = false;
        host.networks.leave(&NET, now);
        self.drain(at);
    }

    /// Starts a router again, with the same containers.
    pub(super) fn restart(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        host.networks = networks(host.me);
        host.stored.clear();
        host.settled = self.now;
        self.start(at);
        if self.hosts[at].is_member {
            self.join(at);
        }
    }

    pub(super) fn set_group(&mut self, at: usize, group: u8) {
        self.hosts[at].group = group;
        let now = self.now;
        self.hosts.iter_mut().for_each(|host| host.settled = now);
        self.meet(at);
    }

    pub(super) fn heal(&mut self) {
        (0..self.hosts.len()).for_each(|at| self.set_group(at, 0));
    }

    fn at(&self, peer: PeerId) -> Option<usize> {
        self.hosts.iter().position(|host| host.me == peer)
    }

    fn fly(&mut self, from: PeerId, to: PeerId, flight: &Flight) {
        let times = match flight {
            Flight::Record(..) => 1,
            Flight::Message(_) if self.dice.u64() % 100 < self.links.loss => 0,
            Flight::Message(_) if self.dice.u64() % 100 < self.links.twice => 2,
            Flight::Message(_) => 1,
        };
        for _ in 0..times {
            let delay = 5 + self.dice.u64() % self.links.delay;
            self.sent += 1;
            let when = (self.now + Duration::from_millis(delay), self.sent);
            self.flights.insert(when, (from, to, flight.clone()));
        }
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.hosts[at].networks.poll_output() {
            let from = self.hosts[at].me;
            match output {
                NetworksOutput::State(bytes) => {
                    self.said.push(bytes.clone());
                    let host = &mut self.hosts[at];
                    host.record = (host.record.0 + 1, bytes);
                    host.waiting = true;
                }
                NetworksOutput::Send { to, body } => {
                    self.messages += 1;
                    self.said.push(body.clone());
                    self.fly(from, to, &Flight::Message(body));
                }
                NetworksOutput::Persist => {
                    let content = self.hosts[at].networks.content(self.now);
                    self.said.push(content);
                }
                _ => {}
            }
        }
        self.publish(at);
        let sealing = self.sealing(at);
        self.sealed
            .extend(sealing.filter(|id| !self.sealed.contains(id)));
    }

    /// Sends the record of a router, if the hold-down allows.
    fn publish(&mut self, at: usize) {
        let (now, host) = (self.now, &mut self.hosts[at]);
        if !host.waiting || now < host.recorded + HOLD_DOWN {
            return;
        }
        (host.waiting, host.recorded) = (false, now);
        let (me, group, record) = (host.me, host.group, host.record.clone());
        self.records += 1;
        let others = self.hosts.iter().filter(|h| h.group == group && h.me != me);
        let others: Vec<PeerId> = others.map(|h| h.me).collect();
        for to in others {
            self.fly(me, to, &Flight::Record(record.0, record.1.clone()));
        }
    }

    /// Lets so many seconds pass.
    pub(super) fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            let flight = self.flights.keys().next().map(|(at, _)| *at);
            let waiting = self.hosts.iter().filter(|h| h.waiting);
            let waiting = waiting.map(|h| h.recorded + HOLD_DOWN);
            let due = self.hosts.iter().map(|h| h.networks.next_deadline());
            let next = due.chain(waiting).chain(flight).min().unwrap();
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            self.step();
            if self.is_talking {
                self.talk();
            }
        }
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(entry) = self.flights.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (from, to, flight) = entry.remove();
            self.deliver(from, to, flight);
        }
        for at in 0..self.hosts.len() {
            let host = &mut self.hosts[at];
            if now >= host.networks.next_deadline() {
                host.networks.handle_time(&mut host.dice, now);
            }
            self.drain(at);
        }
    }

    fn deliver(&mut self, from: PeerId, to: PeerId, flight: Flight) {
        let (Some(source), Some(at)) = (self.at(from), self.at(to)) else {
            return;
        };
        if self.hosts[source].group != self.hosts[at].group {
            return;
        }
        let (now, host) = (self.now, &mut self.hosts[at]);
        match flight {
            Flight::Record(version, bytes) => {
                let known = host.stored.entry(from).or_insert(0);
                if version > *known {
                    *known = version;
                    host.networks.handle_statement(from, &bytes, now).unwrap();
                }
            }
            Flight::Message(body) => {
                host.networks
                    .handle_message(from, &body, &mut host.dice, now);
            }
        }
        self.drain(at);
    }

    pub(super) fn keys(&self, at: usize) -> NetworkKeys {
        self.hosts[at].networks.keys(&NET)
    }

    pub(super) fn sealing(&self, at: usize) -> Option<NetworkKeyId> {
        self.keys(at).sealing().map(NetworkKey::id)
    }

    /// Returns true if `keys` open what `at` seals now.
    pub(super) fn opens(&self, keys: &NetworkKeys, at: usize) -> bool {
        let stream = BroadcastStream {
            network: NET,
            origin: self.hosts[at].me,
            epoch: 1,
            salt: 2,
        };
        let own = self.keys(at);
        let sealing = own.sealing().expect("a key");
        let mut body = b"frames".to_vec();
        sealing.seal(&stream, 3, 0, &mut body);
        let key = keys.get(sealing.id());
        key.is_some_and(|key| key.open(&stream, 3, 0, &mut body) == Ok(b"frames"))
    }

    /// Seals a broadcast at each member, ten times a second at most, and counts those that do not open everywhere where
    /// there was a key before.
    fn talk(&mut self) {
        if self.now < self.talked + Duration::from_millis(100) {
            return;
        }
        self.talked = self.now;
        let old = |host: &Host| self.now.since(host.settled) > Duration::from_secs(25);
        for at in 0..self.hosts.len() {
            let Some(sealing) = self.sealing(at).filter(|_| old(&self.hosts[at])) else {
                continue;
            };
            for other in 0..self.hosts.len() {
                let (a, b) = (&self.hosts[at], &self.hosts[other]);
                if a.group == b.group && b.is_member && old(b) {
                    self.broadcasts.0 += 1;
                    let opens = self.keys(other).get(sealing).is_some();
                    self.broadcasts.1 += usize::from(!opens);
                }
            }
        }
    }

    /// Returns the members of a group that have containers in the network.
    pub(super) fn members(&self, group: u8) -> Vec<usize> {
        let all = 0..self.hosts.len();
        let is_in = |at: &usize| self.hosts[*at].is_member && self.hosts[*at].group == group;
        all.filter(is_in).collect()
    }

    /// Checks that all members of a group seal with one key, and nobody else has any.
    pub(super) fn check_agreement(&self, group: u8) -> NetworkKeyId {
        let members = self.members(group);
        let sealing: BTreeSet<Option<NetworkKeyId>> =
            members.iter().map(|at| self.sealing(*at)).collect();
        assert_eq!(sealing.len(), 1, "{sealing:?}");
        for host in self.hosts.iter().filter(|host| !host.is_member) {
            assert!(host.networks.keys(&NET).sealing().is_none());
        }
        sealing.first().copied().flatten().expect("a key")
    }

    /// Checks that no key, and no secret of an agreement, was ever said in clear.
    pub(super) fn check_secrecy(&self) {
        let secrets = self.hosts.iter().flat_map(|host| &host.dice.keys);
        let starts: HashSet<[u8; 8]> = secrets.map(|key| key[..8].try_into().unwrap()).collect();
        assert!(!starts.is_empty());
        for bytes in &self.said {
            let found = bytes.windows(8).find(|w| starts.contains(*w));
            assert_eq!(found, None);
        }
    }
}
