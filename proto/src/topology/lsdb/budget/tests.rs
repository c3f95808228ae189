//! Invented routers against the memory budget of the database.

use core::time::Duration;

use super::super::{Lsdb, Merge, Refusal};
use super::*;
use crate::crypto::identity::Identity;
use crate::limits::{MAX_UNKNOWN_RECORD, RECORD_OVERHEAD, UNREACHED_FOR};
use crate::topology::routes::Routes;
use crate::topology::testing::{about, identity, linked, record};

const NOW: Instant = Instant::from_nanos(1_000_000_000);
const FULL: Merge = Merge::Refused(Refusal::Full);

fn said(who: &Identity, topic: Topic, bytes: usize, seq: u64) -> SignedRecord {
    let text = "x".repeat(bytes - RECORD_OVERHEAD);
    about(who, topic, (1, seq), &text)
}

fn largest(who: &Identity, seq: u64) -> SignedRecord {
    said(who, Topic::NAMES, 150 * 1024, seq)
}

/// Returns a database of this router (1), an honest neighbour (2) and a hostile one (3) that makes others known.
fn three() -> Lsdb {
    let (me, honest, liar) = (identity(1), identity(2), identity(3));
    let mut lsdb = Lsdb::default();
    lsdb.insert(record(&me, 1, 1, "me"), NOW);
    lsdb.insert(linked(&me, [honest.id(), liar.id()]), NOW);
    for peer in [&honest, &liar] {
        assert_eq!(
            lsdb.take(record(peer, 1, 1, "peer"), RecordSource::Origin, NOW),
            Merge::Newer
        );
    }
    lsdb.take(
        linked(&honest, [me.id()]),
        RecordSource::Neighbour(honest.id()),
        NOW,
    );
    lsdb.take(
        linked(&liar, [me.id()]),
        RecordSource::Neighbour(liar.id()),
        NOW,
    );
    reach(&mut lsdb);
    lsdb
}

fn reach(lsdb: &mut Lsdb) {
    let routes = Routes::compute(lsdb, identity(1).id());
    lsdb.note_reach(|peer| routes.is_reachable(peer), NOW);
}

/// Inserts `count` invented routers of the hostile neighbour, each with all records it may have. Returns how many
/// fitted.
fn made_up(lsdb: &mut Lsdb, first: u64, count: u64, reachable: bool) -> u64 {
    let (liar, source) = (identity(3), RecordSource::Neighbour(identity(3).id()));
    let mut taken = 0;
    let all: Vec<PeerId> = (first..first + count).map(|n| identity(n).id()).collect();
    if reachable {
        let links = [&[identity(1).id()], &all[..]].concat();
        let news = linked(&liar, links);
        // A higher version than before.
        let links = SignedRecord::sign(
            Topic::LINKS,
            crate::ids::Version {
                epoch: 1,
                seq: first,
            },
            news.body(),
            &liar,
        );
        lsdb.take(links.unwrap(), source, NOW);
    }
    for n in first..first + count {
        let who = identity(n);
        lsdb.take(record(&who, 1, 1, "made up"), source, NOW);
        if reachable {
            lsdb.take(linked(&who, [liar.id()]), source, NOW);
        }
    }
    reach(lsdb);
    for n in first..first + count {
        taken += u64::from(lsdb.take(largest(&identity(n), 1), source, NOW) == Merge::Newer);
    }
    taken
}

#[test]
fn made_up_routers_out_of_reach_get_a_small_share() {
    let mut lsdb = three();
    let before = lsdb.bytes();
    made_up(&mut lsdb, 100, 500, false);
    assert!(lsdb.bytes() - before <= MAX_UNREACHED, "{}", lsdb.bytes());
    assert!(lsdb.is_full(NOW) && lsdb.refused_full() > 0);
    // A newcomer with a link of its own is accepted, with all its records.
    let newcomer = identity(50);
    assert_eq!(
        lsdb.take(record(&newcomer, 1, 1, "new"), RecordSource::Origin, NOW),
        Merge::Newer
    );
    // They expire soon, which makes room for others.
    let gone = lsdb.expire(NOW + UNREACHED_FOR);
    assert!(gone.len() > 20);
    assert_eq!(
        lsdb.budget.unreached,
        lsdb.entries
            .get(&newcomer.id())
            .map_or(0, OriginEntry::bytes)
    );
}

#[test]
fn earlier_routers_keep_their_place_and_may_grow() {
    let (honest, source) = (identity(2), RecordSource::Neighbour(identity(2).id()));
    let mut lsdb = three();
    let names = largest(&honest, 1);
    assert_eq!(lsdb.take(names.clone(), source, NOW), Merge::Newer);
    let taken = made_up(&mut lsdb, 100, 400, true);
    assert!(lsdb.bytes() <= MAX_DATABASE_PER_LINK + 1024 * 1024);
    assert!(taken < 200, "{taken}");
    assert_eq!(lsdb.get(names.key()), Some(&names));
    // Others take the remaining room.
    for n in 1_000..1_060 {
        let who = identity(n);
        lsdb.take(record(&who, 1, 1, "another"), RecordSource::Origin, NOW);
        lsdb.take(largest(&who, 1), RecordSource::Origin, NOW);
    }
    assert!(lsdb.bytes() <= MAX_DATABASE);
    assert_eq!(lsdb.get(names.key()), Some(&names));
    let more = said(&honest, Topic::ADDRESSES, 150 * 1024, 1);
    assert_eq!(
        lsdb.take(more.clone(), source, NOW + Duration::from_secs(1)),
        Merge::Newer
    );
    assert_eq!(lsdb.get(more.key()), Some(&more));
    assert!(lsdb.bytes() <= MAX_DATABASE);
    assert!(!lsdb.take_evicted().is_empty());
    // The counts match the content.
    let bytes: usize = lsdb.iter().map(cost).sum();
    assert_eq!((lsdb.bytes(), lsdb.records()), (bytes, lsdb.iter().count()));
}

#[test]
fn the_number_of_routers_is_bounded() {
    let mut lsdb = three();
    let source = RecordSource::Neighbour(identity(3).id());
    let mut last = Merge::Newer;
    for n in 0..15_000 {
        last = lsdb.take(record(&identity(100 + n), 1, 1, "x"), source, NOW);
    }
    assert_eq!(last, FULL);
    assert!(lsdb.len() <= MAX_PEERS && lsdb.budget.unreached <= MAX_UNREACHED);
}

#[test]
fn records_about_unknown_topics_have_a_smaller_bound() {
    let unknown = Topic::new(9).unwrap();
    assert_eq!(unknown.max_record(), MAX_UNKNOWN_RECORD);
    let text = "x".repeat(MAX_UNKNOWN_RECORD);
    let version = crate::ids::Version { epoch: 1, seq: 1 };
    assert!(SignedRecord::sign(unknown, version, text.as_bytes(), &identity(1)).is_err());
}
