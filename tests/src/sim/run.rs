//! One seed from start to end: choose, start, disrupt, wait, check.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use mesh_proto::ids::Mac;
use mesh_proto::ipam::Slicing;
use mesh_proto::limits::SETTLE;
use mesh_proto::time::Instant;

use super::action::Action;
use super::choice::Choice;
use super::rng::Rng;
use super::host::{SimHost, WorldPlan};
use super::invariants::agreement::{self, Belief};
use super::invariants::delivery::{self, Expectation};
use super::invariants::{Check, Violation};
use super::layout::{Joined, Layout, components, diameter};
use super::network::HostId;
use super::fault::{InjectedFault, VICTIM};
use super::scenario::Scenario;
use super::trace::LineSink;
use super::verifier::VerifierCache;
use super::world::{SimEvent, World};

/// Virtual time after the last disruption within which every component must agree: the slowest redial of an explicit
/// target (8.25 s), a handshake, and the detection of dead links after 3.5 s.
const QUIET: Duration = Duration::from_secs(15);
/// Resolution of the time to agreement, and interval of checking table sizes.
const STEP: Duration = Duration::from_millis(100);
/// Time for test frames to arrive, including handshakes of new sessions.
const GRACE: Duration = Duration::from_secs(4);
/// Most ordered pairs that are tested in a large mesh.
const MAX_PAIRS: usize = 150;

const PATH_MTU: &str = "S4 path MTU";
const HELD: &str = "S5 held addresses";

/// RunOptions of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Injects this fault.
    pub fault: Option<InjectedFault>,
    /// Leaves large meshes out, as with an injected fault.
    pub small: bool,
    /// Runs this scenario rather than the seed's own.
    pub scenario: Option<Scenario>,
}

/// Result of a run.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Its seed.
    pub seed: u64,
    /// Scenario of the run.
    pub scenario: Scenario,
    /// Layout of the mesh.
    pub layout: Layout,
    /// Number of routers.
    pub routers: usize,
    /// Hash of all events.
    pub trace: u64,
    /// Number of events.
    pub events: u64,
    /// Number of frames sent by containers.
    pub frames: usize,
    /// Number of their deliveries.
    pub deliveries: usize,
    /// Number of relay hops with the same view of the mesh as the previous hop.
    pub hops_compared: u64,
    /// Virtual time from the last fault to agreement.
    pub agreed_after: Option<Duration>,
    /// Violated invariant, if any.
    pub broken: Option<Violation>,
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunReport {
            seed,
            scenario,
            layout,
            routers,
            events,
            ..
        } = self;
        write!(
            f,
            "seed {seed}: {scenario:?}, {layout:?} of {routers}, {events} events"
        )?;
        match (&self.broken, self.agreed_after) {
            (Some(broken), _) => write!(
                f,
                "\n  BROKEN {broken}\n  replay: cargo run -p mesh-tests --bin mesh-sim -- --seed {seed} --verbose"
            ),
            (None, Some(after)) => write!(f, ", agreed after {:.1} s", after.as_secs_f64()),
            (None, None) => Ok(()),
        }
    }
}

impl RunReport {
    fn new(seed: u64, choice: &Choice) -> Self {
        Self {
            seed,
            scenario: choice.scenario,
            layout: choice.layout,
            routers: choice.routers,
            trace: 0,
            events: 0,
            frames: 0,
            deliveries: 0,
            hops_compared: 0,
            agreed_after: None,
            broken: None,
        }
    }
}

