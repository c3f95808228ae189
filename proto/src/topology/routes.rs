//! Routes and broadcast trees: a pure function of the link-state database, the same on every router that holds the
//! same records.
//!
//! Unicast takes, of the paths with the fewest hops, one that costs least; of several such, that with the lowest
//! identities going back from the destination. The next router on it has one hop and a cost less to go, whichever of its
//! own equals it takes, so nothing goes round. Broadcast from an origin follows one tree: a router's parent
//! is, of its neighbours one hop nearer to the origin, the one with the lowest identity.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::graph::{Distances, Graph, UNREACHABLE};
use super::lsdb::Lsdb;
use crate::ids::PeerId;

/// What one router needs to know of the topology.
#[derive(Debug, Default)]
pub struct Routes {
    peers: Vec<PeerId>,
    /// By router number; none for ourselves and for those out of reach.
    next: Vec<Option<Hop>>,
    reached: Vec<bool>,
    neighbours: Vec<PeerId>,
    /// By router number: our children in the tree of that origin are `children[starts[i]..starts[i + 1]]`.
    starts: Vec<usize>,
    children: Vec<PeerId>,
    fingerprint: [u8; 16],
}

#[derive(Clone, Copy, Debug)]
struct Hop {
    first: PeerId,
    hops: u16,
    cost: u32,
}

impl Routes {
    /// The routes of router `me`, whose own record must be in `lsdb` for anything to be reachable.
    pub fn compute(lsdb: &Lsdb, me: PeerId) -> Self {
        let graph = Graph::of(lsdb);
        let Some(me) = graph.index(&me) else {
            return Self::default();
        };
        let mut from_me = Distances::default();
        graph.distances(me, &mut from_me);
        let next = next_hops(&graph, &from_me);
        let (starts, children) = flood_children(&graph, me, &from_me);
        Self {
            next,
            reached: from_me.of.iter().map(|d| *d != UNREACHABLE).collect(),
            neighbours: graph
                .neighbours(me)
                .iter()
                .map(|i| graph.peers[*i])
                .collect(),
            starts,
            children,
            fingerprint: fingerprint(&graph, &from_me),
            peers: graph.peers,
        }
    }

    /// The neighbour to which datagrams for `peer` go, and the number of hops in all; `None` for ourselves and for
    /// those out of reach. May exceed [`crate::limits::MAX_HOPS`], beyond which datagrams are dropped.
    pub fn next_hop(&self, peer: &PeerId) -> Option<(PeerId, u16)> {
        let hop = self.next[self.index(peer)?]?;
        Some((hop.first, hop.hops))
    }

    /// What the way to `peer` costs: the round-trip times of its links in milliseconds, added up. `None` as above.
    pub fn cost(&self, peer: &PeerId) -> Option<u32> {
        let hop = self.next[self.index(peer)?]?;
        Some(hop.cost)
    }

    /// Our children in the broadcast tree of `origin`, ascending; none when it is out of reach.
    pub fn flood(&self, origin: &PeerId) -> &[PeerId] {
        match self.index(origin) {
            Some(i) => &self.children[self.starts[i]..self.starts[i + 1]],
            None => &[],
        }
    }

    /// All routers within reach, ascending, ourselves included, each with our children in its tree.
    pub fn trees(&self) -> impl Iterator<Item = (PeerId, &[PeerId])> {
        let spans = self.starts.iter().zip(self.starts.iter().skip(1));
        let children = spans.map(|(from, to)| &self.children[*from..*to]);
        let all = self.peers.iter().zip(&self.reached).zip(children);
        all.filter(|((_, reached), _)| **reached)
            .map(|((peer, _), children)| (*peer, children))
    }

