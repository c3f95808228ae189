//! The world of one run: hosts, what is in flight between them, and the instruments. Routes the effects of processes to
//! the part that they concern.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_proto::wire::datagram::{HEADER_LEN, Header, Kind};

use super::addresses::WorkloadRequest;
use super::checks::Inspector;
use super::disk::{Crash, JournalKind};
use super::effect::Effect;
use super::event::SimEvent;
use super::fault::InjectedFault;
use super::frames::MARKER;
use super::host::SimHost;
use super::hosts::Hosts;
use super::invariants::Violation;
use super::monitor::Monitor;
use super::network::HostId;
use super::network_stack::{NetworkStack, Syn};
use super::networks::{MemberFrame, MeshNetworks};
use super::plan::{MeshParameters, WorldPlan};
use super::process::Process;
use super::rng::Rng;
use super::router::SimRouter;
use super::runtime::SimRuntime;
use super::tcp::{ProcessId, SocketId, SocketInput};
use super::trace::{LineSink, fingerprint};
use super::traffic::StationTraffic;
use super::verifier::VerifierCache;
use super::workload::Workload;

/// Bytes that a lying disk loses although they were synced.
const LOST_BYTES: usize = 200;
/// Destination of the frames that the fault `CleartextCopy` sends.
const LEAK: ([u8; 4], u16) = ([192, 0, 2, 1], 9);

/// Parts of the world.
pub(crate) struct World {
    pub(super) runtime: SimRuntime,
    pub(super) hosts: Hosts,
    pub(super) stack: NetworkStack,
    pub(super) monitor: Monitor,
    pub(super) traffic: StationTraffic,
    pub(super) networks: MeshNetworks,
    pub(super) workload: Workload,
    pub(super) parameters: MeshParameters,
    /// Router that was cloned.
    pub(super) copied: Option<HostId>,
}

impl World {
    pub(crate) fn new(
        plan: &WorldPlan,
        mut rng: Rng,
        verifier: Arc<VerifierCache>,
        sink: Option<LineSink>,
    ) -> Self {
        let mut parameters = MeshParameters::new(plan, verifier, &mut rng);
        let mut hosts = Hosts::new(plan, &mut rng);
        // The last host is for a hostile member.
        let networks = MeshNetworks::new(plan.hosts.saturating_sub(1), plan.networks);
        for host in hosts.iter_mut() {
            host.members = networks.of(host.id());
        }
        parameters.plans = networks.plans(|host| hosts[host].peer());
        let stack = NetworkStack::new(rng.fork());
        Self {
            runtime: SimRuntime::new(rng, sink),
            workload: Workload::new(plan.slicing, hosts.iter().map(SimHost::networks)),
            hosts,
            stack,
            monitor: Monitor::default(),
            traffic: StationTraffic::new(),
            networks,
            parameters,
            copied: None,
        }
    }

