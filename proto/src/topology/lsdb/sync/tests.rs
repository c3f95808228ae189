//! One exchange makes two databases equal, at a cost that depends on their difference.

use super::*;
use crate::crypto::identity::Identity;
use crate::limits::MAX_PEERS;
use crate::time::Instant;
use crate::topology::routes::Routes;
use crate::topology::testing::{about, identity, insert_linked, record};
use crate::wire::message::LinkMessage;
use crate::wire::topic::Topic;
use proptest::prelude::*;
use std::sync::LazyLock;

static IDENTITIES: LazyLock<Vec<Identity>> = LazyLock::new(|| (0..600).map(identity).collect());

/// Star topology: all routers are reachable from the first.
fn star(n: usize) -> Lsdb {
    let mut lsdb = Lsdb::default();
    let centre = &IDENTITIES[0];
    insert_linked(&mut lsdb, centre, IDENTITIES[1..n].iter().map(Identity::id));
    for leaf in &IDENTITIES[1..n] {
        insert_linked(&mut lsdb, leaf, [centre.id()]);
    }
    lsdb
}

fn reach(lsdb: &mut Lsdb) {
    let routes = Routes::compute(lsdb, IDENTITIES[0].id());
    lsdb.note_reach(|peer| routes.is_reachable(peer), Instant::ZERO);
}

/// Runs the exchange that begins with the digest of `right`. Returns the bytes of all messages except records.
fn talk(left: &mut Lsdb, right: &mut Lsdb) -> usize {
    let mut bytes = 0;
    let mut queue = Vec::new();
    if left.digest() != right.digest() {
        queue.push((false, LinkMessage::Hashes(left.hashes(DigestNode::ROOT))));
    }
    while let Some((to_left, message)) = queue.pop() {
        bytes += message.encode().unwrap().len();
        let (from, to): (&mut Lsdb, &mut Lsdb) = if to_left {
            (&mut *right, &mut *left)
        } else {
            (&mut *left, &mut *right)
        };
        let answer = |m| (!to_left, m);
        match message {
            LinkMessage::Hashes(hashes) => {
                let descent = to.descend(&hashes);
                queue.extend(
                    descent
                        .hashes
                        .into_iter()
                        .map(LinkMessage::Hashes)
                        .map(answer),
                );
                queue.extend(
                    descent
                        .lists
                        .into_iter()
                        .map(LinkMessage::Summary)
                        .map(answer),
                );
                carry(to, from, descent.missing_remote);
            }
            LinkMessage::Summary(summary) => {
                let difference = to.compare_summary(&summary);
                carry(to, from, difference.missing_remote);
                carry(to, from, difference.forked);
                carry(from, to, keys(difference.missing_local));
            }
            _ => {}
        }
    }
    bytes
}

fn keys(asked: Vec<(RecordKey, Version)>) -> Vec<RecordKey> {
    asked.into_iter().map(|(key, _)| key).collect()
}

fn carry(from: &Lsdb, to: &mut Lsdb, mut keys: Vec<RecordKey>) {
    keys.sort_unstable();
    for key in keys {
        to.insert(from.get(key).unwrap().clone(), Instant::ZERO);
    }
}

