//! Test network of session managers: a clock, a queue of datagrams, and substitutes for the lanes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use core::time::Duration;

use super::transport::{OpenError, Transport, TransportLimits};
use super::{Directory, Refused, SessionOutput, Sessions, Via};
use crate::crypto::aead::{Suite, Suites};
use crate::crypto::identity::Identity;
use crate::entropy::{Entropy, SeededEntropy};
use crate::ids::{PeerId, SessionIndex};
use crate::time::Instant;
use crate::wire::datagram::{Header, Kind};

pub(super) const PSK: [u8; 32] = [7; 32];

/// Faults of the network; chances in per cent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) loss: u64,
    pub(super) duplicates: u64,
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
}

pub(super) const FAIR: Weather = Weather {
    loss: 0,
    duplicates: 0,
    delay: Duration::from_millis(10),
    jitter: Duration::ZERO,
};

/// Limits of the suite that the nodes agree on.
pub(super) fn usual() -> TransportLimits {
    TransportLimits::for_suite(Suite::Aes256Gcm)
}

pub(super) struct Book(pub(super) BTreeMap<PeerId, [u8; 32]>);

impl Directory for Book {
    fn names(&self, peer: &PeerId, dh_key: &[u8; 32]) -> bool {
        self.0.get(peer) == Some(dh_key)
    }
}

pub(super) struct Node {
    pub(super) identity: Arc<Identity>,
    pub(super) sessions: Sessions,
    pub(super) received: Vec<Vec<u8>>,
    pub(super) unopened: usize,
}

impl Node {
    pub(super) fn new(seed: u8, epoch: u64, limits: TransportLimits) -> Self {
        let identity = Arc::new(Identity::from_seeds([seed; 32], [seed ^ 0x80; 32]));
        Self {
            sessions: Sessions::new(identity.clone(), epoch, PSK, Suites::AES_FIRST)
                .with_limits(limits),
            identity,
            received: Vec::new(),
            unopened: 0,
        }
    }

    pub(super) fn id(&self) -> PeerId {
        self.identity.id()
    }

    pub(super) fn refused(&self, reason: Refused) -> u64 {
        let all: BTreeMap<_, _> = self.sessions.refusals().collect();
        all.get(&reason).copied().unwrap_or_default()
    }

    fn transport(&self, index: SessionIndex) -> Option<Arc<Transport>> {
        let mut all = self.sessions.receiving();
        all.find(|(i, _)| *i == index).map(|(_, t)| t.clone())
    }
}

/// Datagram in flight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Instant,
    order: u64,
    to: usize,
    from: usize,
    bytes: Vec<u8>,
}

pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
    pub(super) weather: Weather,
    pub(super) entropy: SeededEntropy,
    /// Every handshake datagram ever sent: (to, from, bytes).
    pub(super) tape: Vec<(usize, usize, Vec<u8>)>,
    /// (keys, counter) of every sealed datagram ever sent, to find reused nonces.
    nonces: BTreeSet<(usize, SessionIndex, u64)>,
    flights: BTreeSet<Flight>,
    order: u64,
}

impl Net {
    pub(super) fn new(seed: u64, weather: Weather) -> Self {
        Self::with_limits(seed, weather, usual())
    }

    /// Creates two nodes, the first with the lower id.
    pub(super) fn with_limits(seed: u64, weather: Weather, limits: TransportLimits) -> Self {
        let mut nodes = vec![Node::new(1, 1, limits), Node::new(2, 1, limits)];
        nodes.sort_by_key(Node::id);
        Self {
            now: Instant::from_nanos(1),
            nodes,
            weather,
            entropy: SeededEntropy::new(seed),
            tape: Vec::new(),
            nonces: BTreeSet::new(),
            flights: BTreeSet::new(),
            order: 0,
        }
    }

    pub(super) fn book(&self) -> Book {
        let entries = self.nodes.iter().map(|n| (n.id(), n.identity.dh_key()));
        Book(entries.collect())
    }

