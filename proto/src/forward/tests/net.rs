//! Test network: forwarders, their snapshots, and a queue of datagrams in flight.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::crypto::aead::Suite;
use crate::entropy::SeededEntropy;
use crate::fdb::Owner;
use crate::forward::*;
use crate::ids::{Mac, PeerId, SessionIndex};
use crate::network::NetworkId;
use crate::offload::PortFrame;
use crate::session::transport::{Ends, Transport, TransportKeys};
use crate::time::Instant;
use crate::topology::routes::Routes;

pub(super) const MTU: u16 = 1376;

/// A datagram in flight: sender, receiver, bytes.
pub(super) type Flight = (usize, usize, Vec<u8>);

pub(super) struct Node {
    pub(super) forwarder: Forwarder,
    pub(super) snap: Snapshot,
    pub(super) scratch: Scratch,
    pub(super) injected: Vec<Vec<u8>>,
    /// Frames for the ports of other networks than `default`.
    pub(super) elsewhere: Vec<(NetworkId, Vec<u8>)>,
    pub(super) partial: usize,
    pub(super) events: Vec<LaneEvent>,
    /// Children of this node in the tree of each origin, as in its snapshot.
    trees: BTreeMap<PeerId, Vec<PeerId>>,
}

impl Node {
    /// Sets the children to which it forwards broadcasts of `origin`.
    pub(super) fn set_tree(&mut self, origin: PeerId, children: Vec<PeerId>) {
        self.trees.insert(origin, children);
        self.plant();
    }

    pub(super) fn forget_trees(&mut self) {
        self.trees.clear();
        self.plant();
    }

    fn plant(&mut self) {
        self.snap.routes = Arc::new(Routes::by_hand(self.snap.me, &self.trees));
    }
}

pub(super) struct Net {
    pub(super) nodes: Vec<Node>,
    pub(super) now: Instant,
    pub(super) flying: VecDeque<Flight>,
    /// All datagrams ever sent.
    pub(super) log: Vec<Flight>,
    next_index: u32,
}

pub(super) fn id(n: usize) -> PeerId {
    PeerId([u8::try_from(n + 1).unwrap(); 16])
}

pub(super) fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(n + 1).unwrap()], 6783))
}

/// Returns the MAC address of container number `c`.
pub(super) fn mac(c: usize) -> Mac {
    Mac([0x02, 0, 0, 0, 0, u8::try_from(c).unwrap()])
}

pub(super) fn frame(source: Mac, destination: Mac, payload: &[u8]) -> Vec<u8> {
    [&destination.0[..], &source.0, &[0x08, 0x00], payload].concat()
}

impl Net {
    /// Creates `n` routers that do not know one another.
    pub(super) fn new(n: usize) -> Self {
        let now = Instant::from_nanos(1_000_000_000_000);
        let node = |n: usize| Node {
            forwarder: Forwarder::new(&mut SeededEntropy::new(u64::try_from(n).unwrap())),
            snap: Snapshot::alone(id(n), 1, MTU, now),
            scratch: Scratch::default(),
            injected: Vec::new(),
            elsewhere: Vec::new(),
            partial: 0,
            events: Vec::new(),
            trees: BTreeMap::new(),
        };
        Self {
            nodes: (0..n).map(node).collect(),
            now,
            flying: VecDeque::new(),
            log: Vec::new(),
            next_index: 1,
        }
    }

    /// Gives two routers a session, without a path unless they have one.
    pub(super) fn session(&mut self, a: usize, b: usize) {
        let (index_a, index_b) = (self.next_index, self.next_index + 1);
        self.next_index += 2;
        let key = |index: u32| {
            let mut key = [0x55; 32];
            key[..4].copy_from_slice(&index.to_be_bytes());
            key
        };
        let ends = [(a, b, index_a, index_b), (b, a, index_b, index_a)];
        for (me, peer, local, remote) in ends {
            let keys = TransportKeys {
                suite: Suite::ChaCha20Poly1305,
                send: key(remote),
                recv: key(local),
            };
            let (local, remote) = (SessionIndex(local), SessionIndex(remote));
            let ends = Ends {
                peer: id(peer),
                epoch: 1,
                local,
                remote,
            };
            let transport = Arc::new(Transport::new(ends, keys, me == a, self.now));
            let snap = &mut self.nodes[me].snap;
            snap.by_index.insert(local, Arc::clone(&transport));
            snap.peers.entry(id(peer)).or_default().transport = Some(transport);
        }
    }

    /// Makes two routers neighbours, with a session and a direct path.
    pub(super) fn link(&mut self, a: usize, b: usize) {
        self.session(a, b);
        for (me, peer) in [(a, b), (b, a)] {
            self.path(me, peer, Path::Direct(address(peer)));
            self.nodes[me].snap.neighbours.push(id(peer));
            self.nodes[me].snap.neighbours.sort_unstable();
        }
    }

    pub(super) fn path(&mut self, me: usize, peer: usize, path: Path) {
        self.nodes[me].snap.peers.entry(id(peer)).or_default().path = path;
    }