fn contents(lsdb: &Lsdb) -> Vec<Vec<u8>> {
    lsdb.iter().map(|r| r.bytes().to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn one_conversation_makes_two_databases_equal(
        changes in prop::collection::vec((any::<bool>(), 1usize..300, 0u8..3, 2u64..4), 0..30),
    ) {
        let (mut left, mut right) = (star(300), star(300));
        for (at_left, n, kind, seq) in changes {
            let who = &IDENTITIES[n];
            let change = match kind {
                0 => record(who, 1, seq, if at_left { "a" } else { "b" }),
                1 => about(who, Topic::NAMES, (1, seq), "x"),
                _ => record(who, seq, 1, "again"),
            };
            let lsdb = if at_left { &mut left } else { &mut right };
            lsdb.insert(change, Instant::ZERO);
        }
        // Restarted routers have no links yet, and are compared all the same.
        for lsdb in [&mut left, &mut right] {
            let routes = Routes::compute(&star(300), IDENTITIES[0].id());
            lsdb.note_reach(|peer| routes.is_reachable(peer), Instant::ZERO);
        }
        talk(&mut left, &mut right);
        prop_assert_eq!(contents(&left), contents(&right));
        prop_assert_eq!(left.digest(), right.digest());
    }
}

#[test]
fn a_newcomer_gets_everything_and_requests_nothing_twice() {
    let mut all = star(600);
    reach(&mut all);
    let mut newcomer = Lsdb::default();
    insert_linked(&mut newcomer, &IDENTITIES[0], []);
    reach(&mut newcomer);
    let bytes = talk(&mut all, &mut newcomer);
    assert!(bytes < 1_000, "{bytes}");
    assert_eq!(newcomer.records(), all.records());
}

#[test]
fn one_difference_costs_one_descent() {
    let (mut left, mut right) = (star(600), star(600));
    left.insert(record(&IDENTITIES[77], 1, 2, "x"), Instant::ZERO);
    reach(&mut left);
    reach(&mut right);
    let bytes = talk(&mut left, &mut right);
    assert!(bytes < 900, "{bytes}");
    assert_eq!(left.digest(), right.digest());
    assert_eq!(talk(&mut left, &mut right), 0);
}

#[test]
fn a_digest_covers_exactly_the_reachable_routers() {
    let (mut one, mut two) = (star(5), star(5));
    insert_linked(&mut two, &IDENTITIES[9], []);
    reach(&mut one);
    reach(&mut two);
    assert_eq!(one.digest(), two.digest());
    two.insert(record(&IDENTITIES[9], 1, 2, "x"), Instant::ZERO);
    assert_eq!(one.digest(), two.digest());
    two.insert(record(&IDENTITIES[3], 1, 2, "x"), Instant::ZERO);
    assert_ne!(one.digest(), two.digest());
    one.insert(record(&IDENTITIES[3], 1, 2, "x"), Instant::ZERO);
    assert_eq!(one.digest(), two.digest());
}

#[test]
fn unreachable_routers_are_neither_offered_nor_requested() {
    let mut one = star(3);
    insert_linked(&mut one, &IDENTITIES[9], []);
    reach(&mut one);
    let nothing = Summary {
        first: PeerId([0; 16]),
        last: PeerId([0xff; 16]),
        entries: vec![],
    };
    let sent = one.compare_summary(&nothing).missing_remote;
    assert_eq!(sent.len(), 6);
    assert!(sent.iter().all(|key| key.origin != IDENTITIES[9].id()));
    let listed = one.summaries(DigestNode::ROOT).remove(0);
    assert_eq!(listed.entries.len(), 8);
    assert_eq!(one.compare_summary(&listed), Difference::default());
    let asked = Lsdb::default().compare_summary(&listed).missing_local;
    assert_eq!(keys(asked), sent);
    let backwards = Summary {
        first: PeerId([9; 16]),
        last: PeerId([1; 16]),
        entries: vec![],
    };
    assert_eq!(one.compare_summary(&backwards), Difference::default());
}

#[test]
fn void_records_are_not_requested() {
    let mut one = star(3);
    reach(&mut one);
    let listed = one.summaries(DigestNode::ROOT).remove(0);
    let who = &IDENTITIES[1];
    one.insert(record(who, 2, 1, "again"), Instant::ZERO);
    let difference = one.compare_summary(&listed);
    assert_eq!(difference.missing_local, []);
    assert_eq!(
        difference.missing_remote,
        [RecordKey::new(who.id(), Topic::IDENTITY)]
    );
}

#[test]
fn long_lists_are_cut_and_cover_everybody_once() {
    let mut lsdb = Lsdb::default();
    for who in &IDENTITIES[..280] {
        lsdb.insert(record(who, 1, 1, "x"), Instant::ZERO);
        for topic in 2..=16 {
            let topic = Topic::new(topic).unwrap();
            lsdb.insert(about(who, topic, (1, 1), ""), Instant::ZERO);
        }
    }
    let lists = lsdb.summaries(DigestNode::ROOT);
    assert_eq!(lists.len(), 2);
    assert_eq!(
        lists.iter().map(|l| l.entries.len()).sum::<usize>(),
        280 * 16
    );
    assert_eq!(
        (lists[0].first, lists[1].last),
        (PeerId([0; 16]), PeerId([0xff; 16]))
    );
    assert_eq!(lists[0].last, predecessor(lists[1].first));
    for list in &lists {
        assert_eq!(lsdb.compare_summary(list), Difference::default());
        assert!(LinkMessage::Summary(list.clone()).encode().is_ok());
    }
    const { assert!(MAX_PEERS > 280) };
    let none = Lsdb::default().summaries(DigestNode::ROOT);
    assert_eq!((none.len(), none[0].entries.len()), (1, 0));
}
