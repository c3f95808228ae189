//! Observations of a large mesh: agreement, numbers of links, paths of frames.

use std::time::Duration;

use mesh_proto::ids::PeerId;

use super::world::LargeMesh;
use crate::sim::network::HostId;
use crate::sim::router::SimRouter;

/// Resolution of the time to agreement.
const STEP: Duration = Duration::from_millis(50);

impl LargeMesh {
    /// True if these routers reach exactly each other, and hold the same records.
    pub(crate) fn agree(&self, hosts: &[HostId]) -> bool {
        let Some(first) = hosts.first().and_then(|h| self.router(*h)) else {
            return hosts.is_empty();
        };
        let mut peers: Vec<PeerId> = hosts.iter().filter_map(|h| self.peer(*h)).collect();
        peers.sort_unstable();
        let digest = first.digest();
        hosts.iter().all(|h| {
            let router = self.router(*h);
            router.is_some_and(|r| r.digest() == digest && r.reachable() == peers)
        })
    }

    /// Runs until these routers agree. Returns the time taken.
    pub(crate) fn until_agreed(&mut self, hosts: &[HostId], most: Duration) -> Option<Duration> {
        self.run_while(STEP, most, |world| world.agree(hosts))
    }

    pub(crate) fn links(&self, host: HostId) -> usize {
        let tables = self.router(host).map(SimRouter::tables).unwrap_or_default();
        let links = tables.iter().find(|t| t.table == "links");
        links.map_or(0, |t| t.used)
    }

    /// Returns the hosts to which a host has a connection.
    pub(crate) fn neighbours(&self, host: HostId) -> Vec<HostId> {
        let node = self.node(host).into_iter();
        let mut others: Vec<HostId> = node.flat_map(|n| n.kernel().connected_to()).collect();
        others.sort_unstable();
        others.dedup();
        others
    }
}

/// Returns the `per_cent` percentile; `None` if there are no values.
pub(crate) fn percentile<T: Copy + Ord>(values: &mut [T], per_cent: usize) -> Option<T> {
    values.sort_unstable();
    let rank = (values.len() * per_cent).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut values: Vec<u32> = (1..=200).rev().collect();
        assert_eq!(percentile(&mut values, 99), Some(198));
        assert_eq!(percentile(&mut values, 100), Some(200));
        assert_eq!(percentile(&mut [5], 99), Some(5));
        assert_eq!(percentile::<u32>(&mut [], 99), None);
    }
}
