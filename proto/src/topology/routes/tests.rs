//! Routes and trees, compared with a plain reference that computes every tree in full.

use super::*;
use crate::crypto::identity::Identity;
use crate::ids::Version;
use crate::time::Instant;
use crate::topology::bodies::{self, Neighbour};
use crate::topology::record::SignedRecord;
use crate::topology::testing::{identity, insert_linked, linked, linked_by, neighbour, record};
use crate::wire::topic::Topic;
use proptest::prelude::*;
use std::collections::btree_map::Entry;
use std::collections::{BTreeSet, VecDeque};
use std::sync::LazyLock;

static IDENTITIES: LazyLock<Vec<Identity>> = LazyLock::new(|| (0..12).map(identity).collect());

fn id(n: usize) -> PeerId {
    IDENTITIES[n].id()
}

/// Returns a database in which each pair is a link that both ends announce as established.
fn database(n: usize, links: &BTreeSet<(usize, usize)>) -> Lsdb {
    let mut lsdb = Lsdb::default();
    for i in 0..n {
        let mine = links.iter().filter_map(|&(a, b)| {
            if a == i {
                Some(b)
            } else {
                (b == i).then_some(a)
            }
        });
        insert_linked(&mut lsdb, &IDENTITIES[i], mine.map(id));
    }
    lsdb
}

fn links(n: usize) -> impl Strategy<Value = BTreeSet<(usize, usize)>> {
    prop::collection::btree_set((0..n, 0..n), 0..2 * n)
        .prop_map(|set| set.into_iter().filter(|(a, b)| a != b).collect())
}

fn adjacent(links: &BTreeSet<(usize, usize)>, of: PeerId) -> BTreeSet<PeerId> {
    let both = links
        .iter()
        .flat_map(|&(a, b)| [(id(a), id(b)), (id(b), id(a))]);
    both.filter(|(a, _)| *a == of).map(|(_, b)| b).collect()
}

/// Distances, by a search that shares no code with the one under test.
fn reference(links: &BTreeSet<(usize, usize)>, from: PeerId) -> BTreeMap<PeerId, u16> {
    let mut distances = BTreeMap::from([(from, 0)]);
    let mut queue = VecDeque::from([from]);
    while let Some(peer) = queue.pop_front() {
        let next = distances[&peer] + 1;
        for other in adjacent(links, peer) {
            if let Entry::Vacant(unseen) = distances.entry(other) {
                unseen.insert(next);
                queue.push_back(other);
            }
        }
    }
    distances
}

/// Links with the costs that their two ends announce.
type Priced = BTreeMap<(usize, usize), (u16, u16)>;

fn priced(n: usize) -> impl Strategy<Value = Priced> {
    let costs = (0u16..6, 0u16..6);
    prop::collection::btree_map((0..n, 0..n), costs, 0..2 * n).prop_map(|links| {
        let links = links.into_iter().filter(|((a, b), _)| a != b);
        // One entry per pair.
        let links = links.map(|((a, b), costs)| ((a.min(b), a.max(b)), costs));
        links.collect()
    })
}

fn priced_database(n: usize, links: &Priced) -> Lsdb {
    let mut lsdb = Lsdb::default();
    for (i, identity) in IDENTITIES.iter().enumerate().take(n) {
        let to = |peer: usize, cost| Neighbour {
            cost,
            ..neighbour(id(peer))
        };
        let mine = links.iter().filter_map(|(&(a, b), &(of_a, of_b))| {
            let at_a = (a == i).then(|| to(b, of_a));
            at_a.or_else(|| (b == i).then(|| to(a, of_b)))
        });
        let mine: Vec<Neighbour> = mine.collect();
        lsdb.insert(record(identity, 1, 1, "host"), Instant::ZERO);
        lsdb.insert(linked_by(identity, &mine), Instant::ZERO);
    }
    lsdb
}

/// Returns hops and cost of the best route between all pairs, by trying all routes through ever more routers.
fn cheapest(n: usize, links: &Priced) -> BTreeMap<(usize, usize), (u16, u32)> {
    let mut best = BTreeMap::new();
    for (&(a, b), &(of_a, of_b)) in links {
        let way = (1, u32::from(of_a.max(of_b).max(1)));
        best.insert((a, b), way);
        best.insert((b, a), way);
    }
    for via in 0..n {
        for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))) {
            let ways = best.get(&(a, via)).zip(best.get(&(via, b)));
            let Some(way) = ways.map(|(x, y)| (x.0 + y.0, x.1 + y.1)) else {
                continue;
            };
            if a != b && best.get(&(a, b)).is_none_or(|old| way < *old) {
                best.insert((a, b), way);
            }
        }
    }
    best
}

