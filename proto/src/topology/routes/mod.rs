//! Routes and broadcast trees: a pure function of the link-state database, equal on all routers with the same
//! records.
//!
//! A unicast route is one with the fewest hops, of these one with the lowest cost, and of these the one with the
//! lowest identities, compared from the destination backwards. The next hop has one hop less to go and a lower cost,
//! whichever of its own equal-cost routes it takes, so there are no loops. Broadcasts of an origin follow one tree:
//! the parent of a router is, of its neighbours one hop nearer to the origin, the one with the lowest identity.

mod graph;
mod search;
#[cfg(test)]
mod tests;
mod trees;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::graph::{Graph, Number};
use self::trees::Trees;
use crate::ids::PeerId;
use crate::topology::lsdb::Lsdb;

/// Hop count of an unreachable router.
const UNREACHABLE: u16 = u16::MAX;

/// Routes and broadcast trees as seen by one router.
#[derive(Debug)]
pub struct Routes {
    graph: Arc<Graph>,
    me: PeerId,
    neighbours: Vec<PeerId>,
    /// Routes by router number.
    unicast: Vec<UnicastRoute>,
    trees: Trees,
}

/// Route to one router.
#[derive(Clone, Copy, Debug)]
struct UnicastRoute {
    /// Next hop; this router itself, for the route to itself.
    first: Number,
    /// Number of hops; [`UNREACHABLE`] if there is no route.
    hops: u16,
    cost: u32,
}

impl Routes {
    /// Computes the routes of router `me`. Nothing is reachable unless `lsdb` has the identity of `me`.
    pub fn compute(lsdb: &Lsdb, me: PeerId) -> Self {
        Self::in_graph(Graph::of(lsdb).into(), me)
    }

    /// Returns the same routes as [`Routes::compute`], from the previous ones; only the routers in `changed` may have
    /// been added, removed, or have changed their links since.
    pub fn updated(&self, lsdb: &Lsdb, changed: &BTreeSet<PeerId>) -> Self {
        Self::in_graph(self.graph.updated(lsdb, changed).into(), self.me)
    }

    /// Returns the routes of a router that knows no router, not even itself.
    pub fn none(me: PeerId) -> Self {
        Self::in_graph(Arc::default(), me)
    }

    /// Returns the routes of another router with the same records; the graph is shared.
    pub fn seen_by(&self, other: PeerId) -> Self {
        Self::in_graph(self.graph.clone(), other)
    }

    fn in_graph(graph: Arc<Graph>, me: PeerId) -> Self {
        let number = graph.index(&me);
        let (trees, order) = number.map_or_else(Default::default, |n| Trees::of(&graph, n));
        let mine = number.map_or(&[][..], |n| graph.neighbours(n)).iter();
        Self {
            unicast: unicast_routes(&graph, &order),
            neighbours: mine.map(|i| graph.peers[usize::from(*i)]).collect(),
            trees,
            graph,
            me,
        }
    }

    /// Creates trees only, for tests of the data plane: for each origin the children of `me`. The origins count as
    /// reachable, but have no next hop.
    pub fn by_hand(me: PeerId, trees: &BTreeMap<PeerId, Vec<PeerId>>) -> Self {
        let children = trees.values().flatten();
        let peers: BTreeSet<PeerId> = trees.keys().chain(children).copied().collect();
        let graph = Graph::without_links(peers.into_iter().collect());
        let route_to = |peer: &PeerId| match trees.contains_key(peer) {
            true => UnicastRoute {
                hops: 0,
                ..UnicastRoute::NONE
            },
            false => UnicastRoute::NONE,
        };
        Self {
            unicast: graph.peers.iter().map(route_to).collect(),
            neighbours: Vec::new(),
            trees: Trees::by_hand(&graph.peers, trees),
            graph: graph.into(),
            me,
        }
    }

    /// Returns the next hop to `peer` and the number of hops; `None` if it is unreachable or this router itself. The
    /// number may exceed [`crate::limits::MAX_HOPS`], beyond which datagrams are dropped.
    pub fn next_hop(&self, peer: &PeerId) -> Option<(PeerId, u16)> {
        let route = self.route(peer)?;
        Some((self.peer(route.first), route.hops))
    }

    /// Returns the cost of the route to `peer`: the sum of its links' round-trip times in milliseconds. `None` if it
    /// is unreachable or this router itself.
    pub fn cost(&self, peer: &PeerId) -> Option<u32> {
        Some(self.route(peer)?.cost)
    }

    fn route(&self, peer: &PeerId) -> Option<&UnicastRoute> {
        let route = self.unicast.get(self.graph.index(peer)?)?;
        (route.hops != UNREACHABLE && route.hops != 0).then_some(route)
    }

