//! `mesh-scale`: a large mesh of shipping routers in the simulator, measured beside its goals.
//!
//!     mesh-scale --routers 1000 --seed 1 [--scenario table] [--json] [--verbose]

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use mesh_tests::scale::{Outcome, Table, measure_all};

const USAGE: &str =
    "usage: mesh-scale [--routers N] [--seed N] [--scenario NAME] [--json] [--verbose]";

struct Arguments {
    routers: usize,
    seed: u64,
    json: bool,
    verbose: bool,
}

fn main() -> ExitCode {
    match parse().and_then(|arguments| play(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

fn parse() -> Result<Arguments> {
    let mut out = Arguments {
        routers: 100,
        seed: 1,
        json: false,
        verbose: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().context(USAGE);
        match word.as_str() {
            "--routers" => out.routers = value()?.parse()?,
            "--seed" => out.seed = value()?.parse()?,
            "--json" => out.json = true,
            "--verbose" => out.verbose = true,
            _ => bail!(USAGE),
        }
    }
    if out.routers < 2 {
        bail!("a mesh has at least two routers");
    }
    Ok(out)
}

fn play(arguments: &Arguments) -> Result<bool> {
    let begun = std::time::Instant::now();
    let mut progress = |line: &str| {
        let passed = begun.elapsed().as_secs_f64();
        let _ = writeln!(std::io::stderr(), "[{passed:6.1} s] {line}");
    };
    let outcome = measure_all(arguments.routers, arguments.seed, &mut progress);
    if arguments.json {
        say(&serde_json::to_string_pretty(&outcome)?);
    } else {
        show(&outcome, arguments.verbose);
    }
    Ok(outcome.is_good())
}

fn show(outcome: &Outcome, verbose: bool) {
    let Outcome {
        routers,
        seed,
        events,
        ..
    } = outcome;
    say(&format!("N={routers} SEED={seed}, {events} events\n"));
    say(&Table(&outcome.figures).to_string());
    if verbose {
        for (what, kinds) in &outcome.kinds {
            say(what);
            for (kind, bytes) in kinds.iter().filter(|(_, bytes)| *bytes > 0.0) {
                say(&format!("  {kind:<28} {bytes:>12.1}"));
            }
        }
    }
    if let Some(broken) = &outcome.broken {
        say(&format!("BROKEN {broken}"));
    }
}

/// A line for whoever started us; a closed pipe is no reason to panic.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
