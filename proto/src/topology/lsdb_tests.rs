//! Merging, gossip summaries and forgetting.

use super::*;
use crate::topology::record::SignedRecord;
use crate::topology::testing::{identity, linked, record};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Three routers, two epochs, two sequence numbers, two records of each version.
static RECORDS: LazyLock<Vec<SignedRecord>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for n in 1..=3 {
        let identity = identity(n);
        for epoch in 1..=2 {
            for seq in 0..=1 {
                for nickname in ["a", "b"] {
                    all.push(record(&identity, epoch, seq, nickname));
                }
            }
        }
    }
    all
});

fn merged(order: &[usize]) -> Lsdb {
    let mut lsdb = Lsdb::default();
    for &i in order {
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
        order in prop::collection::vec(0usize..24, 0..30),
        seed in any::<u64>(),
    ) {
        let once = merged(&order);
        let mut other = order.clone();
        other.sort_by_key(|i| (*i as u64).wrapping_mul(seed | 1).rotate_left(17));
        other.extend(order.iter().rev());
        let again = merged(&other);
        prop_assert_eq!(contents(&once), contents(&again));
        let all: Vec<PeerId> = once.iter().map(SignedRecord::origin).collect();
        prop_assert_eq!(once.digest(all.clone()), again.digest(all));
    }

    #[test]
    fn grouping_does_not_matter(a in prop::collection::vec(0usize..24, 0..12), b in prop::collection::vec(0usize..24, 0..12)) {
        let (left, right) = (merged(&a), merged(&b));
        let mut joined = left.clone();
        for record in right.iter() {
            joined.insert(record.clone(), Instant::ZERO);
        }
        let mut flat = a.clone();
        flat.extend(&b);
        prop_assert_eq!(contents(&joined), contents(&merged(&flat)));
    }

    #[test]
    fn one_exchange_of_summaries_makes_two_databases_equal(
        a in prop::collection::vec(0usize..24, 0..12),
        b in prop::collection::vec(0usize..24, 0..12),
    ) {
        let (mut left, mut right) = (merged(&a), merged(&b));
        let everything = |lsdb: &Lsdb| lsdb.iter().map(SignedRecord::origin).collect::<Vec<_>>();
        for summary in left.summaries(everything(&left)) {
            // All are reachable for the purpose of this test only where `right` has its own route; send covers the rest.
            let missing = right.missing(&summary, &Routes::default());
            for peer in missing.ask {
                right.insert(left.get(&peer).unwrap().clone(), Instant::ZERO);
            }
            for peer in missing.send {
                left.insert(right.get(&peer).unwrap().clone(), Instant::ZERO);
            }
        }
        for summary in right.summaries(everything(&right)) {
            for peer in left.missing(&summary, &Routes::default()).ask {
                left.insert(right.get(&peer).unwrap().clone(), Instant::ZERO);
            }
        }
        prop_assert_eq!(contents(&left), contents(&right));
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
fn of_two_records_of_one_version_the_lower_hash_wins_and_is_counted() {
    let me = identity(1);
    let (a, b) = (record(&me, 1, 1, "a"), record(&me, 1, 1, "b"));
    let (low, high) = if a.hash() < b.hash() { (a, b) } else { (b, a) };
    let mut lsdb = Lsdb::default();
    lsdb.insert(high.clone(), Instant::ZERO);
    assert_eq!(lsdb.insert(low.clone(), Instant::ZERO), Merge::Newer);
    assert_eq!(lsdb.insert(high, Instant::ZERO), Merge::Older);
    assert_eq!(lsdb.get(&me.id()), Some(&low));
    assert_eq!(lsdb.conflicts(), 2);
}

#[test]
fn the_unreachable_are_forgotten_and_the_reachable_are_kept() {
    let (me, near, far) = (identity(1), identity(2), identity(3));
    let mut lsdb = Lsdb::default();
    lsdb.insert(linked(&me, [near.id()]), Instant::ZERO);
    lsdb.insert(linked(&near, [me.id()]), Instant::ZERO);
    lsdb.insert(linked(&far, []), Instant::ZERO);
    let routes = Routes::compute(&lsdb, me.id());
    let later = Instant::ZERO + FORGET_AFTER / 2;
    assert!(!lsdb.expire(&routes, later));
    let at_last = Instant::ZERO + FORGET_AFTER;
    assert!(lsdb.expire(&routes, at_last));
    assert_eq!(lsdb.len(), 2);
    assert!(lsdb.get(&far.id()).is_none());
    // A newer record of an unreachable router does not prolong its life.
    assert!(!lsdb.expire(&routes, at_last + FORGET_AFTER));
}

#[test]
fn a_digest_covers_what_it_is_told_to_and_nothing_else() {
    let (a, b) = (identity(1), identity(2));
    let mut one = Lsdb::default();
    one.insert(record(&a, 1, 1, "a"), Instant::ZERO);
    let mut two = one.clone();
    two.insert(record(&b, 1, 1, "b"), Instant::ZERO);
    assert_eq!(one.digest([a.id()]), two.digest([a.id()]));
    let both: BTreeSet<PeerId> = [a.id(), b.id()].into();
    assert_ne!(one.digest(both.clone()), two.digest(both));
}

#[test]
fn summaries_cover_every_identity_once() {
    let lsdb = merged(&(0..24).collect::<Vec<_>>());
    let summaries = lsdb.summaries(lsdb.iter().map(SignedRecord::origin));
    assert_eq!(summaries.len(), 1);
    assert_eq!(summaries[0].first, PeerId([0; 16]));
    assert_eq!(summaries[0].last, PeerId([0xff; 16]));
    assert_eq!(summaries[0].held.len(), 3);
    let none = Lsdb::default().summaries([]);
    assert_eq!((none.len(), none[0].held.len()), (1, 0));
    assert_eq!(none[0].last, PeerId([0xff; 16]));
    assert_eq!(successor(PeerId([0; 16])).0[15], 1);
    assert_eq!(successor(PeerId([0xff; 16])), PeerId([0xff; 16]));
}

#[test]
fn only_reachable_peers_are_volunteered() {
    let (me, near, far) = (identity(1), identity(2), identity(3));
    let mut lsdb = Lsdb::default();
    lsdb.insert(linked(&me, [near.id()]), Instant::ZERO);
    lsdb.insert(linked(&near, [me.id()]), Instant::ZERO);
    lsdb.insert(linked(&far, []), Instant::ZERO);
    let routes = Routes::compute(&lsdb, me.id());
    let empty = Lsdb::default().summaries([]).remove(0);
    let mut expected = vec![me.id(), near.id()];
    expected.sort();
    assert_eq!(
        lsdb.missing(&empty, &routes),
        Missing {
            send: expected,
            ask: vec![]
        }
    );
    let backwards = Summary {
        first: PeerId([9; 16]),
        last: PeerId([1; 16]),
        held: vec![],
    };
    assert_eq!(lsdb.missing(&backwards, &routes), Missing::default());
}

#[test]
fn a_router_may_not_publish_without_end() {
    let me = identity(1);
    let mut lsdb = Lsdb::default();
    let mut now = Instant::ZERO + FORGET_AFTER;
    let mut seq = 0;
    let mut publish = |lsdb: &mut Lsdb, now| {
        let mut taken = 0;
        while lsdb.is_within_rate(&me.id(), now) {
            seq += 1;
            assert_eq!(lsdb.insert(record(&me, 1, seq, "a"), now), Merge::Newer);
            taken += 1;
        }
        taken
    };
    assert_eq!(publish(&mut lsdb, now), RECORD_BURST);
    // What is not taken counts nothing: old records and the same again.
    assert_eq!(lsdb.insert(record(&me, 1, 1, "a"), now), Merge::Older);
    now += core::time::Duration::from_secs(1);
    assert_eq!(publish(&mut lsdb, now), RECORD_RATE);
    assert!(lsdb.is_within_rate(&identity(2).id(), now), "others may");
}
