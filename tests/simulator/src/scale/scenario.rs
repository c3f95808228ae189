//! Disruptions of a large mesh; [`super::promises`] are checked after each.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::measured::{REST, TOGETHER};
use super::plan::MeshPlan;
use super::world::LargeMesh;
use crate::sim::hostile::Harm;
use crate::sim::invariants::Violation;
use crate::sim::network::HostId;

/// Kind of disruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleScenario {
    /// Routers join one after another, all within 150 s.
    OneByOne,
    /// All routers start within half a second.
    AllAtOnce,
    /// Each router is killed and restarted in turn, all within 200 s.
    RollingRestart,
    /// Six out of ten routers are killed and restarted together, three times.
    RestartStorm,
    /// For an hour, a tenth of the routers is replaced by new ones each minute.
    Churn,
    /// Links fail one by one and come back in another order.
    SwizzleClog,
    /// One link goes up and down twenty times.
    Flapping,
    /// The underlay splits into two halves for a minute and heals.
    Partition,
    /// A member publishes ten thousand valid records per second.
    Flood,
    /// A member forwards modified records of others.
    Forge,
    /// Clocks are twenty years apart, which must have no effect at all.
    Clocks,
    /// A tenth of the routers gets a twentieth of a CPU for a minute.
    Starved,
}

impl ScaleScenario {
    /// All scenarios.
    pub const ALL: [ScaleScenario; 12] = [
        ScaleScenario::OneByOne,
        ScaleScenario::AllAtOnce,
        ScaleScenario::RollingRestart,
        ScaleScenario::RestartStorm,
        ScaleScenario::Churn,
        ScaleScenario::SwizzleClog,
        ScaleScenario::Flapping,
        ScaleScenario::Partition,
        ScaleScenario::Flood,
        ScaleScenario::Forge,
        ScaleScenario::Clocks,
        ScaleScenario::Starved,
    ];
}

impl fmt::Display for ScaleScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(c.to_ascii_lowercase());
        }
        f.pad(&name)
    }
}

impl FromStr for ScaleScenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |s: &ScaleScenario| s.to_string() == text;
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            let names: Vec<String> = Self::ALL.iter().map(ToString::to_string).collect();
            format!("no scenario '{text}'; there are {}", names.join(", "))
        })
    }
}

/// Result of a scenario.
pub(crate) struct ScenarioRun {
    pub(crate) world: LargeMesh,
    /// Time from the last disruption to agreement.
    pub(crate) agreed: Option<Duration>,
    pub(crate) broken: Option<Violation>,
}

/// Plays a scenario on a mesh, and checks the promises.
pub(crate) fn play(scenario: ScaleScenario, plan: MeshPlan) -> ScenarioRun {
    let mut world = LargeMesh::new(plan);
    let everybody: Vec<HostId> = (0..plan.hosts).collect();
    if scenario == ScaleScenario::OneByOne {
        one_by_one(&mut world);
    } else {
        world.start_all(&everybody, TOGETHER);
        world.run(TOGETHER);
    }
    match scenario {
        ScaleScenario::OneByOne | ScaleScenario::AllAtOnce => {}
        ScaleScenario::Clocks => return clocks(plan),
        _ => {
            world.run(REST);
            trouble(scenario, &mut world);
        }
    }
    finish(world)
}

fn finish(mut world: LargeMesh) -> ScenarioRun {
    let checked = world.keeps_its_promises();
    ScenarioRun {
        agreed: checked.as_ref().ok().copied(),
        broken: checked.err(),
        world,
    }
}

fn trouble(scenario: ScaleScenario, world: &mut LargeMesh) {
    match scenario {
        ScaleScenario::OneByOne | ScaleScenario::AllAtOnce | ScaleScenario::Clocks => {}
        ScaleScenario::RollingRestart => rolling_restart(world),
        ScaleScenario::RestartStorm => restart_storm(world),
        ScaleScenario::Churn => churn(world),
        ScaleScenario::SwizzleClog => swizzle_clog(world),
        ScaleScenario::Flapping => flapping(world),
        ScaleScenario::Partition => {
            let sides = (0..world.len()).map(|_| world.rng.chance(500)).collect();
            world.underlay.sides = Some(sides);
            world.run(Duration::from_secs(60));
            world.underlay.sides = None;
        }
        ScaleScenario::Flood => hostile(world, Harm::Flood),
        ScaleScenario::Forge => hostile(world, Harm::Forge),
        ScaleScenario::Starved => starved(world),
    }
}

/// Returns the share of `whole` of each of `n` steps.
fn each(whole: Duration, n: usize) -> Duration {
    whole / u32::try_from(n.max(1)).unwrap_or(u32::MAX)
}

fn one_by_one(world: &mut LargeMesh) {
    let pace = each(Duration::from_secs(150), world.len());
    for host in 0..world.len() {
        world.start(host, Duration::ZERO);
        world.run(pace);
    }
}

