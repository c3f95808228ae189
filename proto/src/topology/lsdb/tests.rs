//! Merging, limits and expiry.

use super::*;
use crate::ids::PeerPrefix;
use crate::limits::{RECORD_BURST, RECORD_RATE};
use crate::topology::routes::Routes;
use crate::topology::testing::{about, identity, insert_linked, linked, record};
use proptest::prelude::*;
use std::sync::LazyLock;

/// Three routers, two epochs, two sequence numbers; for each version two identities, two bodies of names, and links.
static RECORDS: LazyLock<Vec<SignedRecord>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for n in 1..=3 {
        let identity = identity(n);
        for epoch in 1..=2 {
            for seq in 0..=1 {
                for text in ["a", "b"] {
                    all.push(record(&identity, epoch, seq, text));
                    all.push(about(&identity, Topic::NAMES, (epoch, seq), text));
                }
                all.push(about(&identity, Topic::LINKS, (epoch, seq), ""));
            }
        }
    }
    all
});
const COUNT: usize = 60;

/// Merges these records; those that precede the identity of their origin are repeated, as they are in operation.
fn merged(order: &[usize]) -> Lsdb {
    let mut lsdb = Lsdb::default();
    for &i in order.iter().chain(order) {
        lsdb.insert(RECORDS[i].clone(), Instant::ZERO);
    }
    lsdb
}

fn contents(lsdb: &Lsdb) -> Vec<Vec<u8>> {
    lsdb.iter().map(|r| r.bytes().to_vec()).collect()
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        order in prop::collection::vec(0usize..COUNT, 0..60),
        seed in any::<u64>(),
    ) {
        let once = merged(&order);
        let mut other = order.clone();
        other.sort_by_key(|i| (*i as u64).wrapping_mul(seed | 1).rotate_left(17));
        other.extend(order.iter().rev());
        let again = merged(&other);
        prop_assert_eq!(contents(&once), contents(&again));
        prop_assert_eq!(once.records(), contents(&once).len());
        for record in once.iter() {
            let identity = once.get(RecordKey::new(record.origin(), Topic::IDENTITY)).unwrap();
            prop_assert!(record.version().epoch >= identity.version().epoch, "void");
        }
    }

    #[test]
    fn grouping_does_not_matter(
        a in prop::collection::vec(0usize..COUNT, 0..30),
        b in prop::collection::vec(0usize..COUNT, 0..30),
    ) {
        // Records without an identity are dropped, so both groups get the identities.
        let identities: Vec<usize> = (0..COUNT).filter(|i| RECORDS[*i].topic() == Topic::IDENTITY).collect();
        let with = |group: &[usize]| [&identities[..1], &identities[8..9], &identities[16..17], group].concat();
        let (a, b) = (with(&a), with(&b));
        let mut joined = merged(&a);
        for record in merged(&b).iter() {
            joined.insert(record.clone(), Instant::ZERO);
        }
        prop_assert_eq!(contents(&joined), contents(&merged(&[a, b].concat())));
    }
}

#[test]
fn verdicts() {
    let mut lsdb = Lsdb::default();
    let me = identity(1);
    let now = Instant::ZERO;
    assert!(lsdb.wants(&record(&me, 1, 1, "x")));
    assert_eq!(lsdb.insert(record(&me, 1, 1, "x"), now), Merge::Newer);
    assert!(!lsdb.wants(&record(&me, 1, 1, "x")));
    assert_eq!(lsdb.insert(record(&me, 1, 1, "x"), now), Merge::Same);
    assert_eq!(lsdb.insert(record(&me, 1, 2, "x"), now), Merge::Newer);
    assert_eq!(lsdb.insert(record(&me, 1, 1, "x"), now), Merge::Older);
    assert_eq!(lsdb.insert(record(&me, 2, 0, "x"), now), Merge::Newer);
    assert_eq!(lsdb.insert(record(&me, 1, 9, "x"), now), Merge::Older);
    assert_eq!((lsdb.len(), lsdb.conflicts(), lsdb.refused()), (1, 0, 0));
}

#[test]
fn a_new_epoch_makes_records_of_earlier_ones_void() {
    let (me, now) = (identity(1), Instant::ZERO);
    let mut lsdb = Lsdb::default();
    let names = |epoch, seq| about(&me, Topic::NAMES, (epoch, seq), "x");
    assert_eq!(
        lsdb.insert(names(1, 1), now),
        Merge::Refused(Refusal::Stranger)
    );
    lsdb.insert(record(&me, 1, 1, "x"), now);
    assert_eq!(lsdb.insert(names(1, 1), now), Merge::Newer);
    // A record of a new epoch may arrive before the identity of that epoch.
    assert_eq!(
        lsdb.insert(about(&me, Topic::LINKS, (2, 1), ""), now),
        Merge::Newer
    );
    assert_eq!(lsdb.records(), 3);
    assert_eq!(lsdb.insert(record(&me, 2, 1, "x"), now), Merge::Newer);
    assert_eq!(lsdb.records(), 2);
    assert!(lsdb.get(RecordKey::new(me.id(), Topic::NAMES)).is_none());
    assert_eq!(lsdb.insert(names(1, 9), now), Merge::Older);
    assert_eq!(lsdb.insert(names(2, 1), now), Merge::Newer);
    let said: Vec<_> = lsdb
        .about(Topic::NAMES)
        .map(|(r, reach)| (r.origin(), reach))
        .collect();
    assert_eq!(said, [(me.id(), false)]);
}

