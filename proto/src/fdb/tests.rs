use proptest::prelude::*;

use super::*;
use crate::entropy::SeededEntropy;
use crate::limits::{FDB_AGE, FDB_HOLD, FDB_LATE, FDB_MAX_MOVES, FLAP_MOVES, FLAP_WINDOW};

const P1: Owner = Owner::Peer(PeerId([1; 16]));
const P2: Owner = Owner::Peer(PeerId([2; 16]));
const P3: Owner = Owner::Peer(PeerId([3; 16]));
const T0: Instant = Instant::from_nanos(1_000_000_000_000);

fn mac(n: u64) -> Mac {
    let [_, _, _, a, b, c, d, e] = n.to_be_bytes();
    Mac([0x02, a, b, c, d, e])
}

fn fdb(total: usize, per_owner: usize) -> Fdb {
    Fdb::with_limits(&mut SeededEntropy::new(1), FdbLimits { total, per_owner })
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn learns_and_finds() {
    let fdb = Fdb::new(&mut SeededEntropy::new(1));
    assert_eq!(fdb.lookup(mac(1), T0), None);
    assert_eq!(fdb.learn(mac(1), Owner::Local, T0), Learn::New);
    assert_eq!(fdb.learn(mac(1), Owner::Local, T0), Learn::Same);
    assert_eq!(fdb.lookup(mac(1), T0), Some(Owner::Local));
    assert_eq!(fdb.learn(mac(1), P1, T0), Learn::Moved(Owner::Local));
    assert_eq!(fdb.lookup(mac(1), T0), Some(P1));
    assert_eq!(fdb.len(), 1);
}

#[test]
fn group_addresses_are_not_sources() {
    let fdb = fdb(10, 10);
    for group in [
        Mac::BROADCAST,
        Mac([1, 0, 0, 0, 0, 0]),
        Mac([0x33, 0x33, 0, 0, 0, 1]),
    ] {
        assert_eq!(fdb.learn(group, P1, T0), Learn::Group);
    }
    assert!(fdb.is_empty());
}

#[test]
fn addresses_age_unless_seen() {
    let fdb = fdb(10, 10);
    fdb.learn(mac(1), P1, T0);
    fdb.learn(mac(2), P1, T0);
    let half = T0 + FDB_AGE / 2;
    assert_eq!(fdb.learn(mac(2), P1, half), Learn::Same);
    let last = T0 + FDB_AGE - Duration::from_nanos(1);
    assert_eq!((fdb.lookup(mac(1), last), fdb.sweep(last)), (Some(P1), 0));
    let aged = T0 + FDB_AGE;
    assert_eq!(fdb.lookup(mac(1), aged), None);
    assert_eq!((fdb.sweep(aged), fdb.len()), (1, 1));
    assert_eq!(fdb.lookup(mac(2), aged), Some(P1));
    assert_eq!(fdb.lookup(mac(2), half + FDB_AGE), None);
}

#[test]
fn forgetting_an_owner_removes_only_its_addresses() {
    let fdb = fdb(100, 100);
    for n in 0..30 {
        fdb.learn(
            mac(n),
            [Owner::Local, P1, P2][usize::try_from(n % 3).unwrap()],
            T0,
        );
    }
    assert_eq!(fdb.forget_owner(P1), 10);
    assert_eq!(fdb.forget_owner(P1), 0);
    assert_eq!(fdb.len(), 20);
    assert_eq!(
        (fdb.lookup(mac(1), T0), fdb.lookup(mac(2), T0)),
        (None, Some(P2))
    );
    assert!(fdb.forget(mac(2)) && !fdb.forget(mac(2)));
    fdb.read().check();
}

#[test]
fn a_flapping_address_is_held_for_a_time() {
    let fdb = fdb(10, 10);
    fdb.learn(mac(1), P1, T0);
    let mut owners = [P2, P3, P1].into_iter().cycle();
    for n in 0..u64::from(FDB_MAX_MOVES) {
        let owner = owners.next().unwrap();
        assert!(
            matches!(fdb.learn(mac(1), owner, T0 + ms(10 * n)), Learn::Moved(_)),
            "{n}"
        );
    }
    let held = T0 + ms(90);
    assert_eq!(fdb.learn(mac(1), P1, held), Learn::Damped);
    assert_eq!(
        fdb.learn(mac(1), P1, held + FDB_HOLD - ms(1)),
        Learn::Damped
    );
    assert_eq!(fdb.lookup(mac(1), held), Some(P3));
    assert_eq!(fdb.learn(mac(1), P3, held + ms(5)), Learn::Same);
    assert_eq!(fdb.learn(mac(1), P1, held + FDB_HOLD), Learn::Moved(P3));
}

#[test]
fn repeated_slow_moves_count_as_flapping() {
    let fdb = fdb(10, 10);
    let step = FDB_LATE.max(FLAP_WINDOW / 30);
    fdb.learn(mac(1), P1, T0);
    for n in 1..=FLAP_MOVES + 1 {
        let owner = if n.is_multiple_of(2) { P1 } else { P2 };
        assert!(!fdb.flaps(mac(1)), "{n}");
        assert!(matches!(
            fdb.learn(mac(1), owner, T0 + n * step),
            Learn::Moved(_)
        ));
    }
    assert!(fdb.flaps(mac(1)) && !fdb.flaps(mac(2)));
    let later = T0 + 30 * step + FLAP_WINDOW;
    fdb.learn(mac(1), P3, later);
    assert!(!fdb.flaps(mac(1)), "that was long ago");
}

#[test]
fn late_frames_do_not_move_an_address_back() {
    let fdb = fdb(10, 10);
    fdb.learn(mac(1), P1, T0);
    assert_eq!(fdb.learn(mac(1), P2, T0 + ms(100)), Learn::Moved(P1));
    let last = T0 + ms(99) + FDB_LATE;
    assert_eq!(fdb.learn(mac(1), P1, T0 + ms(101)), Learn::Late);
    assert_eq!(fdb.learn(mac(1), P1, last), Learn::Late);
    assert_eq!(fdb.lookup(mac(1), last), Some(P2));
    assert_eq!(fdb.learn(mac(1), P1, last + ms(1)), Learn::Moved(P2));
    // Frames of the local port are never late.
    assert_eq!(fdb.learn(mac(2), Owner::Local, T0), Learn::New);
    assert_eq!(fdb.learn(mac(2), P1, T0), Learn::Moved(Owner::Local));
    assert_eq!(fdb.learn(mac(2), Owner::Local, T0), Learn::Moved(P1));
}

#[test]
fn slow_moves_are_never_damped() {
    let fdb = fdb(10, 10);
    fdb.learn(mac(1), P1, T0);
    let owners = [P2, P3, P1].into_iter().cycle();
    for (n, owner) in (1u64..100).zip(owners) {
        let learnt = fdb.learn(mac(1), owner, T0 + ms(300 * n));
        assert!(matches!(learnt, Learn::Moved(_)), "{n} {learnt:?}");
    }
}

#[test]
fn at_100_moves_a_second_few_are_followed() {
    let fdb = fdb(10, 10);
    let owners = [P1, P2].into_iter().cycle();
    let moves = (0u64..1_000)
        .zip(owners)
        .filter(|(n, owner)| matches!(fdb.learn(mac(1), *owner, T0 + ms(10 * n)), Learn::Moved(_)))
        .count();
    assert!((5..=90).contains(&moves), "{moves} moves in 10 s");
}

#[test]
fn a_full_owner_replaces_its_own_oldest() {
    let fdb = fdb(100, 4);
    fdb.learn(mac(100), P2, T0);
    for n in 0..4 {
        assert_eq!(fdb.learn(mac(n), P1, T0 + ms(n)), Learn::New);
    }
    // The oldest was seen again, so the second oldest is replaced.
    fdb.learn(mac(0), P1, T0 + ms(5_000));
    assert_eq!(fdb.learn(mac(4), P1, T0 + ms(5_001)), Learn::Full);
    let known: Vec<bool> = (0..5).map(|n| fdb.lookup(mac(n), T0).is_some()).collect();
    assert_eq!(known, [true, false, true, true, true]);
    assert_eq!(fdb.lookup(mac(100), T0), Some(P2));
    fdb.read().check();
}

#[test]
fn a_full_table_replaces_an_address_of_the_largest_owner() {
    let fdb = fdb(10, 9);
    for n in 0..9 {
        fdb.learn(mac(n), P1, T0);
    }
    fdb.learn(mac(9), P2, T0);
    assert_eq!(fdb.learn(mac(10), Owner::Local, T0), Learn::Full);
    assert_eq!(fdb.lookup(mac(0), T0), None);
    assert_eq!(
        (fdb.lookup(mac(9), T0), fdb.lookup(mac(10), T0)),
        (Some(P2), Some(Owner::Local))
    );
    fdb.read().check();
}

#[test]
fn moving_to_a_full_owner_replaces_there() {
    let fdb = fdb(10, 2);
    for n in 0..2 {
        fdb.learn(mac(n), P1, T0);
        fdb.learn(mac(10 + n), P2, T0);
    }
    assert_eq!(fdb.learn(mac(10), P1, T0), Learn::Moved(P2));
    assert_eq!(
        (fdb.lookup(mac(0), T0), fdb.lookup(mac(10), T0)),
        (None, Some(P1))
    );
    fdb.read().check();
}

#[test]
fn a_million_random_addresses_leave_others_alone() {
    let fdb = Fdb::new(&mut SeededEntropy::new(1));
    for n in 0..1_000 {
        fdb.learn(mac(n), P1, T0);
        fdb.learn(mac(1_000 + n), P2, T0);
    }
    let mut random = SeededEntropy::new(7);
    for _ in 0..1_000_000 {
        let flood = mac((1 << 39) | random.u64() >> 26);
        fdb.learn(flood, Owner::Local, T0);
        assert!(fdb.len() <= limits::MAX_FDB_PER_OWNER + 2_000);
    }
    for n in 0..1_000 {
        assert_eq!(fdb.lookup(mac(n), T0), Some(P1));
        assert_eq!(fdb.lookup(mac(1_000 + n), T0), Some(P2));
    }
    fdb.read().check();
}

#[test]
fn the_report_is_sorted_and_dated() {
    let fdb = fdb(10, 10);
    for n in [3, 1, 2] {
        fdb.learn(mac(n), P1, T0);
    }
    let report = fdb.snapshot(T0 + ms(1_500));
    let macs: Vec<Mac> = report.iter().map(|e| e.mac).collect();
    assert_eq!(macs, [mac(1), mac(2), mac(3)]);
    assert!(report.iter().all(|e| e.owner == P1 && e.idle == ms(1_500)));
}

#[derive(Clone, Debug)]
enum Step {
    Learn(u64, u8),
    Forget(u8),
    Remove(u64),
    Sweep,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0u64..40, 0u8..5).prop_map(|(m, o)| Step::Learn(m, o)),
        1 => (0u8..5).prop_map(Step::Forget),
        1 => (0u64..40).prop_map(Step::Remove),
        1 => Just(Step::Sweep),
        2 => (0u64..300_000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn any_history_keeps_the_indices_and_bounds(steps in steps()) {
        let owner = |o: u8| if o == 0 { Owner::Local } else { Owner::Peer(PeerId([o; 16])) };
        let fdb = fdb(16, 6);
        let mut now = T0;
        for step in steps {
            match step {
                Step::Learn(m, o) => {
                    let before = fdb.lookup(mac(m), now);
                    let learnt = fdb.learn(mac(m), owner(o), now);
                    let after = fdb.lookup(mac(m), now);
                    prop_assert_eq!(after, if matches!(learnt, Learn::Damped | Learn::Late) { before } else { Some(owner(o)) });
                }
                Step::Forget(o) => { fdb.forget_owner(owner(o)); }
                Step::Remove(m) => { fdb.forget(mac(m)); }
                Step::Sweep => {
                    fdb.sweep(now);
                    prop_assert!(fdb.snapshot(now).iter().all(|e| e.idle < FDB_AGE));
                }
                Step::Wait(n) => now += ms(n),
            }
            fdb.read().check();
        }
    }
}

#[test]
fn changes_are_counted_and_a_refresh_is_none() {
    let fdb = fdb(8, 8);
    let empty = fdb.changes();
    fdb.learn(mac(1), P1, T0);
    let one = fdb.changes();
    assert_ne!(one, empty);
    fdb.learn(mac(1), P1, T0 + FDB_AGE / 2);
    assert!(fdb.refresh(mac(1), P1, T0 + FDB_AGE / 2));
    assert!(!fdb.refresh(mac(1), P2, T0) && !fdb.refresh(mac(2), P1, T0));
    assert_eq!(fdb.changes(), one);
    assert_eq!(fdb.lookup(mac(1), T0 + FDB_AGE), Some(P1), "it was seen");
    fdb.learn(mac(1), P2, T0 + FDB_AGE / 2);
    assert_ne!(fdb.changes(), one);
}
