//! One host: its kernel, its state, and the real router on it.

use std::sync::Arc;

use mesh_proto::ids::ConnId;
use mesh_proto::time::Instant;
use mesh_proto::topology::lsdb::Lsdb;
use mesh_proto::topology::routes::Routes;
use mesh_proto::wire::datagram::{Header, Kind};

use super::event::{Around, EndKey, HostEvent, HostEventKind};
use super::kernel::{ConnInput, NodeKernel};
use super::tcp::Segment;
use super::underlay::address;
use crate::sim::effect::Effect;
use crate::sim::hostile::Hostile;
use crate::sim::network::HostId;
use crate::sim::occupant::Occupant;
use crate::sim::process::Process;
use crate::sim::rng::Rng;
use crate::sim::router::{RouterSetup, SimRouter};
use crate::sim::state::RouterState;

/// Most timer events of one router at one time; more mean a busy loop.
const MAX_SPINS: u32 = 64;

/// Knowledge of a router in a settled mesh.
pub(crate) struct SettledState {
    pub(crate) lsdb: Lsdb,
    /// Routes of one router.
    pub(crate) routes: Routes,
}

/// State of a host.
pub(crate) struct Node {
    pub(crate) id: HostId,
    pub(crate) state: RouterState,
    pub(crate) setup: RouterSetup,
    /// Knowledge of its router at its first start.
    pub(crate) known: Option<Arc<SettledState>>,
    /// Fraction of every second in which the router gets no CPU, per mille.
    pub(crate) starved: u32,
    kernel: NodeKernel,
    /// The router, or a malicious member in its place.
    occupant: Option<Occupant>,
    powered: bool,
    /// Frames injected into the bridge since they were last collected.
    injected: Vec<Vec<u8>>,
    copies: u64,
    events: u64,
    /// Violation that ends the run.
    broken: Option<String>,
    armed: Option<Instant>,
    fired: (Instant, u32),
}

impl Node {
    pub(crate) fn new(id: HostId, state: RouterState, setup: RouterSetup, rng: Rng) -> Self {
        Self {
            id,
            state,
            setup,
            known: None,
            starved: 0,
            kernel: NodeKernel::new(id, rng),
            occupant: None,
            powered: true,
            injected: Vec::new(),
            copies: 0,
            events: 0,
            broken: None,
            armed: None,
            fired: (Instant::ZERO, 0),
        }
    }

    pub(crate) fn kernel(&self) -> &NodeKernel {
        &self.kernel
    }

    /// Returns the router, if one runs.
    pub(crate) fn router(&self) -> Option<&SimRouter> {
        self.occupant.as_ref()?.router()
    }

    /// Returns the number of received copies of broadcasts.
    pub(crate) fn copies(&self) -> u64 {
        self.copies
    }

