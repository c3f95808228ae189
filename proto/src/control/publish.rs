//! From what is known to what the lanes read: neighbours, routes, discovery, the snapshot.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::announced::Claim;
use crate::fdb::Owner;
use crate::forward::{Path, PeerPath, Snapshot};
use crate::ids::PeerId;
use crate::limits::{BASE_DATAGRAM, MAX_CLAIMS, ROUTES_BURST, ROUTES_GAP, ROUTES_INTERVAL, SETTLE};
use crate::pmtu::inner_mtu;
use crate::time::Instant;
use crate::topology::bodies::{Attached, Neighbour};
use crate::topology::routes::Routes;
use crate::wire::datagram::RELAY_OVERHEAD;

use super::pace::Burst;
use super::{Control, HeldAddresses, Note, Output};

/// A link that comes up changes the topology twice within milliseconds, and both ends wait for the second.
const ROUTES: Burst = Burst {
    count: ROUTES_BURST,
    gap: ROUTES_GAP,
};
/// Bytes of a Relay datagram around the one inside.
const RELAYED: u16 = 48;
const _: () = assert!(RELAYED as usize == RELAY_OVERHEAD);

impl Control {
    /// Says in the own record which links carry data.
    pub(super) fn refresh_neighbours(&mut self, now: Instant) {
        let costs = self.link_costs(now);
        let announced = |peer: &PeerId, address: &SocketAddr| {
            self.body_of(peer)
                .is_some_and(|body| body.endpoints.contains(address))
        };
        let neighbours: Vec<Neighbour> = self
            .links
            .neighbours()
            .filter_map(|(peer, slot)| {
                Some(Neighbour {
                    peer: peer.prefix(),
                    outbound: slot.outbound,
                    established: true,
                    cost: *costs.get(peer)?,
                    // Where it was dialled is news only if it does not say so itself; an inbound address is of no use.
                    address: Some(slot.address).filter(|a| slot.outbound && !announced(peer, a)),
                })
            })
            .collect();
        self.own.set_neighbours(&neighbours, now);
    }

    /// What the links that carry frames cost. That there are others is this router's own business.
    fn link_costs(&mut self, now: Instant) -> BTreeMap<PeerId, u16> {
        let (links, paths) = (&self.links, &self.paths);
        self.costs.retain(|peer| links.of_peer(peer).is_some());
        let direct = links.neighbours().filter_map(|(peer, _)| {
            let rtt = paths.direct(peer)?.rtt;
            Some((*peer, self.costs.cost(*peer, rtt, now)))
        });
        direct.collect()
    }

    /// Says so if a link has come to cost something else.
    pub(super) fn reconsider_costs(&mut self, now: Instant) {
        let costs = self.link_costs(now);
        let said = self.lsdb.links(&self.me).iter();
        let is_other = |said: &Neighbour| {
            let peer = self.lsdb.by_prefix(said.peer);
            let cost = peer.and_then(|peer| costs.get(&peer));
            cost.is_some_and(|cost| *cost != said.cost)
        };
        if said.clone().any(is_other) {
            self.refresh_neighbours(now);
        }
    }

    /// Computes routes if the topology changed and they were not computed just now; hands the lanes a new snapshot.
    pub(super) fn rebuild(&mut self, now: Instant) {
        if self.topology_dirty && now >= self.routes_pace.not_before(true) {
            self.recompute_routes(now);
            self.topology_dirty = false;
            self.routes_pace.done(ROUTES_INTERVAL, ROUTES, now);
        }
        if core::mem::take(&mut self.held_dirty) {
            let held = Arc::new(self.held_addresses());
            self.outputs.push_back(Output::Held(held));
        }
        self.refresh_announced(now);
        self.refresh_fast(now);
        self.snapshot_dirty = false;
        self.snapshot = Arc::new(self.build_snapshot(now));
        self.outputs
            .push_back(Output::Publish(self.snapshot.clone()));
    }

    fn recompute_routes(&mut self, now: Instant) {
        let routes = Routes::compute(&self.lsdb, self.me);
        self.lsdb.note_reach(&routes, now);
        if routes.fingerprint() != self.routes.fingerprint() {
            self.settle_until = now + SETTLE;
            self.held_dirty = true;
            if !routes.reachable().eq(self.routes.reachable()) {
                self.outputs.push_back(Output::Reach);
                let is_new = |p: &PeerId| routes.is_reachable(p) && !self.routes.is_reachable(p);
                let spread = self.dial_spread();
                self.targets
                    .came_within_reach(is_new, spread, now, &mut *self.entropy);
            }
            for peer in self.routes.reachable().filter(|p| !routes.is_reachable(p)) {
                self.forwarder.fdb().forget_owner(Owner::Peer(peer));
                self.announced_dirty.insert(peer);
            }
            let came = routes.reachable().filter(|p| !self.routes.is_reachable(p));
            self.announced_dirty.extend(came);
        }
        for peer in routes.neighbours() {
            let is_new = self.routes.neighbours().binary_search(peer).is_err();
            let conn = self.links.of_peer(peer).filter(|_| is_new);
            if let Some(slot) = conn.and_then(|conn| self.links.get_mut(conn)) {
                slot.joined(now);
            }
        }
        self.routes = routes;
        let routes = &self.routes;
        self.targets
            .reconsider(|peer| routes.is_reachable(peer), now);
        self.discover(now);
    }

