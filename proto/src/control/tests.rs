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
use crate::fastpath::{Beat, Consent, Local};
use crate::forward::{Collected, Scratch};
use crate::ids::{PeerName, Version};
use crate::offload::PortFrame;
use crate::topology::record::Ed25519;

mod ciphers;

struct Node {
    control: Control,
    forwarder: Arc<Forwarder>,
    snapshot: Arc<Snapshot>,
    address: SocketAddr,
    injected: Vec<Vec<u8>>,
    notes: Vec<String>,
    /// Epochs it wanted to be kept.
    epochs: Vec<u64>,
    /// Names it wanted to be kept with their keys.
    pinned: Vec<PeerName>,
}

/// Where the far end of a connection is.
type FarEnd = (usize, ConnId);

struct Net {
    now: Instant,
    nodes: Vec<Node>,
    streams: BTreeMap<(usize, ConnId), FarEnd>,
    /// Pairs whose UDP is lost, in both directions.
    no_udp: Vec<(usize, usize)>,
}

struct Setup {
    secret: fn() -> MeshSecret,
    discovery: bool,
    name: Option<PeerName>,
    seed: u8,
    suites: Suites,
}

fn open_mesh(seed: u8) -> Setup {
    Setup {
        secret: MeshSecret::open,
        discovery: true,
        name: None,
        seed,
        suites: Suites::AES_FIRST,
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
        }
    }

    fn connect(&mut self, from: usize, to: usize) {
        let now = self.now;
        self.nodes[from]
            .control
            .connect(&[address(to).to_string()], false, now)
            .unwrap();
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
            } => self.dial(n, conn, to),
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
            Output::Close { conn } => {
                if let Some((far, far_conn)) = self.streams.remove(&(n, conn)) {
                    self.streams.remove(&(far, far_conn));
                    self.nodes[far]
                        .control
                        .handle_closed(far_conn, "closed", now);
                }
            }
            Output::Datagram { to, bytes } => self.datagram(n, to, bytes),
            Output::Publish(snapshot) => {
                self.nodes[n].snapshot = snapshot;
                self.lane(n, |node, now, scratch, lane| {
                    node.forwarder
                        .flush_pending(&node.snapshot, now, scratch, lane);
                });
            }
            Output::Note(Note::Info(text) | Note::Warn(text)) => self.nodes[n].notes.push(text),
            Output::Epoch(epoch) => self.nodes[n].epochs.push(epoch),
            Output::Pin(name, _) => self.nodes[n].pinned.push(name),
            Output::Unpin(_) | Output::Targets(_) | Output::Held(_) | Output::Fast(_) => {}
        }
    }

    fn dial(&mut self, n: usize, conn: ConnId, to: SocketAddr) {
        let now = self.now;
        let Some(far) = self.nodes.iter().position(|node| node.address == to) else {
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

    fn datagram(&mut self, n: usize, to: SocketAddr, mut bytes: Vec<u8>) {
        let from = self.nodes[n].address;
        let Some(far) = self.nodes.iter().position(|node| node.address == to) else {
            return;
        };
        if self.no_udp.contains(&(n, far)) || self.no_udp.contains(&(far, n)) {
            return;
        }
        self.lane(far, |node, now, _, lane| {
            node.forwarder
                .ingress(&node.snapshot, from, &mut bytes, now, lane);
        });
    }

    fn send_frame(&mut self, n: usize, frame: &[u8]) {
        self.lane(n, |node, now, scratch, lane| {
            node.forwarder.egress(
                &node.snapshot,
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

    fn established(&self, n: usize) -> usize {
        self.states(n)
            .iter()
            .filter(|(state, _)| *state == ConnectionState::Established)
            .count()
    }
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
        notes: Vec::new(),
        epochs: Vec::new(),
        pinned: Vec::new(),
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

#[test]
fn two_routers_meet_and_frames_flow() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(0, 1);
    net.run(3 * SECOND);
    assert_eq!(
        (net.established(0), net.established(1)),
        (1, 1),
        "{:?} {:?}",
        net.states(0),
        net.nodes[0].notes
    );
    let hello = frame([0xff; 6], 1, b"hello");
    net.send_frame(0, &hello);
    assert_eq!(net.nodes[1].injected, [hello]);
    let answer = frame([2, 0, 0, 0, 0, 1], 2, b"answer");
    net.send_frame(1, &answer);
    assert_eq!(net.nodes[0].injected, [answer]);
}

#[test]
fn a_chain_without_discovery_relays_and_stays_a_chain() {
    let chain = |seed| Setup {
        discovery: false,
        ..open_mesh(seed)
    };
    let mut net = Net::new(vec![chain(1), chain(2), chain(3)]);
    net.connect(0, 1);
    net.connect(1, 2);
    net.run(6 * SECOND);
    assert_eq!(
        [net.established(0), net.established(1), net.established(2)],
        [1, 2, 1]
    );
    let hello = frame([0xff; 6], 1, b"hello");
    net.send_frame(0, &hello);
    assert_eq!(net.nodes[1].injected.len(), 1);
    assert_eq!(net.nodes[2].injected, [hello]);
    // The answer is unicast: it needs a session of its own, end to end, and goes through the middle.
    let answer = frame([2, 0, 0, 0, 0, 1], 3, b"answer");
    net.send_frame(2, &answer);
    net.run(SECOND);
    assert_eq!(net.nodes[0].injected, [answer]);
    assert_eq!(
        net.nodes[1].injected.len(),
        1,
        "a relay does not see what it relays"
    );
    let me = net.nodes[0].control.me();
    assert!(matches!(
        net.nodes[2].snapshot.peers[&me].path,
        crate::forward::Path::Via(_)
    ));
}

#[test]
fn discovery_makes_a_full_mesh_with_one_link_a_pair() {
    let mut net = Net::new((1..=5).map(open_mesh).collect());
    for n in 1..5 {
        net.connect(n, 0);
    }
    net.run(15 * SECOND);
    for n in 0..5 {
        assert_eq!(net.established(n), 4, "{n}: {:?}", net.states(n));
    }
    let digests: Vec<_> = net.nodes.iter().map(|n| n.control.digest()).collect();
    assert!(digests.iter().all(|d| *d == digests[0]));
}

#[test]
fn a_pair_without_udp_stays_pending_and_talks_through_the_third() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2), open_mesh(3)]);
    net.no_udp.push((0, 2));
    net.connect(0, 1);
    net.connect(2, 1);
    net.run(8 * SECOND);
    let pending = |net: &Net| {
        let states = net.states(0).into_iter();
        let mut pending = states.filter(|(s, _)| *s == ConnectionState::Pending);
        pending.next().unwrap().1
    };
    assert_eq!(pending(&net), "probing the UDP path");
    net.run(10 * SECOND);
    let middle = net.nodes[0].control.display(&net.nodes[1].control.me());
    let blocked = "UDP between the two is blocked; open UDP port 6783 both ways";
    assert_eq!(
        pending(&net),
        format!("{blocked}, until then frames go via {middle}")
    );
    net.send_frame(0, &frame([0xff; 6], 1, b"x"));
    net.send_frame(2, &frame([2, 0, 0, 0, 0, 1], 3, b"y"));
    net.run(SECOND);
    assert_eq!(
        (net.nodes[0].injected.len(), net.nodes[2].injected.len()),
        (1, 1)
    );
}

#[test]
fn different_secrets_are_told_on_both_sides() {
    let keyed = |seed| Setup {
        secret: || MeshSecret::from_key_bytes([7; 32]),
        ..open_mesh(seed)
    };
    let other = |seed| Setup {
        secret: || MeshSecret::from_key_bytes([8; 32]),
        ..open_mesh(seed)
    };
    for (a, b) in [
        (keyed(1), other(2)),
        (keyed(1), open_mesh(2)),
        (open_mesh(1), keyed(2)),
    ] {
        let mut net = Net::new(vec![a, b]);
        net.connect(0, 1);
        net.run(2 * SECOND);
        for n in 0..2 {
            assert_eq!(net.established(n), 0);
            let states = net.states(n);
            assert!(
                states
                    .iter()
                    .any(|(_, e)| e.contains("secret") || e.contains("key")),
                "{n}: {states:?}"
            );
        }
    }
}

#[test]
fn a_router_that_meets_itself_gives_up_and_says_so() {
    let mut net = Net::new(vec![open_mesh(1)]);
    net.connect(0, 0);
    net.run(5 * SECOND);
    let states = net.states(0);
    assert!(
        states
            .iter()
            .any(|(s, e)| *s == ConnectionState::Failed && e.contains("ourselves")),
        "{states:?}"
    );
}

#[test]
fn one_name_for_two_routers_is_refused_on_both_sides() {
    let named = |seed| Setup {
        name: Some(PeerName([2, 0, 0, 0, 0, 9])),
        ..open_mesh(seed)
    };
    let mut net = Net::new(vec![named(1), named(2)]);
    net.connect(0, 1);
    net.run(2 * SECOND);
    for n in 0..2 {
        let states = net.states(n);
        assert!(
            states.iter().any(|(_, e)| e.contains("name")),
            "{n}: {states:?}"
        );
    }
}

#[test]
fn garbage_from_a_member_is_counted_and_changes_nothing() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(0, 1);
    net.run(3 * SECOND);
    let now = net.now;
    let peer = net.nodes[1].control.me();
    let control = &mut net.nodes[0].control;
    let conn = control.links.of_peer(&peer).unwrap();
    let mut forged = control.lsdb.get(&peer).unwrap().bytes().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    control.handle_message(
        conn,
        LinkMessage::Records(vec![vec![1, 2, 3], forged, Vec::new()]),
        now,
    );
    control.handle_message(conn, LinkMessage::Unknown(99), now);
    control.handle_message(conn, LinkMessage::Want(vec![PeerId([9; 16]); 100]), now);
    control.handle_message(conn, LinkMessage::Digest([0; 16]), now);
    assert!(control.gossip_counters.refused >= 2);
    assert_eq!(control.gossip_counters.unknown, 1);
    net.run(5 * SECOND);
    assert_eq!((net.established(0), net.established(1)), (1, 1));
}

