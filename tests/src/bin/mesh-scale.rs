//! `mesh-scale`: a large mesh of real routers in the simulator, measured against its goals.
//!
//! ```text
//! mesh-scale --routers 1000 --seed 1 [--scenario table|all|NAME] [--only MEASURE,…] [--at-rest] [--json] [--verbose]
//! ```

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use mesh_proto::limits::FULL_MESH;
use mesh_simulator::scale::{
    FigureTable, ScaleReport, ScaleScenario, ScenarioReport, measure_all, play,
};

const USAGE: &str = "usage: mesh-scale [--routers N] [--seed N] [--scenario NAME] [--only MEASURE,…] [--at-rest] [--json] [--verbose]";

struct ScaleArguments {
    routers: usize,
    seed: u64,
    /// Scenarios to run; empty for the table.
    scenarios: Vec<ScaleScenario>,
    /// Measures of the table to run; empty for all.
    only: Vec<String>,
    at_rest: bool,
    json: bool,
    verbose: bool,
}

fn main() -> ExitCode {
    match parse().and_then(|arguments| run(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
}

fn parse() -> Result<ScaleArguments> {
    let mut out = ScaleArguments {
        routers: 100,
        seed: 1,
        scenarios: Vec::new(),
        only: Vec::new(),
        at_rest: false,
        json: false,
        verbose: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().context(USAGE);
        match word.as_str() {
            "--routers" => out.routers = value()?.parse()?,
            "--seed" => out.seed = value()?.parse()?,
            "--scenario" => out.scenarios = scenarios(&value()?)?,
            "--only" => out.only = value()?.split(',').map(str::to_owned).collect(),
            "--at-rest" => out.at_rest = true,
            "--json" => out.json = true,
            "--verbose" => out.verbose = true,
            _ => bail!(USAGE),
        }
    }
    if out.routers < 2 {
        bail!("a mesh has at least two routers");
    }
    if out.at_rest && !out.scenarios.is_empty() {
        bail!("--at-rest is for the table: a scenario begins with nothing");
    }
    if out.at_rest && out.routers <= FULL_MESH {
        bail!(
            "--at-rest is for more than {FULL_MESH} routers: so many are all linked to one another"
        );
    }
    Ok(out)
}

fn scenarios(name: &str) -> Result<Vec<ScaleScenario>> {
    match name {
        "table" => Ok(Vec::new()),
        "all" => Ok(ScaleScenario::ALL.to_vec()),
        _ => Ok(vec![name.parse().map_err(anyhow::Error::msg)?]),
    }
}

fn run(arguments: &ScaleArguments) -> Result<bool> {
    if !arguments.scenarios.is_empty() {
        return play_all(arguments);
    }
    let begun = std::time::Instant::now();
    let mut progress = |line: &str| {
        let passed = begun.elapsed().as_secs_f64();
        let _ = writeln!(std::io::stderr(), "[{passed:6.1} s] {line}");
    };
    let outcome = measure_all(
        arguments.routers,
        arguments.seed,
        arguments.at_rest,
        &arguments.only,
        &mut progress,
    );
    if arguments.json {
        say(&serde_json::to_string_pretty(&outcome)?);
    } else {
        show(&outcome, arguments.verbose);
    }
    Ok(outcome.is_good())
}

fn play_all(arguments: &ScaleArguments) -> Result<bool> {
    let mut all = Vec::new();
    for scenario in &arguments.scenarios {
        let played = play(*scenario, arguments.routers, arguments.seed);
        if !arguments.json {
            say(&in_words(&played));
        }
        all.push(played);
    }
    if arguments.json {
        say(&serde_json::to_string_pretty(&all)?);
    }
    Ok(all.iter().all(|played| played.broken.is_none()))
}

fn in_words(played: &ScenarioReport) -> String {
    let ScenarioReport {
        scenario,
        routers,
        seed,
        seconds,
        sent,
        links,
        events,
        ..
    } = played;
    let head =
        format!("{scenario:<16} N={routers} SEED={seed}: {seconds:.0} virtual s, {events} events");
    let end = match (&played.broken, played.agreed_after) {
        (Some(broken), _) => format!("BROKEN {broken}"),
        (None, Some(after)) => format!("agreed after {after:.1} s; all promises kept"),
        (None, None) => "BROKEN no agreement".to_owned(),
    };
    format!("{head}, {sent:.0} KB sent per router, at most {links} links; {end}")
}

fn show(outcome: &ScaleReport, verbose: bool) {
    let ScaleReport {
        routers,
        seed,
        events,
        ..
    } = outcome;
    say(&format!("N={routers} SEED={seed}, {events} events\n"));
    say(&FigureTable(&outcome.figures).to_string());
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

/// Prints a line; a closed pipe must not panic.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
