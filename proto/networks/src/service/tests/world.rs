//! Routers with a disk in memory, linked by bytes.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_proto::api::NetworkReport;
use mesh_proto::control::{Config, Control, JoinedNetwork, Note, Output};
use mesh_proto::crypto::aead::Suites;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::entropy::SeededEntropy;
use mesh_proto::forward::Forwarder;
use mesh_proto::ids::ConnId;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_proto::topology::record::Ed25519;
use mesh_proto::wire::topic::Topic;

use crate::create::CreatedNetwork;
use crate::{
    HostNetworks, NetworkDirectory, Networks, NetworksAnswer, NetworksCall, NetworksConfig,
    NetworksDesk, NetworksEffect, NewNetwork, NotRemoved,
};

pub(super) const MTU: u16 = 1376;
/// Time of day at the start.
const STAMP: u64 = 1_700_000_000;

/// Router with its disk and its callers.
pub(super) struct DeskNode {
    seed: u8,
    pub(super) control: Control,
    pub(super) desk: NetworksDesk,
    /// Content on disk.
    pub(super) disk: Option<Vec<u8>>,
    /// Reason why nothing can be stored.
    pub(super) broken: Option<String>,
    /// Content that waits for the disk.
    waiting: Option<(u64, Vec<u8>)>,
    pub(super) answers: BTreeMap<NetworksCall, NetworksAnswer>,
    pub(super) announced: Vec<Vec<u8>>,
    pub(super) joined: Vec<JoinedNetwork>,
    entropy: SeededEntropy,
    pub(super) directory: NetworkDirectory,
    pub(super) notes: Vec<String>,
    calls: u64,
    /// Effects of the control plane that were not carried out yet.
    outputs: Vec<Output>,
    pub(super) now: Instant,
}

fn control(seed: u8, epoch: u64, now: Instant) -> Control {
    let identity = Arc::new(Identity::from_seeds([seed; 32], [seed ^ 0x80; 32]));
    let config = Config {
        secret: Arc::new(MeshSecret::open()),
        epoch,
        name: identity.id().derived_name(),
        nickname: format!("host{seed}"),
        port: 6783,
        endpoints: Vec::new(),
        discovery: false,
        mtu: MTU,
        suites: Suites::AES_FIRST,
        stored_neighbours: Vec::new(),
        forgotten: Vec::new(),
        pins: BTreeMap::new(),
        identity,
    };
    let mut entropy = SeededEntropy::new(u64::from(seed) << 8 | epoch);
    let forwarder = Arc::new(Forwarder::new(&mut entropy));
    Control::new(config, forwarder, Arc::new(Ed25519), Box::new(entropy), now).unwrap()
}

impl DeskNode {
    pub(super) fn new(seed: u8) -> Self {
        Self::start(seed, 1, None, Instant::ZERO + Duration::from_secs(3_600))
    }

    fn start(seed: u8, epoch: u64, disk: Option<Vec<u8>>, now: Instant) -> Self {
        let control = control(seed, epoch, now);
        let mut entropy = SeededEntropy::new(u64::from(seed) << 16 | epoch);
        let mut networks = Networks::new(control.me(), b"blue", &mut entropy);
        if let Some(disk) = &disk {
            networks.restore(disk, now).unwrap();
        }
        let config = NetworksConfig {
            mtu: MTU,
            default_subnets: vec!["10.32.0.0/12".parse().unwrap()],
        };
        let desk = NetworksDesk::new(networks, config);
        let mut node = Self {
            seed,
            directory: desk.directory(),
            control,
            desk,
            disk,
            broken: None,
            waiting: None,
            answers: BTreeMap::new(),
            announced: Vec::new(),
            joined: Vec::new(),
            entropy,
            notes: Vec::new(),
            calls: 0,
            outputs: Vec::new(),
            now,
        };
        node.settle();
        node
    }

    /// Starts it again from its disk, with the next boot epoch.
    pub(super) fn restart(&mut self, epoch: u64) {
        *self = Self::start(self.seed, epoch, self.disk.take(), self.now);
    }

