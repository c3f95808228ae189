//! Routing: routes and when they are computed, the adjacencies that this router announces, the announcements of containers,
//! and the snapshot that the lanes read.
//!
//! Inputs say what has changed ([`Routing::topology_changed`] and the like); what is due is asked for ([`Routing::routes_due`]
//! and the like); effects for the shell come out of [`Routing::poll_effect`].
//!
//! | file | subject |
//! |---|---|
//! | `announced` | containers that routers announce, as the lanes look them up |
//! | `costs` | what the links are announced to cost |
//! | `mac_mobility` | how often a container moved, and MACs that flap |
//! | `contests` | addresses that several routers announce |
//! | `networks` | networks of this router, and what is known of the containers in each |
//! | `remote_addresses` | addresses that containers elsewhere have |
//! | `effect` | effects |
//! | `snapshot` | the snapshot that the lanes read |

mod announced;
mod contests;
mod costs;
mod effect;
mod mac_mobility;
mod networks;
mod remote_addresses;
mod snapshot;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::fdb::Owner;
use crate::forward::{Collected, Forwarder, Snapshot};
use crate::ids::PeerId;
use crate::limits::{
    DEBOUNCE, ROUTES_BURST, ROUTES_GAP, ROUTES_GAP_EACH, ROUTES_INTERVAL, ROUTES_INTERVAL_EACH,
    SETTLE,
};
use crate::session::Sessions;
use crate::time::Instant;
use crate::topology::bodies::Neighbour;
use crate::topology::lsdb::Lsdb;
use crate::topology::routes::Routes;
use crate::wire::topic::{RecordKey, Topic};

use super::gossip::Gossip;
use super::hold_down::{Burst, HoldDown};
use super::links::Links;
use super::paths::Paths;
use super::view::{ControlView, is_link_local};
pub use contests::RightfulRouter;
use costs::Costs;
pub(crate) use effect::RoutingEffect;
pub use networks::JoinedNetwork;
use networks::RoutedNetworks;
pub use remote_addresses::{RemoteAddresses, RemoteAttached};
pub(crate) use snapshot::mtu_by;

/// The routing of one router.
pub(crate) struct Routing {
    me: PeerId,
    mtu: u16,
    forwarder: Arc<Forwarder>,
    routes: Arc<Routes>,
    hold_down: HoldDown,
    stale: Stale,
    /// Time before which nothing is published.
    not_before: Instant,
    /// Time until which broadcasts go to all neighbours.
    settle_until: Instant,
    /// Time until which the announced adjacencies stay as they are.
    adjacencies_until: Instant,
    costs: Costs,
    networks: RoutedNetworks,
    snapshot: Arc<Snapshot>,
    effects: VecDeque<RoutingEffect>,
}

/// Results that are to be made again because of changes.
#[derive(Debug)]
struct Stale {
    /// The routes.
    routes: bool,
    /// The announced adjacencies.
    adjacencies: bool,
    /// The snapshot.
    snapshot: bool,
    /// The containers of these routers, as lanes look them up.
    announced: BTreeSet<PeerId>,
}

/// Difference of new routes to those before.
#[derive(Debug)]
pub(crate) struct RoutesChange {
    /// True if other routers are within reach.
    pub(crate) reach: bool,
    /// Routers that came within reach.
    pub(crate) came: BTreeSet<PeerId>,
    /// Neighbours to which there was no route.
    pub(crate) joined: Vec<PeerId>,
}

impl Routing {
    /// Creates the routing of a router that has just started.
    pub(crate) fn new(
        me: PeerId,
        forwarder: Arc<Forwarder>,
        routes: Arc<Routes>,
        (epoch, mtu): (u64, u16),
        now: Instant,
    ) -> Self {
        Self {
            me,
            mtu,
            forwarder,
            routes,
            hold_down: HoldDown::default(),
            stale: Stale {
                routes: true,
                adjacencies: true,
                snapshot: true,
                announced: BTreeSet::new(),
            },
            not_before: now,
            settle_until: now,
            adjacencies_until: now,
            costs: Costs::default(),
            networks: RoutedNetworks::new(me),
            snapshot: Arc::new(Snapshot::alone(me, epoch, mtu, now)),
            effects: VecDeque::new(),
        }
    }

    /// Returns the next effect, in order.
    pub(crate) fn poll_effect(&mut self) -> Option<RoutingEffect> {
        self.effects.pop_front()
    }

    /// Returns the routes.
    pub(crate) fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// Returns the data plane's state that is shared with the lanes.
    pub(crate) fn forwarder(&self) -> &Forwarder {
        &self.forwarder
    }

    /// Returns the number of networks besides `default` of which this router is a member.
    pub(crate) fn other_networks(&self) -> usize {
        self.networks.others()
    }

