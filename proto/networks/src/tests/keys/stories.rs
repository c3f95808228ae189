//! Joins, departures, changes, partitions and restarts, one at a time.

use mesh_proto::limits::{NETWORK_KEY_HOLD, NETWORK_KEY_KEEPERS, NETWORK_KEY_LINGER};

use super::world::{BAD, GOOD, NET, World};
use super::*;

/// Seconds after which a departure has led to another key everywhere: hold, grace, settling, and messages.
const REPLACED: u64 = 100;
/// Seconds after which all within reach of one another have one key.
const AGREED: u64 = 60;

/// Returns a world of which all hosts are members with one key.
fn agreed(hosts: u8, seed: u64) -> World {
    let mut world = World::new(hosts, GOOD, seed);
    for at in 0..usize::from(hosts) {
        world.join(at);
        world.pass(8);
    }
    world.pass(AGREED + NETWORK_KEY_HOLD.as_secs());
    world.check_agreement(0);
    world
}

#[test]
fn a_second_member_gets_the_key_of_the_first_within_a_second() {
    let mut world = World::new(3, GOOD, 1);
    world.join(0);
    assert_eq!(world.sealing(0), None);
    world.pass(6);
    let key = world.sealing(0).expect("a key of its own");
    world.join(1);
    world.pass(1);
    assert_eq!(world.sealing(1), Some(key));
    assert_eq!(world.check_agreement(0), key);
    assert!(world.opens(&world.keys(0), 1) && world.opens(&world.keys(1), 0));
    // The third host relays all of it.
    assert!(world.keys(2).sealing().is_none());
    world.check_secrecy();
    let printed = format!("{:?}", world.hosts[0].networks);
    for key in world.hosts.iter().flat_map(|host| &host.dice.keys) {
        let start = format!("{:?}", &key[..4]);
        assert!(!printed.contains(start.trim_end_matches(']')));
    }
}

#[test]
fn two_that_join_at_once_agree_soon() {
    let mut world = World::new(2, GOOD, 2);
    world.join(0);
    world.join(1);
    world.pass(4);
    world.check_agreement(0);
}

#[test]
fn one_that_left_does_not_open_what_is_sealed_later() {
    let mut world = agreed(4, 3);
    world.is_talking = true;
    let before = world.check_agreement(0);
    let stolen = world.keys(3);
    world.leave(3);
    assert!(world.keys(3).sealing().is_none());
    world.pass(REPLACED);
    assert_ne!(world.check_agreement(0), before);
    for at in 0..3 {
        assert!(!world.opens(&stolen, at));
    }
    assert_eq!(world.broadcasts.1, 0, "lost of {:?}", world.broadcasts);
    assert!(world.broadcasts.0 > 100);
    world.pass(NETWORK_KEY_LINGER.as_secs() + 5);
    for at in 0..3 {
        assert!(world.keys(at).get(before).is_none(), "it is erased");
    }
    assert_eq!(world.sealed.len(), 2, "one change is enough");
}

#[test]
fn one_that_comes_back_soon_changes_nothing() {
    let mut world = agreed(3, 4);
    let before = world.check_agreement(0);
    world.leave(2);
    world.pass(3);
    world.join(2);
    world.pass(REPLACED);
    assert_eq!(world.check_agreement(0), before);
    world.restart(1);
    world.pass(REPLACED);
    assert_eq!(world.check_agreement(0), before);
}

#[test]
fn churn_costs_a_key_a_minute_at_most() {
    let mut world = agreed(4, 5);
    let before = world.sealed.len();
    for _ in 0..30 {
        world.leave(3);
        world.pass(10);
        world.join(3);
        world.pass(10);
    }
    world.pass(REPLACED);
    world.check_agreement(0);
    let made = world.sealed.len() - before;
    assert!((2..=12).contains(&made), "{made} keys in ten minutes");
}

