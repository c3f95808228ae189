//! What a router says of itself: versions, epochs, and how soon a change is told.

use super::*;
use crate::ids::PeerName;

fn own() -> LocalRecords {
    let identity = Arc::new(Identity::from_seeds([1; 32], [2; 32]));
    let body = IdentityBody::new(&identity, PeerName([2; 6]), "a".into());
    LocalRecords::new(identity, 2, body).unwrap()
}

fn publish(own: &mut LocalRecords, now: Instant) -> Vec<(Topic, Version)> {
    let published = own.publish(now).unwrap();
    published.iter().map(|r| (r.topic(), r.version())).collect()
}

const fn version(epoch: u64, seq: u64) -> Version {
    Version { epoch, seq }
}

#[test]
fn an_old_epoch_is_raised_once_and_a_clone_costs_numbers_only() {
    let mut own = own();
    let now = Instant::ZERO;
    own.set(Topic::NAMES, vec![1]);
    assert_eq!(publish(&mut own, now), [(Topic::NAMES, version(2, 1))]);
    assert_eq!(own.overtake(Topic::IDENTITY, version(7, 40)), Some(8));
    let all = [
        (Topic::IDENTITY, version(8, 1)),
        (Topic::NAMES, version(8, 1)),
    ];
    assert_eq!(publish(&mut own, now), all, "hold-down or not");
    assert_eq!(own.overtake(Topic::NAMES, version(9, 5)), None);
    let all = [
        (Topic::IDENTITY, version(9, 1)),
        (Topic::NAMES, version(9, 6)),
    ];
    assert_eq!(publish(&mut own, now), all);
    assert_eq!(own.overtake(Topic::NAMES, version(9, 8)), None);
    assert_eq!(publish(&mut own, now), []);
    let now = now + HOLD_DOWN;
    assert_eq!(publish(&mut own, now), [(Topic::NAMES, version(9, 9))]);
}

#[test]
fn what_somebody_else_says_about_a_topic_of_which_we_say_nothing_is_taken_back() {
    let mut own = own();
    own.raised = true;
    own.overtake(Topic::ATTACHED, version(2, 3));
    let published = own.publish(Instant::ZERO).unwrap();
    assert_eq!(
        (published[0].version(), published[0].body()),
        (version(2, 4), &[][..])
    );
    assert_eq!(published[0].attached(), []);
}

#[test]
fn the_epoch_before_this_one_restored_is_raised_too() {
    let mut own = own();
    assert_eq!(own.overtake(Topic::LINKS, version(2, 9)), Some(3));
}

#[test]
fn the_highest_version_there_is_overflows_nothing() {
    let mut own = own();
    let last = version(u64::MAX, u64::MAX);
    assert_eq!(own.overtake(Topic::IDENTITY, last), None);
    assert_eq!(publish(&mut own, Instant::ZERO), [(Topic::IDENTITY, last)]);
}

#[test]
fn names_are_told_four_times_a_second() {
    let mut own = own();
    own.publish(Instant::ZERO).unwrap();
    let mut told = Vec::new();
    for millis in 0..600u32 {
        own.set(Topic::NAMES, millis.to_be_bytes().to_vec());
        let now = Instant::from_nanos(u64::from(millis) * 1_000_000);
        told.extend(own.publish(now).unwrap().iter().map(|_| millis));
    }
    assert_eq!(told, [0, 250, 500]);
}

fn linked(peers: &[u8]) -> Vec<Neighbour> {
    let to = |n: &u8| Neighbour {
        peer: PeerPrefix([*n; 8]),
        outbound: true,
        established: true,
        cost: 1,
        address: None,
    };
    peers.iter().map(to).collect()
}

#[test]
fn new_neighbours_are_told_soon_and_one_that_is_back_later() {
    let mut own = own();
    let mut told = |millis: u64, peers: &[u8]| {
        let now = Instant::from_nanos(millis * 1_000_000);
        own.set_neighbours(&linked(peers), now);
        let published = own.publish(now).unwrap();
        published.iter().any(|r| r.topic() == Topic::LINKS)
    };
    assert!(told(0, &[1]));
    assert!(!told(100, &[1, 2]), "the gap");
    assert!(told(200, &[1, 2]));
    assert!(told(400, &[1]), "lost");
    assert!(!told(600, &[1, 2]), "back");
    assert!(!told(1_399, &[1, 2]));
    assert!(told(1_400, &[1, 2]));
    assert!(told(1_600, &[1, 2, 3]));
}

#[test]
fn a_flapping_link_costs_one_record_a_second_in_the_long_run() {
    let mut own = own();
    let mut published = 0;
    for millis in 0..10_000 {
        let now = Instant::from_nanos(millis * 1_000_000);
        let peers: &[u8] = if millis % 2 == 0 { &[1, 2] } else { &[1] };
        own.set_neighbours(&linked(peers), now);
        published += own.publish(now).unwrap().len();
    }
    let first = 1 + usize::try_from(LINKS_BURST).unwrap();
    assert!(published <= 10 + first, "{published}");
}

#[test]
fn a_flapping_neighbour_costs_one_record_a_second() {
    let mut own = own();
    let mut published = 0;
    for millis in 0..2_500 {
        let flap = usize::from(millis % 2 == 0);
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        own.set_endpoints(vec![address; flap]);
        let now = Instant::from_nanos(millis * 1_000_000);
        published += own.publish(now).unwrap().len();
    }
    assert_eq!(published, 3);
}

#[test]
fn a_topic_that_breaks_a_bound_holds_up_no_other() {
    let mut own = own();
    own.set(Topic::NAMES, vec![0; crate::limits::MAX_RECORD]);
    own.set(Topic::ADDRESSES, vec![1]);
    own.set(Topic::ATTACHED, Vec::new());
    assert_eq!(
        publish(&mut own, Instant::ZERO),
        [(Topic::ADDRESSES, version(2, 1))]
    );
    assert_eq!(
        own.published().collect::<Vec<_>>(),
        [Topic::IDENTITY, Topic::ADDRESSES]
    );
    own.set(Topic::NAMES, vec![1; crate::limits::MAX_RECORD]);
    assert!(own.publish(Instant::ZERO + HOLD_DOWN).is_err());
}