    /// Carries out all effects, except those of the control plane. The disk takes no time.
    pub(super) fn settle(&mut self) {
        loop {
            self.write();
            let mut any = self.carry_out();
            while let Some(output) = self.control.poll_output() {
                any = true;
                let (control, now) = (&self.control, self.now);
                self.desk
                    .on_control_output(&output, control, &mut self.entropy, now);
                self.outputs.push(output);
            }
            if !any {
                return;
            }
        }
    }

    pub(super) fn write(&mut self) {
        match (self.broken.clone(), self.waiting.take()) {
            (None, Some((position, content))) => {
                self.disk = Some(content);
                self.desk.stored(position);
            }
            (Some(error), Some(waiting)) => {
                self.waiting = Some(waiting);
                self.desk.store_failed(&error);
            }
            (_, None) => {}
        }
    }

    pub(super) fn carry_out(&mut self) -> bool {
        let mut any = false;
        while let Some(effect) = self.desk.poll_effect() {
            any = true;
            match effect {
                NetworksEffect::Store { position, content } => {
                    self.waiting = Some((position, content));
                }
                NetworksEffect::Announce(bytes) => {
                    self.announced.push(bytes.clone());
                    let announced = self.control.announce(Topic::NETWORKS, bytes, self.now);
                    announced.unwrap();
                }
                NetworksEffect::Memberships(joined) => {
                    self.joined.clone_from(&joined);
                    self.control.set_networks(joined, self.now);
                }
                NetworksEffect::Send { to, body } => {
                    let sent = self
                        .control
                        .send_unicast(to, Topic::NETWORKS, &body, self.now);
                    sent.unwrap();
                }
                NetworksEffect::Directory(directory) => self.directory = (*directory).clone(),
                NetworksEffect::Answer(call, answer) => {
                    assert!(self.answers.insert(call, answer).is_none(), "once");
                }
                NetworksEffect::Note(Note::Info(text) | Note::Warn(text)) => self.notes.push(text),
            }
        }
        any
    }

    fn call(&mut self) -> NetworksCall {
        self.calls += 1;
        NetworksCall(self.calls)
    }

    /// Asks for a network, without carrying out what follows.
    pub(super) fn begin_create(&mut self, new: &NewNetwork) -> NetworksCall {
        let call = self.call();
        let mut entropy = SeededEntropy::new(u64::from(self.seed) << 32 | call.0);
        let (control, now) = (&self.control, self.now);
        self.desk
            .create(call, new, STAMP, &mut entropy, control, now);
        call
    }

