//! Graph of the links that both ends announce as established.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::{PeerId, PeerPrefix};
use crate::limits::MAX_PEERS;
use crate::topology::bodies::Neighbour;
use crate::topology::lsdb::Lsdb;

/// Number of a router: its index in the ascending order of all identities.
pub(super) type Number = u16;

const _: () = assert!(MAX_PEERS <= Number::MAX as usize);

/// Symmetric links between routers, in compressed sparse rows.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// Identities by number. Shared with the next graph, whose routers are mostly the same.
    pub(super) peers: Arc<[PeerId]>,
    /// Row of router `i`: `edges[starts[i]..starts[i + 1]]`, ascending.
    starts: Vec<u32>,
    edges: Vec<Number>,
    /// Cost of each edge, the same in both directions.
    costs: Vec<u16>,
}

/// Links of one router, ascending: the number of the other end, and the cost.
type Row = Vec<(Number, u16)>;

impl Graph {
    /// Returns the graph of the links in `lsdb` that both ends announce as established.
    pub(super) fn of(lsdb: &Lsdb) -> Self {
        let peers: Arc<[PeerId]> = lsdb.origins().collect();
        let claims = Claims::of(lsdb, &peers);
        let mut graph = Self::with_room_for(peers, claims.all.len());
        for i in 0..graph.peers.len() {
            let row = claims.by(i).iter().filter(|(j, _)| usize::from(*j) != i);
            for (j, cost) in row {
                let theirs = claims.by((*j).into());
                if let Ok(at) = theirs.binary_search_by_key(&i, |(k, _)| usize::from(*k)) {
                    graph.edges.push(*j);
                    graph.costs.push(theirs[at].1.max(*cost));
                }
            }
            graph.end_row();
        }
        graph.edges.shrink_to_fit();
        graph.costs.shrink_to_fit();
        graph
    }

    /// Returns the same graph as [`Graph::of`], computed from this one; only the routers in `changed` may have
    /// changed their links since.
    pub(super) fn updated(&self, lsdb: &Lsdb, changed: &BTreeSet<PeerId>) -> Self {
        let is_other = |peer: &PeerId| self.index(peer).is_some() != lsdb.knows(peer);
        // If numbers change, or many rows, a full computation costs no more.
        if 8 * changed.len() > self.peers.len() || changed.iter().any(is_other) {
            return Self::of(lsdb);
        }
        let changed = changed.iter().filter_map(|peer| self.index(peer));
        let said: BTreeMap<usize, Row> = changed.map(|i| (i, self.row(lsdb, i))).collect();
        let mut rows = said.clone();
        for (i, row) in &said {
            let before = self.neighbours(*i).iter().copied();
            let ends: BTreeSet<Number> = before.chain(row.iter().map(|(j, _)| *j)).collect();
            for j in ends
                .into_iter()
                .filter(|j| !said.contains_key(&(*j).into()))
            {
                let other = rows
                    .entry(j.into())
                    .or_insert_with(|| self.known_row(j.into()));
                // Links are symmetric: update the other end's row.
                let cost = row.binary_search_by_key(&j, |(end, _)| *end);
                set_end(other, *i, cost.ok().map(|at| row[at].1));
            }
        }
        self.with_rows(&rows)
    }

    /// Returns a graph of these routers without links.
    pub(super) fn without_links(peers: Vec<PeerId>) -> Self {
        let mut graph = Self::with_room_for(peers.into(), 0);
        (0..graph.peers.len()).for_each(|_| graph.end_row());
        graph
    }

    fn with_room_for(peers: Arc<[PeerId]>, edges: usize) -> Self {
        let mut starts = Vec::with_capacity(peers.len() + 1);
        starts.push(0);
        Self {
            starts,
            edges: Vec::with_capacity(edges),
            costs: Vec::with_capacity(edges),
            peers,
        }
    }

    fn end_row(&mut self) {
        let end = u32::try_from(self.edges.len()).unwrap_or(u32::MAX);
        self.starts.push(end);
    }

    /// Returns this graph with some rows replaced.
    fn with_rows(&self, rows: &BTreeMap<usize, Row>) -> Self {
        let most = self.edges.len() + rows.values().map(Vec::len).sum::<usize>();
        let mut graph = Self::with_room_for(self.peers.clone(), most);
        for i in 0..self.peers.len() {
            if let Some(row) = rows.get(&i) {
                graph.edges.extend(row.iter().map(|(j, _)| *j));
                graph.costs.extend(row.iter().map(|(_, cost)| *cost));
            } else {
                graph.edges.extend(self.neighbours(i));
                graph.costs.extend(self.costs(i));
            }
            graph.end_row();
        }
        graph
    }

    /// Returns the row of router `i` in this graph.
    fn known_row(&self, i: usize) -> Row {
        let links = self.neighbours(i).iter().zip(self.costs(i));
        links.map(|(j, cost)| (*j, *cost)).collect()
    }

