//! The world of one run: hosts, underlay, clock, and the event loop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::crypto::aead::Suites;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::ids::{ConnId, PeerId};
use mesh_proto::time::Instant;

use super::action::Action;
use super::rng::Rng;
use super::disk::Crash;
use super::frames::Ledger;
use super::workload::Workload;
use super::host::{SimHost, WorldPlan, host};
use super::invariants::bounds;
use super::invariants::deliver_once::Deliveries;
use super::invariants::delivery::{Expectation, Hops};
use super::invariants::follow::MacMoves;
use super::invariants::forward_once::ForwardOnce;
use super::invariants::nonce::Nonces;
use super::invariants::ways::HopProgress;
use super::invariants::{Check, Violation};
use super::layout::Joined;
use super::network::{HostId, VirtualNetwork};
use super::fault::{InjectedFault, VICTIM};
use super::process::{Effect, Process};
use super::queue::EventQueue;
use super::router::{SimRouter, RouterSetup};
use super::stream::{StreamId, Streams};
use super::sybils::SYBILS;
use super::trace::{LineSink, Trace};
use super::verifier::VerifierCache;

/// Most timer events of one router at one time; more mean a busy loop.
const MAX_SPINS: u32 = 64;
const SPIN: &str = "S1 no spinning";

/// Kind of event.
#[derive(Debug)]
pub(crate) enum SimEvent {
    Timer(HostId),
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
    /// The next item from this side of a stream is due.
    Stream(StreamId, usize),
    Dial {
        host: HostId,
        incarnation: u64,
        conn: ConnId,
        to: SocketAddr,
        tries: u32,
    },
    /// A dial failed, or a stream was reset.
    Closed {
        host: HostId,
        incarnation: u64,
        conn: ConnId,
        error: &'static str,
    },
    Written {
        host: HostId,
        incarnation: u64,
        conn: ConnId,
        bytes: usize,
    },
    Action(Action),
    Traffic,
    /// A container of the workload starts or stops.
    Workload,
    /// A router announces the names of its containers.
    Named(HostId),
    /// A write to the disk is synced.
    Synced {
        host: HostId,
        incarnation: u64,
    },
}

/// RouterState of the world.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) queue: EventQueue<SimEvent>,
    pub(crate) rng: Rng,
    pub(crate) network: VirtualNetwork,
    pub(crate) streams: Streams,
    pub(crate) hosts: Vec<SimHost>,
    pub(crate) who: BTreeMap<PeerId, HostId>,
    pub(crate) ledger: Ledger,
    pub(crate) deliveries: Deliveries,
    pub(crate) forwarded: ForwardOnce,
    pub(crate) nonces: Nonces,
    pub(crate) hops: Hops,
    pub(crate) ways: HopProgress,
    pub(crate) places: MacMoves,
    pub(crate) trace: Trace,
    pub(crate) fault: Option<InjectedFault>,
    pub(crate) broken: Option<Violation>,
    /// Recent datagrams, for replay and damage.
    pub(crate) recent: Vec<Vec<u8>>,
    pub(crate) dialled: u16,
    /// True while containers send traffic.
    pub(crate) talking: bool,
    /// True while steady traffic flows, of which no frame may be lost.
    pub(crate) steady: bool,
    pub(crate) promised: Vec<Expectation>,
    pub(crate) workload: Workload,
    pub(crate) secret: Arc<MeshSecret>,
    pub(crate) joined: Joined,
    /// SimRouter that was cloned.
    pub(crate) copied: Option<HostId>,
    verifier: Arc<VerifierCache>,
}

impl World {
    pub(crate) fn new(
        plan: &WorldPlan,
        mut rng: Rng,
        verifier: Arc<VerifierCache>,
        sink: Option<LineSink>,
    ) -> Self {
        let secret = if plan.open {
            MeshSecret::open()
        } else {
            MeshSecret::from_key_bytes(rng.key())
        };
        let hosts: Vec<SimHost> = (0..plan.hosts)
            .map(|id| host(id, plan, &mut rng))
            .collect();
        let who = hosts.iter().map(|h| h.state.identity.id()).zip(0..);
        Self {
            now: Instant::ZERO,
            queue: EventQueue::new(),
            network: VirtualNetwork::new(rng.fork()),
            streams: Streams::default(),
            who: who.collect(),
            hosts,
            ledger: Ledger::default(),
            deliveries: Deliveries::default(),
            forwarded: ForwardOnce::default(),
            nonces: Nonces::default(),
            hops: Hops::default(),
            ways: HopProgress::default(),
            places: MacMoves::default(),
            trace: Trace::new(sink),
            fault: plan.fault,
            broken: None,
            recent: Vec::new(),
            dialled: 0,
            talking: true,
            steady: false,
            promised: Vec::new(),
            workload: Workload::new(plan.slicing),
            secret: Arc::new(secret),
            joined: plan.joined.clone(),
            copied: None,
            verifier,
            rng,
        }
    }

