//! A large mesh: hosts, underlay, clock, and actions from outside.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_names::{Container, MeshName};
use mesh_proto::crypto::aead::Suites;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;

use super::at_rest;
use super::bytes::Bytes;
use super::engine::{self, HostShard, SHARDS};
use super::event::{Around, HostEvent, HostEventKind};
use super::memory::shortage;
use super::node::Node;
use super::plan::{MeshPlan, attached, container, targets};
use super::underlay::{ScaleUnderlay, address};
use crate::sim::frames::Ledger;
use crate::sim::hostile::{Harm, Hostile};
use crate::sim::invariants::Violation;
use crate::sim::invariants::deliver_once::Deliveries;
use crate::sim::network::HostId;
use crate::sim::rng::Rng;
use crate::sim::router::{RouterSetup, SimRouter};
use crate::sim::state::RouterState;
use crate::sim::verifier::VerifierCache;

/// Largest offset between the hosts' monotonic clocks.
const CLOCKS: Duration = Duration::from_secs(3_600);

/// State of the world.
pub(crate) struct LargeMesh {
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    pub(crate) underlay: ScaleUnderlay,
    pub(crate) ledger: Ledger,
    pub(crate) deliveries: Deliveries,
    pub(crate) broken: Option<Violation>,
    pub(crate) who: BTreeMap<PeerId, HostId>,
    shards: Vec<HostShard>,
    numbered: u64,
}

impl LargeMesh {
    pub(crate) fn new(plan: MeshPlan) -> Self {
        let mut rng = Rng::new(plan.seed);
        let mut nodes = nodes(&plan, &mut rng);
        let underlay = ScaleUnderlay::new(rng.number(), plan.loss);
        if plan.at_rest {
            at_rest::come_to_rest(&mut nodes, &underlay);
        }
        let who = nodes.iter().map(|node| (node.state.identity.id(), node.id));
        let who = who.collect();
        let mut shards: Vec<Vec<Node>> = (0..SHARDS).map(|_| Vec::new()).collect();
        for node in nodes {
            shards[node.id % SHARDS].push(node);
        }
        Self {
            now: Instant::ZERO,
            underlay,
            rng,
            ledger: Ledger::default(),
            deliveries: Deliveries::default(),
            broken: None,
            who,
            shards: shards.into_iter().map(HostShard::new).collect(),
            numbered: 0,
        }
    }

    // Time

    /// Advances the clock by `time`, or less if a promise is broken.
    pub(crate) fn run(&mut self, time: Duration) {
        if self.broken.is_some() {
            return;
        }
        let (end, hosts) = (self.now + time, self.len());
        let run = engine::run(&mut self.shards, &self.underlay, (self.now, end), hosts);
        self.now = end;
        if let Err(panic) = run {
            self.broken = Some(Violation::new("I12 no panic", panic));
        }
        if let Some(shortage) = shortage() {
            self.broken = Some(Violation::new("memory", shortage));
        }
        self.collect();
    }

    /// Collects results from the hosts: delivered frames, and violations.
    fn collect(&mut self) {
        let Self {
            shards,
            deliveries,
            ledger,
            broken,
            ..
        } = self;
        for node in shards.iter_mut().flat_map(|s| &mut s.nodes) {
            let incarnation = node.kernel().incarnation();
            for frame in node.take_injected() {
                if let Err(violation) = deliveries.injected(node.id, incarnation, &frame, ledger) {
                    broken.get_or_insert(violation);
                }
            }
            if let Some(text) = node.take_broken() {
                broken.get_or_insert(Violation::new("S1 no spinning", text));
            }
        }
    }

