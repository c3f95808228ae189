//! Measures of the table, taken one after another on one mesh.

use std::time::Duration;

use mesh_proto::ids::Mac;

use super::bytes::Bytes;
use super::faults;
use super::figures::{
    CHANGE, COPIES, DUPLICATES, Figure, IDLE, KNOWN, LINKS, MISSES, NAME, figure,
};
use super::memory::resident;
use super::observe::percentile;
use super::plan::{MANY, MeshPlan, attached};
use super::world::LargeMesh;
use crate::sim::network::HostId;
use crate::sim::router::SimRouter;

/// Time span in which all routers start.
pub(crate) const TOGETHER: Duration = Duration::from_millis(500);
/// Time limit for a mesh to settle after any disruption.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Time for links, sessions and paths to be complete after records agree.
pub(crate) const REST: Duration = Duration::from_secs(20);
/// Time for links to be made in a mesh that starts settled.
const LINKED: Duration = Duration::from_secs(6);
const IDLE_FOR: Duration = Duration::from_secs(30);
/// Links that are torn down, time for which each is watched, and pause before the next.
const CHANGES: usize = 10;
const WATCHED: Duration = Duration::from_millis(900);
const APART: Duration = Duration::from_secs(8);
const TICK: Duration = Duration::from_millis(10);
const BROADCASTS: usize = 20;
/// Names that are announced one after another, and time for which each is watched.
const NAMED: usize = 10;
const NAMES_WATCHED: Duration = Duration::from_secs(5);

/// Measures of a very large mesh that must be requested: many or all routers announce all records again, which takes
/// hours and more memory than most machines have.
const HEAVY: [&str; 3] = ["restart of all", "crash of 10 %", "partition"];

