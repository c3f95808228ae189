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

use super::node::{Node, SettledState};
use super::underlay::{ScaleUnderlay, address, host_at};
use crate::sim::network::HostId;
use crate::sim::router::SimRouter;

/// Average round-trip time beyond the latency of the two directions.
const JITTER: Duration = Duration::from_millis(5);
/// Version of the first record of a topic, in a router's first start.
const FIRST: Version = Version { epoch: 1, seq: 1 };

/// Gives each router the knowledge of a settled mesh for its first start.
pub(super) fn come_to_rest(nodes: &mut [Node], underlay: &ScaleUnderlay) {
    let chosen = choices(nodes);
    let peers: Vec<PeerId> = nodes.iter().map(|n| n.state.identity.id()).collect();
    let links = symmetric(&chosen);
    let mut lsdb = Lsdb::default();
    for (host, node) in nodes.iter().enumerate() {
        let said = first_records(node);
        let mine = links.get(&host).into_iter().flatten();
        let mine = mine.map(|other| Neighbour {
            cost: cost(underlay, host, *other),
            ..link((host, *other), &chosen, &peers)
        });
        let links = signed_links(node, mine.collect());
        for record in said.into_iter().chain(links) {
            lsdb.insert(record, Instant::ZERO);
        }
    }
    let Some(first) = peers.first() else { return };
    let routes = Routes::compute(&lsdb, *first);
    lsdb.note_reach(|peer| routes.is_reachable(peer), Instant::ZERO);
    lsdb.take_relinked();
    let known = Arc::new(SettledState { lsdb, routes });
    for (node, chosen) in nodes.iter_mut().zip(&chosen) {
        let neighbours = chosen.iter().map(|other| StoredNeighbour {
            peer: peers[*other],
            addresses: vec![address(*other)],
        });
        node.state.neighbours = neighbours.collect();
        node.known = Some(known.clone());
    }
}

/// Returns the hosts that each host selects: the next ones on the ring, and those typed by its operator.
fn choices(nodes: &[Node]) -> Vec<BTreeSet<HostId>> {
    let by_peer: BTreeMap<PeerId, HostId> = nodes
        .iter()
        .map(|node| (node.state.identity.id(), node.id))
        .collect();
    let ring: Vec<HostId> = by_peer.into_values().collect();
    let mut chosen = vec![BTreeSet::new(); nodes.len()];
    for (at, host) in ring.iter().enumerate() {
        let next = ring.iter().cycle().skip(at + 1).take(RING_LINKS);
        chosen[*host].extend(next);
        let typed = nodes[*host].state.targets.iter().filter_map(|t| {
            let at = std::net::SocketAddr::new(t.parse().ok()?, address(0).port());
            host_at(at, nodes.len())
        });
        chosen[*host].extend(typed);
        chosen[*host].remove(host);
    }
    chosen
}

/// Returns the first records of a router: its identity and its containers.
fn first_records(node: &Node) -> Vec<SignedRecord> {
    let mut state = node.state.clone();
    (state.epoch, state.targets) = (FIRST.epoch, Vec::new());
    let mut rng = node.kernel().rng().clone();
    let router = SimRouter::start(&state, &node.setup, &mut rng, Instant::ZERO);
    let Ok(router) = router else {
        return Vec::new();
    };
    let key = |topic| RecordKey::new(state.identity.id(), topic);
    let said = [Topic::IDENTITY, Topic::ATTACHED].map(|topic| router.record(key(topic)));
    said.into_iter().flatten().cloned().collect()
}

/// Returns the announced link of a host to another, at no cost.
fn link(
    (host, other): (HostId, HostId),
    chosen: &[BTreeSet<HostId>],
    peers: &[PeerId],
) -> Neighbour {
    let chose = |a: HostId, b: HostId| chosen[a].contains(&b);
    Neighbour {
        peer: peers[other].prefix(),
        // If both selected each other, the lower identity dials.
        outbound: chose(host, other) && (!chose(other, host) || peers[host] < peers[other]),
        established: true,
        cost: 0,
        address: None,
    }
}

fn signed_links(node: &Node, mut links: Vec<Neighbour>) -> Option<SignedRecord> {
    links.sort_unstable_by_key(|link| link.peer);
    let body = bodies::encode_links(&links);
    SignedRecord::sign(Topic::LINKS, FIRST, &body, &node.state.identity).ok()
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
    use crate::scale::world::LargeMesh;

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
