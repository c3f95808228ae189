//! A small mesh whose machines are lost and replaced one after another: space, tables and names must not run out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::time::Instant;

use super::action::Action;
use super::event::SimEvent;
use super::invariants::Violation;
use super::layout::{Joined, Layout};
use super::network::HostId;
use super::plan::WorldPlan;
use super::rng::Rng;
use super::run::slicing;
use super::verifier::VerifierCache;
use super::world::World;

const ROUTERS: usize = 3;
const WARM_UP: Duration = Duration::from_secs(8);
/// Time from the loss of a machine to the start of its replacement, and to its removal on all others.
const BACK: Duration = Duration::from_millis(300);
const REMOVED: Duration = Duration::from_secs(4);
/// Duration of a round, and of the quiet period every so many rounds in which everything is checked.
const ROUND: Duration = Duration::from_millis(5_500);
const COUNTED: usize = 25;
const PEACE: Duration = Duration::from_secs(12);

/// Replaces routers `rounds` times. Returns the number of addresses allocated.
///
/// # Errors
/// The violated invariant.
pub fn replace(seed: u64, rounds: usize) -> Result<usize, Violation> {
    let mut rng = Rng::new(seed);
    let pairs = Layout::Discovery.targets(ROUTERS, &mut rng);
    let plan = WorldPlan {
        networks: None,
        hosts: ROUTERS,
        // The first host needs targets as well, for when it is the one replaced.
        targets: (0..ROUTERS)
            .map(|h| vec![(h + 1) % ROUTERS, (h + 2) % ROUTERS])
            .collect(),
        joined: Joined {
            pairs: pairs.into_iter().collect::<BTreeSet<_>>(),
            discovery: true,
        },
        names: false,
        open: false,
        clocks: Duration::from_secs(3_600),
        fault: None,
        slicing: slicing(&mut rng),
    };
    let mut world = World::new(&plan, rng, Arc::new(VerifierCache::default()), None);
    world.runtime.after(Duration::ZERO, SimEvent::Workload);
    for host in 0..ROUTERS {
        world.apply(&Action::Start(host));
    }
    world.step_to(Instant::ZERO + WARM_UP);
    world.apply(&Action::Found);
    let mut replacement = Replacement { world };
    for round in 1..=rounds {
        replacement.replace_one();
        if round % COUNTED == 0 || round == rounds {
            replacement.count();
        }
    }
    let world = replacement.world;
    match world.runtime.broken() {
        Some(broken) => Err(broken.clone()),
        None => Ok(world.workload.allocated()),
    }
}

/// A world whose routers are replaced.
struct Replacement {
    world: World,
}

impl Replacement {
    fn step(&mut self, time: Duration) {
        self.world.step_to(self.world.runtime.now() + time);
    }

    fn replace_one(&mut self) {
        let begun = self.world.runtime.now();
        self.world.workload.set_busy(true);
        self.step(Duration::from_secs(1));
        let host = self.world.runtime.rng().below(ROUTERS);
        self.world.apply(&Action::Kill(host));
        self.world.apply(&Action::LoseState(host));
        self.step(BACK);
        self.world.apply(&Action::Start(host));
        self.step(REMOVED);
        for at in (0..ROUTERS).filter(|at: &HostId| *at != host) {
            let force = false;
            self.world.apply(&Action::Remove { at, host, force });
        }
        self.world.step_to(begun + ROUND);
    }

    fn count(&mut self) {
        self.world.workload.set_busy(false);
        self.step(PEACE);
        let World {
            hosts, workload, ..
        } = &self.world;
        let components = self.world.inspect().components();
        let checks = [
            workload.check_addresses_when_quiet(&components, hosts),
            workload.check_names_when_quiet(&components, hosts),
        ];
        for check in checks {
            self.world.runtime.check(check);
        }
    }
}
