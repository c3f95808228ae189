//! Two to five control planes wired together with a perfect network: what each scenario promises, and nothing else.
//! Loss, delay, partitions and restarts are the simulator's subject.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use core::time::Duration;

use super::targets::DialTo;
use super::*;
use crate::api::ConnectionState;
use crate::crypto::aead::Suites;
use crate::crypto::identity::Identity;
use crate::crypto::secret::MeshSecret;
use crate::entropy::SeededEntropy;
use crate::forward::{Collected, Scratch, Snapshot};
use crate::ids::{ConnId, PeerName, Version};
use crate::network::NetworkId;
use crate::offload::PortFrame;
use crate::topology::record::{Ed25519, SignedRecord};
use crate::wire::message::LinkMessage;
use crate::wire::topic::{RecordKey, Topic};

mod admission;
mod agreement;
mod announced;
mod ciphers;
mod duplicate_identity;
mod fastpath;
mod flows;
mod forgotten;
mod gossip;
mod graceful_restart;
mod links;
mod meeting;
mod networks;
mod paths;
mod push;
mod resume;
mod sizes;
mod topics;
mod unicast;

struct Node {
    control: Control,
    forwarder: Arc<Forwarder>,
    snapshot: Arc<Snapshot>,
    address: SocketAddr,
    injected: Vec<Vec<u8>>,
    /// Frames for the ports of other networks than `default`.
    elsewhere: Vec<(NetworkId, Vec<u8>)>,
    notes: Vec<String>,
    /// Neighbours that it wanted to be remembered.
    neighbours: Vec<StoredNeighbour>,
    /// Epochs it wanted to be kept.
    epochs: Vec<u64>,
    /// Names it wanted to be kept with their keys.
    pinned: Vec<PeerName>,
    /// What it was told that others say.
    said: Vec<RecordKey>,
    /// What others said to it alone: who, and what.
    told: Vec<(PeerId, Topic, Vec<u8>)>,
    /// Where it dialled, and where else it would have.
    dialled: Vec<(SocketAddr, Vec<SocketAddr>)>,
    /// The spare port it wants.
    spare: Arc<SparePort>,
}

impl Node {
    /// No two spare ports have one number, and none is the router's own.
    fn spare_address(&self) -> SocketAddr {
        let number = u16::try_from(self.spare.number).unwrap();
        SocketAddr::new(self.address.ip(), 50_000 + number)
    }
}

/// Where the far end of a connection is.
type FarEnd = (usize, ConnId);

struct Net {
    now: Instant,
    nodes: Vec<Node>,
    streams: BTreeMap<(usize, ConnId), FarEnd>,
    /// Pairs whose UDP is lost, in both directions.
    no_udp: Vec<(usize, usize)>,
    /// Pairs, the lower first, and pairs of ports, the lower first, of flows that are lost.
    stuck: Vec<(usize, usize, (u16, u16))>,
    /// Nobody can be dialled.
    no_tcp: bool,
    /// Longest datagram that arrives anywhere; longer ones are lost without a word.
    longest: usize,
}

struct Setup {
    secret: fn() -> MeshSecret,
    discovery: bool,
    name: Option<PeerName>,
    stored_neighbours: Vec<StoredNeighbour>,
    seed: u8,
    suites: Suites,
}

fn open_mesh(seed: u8) -> Setup {
    Setup {
        secret: MeshSecret::open,
        discovery: true,
        name: None,
        stored_neighbours: Vec::new(),
        seed,
        suites: Suites::AES_FIRST,
    }
}

/// Linked to the routers that it is told to connect to, and to no others.
fn without_discovery(seed: u8) -> Setup {
    Setup {
        discovery: false,
        ..open_mesh(seed)
    }
}

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(n + 1).unwrap()], 6783))
}

impl Net {
    fn new(setups: Vec<Setup>) -> Self {
        let now = Instant::ZERO + Duration::from_secs(10);
        let nodes = setups
            .into_iter()
            .enumerate()
            .map(|(n, setup)| node(n, &setup, now))
            .collect();
        Self {
            now,
            nodes,
            streams: BTreeMap::new(),
            no_udp: Vec::new(),
            stuck: Vec::new(),
            no_tcp: false,
            longest: limits::MAX_DATAGRAM,
        }
    }

    fn connect(&mut self, from: usize, to: usize) {
        let now = self.now;
        self.nodes[from]
            .control
            .connect(&[address(to).to_string()], false, now)
            .unwrap();
    }

    /// The machine of a router is set up again: another router starts at its address.
    fn replace(&mut self, n: usize, setup: &Setup) {
        let now = self.now;
        let ends = self.streams.iter().filter(|((near, _), _)| *near == n);
        let far: Vec<FarEnd> = ends.map(|(_, far)| *far).collect();
        self.streams.retain(|(near, _), _| *near != n);
        self.nodes[n] = node(n, setup, now);
        for (far, conn) in far {
            self.streams.remove(&(far, conn));
            let control = &mut self.nodes[far].control;
            control.handle_closed(conn, "connection closed", now);
        }
    }

