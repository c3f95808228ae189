//! A mesh that starts in a settled state: every router knows all others, has selected its links, and dials them.
//!
//! A cold start of ten thousand routers exchanges billions of records. Measures of a settled mesh do not depend on
//! that: links and sessions are made as usual, and the routers' links records are signed here as they would have been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::control::StoredNeighbour;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::RING_LINKS;
use mesh_proto::time::Instant;
use mesh_proto::topology::bodies::{self, Neighbour};
use mesh_proto::topology::lsdb::Lsdb;
use mesh_proto::topology::record::SignedRecord;
use mesh_proto::topology::routes::Routes;
use mesh_proto::wire::topic::{RecordKey, Topic};

use super::underlay::{ScaleUnderlay, address, host_at};
use super::world::LargeMesh;
use crate::sim::network::HostId;
use crate::sim::router::SimRouter;

/// Average round-trip time beyond the latency of the two directions.
const JITTER: Duration = Duration::from_millis(5);
/// Version of the first record of a topic, in a router's first start.
const FIRST: Version = Version { epoch: 1, seq: 1 };

/// Knowledge of a router in a settled mesh.
pub(crate) struct SettledState {
    pub(crate) lsdb: Lsdb,
    /// Routes of one router.
    pub(crate) routes: Routes,
}

impl LargeMesh {
    /// Gives each router this knowledge for its first start.
    pub(super) fn come_to_rest(&mut self) {
        let chosen = self.choices();
        let peers: Vec<PeerId> = (0..self.len()).filter_map(|h| self.peer(h)).collect();
        let links = symmetric(&chosen);
        let mut lsdb = Lsdb::default();
        for host in 0..self.len() {
            let said = self.first_words(host);
            let mine = links.get(&host).into_iter().flatten();
            let mine = mine.map(|other| self.link(host, *other, &chosen, &peers));
            let links = self.signed_links(host, mine.collect());
            for record in said.into_iter().chain(links) {
                lsdb.insert(record, Instant::ZERO);
            }
        }
        let Some(first) = peers.first() else { return };
        let routes = Routes::compute(&lsdb, *first);
        lsdb.note_reach(|peer| routes.is_reachable(peer), Instant::ZERO);
        lsdb.take_relinked();
        let known = Arc::new(SettledState { lsdb, routes });
        for (host, chosen) in chosen.iter().enumerate() {
            let neighbours = chosen.iter().map(|other| StoredNeighbour {
                peer: peers[*other],
                addresses: vec![address(*other)],
            });
            let neighbours = neighbours.collect();
            if let Some(node) = self.node_mut(host) {
                node.state.neighbours = neighbours;
                node.known = Some(known.clone());
            }
        }
    }

    /// Returns the hosts that each host selects: the next ones on the ring, and those typed by its operator.
    fn choices(&self) -> Vec<BTreeSet<HostId>> {
        let ring: Vec<HostId> = self.who.values().copied().collect();
        let mut chosen = vec![BTreeSet::new(); self.len()];
        for (at, host) in ring.iter().enumerate() {
            let next = ring.iter().cycle().skip(at + 1).take(RING_LINKS);
            chosen[*host].extend(next);
            let typed = self.node(*host).into_iter().flat_map(|n| &n.state.targets);
            let typed = typed.filter_map(|t| {
                let at = std::net::SocketAddr::new(t.parse().ok()?, address(0).port());
                host_at(at, self.len())
            });
            chosen[*host].extend(typed);
            chosen[*host].remove(host);
        }
        chosen
    }

    /// Returns the first records of a router: its identity and its containers.
    fn first_words(&self, host: HostId) -> Vec<SignedRecord> {
        let Some(node) = self.node(host) else {
            return Vec::new();
        };
        let mut state = node.state.clone();
        (state.epoch, state.targets) = (FIRST.epoch, Vec::new());
        let router = SimRouter::start(&state, &node.setup, &mut node.rng.clone(), self.now);
        let Ok(router) = router else {
            return Vec::new();
        };
        let key = |topic| RecordKey::new(state.identity.id(), topic);
        let said = [Topic::IDENTITY, Topic::ATTACHED].map(|topic| router.record(key(topic)));
        said.into_iter().flatten().cloned().collect()
    }

