//! The measures of the table, one after the other on one mesh.

use std::time::Duration;

use mesh_proto::ids::Mac;

use super::bytes::Bytes;
use super::figures::{
    CHANGE, COPIES, CRASH, DEAD, DUPLICATES, Figure, HEAL, IDLE, KNOWN, LINKS, MEMORY, MISSES,
    NAME, RESTART, RESTART_BYTES, figure,
};
use super::observe::percentile;
use super::world::{Plan, World, attached};
use crate::sim::network::HostId;
use crate::sim::router::Router;

/// Within this time after one another all routers start.
pub(crate) const TOGETHER: Duration = Duration::from_millis(500);
/// Time in which a mesh must come to rest, whatever happened.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Time given to links, sessions and paths to be complete after records agree.
pub(crate) const REST: Duration = Duration::from_secs(20);
const IDLE_FOR: Duration = Duration::from_secs(30);
/// Links that are torn down, how long each is watched, and the time before the next.
const CHANGES: usize = 10;
const WATCHED: Duration = Duration::from_millis(900);
const APART: Duration = Duration::from_secs(8);
const TICK: Duration = Duration::from_millis(10);
/// Routers that lose power one by one, and how long their neighbours are watched.
const DEATHS: usize = 5;
const MOURNING: Duration = Duration::from_secs(12);
const BROADCASTS: usize = 20;
/// Names that are stated one after the other, and how long each is watched.
const NAMED: usize = 10;
const NAMES_WATCHED: Duration = Duration::from_secs(5);
/// Bytes that a record of some 300 takes in a router, with what is read out of it; more than was found.
const RECORD: usize = 700;
const PARTITION: Duration = Duration::from_secs(600);

