//! Results of measures, and the mesh on which they are taken one after another.

use std::time::Duration;

use super::bytes::Bytes;
use super::figures::{Figure, figure};
use super::goals::ScaleGoal;
use super::plan::{MANY, MeshPlan};
use super::world::LargeMesh;
use crate::sim::network::HostId;

/// Time span in which all routers start.
pub(crate) const TOGETHER: Duration = Duration::from_millis(500);
/// Time limit for a mesh to settle after any disruption.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Time for links, sessions and paths to be complete after records agree.
pub(crate) const REST: Duration = Duration::from_secs(20);
/// Time for links to be made in a mesh that starts settled.
const LINKED: Duration = Duration::from_secs(6);
const IDLE_FOR: Duration = Duration::from_secs(30);

/// Results, and the bytes sent for each by kind.
pub(crate) struct Measured {
    pub(crate) figures: Vec<Figure>,
    /// Bytes of all routers by kind, with their purpose, and the number of routers, seconds or changes to divide by.
    pub(crate) kinds: Vec<(&'static str, Bytes, f64)>,
    pub(crate) world: LargeMesh,
    idle: Option<f64>,
}

impl Measured {
    pub(super) fn new(plan: MeshPlan) -> Self {
        Self {
            figures: Vec::new(),
            kinds: Vec::new(),
            world: LargeMesh::new(plan),
            idle: None,
        }
    }

    /// Starts all routers, and waits until they agree.
    pub(super) fn begin(&mut self, plan: MeshPlan, say: &mut dyn FnMut(&str)) {
        let everybody: Vec<HostId> = (0..plan.hosts).collect();
        self.world.start_all(&everybody, TOGETHER);
        if plan.at_rest {
            self.world.run(TOGETHER + LINKED);
        }
        let begun = self.world.until_agreed(&everybody, PATIENCE);
        let sent = self.world.sent().total() as f64 / count(plan.hosts) / 1e6;
        let how = if plan.at_rest {
            "started as if it had run before"
        } else {
            "started"
        };
        let begun = seconds(begun);
        say(&format!(
            "{how}; agreed after {begun}, {sent:.2} MB sent per router"
        ));
    }

    /// Starts the routers that lost power, and lets the mesh settle.
    pub(super) fn put_right(&mut self) {
        let running = self.world.running();
        let stopped = (0..self.world.len()).filter(|h| running.binary_search(h).is_err());
        let stopped: Vec<HostId> = stopped.collect();
        if !stopped.is_empty() {
            self.world.start_all(&stopped, TOGETHER);
            self.world.run(REST);
        }
        self.world.run(REST);
    }

    /// Returns the number of repetitions, lower than `usual` in a very large mesh, where many routers observe each.
    pub(super) fn rounds(&self, usual: usize) -> usize {
        if self.world.len() > MANY {
            usual.div_ceil(4)
        } else {
            usual
        }
    }

    /// Returns the bytes that each router sends per second while nothing changes; measured at the first call.
    pub(super) fn idle_rate(&mut self) -> f64 {
        if let Some(rate) = self.idle {
            return rate;
        }
        let before = self.world.sent();
        self.world.run(IDLE_FOR);
        let sent = self.world.sent().since(&before);
        let by = count(self.world.len()) * IDLE_FOR.as_secs_f64();
        let rate = sent.total() as f64 / by;
        self.kinds
            .push(("idle, bytes per router and second", sent, by));
        self.idle = Some(rate);
        rate
    }

    pub(super) fn add(&mut self, goal: &ScaleGoal, value: Option<f64>, detail: String) {
        let n = self.world.len();
        self.figures.push(figure(goal, n, value, detail));
    }
}

pub(super) fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

pub(super) fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(
        || "never".to_owned(),
        |t| format!("{:.2} s", t.as_secs_f64()),
    )
}