/// Changes of links: the router and its new neighbours with costs. Routers 9 to 11 are unknown at first; one without
/// neighbours restarts.
fn steps() -> impl Strategy<Value = Vec<(usize, BTreeMap<usize, u16>)>> {
    let peers = prop::collection::btree_map(0usize..12, 0u16..6, 0..6);
    prop::collection::vec((0usize..12, peers), 1..30)
}

fn say(lsdb: &mut Lsdb, who: usize, peers: &BTreeMap<usize, u16>, seq: u64) {
    let identity = &IDENTITIES[who];
    if peers.is_empty() || !lsdb.knows(&identity.id()) {
        lsdb.insert(record(identity, seq, 1, "host"), Instant::ZERO);
        return;
    }
    let to = |(peer, cost): (&usize, &u16)| Neighbour {
        cost: *cost,
        ..neighbour(id(*peer))
    };
    let peers: Vec<Neighbour> = peers.iter().map(to).collect();
    let body = bodies::encode_links(&peers);
    let version = Version { epoch: seq, seq };
    let said = SignedRecord::sign(Topic::LINKS, version, &body, identity).unwrap();
    lsdb.insert(said, Instant::ZERO);
}

proptest! {
    #[test]
    fn the_cheapest_of_the_shortest_routes_is_taken_at_each_hop(links in priced(9)) {
        let lsdb = priced_database(9, &links);
        let routes: Vec<Routes> = (0..9).map(|i| Routes::compute(&lsdb, id(i))).collect();
        let best = cheapest(9, &links);
        for (a, b) in (0..9).flat_map(|a| (0..9).map(move |b| (a, b))) {
            let taken = routes[a].next_hop(&id(b));
            let way = taken.map(|(_, hops)| (hops, routes[a].cost(&id(b)).unwrap()));
            prop_assert_eq!(way, best.get(&(a, b)).copied());
            let Some((first, hops)) = taken else { continue };
            let next = (0..9).find(|i| id(*i) == first).unwrap();
            let (step, rest) = (best[&(a, next)], best.get(&(next, b)).copied().unwrap_or((0, 0)));
            prop_assert_eq!(step.0, 1);
            prop_assert_eq!((rest.0 + 1, rest.1 + step.1), (hops, best[&(a, b)].1));
        }
    }

    #[test]
    fn costs_do_not_change_trees(links in priced(9)) {
        let free = links.keys().map(|pair| (*pair, (1, 1))).collect();
        for me in (0..9).map(id) {
            let with = Routes::compute(&priced_database(9, &links), me);
            let without = Routes::compute(&priced_database(9, &free), me);
            prop_assert!(with.has_links_of(&without));
            for origin in (0..9).map(id) {
                prop_assert!(with.flood(&origin).eq(without.flood(&origin)));
            }
        }
    }

    #[test]
    fn next_hops_are_shortest_and_loop_free(links in links(9)) {
        let lsdb = database(9, &links);
        let routes: BTreeMap<PeerId, Routes> = (0..9).map(|i| (id(i), Routes::compute(&lsdb, id(i)))).collect();
        for (me, mine) in &routes {
            let distances = reference(&links, *me);
            for peer in mine.known() {
                match distances.get(&peer) {
                    None => prop_assert!(!mine.is_reachable(&peer) && mine.next_hop(&peer).is_none()),
                    Some(0) => prop_assert!(mine.is_reachable(&peer) && mine.next_hop(&peer).is_none()),
                    Some(hops) => {
                        let (first, counted) = mine.next_hop(&peer).unwrap();
                        prop_assert_eq!(counted, *hops);
                        prop_assert!(adjacent(&links, *me).contains(&first));
                        let rest = routes[&first].next_hop(&peer).map_or(0, |(_, hops)| hops);
                        prop_assert_eq!(rest + 1, *hops);
                    }
                }
            }
        }
    }

    #[test]
    fn each_broadcast_reaches_everyone_exactly_once_along_the_lowest_parents(links in links(9)) {
        let lsdb = database(9, &links);
        let routes: BTreeMap<PeerId, Routes> = (0..9).map(|i| (id(i), Routes::compute(&lsdb, id(i)))).collect();
        for origin in routes.keys() {
            let distances = reference(&links, *origin);
            let mut copies: BTreeMap<PeerId, PeerId> = BTreeMap::new();
            for (parent, mine) in &routes {
                for child in mine.flood(origin) {
                    prop_assert!(copies.insert(child, *parent).is_none(), "two copies");
                }
            }
            for (peer, distance) in &distances {
                let nearer = adjacent(&links, *peer).into_iter().find(|p| distances[p] + 1 == *distance);
                prop_assert_eq!(copies.remove(peer), nearer);
            }
            prop_assert!(copies.is_empty(), "copies to the unreachable");
        }
    }

    #[test]
    fn incremental_routes_equal_a_full_computation(steps in steps()) {
        let mut lsdb = database(9, &BTreeSet::from([(0, 1), (1, 2), (2, 3), (3, 0)]));
        let mut routes = Routes::compute(&lsdb, id(0));
        lsdb.take_relinked();
        for (seq, (who, peers)) in steps.into_iter().enumerate() {
            say(&mut lsdb, who, &peers, 2 + u64::try_from(seq).unwrap());
            let full = Routes::compute(&lsdb, id(0));
            let changed = lsdb.take_relinked();
            routes = routes.updated(&lsdb, &changed);
            prop_assert!(routes.has_links_of(&full));
            prop_assert!(routes.known().eq(full.known()));
            for peer in (0..12).map(id) {
                prop_assert_eq!(routes.next_hop(&peer), full.next_hop(&peer));
                prop_assert_eq!(routes.cost(&peer), full.cost(&peer));
                prop_assert!(routes.flood(&peer).eq(full.flood(&peer)));
            }
        }
    }

    #[test]
    fn links_differ_if_those_of_reachable_routers_do(links in links(7)) {
        let before = Routes::compute(&database(7, &links), id(0));
        let mut changed = links.clone();
        let Some(gone) = links.iter().next().copied() else { return Ok(()) };
        changed.remove(&gone);
        changed.remove(&(gone.1, gone.0));
        let after = Routes::compute(&database(7, &changed), id(0));
        let seen = before.is_reachable(&id(gone.0));
        prop_assert_eq!(!before.has_links_of(&after), seen);
    }
}

