//! The graph of links on which both ends agree, and distances in it.

use super::bodies::Neighbour;
use super::lsdb::Lsdb;
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
        let claims: Vec<Vec<Claim>> = lsdb
            .origins()
            .map(|peer| claims(lsdb.links(&peer), &peers))
            .collect();
        let mut graph = Self {
            starts: vec![0],
            peers,
            edges: Vec::new(),
            costs: Vec::new(),
        };
        for (i, claimed) in claims.iter().enumerate() {
            for (j, cost) in claimed.iter().filter(|(j, _)| *j != i) {
                let theirs = &claims[*j];
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

/// Whom a router calls an established neighbour, in ascending order, each once, and at what cost.
type Claim = (usize, u16);

fn claims(links: &[Neighbour], peers: &[PeerId]) -> Vec<Claim> {
    let established = links.iter().filter(|n| n.established);
    let mut known: Vec<Claim> = established
        .filter_map(|n| Some((by_prefix(peers, n.peer)?, n.cost.max(1))))
        .collect();
    known.sort_unstable();
    known.dedup_by_key(|(i, _)| *i);
    known
}

/// The number of the router that a neighbour names; none if two begin like this, so that nobody is taken for another.
fn by_prefix(peers: &[PeerId], prefix: PeerPrefix) -> Option<usize> {
    let first = peers.partition_point(|peer| peer.prefix() < prefix);
    let is_meant = |at: usize| peers.get(at).is_some_and(|peer| peer.prefix() == prefix);
    (is_meant(first) && !is_meant(first + 1)).then_some(first)
}
