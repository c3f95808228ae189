//! One seed from start to end: choose, start, disrupt, wait, check.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use mesh_ipam::Slicing;
use mesh_proto::limits::{SESSION_SILENCE, SESSION_UPKEEP, SETTLE};
use mesh_proto::time::Instant;

use super::action::Action;
use super::apply::STEP;
use super::choice::{Choice, RunOptions};
use super::event::SimEvent;
use super::fault::{InjectedFault, VICTIM};
use super::host::SimHost;
use super::invariants::delivery::Expectation;
use super::invariants::{Check, Violation};
use super::layout::Joined;
use super::network::HostId;
use super::networks::MemberFrame;
use super::plan::WorldPlan;
use super::report::RunReport;
use super::rng::Rng;
use super::trace::LineSink;
use super::traffic;
use super::verifier::VerifierCache;
use super::world::World;

/// Virtual time after the last disruption within which every component must agree: the slowest redial of an explicit
/// target (8.25 s), a handshake, and the detection of dead links after 3.5 s.
const QUIET: Duration = Duration::from_secs(15);
/// Time for test frames to arrive, including handshakes of new sessions.
const GRACE: Duration = Duration::from_secs(4);
/// Most ordered pairs that are tested in a large mesh.
const MAX_PAIRS: usize = 150;

/// Runs one seed. A panic of the code under test is a violation, too.
pub fn run(seed: u64, options: RunOptions, sink: Option<LineSink>) -> RunReport {
    let choice = Choice::of(seed, options);
    let mut report = RunReport::new(seed, &choice);
    let played = catch_unwind(AssertUnwindSafe(|| {
        let (mut run, last_fault) = SimRun::new(&choice, seed, options, sink);
        let agreed_after = run.play(last_fault);
        (run.world, agreed_after)
    }));
    match played {
        Ok((world, agreed_after)) => {
            let trace = world.runtime.trace();
            report.trace = trace.hash();
            report.events = trace.events();
            report.frames = world.monitor.frames();
            report.deliveries = world.monitor.deliveries();
            report.hops_compared = world.monitor.hops_compared();
            report.agreed_after = agreed_after;
            report.broken = world.runtime.broken().cloned();
        }
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            let detail = format!("panic: {}", text.unwrap_or("without a message"));
            report.broken = Some(Violation::new("I12 no panic", detail));
        }
    }
    report
}

/// Returns an address range: mostly with plenty of space, sometimes scarce.
pub(crate) fn slicing(rng: &mut Rng) -> Slicing {
    let bits = [20, 24, 24, 26][rng.below(4)];
    let range = Ipv4Net::new_assert(Ipv4Addr::new(10, 32, 0, 0), bits);
    match Slicing::new(range) {
        Ok(slicing) => slicing,
        Err(_) => unreachable!("{range} can be cut"),
    }
}

/// Returns the parameters of a world with one host more than routers, for a hostile member.
fn plan(choice: &Choice, options: RunOptions, rng: &mut Rng) -> WorldPlan {
    let n = choice.routers;
    let pairs = choice.layout.targets(n, rng);
    let mut targets = vec![Vec::new(); n + 1];
    for (from, to) in &pairs {
        targets[*from].push(*to);
    }
    targets[n].push(rng.below(n));
    WorldPlan {
        hosts: n + 1,
        targets,
        joined: Joined {
            pairs,
            discovery: choice.layout.discovers(),
        },
        names: choice.scenario.needs_names() || rng.chance(300),
        open: rng.chance(250),
        clocks: choice.scenario.clocks(),
        fault: options.fault,
        slicing: slicing(rng),
        networks: choice.networks,
    }
}

/// Phases of a run: disruptions, agreement, checks when quiet.
struct SimRun {
    world: World,
}