    /// Lets the time pass, and everything happen that is due in it.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            while (0..self.nodes.len()).any(|n| self.carry_out(n)) {}
            let next = self
                .nodes
                .iter()
                .map(|n| n.control.next_deadline().0)
                .min()
                .unwrap();
            if next > end {
                break;
            }
            self.now = self.now.max(next) + Duration::from_micros(1);
            let now = self.now;
            for node in &mut self.nodes {
                node.control.handle_timeout(now);
            }
        }
        self.now = end;
    }

    fn carry_out(&mut self, n: usize) -> bool {
        let mut any = false;
        while let Some(output) = self.nodes[n].control.poll_output() {
            any = true;
            self.effect(n, output);
        }
        any
    }

    fn effect(&mut self, n: usize, output: Output) {
        let now = self.now;
        match output {
            Output::Dial {
                conn,
                to: DialTo::Address(to),
                others,
            } => {
                self.nodes[n].dialled.push((to, others));
                self.dial(n, conn, to);
            }
            Output::Dial { conn, .. } => {
                self.nodes[n]
                    .control
                    .handle_closed(conn, "cannot resolve", now);
            }
            Output::Send { conn, bytes } => {
                self.nodes[n].control.handle_written(conn, bytes.len(), now);
                if let Some((far, far_conn)) = self.streams.get(&(n, conn)).copied() {
                    self.nodes[far].control.handle_bytes(far_conn, &bytes, now);
                }
            }
            Output::Close { conn, .. } => {
                if let Some((far, far_conn)) = self.streams.remove(&(n, conn)) {
                    self.streams.remove(&(far, far_conn));
                    self.nodes[far]
                        .control
                        .handle_closed(far_conn, "closed", now);
                }
            }
            Output::Datagram { to, bytes, .. } => self.datagram(n, to, bytes),
            Output::SpareDatagram { to, bytes } => self.datagram_from(n, true, to, bytes),
            Output::SparePort(spare) => self.nodes[n].spare = spare,
            Output::Publish(snapshot) => {
                self.nodes[n].snapshot = snapshot;
                self.lane(n, |node, now, scratch, lane| {
                    node.forwarder
                        .flush_pending(&node.snapshot, now, scratch, lane);
                });
            }
            Output::Note(Note::Info(text) | Note::Warn(text)) => self.nodes[n].notes.push(text),
            Output::Neighbours(all) => self.nodes[n].neighbours = all,
            Output::Epoch(epoch) => self.nodes[n].epochs.push(epoch),
            Output::Pin(name, _) => self.nodes[n].pinned.push(name),
            Output::Announcement(key) => self.nodes[n].said.push(key),
            Output::Unicast { from, topic, body } => self.nodes[n].told.push((from, topic, body)),
            Output::Unpin(_)
            | Output::Targets(_)
            | Output::Forgotten(_)
            | Output::RemoteAttached(_)
            | Output::Fast(_)
            | Output::Reach => {}
        }
    }

    fn dial(&mut self, n: usize, conn: ConnId, to: SocketAddr) {
        let now = self.now;
        let far = self.nodes.iter().position(|node| node.address == to);
        let Some(far) = far.filter(|_| !self.no_tcp) else {
            self.nodes[n]
                .control
                .handle_closed(conn, "no such host", now);
            return;
        };
        let from = SocketAddr::new(self.nodes[n].address.ip(), 40_000);
        let far_conn = self.nodes[far].control.handle_accepted(from, now).unwrap();
        self.streams.insert((n, conn), (far, far_conn));
        self.streams.insert((far, far_conn), (n, conn));
        self.nodes[n].control.handle_connected(conn, to, now);
    }

    fn datagram(&mut self, n: usize, to: SocketAddr, bytes: Vec<u8>) {
        let spare = self.nodes[n].spare.to.contains(&to);
        self.datagram_from(n, spare, to, bytes);
    }

    fn datagram_from(&mut self, n: usize, spare: bool, to: SocketAddr, mut bytes: Vec<u8>) {
        let from = match spare {
            true => self.nodes[n].spare_address(),
            false => self.nodes[n].address,
        };
        let is_there = |node: &Node| node.address == to || node.spare_address() == to;
        let Some(far) = self.nodes.iter().position(is_there) else {
            return;
        };
        let ports = (from.port().min(to.port()), from.port().max(to.port()));
        let is_stuck = self.stuck.contains(&(n.min(far), n.max(far), ports));
        let no_udp = self.no_udp.contains(&(n, far)) || self.no_udp.contains(&(far, n));
        let is_blocked = no_udp || is_stuck;
        if is_blocked || bytes.len() > self.longest {
            return;
        }
        self.lane(far, |node, now, _, lane| {
            node.forwarder
                .ingress(&node.snapshot, from, &mut bytes, now, lane);
        });
    }

    fn send_frame(&mut self, n: usize, frame: &[u8]) {
        self.send_frame_in(n, NetworkId::DEFAULT, frame);
    }

    fn send_frame_in(&mut self, n: usize, network: NetworkId, frame: &[u8]) {
        self.lane(n, |node, now, scratch, lane| {
            node.forwarder.egress(
                &node.snapshot,
                network,
                &mut [PortFrame::plain(frame)].into_iter(),
                now,
                scratch,
                lane,
            );
        });
    }

    fn lane(&mut self, n: usize, work: impl FnOnce(&Node, Instant, &mut Scratch, &mut Collected)) {
        let mut lane = Collected::default();
        work(&self.nodes[n], self.now, &mut Scratch::default(), &mut lane);
        let now = self.now;
        let datagrams = lane.datagrams();
        self.nodes[n].injected.extend(lane.frames);
        self.nodes[n].elsewhere.extend(lane.elsewhere);
        for event in lane.events {
            self.nodes[n].control.handle_lane(event, now);
        }
        for (to, bytes) in datagrams {
            self.datagram(n, to, bytes);
        }
    }

    fn states(&self, n: usize) -> Vec<(ConnectionState, String)> {
        let report = self.nodes[n].control.report(self.now);
        report
            .connections
            .into_iter()
            .map(|c| (c.state, c.error))
            .collect()
    }

    /// The connection that carries the link of `n` to `far`.
    fn conn(&self, n: usize, far: usize) -> ConnId {
        let peer = self.nodes[far].control.me();
        self.nodes[n].control.parts.links.of_peer(&peer).unwrap()
    }

    fn established(&self, n: usize) -> usize {
        self.states(n)
            .iter()
            .filter(|(state, _)| *state == ConnectionState::Established)
            .count()
    }
}

