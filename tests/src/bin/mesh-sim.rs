//! `mesh-sim`: replays one seed of the simulator, or runs a range of them.
//!
//!     mesh-sim --seed 7 --verbose
//!     mesh-sim --from 1 --to 1000 [--scenario Partition]

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use mesh_tests::sim::{Options, Scenario, run, run_many};

const USAGE: &str = "usage: mesh-sim --seed N [--verbose] | --from N --to N  [--scenario NAME]";

#[derive(Default)]
struct Arguments {
    seed: Option<u64>,
    from: u64,
    to: u64,
    verbose: bool,
    options: Options,
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
    let mut out = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().context(USAGE);
        match word.as_str() {
            "--seed" => out.seed = Some(value()?.parse()?),
            "--from" => out.from = value()?.parse()?,
            "--to" => out.to = value()?.parse()?,
            "--scenario" => out.options.scenario = Some(scenario(&value()?)?),
            "--verbose" => out.verbose = true,
            _ => bail!(USAGE),
        }
    }
    if out.seed.is_none() && out.from >= out.to {
        bail!(USAGE);
    }
    Ok(out)
}

fn scenario(name: &str) -> Result<Scenario> {
    let names = Scenario::ALL.into_iter();
    let mut found = names.filter(|s| format!("{s:?}").eq_ignore_ascii_case(name));
    found
        .next()
        .with_context(|| format!("no scenario '{name}'; there are {:?}", Scenario::ALL))
}

fn play(arguments: &Arguments) -> Result<bool> {
    let Some(seed) = arguments.seed else {
        let summary = run_many(arguments.from..arguments.to, arguments.options, false);
        for report in summary.failures() {
            say(&report.to_string());
        }
        for (scenario, (runs, slowest)) in summary.by_scenario() {
            let slowest = slowest.as_secs_f64();
            say(&format!(
                "{scenario:?}: {runs} runs, slowest agreement {slowest:.1} s"
            ));
        }
        say(&summary.to_string());
        return Ok(summary.failures().next().is_none());
    };
    let sink = arguments
        .verbose
        .then(|| Box::new(say) as Box<dyn FnMut(&str)>);
    let report = run(seed, arguments.options, sink);
    say(&report.to_string());
    say(&format!("trace {:016x}", report.trace));
    Ok(report.broken.is_none())
}

/// A line for whoever started us; a closed pipe is no reason to panic.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
