//! Execution of events, and of a schedule's actions, on the world.

use std::time::Duration;

use mesh_proto::ids::Mac;
use mesh_proto::time::Instant;

use super::action::Action;
use super::disk::Trap;
use super::event::SimEvent;
use super::frames::Station;
use super::host::address;
use super::hostile::Hostile;
use super::invariants::bounds;
use super::network::HostId;
use super::occupant::Occupant;
use super::tcp::SocketInput;
use super::traffic::{self, PACE};
use super::workload::WorkloadStep;
use super::world::World;

/// Resolution of the time to agreement, and interval of checking table sizes.
pub(super) const STEP: Duration = Duration::from_millis(100);
/// Downtime of a moving station.
const STOPPED: Duration = Duration::from_millis(500);
/// Number of frames sent to a station that moved, and their interval.
const SAID: u32 = 40;
const SAY_PACE: Duration = Duration::from_millis(50);

impl World {
    /// Advances the clock to `end` in steps, with checks after each; less if a promise is broken.
    pub(crate) fn step_to(&mut self, end: Instant) {
        while self.runtime.now() < end && !self.runtime.is_broken() {
            let next = (self.runtime.now() + STEP).min(end);
            self.run_until(next);
            let check = self.inspect().bounds(next);
            self.runtime.check(check);
            let check = bounds::check(HostId::MAX, &[self.stack.fill()]);
            self.runtime.check(check);
            let check = self.workload.check_addresses(&self.hosts);
            let check = check.and_then(|()| self.inspect().hidden_names());
            self.runtime.check(check);
        }
    }

