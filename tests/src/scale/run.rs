//! A run from outside: its size, its seed, and what comes of it.

use serde::Serialize;

use super::bytes::Bytes;
use super::figures::Figure;
use super::measure;
use super::plan::{MANY, Plan};
use super::scenario::{self, Scenario};

/// What came of a run.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Routers.
    pub routers: usize,
    /// The seed that gives this run again.
    pub seed: u64,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// What was sent for what, by kind: bytes each.
    pub kinds: Vec<(String, Vec<(String, f64)>)>,
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
    /// Events that happened.
    pub events: u64,
}

impl Outcome {
    /// Whether every goal is reached and every promise kept.
    pub fn is_good(&self) -> bool {
        self.broken.is_none() && self.figures.iter().all(|f| f.met)
    }
}

/// Measures what the table asks for, or of it only the measures whose names begin with one of `only`; `say` is told how
/// far it is. The mesh begins as if it had run for long when that is asked for, or when there are more than
/// [`MANY`] routers; then a restart of all, a crash and a partition are measured only when `only` has them.
pub fn measure_all(
    routers: usize,
    seed: u64,
    at_rest: bool,
    only: &[String],
    say: &mut dyn FnMut(&str),
) -> Outcome {
    let plan = Plan {
        at_rest: at_rest || routers > MANY,
        ..Plan::new(routers, seed)
    };
    let measured = measure::table(plan, only, say);
    let each = |bytes: &Bytes, by: f64| {
        let kinds = bytes
            .iter()
            .map(|(kind, sent)| (kind.to_owned(), sent as f64 / by));
        kinds.collect()
    };
    let kinds = measured.kinds.iter();
    Outcome {
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

/// How a scenario went.
#[derive(Debug, Serialize)]
pub struct Played {
    /// Its name.
    pub scenario: String,
    /// Routers.
    pub routers: usize,
    /// The seed that gives this run again.
    pub seed: u64,
    /// Virtual seconds it took.
    pub seconds: f64,
    /// Virtual seconds from the last fault until all agreed.
    pub agreed_after: Option<f64>,
    /// Kilobytes that each router sent, on average.
    pub sent: f64,
    /// The most links of a router at the end.
    pub links: usize,
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
    /// Events that happened.
    pub events: u64,
}

/// Plays a scenario and checks the promises after it.
pub fn play(scenario: Scenario, routers: usize, seed: u64) -> Played {
    let played = scenario::play(scenario, Plan::new(routers, seed));
    let world = &played.world;
    let links = (0..world.len()).map(|h| world.links(h)).max();
    Played {
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