    pub(super) fn create(&mut self, name: &str) -> Result<CreatedNetwork, String> {
        let call = self.begin_create(&wanted(name));
        self.settle();
        match self.answers.remove(&call).unwrap() {
            NetworksAnswer::Created(created) => created,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn remove(&mut self, name: &str, force: bool) -> Result<NetworkId, NotRemoved> {
        let call = self.call();
        self.desk.remove(call, name, force, &self.control, self.now);
        self.settle();
        match self.answers.remove(&call).unwrap() {
            NetworksAnswer::Removed(removed) => removed,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn join(&mut self, id: NetworkId) -> Result<(), String> {
        let call = self.call();
        self.desk.join(call, id, &self.control, self.now);
        self.settle();
        match self.answers.remove(&call).unwrap() {
            NetworksAnswer::Joined(joined) => joined,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn set_used(&mut self, used: &[NetworkId]) {
        self.set_open(used, &[]);
    }

    pub(super) fn set_open(&mut self, used: &[NetworkId], idle: &[NetworkId]) {
        let open = HostNetworks {
            used: used.iter().copied().collect(),
            idle: idle.iter().copied().collect(),
        };
        self.desk.set_open(open, &self.control, self.now);
        self.settle();
    }

    pub(super) fn list(&self) -> Vec<NetworkReport> {
        self.desk.list(&self.control)
    }

    pub(super) fn members(&self) -> Vec<NetworkId> {
        self.joined.iter().map(|joined| joined.network).collect()
    }

    /// Does what is due. Returns the effects of the control plane so far.
    pub(super) fn tick(&mut self) -> Vec<Output> {
        if self.control.next_deadline().0 <= self.now {
            self.control.handle_timeout(self.now);
        }
        if self.desk.next_deadline() <= self.now {
            self.desk
                .handle_time(&self.control, &mut self.entropy, self.now);
        }
        self.settle();
        std::mem::take(&mut self.outputs)
    }

    /// Lets time pass, for a router that is alone.
    pub(super) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.tick();
        }
    }
}

pub(super) fn wanted(name: &str) -> NewNetwork {
    NewNetwork {
        name: name.to_owned(),
        ipv4: true,
        ..NewNetwork::default()
    }
}

/// Two routers, the first of which dials the second.
pub(super) struct DeskPair {
    pub(super) nodes: [DeskNode; 2],
    /// Connections: their handles at both ends.
    links: Vec<[ConnId; 2]>,
    /// True while the cable is cut.
    pub(super) is_cut: bool,
}

impl DeskPair {
    pub(super) fn new() -> Self {
        let mut pair = Self {
            nodes: [DeskNode::new(1), DeskNode::new(2)],
            links: Vec::new(),
            is_cut: false,
        };
        pair.dial();
        pair.pass(5);
        pair
    }

    fn dial(&mut self) {
        let one = &mut self.nodes[0];
        let targets = ["192.0.2.2".to_owned()];
        one.control.connect(&targets, false, one.now).unwrap();
    }

    /// Ends all links, as when a router ends.
    pub(super) fn cut(&mut self) {
        for link in std::mem::take(&mut self.links) {
            for (node, conn) in self.nodes.iter_mut().zip(link) {
                node.control.handle_closed(conn, "cut", node.now);
            }
        }
    }

    /// Starts the second router again with the next boot epoch.
    pub(super) fn restart_second(&mut self, epoch: u64) {
        self.cut();
        self.nodes[1].restart(epoch);
    }

    /// Lets time pass, a tenth of a second at a time.
    pub(super) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            for node in &mut self.nodes {
                node.now += Duration::from_millis(100);
            }
            self.exchange();
        }
    }

    /// Delivers all that is on the way.
    pub(super) fn exchange(&mut self) {
        loop {
            let mut any = false;
            for n in 0..2 {
                for output in self.nodes[n].tick() {
                    any |= self.deliver(n, output);
                }
            }
            if !any {
                return;
            }
        }
    }

    fn deliver(&mut self, from: usize, output: Output) -> bool {
        let to = 1 - from;
        let now = self.nodes[0].now;
        match output {
            Output::Dial { conn, .. } if self.is_cut => {
                let dialler = &mut self.nodes[from].control;
                dialler.handle_closed(conn, "cut", now);
            }
            Output::Dial { conn, .. } => {
                let address = |n: usize| format!("192.0.2.{}:6783", n + 1).parse().unwrap();
                let accepted = self.nodes[to].control.handle_accepted(address(from), now);
                let accepted = accepted.unwrap();
                let mut link = [conn; 2];
                link[to] = accepted;
                self.links.push(link);
                let dialler = &mut self.nodes[from].control;
                dialler.handle_connected(conn, address(to), now);
            }
            Output::Send { conn, bytes } => {
                let link = self.links.iter().find(|link| link[from] == conn);
                let Some(other) = link.map(|link| link[to]) else {
                    return false;
                };
                let sender = &mut self.nodes[from].control;
                sender.handle_written(conn, bytes.len(), now);
                self.nodes[to].control.handle_bytes(other, &bytes, now);
            }
            Output::Close { conn, .. } => {
                let Some(at) = self.links.iter().position(|link| link[from] == conn) else {
                    return false;
                };
                let link = self.links.remove(at);
                let other = &mut self.nodes[to].control;
                other.handle_closed(link[to], "closed by the other side", now);
            }
            _ => return false,
        }
        true
    }
}
