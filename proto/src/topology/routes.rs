//! Routes and broadcast trees: a pure function of the link-state database, the same on every router that holds the
//! same records.
//!
//! Unicast takes, of the paths with the fewest hops, one that costs least; of several such, that with the lowest
//! identities going back from the destination. The next router on it has one hop and a cost less to go, whichever of its
//! own equals it takes, so nothing goes round. Broadcast from an origin follows one tree: a router's parent
//! is, of its neighbours one hop nearer to the origin, the one with the lowest identity.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::graph::{Graph, Number};
use super::lsdb::Lsdb;
use super::trees::Trees;
use crate::ids::PeerId;

/// Farther than anything: not connected.
pub(super) const UNREACHABLE: u16 = u16::MAX;

/// What one router needs to know of the topology.
#[derive(Debug)]
pub struct Routes {
    graph: Arc<Graph>,
    me: PeerId,
    neighbours: Vec<PeerId>,
    /// By router number.
    ways: Vec<Way>,
    trees: Trees,
}

/// The way to a router.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// The neighbour it begins with; ourselves, for ourselves.
    first: Number,
    /// [`UNREACHABLE`] where there is none.
    hops: u16,
    cost: u32,
}

impl Routes {
    /// The routes of router `me`, whose own record must be in `lsdb` for anything to be reachable.
    pub fn compute(lsdb: &Lsdb, me: PeerId) -> Self {
        Self::in_graph(Graph::of(lsdb).into(), me)
    }

    /// What [`Routes::compute`] gives, when no other routers than `changed` came, went, or said of their links something
    /// else since these routes were computed.
    pub fn follow(&self, lsdb: &Lsdb, changed: &BTreeSet<PeerId>) -> Self {
        Self::in_graph(self.graph.follow(lsdb, changed).into(), self.me)
    }

    /// The routes of a router that knows nobody, not even itself.
    pub fn none(me: PeerId) -> Self {
        Self::in_graph(Arc::default(), me)
    }

    /// The routes of another router that holds the same records: what both see of the mesh they share.
    pub fn seen_by(&self, other: PeerId) -> Self {
        Self::in_graph(self.graph.clone(), other)
    }

    fn in_graph(graph: Arc<Graph>, me: PeerId) -> Self {
        let number = graph.index(&me);
        let (trees, order) = number.map_or_else(Default::default, |n| Trees::of(&graph, n));
        let mine = number.map_or(&[][..], |n| graph.neighbours(n)).iter();
        Self {
            ways: ways(&graph, &order),
            neighbours: mine.map(|i| graph.peers[usize::from(*i)]).collect(),
            trees,
            graph,
            me,
        }
    }

    /// Trees alone, made by hand: origins, each with our children in its tree. They are within reach, but nothing leads
    /// there. For tests of the data plane.
    pub fn by_hand(me: PeerId, trees: &BTreeMap<PeerId, Vec<PeerId>>) -> Self {
        let children = trees.values().flatten();
        let peers: BTreeSet<PeerId> = trees.keys().chain(children).copied().collect();
        let graph = Graph::without_links(peers.into_iter().collect());
        let way_to = |peer: &PeerId| match trees.contains_key(peer) {
            true => Way {
                hops: 0,
                ..Way::NONE
            },
            false => Way::NONE,
        };
        Self {
            ways: graph.peers.iter().map(way_to).collect(),
            neighbours: Vec::new(),
            trees: Trees::by_hand(&graph.peers, trees),
            graph: graph.into(),
            me,
        }
    }

    /// The neighbour to which datagrams for `peer` go, and the number of hops in all; `None` for ourselves and for
    /// those out of reach. May exceed [`crate::limits::MAX_HOPS`], beyond which datagrams are dropped.
    pub fn next_hop(&self, peer: &PeerId) -> Option<(PeerId, u16)> {
        let way = self.way(peer)?;
        Some((self.peer(way.first), way.hops))
    }

    /// What the way to `peer` costs: the round-trip times of its links in milliseconds, added up. `None` as above.
    pub fn cost(&self, peer: &PeerId) -> Option<u32> {
        Some(self.way(peer)?.cost)
    }

    fn way(&self, peer: &PeerId) -> Option<&Way> {
        let way = self.ways.get(self.graph.index(peer)?)?;
        (way.hops != UNREACHABLE && way.hops != 0).then_some(way)
    }

    fn peer(&self, number: Number) -> PeerId {
        self.graph.peers[usize::from(number)]
    }

