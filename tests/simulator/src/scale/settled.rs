//! Measures of a settled mesh: idle traffic, memory, names, broadcasts.

use std::time::Duration;

use mesh_proto::ids::Mac;
use mesh_proto::network::NetworkId;

use super::goals::{COPIES, DUPLICATES, IDLE, LINKS, MEMORY, MISSES, NAME};
use super::measured::{Measured, PATIENCE, count, seconds};
use super::memory::resident;
use super::node::Node;
use super::observe::percentile;
use super::plan::attached;
use super::world::LargeMesh;
use crate::sim::network::HostId;
use crate::sim::router::SimRouter;

const TICK: Duration = Duration::from_millis(10);
const BROADCASTS: usize = 20;
/// Names that are announced one after another, and time for which each is watched.
const NAMED: usize = 10;
const NAMES_WATCHED: Duration = Duration::from_secs(5);
/// Bytes in memory of a record of about 300 bytes, with its parsed content; an upper estimate.
const RECORD: usize = 700;
/// Bytes per router in the database and the graph, which routers in a mesh that starts settled share.
const SHARED: usize = 160;

pub(super) fn idle(m: &mut Measured) {
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
pub(super) fn names(m: &mut Measured) {
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
                    let zone = r.names().names().zone();
                    let held = zone.network(&NetworkId::DEFAULT).holders(&name);
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

pub(super) fn broadcasts(m: &mut Measured) {
    let n = m.world.len();
    let running = m.world.running();
    let copies = |w: &LargeMesh| w.nodes().map(Node::copies).sum::<u64>();
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

/// Measures memory per router: the growth of the process since the first router, divided by the routers. It
/// includes connections and events of the simulated network. Records, which these routers share, are added for each
/// router, and so are tables that they share from the start.
pub(super) fn memory(m: &mut Measured, before: Option<u64>, at_rest: bool) {
    let n = count(m.world.len());
    let held = resident()
        .zip(before)
        .map(|(now, then)| now.saturating_sub(then));
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let tables = m.world.router(0).map(SimRouter::tables);
    let records = tables.and_then(|t| t.iter().find(|t| t.table == "records").map(|t| t.used));
    let records = mib(count(records.unwrap_or(0) * RECORD));
    let shared = if at_rest {
        mib(count(m.world.len() * SHARED))
    } else {
        0.0
    };
    let each = held.map(|bytes| mib(bytes as f64 / n) + records + shared);
    let mut detail = format!("resident memory of the process / N, and {records:.2} MiB of records");
    if at_rest {
        detail += &format!(", and {shared:.2} MiB of tables that are shared");
    }
    m.add(&MEMORY, each, detail);
}