    /// Returns the row of router `i` by the present records in `lsdb`.
    fn row(&self, lsdb: &Lsdb, i: usize) -> Row {
        let number = |prefix| by_prefix(&self.peers, prefix);
        let mut row = claims(lsdb.links(&self.peers[i]), number);
        let me = self.peers[i].prefix();
        if by_prefix(&self.peers, me).is_none() {
            return Row::new();
        }
        row.retain_mut(|(j, cost)| {
            let theirs = lsdb.links(&self.peers[usize::from(*j)]).iter();
            let about_me = theirs.filter(|n| n.established && n.peer == me);
            let least = about_me.map(|n| n.cost.max(1)).min();
            *cost = least.map_or(*cost, |least| least.max(*cost));
            least.is_some() && usize::from(*j) != i
        });
        row
    }

    /// Returns the number of a router.
    pub(super) fn index(&self, peer: &PeerId) -> Option<usize> {
        self.peers.binary_search(peer).ok()
    }

    /// Returns the neighbours of router `i`, in ascending order.
    pub(super) fn neighbours(&self, i: usize) -> &[Number] {
        &self.edges[self.span(i)]
    }

    /// Returns the costs of the links to these neighbours, in the same order: the higher of the two announced costs.
    pub(super) fn costs(&self, i: usize) -> &[u16] {
        &self.costs[self.span(i)]
    }

    fn span(&self, i: usize) -> core::ops::Range<usize> {
        let place = |i: usize| usize::try_from(self.starts[i]).unwrap_or(usize::MAX);
        place(i)..place(i + 1)
    }
}

/// Sets the link to router `i` to this cost, or removes it.
fn set_end(row: &mut Row, i: usize, cost: Option<u16>) {
    let Ok(i) = Number::try_from(i) else { return };
    row.retain(|(end, _)| *end != i);
    if let Some(cost) = cost {
        let at = row.partition_point(|(end, _)| *end < i);
        row.insert(at, (i, cost));
    }
}

/// Links announced by all routers, in one array: each router's links in ascending order, each neighbour once.
struct Claims {
    all: Row,
    starts: Vec<usize>,
}

impl Claims {
    fn of(lsdb: &Lsdb, peers: &[PeerId]) -> Self {
        let (mut all, mut starts) = (Vec::with_capacity(8 * peers.len()), vec![0]);
        let prefixes = Prefixes::of(peers);
        for links in lsdb.links_of_all() {
            all.append(&mut claims(links, |prefix| prefixes.number(prefix)));
            starts.push(all.len());
        }
        Self { all, starts }
    }

    /// Returns the links announced by router `i`.
    fn by(&self, i: usize) -> &[(Number, u16)] {
        &self.all[self.starts[i]..self.starts[i + 1]]
    }
}

/// Returns the established neighbours that a router announces, with the lowest announced cost of each. `number` maps
/// the prefix of an identity to a router; it returns `None` if the prefix is ambiguous, so that no router is taken
/// for another.
fn claims(links: &[Neighbour], number: impl Fn(PeerPrefix) -> Option<Number>) -> Row {
    let established = links.iter().filter(|n| n.established);
    let claim = |n: &Neighbour| Some((number(n.peer)?, n.cost.max(1)));
    let mut claims: Row = established.filter_map(claim).collect();
    claims.sort_unstable();
    claims.dedup_by_key(|(j, _)| *j);
    claims
}

fn by_prefix(peers: &[PeerId], prefix: PeerPrefix) -> Option<Number> {
    let first = peers.partition_point(|peer| peer.prefix() < prefix);
    let is_meant = |at: usize| peers.get(at).is_some_and(|peer| peer.prefix() == prefix);
    let is_one = is_meant(first) && !is_meant(first + 1);
    Number::try_from(first).ok().filter(|_| is_one)
}

/// Index of identity prefixes, compact in memory for the many lookups of a full computation.
struct Prefixes {
    /// Prefixes by router number.
    all: Vec<PeerPrefix>,
    /// First index for each first byte, and the end.
    starts: Vec<usize>,
}

impl Prefixes {
    fn of(peers: &[PeerId]) -> Self {
        let all: Vec<PeerPrefix> = peers.iter().map(PeerId::prefix).collect();
        let before = |byte| all.partition_point(|p| usize::from(p.0[0]) < byte);
        let starts = (0..=256).map(before).collect();
        Self { all, starts }
    }

    /// Returns the router with this prefix, like [`by_prefix`].
    fn number(&self, prefix: PeerPrefix) -> Option<Number> {
        let byte = usize::from(prefix.0[0]);
        let (from, to) = (self.starts[byte], self.starts[byte + 1]);
        let at = from + self.all[from..to].partition_point(|p| *p < prefix);
        let is_meant = |at: usize| self.all.get(at) == Some(&prefix);
        let is_one = is_meant(at) && !is_meant(at + 1);
        Number::try_from(at).ok().filter(|_| is_one)
    }
}
