//! Several routers that exchange their statements, with partitions, restarts and resets.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Seconds after which all routers that are within reach of one another know the same.
pub(super) const AGREED: u64 = 60;

/// Router with its disk and the statements that it received.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) me: PeerId,
    pub(super) networks: Networks,
    dice: SeededEntropy,
    disk: Vec<u8>,
    /// Its record.
    record: Vec<u8>,
    /// Records that it stores.
    stored: BTreeMap<PeerId, Vec<u8>>,
    pub(super) group: u8,
    /// Networks in which it has containers, and their labels.
    pub(super) containers: BTreeMap<NetworkId, NonZeroU16>,
    /// All that it was told.
    pub(super) told: Vec<NetworksOutput>,
}

/// Mesh of routers in groups; those of one group reach one another.
#[derive(Debug)]
pub(super) struct Mesh {
    pub(super) nodes: Vec<Node>,
    pub(super) now: Instant,
    /// Number of routers made so far.
    made: u8,
}

impl Node {
    fn new(n: u8) -> Self {
        let me = PeerId([n; 16]);
        Self {
            me,
            networks: networks(me),
            dice: SeededEntropy::new(n.into()),
            disk: Vec::new(),
            record: Vec::new(),
            stored: BTreeMap::new(),
            group: 0,
            containers: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    /// Carries out the outputs, and checks that what is stated is on disk.
    pub(super) fn drain(&mut self, now: Instant) {
        while let Some(output) = self.networks.poll_output() {
            match &output {
                NetworksOutput::Persist => self.disk = self.networks.content(now),
                NetworksOutput::State(bytes) => {
                    let statement = NetworksStatement::decode(bytes).unwrap();
                    self.check_labels(&statement, now);
                    self.record.clone_from(bytes);
                }
                NetworksOutput::Removed {
                    definition,
                    was_member,
                    ..
                } => {
                    let removed = self.containers.remove(&definition.id);
                    assert_eq!(removed.is_some(), *was_member);
                }
                NetworksOutput::Reread(origin) => {
                    let record = self.stored.get(origin).cloned().unwrap_or_default();
                    let _ = self.networks.handle_statement(*origin, &record, now);
                }
                _ => {}
            }
            self.told.push(output);
        }
    }

    /// Checks that a router that crashes now still knows the labels that others read.
    fn check_labels(&self, statement: &NetworksStatement, now: Instant) {
        if statement.memberships.is_empty() {
            return;
        }
        let mut crashed = networks(self.me);
        crashed.restore(&self.disk, now).unwrap();
        for membership in &statement.memberships {
            let label = crashed.join(membership.network, now);
            assert_eq!(label, Ok(membership.label));
        }
    }

    pub(super) fn join(&mut self, id: NetworkId, now: Instant) {
        if let Ok(label) = self.networks.join(id, now) {
            self.containers.insert(id, label);
        }
        self.drain(now);
    }

    pub(super) fn leave(&mut self, id: NetworkId, now: Instant) {
        let was_member = self.containers.remove(&id).is_some();
        assert_eq!(self.networks.leave(&id, now), was_member);
        self.drain(now);
    }

    /// Starts it again from disk, with the same containers.
    pub(super) fn restart(&mut self, now: Instant) {
        self.networks = networks(self.me);
        if !self.disk.is_empty() {
            self.networks.restore(&self.disk, now).unwrap();
        }
        self.stored.clear();
        self.drain(now);
        for (id, label) in self.containers.clone() {
            assert_eq!(self.networks.join(id, now), Ok(label), "as before");
        }
        self.drain(now);
    }
}

impl Mesh {
    pub(super) fn new(routers: u8) -> Self {
        Self {
            nodes: (1..=routers).map(Node::new).collect(),
            now: START,
            made: routers,
        }
    }

    /// Puts a new router without a disk in the place of one.
    pub(super) fn reset(&mut self, at: usize) {
        self.made += 1;
        let group = self.nodes[at].group;
        self.nodes[at] = Node::new(self.made);
        self.nodes[at].group = group;
    }

    /// Adds a new router.
    pub(super) fn add(&mut self) -> usize {
        self.made += 1;
        self.nodes.push(Node::new(self.made));
        self.nodes.len() - 1
    }

    /// Hands the statement of one router to another, if it can be reached.
    pub(super) fn deliver(&mut self, from: usize, to: usize) {
        let (origin, record) = (self.nodes[from].me, self.nodes[from].record.clone());
        let is_reachable = self.nodes[from].group == self.nodes[to].group;
        let now = self.now;
        let node = &mut self.nodes[to];
        if origin == node.me {
            return;
        }
        node.networks.set_reachable(origin, is_reachable, now);
        let known = node.stored.get(&origin);
        if is_reachable && known.unwrap_or(&Vec::new()) != &record {
            node.stored.insert(origin, record.clone());
            node.networks
                .handle_statement(origin, &record, now)
                .unwrap();
        }
        node.drain(now);
    }

    /// Makes each router forget those that are not in its group, or do not exist any more.
    pub(super) fn forget_unreachable(&mut self) {
        let groups: BTreeMap<PeerId, u8> = self.nodes.iter().map(|n| (n.me, n.group)).collect();
        let now = self.now;
        for node in &mut self.nodes {
            let gone = |peer: &PeerId| groups.get(peer) != Some(&node.group);
            let gone: Vec<PeerId> = node.stored.keys().copied().filter(gone).collect();
            for peer in gone {
                node.stored.remove(&peer);
                node.networks.set_reachable(peer, false, now);
                node.networks.forget(&peer, now);
            }
            node.drain(now);
        }
    }

    /// Lets time pass, in which the routers exchange what they state each second.
    pub(super) fn exchange(&mut self, seconds: u64) {
        let peers: BTreeSet<PeerId> = self.nodes.iter().map(|n| n.me).collect();
        for _ in 0..seconds {
            let now = self.now;
            for node in &mut self.nodes {
                let gone: Vec<PeerId> = node.stored.keys().copied().collect();
                for peer in gone.into_iter().filter(|peer| !peers.contains(peer)) {
                    node.networks.set_reachable(peer, false, now);
                }
            }
            for from in 0..self.nodes.len() {
                for to in 0..self.nodes.len() {
                    self.deliver(from, to);
                }
            }
            self.now += Duration::from_secs(1);
            for node in &mut self.nodes {
                if self.now >= node.networks.next_deadline() {
                    node.networks.handle_time(&mut node.dice, self.now);
                }
                node.drain(self.now);
            }
        }
    }

    /// Lets hours pass, without a step for each second.
    pub(super) fn wait_hours(&mut self, hours: u64) {
        for _ in 0..hours {
            self.now += Duration::from_secs(3_600);
            for node in &mut self.nodes {
                node.networks.handle_time(&mut node.dice, self.now);
                node.drain(self.now);
            }
            self.exchange(1);
        }
    }

    /// Checks that all routers know the same networks, names and members.
    pub(super) fn check_agreement(&self) {
        let view = |node: &Node| -> Vec<_> {
            let rows = node.networks.report().into_iter();
            let rows = rows.map(|row| {
                let members: Vec<_> = row.members.iter().map(|m| (m.router, m.label)).collect();
                ((*row.definition).clone(), row.shadowed_by, members)
            });
            rows.collect()
        };
        let gone = |node: &Node| -> Vec<NetworkId> {
            node.networks.ledger.gone().keys().copied().collect()
        };
        let first = &self.nodes[0];
        for node in &self.nodes[1..] {
            assert_eq!(view(first), view(node), "{} and {}", first.me, node.me);
            assert_eq!(gone(first), gone(node), "{} and {}", first.me, node.me);
        }
        for node in &self.nodes {
            for row in node.networks.report() {
                let id = row.definition.id;
                let members = |n: &&Node| n.containers.contains_key(&id);
                let members: BTreeSet<PeerId> =
                    self.nodes.iter().filter(members).map(|n| n.me).collect();
                let known: BTreeSet<PeerId> = row.members.iter().map(|m| m.router).collect();
                assert_eq!(known, members);
                assert!(!row.stated_by.is_empty(), "a new router learns it");
            }
        }
    }
}
