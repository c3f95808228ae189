//! Breadth-first search from many routers at once, a bit for each: one pass over the links serves all of them.
//!
//! As in Then et al., "The More the Merrier: Efficient Multi-Source Graph Traversal", VLDB 2014.

use super::graph::{Graph, Number};

/// Searches at once.
pub(super) const AT_ONCE: usize = 64;

/// Room for a search, used again by the next.
#[derive(Debug, Default)]
pub(super) struct Search {
    seen: Vec<u64>,
    /// Who was reached in this step, and by whom.
    new: Vec<u64>,
    next: Vec<u64>,
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
        for room in [&mut self.seen, &mut self.new, &mut self.next] {
            room.clear();
            room.resize(graph.peers.len(), 0);
        }
        let mut reached: Vec<Number> = Vec::new();
        for (n, source) in sources.iter().take(AT_ONCE).enumerate() {
            self.reach(usize::from(*source), 1 << n, &mut reached);
        }
        let mut hops = 0;
        while !reached.is_empty() {
            for i in reached.iter().map(|i| usize::from(*i)) {
                self.new[i] = core::mem::take(&mut self.next[i]);
                self.seen[i] |= self.new[i];
                visit(hops, i, self.new[i]);
            }
            for i in core::mem::take(&mut reached).into_iter().map(usize::from) {
                let by = self.new[i];
                for j in graph.neighbours(i).iter().map(|j| usize::from(*j)) {
                    self.reach(j, by & !self.seen[j], &mut reached);
                }
            }
            hops = hops.saturating_add(1);
        }
    }

    fn reach(&mut self, i: usize, by: u64, reached: &mut Vec<Number>) {
        if by == 0 {
            return;
        }
        if self.next[i] == 0 {
            reached.extend(Number::try_from(i).ok());
        }
        self.next[i] |= by;
    }
}
