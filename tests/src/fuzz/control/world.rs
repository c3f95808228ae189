//! The router under test with its shell (connections, dials, lanes), and members at the other ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::control::targets::DialTo;
use mesh_proto::control::{Config, Control, Note, Output};
use mesh_proto::crypto::aead::Suites;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::entropy::SeededEntropy;
use mesh_proto::forward::{Collected, Forwarder, Scratch, Snapshot};
use mesh_proto::ids::{ConnId, PeerName};
use mesh_proto::limits;
use mesh_proto::link::LinkRole;
use mesh_proto::network::NetworkId;
use mesh_proto::offload::PortFrame;
use mesh_proto::time::Instant;
use mesh_proto::topology::record::Ed25519;

use super::super::fixture::{self, START};
use super::members::{Member, Victim};

/// Number of members.
pub(super) const MEMBERS: u8 = 3;
/// Limit in bytes of unwritten data per connection, while the socket accepts none.
const MAX_UNWRITTEN: usize = 2 * limits::MAX_LINK_SEND_QUEUE + limits::MAX_LINK_RECORD;
/// Limit of the effects of one input, including answers of members and their consequences.
const MAX_EFFECTS: usize = 20_000;

/// A TCP connection of the router under test.
pub(super) struct TestConn {
    pub(super) id: ConnId,
    /// Member at the other end; `None` for a stranger.
    pub(super) member: Option<usize>,
    /// True if the socket accepts no bytes.
    pub(super) stalled: bool,
    pub(super) unwritten: usize,
}

pub(super) struct RouterUnderTest {
    pub(super) now: Instant,
    pub(super) control: Control,
    pub(super) identity: Arc<Identity>,
    pub(super) victim: Victim,
    pub(super) members: Vec<Member>,
    pub(super) conns: Vec<TestConn>,
    pub(super) dials: Vec<(ConnId, DialTo)>,
    pub(super) entropy: SeededEntropy,
    pub(super) forwarder: Arc<Forwarder>,
    snapshot: Arc<Snapshot>,
    scratch: Scratch,
    pins: BTreeSet<PeerName>,
}

impl RouterUnderTest {
    pub(super) fn new(open: bool, discovery: bool) -> Self {
        let identity = Arc::new(fixture::identity(0));
        let secret = Arc::new(if open {
            MeshSecret::open()
        } else {
            MeshSecret::from_key_bytes([7; 32])
        });
        let config = Config {
            identity: identity.clone(),
            secret: secret.clone(),
            epoch: 2,
            name: identity.id().derived_name(),
            nickname: "victim".to_owned(),
            port: limits::DEFAULT_PORT,
            endpoints: vec![fixture::address(0)],
            discovery,
            mtu: limits::DEFAULT_MTU,
            suites: Suites::AES_FIRST,
            stored_neighbours: Vec::new(),
            forgotten: Vec::new(),
            pins: BTreeMap::new(),
        };
        let mut entropy = SeededEntropy::new(17);
        let forwarder = Arc::new(Forwarder::new(&mut entropy));
        let control = Control::new(
            config,
            forwarder.clone(),
            Arc::new(Ed25519),
            Box::new(SeededEntropy::new(18)),
            START,
        )
        .expect("the configuration is in order");
        Self {
            now: START,
            control,
            victim: Victim {
                id: identity.id(),
                dh_key: identity.dh_key(),
            },
            snapshot: Arc::new(Snapshot::alone(
                identity.id(),
                2,
                limits::DEFAULT_MTU,
                START,
            )),
            identity,
            members: (1..=MEMBERS).map(|n| Member::new(n, &secret)).collect(),
            conns: Vec::new(),
            dials: Vec::new(),
            entropy,
            forwarder,
            scratch: Scratch::default(),
            pins: BTreeSet::new(),
        }
    }

    /// Adds a connection to a member or a stranger.
    pub(super) fn opened(&mut self, id: ConnId, member: Option<usize>, role: LinkRole) {
        self.conns.push(TestConn {
            id,
            member,
            stalled: false,
            unwritten: 0,
        });
        if let Some(m) = member {
            let hello = self.members[m].open(id, role, self.now, &mut self.entropy);
            self.control.handle_bytes(id, &hello, self.now);
        }
    }

    /// Delivers bytes from the other end, if the connection still exists.
    pub(super) fn arrive(&mut self, id: ConnId, bytes: &[u8]) {
        if !bytes.is_empty() && self.conns.iter().any(|conn| conn.id == id) {
            self.control.handle_bytes(id, bytes, self.now);
        }
    }

