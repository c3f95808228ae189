//! From what is known to what the host and the lanes are told: neighbours, routes, discovery, announcements.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::announced::Claim;
use crate::fdb::Owner;
use crate::ids::PeerId;
use crate::limits::{
    MAX_CLAIMS, ROUTES_BURST, ROUTES_GAP, ROUTES_GAP_EACH, ROUTES_INTERVAL, ROUTES_INTERVAL_EACH,
    SETTLE,
};
use crate::time::Instant;
use crate::topology::bodies::{Attached, Neighbour};
use crate::topology::record::SignedRecord;
use crate::topology::routes::Routes;
use crate::topology::topic::{RecordKey, Topic};

use super::hold_down::Burst;
use super::{Control, Holder, Note, Output};

/// How soon routes are computed again: the least time between two computations in the long run, and for a few of them. A
/// link that comes up changes the topology twice within milliseconds, and both ends wait for the second. In a very large
/// mesh it is what they cost that bounds how often they are computed.
fn routes_hold_down(routers: usize) -> (Duration, Burst) {
    let routers = u32::try_from(routers).unwrap_or(u32::MAX);
    let burst = Burst {
        count: ROUTES_BURST,
        gap: ROUTES_GAP.max(ROUTES_GAP_EACH.saturating_mul(routers)),
    };
    let interval = ROUTES_INTERVAL.max(ROUTES_INTERVAL_EACH.saturating_mul(routers));
    (interval, burst)
}

impl Control {
    /// Says in the own record which links carry data.
    pub(super) fn refresh_neighbours(&mut self, now: Instant) {
        self.neighbours_dirty = false;
        let costs = self.link_costs(now);
        let announced = |peer: &PeerId, address: &SocketAddr| {
            self.body_of(peer)
                .is_some_and(|body| body.endpoints.contains(address))
        };
        let linked = self.links.neighbours();
        let linked = linked.map(|(peer, slot)| (peer, slot.address, slot.outbound));
        let kept = self.kept.iter();
        let kept = kept.map(|(peer, link)| (peer, link.address, link.outbound));
        let beside: BTreeMap<&PeerId, (SocketAddr, bool)> = kept
            .chain(linked)
            .map(|(peer, address, outbound)| (peer, (address, outbound)))
            .collect();
        let neighbour = |(peer, (address, outbound)): (&PeerId, (SocketAddr, bool))| {
            Some(Neighbour {
                peer: peer.prefix(),
                outbound,
                established: true,
                cost: *costs.get(peer)?,
                // Where it was dialled is news only if it does not say so itself; an inbound address is of no use,
                // and a link-local one none to others.
                address: Some(address)
                    .filter(|a| outbound && !announced(peer, a) && !is_link_local(a.ip())),
            })
        };
        let neighbours: Vec<Neighbour> = beside.into_iter().filter_map(neighbour).collect();
        self.gossip.set_neighbours(&neighbours, now);
    }

    /// What the links that carry frames cost. That there are others is this router's own business.
    fn link_costs(&mut self, now: Instant) -> BTreeMap<PeerId, u16> {
        let (links, kept, paths) = (&self.links, &self.kept, &self.paths);
        self.costs
            .retain(|peer| links.of_peer(peer).is_some() || kept.has(peer));
        let linked = links.neighbours().map(|(peer, _)| *peer);
        let beside = linked.chain(kept.iter().map(|(peer, _)| *peer));
        let direct = beside.filter_map(|peer| {
            let rtt = paths.direct(&peer)?.rtt;
            Some((peer, self.costs.cost(peer, rtt, now)))
        });
        direct.collect()
    }

    /// Says so if a link has come to cost something else.
    pub(super) fn reconsider_costs(&mut self, now: Instant) {
        if now < self.links_said_until {
            return;
        }
        let costs = self.link_costs(now);
        let said = self.gossip.lsdb().links(&self.me).iter();
        let is_other = |said: &Neighbour| {
            let peer = self.gossip.lsdb().by_prefix(said.peer);
            let cost = peer.and_then(|peer| costs.get(&peer));
            cost.is_some_and(|cost| *cost != said.cost)
        };
        if said.clone().any(is_other) {
            self.refresh_neighbours(now);
        }
    }