fn rolling_restart(world: &mut LargeMesh) {
    let pace = each(Duration::from_secs(200), world.len());
    for host in 0..world.len() {
        world.kill(host);
        let down = world.rng.millis(50, 1_500);
        world.start(host, down);
        world.run(pace);
    }
    world.run(Duration::from_millis(1_500));
}

fn restart_storm(world: &mut LargeMesh) {
    for _ in 0..3 {
        for host in 0..world.len() {
            if world.rng.chance(600) {
                world.kill(host);
                let down = world.rng.millis(10, 2_500);
                world.start(host, down);
            }
        }
        world.run(Duration::from_secs(4));
    }
}

fn churn(world: &mut LargeMesh) {
    let hour = Duration::from_secs(3_600);
    let replaced = 60 * world.len() / 10;
    let pace = each(hour, replaced);
    for _ in 0..replaced {
        let host = world.rng.below(world.len());
        if world.rng.chance(500) {
            world.kill(host);
        } else {
            world.power_off(host);
        }
        world.replace(host, Duration::from_secs(1));
        world.run(pace);
    }
    world.run(Duration::from_secs(1));
}

fn swizzle_clog(world: &mut LargeMesh) {
    let mut pairs = Vec::new();
    while pairs.len() < 12 + world.len() / 10 {
        let a = world.rng.below(world.len());
        let others = world.neighbours(a);
        if let Some(b) = others.get(world.rng.below(others.len())) {
            pairs.push((a.min(*b), a.max(*b)));
        }
    }
    for pair in &pairs {
        world.underlay.cut.insert(*pair);
        world.run(Duration::from_millis(300));
    }
    world.run(Duration::from_secs(10));
    world.rng.shuffle(&mut pairs);
    for pair in &pairs {
        world.underlay.cut.remove(pair);
        world.run(Duration::from_millis(300));
    }
}

fn flapping(world: &mut LargeMesh) {
    let a = world.rng.below(world.len());
    let others = world.neighbours(a);
    let Some(b) = others.get(world.rng.below(others.len())).copied() else {
        return;
    };
    for _ in 0..20 {
        world.underlay.cut.insert((a.min(b), a.max(b)));
        let down = world.rng.millis(100, 4_500);
        world.run(down);
        world.underlay.cut.clear();
        let up = world.rng.millis(100, 1_500);
        world.run(up);
    }
}

/// Makes the last router malicious for half a minute; it remains during the checks.
fn hostile(world: &mut LargeMesh, harm: Harm) {
    world.turn(world.len() - 1, harm);
    world.run(Duration::from_secs(30));
}

fn starved(world: &mut LargeMesh) {
    set_starved(world, 950);
    world.run(Duration::from_secs(60));
    set_starved(world, 0);
}

fn set_starved(world: &mut LargeMesh, per_mille: u32) {
    for host in (0..world.len()).step_by(10) {
        if let Some(node) = world.node_mut(host) {
            node.starved = per_mille;
        }
    }
}

/// Compares runs with equal clocks and with clocks twenty years apart, event by event.
fn clocks(plan: MeshPlan) -> ScenarioRun {
    let played = [Duration::ZERO, Duration::from_secs(20 * 365 * 86_400)].map(|ahead| {
        let mut world = LargeMesh::new(MeshPlan { ahead, ..plan });
        let everybody: Vec<HostId> = (0..plan.hosts).collect();
        world.start_all(&everybody, TOGETHER);
        world.run(REST);
        restart_storm(&mut world);
        finish(world)
    });
    let [here, mut there] = played;
    let same = here.world.events() == there.world.events()
        && here.world.sent() == there.world.sent()
        && here.agreed == there.agreed;
    if !same && there.broken.is_none() {
        let (a, b) = (here.world.events(), there.world.events());
        let detail = format!("{a} events, and {b} with clocks twenty years apart");
        there.broken = Some(Violation::new("I11 no wall clock", detail));
    }
    there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_known_by_their_names() {
        for scenario in ScaleScenario::ALL {
            assert_eq!(scenario.to_string().parse(), Ok(scenario));
        }
        assert!("swizzle".parse::<ScaleScenario>().is_err());
    }

    #[test]
    fn one_seed_is_one_run_whatever_the_clocks_say() {
        let seed = |seed| play(ScaleScenario::Clocks, MeshPlan::new(6, seed));
        let first = seed(1);
        assert_eq!(first.broken, None);
        assert_eq!(first.world.events(), seed(1).world.events());
        assert_ne!(first.world.events(), seed(2).world.events());
    }

    #[test]
    fn a_mesh_that_cannot_agree_is_told_so() {
        let mut world = LargeMesh::new(MeshPlan::new(6, 1));
        let everybody: Vec<HostId> = (0..6).collect();
        world.start_all(&everybody, TOGETHER);
        world.run(REST);
        world.underlay.sides = Some((0..6).map(|h| h < 3).collect());
        world.run(REST);
        let broken = finish(world).broken.map(|b| b.invariant);
        assert_eq!(broken, Some("I3 agreement"));
    }
}
