//! This router's children in the broadcast trees of all origins, found without computing the trees.
//!
//! A neighbour is this router's child in the tree of an origin if it is one hop farther from the origin and has no
//! better parent, that is, no other neighbour with a lower identity that is as near to the origin as this router.
//! Links are symmetric, so searches from the neighbours and from those rivals give their distances from every origin.

use std::collections::BTreeMap;

use super::UNREACHABLE;
use super::graph::{Graph, Number};
use super::search::{AT_ONCE, Search};
use crate::ids::PeerId;

/// Children of this router in the tree of each origin.
#[derive(Debug, Default)]
pub(super) struct Trees {
    /// Children by router number of the origin: `children[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
    children: Vec<Number>,
}

/// Routers by distance, each with the number of hops.
type Order = Vec<(Number, u16)>;

/// Flags of a neighbour for one origin: it is farther from the origin than this router; it has a better parent.
const FARTHER: u8 = 1;
const TAKEN: u8 = 2;

impl Trees {
    /// Computes the children of router `me`, and the routers reachable from it by distance.
    pub(super) fn of(graph: &Graph, me: usize) -> (Self, Order) {
        let neighbours = graph.neighbours(me);
        let mut places = vec![vec![0; graph.peers.len()]; neighbours.len()];
        let (mut search, mut round) = (Search::default(), Round::default());
        let sources = sources(graph, me);
        // The last bit of each round is this router.
        let mut rounds = sources.chunks(AT_ONCE - 1).collect::<Vec<_>>();
        if rounds.is_empty() {
            rounds.push(&[]);
        }
        for sources in rounds {
            round.run(&mut search, graph, (me, sources));
            for (neighbour, places) in neighbours.iter().zip(&mut places) {
                round.judge(graph, (me, sources), *neighbour, places);
            }
        }
        let mut trees = Self::default();
        trees.starts.push(0);
        for origin in 0..graph.peers.len() {
            let places = places.iter().map(|places| places[origin]);
            let mine = neighbours.iter().zip(places);
            let mine = mine.filter(|(_, place)| *place == FARTHER);
            trees.end(mine.map(|(child, _)| *child));
        }
        (trees, round.order)
    }

    /// Creates the given trees for routers with these numbers; see [`super::routes::Routes::by_hand`].
    pub(super) fn by_hand(peers: &[PeerId], trees: &BTreeMap<PeerId, Vec<PeerId>>) -> Self {
        let number = |peer: &PeerId| Number::try_from(peers.binary_search(peer).ok()?).ok();
        let mut all = Self::default();
        all.starts.push(0);
        for origin in peers {
            let children = trees.get(origin).into_iter().flatten();
            all.end(children.filter_map(number));
        }
        all
    }

    fn end(&mut self, children: impl Iterator<Item = Number>) {
        self.children.extend(children);
        let end = u32::try_from(self.children.len()).unwrap_or(u32::MAX);
        self.starts.push(end);
    }

    /// Returns the children in the tree of an origin, ascending.
    pub(super) fn children(&self, origin: usize) -> &[Number] {
        let place = |i: usize| Some(usize::try_from(*self.starts.get(i)?).unwrap_or(usize::MAX));
        let span = place(origin).zip(place(origin + 1));
        span.and_then(|(from, to)| self.children.get(from..to))
            .unwrap_or_default()
    }
}

/// Returns the routers to search from: the neighbours, and their neighbours with a lower identity than this router.
fn sources(graph: &Graph, me: usize) -> Vec<Number> {
    let neighbours = graph.neighbours(me);
    let all = neighbours
        .iter()
        .flat_map(|v| graph.neighbours((*v).into()));
    let rivals = all.filter(|u| usize::from(**u) < me);
    let mut sources: Vec<Number> = neighbours.iter().chain(rivals).copied().collect();
    sources.sort_unstable();
    sources.dedup();
    sources
}

/// Result of one search from this router and others, by origin.
#[derive(Default)]
struct Round {
    hops: Vec<u16>,
    order: Order,
    /// Sources one hop farther from the origin than this router, and sources as near as it.
    farther: Vec<u64>,
    equal: Vec<u64>,
}

impl Round {
    fn run(&mut self, search: &mut Search, graph: &Graph, (me, sources): (usize, &[Number])) {
        let Self {
            hops,
            order,
            farther,
            equal,
        } = self;
        hops.clear();
        hops.resize(graph.peers.len(), UNREACHABLE);
        order.clear();
        for places in [&mut *farther, &mut *equal] {
            places.clear();
            places.resize(graph.peers.len(), 0);
        }
        let ours = 1 << sources.len();
        let all: Vec<Number> = sources
            .iter()
            .copied()
            .chain(Number::try_from(me))
            .collect();
        search.run(graph, &all, |distance, origin, by| {
            if by & ours != 0 {
                hops[origin] = distance;
                order.extend(Number::try_from(origin).map(|origin| (origin, distance)));
                equal[origin] = by & !ours;
            } else if hops[origin].checked_add(1) == Some(distance) {
                farther[origin] = by;
            }
        });
    }

    /// Updates the flags of `neighbour` for each origin with the results of these sources.
    fn judge(
        &self,
        graph: &Graph,
        (me, sources): (usize, &[Number]),
        neighbour: Number,
        places: &mut [u8],
    ) {
        let bit = |source: &Number| sources.binary_search(source).map_or(0, |n| 1u64 << n);
        let it = bit(&neighbour);
        let others = graph.neighbours(neighbour.into()).iter();
        let rivals = others.filter(|u| usize::from(**u) < me);
        let rivals = rivals.fold(0, |all, rival| all | bit(rival));
        let found = self.farther.iter().zip(&self.equal);
        for (place, (farther, equal)) in places.iter_mut().zip(found) {
            *place |= u8::from(farther & it != 0) * FARTHER;
            *place |= u8::from(equal & rivals != 0) * TAKEN;
        }
    }
}