#[test]
fn of_two_records_of_one_version_the_lower_hash_wins_and_is_counted() {
    let me = identity(1);
    let (a, b) = (record(&me, 1, 1, "a"), record(&me, 1, 1, "b"));
    let (low, high) = if a.hash() < b.hash() { (a, b) } else { (b, a) };
    let mut lsdb = Lsdb::default();
    lsdb.insert(high.clone(), Instant::ZERO);
    assert_eq!(lsdb.insert(low.clone(), Instant::ZERO), Merge::Newer);
    assert_eq!(lsdb.insert(high, Instant::ZERO), Merge::Older);
    assert_eq!(lsdb.get(low.key()), Some(&low));
    assert_eq!(lsdb.conflicts(), 2);
}

#[test]
fn an_ambiguous_prefix_names_no_router() {
    let mut lsdb = Lsdb::default();
    let (a, b) = (identity(1), identity(2));
    insert_linked(&mut lsdb, &a, []);
    insert_linked(&mut lsdb, &b, []);
    assert_eq!(lsdb.by_prefix(a.id().prefix()), Some(a.id()));
    assert_eq!(lsdb.by_prefix(PeerPrefix([0; 8])), None);
    assert_eq!(a.id().prefix().to_string().len(), 16);
    let range = a.id().prefix().range();
    assert!(range.contains(&a.id()) && !range.contains(&b.id()));
}

#[test]
fn the_unreachable_are_forgotten_and_the_reachable_are_kept() {
    let (me, near, far) = (identity(1), identity(2), identity(3));
    let mut lsdb = Lsdb::default();
    insert_linked(&mut lsdb, &me, [near.id()]);
    insert_linked(&mut lsdb, &near, [me.id()]);
    insert_linked(&mut lsdb, &far, []);
    let routes = Routes::compute(&lsdb, me.id());
    lsdb.note_reach(|peer| routes.is_reachable(peer), Instant::ZERO);
    assert!(lsdb.is_reachable(&near.id()) && !lsdb.is_reachable(&far.id()));
    assert_eq!(lsdb.expire(Instant::ZERO + FORGET_AFTER / 2), []);
    // A newer record of an unreachable router does not extend its time.
    lsdb.insert(record(&far, 1, 2, "host"), Instant::ZERO + FORGET_AFTER / 2);
    let at_last = Instant::ZERO + FORGET_AFTER;
    let dropped = lsdb.expire(at_last);
    assert_eq!(
        dropped,
        [Topic::IDENTITY, Topic::LINKS].map(|topic| RecordKey::new(far.id(), topic))
    );
    assert_eq!((lsdb.len(), lsdb.records()), (2, 4));
    assert!(lsdb.identity(&far.id()).is_none());
    assert_eq!(lsdb.expire(at_last + FORGET_AFTER), []);
    // Unreachable again: the time starts here.
    lsdb.insert(linked(&me, []), Instant::ZERO);
    lsdb.insert(about(&me, Topic::LINKS, (1, 2), ""), Instant::ZERO);
    let routes = Routes::compute(&lsdb, me.id());
    lsdb.note_reach(|peer| routes.is_reachable(peer), at_last);
    let dropped = lsdb.expire(at_last + FORGET_AFTER);
    assert_eq!(dropped[0], RecordKey::new(near.id(), Topic::IDENTITY));
}

#[test]
fn records_of_a_router_are_rate_limited() {
    let me = identity(1);
    let mut lsdb = Lsdb::default();
    let mut now = Instant::ZERO + FORGET_AFTER;
    let mut seq = 0;
    let mut publish = |lsdb: &mut Lsdb, now| {
        let mut taken = 0;
        while lsdb.is_within_rate(&me.id(), now) {
            seq += 1;
            // The rate limit covers all topics together.
            let news = match (seq % 2, lsdb.is_empty()) {
                (0, false) => about(&me, Topic::NAMES, (1, seq), "x"),
                _ => record(&me, 1, seq, "a"),
            };
            assert_eq!(lsdb.insert(news, now), Merge::Newer);
            taken += 1;
        }
        taken
    };
    assert_eq!(publish(&mut lsdb, now), RECORD_BURST);
    // Records that are not accepted do not count: older ones and repetitions.
    assert_eq!(lsdb.insert(record(&me, 1, 1, "a"), now), Merge::Older);
    now += core::time::Duration::from_secs(1);
    assert_eq!(publish(&mut lsdb, now), RECORD_RATE);
    assert!(lsdb.is_within_rate(&identity(2).id(), now), "others may");
}