    /// Carries out the effects of the router, and lets members answer.
    pub(super) fn carry_out(&mut self) {
        for _ in 0..MAX_EFFECTS {
            let Some(output) = self.control.poll_output() else {
                return;
            };
            match output {
                Output::Dial { conn, to, .. } => self.dials.push((conn, to)),
                Output::Send { conn, bytes } => self.send(conn, &bytes),
                Output::Close { conn, .. } => self.close(conn),
                Output::Datagram { to, bytes, .. } | Output::SpareDatagram { to, bytes } => {
                    self.datagram(to, &bytes);
                }
                Output::Publish(snapshot) => self.publish(snapshot),
                Output::Pin(name, _) => {
                    self.pins.insert(name);
                    assert!(self.pins.len() <= limits::MAX_PINS);
                }
                Output::Unpin(name) => drop(self.pins.remove(&name)),
                Output::RemoteAttached(_)
                | Output::Epoch(_)
                | Output::Fast(_)
                | Output::SparePort(_)
                | Output::Announcement(_)
                | Output::Unicast { .. }
                | Output::Reach => {}
                Output::Targets(targets) => assert!(targets.len() <= limits::MAX_TARGETS),
                Output::Forgotten(all) => assert!(all.len() <= limits::MAX_FORGOTTEN),
                Output::Neighbours(all) => assert!(all.len() <= limits::MAX_WARM_START),
                Output::Note(Note::Info(text) | Note::Warn(text)) => {
                    assert!(!text.chars().any(char::is_control), "{text:?}");
                }
            }
        }
        panic!("effects without end");
    }

    fn send(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.conns.iter_mut().find(|conn| conn.id == id) else {
            return;
        };
        if conn.stalled {
            conn.unwritten += bytes.len();
            assert!(conn.unwritten <= MAX_UNWRITTEN, "a queue without bound");
            return;
        }
        let member = conn.member;
        self.control.handle_written(id, bytes.len(), self.now);
        if let Some(m) = member {
            let answer = self.members[m].hear(id, bytes, self.now, &mut self.entropy);
            self.arrive(id, &answer);
        }
    }

    /// Removes a connection.
    pub(super) fn close(&mut self, id: ConnId) {
        self.conns.retain(|conn| conn.id != id);
        for member in &mut self.members {
            member.closed(id);
        }
    }

    fn datagram(&mut self, to: SocketAddr, bytes: &[u8]) {
        assert!(bytes.len() <= limits::MAX_DATAGRAM);
        let member = (0..self.members.len()).find(|m| fixture::address(self.members[*m].n) == to);
        if let Some(m) = member {
            let answers =
                self.members[m].datagram(bytes, &self.victim, self.now, &mut self.entropy);
            self.lane_in(to, &answers);
        }
    }

    fn publish(&mut self, snapshot: Arc<Snapshot>) {
        assert!(snapshot.by_index.len() <= 3 * limits::MAX_SESSIONS);
        assert!(snapshot.neighbours.len() <= limits::MAX_LINKS);
        let known = |peer| snapshot.peers.contains_key(peer);
        assert!(snapshot.neighbours.iter().all(known));
        self.snapshot = snapshot;
        self.lane(|world, sink| {
            let RouterUnderTest {
                forwarder,
                snapshot,
                now,
                scratch,
                ..
            } = world;
            forwarder.flush_pending(snapshot, *now, scratch, sink);
        });
    }

    /// Delivers datagrams to the router's UDP port.
    pub(super) fn lane_in(&mut self, from: SocketAddr, datagrams: &[Vec<u8>]) {
        for datagram in datagrams {
            let mut datagram = datagram.clone();
            self.lane(|world, sink| {
                let RouterUnderTest {
                    forwarder,
                    snapshot,
                    now,
                    ..
                } = world;
                forwarder.ingress(snapshot, from, &mut datagram, *now, sink);
            });
        }
    }

    /// Delivers a frame to the router's local port.
    pub(super) fn frame_in(&mut self, frame: &[u8]) {
        self.lane(|world, sink| {
            let RouterUnderTest {
                forwarder,
                snapshot,
                now,
                scratch,
                ..
            } = world;
            let mut frames = [PortFrame::plain(frame)].into_iter();
            let network = NetworkId::DEFAULT;
            forwarder.egress(snapshot, network, &mut frames, *now, scratch, sink);
        });
    }

    fn lane(&mut self, work: impl FnOnce(&mut RouterUnderTest, &mut Collected)) {
        let mut sink = Collected::default();
        work(self, &mut sink);
        for event in sink.events {
            self.control.handle_lane(event, self.now);
        }
    }

    /// Advances the clock, and runs the timers that fall due.
    pub(super) fn wait(&mut self, time: Duration) {
        const AT_ONE_MOMENT: usize = 8;
        let end = self.now + time;
        let mut same = 0;
        loop {
            let (due, what) = self.control.next_deadline();
            if due > end {
                break;
            }
            same = if due > self.now { 0 } else { same + 1 };
            assert!(
                same < AT_ONE_MOMENT,
                "the timer of '{what}' does not move on"
            );
            self.now = self.now.max(due);
            self.control.handle_timeout(self.now);
            self.carry_out();
        }
        self.now = end;
    }
}