    /// Handles all events due up to `end`, or until an invariant is violated.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while let Some(event) = self.runtime.next_event(end) {
            self.handle(event);
        }
    }

    fn handle(&mut self, event: SimEvent) {
        match event {
            SimEvent::Timer(host) => self.timer(host),
            SimEvent::Datagram { from, to, bytes } => self.datagram_arrives(from, to, bytes),
            SimEvent::Stream(id, side) => {
                let (stack, runtime) = (&mut self.stack, &mut self.runtime);
                if let Some((to, input)) = stack.item_arrives(id, side, &self.hosts, runtime) {
                    self.tell_socket(to, input);
                }
            }
            SimEvent::Syn { from, to, tries } => {
                let (stack, runtime) = (&mut self.stack, &mut self.runtime);
                let syn = stack.syn_arrives(from, to, tries, &self.hosts, runtime);
                if let Some(syn) = syn {
                    self.accept(syn);
                }
            }
            SimEvent::Socket(to, input) => {
                if matches!(input, SocketInput::Closed(_)) {
                    self.runtime.record(&[3, to.process.host as u64, to.conn.0]);
                }
                self.tell_socket(to, input);
            }
            SimEvent::Action(action) => self.apply(&action),
            SimEvent::Traffic => self.next_frames(),
            SimEvent::Workload => self.next_container(),
            SimEvent::Named(host) => self.tell_names(host),
            SimEvent::Synced(process, journal) => self.synced(process, journal),
        }
    }

    /// Sends frames from some station, and schedules the next ones.
    fn next_frames(&mut self) {
        self.runtime.after(PACE, SimEvent::Traffic);
        let running = self.hosts.running();
        if !self.traffic.is_talking() || running.is_empty() {
            return;
        }
        let rng = self.runtime.rng();
        let from = running[rng.below(running.len())];
        let frames = traffic::any_frames(from, &self.hosts, self.monitor.ledger(), rng);
        self.speak(from, &frames);
        let rng = self.runtime.rng();
        if rng.chance(250) {
            let ledger = self.monitor.ledger();
            let sent = traffic::any_super_frame(from, &self.hosts, ledger, rng);
            if let Some(sent) = sent {
                self.monitor.frames_sent(from, &sent.frames, &self.runtime);
                self.tell_router(from, |router, now| {
                    router.super_frame(sent.header, &sent.bytes, now);
                });
            }
        }
        let ledger = self.monitor.ledger();
        if let Some(frame) = self.networks.any_frame(&running, ledger) {
            self.speak_in(&frame);
        }
        let (ledger, rng) = (self.monitor.ledger(), self.runtime.rng());
        if let Some((from, bytes)) = self.traffic.steady_frame(&self.hosts, ledger, rng) {
            self.speak(from, &[bytes]);
        }
    }

    /// Starts or stops a container of the workload, and schedules the next step.
    fn next_container(&mut self) {
        match self.workload.next(&self.hosts, &mut self.runtime) {
            None => {}
            Some(WorkloadStep::Start(request)) => self.request(&request),
            Some(WorkloadStep::Stop { host, container }) => {
                self.tell_router(host, |router, now| {
                    router.with_addresses(now, |a, local| a.release(&container, local));
                });
                self.tell_names(host);
            }
        }
    }

    // Actions

    pub(crate) fn apply(&mut self, action: &Action) {
        self.runtime.line(format_args!("{action:?}"));
        let now = self.runtime.now();
        let underlay = self.stack.underlay_mut();
        match *action {
            Action::Start(host) => self.start(host),
            Action::Kill(host) => self.kill(host),
            Action::PowerOff(host) => self.power_off(host),
            Action::LoseState(host) => self.lose_state(host),
            Action::RestoreBackup(host) => self.hosts[host].state.epoch = 0,
            Action::Cut(from, to) => underlay.cut(from, to),
            Action::Heal(from, to) => underlay.heal(from, to),
            Action::CutUdp(from, to) => underlay.cut_udp(from, to),
            Action::Narrow(a, b, mtu) => underlay.narrow(a, b, mtu),
            Action::HealAll => underlay.heal_all(),
            Action::Conditions(conditions) => underlay.set_conditions(conditions),
            Action::MoveHost(host) => self.move_host(host),
            Action::MoveContainer { from, to } => self.move_station(from, to),
            Action::Arrive { at, ref station } => self.arrive(at, station),
            Action::SayTo(mac) => self.say_to(mac),
            Action::Clone { of, to } => self.clone_host(of, to),
            Action::CloneNoticed { of, copy } => {
                let check = self.inspect().clone_noticed(of, copy, now);
                self.runtime.check(check);
            }
            Action::Steady => self.traffic.begin_steady(),
            Action::Renewed => {
                let check = self.inspect().keys_renewed(now);
                self.runtime.check(check);
            }
            Action::Garbage(host) => {
                let (to, runtime) = (self.hosts[host].address(), &mut self.runtime);
                self.stack.send_garbage(to, &self.hosts, runtime);
            }
            Action::GarbageStream(host) => self.garbage_stream(host),
            Action::DamageStream(host) => {
                let process = self.hosts[host].last_start();
                self.stack.damage_stream(process, &mut self.runtime);
            }
            Action::MacFlood(host) => self.mac_flood(host),
            Action::Hostile(host) => self.hostile(host),
            Action::Revive(host) if self.hosts[host].is_running() => {}
            Action::Revive(host) => self.start(host),
            Action::CrashAtWrite { host, after, crash } => {
                self.hosts[host].set_trap(Some(Trap { after, crash }));
            }
            Action::DisarmDisks => self.hosts.iter_mut().for_each(|h| h.set_trap(None)),
            Action::Remove { at, host, force } => self.remove(at, host, force),
            Action::Found => self.bootstrap(),
            Action::Workload(busy) => self.workload.set_busy(busy),
            Action::Overlap => self.workload.allow_overlaps(),
            Action::Reported => {
                let check = self.workload.check_reported(&self.hosts);
                self.runtime.check(check);
            }
        }
    }

    /// Reinstalls the machine: identity, journal and containers with allocated addresses are gone.
    fn lose_state(&mut self, host: HostId) {
        let dead = self.hosts.reinstall(host, self.runtime.rng());
        self.workload.machine_lost(host, dead);
    }

    fn clone_host(&mut self, of: HostId, to: HostId) {
        self.hosts.clone_host(of, to);
        self.copied = Some(of);
        // Both allocate the same addresses until one notices.
        self.workload.excuse([of, to]);
    }

    fn move_host(&mut self, host: HostId) {
        let to = address(host, 1);
        self.hosts[host].set_address(to);
        self.tell_router(host, |router, now| router.set_address(to, now));
    }

    fn move_station(&mut self, from: HostId, to: HostId) {
        let Some(station) = self.hosts[from].stations.pop() else {
            return;
        };
        let attached = self.hosts[from].attached();
        self.tell_router(from, |router, now| router.set_attached(attached, now));
        let arrive = SimEvent::Action(Action::Arrive { at: to, station });
        self.runtime.after(STOPPED, arrive);
    }

    fn arrive(&mut self, at: HostId, station: &Station) {
        self.hosts[at].stations.push(station.clone());
        let attached = self.hosts[at].attached();
        self.tell_router(at, |router, now| router.set_attached(attached, now));
        let (frame, bytes) = traffic::announcement(at, station, self.monitor.ledger());
        self.monitor
            .mac_moved(station.mac, at, frame, &self.runtime);
        self.speak(at, &[bytes]);
        for n in 1..=SAID {
            let event = SimEvent::Action(Action::SayTo(station.mac));
            self.runtime.after(SAY_PACE * n, event);
        }
    }

    fn say_to(&mut self, mac: Mac) {
        let (ledger, rng) = (self.monitor.ledger(), self.runtime.rng());
        if let Some((from, bytes)) = traffic::frame_to(mac, &self.hosts, ledger, rng) {
            self.speak(from, &[bytes]);
        }
    }

    fn garbage_stream(&mut self, host: HostId) {
        let from = address(host, 200);
        let now = self.runtime.now();
        for _ in 0..5 {
            let bytes = self.runtime.rng().bytes(1, 6_000);
            let Some(process) = self.hosts[host].process() else {
                return;
            };
            let Some(conn) = process.accepted(from, now) else {
                continue;
            };
            process.bytes(conn, &bytes, now);
            process.closed(conn, "connection closed", now);
            self.settle(host);
        }
    }

    fn mac_flood(&mut self, host: HostId) {
        let frames = traffic::mac_flood(host, self.monitor.ledger(), self.runtime.rng());
        for batch in frames.chunks(64) {
            self.speak(host, batch);
        }
    }

    fn hostile(&mut self, host: HostId) {
        let state = &self.hosts[host].state;
        let (identity, secret) = (state.identity.clone(), self.parameters.secret());
        let rng = self.runtime.rng().fork();
        let hostile = Hostile::new(identity, secret, &state.targets, rng);
        self.hosts[host].replace(Occupant::Hostile(Box::new(hostile)));
        self.settle(host);
    }

    /// In each component without an owner of the range, makes one container request an address.
    fn bootstrap(&mut self) {
        for component in self.inspect().components() {
            let rng = self.runtime.rng();
            let request = self.workload.bootstrap(component, &self.hosts, rng);
            if let Some(request) = request {
                self.request(&request);
            }
        }
    }

    /// Runs `mesh rmpeer` as an operator.
    fn remove(&mut self, at: HostId, host: HostId, force: bool) {
        let mut dead = self.workload.remove_dead();
        if force {
            dead.push(self.hosts[host].peer());
        }
        let mut said = Vec::new();
        self.tell_router(at, |router, now| {
            for peer in dead {
                // Always forced, since the simulator does not wait ten minutes. The majority rule would keep the parts
                // of a partition from removing each other; here the operators know better.
                let done = router.with_addresses(now, |addresses, local| {
                    Some(addresses.ipam().remove(peer, true, local))
                });
                said.push(format!("{peer}: {done:?}"));
            }
        });
        for line in said {
            self.runtime.line(format_args!("h{at} removes {line}"));
        }
    }
}
