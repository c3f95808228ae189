//! Public interface of a run: size, seed, results.

use serde::Serialize;

use super::bytes::Bytes;
use super::figures::Figure;
use super::measure;
use super::plan::{MANY, MeshPlan};
use super::scenario::{self, ScaleScenario};

/// Results of a run.
#[derive(Debug, Serialize)]
pub struct ScaleReport {
    /// Number of routers.
    pub routers: usize,
    /// Seed that reproduces the run.
    pub seed: u64,
    /// Measured figures.
    pub figures: Vec<Figure>,
    /// Bytes sent by purpose and kind.
    pub kinds: Vec<(String, Vec<(String, f64)>)>,
    /// Violated promise, if any.
    pub broken: Option<String>,
    /// Number of events.
    pub events: u64,
}

impl ScaleReport {
    /// True if every goal is met and every promise kept.
    pub fn is_good(&self) -> bool {
        self.broken.is_none() && self.figures.iter().all(|f| f.met)
    }
}

/// Takes the measures of the table, or only those whose names start with one of `only`; `say` receives the progress.
/// The mesh starts settled if requested, or if there are more than [`MANY`] routers; then a restart of all, a crash and
/// a partition are measured only if named in `only`.
pub fn measure_all(
    routers: usize,
    seed: u64,
    at_rest: bool,
    only: &[String],
    say: &mut dyn FnMut(&str),
) -> ScaleReport {
    let plan = MeshPlan {
        at_rest: at_rest || routers > MANY,
        ..MeshPlan::new(routers, seed)
    };
    let measured = measure::table(plan, only, say);
    let each = |bytes: &Bytes, by: f64| {
        let kinds = bytes
            .iter()
            .map(|(kind, sent)| (kind.to_owned(), sent as f64 / by));
        kinds.collect()
    };
    let kinds = measured.kinds.iter();
    ScaleReport {
        routers,
        seed,
        kinds: kinds
            .map(|(what, bytes, by)| ((*what).to_owned(), each(bytes, *by)))
            .collect(),
        figures: measured.figures,
        broken: measured.world.broken.as_ref().map(ToString::to_string),
        events: measured.world.events(),
    }
}

/// Result of a scenario.
#[derive(Debug, Serialize)]
pub struct ScenarioReport {
    /// Name of the scenario.
    pub scenario: String,
    /// Number of routers.
    pub routers: usize,
    /// Seed that reproduces the run.
    pub seed: u64,
    /// Duration in virtual seconds.
    pub seconds: f64,
    /// Virtual seconds from the last disruption to agreement.
    pub agreed_after: Option<f64>,
    /// Kilobytes sent per router, on average.
    pub sent: f64,
    /// Largest number of links of a router at the end.
    pub links: usize,
    /// Violated promise, if any.
    pub broken: Option<String>,
    /// Number of events.
    pub events: u64,
}

/// Plays a scenario, and checks the promises after it.
pub fn play(scenario: ScaleScenario, routers: usize, seed: u64) -> ScenarioReport {
    let played = scenario::play(scenario, MeshPlan::new(routers, seed));
    let world = &played.world;
    let links = (0..world.len()).map(|h| world.links(h)).max();
    ScenarioReport {
        scenario: scenario.to_string(),
        routers,
        seed,
        seconds: world
            .now
            .since(mesh_proto::time::Instant::ZERO)
            .as_secs_f64(),
        agreed_after: played.agreed.map(|t| t.as_secs_f64()),
        sent: world.sent().total() as f64 / routers as f64 / 1e3,
        links: links.unwrap_or(0),
        broken: played.broken.as_ref().map(ToString::to_string),
        events: world.events(),
    }
}