impl SimRun {
    /// Returns a run before its first event, and the time of its last disruption.
    fn new(
        choice: &Choice,
        seed: u64,
        options: RunOptions,
        sink: Option<LineSink>,
    ) -> (Self, Instant) {
        let mut rng = choice.rng.clone();
        let (n, layout, scenario) = (choice.routers, choice.layout, choice.scenario);
        let plan = plan(choice, options, &mut rng);
        let schedule = scenario.schedule(n, layout, &mut rng);
        let mut world = World::new(&plan, rng, Arc::new(VerifierCache::default()), sink);
        let runtime = &mut world.runtime;
        runtime.line(format_args!("seed {seed}: {scenario:?}, {layout:?} of {n}"));
        for (at, action) in schedule.actions {
            runtime.after(at, SimEvent::Action(action));
        }
        runtime.after(Duration::ZERO, SimEvent::Traffic);
        runtime.after(Duration::ZERO, SimEvent::Workload);
        (Self { world }, Instant::ZERO + schedule.last_fault)
    }

    /// Plays all phases. Returns the time from the last disruption to agreement.
    fn play(&mut self, last_fault: Instant) -> Option<Duration> {
        self.world.step_to(last_fault);
        self.world.workload.set_busy(false);
        if self.world.parameters.fault() == Some(InjectedFault::StaleSnapshot) {
            self.go_deaf();
        }
        let agreed = self.wait_for_agreement(last_fault)?;
        self.step(SETTLE + STEP);
        self.check_state();
        self.world.traffic.stop();
        self.outlive_copies();
        self.world.monitor.count_hops();
        self.test_delivery();
        let is_linked = self.world.hosts.iter().all(SimHost::is_linked);
        if !self.is_broken() && !is_linked {
            let detail = "a hostile member lost its link for what it said".to_owned();
            self.check(Err(Violation::new("S3 control never cuts", detail)));
        }
        Some(agreed)
    }

    fn step(&mut self, time: Duration) {
        self.world.step_to(self.world.runtime.now() + time);
    }

    fn is_broken(&self) -> bool {
        self.world.runtime.is_broken()
    }

    fn check(&mut self, check: Check) {
        self.world.runtime.check(check);
    }

    /// Makes the faulty router ignore snapshots while all others restart: its routes and keys become stale.
    fn go_deaf(&mut self) {
        let World { hosts, runtime, .. } = &mut self.world;
        if let Some(router) = hosts[VICTIM].router_mut() {
            router.ignore_snapshots();
        }
        for host in hosts.running().into_iter().filter(|h| *h != VICTIM) {
            let kill = SimEvent::Action(Action::Kill(host));
            runtime.after(Duration::ZERO, kill);
            let start = SimEvent::Action(Action::Start(host));
            runtime.after(STEP, start);
        }
        self.step(STEP);
    }

    /// Waits until every component agrees; the last failed check is a violation if that takes too long.
    fn wait_for_agreement(&mut self, since: Instant) -> Option<Duration> {
        let mut agreed: Option<Instant> = None;
        while self.world.runtime.now() < since + QUIET && !self.is_broken() {
            self.step(STEP);
            match self.world.inspect().agreement() {
                Ok(()) => agreed = agreed.or(Some(self.world.runtime.now())),
                Err(_) => agreed = None,
            }
        }
        if agreed.is_none() && !self.is_broken() {
            let check = self.world.inspect().agreement();
            self.check(check);
        }
        agreed
            .filter(|_| !self.is_broken())
            .map(|at| at.since(since))
    }

    /// Checks what routers know when quiet: path MTUs, addresses, names.
    fn check_state(&mut self) {
        let World {
            hosts, workload, ..
        } = &self.world;
        let inspector = self.world.inspect();
        let components = inspector.components();
        let checks = [
            inspector.path_mtus(),
            inspector.held_addresses(),
            workload.check_addresses_when_quiet(&components, hosts),
            workload.check_names_when_quiet(&components, hosts),
        ];
        checks.into_iter().for_each(|check| self.check(check));
    }