    /// Runs in steps until `done` returns true. Returns the time taken, or `None` after `most`.
    pub(crate) fn run_while(
        &mut self,
        step: Duration,
        most: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Option<Duration> {
        let begun = self.now;
        while self.now.since(begun) < most && self.broken.is_none() {
            self.run(step);
            if done(self) {
                return Some(self.now.since(begun));
            }
        }
        None
    }

    // Hosts

    pub(crate) fn len(&self) -> usize {
        self.who.len()
    }

    pub(crate) fn node(&self, host: HostId) -> Option<&Node> {
        self.shards[host % SHARDS].nodes.get(host / SHARDS)
    }

    pub(crate) fn node_mut(&mut self, host: HostId) -> Option<&mut Node> {
        self.shards[host % SHARDS].nodes.get_mut(host / SHARDS)
    }

    pub(crate) fn router(&self, host: HostId) -> Option<&SimRouter> {
        self.node(host)?.router()
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        (0..self.len()).filter_map(|h| self.node(h))
    }

    /// Returns the hosts with a running router.
    pub(crate) fn running(&self) -> Vec<HostId> {
        let running = self.nodes().filter(|n| n.router().is_some());
        running.map(|n| n.id).collect()
    }

    pub(crate) fn peer(&self, host: HostId) -> Option<PeerId> {
        Some(self.node(host)?.state.identity.id())
    }

    /// Returns the bytes sent by all hosts so far.
    pub(crate) fn sent(&self) -> Bytes {
        let mut all = Bytes::default();
        self.nodes().for_each(|n| all.merge(n.kernel().sent()));
        all
    }

    pub(crate) fn events(&self) -> u64 {
        self.nodes().map(Node::events).sum()
    }

    // Actions from outside

    /// Runs `action` on a host between two steps.
    pub(crate) fn act(&mut self, host: HostId, action: impl FnOnce(&mut Node, &mut Around<'_>)) {
        let mut out = Vec::new();
        let hosts = self.len();
        let Self {
            shards,
            underlay,
            now,
            ..
        } = self;
        let mut around = Around {
            now: *now,
            hosts,
            underlay,
            out: &mut out,
        };
        if let Some(node) = shards[host % SHARDS].nodes.get_mut(host / SHARDS) {
            action(node, &mut around);
        }
        for event in out {
            self.take(event);
        }
    }

    fn take(&mut self, event: HostEvent) {
        self.shards[event.to % SHARDS].take(event);
    }

    /// Starts the router of a host after a delay.
    pub(crate) fn start(&mut self, host: HostId, after: Duration) {
        self.numbered += 1;
        self.take(HostEvent {
            at: self.now + after,
            from: HostId::MAX,
            number: self.numbered,
            to: host,
            what: HostEventKind::Start,
        });
    }

    /// Starts all routers of `hosts` within `spread`.
    pub(crate) fn start_all(&mut self, hosts: &[HostId], spread: Duration) {
        for host in hosts {
            let after = self.rng.between(Duration::ZERO, spread);
            self.start(*host, after);
        }
    }

    pub(crate) fn kill(&mut self, host: HostId) {
        self.act(host, Node::kill);
    }

    pub(crate) fn power_off(&mut self, host: HostId) {
        self.act(host, |node, _| node.power_off());
    }

    /// Replaces a router by one with new keys.
    pub(crate) fn replace(&mut self, host: HostId, after: Duration) {
        let identity = Arc::new(Identity::from_seeds(self.rng.key(), self.rng.key()));
        self.who.retain(|_, h| *h != host);
        self.who.insert(identity.id(), host);
        if let Some(node) = self.node_mut(host) {
            node.state.identity = identity;
            node.state.epoch = 0;
            node.state.pins.clear();
        }
        self.start(host, after);
    }

    /// Turns a member of the mesh into a malicious one.
    pub(crate) fn turn(&mut self, host: HostId, harm: Harm) {
        let rng = self.rng.fork();
        self.act(host, |node, around| {
            let (state, secret) = (&node.state, node.setup.secret.clone());
            let identity = state.identity.clone();
            let hostile = Hostile::new(identity, secret, &state.targets, rng);
            node.turn(hostile.only(harm), around);
        });
    }

    /// Sends frames from containers on a host.
    pub(crate) fn speak(&mut self, host: HostId, frames: &[Vec<u8>]) {
        self.act(host, |node, around| {
            node.tell_router(around, |router, now| {
                router.frames(NetworkId::DEFAULT, frames, now);
            });
        });
        self.collect();
    }

    /// Starts a container with this name on a host, as its only named one.
    pub(crate) fn state_name(&mut self, host: HostId, name: &str) {
        let named = Container {
            id: name.to_owned(),
            network: NetworkId::DEFAULT,
            names: MeshName::relative(name).into_iter().collect(),
            addresses: vec![container(host).into()],
            ports: Vec::new(),
        };
        self.act(host, |node, around| {
            node.tell_router(around, |router, now| router.set_named(vec![named], now));
        });
        self.collect();
    }
}

/// Returns all hosts before the first start of their routers.
fn nodes(plan: &MeshPlan, rng: &mut Rng) -> Vec<Node> {
    let verifier = Arc::new(VerifierCache::default());
    let secret = Arc::new(MeshSecret::from_key_bytes(rng.key()));
    let targets = targets(plan.hosts, rng);
    let mut nodes = Vec::with_capacity(plan.hosts);
    for (id, targets) in targets.into_iter().enumerate() {
        let identity = Identity::from_seeds(rng.key(), rng.key());
        let targets = targets.into_iter().map(|t| address(t).ip().to_string());
        let state = RouterState::new(identity, targets.collect());
        let ahead = if id % 2 == 1 {
            plan.ahead
        } else {
            Duration::ZERO
        };
        let container = plan.has_container(id).then(|| attached(id));
        let setup = RouterSetup {
            networks: Vec::new(),
            addresses: None,
            nickname: format!("h{id}"),
            address: address(id),
            discovery: true,
            secret: secret.clone(),
            verifier: verifier.clone(),
            attached: container.into_iter().collect(),
            suites: Suites::CHACHA,
            clock: ahead + rng.between(Duration::ZERO, CLOCKS),
            fault: None,
        };
        nodes.push(Node::new(id, state, setup, rng.fork()));
    }
    nodes
}
