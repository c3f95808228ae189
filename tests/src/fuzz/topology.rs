//! The link-state database and its routes, with arbitrary records of a dozen routers.

use std::collections::BTreeSet;

use mesh_proto::crypto::identity::Identity;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::MAX_PEERS;
use mesh_proto::topology::bodies::encode_links;
use mesh_proto::topology::lsdb::{Descent, Difference};
use mesh_proto::topology::lsdb::{Lsdb, Merge};
use mesh_proto::topology::record::SignedRecord;
use mesh_proto::topology::routes::Routes;
use mesh_proto::wire::digest_tree::DigestNode;
use mesh_proto::wire::topic::Topic;

use super::fixture::{self, START};
use super::input::Input;

const ROUTERS: u8 = 12;
const RECORDS: usize = 24;

/// The order of records does not matter, every router computes the same trees, and each router gets each broadcast
/// once.
pub(super) fn target(data: &[u8]) {
    let mut input = Input::new(data);
    let identities: Vec<Identity> = (0..ROUTERS).map(fixture::identity).collect();
    let mut records = Vec::new();
    while !input.is_empty() && records.len() < RECORDS {
        records.extend(record(&mut input, &identities));
    }
    // A record that precedes the identity record of its origin arrives again, as in a real mesh.
    let forwards = merged(records.iter().chain(&records));
    let mut backwards = merged(records.iter().rev().chain(records.iter().rev()));
    let all = |lsdb: &Lsdb| -> Vec<PeerId> { lsdb.origins().collect() };
    let bytes = |lsdb: &Lsdb| -> Vec<Vec<u8>> { lsdb.iter().map(|r| r.bytes().to_vec()).collect() };
    assert_eq!(bytes(&forwards), bytes(&backwards));
    assert!(forwards.len() <= MAX_PEERS);
    let routes: Vec<(PeerId, Routes)> = all(&forwards)
        .into_iter()
        .map(|me| (me, Routes::compute(&forwards, me)))
        .collect();
    for (me, own) in &routes {
        backwards.note_reach(|peer| own.is_reachable(peer), START);
        check_routes(*me, own, &backwards);
        check_sums(own, &forwards, &backwards);
        check_tree(*me, own, &routes);
    }
}

fn record(input: &mut Input<'_>, identities: &[Identity]) -> Option<SignedRecord> {
    let kind = input.byte();
    if kind == 0xff {
        return SignedRecord::parse(input.long_chunk()).ok();
    }
    let identity = &identities[usize::from(kind) % identities.len()];
    let version = Version {
        epoch: u64::from(input.byte() & 3),
        seq: u64::from(input.byte() & 3),
    };
    let links = input.u16();
    if kind & 0x80 != 0 {
        let mut body = fixture::body_of(identity);
        if links & 1 != 0 {
            body.nickname = "clone".to_owned();
        }
        return SignedRecord::sign(Topic::IDENTITY, version, &body.encode(), identity).ok();
    }
    let mut neighbours = Vec::new();
    for (n, peer) in identities.iter().enumerate() {
        if links & (1 << n) != 0 {
            let mut neighbour = fixture::neighbour(peer.id());
            neighbour.established = kind & 0x40 == 0;
            neighbours.push(neighbour);
        }
    }
    SignedRecord::sign(Topic::LINKS, version, &encode_links(&neighbours), identity).ok()
}

fn merged<'a>(records: impl Iterator<Item = &'a SignedRecord>) -> Lsdb {
    let mut lsdb = Lsdb::default();
    for record in records {
        let wanted = lsdb.wants(record);
        let merge = lsdb.insert(record.clone(), START);
        assert_eq!(wanted, merge == Merge::Newer);
        assert!(matches!(
            lsdb.insert(record.clone(), START),
            Merge::Same | Merge::Older | Merge::Refused(_)
        ));
    }
    lsdb
}

fn check_routes(me: PeerId, routes: &Routes, lsdb: &Lsdb) {
    assert!(routes.is_reachable(&me));
    assert_eq!(routes.next_hop(&me), None);
    for peer in routes.known() {
        match routes.next_hop(&peer) {
            Some((first, hops)) => {
                assert!(routes.is_reachable(&peer) && hops >= 1);
                assert!(routes.neighbours().contains(&first));
                assert_eq!(hops == 1, first == peer);
            }
            None => assert!(peer == me || !routes.is_reachable(&peer)),
        }
    }
    let summaries = lsdb.summaries(DigestNode::ROOT);
    for summary in &summaries {
        assert_eq!(lsdb.compare_summary(summary), Difference::default());
    }
    let covered: usize = summaries.iter().map(|summary| summary.entries.len()).sum();
    assert_eq!(covered, lsdb.records());
    assert_eq!(
        lsdb.descend(&lsdb.hashes(DigestNode::ROOT)),
        Descent::default()
    );
}

/// Checks that incrementally updated digests equal those of a fresh database.
fn check_sums(own: &Routes, fresh: &Lsdb, kept: &Lsdb) {
    let mut fresh = fresh.clone();
    fresh.note_reach(|peer| own.is_reachable(peer), START);
    assert_eq!(fresh.digest(), kept.digest());
    let reachable: BTreeSet<PeerId> = own.reachable().collect();
    let listed = kept.origins().filter(|peer| kept.is_reachable(peer));
    assert_eq!(listed.collect::<BTreeSet<_>>(), reachable);
}

/// Follows a broadcast of `origin` down the trees, each hop by the router's own computation.
fn check_tree(origin: PeerId, own: &Routes, routes: &[(PeerId, Routes)]) {
    let mut reached = BTreeSet::from([origin]);
    let mut queue = vec![origin];
    while let Some(at) = queue.pop() {
        let Some((_, here)) = routes.iter().find(|(me, _)| *me == at) else {
            panic!("a child that nobody knows");
        };
        assert!(here.has_links_of(own));
        for child in here.flood(&origin) {
            assert!(reached.insert(child), "{child} gets a broadcast twice");
            queue.push(child);
        }
    }
    let reachable: BTreeSet<PeerId> = own.reachable().collect();
    assert_eq!(reached, reachable, "somebody is left out");
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let say = |n: u8, seq: u8, links: u16| {
        let [high, low] = links.to_be_bytes();
        vec![n, 1, seq, high, low]
    };
    let world = |links: &dyn Fn(u8) -> u16| -> Vec<u8> {
        let who = |n| say(0x80 | (n + 4), 1, 0);
        let both = |n| [who(n), say(n, 1, links(n))].concat();
        (0..ROUTERS).flat_map(both).collect()
    };
    let everybody = world(&|_| 0x0fff);
    let chain = world(&|n| (1 << (n + 1)) | (1 << n >> 1));
    let ring = world(&|n| (1 << ((n + 1) % 12)) | (1 << ((n + 11) % 12)));
    let star = world(&|n| if n == 3 { 0x0fff } else { 1 << 3 });
    let halves = world(&|n| if n < 6 { 0x003f } else { 0x0fc0 });
    let newer = [chain.clone(), say(4, 2, 0), say(5, 2, 0xffff)].concat();
    let clones = [ring.clone(), say(0x80 | 52, 1, 3), say(0x40 | 2, 3, 0x0fff)].concat();
    vec![
        everybody,
        chain,
        ring,
        star,
        halves,
        newer,
        clones,
        Vec::new(),
    ]
}
