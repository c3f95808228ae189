//! Layouts of meshes: the pairs of routers that dial each other.

use std::collections::BTreeSet;

use super::network::HostId;
use super::rng::Rng;

/// Shape of a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Each router dials an earlier one, and finds the others by gossip.
    Discovery,
    /// A chain without further links.
    Line,
    /// A chain with connected ends.
    Ring,
    /// A random tree.
    Tree,
    /// A random connected graph.
    Graph,
}

impl Layout {
    pub(crate) const ALL: [Layout; 5] = [
        Layout::Discovery,
        Layout::Line,
        Layout::Ring,
        Layout::Tree,
        Layout::Graph,
    ];

    pub(crate) fn discovers(self) -> bool {
        self == Layout::Discovery
    }

    /// Returns pairs of dialler and dialled for `n` routers; the graph is connected.
    pub(crate) fn targets(self, n: usize, rng: &mut Rng) -> BTreeSet<(HostId, HostId)> {
        let mut out = BTreeSet::new();
        for host in 1..n {
            let to = match self {
                Layout::Line | Layout::Ring => host - 1,
                Layout::Discovery | Layout::Tree | Layout::Graph => rng.below(host),
            };
            out.insert((host, to));
        }
        match self {
            Layout::Ring if n > 2 => {
                out.insert((0, n - 1));
            }
            Layout::Graph => {
                for _ in 0..n {
                    let (a, b) = (rng.below(n), rng.below(n));
                    if a != b && !out.contains(&(b, a)) {
                        out.insert((a, b));
                    }
                }
            }
            _ => {}
        }
        out
    }
}

/// Pairs that may have links by configuration.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    /// Pairs of dialler and dialled.
    pub(crate) pairs: BTreeSet<(HostId, HostId)>,
    /// True if routers find further peers by themselves.
    pub(crate) discovery: bool,
}

impl Joined {
    pub(crate) fn may(&self, a: HostId, b: HostId) -> bool {
        self.discovery || self.pairs.contains(&(a, b)) || self.pairs.contains(&(b, a))
    }
}

/// Returns the connected components of the hosts, each in order.
pub(crate) fn components(
    hosts: &[HostId],
    joined: impl Fn(HostId, HostId) -> bool,
) -> Vec<BTreeSet<HostId>> {
    let mut left: BTreeSet<HostId> = hosts.iter().copied().collect();
    let mut out = Vec::new();
    while let Some(first) = left.pop_first() {
        let mut group = BTreeSet::from([first]);
        let mut todo = vec![first];
        while let Some(a) = todo.pop() {
            let near: Vec<HostId> = left.iter().copied().filter(|b| joined(a, *b)).collect();
            for b in near {
                left.remove(&b);
                group.insert(b);
                todo.push(b);
            }
        }
        out.push(group);
    }
    out
}

/// Returns the diameter of `group` in hops.
pub(crate) fn diameter(group: &BTreeSet<HostId>, joined: impl Fn(HostId, HostId) -> bool) -> usize {
    let mut longest = 0;
    for start in group {
        let mut seen = BTreeSet::from([*start]);
        let mut ring = vec![*start];
        let mut hops = 0;
        loop {
            let mut next = Vec::new();
            for a in &ring {
                let near = group.iter().filter(|b| joined(*a, **b));
                next.extend(near.filter(|b| seen.insert(**b)).copied());
            }
            if next.is_empty() {
                break;
            }
            hops += 1;
            ring = next;
        }
        longest = longest.max(hops);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_is_connected() {
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let n = 2 + rng.below(20);
            for layout in Layout::ALL {
                let targets = layout.targets(n, &mut rng);
                let hosts: Vec<_> = (0..n).collect();
                let joined = |a, b| targets.contains(&(a, b)) || targets.contains(&(b, a));
                assert_eq!(components(&hosts, joined).len(), 1, "{layout:?} of {n}");
            }
        }
    }

    #[test]
    fn distances_of_a_line_and_a_ring() {
        let hosts: BTreeSet<HostId> = (0..6).collect();
        assert_eq!(diameter(&hosts, |a, b| a.abs_diff(b) == 1), 5);
        assert_eq!(diameter(&hosts, |a, b| matches!(a.abs_diff(b), 1 | 5)), 3);
        let list: Vec<_> = (0..6).collect();
        assert_eq!(components(&list, |a, b| a / 2 == b / 2).len(), 3);
    }
}
