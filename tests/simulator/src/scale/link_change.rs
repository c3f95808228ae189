//! Measure of a link change: the cable between two neighbours is cut, and everybody is to know.
//!
//! Each end notices by itself, when its probes stay unanswered, and announces its links again. What is measured is the time
//! from each announcement until the other routers hold it, not the time to notice, which is that of a dead neighbour.

use std::time::Duration;

use mesh_proto::ids::Version;
use mesh_proto::time::Instant;
use mesh_proto::wire::topic::{RecordKey, Topic};

use super::bytes::Bytes;
use super::goals::{CHANGE, KNOWN};
use super::measured::{Measured, PATIENCE, count, seconds};
use super::observe::percentile;
use super::world::LargeMesh;
use crate::sim::network::HostId;

/// Cables that are cut, and the pause after each.
const CHANGES: usize = 10;
const APART: Duration = Duration::from_secs(8);
/// Time in which both ends must have noticed.
const NOTICED: Duration = Duration::from_secs(10);
/// Time for which each announcement is watched.
const WATCHED: Duration = Duration::from_millis(900);
const TICK: Duration = Duration::from_millis(10);

pub(super) fn changes(m: &mut Measured) {
    let n = count(m.world.len());
    let idle = m.idle_rate();
    let (mut times, mut unknown, mut unnoticed): (Vec<Duration>, usize, usize) = Default::default();
    let (mut all, mut spent, mut cuts) = (Bytes::default(), 0.0, 0);
    for _ in 0..m.rounds(CHANGES) {
        let Some((a, b)) = random_link(&mut m.world) else {
            continue;
        };
        cuts += 1;
        m.world.underlay.cut.insert((a, b));
        let (ends, sent, watched) = watch(&mut m.world, [a, b]);
        m.world.underlay.cut.remove(&(a, b));
        spent += sent.total() as f64 / n - idle * watched.as_secs_f64();
        all.merge(&sent);
        for end in ends {
            unnoticed += usize::from(end.announced.is_none());
            unknown += end.missing.len();
            times.extend(end.missing.iter().map(|_| PATIENCE));
            times.extend(end.times);
        }
        m.world.run(APART);
    }
    let detail = format!(
        "p50 {}, worst {}; {unknown} of {} did not know within {} s; {unnoticed} of {} ends did not notice",
        seconds(percentile(&mut times, 50)),
        seconds(percentile(&mut times, 100)),
        times.len(),
        WATCHED.as_secs_f64(),
        2 * cuts,
    );
    let p99 = percentile(&mut times, 99).map(|t| t.as_secs_f64());
    m.add(&KNOWN, p99, detail);
    let each = (cuts > 0).then(|| spent / count(cuts) / 1e3);
    let detail = "both ends of a cut cable announce it; idle traffic taken off".to_owned();
    m.add(&CHANGE, each, detail);
    let purpose = "a change, bytes per router (idle traffic in it)";
    m.kinds.push((purpose, all, n * count(cuts)));
}

/// Returns two neighbours, lower host first.
fn random_link(world: &mut LargeMesh) -> Option<(HostId, HostId)> {
    let a = world.rng.below(world.len());
    let neighbours = world.neighbours(a);
    let b = *neighbours.get(world.rng.below(neighbours.len()))?;
    Some((a.min(b), a.max(b)))
}

/// One end of a cut cable, and the others' knowledge of its record.
struct CableEnd {
    host: HostId,
    links: RecordKey,
    before: Option<Version>,
    /// Time and version of its announcement.
    announced: Option<(Instant, Version)>,
    missing: Vec<HostId>,
    times: Vec<Duration>,
}

impl CableEnd {
    fn new(world: &LargeMesh, host: HostId) -> Option<Self> {
        let links = RecordKey::new(world.peer(host)?, Topic::LINKS);
        let mut missing = world.running();
        missing.retain(|other| *other != host);
        Some(Self {
            host,
            links,
            before: version(world, host, links),
            announced: None,
            missing,
            times: Vec::new(),
        })
    }

    fn look(&mut self, world: &LargeMesh) {
        if self.announced.is_none() {
            let present = version(world, self.host, self.links);
            let new = present.filter(|_| present != self.before);
            self.announced = new.map(|version| (world.now, version));
        }
        let Some((at, new)) = self.announced else {
            return;
        };
        let (took, links) = (world.now.since(at), self.links);
        let times = &mut self.times;
        self.missing.retain(|other| {
            let knows = version(world, *other, links).is_some_and(|held| held >= new);
            times.extend(knows.then_some(took));
            !knows
        });
    }

    fn is_watched(&self, now: Instant) -> bool {
        let watched = |(at, _): (Instant, Version)| now.since(at) < WATCHED;
        self.announced.is_none_or(watched)
    }
}

fn version(world: &LargeMesh, host: HostId, key: RecordKey) -> Option<Version> {
    Some(world.router(host)?.record(key)?.version())
}

/// Runs until both ends have announced the cut, and each announcement was watched. Returns the ends, and the bytes sent since
/// the first announcement, with the time that took.
fn watch(world: &mut LargeMesh, ends: [HostId; 2]) -> (Vec<CableEnd>, Bytes, Duration) {
    let begun = world.now;
    let ends = ends.into_iter();
    let mut ends: Vec<CableEnd> = ends.filter_map(|host| CableEnd::new(world, host)).collect();
    let mut first = None;
    while world.broken.is_none() && ends.iter().any(|end| end.is_watched(world.now)) {
        if world.now.since(begun) >= NOTICED + WATCHED {
            break;
        }
        // An announcement that is seen after a step was sent within it.
        let before = first.is_none().then(|| (world.sent(), world.now));
        world.run(TICK);
        ends.iter_mut().for_each(|end| end.look(world));
        if ends.iter().any(|end| end.announced.is_some()) {
            first = first.or(before);
        }
    }
    let (sent, since) = first.unwrap_or_else(|| (world.sent(), world.now));
    (ends, world.sent().since(&sent), world.now.since(since))
}