    /// Hands the lanes what routers newly announce, or announce no more; those out of reach announce nothing.
    fn refresh_announced(&mut self, now: Instant) {
        for peer in core::mem::take(&mut self.announced_dirty) {
            let is_there = peer == self.me || self.routes.is_reachable(&peer);
            let attached = match is_there {
                true => self.lsdb.attached(&peer).to_vec(),
                false => Vec::new(),
            };
            if !self.announce(peer, &attached, now) {
                let warning = format!(
                    "the containers of {} are more than this router has room for ({MAX_CLAIMS} addresses in all); ARP for them goes to everybody",
                    self.display(&peer)
                );
                self.note(Note::Warn(warning));
            }
        }
    }

    /// The addresses that reachable routers announce, this one left out.
    fn held_addresses(&self) -> HeldAddresses {
        let others = self.routes.reachable().filter(|peer| *peer != self.me);
        others
            .flat_map(|peer| {
                let words =
                    |a: &Attached| format!("container {} on {}", a.container, self.display(&peer));
                let attached = self.lsdb.attached(&peer).iter();
                attached
                    .map(move |a| (a.addr.addr(), words(a)))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn build_snapshot(&self, now: Instant) -> Snapshot {
        let mut peers = BTreeMap::new();
        for peer in self
            .routes
            .reachable()
            .chain(self.sessions.statuses().map(|s| s.peer))
            .chain(self.links.neighbours().map(|(peer, _)| *peer))
            .filter(|p| *p != self.me)
        {
            let transport = self.sessions.current(peer).cloned();
            peers.insert(
                peer,
                PeerPath {
                    transport,
                    path: self.path_to(&peer),
                    datagram: self.datagram_to(&peer),
                    mtu: self.mtu_to(&peer),
                },
            );
        }
        let by_index = self
            .sessions
            .receiving()
            .map(|(index, t)| (index, t.clone()))
            .collect();
        let works = |peer: &PeerId| self.paths.direct(peer).is_some();
        let neighbours: Vec<PeerId> = self
            .links
            .neighbours()
            .map(|(p, _)| *p)
            .filter(|p| works(p))
            .collect();
        let flood = self
            .routes
            .reachable()
            .map(|origin| {
                let children = self
                    .routes
                    .flood(&origin)
                    .iter()
                    .copied()
                    .filter(|child| works(child));
                (origin, children.collect::<Vec<_>>())
            })
            .collect();
        Snapshot {
            me: self.me,
            epoch: self.config.epoch,
            built: now,
            mtu: self.config.mtu,
            settle_until: self.settle_until,
            peers,
            by_index,
            neighbours,
            flood,
        }
    }

    /// How datagrams for `peer` leave this router.
    pub(super) fn path_to(&self, peer: &PeerId) -> Path {
        if let Some(direct) = self.paths.direct(peer) {
            return Path::Direct(direct.address);
        }
        match self.routes.next_hop(peer) {
            Some((next, _)) if next != *peer && self.paths.direct(&next).is_some() => {
                Path::Via(next)
            }
            _ => Path::None,
        }
    }

    /// The longest datagram that passes on the first hop to `peer`; what every path should pass while there is none.
    fn datagram_to(&self, peer: &PeerId) -> u16 {
        let (hop, _) = self.first_hop(peer);
        self.sizes.datagram(&hop).unwrap_or(BASE_DATAGRAM)
    }

    /// The longest packet that the first hop to `peer` takes in one datagram, at most the MTU of the mesh.
    pub(super) fn mtu_to(&self, peer: &PeerId) -> u16 {
        let (hop, overhead) = self.first_hop(peer);
        let settled = self.sizes.settled(&hop);
        let mtu = settled.map_or(u16::MAX, |d| inner_mtu(d.saturating_sub(overhead)));
        mtu.min(self.config.mtu)
    }

    /// Where datagrams for `peer` leave to, and the bytes around them on the way there.
    fn first_hop(&self, peer: &PeerId) -> (PeerId, u16) {
        match self.path_to(peer) {
            Path::Via(next) => (next, RELAYED),
            Path::Direct(_) | Path::None => (*peer, 0),
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