    /// Returns the datagrams that carry a complete datagram to a peer by the path that the lanes would take; none without one.
    pub(crate) fn by_path(
        &self,
        peer: PeerId,
        bytes: &[u8],
        now: Instant,
    ) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = Collected::default();
        let sent = self
            .forwarder
            .send_to_peer(&self.snapshot, peer, bytes, now, &mut out);
        match sent {
            Ok(()) => out.datagrams(),
            Err(_) => Vec::new(),
        }
    }

    // What changed

    /// Takes note that links may have changed, so that routes are to be computed.
    pub(crate) fn topology_changed(&mut self) {
        self.stale.routes = true;
    }

    /// Takes note that the links of this router, or their state, have changed.
    pub(crate) fn adjacencies_changed(&mut self) {
        self.stale.adjacencies = true;
    }

    /// Takes note that sessions or paths have changed.
    pub(crate) fn snapshot_changed(&mut self) {
        self.stale.snapshot = true;
    }

    /// Takes note that a router announces other containers, or that its reach has changed.
    pub(crate) fn announced_changed(&mut self, router: PeerId) {
        self.stale.announced.insert(router);
    }

    // What is due

    /// Returns true if the adjacencies are to be announced now.
    pub(crate) fn adjacencies_due(&self, now: Instant) -> bool {
        self.stale.adjacencies && now >= self.adjacencies_until
    }

    /// Returns true if routes are to be computed now.
    pub(crate) fn routes_due(&self, now: Instant) -> bool {
        self.stale.routes && now >= self.hold_down.not_before(true)
    }

    /// Returns true if a snapshot is to be published now.
    pub(crate) fn snapshot_due(&self, now: Instant) -> bool {
        (self.routes_due(now) || self.stale.snapshot) && now >= self.not_before
    }

    /// Returns true if announcements are to be handed to the lanes now.
    pub(crate) fn announced_due(&self, now: Instant) -> bool {
        !self.stale.announced.is_empty() && now >= self.not_before
    }

    /// Holds the next publication back for a moment.
    pub(crate) fn debounce(&mut self, now: Instant) {
        self.not_before = now + DEBOUNCE;
    }

    /// Returns the time of the next announcement of adjacencies.
    pub(crate) fn next_adjacencies(&self) -> Option<Instant> {
        self.stale.adjacencies.then_some(self.adjacencies_until)
    }

    /// Returns the time of the next computation of routes.
    pub(crate) fn next_routes(&self) -> Option<Instant> {
        let at = self.hold_down.not_before(true).max(self.not_before);
        self.stale.routes.then_some(at)
    }

    /// Returns the time of the next publication.
    pub(crate) fn next_snapshot(&self) -> Option<Instant> {
        let stale = self.stale.snapshot || !self.stale.announced.is_empty();
        stale.then_some(self.not_before)
    }

    // Routes

    /// Computes routes; `relinked` are the routers whose links may have changed since they were computed.
    pub(crate) fn compute(&self, lsdb: &Lsdb, relinked: &BTreeSet<PeerId>) -> Routes {
        self.routes.updated(lsdb, relinked)
    }

    /// Holds the next computation of routes back.
    pub(crate) fn computed(&mut self, routers: usize, now: Instant) {
        self.stale.routes = false;
        let (interval, burst) = routes_hold_down(routers);
        self.hold_down.done(interval, burst, now);
    }

    /// Takes new routes. Returns how they differ from those before.
    pub(crate) fn adopt(&mut self, routes: Routes, now: Instant) -> RoutesChange {
        let before = core::mem::replace(&mut self.routes, Arc::new(routes));
        let routes = &self.routes;
        if !routes.has_links_of(&before) {
            self.settle_until = now + SETTLE;
        }
        let mut change = RoutesChange {
            reach: !routes.has_reach_of(&before),
            came: BTreeSet::new(),
            joined: Vec::new(),
        };
        if change.reach {
            let is_new = |p: &PeerId| routes.is_reachable(p) && !before.is_reachable(p);
            for peer in before.reachable().filter(|p| !routes.is_reachable(p)) {
                for network in self.networks.iter() {
                    let fdb = network.domain(&self.forwarder).fdb();
                    fdb.forget_owner(Owner::Peer(peer));
                }
                self.stale.announced.insert(peer);
            }
            change.came = routes.reachable().filter(is_new).collect();
            self.stale.announced.extend(change.came.iter().copied());
        }
        let was_joined = |peer: &PeerId| before.neighbours().binary_search(peer).is_ok();
        let neighbours = routes.neighbours().iter();
        change.joined = neighbours.filter(|p| !was_joined(p)).copied().collect();
        change
    }

    // Adjacencies

    /// Returns the adjacencies to announce: the links that carry data, with their costs.
    pub(crate) fn adjacencies(
        &mut self,
        links: &Links,
        paths: &Paths,
        gossip: &Gossip,
        now: Instant,
    ) -> Vec<Neighbour> {
        self.stale.adjacencies = false;
        let costs = self.link_costs(links, paths, now);
        let announced = |peer: &PeerId, address: &SocketAddr| {
            let identity = gossip.identity(peer);
            identity.is_some_and(|body| body.endpoints.contains(address))
        };
        let neighbour = |(peer, (address, outbound)): (PeerId, (SocketAddr, bool))| {
            Some(Neighbour {
                peer: peer.prefix(),
                outbound,
                established: true,
                cost: *costs.get(&peer)?,
                // The dialled address is news only if the peer does not announce it itself; an inbound address is of no use,
                // and a link-local one none to others.
                address: Some(address)
                    .filter(|a| outbound && !announced(&peer, a) && !is_link_local(a.ip())),
            })
        };
        let adjacencies = links.adjacencies().into_iter();
        adjacencies.filter_map(neighbour).collect()
    }

    /// Returns the costs of the links that carry frames. That there are others is this router's own business.
    fn link_costs(&mut self, links: &Links, paths: &Paths, now: Instant) -> BTreeMap<PeerId, u16> {
        self.costs.retain(|peer| links.is_beside(peer));
        let direct = links.beside().filter_map(|peer| {
            let rtt = paths.direct(&peer)?.rtt;
            Some((peer, self.costs.cost(peer, rtt, now)))
        });
        direct.collect()
    }

    /// Returns true if a link has come to cost something else than announced.
    pub(crate) fn costs_changed(
        &mut self,
        links: &Links,
        paths: &Paths,
        gossip: &Gossip,
        now: Instant,
    ) -> bool {
        if now < self.adjacencies_until {
            return false;
        }
        let costs = self.link_costs(links, paths, now);
        let lsdb = gossip.lsdb();
        let is_other = |announced: &Neighbour| {
            let peer = lsdb.by_prefix(announced.peer);
            let cost = peer.and_then(|peer| costs.get(&peer));
            cost.is_some_and(|cost| *cost != announced.cost)
        };
        lsdb.links(&self.me).iter().any(is_other)
    }

    /// Takes over the adjacencies that this router announced in this run, which stay as they are for a while.
    pub(crate) fn resume(&mut self, lsdb: &Lsdb, linking: Duration, now: Instant) {
        let Some(links) = lsdb.get(RecordKey::new(self.me, Topic::LINKS)) else {
            return;
        };
        for link in links.links() {
            if let Some(peer) = lsdb.by_prefix(link.peer) {
                self.costs.announced(peer, link.cost, now);
            }
        }
        self.adjacencies_until = now + linking;
    }

    // The snapshot

    /// Builds the snapshot of this moment. That is done fifty times a second while the mesh changes.
    pub(crate) fn build(
        &self,
        view: ControlView<'_>,
        sessions: &Sessions,
        epoch: u64,
        now: Instant,
    ) -> Snapshot {
        let works = |peer: &PeerId| view.paths.direct(peer).is_some();
        let neighbours: BTreeSet<PeerId> = view.links.beside().collect();
        let receiving = sessions.receiving();
        let sealing = sessions.receiving().map(|(_, t)| t.remote());
        Snapshot {
            me: self.me,
            epoch,
            built: now,
            mtu: self.mtu,
            settle_until: self.settle_until,
            peers: snapshot::peer_paths(view, sessions, (self.me, self.mtu)),
            by_index: receiving.map(|(i, t)| (i, t.clone())).collect(),
            sealing: sealing.collect(),
            sources: view.paths.sources(),
            neighbours: neighbours.into_iter().filter(works).collect(),
            routes: self.routes.clone(),
            networks: self.networks.snapshot().clone(),
        }
    }

    /// Publishes a snapshot.
    pub(crate) fn publish(&mut self, snapshot: Snapshot) {
        self.stale.snapshot = false;
        self.snapshot = Arc::new(snapshot);
        self.effects
            .push_back(RoutingEffect::Publish(self.snapshot.clone()));
    }
}

/// Returns the least time between two computations of routes in the long run, and the allowance for a few of them. A link that
/// comes up changes the topology twice within milliseconds, and both ends wait for the second. In a very large mesh it is the
/// cost of the computations that bounds them.
pub(crate) fn routes_hold_down(routers: usize) -> (Duration, Burst) {
    let routers = u32::try_from(routers).unwrap_or(u32::MAX);
    let burst = Burst {
        count: ROUTES_BURST,
        gap: ROUTES_GAP.max(ROUTES_GAP_EACH.saturating_mul(routers)),
    };
    let interval = ROUTES_INTERVAL.max(ROUTES_INTERVAL_EACH.saturating_mul(routers));
    (interval, burst)
}

#[cfg(test)]
mod tests;