    /// Returns a view for checks.
    pub(crate) fn inspect(&self) -> Inspector<'_> {
        Inspector {
            hosts: &self.hosts,
            underlay: self.stack.underlay(),
            parameters: &self.parameters,
        }
    }

    // Inputs of processes

    /// Gives an input to a process, if that start of it still runs.
    pub(super) fn tell(&mut self, to: ProcessId, input: impl FnOnce(&mut dyn Process, Instant)) {
        if !self.hosts.is_current(to) {
            return;
        }
        if let Some(process) = self.hosts[to.host].process() {
            input(process, self.runtime.now());
            self.settle(to.host);
        }
    }

    /// Gives an input to a process about one of its sockets.
    pub(super) fn tell_socket(&mut self, to: SocketId, input: SocketInput) {
        let conn = to.conn;
        self.tell(to.process, |process, now| match input {
            SocketInput::Connected(address) => process.connected(conn, address, now),
            SocketInput::Bytes(bytes) => process.bytes(conn, &bytes, now),
            SocketInput::Written(bytes) => process.written(conn, bytes, now),
            SocketInput::Closed(error) => process.closed(conn, error, now),
        });
    }

    /// Gives an input to the router on a host, if one runs.
    pub(super) fn tell_router(
        &mut self,
        host: HostId,
        input: impl FnOnce(&mut SimRouter, Instant),
    ) {
        if let Some(router) = self.hosts[host].router_mut() {
            input(router, self.runtime.now());
            self.settle(host);
        }
    }

    /// Offers a connection to the process of a host.
    pub(super) fn accept(&mut self, syn: Syn) {
        let now = self.runtime.now();
        let at = &mut self.hosts[syn.at];
        let process = at.last_start();
        let accepted = at.process().and_then(|p| p.accepted(syn.from, now));
        let Some(conn) = accepted else {
            return self.stack.not_accepted(syn, &mut self.runtime);
        };
        let socket = SocketId { process, conn };
        self.stack
            .accepted(syn, socket, &self.hosts, &mut self.runtime);
        self.settle(syn.at);
    }

    /// Delivers a datagram to the process at its destination.
    pub(super) fn datagram_arrives(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        let host = self.hosts.at(to);
        let Some(host) = host.filter(|host| self.hosts[*host].is_running()) else {
            return;
        };
        self.runtime.record(&[2, host as u64, fingerprint(&bytes)]);
        let fault = InjectedFault::PanicOnRunt;
        if self.parameters.has_fault(host, fault) {
            assert!(bytes.len() >= HEADER_LEN, "planted");
        }
        self.monitor
            .datagram_arrives(self.hosts[host].peer(), &bytes);
        let process = self.hosts[host].last_start();
        self.tell(process, |p, now| p.datagram(from, bytes, now));
        self.monitor.datagram_handled();
    }

    /// Handles a timer event of a host.
    pub(super) fn timer(&mut self, host: HostId) {
        match self.hosts[host].timer_fires(&mut self.runtime) {
            Ok(true) => {
                self.runtime.record(&[1, host as u64]);
                let process = self.hosts[host].last_start();
                self.tell(process, |process, now| process.timeout(now));
            }
            Ok(false) => {}
            Err(spinning) => self.runtime.check(Err(spinning)),
        }
    }

    /// Tells a router that a write to its disk is synced.
    pub(super) fn synced(&mut self, process: ProcessId, journal: JournalKind) {
        let host = process.host;
        if !self.hosts.runs(process) {
            return;
        }
        if let Some(written) = self.hosts[host].disk(journal).finish() {
            self.hosts[host].begin_write(journal, &mut self.runtime);
            self.tell_router(host, |router, now| {
                router.with_addresses(now, |a, local| a.synced(journal, written, local));
            });
        }
    }

    // Effects of processes

    /// Carries out the effects of a process and sets its timer.
    pub(super) fn settle(&mut self, host: HostId) {
        for effect in self.hosts[host].drain() {
            self.carry_out(host, effect);
        }
        self.hosts[host].arm(&mut self.runtime);
    }

    fn carry_out(&mut self, host: HostId, effect: Effect) {
        let process = self.hosts[host].last_start();
        let socket = |conn| SocketId { process, conn };
        let runtime = &mut self.runtime;
        match effect {
            Effect::Dial { conn, to } => self.stack.dial(socket(conn), &to, &self.hosts, runtime),
            Effect::Send { conn, bytes } => self.stack.send(socket(conn), bytes, runtime),
            Effect::Close { conn } => self.stack.close(socket(conn), runtime),
            Effect::Datagram { to, bytes } => self.send_datagram(host, to, &bytes),
            Effect::Relayed(key, view) => runtime.check(self.monitor.relayed(host, key, view)),
            Effect::Inject(network, frame) => self.inject(process, network, frame),
            Effect::Flooded(frame) => runtime.check(self.monitor.flooded(process, frame)),
            Effect::Keep(change) => self.hosts[host].state.apply(change),
            Effect::Write(journal, write) => {
                self.hosts[host].disk(journal).push(write);
                self.hosts[host].begin_write(journal, runtime);
            }
            Effect::Answer(request, result) => self.answered(host, request, &result),
            Effect::Note(text) => runtime.line(format_args!("h{host}: {text}")),
        }
    }

    fn send_datagram(&mut self, from: HostId, to: SocketAddr, bytes: &[u8]) {
        let has = |fault| self.parameters.has_fault(from, fault);
        let passes_on = |bytes: &[u8]| {
            Header::parse(bytes).is_ok_and(|h| matches!(h.kind, Kind::Relay | Kind::Flood))
        };
        if has(InjectedFault::BlackHole) && passes_on(bytes) {
            return;
        }
        let reuses_counter = has(InjectedFault::CounterReuse) && bytes.len() > HEADER_LEN;
        let relays_twice = has(InjectedFault::RelayTwice);
        self.watch_datagram(from, to, bytes);
        if reuses_counter {
            let mut other = bytes.to_vec();
            other[HEADER_LEN] ^= 1;
            self.watch_datagram(from, to, &other);
        }
        if relays_twice && self.runtime.rng().chance(500) {
            let check = self.monitor.forwarded_again(from, bytes);
            self.runtime.check(check);
        }
        self.stack
            .send_datagram((from, to), bytes, &self.hosts, &mut self.runtime);
    }

    fn watch_datagram(&mut self, from: HostId, to: SocketAddr, bytes: &[u8]) {
        let receiver = self.hosts.at(to).map(|host| self.hosts[host].peer());
        self.monitor
            .datagram_sent(from, receiver, bytes, &mut self.runtime);
    }

    /// Delivers a frame to the bridge of a network on a host.
    fn inject(&mut self, by: ProcessId, network: NetworkId, mut frame: Vec<u8>) {
        let has = |fault| self.parameters.has_fault(by.host, fault);
        if has(InjectedFault::ChangedFrame)
            && let Some(last) = frame.last_mut()
        {
            *last ^= 1;
        }
        let times = 1 + usize::from(has(InjectedFault::DoubleDelivery));
        let place = (network, self.networks.is_member(by.host, network));
        self.monitor
            .frame_injected(by, place, &frame, times, &mut self.runtime);
    }

    /// Passes the router's answer to a request to the container that waits for it.
    fn answered(&mut self, host: HostId, request: u64, result: &Result<Ipv4Addr, String>) {
        self.runtime
            .line(format_args!("h{host}: address for g{request}: {result:?}"));
        if self.workload.answered(host, request, result) {
            // Scheduled rather than called: effects of the router come first.
            let now = self.runtime.now();
            self.runtime.at(now, SimEvent::Named(host));
            let check = self.workload.check_addresses(&self.hosts);
            self.runtime.check(check);
        }
    }

    // Stations and containers

    /// Delivers frames from the bridge to a router.
    pub(super) fn speak(&mut self, from: HostId, frames: &[Vec<u8>]) {
        let fault = InjectedFault::CleartextCopy;
        if self.parameters.has_fault(from, fault)
            && let Some(frame) = frames.first()
        {
            debug_assert!(frame.windows(MARKER.len()).any(|w| w == MARKER));
            self.watch_datagram(from, LEAK.into(), frame);
        }
        self.monitor.frames_sent(from, frames, &self.runtime);
        let network = NetworkId::DEFAULT;
        self.tell_router(from, |router, now| router.frames(network, frames, now));
    }

    /// Delivers a frame from the bridge of another network to a router.
    pub(super) fn speak_in(&mut self, frame: &MemberFrame) {
        self.monitor.member_sent(frame);
        let (network, bytes) = (frame.network, std::slice::from_ref(&frame.bytes));
        self.tell_router(frame.from, |router, now| router.frames(network, bytes, now));
    }

    /// Makes the router announce the names of its containers.
    pub(super) fn tell_names(&mut self, host: HostId) {
        let named = self.workload.named(host);
        self.tell_router(host, |router, now| router.set_named(named, now));
    }

    /// Passes a container's request to its router.
    pub(super) fn request(&mut self, request: &WorkloadRequest) {
        let mut opened = false;
        self.tell_router(request.host, |router, now| {
            opened = router.request_address(request, now);
        });
        if !opened {
            self.workload.withdraw(request.host, &request.container);
        }
    }

    // Start and stop of processes

    /// Starts the router of a host.
    pub(super) fn start(&mut self, host: HostId) {
        // Two overlapping schedules may start a running router: that is a restart.
        self.kill(host);
        let at = &mut self.hosts[host];
        let [default, networks] = JournalKind::ALL.map(|journal| at.disk(journal).read());
        let journals = match (default, networks) {
            (Ok(default), Ok(networks)) => [default, networks],
            (Err(violation), _) | (_, Err(violation)) => {
                return self.runtime.check(Err(violation));
            }
        };
        let setup = self.parameters.router_setup(at, journals);
        if let Err(error) = at.start(&setup, &mut self.runtime) {
            let violation = Violation::new("S2 start", error);
            return self.runtime.check(Err(violation));
        }
        self.settle(host);
        self.mend(host);
    }

    /// Checks after a start that all confirmed addresses are on the disk, and frees unused ones.
    fn mend(&mut self, host: HostId) {
        if self.hosts.ipam(host).is_none() {
            return;
        }
        let check = self.workload.check_kept(host, &self.hosts);
        if check.is_err() {
            return self.runtime.check(check);
        }
        let containers = self.workload.containers(host).clone();
        let lives = |network: NetworkId, name: &str, addr: Ipv4Addr| {
            let holder = containers.get(name);
            holder.is_some_and(|holder| holder.addr == Some(addr) && holder.network == network)
        };
        self.tell_router(host, |router, now| {
            router.with_addresses(now, |addresses, local| addresses.mend(lives, local));
        });
        self.tell_names(host);
    }

    /// Kills the process of a host; its kernel closes the sockets.
    pub(super) fn kill(&mut self, host: HostId) {
        if self.hosts[host].end() {
            self.crash_disk(host, Crash::Kill);
            let process = self.hosts[host].last_start();
            self.stack.close_all(process, &mut self.runtime);
        }
    }

    /// Cuts the power of a host: its peers are not notified.
    pub(super) fn power_off(&mut self, host: HostId) {
        if self.hosts[host].end() {
            self.crash_disk(host, Crash::Power);
        }
        self.hosts[host].set_powered_off();
    }

    fn crash_disk(&mut self, host: HostId, how: Crash) {
        for journal in JournalKind::ALL {
            let disk = self.hosts[host].disk(journal);
            disk.crash(how, self.runtime.rng());
            if self.parameters.has_fault(host, InjectedFault::LyingDisk) {
                disk.lose_end(LOST_BYTES);
            }
        }
        self.workload.router_ended(host);
    }
}