    /// Our children in the broadcast tree of `origin`, ascending; none when it is out of reach, or not known.
    pub fn flood<'a>(&'a self, origin: &PeerId) -> impl Iterator<Item = PeerId> + Clone + use<'a> {
        let children = self.graph.index(origin).map(|i| self.trees.children(i));
        let children = children.unwrap_or_default().iter();
        children.map(|child| self.peer(*child))
    }

    /// The routers with which we have a link that both ends call established, ascending.
    pub fn neighbours(&self) -> &[PeerId] {
        &self.neighbours
    }

    /// All routers within reach, ourselves included, ascending.
    pub fn reachable(&self) -> impl Iterator<Item = PeerId> + Clone + '_ {
        let all = self.graph.peers.iter().zip(&self.ways);
        all.filter(|(_, way)| way.hops != UNREACHABLE)
            .map(|(peer, _)| *peer)
    }

    /// The same, in one piece.
    pub fn all_reachable(&self) -> Cow<'_, [PeerId]> {
        if self.are_near().all(|near| near) {
            Cow::Borrowed(&self.graph.peers)
        } else {
            Cow::Owned(self.reachable().collect())
        }
    }

    /// All routers of which there is a record but no way to them, ascending.
    pub fn unreachable(&self) -> impl Iterator<Item = PeerId> + '_ {
        let all = self.graph.peers.iter().zip(&self.ways);
        all.filter(|(_, way)| way.hops == UNREACHABLE)
            .map(|(peer, _)| *peer)
    }

    /// Whether `peer` is within reach.
    pub fn is_reachable(&self, peer: &PeerId) -> bool {
        let way = self.graph.index(peer).and_then(|i| self.ways.get(i));
        way.is_some_and(|way| way.hops != UNREACHABLE)
    }

    /// All routers of which there is a record, ascending.
    pub fn known(&self) -> impl Iterator<Item = PeerId> + Clone + '_ {
        self.graph.peers.iter().copied()
    }

    /// Whether the same routers are within reach of both, with the same links between them, whatever these cost: then no
    /// tree differs.
    pub fn has_links_of(&self, other: &Self) -> bool {
        if self.graph.peers != other.graph.peers {
            return self.links().eq(other.links());
        }
        let mut all = self.are_near().zip(other.are_near()).enumerate();
        all.all(|(i, near)| match near {
            (true, true) => self.graph.neighbours(i) == other.graph.neighbours(i),
            (here, there) => here == there,
        })
    }

    /// Whether the same routers are within reach of both.
    pub fn has_reach_of(&self, other: &Self) -> bool {
        if self.graph.peers == other.graph.peers {
            return self.are_near().eq(other.are_near());
        }
        self.reachable().eq(other.reachable())
    }

    /// Of each known router, whether it is within reach.
    fn are_near(&self) -> impl Iterator<Item = bool> + '_ {
        self.ways.iter().map(|way| way.hops != UNREACHABLE)
    }

    /// Each router within reach, alone and then with each of its neighbours.
    pub fn links(&self) -> impl Iterator<Item = (PeerId, Option<PeerId>)> + '_ {
        let all = (0..self.ways.len()).filter(|i| self.ways[*i].hops != UNREACHABLE);
        all.flat_map(move |i| {
            let others = self.graph.neighbours(i).iter().map(|j| Some(self.peer(*j)));
            let ends = core::iter::once(None).chain(others);
            ends.map(move |end| (self.graph.peers[i], end))
        })
    }
}

impl Way {
    const NONE: Self = Self {
        first: 0,
        hops: UNREACHABLE,
        cost: 0,
    };
}

/// The ways to all routers; `order` has those within reach, in the order of their distance, and how far it is.
fn ways(graph: &Graph, order: &[(Number, u16)]) -> Vec<Way> {
    let mut ways = vec![Way::NONE; graph.peers.len()];
    for &(number, hops) in order {
        let i = usize::from(number);
        let links = graph.neighbours(i).iter().zip(graph.costs(i));
        // Those one hop nearer were looked at before; the first of the least costs is the one with the lowest identity.
        let by = links
            .map(|(j, cost)| (ways[usize::from(*j)], u32::from(*cost)))
            .filter(|(parent, _)| parent.hops != UNREACHABLE && parent.hops + 1 == hops)
            .min_by_key(|(parent, cost)| parent.cost + cost);
        let parent_first = |parent: &Way| match parent.hops {
            0 => number,
            _ => parent.first,
        };
        ways[i] = Way {
            first: by.map_or(number, |(parent, _)| parent_first(&parent)),
            hops,
            cost: by.map_or(0, |(parent, cost)| parent.cost + cost),
        };
    }
    ways
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