    /// Returns the number of events so far.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Takes the frames injected into the bridge since the last call.
    pub(crate) fn take_injected(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.injected)
    }

    /// Takes the violation that ends the run.
    pub(crate) fn take_broken(&mut self) -> Option<String> {
        self.broken.take()
    }

    /// Returns the time at which a starved router gets the CPU again; `None` if it has it.
    pub(crate) fn frozen(&self, at: Instant) -> Option<Instant> {
        const TURN: u64 = 1_000_000_000;
        let begun = at.as_nanos() / TURN * TURN;
        let until = begun + TURN / 1000 * u64::from(self.starved);
        (at.as_nanos() < until).then_some(Instant::from_nanos(until))
    }

    /// Handles an event.
    pub(crate) fn handle(&mut self, event: HostEvent, around: &mut Around<'_>) {
        self.events += 1;
        match event.what {
            HostEventKind::Start => self.start(around),
            HostEventKind::Timer => self.timer(around),
            HostEventKind::Datagram(_) | HostEventKind::Segment { .. } if !self.powered => {}
            HostEventKind::Datagram(bytes) => self.datagram(event.from, bytes, around),
            HostEventKind::Segment {
                connection,
                to_dialler,
                segment,
            } => self.segment((connection, to_dialler), segment, around),
            HostEventKind::SynAgain(connection, tries) => {
                self.kernel.syn(connection, tries, around);
            }
            HostEventKind::Retry(key) => self.kernel.retry(key, around),
            HostEventKind::Written {
                incarnation,
                conn,
                bytes,
            } => self.tell_start(incarnation, around, |r, now| r.written(conn, bytes, now)),
            HostEventKind::Failed {
                incarnation,
                conn,
                error,
            } => {
                self.kernel.forget(conn);
                self.tell_start(incarnation, around, |r, now| r.closed(conn, error, now));
            }
        }
    }

    // Start and stop

    /// Starts the router with a raised epoch, unless it runs.
    pub(crate) fn start(&mut self, around: &mut Around<'_>) {
        if self.router().is_some() {
            return;
        }
        self.occupant = None;
        self.state.epoch += 1;
        self.kernel.process_started();
        self.powered = true;
        self.armed = None;
        let rng = self.kernel.rng_mut();
        match SimRouter::start(&self.state, &self.setup, rng, around.now) {
            Ok(mut router) => {
                if let Some(known) = self.known.take() {
                    router.resume(&known.lsdb, &known.routes, around.now);
                }
                self.occupant = Some(Occupant::Router(Box::new(router)));
            }
            Err(error) => self.broken = Some(error),
        }
        self.settle(around);
    }

    /// Replaces the router by a malicious member.
    pub(crate) fn turn(&mut self, hostile: Hostile, around: &mut Around<'_>) {
        self.kill(around);
        self.armed = None;
        self.occupant = Some(Occupant::Hostile(Box::new(hostile)));
        self.settle(around);
    }

    /// Kills the router; its host's kernel closes the connections.
    pub(crate) fn kill(&mut self, around: &mut Around<'_>) {
        self.occupant = None;
        self.kernel.close_all(around);
    }

    /// Cuts the host's power: peers are not notified.
    pub(crate) fn power_off(&mut self) {
        self.occupant = None;
        self.powered = false;
        self.kernel.forget_all();
    }

    // Time

    fn timer(&mut self, around: &mut Around<'_>) {
        let now = around.now;
        if self.armed.is_some_and(|armed| armed <= now) {
            self.armed = None;
        }
        let occupant = self.occupant.as_ref();
        if occupant.is_none_or(|o| o.next_deadline() > now) {
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
        self.tell(around, |router, now| router.timeout(now));
    }

    fn arm(&mut self, around: &mut Around<'_>) {
        let Some(deadline) = self.occupant.as_ref().map(Occupant::next_deadline) else {
            return;
        };
        let deadline = deadline.max(around.now);
        if deadline < Instant::FAR_FUTURE && self.armed.is_none_or(|armed| deadline < armed) {
            self.armed = Some(deadline);
            self.kernel.later(deadline, HostEventKind::Timer, around);
        }
    }

    // Inputs of the process

    /// Gives an input to the router, if that start of it still runs.
    fn tell_start(
        &mut self,
        incarnation: u64,
        around: &mut Around<'_>,
        input: impl FnOnce(&mut dyn Process, Instant),
    ) {
        if self.kernel.incarnation() == incarnation {
            self.tell(around, input);
        }
    }

    fn tell(&mut self, around: &mut Around<'_>, input: impl FnOnce(&mut dyn Process, Instant)) {
        if let Some(occupant) = &mut self.occupant {
            input(occupant.process(), around.now);
            self.settle(around);
        }
    }

    /// Gives an input to the router, if one runs.
    pub(crate) fn tell_router(
        &mut self,
        around: &mut Around<'_>,
        input: impl FnOnce(&mut SimRouter, Instant),
    ) {
        if let Some(router) = self.occupant.as_mut().and_then(Occupant::router_mut) {
            input(router, around.now);
            self.settle(around);
        }
    }

    fn tell_conn(&mut self, conn: ConnId, input: ConnInput, around: &mut Around<'_>) {
        self.tell(around, |process, now| match input {
            ConnInput::Connected(address) => process.connected(conn, address, now),
            ConnInput::Bytes(bytes) => process.bytes(conn, &bytes, now),
            ConnInput::Closed(error) => process.closed(conn, error, now),
        });
    }

    fn segment(&mut self, key: EndKey, segment: Segment, around: &mut Around<'_>) {
        if let Segment::Syn = segment {
            let connection = key.0;
            let Some(from) = self.kernel.syn_arrives(connection, around) else {
                return;
            };
            let process = self.occupant.as_mut().map(Occupant::process);
            let conn = process.and_then(|p| p.accepted(from, around.now));
            self.kernel.accepted(connection, conn, around);
            if conn.is_some() {
                // Carries out what the router wants to send at once.
                self.tell(around, |_, _| {});
            }
        } else if let Some((conn, input)) = self.kernel.segment_arrives(key, segment, around) {
            self.tell_conn(conn, input, around);
        }
    }

    fn datagram(&mut self, from: HostId, bytes: Vec<u8>, around: &mut Around<'_>) {
        if Header::parse(&bytes).is_ok_and(|h| h.kind == Kind::Flood) {
            self.copies += 1;
        }
        let from = address(from);
        self.tell(around, |r, now| r.datagram(from, bytes, now));
    }

    // Effects of the process

    /// Carries out the effects of the router, until none are left. Consecutive messages to a neighbour are one write,
    /// as in the shell's queue.
    fn settle(&mut self, around: &mut Around<'_>) {
        loop {
            let process = self.occupant.as_mut().map(Occupant::process);
            let effects = process.map(Process::drain).unwrap_or_default();
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
                        self.kernel.close(conn, around);
                    }
                    Effect::Dial { conn, to } => self.kernel.dial(conn, &to, around),
                    Effect::Datagram { to, bytes } => {
                        self.kernel.send_datagram(to, bytes, around);
                    }
                    Effect::Inject(_, frame) => self.injected.push(frame),
                    Effect::Keep(change) => self.state.apply(change),
                    Effect::Flooded(_)
                    | Effect::Relayed(..)
                    | Effect::Note(_)
                    | Effect::Write(..)
                    | Effect::Answer(..) => {}
                }
            }
            for (conn, bytes) in writes {
                self.write(conn, bytes, around);
            }
        }
    }

    fn write(&mut self, conn: ConnId, bytes: Vec<u8>, around: &mut Around<'_>) {
        let len = bytes.len();
        if self.kernel.write(conn, bytes, around)
            && let Some(occupant) = &mut self.occupant
        {
            occupant.process().written(conn, len, around.now);
        }
    }
}
