//! One host: its kernel's ends of connections, its state, and the real router on it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_proto::ids::ConnId;
use mesh_proto::time::Instant;
use mesh_proto::wire::datagram::{Header, Kind};

use super::at_rest::SettledState;
use super::bytes::Bytes;
use super::tcp::{TcpEnd, Segment, ConnectionId};
use super::underlay::{LONGEST, ScaleUnderlay, address, host_at};
use crate::sim::rng::Rng;
use crate::sim::hostile::Hostile;
use crate::sim::network::HostId;
use crate::sim::process::{Effect, Process};
use crate::sim::router::{SimRouter, RouterSetup, RouterState};

/// Most timer events of one router at one time; more mean a busy loop.
const MAX_SPINS: u32 = 64;

/// An event of a host.
#[derive(Debug)]
pub(crate) struct HostEvent {
    pub(crate) at: Instant,
    /// Orders events of the same time together with `number`, independently of threads.
    pub(crate) from: HostId,
    pub(crate) number: u64,
    pub(crate) to: HostId,
    pub(crate) what: HostEventKind,
}

/// Kind of event.
#[derive(Debug)]
pub(crate) enum HostEventKind {
    Start,
    Timer,
    Datagram(Vec<u8>),
    Segment {
        stream: ConnectionId,
        /// True if it goes to the end that dialled.
        to_dialler: bool,
        segment: Segment,
    },
    /// The SYN of this connection was not answered.
    SynAgain(ConnectionId, usize),
    Retry(EndKey),
    Written {
        incarnation: u64,
        conn: ConnId,
        bytes: usize,
    },
    Failed {
        incarnation: u64,
        conn: ConnId,
        error: &'static str,
    },
}

/// TcpEnd of a connection on this host: the connection, and true for the dialler's end.
pub(crate) type EndKey = (ConnectionId, bool);

/// Environment of a host while it handles an event.
pub(crate) struct Around<'a> {
    pub(crate) now: Instant,
    pub(crate) hosts: usize,
    pub(crate) underlay: &'a ScaleUnderlay,
    pub(crate) out: &'a mut Vec<HostEvent>,
}

/// RouterState of a host.
pub(crate) struct Node {
    pub(crate) id: HostId,
    pub(crate) state: RouterState,
    pub(crate) setup: RouterSetup,
    pub(crate) rng: Rng,
    /// Knowledge of its router at its first start.
    pub(crate) known: Option<Arc<SettledState>>,
    pub(crate) router: Option<SimRouter>,
    /// Malicious member that runs in place of the router.
    pub(crate) hostile: Option<Box<Hostile>>,
    pub(crate) powered: bool,
    pub(crate) incarnation: u64,
    /// Fraction of every second in which the router gets no CPU, per mille.
    pub(crate) starved: u32,
    pub(crate) sent: Bytes,
    /// Frames injected into the bridge since they were last collected.
    pub(crate) injected: Vec<Vec<u8>>,
    /// Copies of broadcasts received.
    pub(crate) copies: u64,
    pub(crate) events: u64,
    /// Violation that ends the run.
    pub(crate) broken: Option<String>,
    pub(crate) ends: BTreeMap<EndKey, TcpEnd>,
    pub(super) by_conn: BTreeMap<ConnId, EndKey>,
    armed: Option<Instant>,
    fired: (Instant, u32),
    numbered: u64,
    pub(super) dialled: u64,
}

impl Node {
    pub(crate) fn new(id: HostId, state: RouterState, setup: RouterSetup, rng: Rng) -> Self {
        Self {
            id,
            state,
            setup,
            rng,
            known: None,
            router: None,
            hostile: None,
            powered: true,
            incarnation: 0,
            starved: 0,
            sent: Bytes::default(),
            injected: Vec::new(),
            copies: 0,
            events: 0,
            broken: None,
            ends: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            armed: None,
            fired: (Instant::ZERO, 0),
            numbered: 0,
            dialled: 0,
        }
    }