    fn peer(&self, number: Number) -> PeerId {
        self.graph.peers[usize::from(number)]
    }

    /// Returns this router's children in the broadcast tree of `origin`, ascending; none if `origin` is unreachable
    /// or not known.
    pub fn flood<'a>(&'a self, origin: &PeerId) -> impl Iterator<Item = PeerId> + Clone + use<'a> {
        let children = self.graph.index(origin).map(|i| self.trees.children(i));
        let children = children.unwrap_or_default().iter();
        children.map(|child| self.peer(*child))
    }

    /// Returns the routers with which this one has a link that both ends announce as established, ascending.
    pub fn neighbours(&self) -> &[PeerId] {
        &self.neighbours
    }

    /// Returns all reachable routers, including this one, ascending.
    pub fn reachable(&self) -> impl Iterator<Item = PeerId> + Clone + '_ {
        let all = self.graph.peers.iter().zip(&self.unicast);
        all.filter(|(_, route)| route.hops != UNREACHABLE)
            .map(|(peer, _)| *peer)
    }

    /// Returns all reachable routers, including this one, as an ascending slice.
    pub fn all_reachable(&self) -> Cow<'_, [PeerId]> {
        if self.are_near().all(|near| near) {
            Cow::Borrowed(&self.graph.peers)
        } else {
            Cow::Owned(self.reachable().collect())
        }
    }

    /// Returns all routers that are known but unreachable, ascending.
    pub fn unreachable(&self) -> impl Iterator<Item = PeerId> + '_ {
        let all = self.graph.peers.iter().zip(&self.unicast);
        all.filter(|(_, route)| route.hops == UNREACHABLE)
            .map(|(peer, _)| *peer)
    }

    /// Returns true if `peer` is reachable.
    pub fn is_reachable(&self, peer: &PeerId) -> bool {
        let route = self.graph.index(peer).and_then(|i| self.unicast.get(i));
        route.is_some_and(|route| route.hops != UNREACHABLE)
    }

    /// Returns all known routers, ascending.
    pub fn known(&self) -> impl Iterator<Item = PeerId> + Clone + '_ {
        self.graph.peers.iter().copied()
    }

    /// Returns true if the same routers are reachable with the same links between them, whatever their costs. All
    /// trees are equal then.
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

    /// Returns true if the same routers are reachable.
    pub fn has_reach_of(&self, other: &Self) -> bool {
        if self.graph.peers == other.graph.peers {
            return self.are_near().eq(other.are_near());
        }
        self.reachable().eq(other.reachable())
    }

    /// Returns for each known router true if it is reachable.
    fn are_near(&self) -> impl Iterator<Item = bool> + '_ {
        self.unicast.iter().map(|route| route.hops != UNREACHABLE)
    }

    /// Returns each reachable router, once alone and once with each of its neighbours.
    pub fn links(&self) -> impl Iterator<Item = (PeerId, Option<PeerId>)> + '_ {
        let all = (0..self.unicast.len()).filter(|i| self.unicast[*i].hops != UNREACHABLE);
        all.flat_map(move |i| {
            let others = self.graph.neighbours(i).iter().map(|j| Some(self.peer(*j)));
            let ends = core::iter::once(None).chain(others);
            ends.map(move |end| (self.graph.peers[i], end))
        })
    }
}

impl UnicastRoute {
    const NONE: Self = Self {
        first: 0,
        hops: UNREACHABLE,
        cost: 0,
    };
}

/// Computes the routes to all routers; `order` has the reachable ones by distance, with the number of hops.
fn unicast_routes(graph: &Graph, order: &[(Number, u16)]) -> Vec<UnicastRoute> {
    let mut routes = vec![UnicastRoute::NONE; graph.peers.len()];
    for &(number, hops) in order {
        let i = usize::from(number);
        let links = graph.neighbours(i).iter().zip(graph.costs(i));
        // Routers one hop nearer are already done; at equal cost, `min_by_key` takes the first, which has the lowest
        // identity.
        let by = links
            .map(|(j, cost)| (routes[usize::from(*j)], u32::from(*cost)))
            .filter(|(parent, _)| parent.hops != UNREACHABLE && parent.hops + 1 == hops)
            .min_by_key(|(parent, cost)| parent.cost + cost);
        let parent_first = |parent: &UnicastRoute| match parent.hops {
            0 => number,
            _ => parent.first,
        };
        routes[i] = UnicastRoute {
            first: by.map_or(number, |(parent, _)| parent_first(&parent)),
            hops,
            cost: by.map_or(0, |(parent, cost)| parent.cost + cost),
        };
    }
    routes
}