    /// Ends sessions with a clone, which outlive it unnoticed until frames get no reply: sends frames between all
    /// routers and the remaining one, and waits for new sessions.
    fn outlive_copies(&mut self) {
        let Some(of) = self.world.copied else { return };
        for other in self.world.hosts.running() {
            for (from, to) in [(other, of), (of, other)] {
                self.send_frame(from, to, 100);
            }
        }
        self.step(SESSION_SILENCE + SESSION_UPKEEP * 2);
    }

    /// Sends a frame between two hosts. Returns its number.
    fn send_frame(&mut self, from: HostId, to: HostId, size: usize) -> Option<u64> {
        let ledger = self.world.monitor.ledger();
        let (frame, bytes) = traffic::frame_between(from, to, size, &self.world.hosts, ledger)?;
        self.world.speak(from, &[bytes]);
        Some(frame)
    }

    // Test of delivery

    /// Sends a frame from every router to every other, and a broadcast from each.
    fn test_delivery(&mut self) {
        let components = self.world.inspect().components();
        let everyone: BTreeSet<HostId> = components.iter().flatten().copied().collect();
        let mut expected = self.world.traffic.take_promised();
        for component in &components {
            self.test_broadcasts(component, &mut expected);
        }
        for component in &components {
            let ledger = self.world.monitor.ledger();
            let frames = self.world.networks.announcements(component, ledger);
            self.test_members(frames, &mut expected);
        }
        self.step(GRACE);
        for component in &components {
            self.test_unicast(component, &mut expected);
        }
        for component in &components {
            let ledger = self.world.monitor.ledger();
            let frames = self.world.networks.conversations(component, ledger);
            self.test_members(frames, &mut expected);
        }
        self.step(GRACE);
        let check = self.world.monitor.check_delivery(&expected, &everyone);
        self.check(check);
        // With discovery, routers choose links by themselves, so the number of hops varies.
        if !self.world.parameters.joined.discovery {
            let widest = self.world.inspect().widest(&components);
            let check = self.world.monitor.check_hops(widest);
            self.check(check);
        }
    }

    /// Sends an announcement of every station.
    fn test_broadcasts(&mut self, component: &BTreeSet<HostId>, expected: &mut Vec<Expectation>) {
        for from in component {
            for station in self.world.hosts[*from].stations.clone() {
                let ledger = self.world.monitor.ledger();
                let (frame, bytes) = traffic::announcement(*from, &station, ledger);
                self.world.speak(*from, &[bytes]);
                let receivers = component.iter().copied();
                expected.push(Expectation::new(frame, *from, receivers));
            }
        }
    }

    /// Sends frames of members of networks.
    fn test_members(&mut self, frames: Vec<MemberFrame>, expected: &mut Vec<Expectation>) {
        for frame in frames {
            let receivers = frame.to.iter().copied();
            expected.push(Expectation::new(frame.frame, frame.from, receivers));
            self.world.speak_in(&frame);
            let runtime = &mut self.world.runtime;
            let pause = runtime.now() + runtime.rng().millis(0, 10);
            self.world.run_until(pause);
        }
    }

    fn test_unicast(&mut self, component: &BTreeSet<HostId>, expected: &mut Vec<Expectation>) {
        let mut pairs: Vec<(HostId, HostId)> = component
            .iter()
            .flat_map(|a| component.iter().map(|b| (*a, *b)))
            .filter(|(a, b)| a != b)
            .collect();
        self.world.runtime.rng().shuffle(&mut pairs);
        pairs.truncate(MAX_PAIRS);
        for (from, to) in pairs {
            let Some(frame) = self.send_frame(from, to, 200) else {
                continue;
            };
            expected.push(Expectation::new(frame, from, [to]));
            let runtime = &mut self.world.runtime;
            let pause = runtime.now() + runtime.rng().millis(0, 20);
            self.world.run_until(pause);
        }
    }
}