/// A measure's name, and how it is taken.
type Step = (&'static str, fn(&mut Measured));

/// What was measured, and what was sent meanwhile by kind.
pub(crate) struct Measured {
    pub(crate) figures: Vec<Figure>,
    /// Bytes of all routers by kind: what they were sent for, and for how many routers, seconds or changes.
    pub(crate) kinds: Vec<(&'static str, Bytes, f64)>,
    pub(crate) world: World,
    idle: Option<f64>,
}

/// Measures a mesh of `plan.hosts` routers; only the measures whose names begin with one of `only`, unless that is empty.
/// `say` is told how far it is.
pub(crate) fn table(plan: Plan, only: &[String], say: &mut dyn FnMut(&str)) -> Measured {
    let before = resident();
    let mut measured = Measured {
        figures: Vec::new(),
        kinds: Vec::new(),
        world: World::new(plan),
        idle: None,
    };
    let everybody: Vec<HostId> = (0..plan.hosts).collect();
    measured.world.start_all(&everybody, TOGETHER);
    let begun = measured.world.until_agreed(&everybody, PATIENCE);
    let sent = measured.world.sent().total() as f64 / count(plan.hosts) / 1e6;
    let begun = seconds(begun);
    say(&format!(
        "started; agreed after {begun}, {sent:.2} MB sent per router"
    ));
    measured.world.run(REST);
    let steps: [Step; 8] = [
        ("idle", idle),
        ("names", names),
        ("broadcasts", broadcasts),
        ("link changes", changes),
        ("dead neighbours", deaths),
        ("restart of all", restart),
        ("crash of 10 %", crash),
        ("partition", partition),
    ];
    let is_wanted = |name: &str| only.is_empty() || only.iter().any(|o| name.starts_with(o));
    for (number, (name, step)) in steps.into_iter().enumerate() {
        if !is_wanted(name) {
            continue;
        }
        let known = measured.figures.len();
        step(&mut measured);
        if number == 0 {
            measured.memory(before);
        }
        let now = measured.world.now.as_nanos() / 1_000_000_000;
        say(&format!("{name}: measured, virtual time {now} s"));
        // A run that is ended early has told something all the same.
        for figure in measured.figures.iter().skip(known) {
            say(&format!("  {figure}"));
        }
        if measured.world.broken.is_some() {
            break;
        }
        measured.world.run(REST);
    }
    measured
}

impl Measured {
    /// Bytes that each router sends in a second while nothing changes; measured when it is asked for first.
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

    fn add(&mut self, goal: &super::figures::Goal, value: Option<f64>, detail: String) {
        let n = self.world.len();
        self.figures.push(figure(goal, n, value, detail));
    }

    /// What the whole process holds more than before the first router, divided by the routers: connections and events of
    /// the simulated network are in it. The records, which these routers share, are added for each.
    fn memory(&mut self, before: Option<u64>) {
        let n = count(self.world.len());
        let held = resident()
            .zip(before)
            .map(|(now, then)| now.saturating_sub(then));
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let tables = self.world.router(0).map(Router::tables);
        let records = tables.and_then(|t| t.iter().find(|t| t.table == "records").map(|t| t.used));
        let records = mib(count(records.unwrap_or(0) * RECORD));
        let each = held.map(|bytes| mib(bytes as f64 / n) + records);
        let detail = format!("resident memory of the process / N, and {records:.2} MiB of records");
        self.add(&MEMORY, each, detail);
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

/// Containers start on hosts here and there; how long until the router of each other host can answer for their names.
fn names(m: &mut Measured) {
    let n = m.world.len();
    let mut times: Vec<Duration> = Vec::new();
    let mut unknown = 0;
    for number in 0..NAMED {
        let from = m.world.dice.below(n);
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
    let copies = |w: &World| w.nodes().map(|n| n.copies).sum::<u64>();
    let (before, mut misses) = (copies(&m.world), 0);
    let sent = m.world.sent();
    // Nobody sends a broadcast again: with loss this would measure the underlay.
    let loss = std::mem::take(&mut m.world.underlay.loss);
    for _ in 0..BROADCASTS {
        let from = m.world.dice.below(n);
        let source = attached(from).mac;
        let (frame, bytes) = m.world.ledger.frame(from, source, Mac::BROADCAST, 100);
        m.world.speak(from, &[bytes]);
        m.world.run(Duration::from_secs(1));
        let missed = |h: &&HostId| **h != from && !m.world.deliveries.reached(frame, **h);
        misses += running.iter().filter(missed).count();
    }
    m.world.underlay.loss = loss;
    let took = copies(&m.world) - before;
    let others = count(BROADCASTS) * count(running.len().saturating_sub(1));
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
    for _ in 0..CHANGES {
        let a = m.world.dice.below(n);
        let neighbours = m.world.neighbours(a);
        let Some(b) = neighbours
            .get(m.world.dice.below(neighbours.len()))
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
                seen.extend(m.world.router(host).map(Router::digest));
            }
        }
        let sent = m.world.sent().since(&before);
        spent += sent.total() as f64 / count(n) - idle;
        all.merge(&sent);
        let last = digests[a].last().copied();
        for seen in &digests {
            // Since when it is what it is for good: what both ends of the link came to hold.
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
    let each = spent / count(CHANGES);
    let detail = "both ends of a lost link say so; idle traffic taken off".to_owned();
    m.add(&CHANGE, Some(each / 1e3), detail);
    m.kinds.push((
        "a change, bytes per router (idle traffic in it)",
        all,
        count(n * CHANGES),
    ));
}

fn deaths(m: &mut Measured) {
    let n = m.world.len();
    let mut times = Vec::new();
    let mut never = 0;
    for _ in 0..DEATHS {
        let dead = m.world.dice.below(n);
        let Some(peer) = m.world.peer(dead) else {
            continue;
        };
        let mut waiting = Vec::new();
        for host in m.world.running().into_iter().filter(|h| *h != dead) {
            let via = m.world.router(host).map(|r| r.routed_via(&peer));
            waiting.extend(via.unwrap_or_default().into_iter().map(|to| (host, to)));
        }
        m.world.power_off(dead);
        let begun = m.world.now;
        while m.world.now.since(begun) < MOURNING && !waiting.is_empty() {
            m.world.run(TICK * 5);
            let passed = m.world.now.since(begun);
            let world = &m.world;
            waiting.retain(|(host, to)| {
                let found = world.router(*host).is_some_and(|r| r.avoids(&peer, to));
                if found {
                    times.push(passed);
                }
                !found
            });
        }
        never += waiting.len();
        times.extend(waiting.iter().map(|_| PATIENCE));
        m.world.start(dead, Duration::from_secs(1));
        m.world.run(REST);
    }
    let worst = percentile(&mut times, 100);
    let detail = format!(
        "{} routes through {DEATHS} routers that lost power; worst {}; {never} never",
        times.len(),
        seconds(worst)
    );
    let detail = if times.is_empty() {
        "not measured: no route led through a router that lost power".to_owned()
    } else {
        detail
    };
    let p99 = percentile(&mut times, 99).map(|t| t.as_secs_f64());
    m.add(&DEAD, p99, detail);
}

fn restart(m: &mut Measured) {
    let everybody: Vec<HostId> = (0..m.world.len()).collect();
    everybody.iter().for_each(|h| m.world.kill(*h));
    m.world.run(Duration::from_secs(1));
    let before: Vec<u64> = m.world.nodes().map(|n| n.sent.total()).collect();
    let all = m.world.sent();
    m.world.start_all(&everybody, TOGETHER);
    m.world.run(TOGETHER);
    let took = m.world.until_agreed(&everybody, PATIENCE);
    m.add(
        &RESTART,
        took.map(|t| t.as_secs_f64()),
        format!("all up within {} s", TOGETHER.as_secs_f64()),
    );
    let each = m
        .world
        .nodes()
        .zip(&before)
        .map(|(n, b)| n.sent.total() - b);
    let each: Vec<u64> = each.collect();
    let n = count(each.len());
    let mean = each.iter().sum::<u64>() as f64 / n / 1e6;
    let most = each.iter().max().copied().unwrap_or(0) as f64 / 1e6;
    m.add(&RESTART_BYTES, Some(mean), format!("most {most:.2} MB"));
    m.kinds.push((
        "restart of all, bytes per router",
        m.world.sent().since(&all),
        n,
    ));
}

fn crash(m: &mut Measured) {
    let mut hosts: Vec<HostId> = (0..m.world.len()).collect();
    m.world.dice.shuffle(&mut hosts);
    let dead = hosts.split_off(hosts.len() - hosts.len() / 10);
    dead.iter().for_each(|h| m.world.power_off(*h));
    hosts.sort_unstable();
    let took = m.world.until_agreed(&hosts, PATIENCE);
    m.add(
        &CRASH,
        took.map(|t| t.as_secs_f64()),
        format!("{} lost power", dead.len()),
    );
    m.world.start_all(&dead, TOGETHER);
    m.world.run(REST);
}

fn partition(m: &mut Measured) {
    let n = m.world.len();
    let sides = (0..n).map(|_| m.world.dice.chance(500)).collect();
    m.world.underlay.sides = Some(sides);
    m.world.run(PARTITION);
    m.world.underlay.sides = None;
    let everybody: Vec<HostId> = (0..n).collect();
    let took = m.world.until_agreed(&everybody, PATIENCE);
    m.add(&HEAL, took.map(|t| t.as_secs_f64()), String::new());
}

/// Bytes of memory the process has.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(
        || "never".to_owned(),
        |t| format!("{:.2} s", t.as_secs_f64()),
    )
}
