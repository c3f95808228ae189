//! Options of a run, and its choices by seed: scenario, layout, size.

use super::fault::InjectedFault;
use super::layout::Layout;
use super::rng::Rng;
use super::scenario::Scenario;

/// Interval of seeds that run a mesh of the largest size, with the scenario `Everything`.
const LARGE_EVERY: u64 = 50;
/// Interval of seeds whose meshes have networks besides `default`.
const NETWORKS_EVERY: u64 = 4;
/// Routers in the largest meshes: more than those that link with all others.
const LARGE: usize = 40;

/// Returns the layout of a large mesh. Discovery connects everybody up to 32 routers, and costs twenty times as many
/// events as other layouts, so only one large mesh in ten has it.
fn large_layout(seed: u64) -> Layout {
    match seed / LARGE_EVERY % 10 {
        0 => Layout::Discovery,
        1 | 3 | 5 | 7 | 9 => Layout::Graph,
        _ => Layout::Tree,
    }
}

/// Options of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Injects this fault.
    pub fault: Option<InjectedFault>,
    /// Leaves large meshes out, as with an injected fault.
    pub small: bool,
    /// Runs this scenario rather than the seed's own.
    pub scenario: Option<Scenario>,
    /// Has networks besides `default` with any seed.
    pub networks: bool,
}

/// Parameters of a run.
pub(crate) struct Choice {
    pub(crate) scenario: Scenario,
    pub(crate) layout: Layout,
    pub(crate) routers: usize,
    /// Seed of the networks besides `default`, if there are any.
    pub(crate) networks: Option<u64>,
    pub(crate) rng: Rng,
}

impl Choice {
    pub(crate) fn of(seed: u64, options: RunOptions) -> Self {
        let mut rng = Rng::new(seed);
        let large = seed.is_multiple_of(LARGE_EVERY)
            && options.fault.is_none()
            && !options.small
            && options.scenario.is_none();
        let drawn = if large {
            Scenario::Everything
        } else {
            Scenario::drawn(&mut rng)
        };
        let scenario = options.scenario.unwrap_or(drawn);
        let layout = loop {
            let layout = Layout::ALL[rng.below(Layout::ALL.len())];
            if scenario.suits(layout) && (!large || layout == large_layout(seed)) {
                break layout;
            }
        };
        let routers = match rng.below(100) {
            _ if large => LARGE,
            _ if scenario == Scenario::Rekey => 3 + rng.below(3),
            0..85 => 3 + rng.below(5),
            85..98 => 8 + rng.below(7),
            _ => 15 + rng.below(36),
        };
        // Datagrams have a hop limit of 16: longer chains are outside the promises.
        let routers = match layout {
            Layout::Line => routers.min(12),
            // A ring with a blocked pair is a line.
            Layout::Ring if scenario == Scenario::UdpBlocked => routers.min(12),
            Layout::Ring => routers.min(24),
            _ => routers,
        };
        let networks = options.networks || seed % NETWORKS_EVERY == NETWORKS_EVERY - 1;
        Self {
            scenario,
            layout,
            routers,
            // Two routers with one key assign different labels in one epoch.
            networks: (networks && scenario != Scenario::Clone).then_some(seed),
            rng,
        }
    }
}
