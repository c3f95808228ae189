//! Initial state of a large mesh: size, loss, targets typed by operators, containers.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use mesh_proto::address::mac_for;
use mesh_proto::network::NetworkId;
use mesh_proto::topology::bodies::Attached;

use crate::sim::network::HostId;
use crate::sim::rng::Rng;

/// Targets that an operator types on each host, and most hosts that have the same target.
const TARGETS: usize = 2;
const NAMED_BY: usize = 5;
/// Prefix length inside the mesh: a /8, so that every host has its own addresses.
const PREFIX: u8 = 8;

/// Size above which a mesh starts settled, and only a fraction of its hosts has a container.
pub const MANY: usize = 2_000;
const CROWD: usize = 20;

/// Parameters of a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeshPlan {
    pub(crate) hosts: usize,
    pub(crate) seed: u64,
    /// Lost segments and datagrams, per mille.
    pub(crate) loss: u32,
    /// Clock offset of odd hosts.
    pub(crate) ahead: Duration,
    /// True if the mesh starts settled.
    pub(crate) at_rest: bool,
}

impl MeshPlan {
    pub(crate) fn new(hosts: usize, seed: u64) -> Self {
        Self {
            hosts,
            seed,
            loss: 10,
            ahead: Duration::ZERO,
            at_rest: false,
        }
    }

    /// True if a host has a container. In very large meshes few hosts have, since each router keeps its own copy of all
    /// announced addresses.
    pub(super) fn has_container(&self, host: HostId) -> bool {
        self.hosts <= MANY || host.is_multiple_of(CROWD)
    }
}

/// Returns the container of a host, as its router announces it.
pub(crate) fn attached(host: HostId) -> Attached {
    let ip = container(host);
    Attached {
        network: NetworkId::DEFAULT,
        mac: mac_for(ip.into()),
        addr: ipnet::Ipv4Net::new_assert(ip, PREFIX).into(),
        container: format!("c{host}"),
        moves: 0,
    }
}

/// Returns the address of a host's container.
pub(crate) fn container(host: HostId) -> Ipv4Addr {
    const FIRST: u32 = 0x0a00_0001;
    Ipv4Addr::from(FIRST.saturating_add(u32::try_from(host).unwrap_or(0)))
}

/// Returns the targets of each of `n` hosts: earlier hosts, none of them named too often.
pub(super) fn targets(n: usize, rng: &mut Rng) -> Vec<BTreeSet<HostId>> {
    let mut named = vec![0; n];
    let mut out = Vec::with_capacity(n);
    for host in 0..n {
        let mut mine = BTreeSet::new();
        while mine.len() < TARGETS.min(host) {
            let to = rng.below(host);
            if named[to] < NAMED_BY && mine.insert(to) {
                named[to] += 1;
            }
        }
        out.push(mine);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_named_by_too_many() {
        let targets = targets(300, &mut Rng::new(3));
        let mut named = vec![0; 300];
        for (host, mine) in targets.iter().enumerate() {
            assert_eq!(mine.len(), TARGETS.min(host));
            mine.iter().for_each(|t| named[*t] += 1);
        }
        assert!(named.iter().all(|n| *n <= NAMED_BY), "{named:?}");
    }
}
