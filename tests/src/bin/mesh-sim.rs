//! `mesh-sim`: replays one seed of the simulator, or runs a range of seeds.
//!
//! ```text
//! mesh-sim --seed 7 --verbose
//! mesh-sim --from 1 --to 1000 [--scenario Partition]
//! mesh-sim --replace 1000         # replaces 1,000 routers of one mesh, one after another
//! mesh-sim --planted all          # or the name of a fault: searches a seed that detects it
//! ```

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use mesh_simulator::sim::{InjectedFault, RunOptions, Scenario, hunt, replace, run, run_many};

const USAGE: &str = "usage: mesh-sim --seed N [--verbose] | --from N --to N | --planted all|FAULT | --replace N \
                     [--scenario NAME]";
/// Number of seeds within which each planted fault must be found.
const BITE: u64 = 1_000;

#[derive(Default)]
struct SimArguments {
    seed: Option<u64>,
    replace: Option<usize>,
    from: u64,
    to: u64,
    verbose: bool,
    planted: Vec<InjectedFault>,
    options: RunOptions,
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

fn parse() -> Result<SimArguments> {
    let mut out = SimArguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().context(USAGE);
        match word.as_str() {
            "--seed" => out.seed = Some(value()?.parse()?),
            "--from" => out.from = value()?.parse()?,
            "--to" => out.to = value()?.parse()?,
            "--scenario" => out.options.scenario = Some(scenario(&value()?)?),
            "--planted" => out.planted = planted(&value()?)?,
            "--replace" => out.replace = Some(value()?.parse()?),
            "--verbose" => out.verbose = true,
            _ => bail!(USAGE),
        }
    }
    if let ([fault], Some(_)) = (&out.planted[..], out.seed) {
        out.options.fault = Some(*fault);
        out.planted.clear();
    }
    if out.seed.is_none() && out.replace.is_none() && out.planted.is_empty() && out.from >= out.to {
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

fn planted(name: &str) -> Result<Vec<InjectedFault>> {
    match name {
        "all" => Ok(InjectedFault::ALL
            .into_iter()
            .map(|(fault, _)| fault)
            .collect()),
        _ => Ok(vec![name.parse().map_err(anyhow::Error::msg)?]),
    }
}

/// Returns true if every planted fault is found.
fn find(faults: &[InjectedFault]) -> bool {
    let mut all = true;
    for fault in faults {
        let found = hunt(*fault, BITE);
        all &= found.is_some();
        match found {
            Some((seeds, report)) => {
                let broken = report.broken.as_ref().map_or("", |b| b.invariant);
                say(&format!(
                    "{fault:?}: seed {} ({:?}), after {seeds} seeds: {broken}",
                    report.seed, report.scenario
                ));
            }
            None => say(&format!("{fault:?}: NOT FOUND within {BITE} seeds")),
        }
    }
    all
}

fn play(arguments: &SimArguments) -> Result<bool> {
    if !arguments.planted.is_empty() {
        return Ok(find(&arguments.planted));
    }
    if let Some(rounds) = arguments.replace {
        let done = replace(arguments.seed.unwrap_or(1), rounds);
        say(&format!("{rounds} routers replaced: {done:?}"));
        return Ok(done.is_ok());
    }
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

/// Prints a line; a closed pipe must not panic.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