    /// Links the pairs, gives all other pairs sessions and shortest paths, and computes all trees.
    pub(super) fn wire(n: usize, edges: &[(usize, usize)]) -> Self {
        let mut net = Self::new(n);
        for (a, b) in edges {
            net.link(*a, *b);
        }
        for root in 0..n {
            for (node, parent) in tree(n, edges, root) {
                // On the way back to the root, a node's parent is its next hop.
                if parent != root {
                    net.path(node, root, Path::Via(id(parent)));
                    if node < root {
                        net.session(node, root);
                    }
                }
                let children = net.nodes[parent].trees.entry(id(root)).or_default();
                children.push(id(node));
                net.nodes[node].trees.entry(id(root)).or_default();
            }
        }
        net.nodes.iter_mut().for_each(Node::plant);
        net
    }

    /// Starts the settling time on all routers, during which they flood.
    pub(super) fn settle(&mut self) {
        for node in &mut self.nodes {
            node.snap.settle_until = self.now + Duration::from_secs(2);
        }
    }

    /// Sends frames from the port of router `n`, and delivers all datagrams.
    pub(super) fn send(&mut self, n: usize, frames: &[Vec<u8>]) {
        self.egress(n, frames);
        self.run();
    }

    /// Sends frames from the port of router `n`; the datagrams stay in flight.
    pub(super) fn egress(&mut self, n: usize, frames: &[Vec<u8>]) {
        self.egress_in(n, NetworkId::DEFAULT, frames);
    }

    /// Sends frames from the port of `network` of router `n`; the datagrams stay in flight.
    pub(super) fn egress_in(&mut self, n: usize, network: NetworkId, frames: &[Vec<u8>]) {
        self.with(n, |node, now, out| {
            let mut frames = frames.iter().map(|f| PortFrame::plain(f));
            let (snap, scratch) = (&node.snap, &mut node.scratch);
            node.forwarder
                .egress(snap, network, &mut frames, now, scratch, out);
        });
    }

    pub(super) fn flush(&mut self, n: usize) {
        self.with(n, |node, now, out| {
            node.forwarder
                .flush_pending(&node.snap, now, &mut node.scratch, out);
        });
    }

    /// Delivers one datagram to router `n`.
    pub(super) fn arrive(&mut self, n: usize, from: SocketAddr, datagram: &[u8]) {
        self.with(n, |node, now, out| {
            let mut datagram = datagram.to_vec();
            node.forwarder
                .ingress(&node.snap, from, &mut datagram, now, out);
        });
    }

    pub(super) fn with<T>(
        &mut self,
        n: usize,
        act: impl FnOnce(&mut Node, Instant, &mut Collected) -> T,
    ) -> T {
        let mut out = Collected::default();
        let result = act(&mut self.nodes[n], self.now, &mut out);
        self.nodes[n].injected.append(&mut out.frames);
        self.nodes[n].elsewhere.append(&mut out.elsewhere);
        self.nodes[n].partial += out.partial;
        self.nodes[n].events.append(&mut out.events);
        for (to, bytes) in out.datagrams() {
            let to = (0..self.nodes.len()).find(|i| address(*i) == to).unwrap();
            self.log.push((n, to, bytes.clone()));
            self.flying.push_back((n, to, bytes));
        }
        result
    }

    /// Delivers all datagrams in flight; panics if they never end.
    pub(super) fn run(&mut self) {
        for _ in 0..10_000 {
            let Some((from, to, bytes)) = self.flying.pop_front() else {
                return;
            };
            self.arrive(to, address(from), &bytes);
        }
        panic!("datagrams without end");
    }

    /// Takes the frames delivered to the port of router `n` since the last call.
    pub(super) fn taken(&mut self, n: usize) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.nodes[n].injected)
    }

    /// Returns the number of frames with unfinished checksums delivered to the port of router `n`.
    pub(super) fn partial(&self, n: usize) -> usize {
        self.nodes[n].partial
    }

    pub(super) fn events(&mut self, n: usize) -> Vec<LaneEvent> {
        core::mem::take(&mut self.nodes[n].events)
    }

    pub(super) fn dropped(&self, n: usize) -> Vec<(&'static str, u64)> {
        self.nodes[n].forwarder.counters().drops().collect()
    }

    pub(super) fn count(&self, n: usize, counter: Counter) -> u64 {
        self.nodes[n].forwarder.counters().get(counter)
    }

    /// Teaches router `n` that container `c` is behind router `owner`.
    pub(super) fn knows(&self, n: usize, c: usize, owner: usize) {
        let owner = Owner::Peer(id(owner));
        self.nodes[n].forwarder.fdb().learn(mac(c), owner, self.now);
    }

    pub(super) fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }
}

/// Returns the breadth-first tree from `root`: each other node with its parent, nearest first.
fn tree(n: usize, edges: &[(usize, usize)], root: usize) -> Vec<(usize, usize)> {
    let mut seen = BTreeSet::from([root]);
    let mut queue = VecDeque::from([root]);
    let mut tree = Vec::new();
    while let Some(at) = queue.pop_front() {
        for next in 0..n {
            let linked = edges.contains(&(at, next)) || edges.contains(&(next, at));
            if linked && seen.insert(next) {
                tree.push((next, at));
                queue.push_back(next);
            }
        }
    }
    tree
}