    /// Computes routes if the topology changed and they were not computed just now; hands the lanes a new snapshot.
    pub(super) fn rebuild(&mut self, now: Instant) {
        if self.topology_dirty && now >= self.routes_hold_down.not_before(true) {
            self.recompute_routes(now);
            self.topology_dirty = false;
            let (interval, burst) = routes_hold_down(self.gossip.lsdb().len());
            self.routes_hold_down.done(interval, burst, now);
        }
        self.tell_announced(now);
        self.refresh_fast(now);
        self.snapshot_dirty = false;
        self.keep_spare(now);
        self.snapshot = Arc::new(self.build_snapshot(now));
        self.outputs
            .push_back(Output::Publish(self.snapshot.clone()));
    }

    fn recompute_routes(&mut self, now: Instant) {
        let relinked = self.gossip.take_relinked();
        let routes = self.routes.follow(self.gossip.lsdb(), &relinked);
        self.take_routes(routes, now);
    }

    /// These are the routes now: says so to whom it concerns.
    pub(super) fn take_routes(&mut self, routes: Routes, now: Instant) {
        if !routes.has_links_of(&self.routes) {
            self.settle_until = now + SETTLE;
        }
        if !routes.has_reach_of(&self.routes) {
            self.note_reach(&routes, now);
        }
        for peer in routes.neighbours() {
            let is_new = self.routes.neighbours().binary_search(peer).is_err();
            let conn = self.links.of_peer(peer).filter(|_| is_new);
            if let Some(slot) = conn.and_then(|conn| self.links.get_mut(conn)) {
                slot.joined(now);
            }
        }
        self.routes = Arc::new(routes);
        self.gossip.routes_changed(self.routes.clone());
        let routes = &self.routes;
        self.targets
            .reconsider(|peer| routes.is_reachable(peer), now);
        self.discover(now);
    }

    /// Others are within reach than before.
    fn note_reach(&mut self, routes: &Routes, now: Instant) {
        self.gossip.note_reach(routes, now);
        self.outputs.push_back(Output::Reach);
        let is_new = |p: &PeerId| routes.is_reachable(p) && !self.routes.is_reachable(p);
        let spread = self.dial_spread();
        self.targets
            .came_within_reach(is_new, spread, now, &mut *self.entropy);
        for peer in self.routes.reachable().filter(|p| !routes.is_reachable(p)) {
            self.forwarder.fdb().forget_owner(Owner::Peer(peer));
            self.announced_dirty.insert(peer);
        }
        let came: Vec<PeerId> = routes.reachable().filter(is_new).collect();
        if !came.is_empty() {
            let (interval, _) = routes_hold_down(self.gossip.lsdb().len());
            self.gossip.compare_when_quiet(interval, now);
            self.drain_gossip(now);
        }
        self.announced_dirty.extend(came);
    }

    /// Hands the host and the lanes what routers newly announce, or announce no more; those out of reach announce nothing.
    pub(super) fn tell_announced(&mut self, now: Instant) {
        for peer in core::mem::take(&mut self.announced_dirty) {
            let is_there = peer == self.me || self.routes.is_reachable(&peer);
            let said = |topic| self.gossip.lsdb().get(RecordKey::new(peer, topic)).cloned();
            let containers = said(Topic::ATTACHED).filter(|_| is_there);
            let router = said(Topic::IDENTITY);
            let attached = containers.as_ref().map_or(&[][..], SignedRecord::attached);
            if !self.announce(peer, attached, now) {
                let warning = format!(
                    "the containers of {} are more than this router has room for ({MAX_CLAIMS} addresses in all); ARP for them goes to everybody",
                    self.display(&peer)
                );
                self.note(Note::Warn(warning));
            }
            if peer != self.me {
                let said = router.zip(containers);
                self.outputs.push_back(Output::Held(Holder { peer, said }));
            }
        }
    }
}

/// What a router says of its containers, as lanes look it up.
pub(super) fn claims(attached: &[Attached]) -> Vec<Claim> {
    let claim = |a: &Attached| Claim {
        ip: a.addr.addr(),
        mac: a.mac,
        moves: a.moves,
    };
    attached.iter().map(claim).collect()
}

/// Whether the address means something only together with an interface.
pub(super) fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