    /// Returns the time at which a starved router gets the CPU again; `None` if it has it.
    pub(crate) fn frozen(&self, at: Instant) -> Option<Instant> {
        const TURN: u64 = 1_000_000_000;
        let begun = at.as_nanos() / TURN * TURN;
        let until = begun + TURN / 1000 * u64::from(self.starved);
        (at.as_nanos() < until).then_some(Instant::from_nanos(until))
    }

    pub(crate) fn happen(&mut self, event: HostEvent, around: &mut Around<'_>) {
        self.events += 1;
        match event.what {
            HostEventKind::Start => self.start(around),
            HostEventKind::Timer => self.timer(around),
            HostEventKind::Datagram(_) | HostEventKind::Segment { .. } if !self.powered => {}
            HostEventKind::Datagram(bytes) => self.datagram(event.from, bytes, around),
            HostEventKind::Segment {
                stream,
                to_dialler,
                segment,
            } => self.segment((stream, to_dialler), segment, around),
            HostEventKind::SynAgain(stream, tries) => self.syn(stream, tries, around),
            HostEventKind::Retry(key) => self.retry(key, around),
            HostEventKind::Written {
                incarnation,
                conn,
                bytes,
            } => self.tell(incarnation, around, |r, now| r.written(conn, bytes, now)),
            HostEventKind::Failed {
                incarnation,
                conn,
                error,
            } => {
                if let Some(key) = self.by_conn.remove(&conn) {
                    self.ends.remove(&key);
                }
                self.tell(incarnation, around, |r, now| r.closed(conn, error, now));
            }
        }
    }

    // Start and stop

    /// Starts the router with a raised epoch, unless it runs.
    pub(crate) fn start(&mut self, around: &mut Around<'_>) {
        if self.router.is_some() {
            return;
        }
        self.hostile = None;
        self.state.epoch += 1;
        self.incarnation += 1;
        self.powered = true;
        self.armed = None;
        match SimRouter::start(&self.state, &self.setup, &mut self.rng, around.now) {
            Ok(mut router) => {
                if let Some(known) = self.known.take() {
                    router.resume(&known.lsdb, &known.routes, around.now);
                }
                self.router = Some(router);
            }
            Err(error) => self.broken = Some(error),
        }
        self.settle(around);
    }

    /// Replaces the router by a malicious member.
    pub(crate) fn turn(&mut self, hostile: Hostile, around: &mut Around<'_>) {
        self.kill(around);
        self.armed = None;
        self.hostile = Some(Box::new(hostile));
        self.settle(around);
    }

    pub(super) fn process(&mut self) -> Option<&mut dyn Process> {
        match (&mut self.router, &mut self.hostile) {
            (Some(router), _) => Some(router),
            (None, Some(hostile)) => Some(&mut **hostile),
            (None, None) => None,
        }
    }

    /// Kills the router; its host's kernel closes the connections.
    pub(crate) fn kill(&mut self, around: &mut Around<'_>) {
        self.router = None;
        self.hostile = None;
        for key in self.ends.keys().copied().collect::<Vec<_>>() {
            self.push(key, Segment::Fin, around);
        }
        self.forget_connections();
    }

    /// Cuts the host's power: peers are not notified.
    pub(crate) fn power_off(&mut self) {
        self.router = None;
        self.hostile = None;
        self.powered = false;
        self.forget_connections();
    }

    fn forget_connections(&mut self) {
        self.incarnation += 1;
        self.ends.clear();
        self.by_conn.clear();
    }

    // Time

    fn timer(&mut self, around: &mut Around<'_>) {
        let now = around.now;
        if self.armed.is_some_and(|armed| armed <= now) {
            self.armed = None;
        }
        let due = self.process().is_some_and(|p| p.next_deadline() <= now);
        if !due {
            return self.arm(around);
        }
        self.fired = match self.fired {
            (when, times) if when == now => (now, times + 1),
            _ => (now, 1),
        };
        if self.fired.1 > MAX_SPINS {
            self.broken = Some(format!(
                "router {} asks for its timer again and again",
                self.id
            ));
            return;
        }
        let incarnation = self.incarnation;
        self.tell(incarnation, around, |router, now| router.timeout(now));
    }