#[test]
fn a_neighbour_that_asks_and_does_not_read_costs_bounded_memory() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(0, 1);
    net.run(3 * SECOND);
    let now = net.now;
    let peer = net.nodes[1].control.me();
    let control = &mut net.nodes[0].control;
    let conn = control.links.of_peer(&peer).unwrap();
    use crate::wire::message::LinkMessage;
    let mut queued = 0;
    for n in 0..20_000u64 {
        control.handle_message(conn, LinkMessage::Ping { nonce: n }, now);
        control.handle_message(conn, LinkMessage::Digest([0; 16]), now);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        control.handle_message(conn, LinkMessage::Want(vec![PeerId(id)]), now);
        control.drain_link(conn);
        while let Some(output) = control.poll_output() {
            if let Output::Send { bytes, .. } = output {
                queued += bytes.len();
            }
        }
    }
    assert!(queued <= 2 * limits::MAX_LINK_SEND_QUEUE, "{queued}");
    assert!(control.links.get(conn).unwrap().dirty.len() <= 2);
}

#[test]
fn a_reason_cannot_write_on_the_terminal() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(0, 1);
    net.run(3 * SECOND);
    let now = net.now;
    let peer = net.nodes[1].control.me();
    let control = &mut net.nodes[0].control;
    let conn = control.links.of_peer(&peer).unwrap();
    let reason = "\u{1b}]0;owned\u{7}\n2026 INFO all is well".to_owned();
    control.handle_message(conn, LinkMessage::Bye { reason }, now);
    net.run(Duration::from_millis(1));
    let notes = &net.nodes[0].notes;
    assert!(notes.iter().any(|n| n.contains("owned")), "{notes:?}");
    assert!(!notes.iter().any(|n| n.chars().any(char::is_control)));
}

