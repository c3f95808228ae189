//! A small mesh whose machines are lost and replaced one after another: space, tables and names must not run out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::time::Instant;

use super::action::Action;
use super::rng::Rng;
use super::host::WorldPlan;
use super::invariants::Violation;
use super::layout::{Joined, Layout};
use super::network::HostId;
use super::run::slicing;
use super::verifier::VerifierCache;
use super::world::{SimEvent, World};

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
    world.queue.push(Instant::ZERO, SimEvent::Workload);
    for host in 0..ROUTERS {
        world.act(&Action::Start(host));
    }
    world.step_to(Instant::ZERO + WARM_UP);
    world.act(&Action::Found);
    for round in 1..=rounds {
        world.replace_one();
        if round % COUNTED == 0 || round == rounds {
            world.count();
        }
    }
    match world.broken {
        Some(broken) => Err(broken),
        None => Ok(world.workload.given),
    }
}

impl World {
    fn replace_one(&mut self) {
        let begun = self.now;
        self.workload.set_busy(true);
        self.step_to(begun + Duration::from_secs(1));
        let host = self.rng.below(ROUTERS);
        self.act(&Action::Kill(host));
        self.act(&Action::LoseState(host));
        self.step_to(self.now + BACK);
        self.act(&Action::Start(host));
        self.step_to(self.now + REMOVED);
        for at in (0..ROUTERS).filter(|at: &HostId| *at != host) {
            let force = false;
            self.act(&Action::Remove { at, host, force });
        }
        self.step_to(begun + ROUND);
    }

    fn count(&mut self) {
        self.workload.set_busy(false);
        self.step_to(self.now + PEACE);
        let check = self.addresses_in_peace();
        self.check(check);
        let check = self.names_in_peace();
        self.check(check);
    }
}