    fn arm(&mut self, around: &mut Around<'_>) {
        let Some(deadline) = self.process().map(|p| p.next_deadline()) else {
            return;
        };
        let deadline = deadline.max(around.now);
        if deadline < Instant::FAR_FUTURE && self.armed.is_none_or(|armed| deadline < armed) {
            self.armed = Some(deadline);
            self.later(deadline, HostEventKind::Timer, around);
        }
    }

    pub(super) fn later(&mut self, at: Instant, what: HostEventKind, around: &mut Around<'_>) {
        self.send_at(at, self.id, what, around);
    }

    pub(super) fn send_at(&mut self, at: Instant, to: HostId, what: HostEventKind, around: &mut Around<'_>) {
        self.numbered += 1;
        around.out.push(HostEvent {
            at,
            from: self.id,
            number: self.numbered,
            to,
            what,
        });
    }

    // Inputs and effects of the router

    /// Gives an input to the router, if that start of it still runs.
    pub(crate) fn tell(
        &mut self,
        incarnation: u64,
        around: &mut Around<'_>,
        input: impl FnOnce(&mut dyn Process, Instant),
    ) {
        if self.incarnation != incarnation {
            return;
        }
        if let Some(process) = self.process() {
            input(process, around.now);
            self.settle(around);
        }
    }

    /// Carries out the effects of the router, until none are left. Consecutive messages to a neighbour are one write,
    /// as in the shell's queue.
    fn settle(&mut self, around: &mut Around<'_>) {
        loop {
            let effects = self.process().map(Process::drain).unwrap_or_default();
            if effects.is_empty() {
                return self.arm(around);
            }
            let mut writes: Vec<(ConnId, Vec<u8>)> = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Send { conn, bytes } => {
                        match writes.iter_mut().find(|(c, _)| *c == conn) {
                            Some((_, write)) => write.extend(bytes),
                            None => writes.push((conn, bytes)),
                        }
                    }
                    Effect::Close { conn } => {
                        if let Some(at) = writes.iter().position(|(c, _)| *c == conn) {
                            let (conn, bytes) = writes.swap_remove(at);
                            self.write(conn, bytes, around);
                        }
                        self.close(conn, around);
                    }
                    Effect::Dial { conn, to } => self.dial(conn, &to, around),
                    Effect::Datagram { to, bytes } => self.send_datagram(to, bytes, around),
                    Effect::Inject(frame) => self.injected.push(frame),
                    Effect::Keep(keep) => self.state.keep(keep),
                    Effect::Flooded(_)
                    | Effect::Relayed(..)
                    | Effect::Note(_)
                    | Effect::Write(_)
                    | Effect::Answer(..) => {}
                }
            }
            for (conn, bytes) in writes {
                self.write(conn, bytes, around);
            }
        }
    }

    // Datagrams

    fn send_datagram(&mut self, to: SocketAddr, bytes: Vec<u8>, around: &mut Around<'_>) {
        // The host's kernel rejects it, so no byte is sent.
        if bytes.len() > LONGEST {
            return;
        }
        self.sent.datagram(&bytes);
        let Some(to) = host_at(to, around.hosts) else {
            return;
        };
        if around.underlay.carries(self.id, to) && !self.rng.chance(around.underlay.loss) {
            let delay = around.underlay.delay(self.id, to, &mut self.rng);
            self.send_at(around.now + delay, to, HostEventKind::Datagram(bytes), around);
        }
    }

    fn datagram(&mut self, from: HostId, bytes: Vec<u8>, around: &mut Around<'_>) {
        if Header::parse(&bytes).is_ok_and(|h| h.kind == Kind::Flood) {
            self.copies += 1;
        }
        let (from, incarnation) = (address(from), self.incarnation);
        self.tell(incarnation, around, |r, now| r.datagram(from, bytes, now));
    }
}
