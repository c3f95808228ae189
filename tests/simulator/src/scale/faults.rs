//! Measures of disruptions: routers that lose power, a restart of all, a partition.

use std::time::Duration;

use super::goals::{CRASH, DEAD, HEAL, RESTART, RESTART_BYTES};
use super::measured::{Measured, PATIENCE, TOGETHER, count, seconds};
use super::observe::percentile;
use crate::sim::network::HostId;

/// Number of routers that lose power one by one, time for which their neighbours are watched, and its resolution.
const DEATHS: usize = 5;
const MOURNING: Duration = Duration::from_secs(12);
const STEP: Duration = Duration::from_millis(50);
const PARTITION: Duration = Duration::from_secs(600);

pub(super) fn deaths(m: &mut Measured) {
    let n = m.world.len();
    let mut times = Vec::new();
    let mut never = 0;
    let rounds = m.rounds(DEATHS);
    for round in 0..rounds {
        if round > 0 {
            m.put_right();
        }
        let dead = m.world.rng.below(n);
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
            m.world.run(STEP);
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
    }
    let worst = percentile(&mut times, 100);
    let detail = format!(
        "{} routes through {rounds} routers that lost power; worst {}; {never} never",
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

pub(super) fn restart(m: &mut Measured) {
    let everybody: Vec<HostId> = (0..m.world.len()).collect();
    everybody.iter().for_each(|h| m.world.kill(*h));
    m.world.run(Duration::from_secs(1));
    let before: Vec<u64> = m.world.nodes().map(|n| n.kernel().sent().total()).collect();
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
        .map(|(n, b)| n.kernel().sent().total() - b);
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

pub(super) fn crash(m: &mut Measured) {
    let mut hosts: Vec<HostId> = (0..m.world.len()).collect();
    m.world.rng.shuffle(&mut hosts);
    let dead = hosts.split_off(hosts.len() - hosts.len() / 10);
    dead.iter().for_each(|h| m.world.power_off(*h));
    hosts.sort_unstable();
    let took = m.world.until_agreed(&hosts, PATIENCE);
    m.add(
        &CRASH,
        took.map(|t| t.as_secs_f64()),
        format!("{} lost power", dead.len()),
    );
}

pub(super) fn partition(m: &mut Measured) {
    let n = m.world.len();
    let sides = (0..n).map(|_| m.world.rng.chance(500)).collect();
    m.world.underlay.sides = Some(sides);
    m.world.run(PARTITION);
    m.world.underlay.sides = None;
    let everybody: Vec<HostId> = (0..n).collect();
    let took = m.world.until_agreed(&everybody, PATIENCE);
    m.add(&HEAL, took.map(|t| t.as_secs_f64()), String::new());
}
