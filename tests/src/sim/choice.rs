//! What a seed chooses: the trouble, the shape, the size.

use super::dice::Dice;
use super::layout::Layout;
use super::run::Options;
use super::scenario::Scenario;

/// Every so many seeds a mesh is as large as meshes get here, and everything goes wrong in it.
const LARGE_EVERY: u64 = 50;
/// Routers of the largest meshes.
const LARGE: usize = 50;

/// Discovery links everybody to everybody up to 32 routers: twenty times as many events as elsewhere. One large mesh in
/// ten has it.
fn large_layout(seed: u64) -> Layout {
    match seed / LARGE_EVERY % 10 {
        0 => Layout::Discovery,
        1 | 3 | 5 | 7 | 9 => Layout::Graph,
        _ => Layout::Tree,
    }
}

/// What a seed chooses.
pub(crate) struct Choice {
    pub(crate) scenario: Scenario,
    pub(crate) layout: Layout,
    pub(crate) routers: usize,
    pub(crate) dice: Dice,
}

impl Choice {
    pub(crate) fn of(seed: u64, options: Options) -> Self {
        let mut dice = Dice::new(seed);
        let large = seed.is_multiple_of(LARGE_EVERY)
            && options.planted.is_none()
            && !options.small
            && options.scenario.is_none();
        let drawn = if large {
            Scenario::Everything
        } else {
            Scenario::drawn(&mut dice)
        };
        let scenario = options.scenario.unwrap_or(drawn);
        let layout = loop {
            let layout = Layout::ALL[dice.below(Layout::ALL.len())];
            if scenario.suits(layout) && (!large || layout == large_layout(seed)) {
                break layout;
            }
        };
        let routers = match dice.below(100) {
            _ if large => LARGE,
            _ if scenario == Scenario::Rekey => 3 + dice.below(3),
            0..85 => 3 + dice.below(5),
            85..98 => 8 + dice.below(7),
            _ => 15 + dice.below(36),
        };
        // A datagram may take 16 hops: longer chains are not meshes we promise anything about.
        let routers = match layout {
            Layout::Line => routers.min(12),
            // A ring of which a pair is blocked is a line.
            Layout::Ring if scenario == Scenario::UdpBlocked => routers.min(12),
            Layout::Ring => routers.min(24),
            _ => routers,
        };
        Self {
            scenario,
            layout,
            routers,
            dice,
        }
    }
}
