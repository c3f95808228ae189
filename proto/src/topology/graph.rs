//! The graph of links on which both ends agree, and distances in it.

use super::bodies::Neighbour;
use super::lsdb::Lsdb;
use super::record::SignedRecord;
use crate::ids::{PeerId, PeerPrefix};

/// Farther than anything: not connected.
pub(super) const UNREACHABLE: u16 = u16::MAX;

/// Routers by number, in ascending order of their identities, and their symmetric links.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) peers: Vec<PeerId>,
    /// Of router `i`: `edges[starts[i]..starts[i + 1]]`, ascending.
    starts: Vec<usize>,
    edges: Vec<usize>,
    /// By edge, the same in both directions.
    costs: Vec<u16>,
}

/// Distances in hops from one router, and the reached routers in the order of their distance.
#[derive(Debug, Default)]
pub(super) struct Distances {
    pub(super) of: Vec<u16>,
    pub(super) order: Vec<usize>,
}

impl Graph {
    /// The links of `lsdb` that both ends call established.
    pub(super) fn of(lsdb: &Lsdb) -> Self {
        let peers: Vec<PeerId> = lsdb.origins().collect();
        let claims = Claims::of(lsdb, &peers);
        let most = claims.all.len();
        let mut graph = Self {
            starts: Vec::with_capacity(peers.len() + 1),
            edges: Vec::with_capacity(most),
            costs: Vec::with_capacity(most),
            peers,
        };
        graph.starts.push(0);
        for i in 0..graph.peers.len() {
            for (j, cost) in claims.by(i).iter().filter(|(j, _)| *j != i) {
                let theirs = claims.by(*j);
                if let Ok(at) = theirs.binary_search_by_key(&i, |(k, _)| *k) {
                    graph.edges.push(*j);
                    graph.costs.push(theirs[at].1.max(*cost));
                }
            }
            graph.starts.push(graph.edges.len());
        }
        graph
    }

    /// The number of a router.
    pub(super) fn index(&self, peer: &PeerId) -> Option<usize> {
        self.peers.binary_search(peer).ok()
    }

    /// The neighbours of router `i`, in ascending order.
    pub(super) fn neighbours(&self, i: usize) -> &[usize] {
        &self.edges[self.starts[i]..self.starts[i + 1]]
    }

    /// What the links to these neighbours cost, in the same order: of what both ends say, the more.
    pub(super) fn costs(&self, i: usize) -> &[u16] {
        &self.costs[self.starts[i]..self.starts[i + 1]]
    }

    /// Breadth-first search from `source`; `into` is overwritten.
    pub(super) fn distances(&self, source: usize, into: &mut Distances) {
        into.of.clear();
        into.of.resize(self.peers.len(), UNREACHABLE);
        into.order.clear();
        into.of[source] = 0;
        into.order.push(source);
        let mut next = 0;
        while let Some(&i) = into.order.get(next) {
            next += 1;
            let distance = into.of[i] + 1;
            for &j in self.neighbours(i) {
                if into.of[j] == UNREACHABLE {
                    into.of[j] = distance;
                    into.order.push(j);
                }
            }
        }
    }
}

/// Whom a router calls an established neighbour, and at what cost.
type Claim = (usize, u16);

/// What all routers claim, in one piece: each router's claims in ascending order, each neighbour once.
struct Claims {
    all: Vec<Claim>,
    starts: Vec<usize>,
}

impl Claims {
    fn of(lsdb: &Lsdb, peers: &[PeerId]) -> Self {
        let (mut all, mut starts) = (Vec::with_capacity(8 * peers.len()), vec![0]);
        let mut known: Vec<Claim> = Vec::new();
        for record in lsdb.links_of_all() {
            let links = record.map_or(&[][..], SignedRecord::links).iter();
            let established = links.filter(|n| n.established);
            known.extend(established.filter_map(|n| claim(n, peers)));
            known.sort_unstable();
            known.dedup_by_key(|(i, _)| *i);
            all.append(&mut known);
            starts.push(all.len());
        }
        Self { all, starts }
    }

    /// The claims of router `i`.
    fn by(&self, i: usize) -> &[Claim] {
        &self.all[self.starts[i]..self.starts[i + 1]]
    }
}

fn claim(neighbour: &Neighbour, peers: &[PeerId]) -> Option<Claim> {
    Some((by_prefix(peers, neighbour.peer)?, neighbour.cost.max(1)))
}

/// The number of the router that a neighbour names; none if two begin like this, so that nobody is taken for another.
fn by_prefix(peers: &[PeerId], prefix: PeerPrefix) -> Option<usize> {
    let first = peers.partition_point(|peer| peer.prefix() < prefix);
    let is_meant = |at: usize| peers.get(at).is_some_and(|peer| peer.prefix() == prefix);
    (is_meant(first) && !is_meant(first + 1)).then_some(first)
}