#[test]
fn a_key_is_replaced_after_a_day_without_loss() {
    let mut world = agreed(3, 6);
    let before = world.check_agreement(0);
    world.pass(23 * 3_600);
    assert_eq!(world.check_agreement(0), before);
    world.is_talking = true;
    world.pass(2 * 3_600);
    assert_ne!(world.check_agreement(0), before);
    assert_eq!(world.sealed.len(), 2);
    assert_eq!(world.broadcasts.1, 0, "lost of {:?}", world.broadcasts);
}

#[test]
fn all_that_start_at_once_make_a_new_key() {
    let mut world = agreed(4, 7);
    let before = world.check_agreement(0);
    (0..4).for_each(|at| world.restart(at));
    world.pass(AGREED);
    assert_ne!(world.check_agreement(0), before);
    world.check_secrecy();
}

#[test]
fn halves_that_were_apart_end_with_one_key() {
    let mut world = World::new(4, GOOD, 8);
    for at in 0..4 {
        world.set_group(at, u8::from(at > 1));
        world.join(at);
    }
    world.pass(AGREED);
    let halves = [world.check_agreement(0), world.check_agreement(1)];
    assert_ne!(halves[0], halves[1]);
    world.heal();
    world.is_talking = true;
    world.pass(AGREED);
    assert!(halves.contains(&world.check_agreement(0)));
    assert_eq!(world.broadcasts.1, 0, "lost of {:?}", world.broadcasts);
}

#[test]
fn nobody_goes_back_to_a_key_of_one_that_left() {
    let mut world = agreed(4, 9);
    // The first, which all follow, does not hear of the departure.
    world.set_group(0, 1);
    let old = world.sealing(0).expect("a key");
    let stolen = world.keys(3);
    world.leave(3);
    world.pass(3_600);
    let new = world.check_agreement(0);
    assert_ne!(new, old);
    assert_eq!(world.sealing(0), Some(old));
    world.heal();
    for _ in 0..600 {
        world.pass(0);
        world.now += Duration::from_millis(100);
        for at in [1, 2] {
            assert!(!world.opens(&stolen, at), "{:?}", world.now);
        }
    }
    world.pass(REPLACED);
    assert_ne!(world.check_agreement(0), old);
}

#[test]
fn a_change_in_a_large_network_costs_a_few_messages_for_each_member() {
    let members = 40_u8;
    let mut world = World::new(members, GOOD, 10);
    world.join(0);
    world.pass(6);
    (1..usize::from(members)).for_each(|at| world.join(at));
    world.pass(3 * AGREED);
    let before = world.check_agreement(0);
    let n = usize::from(members);
    assert!(world.messages <= 4 * n, "{} messages", world.messages);
    assert!(
        world.records <= n + 4 * NETWORK_KEY_KEEPERS,
        "{}",
        world.records
    );
    (world.messages, world.records) = (0, 0);
    world.is_talking = true;
    world.leave(20);
    world.pass(REPLACED + NETWORK_KEY_LINGER.as_secs());
    assert_ne!(world.check_agreement(0), before);
    assert!(world.messages <= 3 * n, "{} messages", world.messages);
    assert!(
        world.records <= 5 * NETWORK_KEY_KEEPERS,
        "{}",
        world.records
    );
    assert_eq!(world.broadcasts.1, 0, "lost of {:?}", world.broadcasts);
}

#[test]
fn bad_links_delay_and_lose_nothing() {
    let mut world = agreed(5, 11);
    world.links = BAD;
    world.is_talking = true;
    for at in 2..5 {
        let before = world.check_agreement(0);
        let stolen = world.keys(at);
        world.leave(at);
        world.pass(REPLACED + 30);
        assert_ne!(world.check_agreement(0), before);
        assert!(!world.opens(&stolen, 0) && !world.opens(&stolen, 1));
    }
    assert_eq!(world.broadcasts.1, 0, "lost of {:?}", world.broadcasts);
    world.check_secrecy();
}

#[test]
fn the_end_of_a_network_erases_its_keys() {
    let mut world = agreed(2, 12);
    let now = world.now;
    let text = NET.to_string();
    world.hosts[0].networks.remove(&text, true, now).unwrap();
    world.pass(2);
    for host in &world.hosts {
        assert!(host.networks.keys(&NET).sealing().is_none());
    }
}
