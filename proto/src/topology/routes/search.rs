//! Breadth-first search from up to 64 routers at once, one bit for each: one pass over the links serves all of them.
//!
//! As in Then et al., "The More the Merrier: Efficient Multi-Source Graph Traversal", VLDB 2014.

use super::graph::{Graph, Number};

/// Number of sources per search.
pub(super) const AT_ONCE: usize = 64;

/// Working memory of a search, reused by the next one.
#[derive(Debug, Default)]
pub(super) struct Search(Vec<SourceSets>);

/// Bit sets of sources for one router, kept together for locality.
#[derive(Clone, Copy, Debug, Default)]
struct SourceSets {
    seen: u64,
    /// Sources that reached it in this step, and those that will in the next.
    frontier: u64,
    next: u64,
}

impl Search {
    /// Searches from the first [`AT_ONCE`] of `sources`. `visit` is called in order of distance with the number of
    /// hops, a router, and the set of sources that are that far from it: bit `n` is the n-th source.
    pub(super) fn run(
        &mut self,
        graph: &Graph,
        sources: &[Number],
        mut visit: impl FnMut(u16, usize, u64),
    ) {
        self.0.clear();
        self.0.resize(graph.peers.len(), SourceSets::default());
        let mut reached: Vec<Number> = Vec::with_capacity(self.0.len());
        for (n, source) in sources.iter().take(AT_ONCE).enumerate() {
            self.reach(*source, 1 << n, &mut reached);
        }
        let mut hops = 0;
        let mut here = Vec::with_capacity(self.0.len());
        while !reached.is_empty() {
            core::mem::swap(&mut here, &mut reached);
            for i in here.iter().map(|i| usize::from(*i)) {
                let sets = &mut self.0[i];
                sets.frontier = core::mem::take(&mut sets.next);
                sets.seen |= sets.frontier;
                visit(hops, i, sets.frontier);
            }
            for i in here.drain(..).map(usize::from) {
                let by = self.0[i].frontier;
                for j in graph.neighbours(i) {
                    self.reach(*j, by, &mut reached);
                }
            }
            hops = hops.saturating_add(1);
        }
    }

    fn reach(&mut self, router: Number, by: u64, reached: &mut Vec<Number>) {
        let sets = &mut self.0[usize::from(router)];
        let by = by & !sets.seen;
        if by == 0 {
            return;
        }
        if sets.next == 0 {
            reached.push(router);
        }
        sets.next |= by;
    }
}