    pub(super) fn address(node: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, u8::try_from(node).unwrap()], 6783))
    }

    pub(super) fn want(&mut self, node: usize) {
        let (peer, key) = self.other(node);
        let n = &mut self.nodes[node];
        n.sessions.want(peer, key, self.now, &mut self.entropy);
        self.collect(node);
    }

    pub(super) fn renew(&mut self, node: usize) {
        let (peer, key) = self.other(node);
        let n = &mut self.nodes[node];
        n.sessions.renew(peer, key, self.now, &mut self.entropy);
        self.collect(node);
    }

    pub(super) fn other(&self, node: usize) -> (PeerId, [u8; 32]) {
        let other = &self.nodes[1 - node];
        (other.id(), other.identity.dh_key())
    }

    pub(super) fn current(&self, node: usize) -> Option<Arc<Transport>> {
        self.nodes[node]
            .sessions
            .current(self.other(node).0)
            .cloned()
    }

    /// Sends a frame from `node` to the other one with its current keys. Returns false without keys.
    pub(super) fn send(&mut self, node: usize, frame: &[u8]) -> bool {
        let Some(current) = self.current(node) else {
            return false;
        };
        let mut bytes = Vec::new();
        let sealed = current.seal(Kind::Data, 1, &[], frame, self.now, &mut bytes);
        if sealed.is_ok() {
            self.launch(node, &bytes);
        }
        sealed.is_ok()
    }

    /// Advances the time by `d`, delivering datagrams and running timers in order.
    pub(super) fn run(&mut self, d: Duration) {
        let end = self.now + d;
        loop {
            let flight = self.flights.first().map(|f| f.at);
            let timer = self
                .nodes
                .iter()
                .filter_map(|n| n.sessions.next_deadline())
                .map(|(at, _)| at)
                .min();
            let Some(next) = flight
                .into_iter()
                .chain(timer)
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            while let Some(flight) = self.flights.pop_first() {
                if flight.at > self.now {
                    self.flights.insert(flight);
                    break;
                }
                let _ = self.deliver(flight.to, flight.from, flight.bytes);
            }
            for node in 0..self.nodes.len() {
                let n = &mut self.nodes[node];
                n.sessions.handle_timeout(self.now, &mut self.entropy);
                self.collect(node);
            }
        }
        self.now = end;
    }

    /// Delivers a datagram to a node at once.
    pub(super) fn deliver(
        &mut self,
        to: usize,
        from: usize,
        mut bytes: Vec<u8>,
    ) -> Result<(), Refused> {
        let book = self.book();
        let node = &mut self.nodes[to];
        let handshake = Header::parse(&bytes).is_ok_and(|h| h.kind.is_handshake());
        let result = if handshake {
            let via = Via::Direct(Self::address(from));
            node.sessions
                .handle_datagram(&bytes, via, &book, self.now, &mut self.entropy)
        } else {
            open(node, &mut bytes, self.now);
            Ok(())
        };
        self.collect(to);
        result
    }

    fn collect(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].sessions.poll_output() {
            match output {
                SessionOutput::Send { peer, bytes, .. } => {
                    assert_eq!(peer, self.other(node).0);
                    self.launch(node, &bytes);
                }
                SessionOutput::Challenge { to, bytes } => {
                    assert_eq!(to, Self::address(1 - node));
                    self.launch(node, &bytes);
                }
                SessionOutput::Changed(_) => {}
            }
        }
    }

    fn launch(&mut self, from: usize, bytes: &[u8]) {
        let header = Header::parse(bytes).unwrap();
        if header.kind.is_handshake() {
            self.tape.push((1 - from, from, bytes.to_vec()));
            assert!(
                header.counter >= 1 << 63,
                "handshake counters are set apart"
            );
        }
        let nonce = (1 - from, header.receiver, header.counter);
        assert!(self.nonces.insert(nonce), "{nonce:?} used twice");
        let copies = if self.chance(self.weather.loss) {
            0
        } else {
            1 + u64::from(self.chance(self.weather.duplicates))
        };
        for _ in 0..copies {
            let jitter =
                self.entropy.u64() % (u64::try_from(self.weather.jitter.as_nanos()).unwrap() + 1);
            self.order += 1;
            self.flights.insert(Flight {
                at: self.now + self.weather.delay + Duration::from_nanos(jitter),
                order: self.order,
                to: 1 - from,
                from,
                bytes: bytes.to_vec(),
            });
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.entropy.u64() % 100 < percent
    }
}

/// Opens a datagram that is no handshake, as a lane and the control plane do.
fn open(node: &mut Node, bytes: &mut [u8], now: Instant) {
    let header = Header::parse(bytes).unwrap();
    let Some(transport) = node.transport(header.receiver) else {
        node.unopened += 1;
        return;
    };
    match transport.open(bytes, 0, now) {
        Ok(opened) => {
            let (first, body) = (opened.first, opened.body.to_vec());
            if header.kind == Kind::Data {
                node.received.push(body);
            }
            if first {
                node.sessions.confirmed(header.receiver, now);
            }
        }
        Err(OpenError::Replayed) => {}
        Err(_) => node.unopened += 1,
    }
}
