//! `mesh-house`: metrics of the source code, next to their goals.
//!
//! ```text
//! mesh-house                      # the table
//! mesh-house --list cycles        # places to improve
//! ```

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use mesh_tests::house::House;
use mesh_tests::house::table::{Measure, Scorecard};

/// Measures the readability of the workspace's sources, and prints the results with their goals.
#[derive(Debug, Parser)]
#[command(name = "mesh-house", after_help = EXAMPLE)]
struct HouseArguments {
    /// Root of the workspace [default: the one this program was built from]
    root: Option<PathBuf>,
    /// Print the table as JSON
    #[arg(long)]
    json: bool,
    /// Print the places that a measure counts, with file and line
    #[arg(long, value_name = "MEASURE", conflicts_with = "json")]
    list: Option<Measure>,
    /// Exit with status 1 if a goal is missed
    #[arg(long)]
    strict: bool,
}

const EXAMPLE: &str = "\
Example:
  mesh-house
  mesh-house --list cycles | grep '^proto/'
  mesh-house --json | jq '.[] | select(.is_met | not) | .what'";

fn main() -> ExitCode {
    match run(&HouseArguments::parse()) {
        Ok(is_good) => ExitCode::from(u8::from(!is_good)),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "mesh-house: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether the exit status is to be 0.
fn run(arguments: &HouseArguments) -> Result<bool> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let house = House::read(arguments.root.as_deref().unwrap_or(&built))?;
    if let Some(measure) = arguments.list {
        for finding in measure.list(&house) {
            say(&finding.to_string());
        }
    }
    let table = Scorecard::of(&house);
    if arguments.json {
        say(&serde_json::to_string_pretty(&table)?);
    } else if arguments.list.is_none() {
        say(table.to_string().trim_end());
    }
    Ok(table.is_met() || !arguments.strict)
}

/// Prints a line; a closed pipe is no reason to panic.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