    fn link(
        &self,
        host: HostId,
        other: HostId,
        chosen: &[BTreeSet<HostId>],
        peers: &[PeerId],
    ) -> Neighbour {
        let chose = |a: HostId, b: HostId| chosen[a].contains(&b);
        Neighbour {
            peer: peers[other].prefix(),
            // If both selected each other, the lower identity dials.
            outbound: chose(host, other) && (!chose(other, host) || peers[host] < peers[other]),
            established: true,
            cost: cost(&self.underlay, host, other),
            address: None,
        }
    }

    fn signed_links(&self, host: HostId, mut links: Vec<Neighbour>) -> Option<SignedRecord> {
        links.sort_unstable_by_key(|link| link.peer);
        let body = bodies::encode_links(&links);
        let identity = &self.node(host)?.state.identity;
        SignedRecord::sign(Topic::LINKS, FIRST, &body, identity).ok()
    }
}

/// Returns the links of each host: pairs of which either selected the other.
fn symmetric(chosen: &[BTreeSet<HostId>]) -> BTreeMap<HostId, BTreeSet<HostId>> {
    let mut links: BTreeMap<HostId, BTreeSet<HostId>> = BTreeMap::new();
    for (host, others) in chosen.iter().enumerate() {
        for other in others {
            links.entry(host).or_default().insert(*other);
            links.entry(*other).or_default().insert(host);
        }
    }
    links
}

/// Returns the round-trip time of two hosts in milliseconds.
fn cost(underlay: &ScaleUnderlay, a: HostId, b: HostId) -> u16 {
    let millis = (underlay.latency(a, b) * 2 + JITTER).as_millis();
    u16::try_from(millis).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::plan::MeshPlan;

    const HOSTS: usize = 48;

    fn begun(at_rest: bool) -> LargeMesh {
        let plan = MeshPlan {
            at_rest,
            loss: 0,
            ..MeshPlan::new(HOSTS, 7)
        };
        let mut world = LargeMesh::new(plan);
        let everybody: Vec<HostId> = (0..HOSTS).collect();
        world.start_all(&everybody, Duration::from_millis(500));
        world
    }

    fn pairs(world: &LargeMesh) -> BTreeSet<(HostId, HostId)> {
        let all = 0..HOSTS;
        all.flat_map(|a| world.neighbours(a).into_iter().map(move |b| (a, b)))
            .collect()
    }

    #[test]
    fn it_is_where_a_mesh_comes_to_that_begins_with_nothing() {
        let [mut resumed, mut grown] = [begun(true), begun(false)];
        resumed.run(Duration::from_secs(10));
        grown.run(Duration::from_secs(60));
        let everybody: Vec<HostId> = (0..HOSTS).collect();
        assert!(resumed.agree(&everybody) && grown.agree(&everybody));
        let (resumed, grown) = (pairs(&resumed), pairs(&grown));
        let other: Vec<_> = resumed.symmetric_difference(&grown).collect();
        // The first two hosts have fewer targets than random links: three links, of two ends each.
        assert!(other.len() <= 6, "{other:?}");
    }

    #[test]
    fn hardly_any_record_is_announced_again() {
        let mut world = begun(true);
        world.run(Duration::from_secs(10));
        let announced_again = world.who.keys().filter(|peer| {
            let key = RecordKey::new(**peer, Topic::LINKS);
            let record = world.router(0).and_then(|router| router.record(key));
            record.is_none_or(|record| record.version() != FIRST)
        });
        // The first two hosts and those they selected; if two selected each other, either may have dialled.
        assert!(announced_again.count() <= HOSTS / 4);
    }
}