/// Two routers of an open mesh, linked.
fn linked_pair() -> Net {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(0, 1);
    net.run(3 * SECOND);
    net
}

fn node(n: usize, setup: &Setup, now: Instant) -> Node {
    let identity = Arc::new(Identity::from_seeds(
        [setup.seed; 32],
        [setup.seed ^ 0x80; 32],
    ));
    let mut entropy = SeededEntropy::new(u64::from(setup.seed) << 8 | n as u64);
    let config = Config {
        secret: Arc::new((setup.secret)()),
        epoch: 1,
        name: setup.name.unwrap_or_else(|| identity.id().derived_name()),
        nickname: format!("host{}", n + 1),
        port: 6783,
        endpoints: vec![address(n)],
        discovery: setup.discovery,
        mtu: limits::DEFAULT_MTU,
        suites: setup.suites,
        stored_neighbours: setup.stored_neighbours.clone(),
        forgotten: Vec::new(),
        pins: BTreeMap::new(),
        identity,
    };
    let me = config.identity.id();
    let forwarder = Arc::new(Forwarder::new(&mut entropy));
    let control = Control::new(
        config,
        forwarder.clone(),
        Arc::new(Ed25519),
        Box::new(entropy),
        now,
    )
    .unwrap();
    let snapshot = Arc::new(Snapshot::alone(me, 1, limits::DEFAULT_MTU, now));
    Node {
        control,
        forwarder,
        snapshot,
        address: address(n),
        injected: Vec::new(),
        elsewhere: Vec::new(),
        notes: Vec::new(),
        neighbours: Vec::new(),
        epochs: Vec::new(),
        pinned: Vec::new(),
        said: Vec::new(),
        told: Vec::new(),
        dialled: Vec::new(),
        spare: Arc::default(),
    }
}

fn frame(to: [u8; 6], from: u8, text: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend_from_slice(&[2, 0, 0, 0, 0, from, 0x88, 0xb5]);
    frame.extend_from_slice(text);
    frame.resize(60.max(frame.len()), 0);
    frame
}

const SECOND: Duration = Duration::from_secs(1);

/// What a run of node `n` that this one knows nothing of said of itself.
fn record_of_another_run(net: &Net, n: usize, version: Version) -> SignedRecord {
    let control = &net.nodes[n].control;
    let body = control.parts.gossip.introduction().body();
    SignedRecord::sign(
        Topic::IDENTITY,
        version,
        body,
        &control.parts.config.identity,
    )
    .unwrap()
}

/// Node 1 tells node 0 this record.
fn tell(net: &mut Net, record: &SignedRecord) {
    let (now, conn) = (net.now, net.conn(0, 1));
    let control = &mut net.nodes[0].control;
    let message = LinkMessage::Records(vec![record.bytes().to_vec()]);
    control.handle_message(conn, message, now);
    control.parts.flush(now);
}