#[test]
fn dials_that_all_succeed_do_not_exceed_the_links() {
    let mut net = Net::new(vec![open_mesh(1)]);
    let now = net.now;
    let control = &mut net.nodes[0].control;
    let targets: Vec<String> = (0..limits::MAX_LINKS + 10)
        .map(|n| format!("10.1.{}.{}", n / 250, n % 250 + 1))
        .collect();
    control.connect(&targets, true, now).unwrap();
    let mut dials = Vec::new();
    while let Some(output) = control.poll_output() {
        if let Output::Dial { conn, .. } = output {
            dials.push(conn);
        }
    }
    assert_eq!(dials.len(), targets.len());
    for conn in dials {
        control.handle_connected(conn, address(1), now);
    }
    assert_eq!(control.links.iter().count(), limits::MAX_LINKS);
    let outputs: Vec<Output> = core::iter::from_fn(|| control.poll_output()).collect();
    let closed = outputs.iter().filter(|o| matches!(o, Output::Close { .. }));
    assert_eq!(closed.count(), 10);
}

#[test]
fn strangers_cannot_pin_names_without_end() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    let full: BTreeMap<PeerName, [u8; 32]> = (0..limits::MAX_PINS)
        .map(|n| {
            let [a, b, ..] = n.to_le_bytes();
            (PeerName([4, 0, 0, 0, a, b]), [9; 32])
        })
        .collect();
    net.nodes[0].control.config.pins = full.clone();
    net.connect(0, 1);
    net.run(3 * SECOND);
    assert_eq!(net.established(0), 1, "a name that stays unbound is let in");
    assert!(net.nodes[0].control.config.pins == full);
}