    /// All routers within reach, ascending, ourselves included, each with the neighbour on the way there.
    pub fn hops(&self) -> impl Iterator<Item = (PeerId, Option<PeerId>)> + '_ {
        let all = self.peers.iter().zip(&self.reached).zip(&self.next);
        all.filter(|((_, reached), _)| **reached)
            .map(|((peer, _), hop)| (*peer, hop.map(|hop| hop.first)))
    }

    /// The routers with which we have a link that both ends call established, ascending.
    pub fn neighbours(&self) -> &[PeerId] {
        &self.neighbours
    }

    /// All routers within reach, ourselves included, ascending.
    pub fn reachable(&self) -> impl Iterator<Item = PeerId> + Clone + '_ {
        let reached = self.peers.iter().zip(&self.reached);
        reached
            .filter(|(_, reached)| **reached)
            .map(|(peer, _)| *peer)
    }

    /// Whether `peer` is within reach.
    pub fn is_reachable(&self, peer: &PeerId) -> bool {
        self.index(peer).is_some_and(|i| self.reached[i])
    }

    /// All routers of which there is a record, ascending.
    pub fn known(&self) -> impl Iterator<Item = PeerId> + Clone + '_ {
        self.peers.iter().copied()
    }

    /// A hash of the routers within reach and the links between them, not of what these cost: equal as long as no tree
    /// changes, and nobody comes within reach or goes.
    pub fn fingerprint(&self) -> [u8; 16] {
        self.fingerprint
    }

    fn index(&self, peer: &PeerId) -> Option<usize> {
        self.peers.binary_search(peer).ok()
    }
}

fn next_hops(graph: &Graph, from_me: &Distances) -> Vec<Option<Hop>> {
    let mut next: Vec<Option<Hop>> = vec![None; graph.peers.len()];
    for &i in from_me.order.iter().skip(1) {
        let nearer = from_me.of[i].saturating_sub(1);
        let links = graph.neighbours(i).iter().zip(graph.costs(i));
        // Those one hop nearer were looked at before; the first of the least costs is the one with the lowest identity.
        let by = links
            .filter(|(j, _)| from_me.of[**j] == nearer)
            .map(|(j, cost)| (next[*j], u32::from(*cost)))
            .min_by_key(|(hop, cost)| cost + hop.map_or(0, |hop| hop.cost));
        let Some((parent, cost)) = by else { continue };
        next[i] = Some(Hop {
            first: parent.map_or(graph.peers[i], |hop| hop.first),
            hops: from_me.of[i],
            cost: cost + parent.map_or(0, |hop| hop.cost),
        });
    }
    next
}

/// Our children in the tree of every origin, without computing every tree: distances are symmetric, so searches from
/// our neighbours and from theirs tell which of them have us as their parent.
fn flood_children(graph: &Graph, me: usize, from_me: &Distances) -> (Vec<usize>, Vec<PeerId>) {
    let neighbours = graph.neighbours(me);
    let mut scratch = Distances::default();
    let mut ours: Vec<Vec<bool>> = Vec::new();
    // Farther from the origin than we are: a child, unless it has a better parent.
    for &v in neighbours {
        graph.distances(v, &mut scratch);
        let pairs = scratch.of.iter().zip(&from_me.of);
        ours.push(
            pairs
                .map(|(v, me)| *me != UNREACHABLE && *v == me + 1)
                .collect(),
        );
    }
    // A better parent is as near to the origin as we are, and has a lower identity.
    for (rival, shared) in rivals(graph, me) {
        graph.distances(rival, &mut scratch);
        for &origin in &from_me.order {
            if scratch.of[origin] == from_me.of[origin] {
                shared.iter().for_each(|k| ours[*k][origin] = false);
            }
        }
    }
    let mut starts = vec![0];
    let mut children = Vec::new();
    for origin in 0..graph.peers.len() {
        let mine = neighbours
            .iter()
            .zip(&ours)
            .filter(|(_, ours)| ours[origin]);
        children.extend(mine.map(|(v, _)| graph.peers[*v]));
        starts.push(children.len());
    }
    (starts, children)
}

/// Routers of lower identity than `me` that are neighbours of our neighbours, each with the positions of those
/// neighbours in our list.
fn rivals(graph: &Graph, me: usize) -> BTreeMap<usize, Vec<usize>> {
    let mut rivals: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (k, &v) in graph.neighbours(me).iter().enumerate() {
        for &u in graph.neighbours(v).iter().take_while(|u| **u < me) {
            rivals.entry(u).or_default().push(k);
        }
    }
    rivals
}

fn fingerprint(graph: &Graph, from_me: &Distances) -> [u8; 16] {
    let mut hash = Sha256::new();
    let mut reached = from_me.order.clone();
    reached.sort_unstable();
    for i in reached {
        hash.update(graph.peers[i].0);
        for j in graph.neighbours(i).iter().filter(|j| **j > i) {
            hash.update(graph.peers[*j].0);
        }
        hash.update([0xff]);
    }
    let mut out = [0; 16];
    out.copy_from_slice(&hash.finalize()[..16]);
    out
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
