//! `mesh-many`: many real routers on one machine, each on its own host made of namespaces.
//!
//! ```text
//! mesh-many [ROUTERS]
//! ```
//!
//! Starts all at once, waits until they agree and each has few links, measures their idle cost, kills a tenth of them
//! at once, then restarts all at once. Prints each figure, with its goal if there is one; exit status 1 if a goal is
//! missed.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mesh_proto::limits::MAX_DEGREE;
use mesh_tests::{Testbed, TestbedHost, TestbedLayout, tell, wait_until, with_testbed};

/// Timeout of each step; all routers share the CPUs of this machine, above all while they start.
const PATIENCE: Duration = Duration::from_secs(120);
/// Length of each measurement of the idle mesh, repeated until it is idle.
const WATCHED: Duration = Duration::from_secs(10);
/// Limit of the CPU share of all idle routers together, as a fraction of one CPU.
const IDLE_SHARE: f64 = 0.2;
/// Hosts per thread.
const PORTION: usize = 15;

fn main() -> ExitCode {
    let routers = std::env::args().nth(1).map_or(Ok(60), |n| n.parse());
    let Some(routers) = routers.ok().filter(|n| (10..=99).contains(n)) else {
        tell("usage: mesh-many [ROUTERS], 10 to 99");
        return ExitCode::from(2);
    };
    match with_testbed(&TestbedLayout::hosts(routers), run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(bed: &Testbed) -> Result<()> {
    let all: Vec<&TestbedHost> = bed.hosts().iter().collect();
    let n = all.len();
    start(&all)?;
    let took = agree(&all, "started together")?;
    tell(&format!(
        "{n} routers, all dialling the first, agree {took:.1?} after the last was started"
    ));
    let took = few_links(&all)?;
    tell(&format!(
        "each has {MAX_DEGREE} links at most {took:.1?} later (now {})",
        range(&links_of(&all)?)
    ));
    idle(&all)?;
    let (dead, left) = all.split_at(n / 10);
    at_once(dead, TestbedHost::kill_router)?;
    let took = agree(left, "some killed")?;
    tell(&format!(
        "{} killed at once: the others agree {took:.1?} later",
        dead.len()
    ));
    at_once(left, TestbedHost::kill_router)?;
    start(&all)?;
    let took = agree(&all, "restarted together")?;
    tell(&format!(
        "all restarted at once: they agree {took:.1?} after the last was started"
    ));
    Ok(())
}

/// Starts all routers with the first one as target, as in the README. The first may not be up yet.
fn start(hosts: &[&TestbedHost]) -> Result<()> {
    at_once(hosts, |host| {
        let first = host.name() == "host1";
        host.launch(if first { &[] } else { &["host1"] })
    })
}

/// Waits until each of these routers can reach exactly these. Returns the time taken.
fn agree(hosts: &[&TestbedHost], when: &str) -> Result<Duration> {
    let began = Instant::now();
    at_once(hosts, |host| {
        let what = format!(
            "{when}: {} has a way to {} routers",
            host.name(),
            hosts.len()
        );
        wait_until(PATIENCE, &what, || {
            let peers = host.report()?.router.peers;
            let reached = peers.iter().filter(|peer| peer.path != "none").count();
            ensure!(reached == hosts.len(), "{reached} of {}", peers.len());
            Ok(())
        })
    })?;
    Ok(began.elapsed())
}

/// Waits until no router has more links than intended. Returns the time taken.
fn few_links(hosts: &[&TestbedHost]) -> Result<Duration> {
    let began = Instant::now();
    wait_until(PATIENCE, "nobody has too many links", || {
        let links = links_of(hosts)?;
        ensure!(links.iter().all(|n| *n <= MAX_DEGREE), "{links:?}");
        Ok(())
    })?;
    Ok(began.elapsed())
}

fn links_of(hosts: &[&TestbedHost]) -> Result<Vec<usize>> {
    hosts
        .iter()
        .map(|host| Ok(host.established()?.len()))
        .collect()
}

fn range(all: &[usize]) -> String {
    let (least, most) = (all.iter().min(), all.iter().max());
    format!("{} to {}", least.unwrap_or(&0), most.unwrap_or(&0))
}

/// Measures the CPU share of all routers together, once earlier activity has settled.
fn idle(hosts: &[&TestbedHost]) -> Result<()> {
    let used = || -> Result<f64> { hosts.iter().map(|host| host.router_cpu_seconds()).sum() };
    let share = wait_until(PATIENCE, "the mesh is idle", || {
        let (before, began) = (used()?, Instant::now());
        std::thread::sleep(WATCHED);
        let share = (used()? - before) / began.elapsed().as_secs_f64();
        ensure!(
            share <= IDLE_SHARE,
            "all use {:.1} % of a core",
            share * 100.0
        );
        Ok(share)
    })?;
    let (share, goal) = (share * 100.0, IDLE_SHARE * 100.0);
    tell(&format!(
        "idle: all together use {share:.1} % of a core (goal {goal:.0} %)"
    ));
    Ok(())
}

/// Runs `work` on all hosts, on several in parallel.
fn at_once(hosts: &[&TestbedHost], work: impl Fn(&TestbedHost) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let portions = hosts.chunks(PORTION);
        let running: Vec<_> = portions
            .map(|portion| scope.spawn(move || portion.iter().try_for_each(|host| work(host))))
            .collect();
        // Join all threads before the first failure is returned.
        let ended: Vec<_> = running
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        ended
            .into_iter()
            .try_for_each(|done| done.unwrap_or_else(|_| anyhow::bail!("a thread ended")))
    })
}