/// Runs one seed. A panic of the code under test is a violation, too.
pub fn run(seed: u64, options: RunOptions, sink: Option<LineSink>) -> RunReport {
    let choice = Choice::of(seed, options);
    let mut report = RunReport::new(seed, &choice);
    let played = catch_unwind(AssertUnwindSafe(|| play(&choice, seed, options, sink)));
    match played {
        Ok(done) => {
            report.trace = done.world.trace.hash();
            report.events = done.world.trace.events();
            report.frames = done.world.ledger.len();
            report.deliveries = done.world.deliveries.len();
            report.hops_compared = done.world.ways.compared();
            report.agreed_after = done.agreed_after;
            report.broken = done.world.broken;
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

struct Finished {
    world: World,
    agreed_after: Option<Duration>,
}

fn play(choice: &Choice, seed: u64, options: RunOptions, sink: Option<LineSink>) -> Finished {
    let mut rng = choice.rng.clone();
    let n = choice.routers;
    let pairs = choice.layout.targets(n, &mut rng);
    let mut targets = vec![Vec::new(); n + 1];
    for (from, to) in &pairs {
        targets[*from].push(*to);
    }
    targets[n].push(rng.below(n));
    let plan = WorldPlan {
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
        slicing: slicing(&mut rng),
    };
    let schedule = choice.scenario.schedule(n, choice.layout, &mut rng);
    let mut world = World::new(&plan, rng, Arc::new(VerifierCache::default()), sink);
    world.trace.line(
        Instant::ZERO,
        format_args!(
            "seed {seed}: {:?}, {:?} of {n}",
            choice.scenario, choice.layout
        ),
    );
    for (at, action) in schedule.actions {
        world.queue.push(Instant::ZERO + at, SimEvent::Action(action));
    }
    world.queue.push(Instant::ZERO, SimEvent::Traffic);
    world.queue.push(Instant::ZERO, SimEvent::Workload);
    let last_fault = Instant::ZERO + schedule.last_fault;
    let agreed_after = world.play(last_fault);
    Finished {
        world,
        agreed_after,
    }
}

impl World {
    fn play(&mut self, last_fault: Instant) -> Option<Duration> {
        self.step_to(last_fault);
        self.workload.set_busy(false);
        if self.fault == Some(InjectedFault::StaleSnapshot) {
            self.go_deaf();
        }
        let agreed = self.wait_for_agreement(last_fault)?;
        let settled = self.now + SETTLE + STEP;
        self.step_to(settled);
        let check = self.path_mtus();
        self.check(check);
        let check = self.held_addresses();
        self.check(check);
        let check = self.addresses_in_peace();
        self.check(check);
        let check = self.names_in_peace();
        self.check(check);
        self.talking = false;
        self.outlive_copies();
        self.hops.counting = true;
        self.test_delivery();
        if self.broken.is_none() && !self.hosts.iter().all(SimHost::still_linked) {
            let detail = "a hostile member lost its link for what it said".to_owned();
            self.check(Err(Violation::new("S3 control never cuts", detail)));
        }
        Some(agreed)
    }

    /// Makes the faulty router ignore snapshots while all others restart: its routes and keys become stale.
    fn go_deaf(&mut self) {
        if let Some(router) = self.router(VICTIM) {
            router.deaf_to_snapshots = true;
        }
        for host in self.running().into_iter().filter(|h| *h != VICTIM) {
            let kill = SimEvent::Action(Action::Kill(host));
            self.queue.push(self.now, kill);
            let start = SimEvent::Action(Action::Start(host));
            self.queue.push(self.now + STEP, start);
        }
        self.step_to(self.now + STEP);
    }

    pub(crate) fn step_to(&mut self, end: Instant) {
        while self.now < end && self.broken.is_none() {
            self.run_until((self.now + STEP).min(end));
            self.check_bounds();
            let check = self.check_addresses().and_then(|()| self.check_names());
            self.check(check);
        }
    }

    /// Waits until every component agrees; the last failed check is a violation if that takes too long.
    fn wait_for_agreement(&mut self, since: Instant) -> Option<Duration> {
        let mut agreed: Option<Instant> = None;
        while self.now < since + QUIET && self.broken.is_none() {
            let next = self.now + STEP;
            self.step_to(next);
            match self.agreement() {
                Ok(()) => agreed = agreed.or(Some(self.now)),
                Err(_) => agreed = None,
            }
        }
        if agreed.is_none() && self.broken.is_none() {
            let check = self.agreement();
            self.check(check);
        }
        agreed
            .filter(|_| self.broken.is_none())
            .map(|at| at.since(since))
    }

    pub(crate) fn components(&mut self) -> Vec<BTreeSet<HostId>> {
        let running = self.running();
        self.components_of(&running)
    }

    /// Returns the components of these routers without any others.
    pub(crate) fn components_of(&self, hosts: &[HostId]) -> Vec<BTreeSet<HostId>> {
        components(hosts, |a, b| self.holds(a, b))
    }

    /// True if two routers can have a link and direct data, by configuration and underlay.
    fn holds(&self, a: HostId, b: HostId) -> bool {
        self.joined.may(a, b) && self.network.joins(a, b)
    }

    fn agreement(&mut self) -> Check {
        for component in self.components() {
            let beliefs: Vec<Belief> = component.iter().filter_map(|h| self.belief(*h)).collect();
            agreement::check(&component, &beliefs)?;
        }
        Ok(())
    }

    /// Checks that no router assumes a larger path MTU than the underlay has.
    fn path_mtus(&mut self) -> Check {
        let running = self.running();
        for from in &running {
            for to in running.iter().filter(|to| *to != from) {
                let peer = self.hosts[*to].state.identity.id();
                let longest = self.network.longest(*from, *to);
                let taken = self.router(*from).and_then(|r| r.datagram_to(&peer));
                if let Some(taken) = taken.filter(|taken| *taken > longest) {
                    let detail = format!("{from} sends {taken} bytes to {to}, {longest} pass");
                    return Err(Violation::new(PATH_MTU, detail));
                }
            }
        }
        Ok(())
    }

    /// Checks that every router knows exactly the addresses of the others' containers.
    fn held_addresses(&mut self) -> Check {
        for component in self.components() {
            for me in &component {
                let others = component.iter().filter(|h| *h != me);
                let there = others.flat_map(|h| &self.hosts[*h].containers);
                let truth: BTreeSet<IpAddr> = there.map(|c| c.ip.into()).collect();
                let held = self.router(*me).map(|r| r.held()).unwrap_or_default();
                if held != truth {
                    let wrong: Vec<_> = held.symmetric_difference(&truth).collect();
                    let detail = format!("router {me} is wrong about {wrong:?}");
                    return Err(Violation::new(HELD, detail));
                }
            }
        }
        Ok(())
    }

    fn belief(&mut self, host: HostId) -> Option<Belief> {
        let frozen = self.plant(host, InjectedFault::FrozenDigest);
        let router = self.router(host)?;
        let mut digest = router.digest();
        if frozen {
            digest = [0; 16];
        }
        let reachable = router.reachable();
        let reachable = reachable.iter().map(|p| self.who.get(p).copied());
        // An unknown peer gets a number that is in no component.
        let reachable = reachable.map(|h| h.unwrap_or(HostId::MAX)).collect();
        Some(Belief {
            router: host,
            digest,
            reachable,
        })
    }

    /// Sends a frame from every router to every other, and a broadcast from each.
    fn test_delivery(&mut self) {
        let components = self.components();
        let everyone: BTreeSet<HostId> = components.iter().flatten().copied().collect();
        let mut expected = std::mem::take(&mut self.promised);
        for component in &components {
            self.test_broadcasts(component, &mut expected);
        }
        self.step_to(self.now + GRACE);
        for component in &components {
            self.test_unicast(component, &mut expected);
        }
        self.step_to(self.now + GRACE);
        let check = delivery::check(&expected, &self.deliveries, &everyone);
        self.check(check);
        // With discovery, routers choose links by themselves, so the number of hops varies.
        if !self.joined.discovery {
            let widest = components.iter().map(|c| self.widest(c)).max();
            let check = delivery::check_hops(self.hops.taken(), widest.unwrap_or(0));
            self.check(check);
        }
    }

    /// Sends an announcement of every container.
    fn test_broadcasts(&mut self, component: &BTreeSet<HostId>, expected: &mut Vec<Expectation>) {
        for from in component {
            for container in self.hosts[*from].containers.clone() {
                let (frame, bytes) = self.announcement(*from, &container);
                self.speak(*from, &[bytes]);
                expected.push(expectation(frame, *from, component.iter().copied()));
            }
        }
    }

    fn test_unicast(&mut self, component: &BTreeSet<HostId>, expected: &mut Vec<Expectation>) {
        let mut pairs: Vec<(HostId, HostId)> = component
            .iter()
            .flat_map(|a| component.iter().map(|b| (*a, *b)))
            .filter(|(a, b)| a != b)
            .collect();
        self.rng.shuffle(&mut pairs);
        pairs.truncate(MAX_PAIRS);
        for (from, to) in pairs {
            let mac = |h: HostId| self.hosts[h].containers.first().map(|c| c.mac);
            let (Some(source), Some(target)) = (mac(from), mac(to)) else {
                continue;
            };
            let (frame, bytes) = self.test_frame(from, source, target);
            self.speak(from, &[bytes]);
            expected.push(expectation(frame, from, [to].into_iter()));
            let pause = self.now + self.rng.millis(0, 20);
            self.run_until(pause);
        }
    }

    fn test_frame(&mut self, from: HostId, source: Mac, to: Mac) -> (u64, Vec<u8>) {
        self.ledger.frame(from, source, to, 200)
    }

    /// Returns the largest permitted number of hops, if discovery is off.
    fn widest(&self, component: &BTreeSet<HostId>) -> usize {
        diameter(component, |a, b| self.holds(a, b))
    }
}

/// Returns the expectation that exactly the hosts in `to` get the frame.
pub(crate) fn expectation(
    frame: u64,
    from: HostId,
    to: impl Iterator<Item = HostId>,
) -> Expectation {
    Expectation {
        frame,
        from,
        to: to.filter(|h| *h != from).collect(),
        only: true,
    }
}
