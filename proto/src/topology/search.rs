//! Breadth-first search from many routers at once, a bit for each: one pass over the links serves all of them.
//!
//! As in Then et al., "The More the Merrier: Efficient Multi-Source Graph Traversal", VLDB 2014.

use super::graph::{Graph, Number};

/// Searches at once.
pub(super) const AT_ONCE: usize = 64;

/// Room for a search, used again by the next.
#[derive(Debug, Default)]
pub(super) struct Search(Vec<Place>);

/// By whom a router was reached: what is looked at together lies together.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    seen: u64,
    /// In this step, and in the next.
    new: u64,
    next: u64,
}

impl Search {
    /// Searches from the first [`AT_ONCE`] of `sources`. `visit` is told, step by step, how many hops that is, which
    /// router is as far as that from some of them, and from which: bit `n` stands for the n-th.
    pub(super) fn run(
        &mut self,
        graph: &Graph,
        sources: &[Number],
        mut visit: impl FnMut(u16, usize, u64),
    ) {
        self.0.clear();
        self.0.resize(graph.peers.len(), Place::default());
        let mut reached: Vec<Number> = Vec::with_capacity(self.0.len());
        for (n, source) in sources.iter().take(AT_ONCE).enumerate() {
            self.reach(*source, 1 << n, &mut reached);
        }
        let mut hops = 0;
        let mut here = Vec::with_capacity(self.0.len());
        while !reached.is_empty() {
            core::mem::swap(&mut here, &mut reached);
            for i in here.iter().map(|i| usize::from(*i)) {
                let place = &mut self.0[i];
                place.new = core::mem::take(&mut place.next);
                place.seen |= place.new;
                visit(hops, i, place.new);
            }
            for i in here.drain(..).map(usize::from) {
                let by = self.0[i].new;
                for j in graph.neighbours(i) {
                    self.reach(*j, by, &mut reached);
                }
            }
            hops = hops.saturating_add(1);
        }
    }

    fn reach(&mut self, router: Number, by: u64, reached: &mut Vec<Number>) {
        let place = &mut self.0[usize::from(router)];
        let by = by & !place.seen;
        if by == 0 {
            return;
        }
        if place.next == 0 {
            reached.push(router);
        }
        place.next |= by;
    }
}
