//! Goals of the figures, by size of the mesh.

/// Sizes with goals; other sizes use those of the next larger one.
const SIZES: [usize; 3] = [100, 1_000, 10_000];

/// Name, unit and goals by size.
pub(crate) type ScaleGoal = (&'static str, &'static str, [f64; 3]);

pub(crate) const KNOWN: ScaleGoal = (
    "one link change known everywhere, p99",
    "s",
    [0.4, 0.5, 0.8],
);
pub(crate) const NAME: ScaleGoal = (
    "name of a new container known everywhere, p99",
    "s",
    [1.0, 1.5, 2.0],
);
pub(crate) const CHANGE: ScaleGoal = ("bytes sent per router per change", "KB", [1.5, 2.0, 2.0]);
pub(crate) const IDLE: ScaleGoal = ("idle control traffic per router", "KB/s", [1.0, 1.5, 2.0]);
pub(crate) const DEAD: ScaleGoal = (
    "neighbour dead → traffic rerouted, p99",
    "s",
    [5.0, 6.0, 7.0],
);
pub(crate) const RESTART: ScaleGoal = (
    "all restart at once, converged after the last is up",
    "s",
    [2.0, 3.0, 15.0],
);
pub(crate) const RESTART_BYTES: ScaleGoal = (
    "all restart at once, sent per router",
    "MB",
    [8.0, 8.0, 15.0],
);
pub(crate) const CRASH: ScaleGoal = ("10 % crash at once, survivors agree", "s", [6.0, 6.0, 8.0]);
pub(crate) const HEAL: ScaleGoal = (
    "50/50 partition of 10 minutes, agreed after heal",
    "s",
    [3.0, 5.0, 8.0],
);
pub(crate) const MEMORY: ScaleGoal = (
    "memory of one router's control state",
    "MiB",
    [4.0, 20.0, 64.0],
);
pub(crate) const COPIES: ScaleGoal = ("broadcast: copies per router", "", [1.0, 1.0, 1.0]);
pub(crate) const MISSES: ScaleGoal = ("broadcast: misses", "", [0.0, 0.0, 0.0]);
pub(crate) const DUPLICATES: ScaleGoal = ("broadcast: duplicates delivered", "", [0.0, 0.0, 0.0]);
pub(crate) const LINKS: ScaleGoal = ("links per router, most", "", [16.0, 16.0, 16.0]);

/// Returns the upper limit of a goal for `n` routers.
pub(crate) fn limit(goal: &ScaleGoal, n: usize) -> f64 {
    let size = SIZES.iter().position(|size| n <= *size).unwrap_or(2);
    goal.2.get(size).copied().unwrap_or(0.0)
}