#[test]
fn replacing_targets_keeps_what_is_listed_and_bad_ones_change_nothing() {
    let mut net = Net::new(vec![open_mesh(1)]);
    let now = net.now;
    let control = &mut net.nodes[0].control;
    control
        .connect(&["a".into(), "b".into()], false, now)
        .unwrap();
    assert!(
        control
            .connect(&["c".into(), "d d".into()], true, now)
            .is_err()
    );
    assert_eq!(control.explicit_targets(), ["a", "b"]);
    control
        .connect(&["b".into(), "c".into()], true, now)
        .unwrap();
    assert_eq!(control.explicit_targets(), ["b", "c"]);
    control.forget(&["b".into(), "unknown".into()]);
    assert_eq!(control.explicit_targets(), ["c"]);
}

/// What a run of node `n` that this one knows nothing of said of itself.
fn record_of_another_run(net: &Net, n: usize, version: Version) -> SignedRecord {
    let control = &net.nodes[n].control;
    let mut body = control.own.signed().body().clone();
    body.version = version;
    SignedRecord::sign(&body, &control.config.identity).unwrap()
}

/// Node 1 tells node 0 this record.
fn tell(net: &mut Net, record: &SignedRecord) {
    let (now, peer) = (net.now, net.nodes[1].control.me());
    let control = &mut net.nodes[0].control;
    let conn = control.links.of_peer(&peer).unwrap();
    let message = LinkMessage::Records(vec![record.bytes().to_vec()]);
    control.handle_message(conn, message, now);
    control.flush(now);
}

#[test]
fn an_epoch_raised_in_the_middle_of_a_run_is_kept() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(0, 1);
    net.run(3 * SECOND);
    assert!(net.nodes[0].epochs.is_empty());
    let later = record_of_another_run(&net, 0, Version { epoch: 7, seq: 3 });
    tell(&mut net, &later);
    net.run(3 * SECOND);
    assert_eq!(net.nodes[0].epochs, [8]);
    assert_eq!(net.nodes[0].control.report(net.now).epoch, 8);
}

#[test]
fn names_are_pinned_where_anyone_may_join_and_nowhere_else() {
    let keyed = |seed| Setup {
        secret: || MeshSecret::from_key_bytes([7; 32]),
        ..open_mesh(seed)
    };
    for (setup, pins) in [(open_mesh as fn(u8) -> Setup, 1), (keyed, 0)] {
        let mut net = Net::new(vec![setup(1), setup(2)]);
        net.connect(0, 1);
        net.run(3 * SECOND);
        for node in &net.nodes {
            assert_eq!(node.pinned.len(), pins);
        }
    }
}

#[test]
fn strangers_fill_the_table_of_names_and_no_more() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2), open_mesh(3)]);
    let full = (0..u32::try_from(limits::MAX_PEERS).unwrap()).map(|n| {
        let [a, b, c, d] = n.to_be_bytes();
        (PeerName([6, 6, a, b, c, d]), [1; 32])
    });
    net.nodes[0].control.config.pins = full.collect();
    net.connect(0, 1);
    net.connect(0, 2);
    net.run(3 * SECOND);
    assert_eq!(net.established(0), 2, "the unpinned are let in");
    assert!(net.nodes[0].pinned.is_empty());
    let said = |net: &Net| {
        let about_names = |n: &&String| n.contains("bound to keys");
        net.nodes[0].notes.iter().filter(about_names).count()
    };
    assert_eq!(said(&net), 1);
}

