//! Many seeds of the simulator, and fault injection as proof that its checks can fail.

use std::env;

use mesh_simulator::sim::{InjectedFault, RunOptions, hunt, replace, run, run_many};

const SEEDS: u64 = 2_000;
/// Routers that are replaced in one mesh, one after another.
const ROUNDS: usize = 1_000;
/// Number of seeds within which each injected fault must be found.
const BITE: u64 = 1_000;

#[test]
fn every_promise_holds_in_every_seed() {
    let seeds = env::var("MESH_SIM_SEEDS").ok().and_then(|n| n.parse().ok());
    let summary = run_many(0..seeds.unwrap_or(SEEDS), RunOptions::default(), false);
    println!("{summary}");
    let failures: Vec<String> = summary.failures().map(ToString::to_string).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_thousand_replaced_routers_leave_no_space_behind() {
    let rounds = env::var("MESH_SIM_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok());
    let rounds = rounds.unwrap_or(ROUNDS);
    match replace(1, rounds) {
        Ok(given) => println!("{rounds} routers replaced, {given} addresses given"),
        Err(broken) => panic!("{broken}"),
    }
}

#[test]
fn one_seed_is_one_run() {
    // Seed 0 is the longest of all.
    for seed in 1..12 {
        let first = run(seed, RunOptions::default(), None);
        let second = run(seed, RunOptions::default(), None);
        assert_eq!(first.trace, second.trace, "{first}");
        assert_eq!(first.events, second.events, "{first}");
        assert!(first.events > 1000, "{first}");
    }
    let other = |seed| run(seed, RunOptions::default(), None).trace;
    assert_ne!(other(1), other(2));
}

#[test]
fn every_planted_fault_is_found() {
    for (fault, _) in InjectedFault::ALL {
        let found = hunt(fault, BITE);
        let Some((seeds, report)) = found else {
            panic!("{fault:?} went unnoticed in {BITE} seeds");
        };
        println!("{fault:?}, after {seeds} seeds: {report}");
    }
}