    /// Handles all events due up to `end`, or until an invariant is violated.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while self.broken.is_none() {
            let Some((at, event)) = self.queue.pop_until(end) else {
                self.now = end;
                return;
            };
            self.now = at;
            self.happen(event);
        }
    }

    fn happen(&mut self, event: SimEvent) {
        match event {
            SimEvent::Timer(host) => self.timer(host),
            SimEvent::Datagram { from, to, bytes } => self.datagram_arrives(from, to, bytes),
            SimEvent::Stream(id, side) => self.stream_arrives(id, side),
            SimEvent::Dial {
                host,
                incarnation,
                conn,
                to,
                tries,
            } => self.dial((host, incarnation, conn), to, tries),
            SimEvent::Closed {
                host,
                incarnation,
                conn,
                error,
            } => {
                self.trace.event(self.now, &[3, host as u64, conn.0]);
                self.tell(host, incarnation, |p, now| p.closed(conn, error, now));
            }
            SimEvent::Written {
                host,
                incarnation,
                conn,
                bytes,
            } => self.tell(host, incarnation, |p, now| p.written(conn, bytes, now)),
            SimEvent::Action(action) => self.act(&action),
            SimEvent::Traffic => self.traffic(),
            SimEvent::Workload => self.guests_live(),
            SimEvent::Named(host) => self.tell_names(host),
            SimEvent::Synced { host, incarnation } => self.synced(host, incarnation),
        }
    }

    /// Gives an input to a process, if that start of it still runs.
    pub(crate) fn tell(
        &mut self,
        host: HostId,
        incarnation: u64,
        input: impl FnOnce(&mut dyn Process, Instant),
    ) {
        let now = self.now;
        let at = &mut self.hosts[host];
        if at.incarnation != incarnation {
            return;
        }
        if let Some(process) = &mut at.process {
            input(&mut **process, now);
            self.settle(host);
        }
    }

    /// Gives an input to the router on a host, if one runs.
    pub(crate) fn tell_router(&mut self, host: HostId, input: impl FnOnce(&mut SimRouter, Instant)) {
        let incarnation = self.hosts[host].incarnation;
        self.tell(host, incarnation, |process, now| {
            if let Some(router) = process.router() {
                input(router, now);
            }
        });
    }

    /// Carries out the effects of a process and sets its timer.
    pub(crate) fn settle(&mut self, host: HostId) {
        let Some(process) = &mut self.hosts[host].process else {
            return;
        };
        for effect in process.drain() {
            self.carry_out(host, effect);
        }
        self.arm(host);
    }

    fn carry_out(&mut self, host: HostId, effect: Effect) {
        match effect {
            Effect::Dial { conn, to } => self.begin_dial(host, conn, &to),
            Effect::Send { conn, bytes } => self.send(host, conn, bytes),
            Effect::Close { conn } => self.close(host, conn),
            Effect::Datagram { to, bytes } => self.send_datagram(host, to, &bytes),
            Effect::Relayed(key, view) => {
                let check = self.ways.sent(host, key, view);
                self.check(check);
            }
            Effect::Inject(frame) => self.inject(host, frame),
            Effect::Flooded(frame) => {
                let incarnation = self.hosts[host].incarnation;
                let check = self.forwarded.flooded(host, incarnation, frame);
                self.check(check);
            }
            Effect::Keep(keep) => self.hosts[host].state.keep(keep),
            Effect::Write(write) => {
                self.hosts[host].disk.push(write);
                self.write(host);
            }
            Effect::Answer(request, result) => self.answered(host, request, &result),
            Effect::Note(text) => self.trace.line(self.now, format_args!("h{host}: {text}")),
        }
    }

    fn arm(&mut self, host: HostId) {
        let now = self.now;
        let at = &mut self.hosts[host];
        let Some(deadline) = at.process.as_ref().map(|p| p.next_deadline().max(now)) else {
            return;
        };
        if deadline < Instant::FAR_FUTURE && at.armed.is_none_or(|armed| deadline < armed) {
            at.armed = Some(deadline);
            self.queue.push(deadline, SimEvent::Timer(host));
        }
    }

    fn timer(&mut self, host: HostId) {
        let now = self.now;
        let at = &mut self.hosts[host];
        if at.armed.is_some_and(|armed| armed <= now) {
            at.armed = None;
        }
        let due = at
            .process
            .as_ref()
            .is_some_and(|p| p.next_deadline() <= now);
        if !due {
            return self.arm(host);
        }
        at.fired = match at.fired {
            (when, times) if when == now => (now, times + 1),
            _ => (now, 1),
        };
        if at.fired.1 > MAX_SPINS {
            let detail = format!("router {host} asks for its timer again and again");
            return self.check(Err(Violation::new(SPIN, detail)));
        }
        let incarnation = at.incarnation;
        self.trace.event(now, &[1, host as u64]);
        self.tell(host, incarnation, |process, now| process.timeout(now));
    }

    /// Records the first violated invariant.
    pub(crate) fn check(&mut self, check: Check) {
        if let Err(violation) = check
            && self.broken.is_none()
        {
            self.trace
                .line(self.now, format_args!("BROKEN {violation}"));
            self.broken = Some(violation);
        }
    }

    /// Runs the checks that are too expensive for every event.
    pub(crate) fn check_bounds(&mut self) {
        for host in 0..self.hosts.len() {
            let Some(router) = self.router(host) else {
                continue;
            };
            let mut tables = router.tables();
            let taken = router.records_taken();
            tables.push(bounds::records(taken, self.who.len() + SYBILS, self.now));
            if self.plant(host, InjectedFault::OverfullTable)
                && let Some(table) = tables.first_mut()
            {
                table.used = table.bound + 1;
            }
            self.check(bounds::check(host, &tables));
        }
        let queue = bounds::Fill {
            table: "bytes on one stream",
            used: self.streams.fullest(),
            bound: super::stream::SEND_BUFFER
                + mesh_proto::limits::MAX_LINK_SEND_QUEUE
                + mesh_proto::limits::MAX_LINK_MESSAGE,
        };
        self.check(bounds::check(usize::MAX, &[queue]));
    }

    /// Starts the disk's next write, at which the host may crash.
    fn write(&mut self, host: HostId) {
        let at = &mut self.hosts[host];
        let Some((time, crash)) = at.disk.begin(&mut self.rng) else {
            return;
        };
        let incarnation = at.incarnation;
        self.queue
            .push(self.now + time, SimEvent::Synced { host, incarnation });
        if let Some(crash) = crash {
            let action = match crash {
                Crash::Kill => Action::Kill(host),
                Crash::Power => Action::PowerOff(host),
            };
            let end = self.now + self.rng.between(Duration::ZERO, time);
            self.queue.push(end, SimEvent::Action(action));
            let back = end + self.rng.millis(100, 1_500);
            self.queue.push(back, SimEvent::Action(Action::Revive(host)));
        }
    }

    fn synced(&mut self, host: HostId, incarnation: u64) {
        let at = &mut self.hosts[host];
        if at.incarnation != incarnation || at.process.is_none() {
            return;
        }
        if let Some((position, length)) = at.disk.finish() {
            self.write(host);
            self.tell_router(host, |router, now| {
                router.with_addresses(now, |a, local| a.synced(position, length, local));
            });
        }
    }

    pub(crate) fn router(&mut self, host: HostId) -> Option<&mut SimRouter> {
        self.hosts[host].process.as_mut()?.router()
    }

    /// True if this router has this injected fault.
    pub(crate) fn plant(&self, host: HostId, fault: InjectedFault) -> bool {
        host == VICTIM && self.fault == Some(fault)
    }

    pub(crate) fn host_at(&self, address: SocketAddr) -> Option<HostId> {
        self.hosts.iter().position(|h| h.address == address)
    }

    /// Returns the hosts with a running router.
    pub(crate) fn running(&mut self) -> Vec<HostId> {
        (0..self.hosts.len())
            .filter(|h| self.router(*h).is_some())
            .collect()
    }

    /// Starts the router of a host, with a raised epoch.
    pub(crate) fn start(&mut self, host: HostId) {
        // Two overlapping scripts may start a running router: that is a restart.
        self.kill(host);
        let journal = match self.hosts[host].disk.read() {
            Ok(journal) => journal,
            Err(violation) => return self.check(Err(violation)),
        };
        let setup = RouterSetup {
            nickname: format!("h{host}"),
            address: self.hosts[host].address,
            discovery: self.joined.discovery,
            secret: self.secret.clone(),
            verifier: self.verifier.clone(),
            attached: self.hosts[host].attached(),
            range: Some((self.workload.slicing, journal)),
            // Every third host has no AES instructions.
            suites: if host % 3 == 2 {
                Suites::CHACHA
            } else {
                Suites::AES_FIRST
            },
            clock: self.hosts[host].clock,
            fault: self.fault.filter(|_| host == VICTIM),
        };
        let at = &mut self.hosts[host];
        at.state.epoch += 1;
        at.incarnation += 1;
        at.powered = true;
        at.armed = None;
        match SimRouter::start(&at.state, &setup, &mut self.rng, self.now) {
            Ok(mut router) => {
                router.deaf_to_snapshots = false;
                at.process = Some(Box::new(router));
                self.settle(host);
                self.mend(host);
            }
            Err(error) => self.check(Err(Violation::new("S2 start", error))),
        }
    }
}