#[test]
fn what_a_neighbour_sees_is_announced_while_it_is_one() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(0, 1);
    net.run(3 * SECOND);
    let seen: SocketAddr = "203.0.113.7:6783".parse().unwrap();
    let now = net.now + limits::OBSERVED_HOLD;
    let peer = net.nodes[1].control.me();
    let control = &mut net.nodes[0].control;
    let announced = |control: &Control| control.own.body().endpoints.contains(&seen);
    assert!(control.observed.saw(peer, seen, true, now));
    control.refresh_endpoints();
    assert!(announced(control));
    let conn = control.links.of_peer(&peer).unwrap();
    control.handle_closed(conn, "gone", now);
    assert!(!announced(control));
    // Without a link nobody has a say.
    control.handle_message(conn, LinkMessage::Observed(seen), now);
    assert!(!announced(control));
}

#[test]
fn a_peer_that_moved_is_followed_within_a_heartbeat() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(0, 1);
    net.run(3 * SECOND);
    let peer = net.nodes[1].control.me();
    let path = |net: &Net| net.nodes[0].control.paths.direct(&peer).unwrap().address;
    assert_eq!(path(&net), address(1));
    net.nodes[1].address = address(7);
    net.run(limits::HEARTBEAT * 11 / 10 + Duration::from_millis(20));
    assert_eq!(path(&net), address(7));
    assert_eq!((net.established(0), net.established(1)), (1, 1));
}

#[test]
fn a_flood_of_valid_records_is_put_off_and_the_last_one_wins() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2), open_mesh(3)]);
    net.connect(1, 0);
    net.connect(1, 2);
    net.run(6 * SECOND);
    // Node 1 tells of node 2 faster than anybody may publish; the forgeries among it use up nothing.
    let epoch = net.nodes[2].control.own.signed().version().epoch;
    let mut forged = record_of_another_run(&net, 2, Version { epoch, seq: 9_000 })
        .bytes()
        .to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let now = net.now;
    let peer = net.nodes[1].control.me();
    let conn = net.nodes[0].control.links.of_peer(&peer).unwrap();
    let flood: Vec<Vec<u8>> = (0..200)
        .map(|n| {
            record_of_another_run(
                &net,
                2,
                Version {
                    epoch,
                    seq: 1_000 + n,
                },
            )
        })
        .map(|record| record.bytes().to_vec())
        .collect();
    let control = &mut net.nodes[0].control;
    let before = control.gossip_counters;
    control.handle_message(conn, LinkMessage::Records(vec![forged; 50]), now);
    assert_eq!(control.gossip_counters.refused, before.refused + 50);
    control.handle_message(conn, LinkMessage::Records(flood), now);
    let taken = control.gossip_counters.accepted - before.accepted;
    assert!((2..=limits::RECORD_BURST).contains(&taken), "{taken}");
    assert_eq!(control.gossip_counters.put_off, 200 - taken);
    // Node 2 overtakes what was said of it, and that arrives.
    net.run(12 * SECOND);
    let digests: Vec<_> = net.nodes.iter().map(|n| n.control.digest()).collect();
    assert!(digests.iter().all(|d| *d == digests[0]));
}

#[test]
fn both_of_two_clones_are_told_and_told_when_it_is_over() {
    let clone = || Setup {
        discovery: false,
        ..open_mesh(1)
    };
    let mut net = Net::new(vec![clone(), open_mesh(2), clone()]);
    net.connect(0, 1);
    net.run(3 * SECOND);
    let warned = |net: &Net, n: usize| {
        let warnings = net.nodes[n].control.report(net.now).warnings;
        warnings.into_iter().find(|w| w.contains("router's key"))
    };
    assert_eq!(warned(&net, 0), None);
    // The clone comes in through another router: the first one is linked with node 1 already.
    let mut third = Net::new(vec![open_mesh(3)]);
    net.nodes.push(third.nodes.remove(0));
    net.nodes[3].address = address(3);
    net.connect(2, 3);
    net.connect(3, 1);
    net.run(10 * SECOND);
    let (a, b) = (warned(&net, 0).unwrap(), warned(&net, 2).unwrap());
    assert!(
        a.contains("calls itself host3 at 10.0.0.3:6783, heard of from"),
        "{a}"
    );
    assert!(b.contains("calls itself host1 at 10.0.0.1:6783"), "{b}");
    assert!(a.contains("mesh reset"), "{a}");
    let told = net.nodes[0]
        .notes
        .iter()
        .filter(|n| n.contains("router's key"));
    assert_eq!(told.count(), 1, "{:?}", net.nodes[0].notes);
    // The clone is switched off.
    let gone = net.nodes.remove(2);
    net.streams.retain(|(n, _), (far, _)| *n != 2 && *far != 2);
    net.streams = net
        .streams
        .iter()
        .map(|((n, c), (far, d))| {
            (
                (n - usize::from(*n > 2), *c),
                (far - usize::from(*far > 2), *d),
            )
        })
        .collect();
    drop(gone);
    net.run(limits::CLONE_QUIET + 5 * SECOND);
    assert_eq!(warned(&net, 0), None);
    assert!(net.nodes[0].notes.iter().any(|n| n.contains("any more")));
}