#[test]
fn a_link_counts_when_both_ends_call_it_established() {
    let (a, b) = (&IDENTITIES[0], &IDENTITIES[1]);
    let reaches = |record: SignedRecord| {
        let mut lsdb = Lsdb::default();
        insert_linked(&mut lsdb, a, [b.id()]);
        lsdb.insert(self::record(b, 1, 1, "host"), Instant::ZERO);
        lsdb.insert(record, Instant::ZERO);
        Routes::compute(&lsdb, a.id()).is_reachable(&b.id())
    };
    assert!(reaches(linked(b, [a.id()])));
    assert!(
        reaches(linked(b, [a.id(), a.id(), b.id()])),
        "repeated and own entries are harmless"
    );
    assert!(!reaches(linked(b, [])));
    let mut pending = neighbour(a.id());
    pending.established = false;
    assert!(!reaches(linked_by(b, &[pending])));
}

#[test]
fn without_an_own_record_nothing_is_reachable() {
    let lsdb = database(3, &BTreeSet::from([(0, 1), (1, 2)]));
    let routes = Routes::compute(&lsdb, id(5));
    assert_eq!(routes.reachable().count(), 0);
    assert!(routes.flood(&id(0)).next().is_none() && routes.next_hop(&id(0)).is_none());
    let routes = Routes::compute(&lsdb, id(1));
    assert_eq!(routes.neighbours().len(), 2);
    assert!(routes.flood(&id(1)).eq(routes.neighbours().iter().copied()));
    assert!(routes.flood(&id(7)).next().is_none());
}

/// A release build asserts the promised bound; a debug build only notices a change of the order of magnitude.
#[test]
fn routes_take_milliseconds() {
    for (routers, bound) in [(1_000, 50), (10_000, 500)] {
        let bound = if cfg!(debug_assertions) {
            20 * bound
        } else {
            bound
        };
        let (lsdb, all) = mesh_of(routers);
        let timed = |what: &str, work: &dyn Fn() -> Routes| {
            let start = std::time::Instant::now();
            let routes = work();
            let took = start.elapsed();
            println!("routes of {routers} routers {what}: {took:?}");
            assert!(took.as_millis() < bound, "took {took:?}");
            routes
        };
        let routes = timed("from nothing", &|| Routes::compute(&lsdb, all[0]));
        assert_eq!(routes.reachable().count(), routers);
        let changed = BTreeSet::from([all[500]]);
        let followed = timed("after a change", &|| routes.updated(&lsdb, &changed));
        assert!(followed.has_links_of(&routes));
    }
}

/// Returns a mesh of `n` routers that chose four links each, two of them on a ring.
fn mesh_of(n: usize) -> (Lsdb, Vec<PeerId>) {
    let seeds = 1_000..1_000 + u64::try_from(n).unwrap();
    let identities: Vec<Identity> = seeds.map(identity).collect();
    let mut edges: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); n];
    for i in 0..n {
        let chosen = [i + 1, i + 2].map(|j| j % n);
        let far = [2, 3].map(|k| (i * 7_919 + k * 104_729 + 13) % n);
        for j in chosen.into_iter().chain(far).filter(|j| *j != i) {
            edges[i].insert(j);
            edges[j].insert(i);
        }
    }
    let mut lsdb = Lsdb::default();
    for (identity, peers) in identities.iter().zip(&edges) {
        let peers = peers.iter().map(|j| identities[*j].id());
        insert_linked(&mut lsdb, identity, peers);
    }
    (lsdb, identities.iter().map(Identity::id).collect())
}
