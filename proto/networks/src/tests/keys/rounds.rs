//! Random histories: whatever happened, soon after it all members within reach have one key, and nobody else has it.

use proptest::prelude::*;

use super::world::{BAD, GOOD, World};
use super::*;

const HOSTS: u8 = 6;

#[derive(Clone, Debug)]
enum Event {
    Join(usize),
    Leave(usize),
    Restart(usize),
    Group(usize, u8),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let host = 0..usize::from(HOSTS);
    prop_oneof![
        3 => host.clone().prop_map(Event::Join),
        2 => host.clone().prop_map(Event::Leave),
        1 => host.clone().prop_map(Event::Restart),
        2 => (host, 0..2_u8).prop_map(|(at, group)| Event::Group(at, group)),
        4 => prop_oneof![0..3_u64, 0..60_u64, 0..300_u64].prop_map(Event::Pass),
    ]
}

fn happens(world: &mut World, event: &Event) {
    match *event {
        Event::Join(at) => world.join(at),
        Event::Leave(at) => world.leave(at),
        Event::Restart(at) => world.restart(at),
        Event::Group(at, group) => world.set_group(at, group),
        Event::Pass(seconds) => world.pass(seconds),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn all_members_within_reach_end_with_one_key(
        events in prop::collection::vec(event(), 1..25),
        is_bad: bool,
        seed: u64,
    ) {
        let mut world = World::new(HOSTS, if is_bad { BAD } else { GOOD }, seed);
        world.join(0);
        for event in &events {
            happens(&mut world, event);
        }
        // Each half for itself, then both together.
        world.pass(200);
        for group in 0..2 {
            if !world.members(group).is_empty() {
                world.check_agreement(group);
            }
        }
        world.heal();
        world.pass(200);
        if world.members(0).is_empty() {
            return Ok(());
        }
        let before = world.check_agreement(0);
        world.check_secrecy();
        // One more leaves, and what it had opens nothing.
        let members = world.members(0);
        let leaver = members[members.len() - 1];
        let stolen = world.keys(leaver);
        world.leave(leaver);
        world.pass(300);
        for at in world.members(0) {
            prop_assert_ne!(world.check_agreement(0), before);
            prop_assert!(!world.opens(&stolen, at));
        }
        let is_quiet = |at: &usize| {
            let due = world.hosts[*at].networks.keys.due();
            due > world.now + Duration::from_secs(60)
        };
        prop_assert!(world.members(0).iter().all(is_quiet));
    }
}