#[test]
fn a_pair_alone_without_udp_is_told_that_nothing_passes() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    net.connect(0, 1);
    net.run(5 * SECOND);
    net.no_udp.push((0, 1));
    let error = |net: &Net| net.states(0).remove(0).1;
    net.run(5 * SECOND);
    assert_eq!(error(&net), "probing the UDP path");
    net.run(10 * SECOND);
    let blocked = "UDP between the two is blocked; open UDP port 6783 both ways";
    assert_eq!(
        error(&net),
        format!("{blocked}, until then no frames get through")
    );
    net.no_udp.clear();
    net.run(5 * SECOND);
    assert_eq!((error(&net), net.established(0)), (String::new(), 1));
}

#[test]
fn a_full_router_says_so() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    let now = net.now;
    let control = &mut net.nodes[1].control;
    for n in 0..limits::MAX_LINKS {
        let conn = control.new_conn();
        let [_, _, a, b] = u32::try_from(n).unwrap().to_be_bytes();
        control.handle_connected(conn, SocketAddr::from(([172, 16, a, b], 1)), now);
    }
    net.connect(0, 1);
    net.run(SECOND);
    let states = net.states(0);
    assert!(
        states
            .iter()
            .any(|(_, e)| e.contains("too many connections")),
        "{states:?}"
    );
    // A crowd is not told one by one.
    let from = SocketAddr::from(([172, 17, 0, 1], 1));
    let control = &mut net.nodes[1].control;
    let told = (0..100).filter(|_| control.handle_accepted(from, now).is_some());
    assert!(told.count() <= usize::try_from(limits::FULL_ALERTS).unwrap());
    assert_eq!(control.links.iter().count(), limits::MAX_LINKS);
}

fn beat_of(net: &Net, n: usize, nonce: u64) -> Beat {
    Beat {
        peer: net.nodes[n].control.me(),
        nonce,
    }
}

/// Whether rows of the report say that frames go by the kernel, and what else they say of it.
fn by_kernel(net: &Net, n: usize) -> (bool, String) {
    let report = net.nodes[n].control.report(net.now);
    let row = &report.connections[0];
    assert_eq!(row.encrypted, row.datapath != "kernel");
    (!row.encrypted, row.fast_path_doubt.clone())
}

#[test]
fn plain_vxlan_needs_the_offers_and_beats_of_both_and_is_reported() {
    let mut net = Net::new(vec![open_mesh(1), open_mesh(2)]);
    for (n, node) in net.nodes.iter_mut().enumerate() {
        node.control.set_fastpath(Local {
            consent: Consent::new(true, Vec::new()),
            port: 6784,
            vni: 5,
            nonce: n as u64 + 1,
        });
    }
    net.connect(0, 1);
    net.run(Duration::from_secs(3));
    let (fast, doubt) = by_kernel(&net, 0);
    assert!(!fast && doubt.contains("UDP port 6784"), "{doubt}");
    for second in 0..8 {
        // Beats come for five seconds only.
        if second < 5 {
            let beats = [beat_of(&net, 0, 1), beat_of(&net, 1, 2)];
            let now = net.now;
            net.nodes[0].control.handle_beat(beats[1], now);
            net.nodes[1].control.handle_beat(beats[0], now);
        }
        net.run(Duration::from_secs(1));
        if second == 4 {
            assert_eq!(by_kernel(&net, 0), (true, String::new()));
            assert_eq!(by_kernel(&net, 1), (true, String::new()));
        }
    }
    net.run(Duration::from_secs(1));
    assert!(!by_kernel(&net, 0).0 && !by_kernel(&net, 1).0);
    let notes = net.nodes[0].notes.join("\n");
    assert!(
        notes.contains("go by the kernel's VXLAN, unencrypted"),
        "{notes}"
    );
    assert!(notes.contains("go through the router again"), "{notes}");
}
