//! Runs of many seeds on all cores.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::choice::RunOptions;
use super::fault::InjectedFault;
use super::report::RunReport;
use super::run::run;
use super::scenario::Scenario;

/// Results of many seeds.
#[derive(Debug, Default)]
pub struct SeedSummary {
    /// Reports of all runs, in order of seeds.
    pub reports: Vec<RunReport>,
}

/// Runs all seeds; with `stop_early` no run starts after one has failed.
pub fn run_many(seeds: Range<u64>, options: RunOptions, stop_early: bool) -> SeedSummary {
    let next = AtomicU64::new(seeds.start);
    let reports = Mutex::new(Vec::new());
    let cores = thread::available_parallelism().map_or(2, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let report = run(seed, options, None);
            if stop_early && report.broken.is_some() {
                next.store(seeds.end, Ordering::Relaxed);
            }
            if let Ok(mut reports) = reports.lock() {
                reports.push(report);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let mut reports = reports.into_inner().unwrap_or_default();
    reports.sort_by_key(|r| r.seed);
    SeedSummary { reports }
}

/// Runs seeds until one finds an injected fault. Returns the number of runs, and the report of the first seed that
/// violates one of the fault's invariants but passes without the fault.
pub fn hunt(fault: InjectedFault, most: u64) -> Option<(usize, RunReport)> {
    const AT_ONCE: usize = 16;
    let (_, invariants) = InjectedFault::ALL
        .into_iter()
        .find(|(known, _)| *known == fault)?;
    let options = RunOptions {
        fault: Some(fault),
        scenario: trigger(fault),
        networks: fault.needs_networks(),
        ..RunOptions::default()
    };
    // The same run without the fault.
    let without = RunOptions {
        fault: None,
        small: true,
        ..options
    };
    for from in (0..most).step_by(AT_ONCE) {
        let summary = run_many(from..(from + AT_ONCE as u64).min(most), options, true);
        let begun = summary.reports.len();
        let found = summary.reports.into_iter().find(|report| {
            let broken = report.broken.as_ref();
            let number = broken.and_then(|b| b.invariant.split(' ').next());
            // A seed that fails without the fault proves nothing.
            number.is_some_and(|n| invariants.contains(&n))
                && run(report.seed, without, None).broken.is_none()
        });
        if let Some(report) = found {
            return Some((usize::try_from(from).unwrap_or(0) + begun, report));
        }
    }
    None
}

/// Returns the scenario that triggers a fault, if most seeds do not.
fn trigger(fault: InjectedFault) -> Option<Scenario> {
    match fault {
        InjectedFault::PanicOnRunt => Some(Scenario::Garbage),
        InjectedFault::SkippedSignature | InjectedFault::ShortRead => Some(Scenario::Hostile),
        InjectedFault::ForgottenTombstone => Some(Scenario::ContainersMove),
        InjectedFault::GrantBeforeSync => Some(Scenario::CrashAtWrite),
        _ => None,
    }
}

impl SeedSummary {
    /// Returns the failed runs.
    pub fn failures(&self) -> impl Iterator<Item = &RunReport> {
        self.reports.iter().filter(|r| r.broken.is_some())
    }

    /// Returns the times from the last disruption to agreement, sorted.
    pub fn agreement_times(&self) -> Vec<Duration> {
        let mut times: Vec<_> = self.reports.iter().filter_map(|r| r.agreed_after).collect();
        times.sort_unstable();
        times
    }

    /// Returns the number of runs by number of routers.
    pub fn by_size(&self) -> BTreeMap<usize, usize> {
        let mut out = BTreeMap::new();
        for report in &self.reports {
            *out.entry(report.routers).or_default() += 1;
        }
        out
    }

    /// Returns the number of runs and the slowest agreement, by scenario.
    pub fn by_scenario(&self) -> BTreeMap<Scenario, (usize, Duration)> {
        let mut out = BTreeMap::new();
        for report in &self.reports {
            let (runs, slowest) = out.entry(report.scenario).or_insert((0, Duration::ZERO));
            *runs += 1;
            *slowest = report.agreed_after.unwrap_or_default().max(*slowest);
        }
        out
    }
}

impl fmt::Display for SeedSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&RunReport) -> u64| self.reports.iter().map(of).sum::<u64>();
        let times = self.agreement_times();
        let at = |per_cent: usize| {
            let index = (times.len() * per_cent / 100).min(times.len().saturating_sub(1));
            times.get(index).copied().unwrap_or_default().as_secs_f64()
        };
        let sizes = self.by_size();
        let runs: Vec<String> = sizes
            .iter()
            .map(|(n, runs)| format!("{runs} of {n}"))
            .collect();
        writeln!(
            f,
            "runs by routers: {}; the largest had {}",
            runs.join(", "),
            sizes.last_key_value().map_or(0, |(n, _)| *n),
        )?;
        write!(
            f,
            "{} seeds over {} scenarios: {} broken; {} events, {} frames, {} deliveries, \
             {} hops compared; \
             agreement after p50 {:.1} s, p99 {:.1} s, max {:.1} s",
            self.reports.len(),
            self.by_scenario().len(),
            self.failures().count(),
            sum(|r| r.events),
            sum(|r| r.frames as u64),
            sum(|r| r.deliveries as u64),
            sum(|r| r.hops_compared),
            at(50),
            at(99),
            at(100),
        )
    }
}