/// Name of a measure, and its function.
type MeasureStep = (&'static str, fn(&mut Measured));

/// Results, and the bytes sent for each by kind.
pub(crate) struct Measured {
    pub(crate) figures: Vec<Figure>,
    /// Bytes of all routers by kind, with their purpose, and the number of routers, seconds or changes to divide by.
    pub(crate) kinds: Vec<(&'static str, Bytes, f64)>,
    pub(crate) world: LargeMesh,
    idle: Option<f64>,
}

/// Measures a mesh of `plan.hosts` routers; only the measures whose names start with one of `only`, unless that is
/// empty. `say` receives the progress.
pub(crate) fn table(plan: MeshPlan, only: &[String], say: &mut dyn FnMut(&str)) -> Measured {
    let before = resident();
    let mut measured = Measured {
        figures: Vec::new(),
        kinds: Vec::new(),
        world: LargeMesh::new(plan),
        idle: None,
    };
    measured.begin(plan, say);
    measured.world.run(REST);
    let steps: [MeasureStep; 8] = [
        ("idle", idle),
        ("names", names),
        ("broadcasts", broadcasts),
        ("link changes", changes),
        ("dead neighbours", faults::deaths),
        ("restart of all", faults::restart),
        ("crash of 10 %", faults::crash),
        ("partition", faults::partition),
    ];
    let is_wanted = |name: &str| match only {
        [] => plan.hosts <= MANY || !HEAVY.contains(&name),
        _ => only.iter().any(|o| name.starts_with(o)),
    };
    if only.is_empty() && plan.hosts > MANY {
        let left_out = HEAVY.join(", ");
        say(&format!(
            "of more than {MANY} routers only when asked for: {left_out}"
        ));
    }
    let wanted = steps.into_iter().filter(|(name, _)| is_wanted(name));
    for (number, (name, step)) in wanted.enumerate() {
        if number > 0 {
            measured.put_right();
        }
        let known = measured.figures.len();
        step(&mut measured);
        if name == "idle" {
            measured.memory(before, plan.at_rest);
        }
        let now = measured.world.now.as_nanos() / 1_000_000_000;
        say(&format!("{name}: measured, virtual time {now} s"));
        // Printed at once, so that an interrupted run has shown its results.
        for figure in measured.figures.iter().skip(known) {
            say(&format!("  {figure}"));
        }
        if measured.world.broken.is_some() {
            break;
        }
    }
    measured
}

impl Measured {
    /// Starts all routers, and waits until they agree.
    fn begin(&mut self, plan: MeshPlan, say: &mut dyn FnMut(&str)) {
        let everybody: Vec<HostId> = (0..plan.hosts).collect();
        self.world.start_all(&everybody, TOGETHER);
        if plan.at_rest {
            self.world.run(TOGETHER + LINKED);
        }
        let begun = self.world.until_agreed(&everybody, PATIENCE);
        let sent = self.world.sent().total() as f64 / count(plan.hosts) / 1e6;
        let how = if plan.at_rest {
            "started as if it had run before"
        } else {
            "started"
        };
        let begun = seconds(begun);
        say(&format!(
            "{how}; agreed after {begun}, {sent:.2} MB sent per router"
        ));
    }

    /// Starts the routers that lost power, and lets the mesh settle.
    pub(super) fn put_right(&mut self) {
        let running = self.world.running();
        let stopped = (0..self.world.len()).filter(|h| running.binary_search(h).is_err());
        let stopped: Vec<HostId> = stopped.collect();
        if !stopped.is_empty() {
            self.world.start_all(&stopped, TOGETHER);
            self.world.run(REST);
        }
        self.world.run(REST);
    }

    /// Returns the number of repetitions, lower than `usual` in a very large mesh, where many routers observe each.
    pub(super) fn rounds(&self, usual: usize) -> usize {
        if self.world.len() > MANY {
            usual.div_ceil(4)
        } else {
            usual
        }
    }

    /// Returns the bytes that each router sends per second while nothing changes; measured at the first call.
    fn idle_rate(&mut self) -> f64 {
        if let Some(rate) = self.idle {
            return rate;
        }
        let before = self.world.sent();
        self.world.run(IDLE_FOR);
        let sent = self.world.sent().since(&before);
        let by = count(self.world.len()) * IDLE_FOR.as_secs_f64();
        let rate = sent.total() as f64 / by;
        self.kinds
            .push(("idle, bytes per router and second", sent, by));
        self.idle = Some(rate);
        rate
    }

    pub(super) fn add(&mut self, goal: &super::figures::Goal, value: Option<f64>, detail: String) {
        let n = self.world.len();
        self.figures.push(figure(goal, n, value, detail));
    }
}

fn idle(m: &mut Measured) {
    let n = count(m.world.len());
    let rate = m.idle_rate();
    m.add(&IDLE, Some(rate / 1e3), String::new());
    let mut links: Vec<usize> = (0..m.world.len()).map(|h| m.world.links(h)).collect();
    let all: usize = links.iter().sum();
    let most = percentile(&mut links, 100).map(count);
    let detail = format!("mean {:.1}", count(all) / n);
    m.add(&LINKS, most, detail);
}

/// Measures the time from the start of a named container until the router of each other host can answer for it.
fn names(m: &mut Measured) {
    let n = m.world.len();
    let mut times: Vec<Duration> = Vec::new();
    let mut unknown = 0;
    for number in 0..m.rounds(NAMED) {
        let from = m.world.rng.below(n);
        let Some(peer) = m.world.peer(from) else {
            continue;
        };
        let name = format!("named{number}");
        let begun = m.world.now;
        m.world.state_name(from, &name);
        let mut missing: Vec<HostId> = m.world.running();
        missing.retain(|h| *h != from);
        while m.world.now.since(begun) < NAMES_WATCHED && !missing.is_empty() {
            m.world.run(TICK);
            let took = m.world.now.since(begun);
            missing.retain(|host| {
                let router = m.world.router(*host);
                let knows = router.is_some_and(|r| {
                    let held = r.names().names().zone().holders(&name);
                    held.iter().any(|h| h.origin == peer)
                });
                if knows {
                    times.push(took);
                }
                !knows
            });
        }
        unknown += missing.len();
        times.extend(missing.iter().map(|_| PATIENCE));
    }
    let detail = format!(
        "p50 {}, worst {}; {unknown} of {} did not know within {} s",
        seconds(percentile(&mut times, 50)),
        seconds(percentile(&mut times, 100)),
        times.len(),
        NAMES_WATCHED.as_secs()
    );
    let p99 = percentile(&mut times, 99).map(|t| t.as_secs_f64());
    m.add(&NAME, p99, detail);
}

fn broadcasts(m: &mut Measured) {
    let n = m.world.len();
    let running = m.world.running();
    let copies = |w: &LargeMesh| w.nodes().map(|n| n.copies).sum::<u64>();
    let (before, mut misses) = (copies(&m.world), 0);
    let sent = m.world.sent();
    // Broadcasts are not retransmitted: with loss this would measure the underlay.
    let loss = std::mem::take(&mut m.world.underlay.loss);
    let rounds = m.rounds(BROADCASTS);
    for _ in 0..rounds {
        let from = m.world.rng.below(n);
        let source = attached(from).mac;
        let (frame, bytes) = m.world.ledger.frame(from, source, Mac::BROADCAST, 100);
        m.world.speak(from, &[bytes]);
        m.world.run(Duration::from_secs(1));
        let missed = |h: &&HostId| **h != from && !m.world.deliveries.reached(frame, **h);
        misses += running.iter().filter(missed).count();
    }
    m.world.underlay.loss = loss;
    let took = copies(&m.world) - before;
    let others = count(rounds) * count(running.len().saturating_sub(1));
    let each = took as f64 / others;
    let detail = format!("of {others}; without loss in the underlay");
    m.add(&COPIES, Some(each), String::new());
    m.add(&MISSES, Some(count(misses)), detail);
    let twice = m
        .world
        .broken
        .as_ref()
        .is_some_and(|b| b.invariant.starts_with("I5"));
    m.add(&DUPLICATES, Some(f64::from(u8::from(twice))), String::new());
    m.kinds.push((
        "broadcasts, bytes per router and broadcast",
        m.world.sent().since(&sent),
        others,
    ));
}

fn changes(m: &mut Measured) {
    let n = m.world.len();
    let mut times: Vec<Duration> = Vec::new();
    let (mut all, mut unknown, mut spent) = (Bytes::default(), 0, 0.0);
    let idle = m.idle_rate() * WATCHED.as_secs_f64();
    let rounds = m.rounds(CHANGES);
    for _ in 0..rounds {
        let a = m.world.rng.below(n);
        let neighbours = m.world.neighbours(a);
        let Some(b) = neighbours
            .get(m.world.rng.below(neighbours.len()))
            .copied()
        else {
            continue;
        };
        let before = m.world.sent();
        m.world.reset_link(a, b);
        let mut digests: Vec<Vec<[u8; 16]>> = vec![Vec::new(); n];
        let begun = m.world.now;
        while m.world.now.since(begun) < WATCHED {
            m.world.run(TICK);
            for (host, seen) in digests.iter_mut().enumerate() {
                seen.extend(m.world.router(host).map(SimRouter::digest));
            }
        }
        let sent = m.world.sent().since(&before);
        spent += sent.total() as f64 / count(n) - idle;
        all.merge(&sent);
        let last = digests[a].last().copied();
        for seen in &digests {
            // Time since which both ends of the link have their final state.
            let since = seen
                .iter()
                .rposition(|d| Some(*d) != last)
                .map_or(0, |at| at + 1);
            if since >= seen.len() {
                unknown += 1;
                times.push(PATIENCE);
            } else {
                times.push(TICK * u32::try_from(since + 1).unwrap_or(u32::MAX));
            }
        }
        m.world.run(APART);
    }
    let worst = percentile(&mut times, 100);
    let p50 = percentile(&mut times, 50);
    let detail = format!(
        "p50 {}, worst {}; {unknown} of {} did not know within {} s",
        seconds(p50),
        seconds(worst),
        times.len(),
        WATCHED.as_secs_f64()
    );
    let p99 = percentile(&mut times, 99).map(|t| t.as_secs_f64());
    m.add(&KNOWN, p99, detail);
    let each = spent / count(rounds);
    let detail = "both ends of a lost link say so; idle traffic taken off".to_owned();
    m.add(&CHANGE, Some(each / 1e3), detail);
    m.kinds.push((
        "a change, bytes per router (idle traffic in it)",
        all,
        count(n * rounds),
    ));
}

pub(super) fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

pub(super) fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(
        || "never".to_owned(),
        |t| format!("{:.2} s", t.as_secs_f64()),
    )
}
