//! Result of a run.

use std::fmt;
use std::time::Duration;

use super::choice::Choice;
use super::invariants::Violation;
use super::layout::Layout;
use super::scenario::Scenario;

/// Result of a run.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Its seed.
    pub seed: u64,
    /// Scenario of the run.
    pub scenario: Scenario,
    /// Layout of the mesh.
    pub layout: Layout,
    /// Number of routers.
    pub routers: usize,
    /// Hash of all events.
    pub trace: u64,
    /// Number of events.
    pub events: u64,
    /// Number of frames sent by containers.
    pub frames: usize,
    /// Number of their deliveries.
    pub deliveries: usize,
    /// Number of relay hops with the same view of the mesh as the previous hop.
    pub hops_compared: u64,
    /// Virtual time from the last fault to agreement.
    pub agreed_after: Option<Duration>,
    /// Violated invariant, if any.
    pub broken: Option<Violation>,
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunReport {
            seed,
            scenario,
            layout,
            routers,
            events,
            ..
        } = self;
        write!(
            f,
            "seed {seed}: {scenario:?}, {layout:?} of {routers}, {events} events"
        )?;
        match (&self.broken, self.agreed_after) {
            (Some(broken), _) => write!(
                f,
                "\n  BROKEN {broken}\n  replay: cargo run -p mesh-tests --bin mesh-sim -- --seed {seed} --verbose"
            ),
            (None, Some(after)) => write!(f, ", agreed after {:.1} s", after.as_secs_f64()),
            (None, None) => Ok(()),
        }
    }
}

impl RunReport {
    pub(crate) fn new(seed: u64, choice: &Choice) -> Self {
        Self {
            seed,
            scenario: choice.scenario,
            layout: choice.layout,
            routers: choice.routers,
            trace: 0,
            events: 0,
            frames: 0,
            deliveries: 0,
            hops_compared: 0,
            agreed_after: None,
            broken: None,
        }
    }
}
