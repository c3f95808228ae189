//! Paths: how datagrams reach each peer directly, from which address and port they leave, and how long they may be.
//!
//! Inputs are probes of peers, what the lanes see, and the heartbeat; effects come out of [`Paths::poll_effect`].
//!
//! | file | subject |
//! |---|---|
//! | `probes` | probes that are due, those that come, and what follows |
//! | `direct` | the direct path of each peer, and its comparison with other addresses |
//! | `probe` | bodies of probes |
//! | `sizes` | the longest datagram on each direct path |
//! | `observed` | our addresses, as neighbours see them |
//! | `underlay` | routes that lead through the mesh itself |
//! | `sources` | the address of this host from which datagrams leave |
//! | `flows` | the second port |
//! | `fast` | plain VXLAN with peers that consent |
//! | `effect` | effects |

mod direct;
mod effect;
mod fast;
mod flows;
mod observed;
pub mod probe;
mod probes;
mod sizes;
mod sources;
mod underlay;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::fastpath::{Beat, Local};
use crate::forward::LaneEvent;
use crate::ids::PeerId;
use crate::limits::{
    DEAD_AFTER, FLOW_PATIENCE, MAX_ENDPOINTS, MAX_SESSIONS, PROBE_WHILE_USED, SESSION_IDLE,
};
use crate::session::{SessionStatus, Sessions};
use crate::time::Instant;

use super::links::Links;
pub(crate) use direct::Direct;
use direct::DirectPaths;
pub(crate) use effect::{PathContext, PathEffect, PathNews};
use fast::FastOffers;
use flows::Flows;
pub use flows::SparePort;
use observed::Observed;
use sizes::Sizes;
use sources::Sources;
use underlay::UnderlayRoutes;
pub use underlay::{RouteLookup, UnderlayRoute};

/// The paths of one router.
pub(crate) struct Paths {
    me: PeerId,
    /// True if peers without a link are reached directly, too.
    discovery: bool,
    direct: DirectPaths,
    sizes: Sizes,
    flows: Flows,
    fast: FastOffers,
    /// Peers that frames are sent to (beside neighbours), and the time of the last frame.
    wanted: BTreeMap<PeerId, Instant>,
    observed: Observed,
    underlay: UnderlayRoutes,
    sources: Sources,
    effects: VecDeque<PathEffect>,
}

impl Paths {
    /// Creates the paths of a router that has just started.
    pub(crate) fn new(me: PeerId, discovery: bool) -> Self {
        Self {
            me,
            discovery,
            direct: DirectPaths::default(),
            sizes: Sizes::default(),
            flows: Flows::default(),
            fast: FastOffers::default(),
            wanted: BTreeMap::new(),
            observed: Observed::default(),
            underlay: UnderlayRoutes::default(),
            sources: Sources::default(),
            effects: VecDeque::new(),
        }
    }

    /// Returns the next effect, in order.
    pub(crate) fn poll_effect(&mut self) -> Option<PathEffect> {
        self.effects.pop_front()
    }

    // What is known

    /// Returns the direct path to `peer`, if it works.
    pub(crate) fn direct(&self, peer: &PeerId) -> Option<&Direct> {
        self.direct.direct(peer)
    }

    /// Returns all direct paths that work: the peers, and where they answer.
    pub(crate) fn directs(&self) -> impl Iterator<Item = (&PeerId, SocketAddr)> {
        self.direct.directs()
    }

    /// Returns the time at which the last direct path to `peer` fell silent.
    pub(crate) fn lost(&self, peer: &PeerId) -> Option<Instant> {
        self.direct.lost(peer)
    }

    /// Returns the longest datagram that passes to `peer`, if its path is direct.
    pub(crate) fn datagram(&self, peer: &PeerId) -> Option<u16> {
        self.sizes.datagram(peer)
    }

    /// Returns the same if a search ended at it.
    pub(crate) fn settled(&self, peer: &PeerId) -> Option<u16> {
        self.sizes.settled(peer)
    }

    /// Returns the plain VXLAN that is offered and done.
    pub(crate) fn fast(&self) -> &FastOffers {
        &self.fast
    }

    /// Returns the ways out of this host.
    pub(crate) fn underlay(&self) -> &UnderlayRoutes {
        &self.underlay
    }

    /// Returns true unless packets for this address leave by an interface of the mesh.
    pub(crate) fn leads_out(&self, to: SocketAddr) -> bool {
        self.underlay.leads_out(to)
    }

    /// Returns the sizes of the tables: wanted sessions, probed peers, and the most probes of one peer.
    pub(crate) fn tables(&self) -> (usize, usize, usize) {
        (self.wanted.len(), self.direct.len(), self.direct.waiting())
    }

    // Sessions and candidates

    /// Returns true if data may go straight to `peer`: without discovery only links carry data, so that a chain stays one.
    pub(crate) fn may_go_direct(&self, peer: &PeerId, links: &Links) -> bool {
        self.discovery || links.is_beside(peer)
    }

    /// Returns true if a direct path to this peer is worth being probed: it is a neighbour, or frames went there lately.
    pub(crate) fn needs_path(&self, peer: &PeerId, links: &Links, now: Instant) -> bool {
        let is_used = |used: &Instant| now.since(*used) < PROBE_WHILE_USED;
        links.is_beside(peer)
            || (self.may_go_direct(peer, links) && self.wanted.get(peer).is_some_and(is_used))
    }

    /// Takes note of a frame for a peer without a session. Returns false if there is no room for one more.
    pub(crate) fn want(&mut self, peer: PeerId, now: Instant) -> bool {
        let has_room = self.wanted.len() < MAX_SESSIONS || self.wanted.contains_key(&peer);
        if has_room {
            self.wanted.insert(peer, now);
        }
        has_room
    }

    /// Adds addresses to the candidates of `peer`.
    pub(crate) fn suggest(&mut self, peer: PeerId, addresses: &[SocketAddr]) {
        self.direct.suggest(peer, addresses);
    }

    /// Begins the search for a path to a peer whose link came up, first at this address.
    pub(crate) fn begin(&mut self, peer: PeerId, address: SocketAddr) {
        self.direct.restart_search(&peer);
        if self.direct(&peer).is_none() {
            self.direct.prefer(peer, address);
        }
    }

    /// Takes note of the frames that lanes sent: they make and keep a session wanted, whichever side began it.
    pub(crate) fn note_use(&mut self, sessions: &Sessions, now: Instant) {
        for status in sessions.statuses() {
            let sent = status.current.and_then(|t| t.stats().last_frame_sent);
            let Some(sent) = sent else { continue };
            if let Some(used) = self.wanted.get_mut(&status.peer) {
                *used = (*used).max(sent);
            } else if self.wanted.len() < MAX_SESSIONS {
                self.wanted.insert(status.peer, sent);
            }
        }
        self.wanted
            .retain(|_, used| now.since(*used) < SESSION_IDLE);
    }

    /// Returns the peers whose session no frame needs any more.
    pub(crate) fn idle(&self, around: PathContext<'_>, now: Instant) -> Vec<PeerId> {
        let idle = around.sessions.statuses().filter(|s| is_idle(s, now));
        idle.map(|status| status.peer)
            .filter(|peer| !around.links.is_beside(peer) && !self.wanted.contains_key(peer))
            .collect()
    }

    /// Sends a first handshake message to all candidates of a peer, and from the spare port, too, if it was probed from there.
    pub(crate) fn search_with(&mut self, peer: &PeerId, bytes: &[u8], now: Instant) {
        for to in self.direct.candidates(peer).to_vec() {
            if !self.leads_out(to) {
                continue;
            }
            self.effects
                .push_back(PathEffect::Datagram(to, bytes.to_vec()));
            let is_stuck = self.direct.searching(peer, now) >= FLOW_PATIENCE;
            if self.flows.is_open() && is_stuck {
                self.effects
                    .push_back(PathEffect::SpareDatagram(to, bytes.to_vec()));
            }
        }
    }

    // Addresses of this host

    /// Takes the address at which a neighbour sees this router. Returns true if anything changed.
    pub(crate) fn observed(
        &mut self,
        neighbour: PeerId,
        address: SocketAddr,
        by_udp: bool,
        now: Instant,
    ) -> bool {
        let changed = self.observed.saw(neighbour, address, by_udp, now);
        if changed {
            self.effects.push_back(PathEffect::Endpoints);
        }
        changed
    }

    /// Forgets the address at which a former neighbour saw this router.
    pub(crate) fn parted(&mut self, neighbour: &PeerId) {
        if self.observed.forget(neighbour) {
            self.effects.push_back(PathEffect::Endpoints);
        }
    }

    /// Returns the addresses to announce: those of the host, and those that neighbours see.
    pub(crate) fn endpoints(&self, of_host: &[SocketAddr]) -> Vec<SocketAddr> {
        let observed = self.observed.addresses().into_iter();
        // A neighbour may see us at an address that leads through the mesh.
        let observed = observed.filter(|a| !of_host.contains(a) && self.leads_out(*a));
        let all = of_host.iter().copied().chain(observed);
        all.take(MAX_ENDPOINTS).collect()
    }

    /// Takes note of the local address that a lane's event came to, and answers from there until the next call.
    pub(crate) fn answer_from(&mut self, event: &LaneEvent, local: Option<IpAddr>, now: Instant) {
        let asked = sources::asker(event).zip(local);
        self.sources.answer(asked);
        if let (LaneEvent::Probe { .. }, Some((remote, local))) = (event, asked) {
            self.sources.came(remote, local, now);
            self.refresh_sources(now);
        }
    }

    /// Ends the answer that [`Paths::answer_from`] began.
    pub(crate) fn answered(&mut self) {
        self.sources.answer(None);
    }

    /// Forgets source addresses that are not used any more.
    pub(crate) fn refresh_sources(&mut self, now: Instant) {
        if self.sources.refresh(now) {
            self.effects.push_back(PathEffect::Changed);
        }
    }

    /// Returns the address from which a datagram leaves; none: the kernel chooses.
    pub(crate) fn source_of(&self, to: SocketAddr) -> Option<IpAddr> {
        self.sources.of(to)
    }

    /// Returns the same for all addresses, as lanes look it up.
    pub(crate) fn sources(&self) -> Arc<BTreeMap<SocketAddr, IpAddr>> {
        self.sources.shared()
    }

    // Routes through the mesh

    /// Sets the route lookup of the host.
    pub(crate) fn set_route_lookup(&mut self, lookup: Box<dyn RouteLookup + Send>) {
        self.underlay.set_route_lookup(lookup);
    }

    /// Takes note of an address whose packets came back through the mesh. Returns a warning if that is news.
    pub(crate) fn looped(&mut self, ip: IpAddr, links: &Links, now: Instant) -> Option<String> {
        let direct = &self.direct;
        let works = |ip| works(direct, links, ip, now);
        self.underlay.saw(ip, works, now)
    }

    /// Returns why nothing gets to this address, if that is because it is reached through the mesh.
    pub(crate) fn why_looped(&self, to: SocketAddr, links: &Links, now: Instant) -> Option<String> {
        let works = |ip| works(&self.direct, links, ip, now);
        self.underlay.why_looped(to, works, now)
    }

    /// Returns the warnings of addresses that are reached through the mesh.
    pub(crate) fn looped_warnings(&self, links: &Links, now: Instant) -> Vec<String> {
        let works = |ip| works(&self.direct, links, ip, now);
        self.underlay.warnings(works, now).collect()
    }

    // Plain VXLAN

    /// Offers plain VXLAN to the peers that the operator consents to.
    pub(crate) fn set_fastpath(&mut self, local: Local) {
        self.fast.set_local(local);
    }

    /// Takes a beat that came by VXLAN.
    pub(crate) fn beat(&mut self, beat: Beat, now: Instant) {
        self.fast.beat(beat, now);
        self.refresh_fast(now);
    }

    /// Tells the host if the peers with plain VXLAN have changed.
    pub(crate) fn refresh_fast(&mut self, now: Instant) {
        let paths = &self.direct;
        let direct = |peer: &PeerId| paths.direct(peer).map(|d| d.address);
        if let Some(change) = self.fast.refresh(direct, now) {
            let news = |(peer, fast)| PathEffect::News(peer, PathNews::Fast(fast));
            self.effects.extend(change.changed.into_iter().map(news));
            self.effects.push_back(PathEffect::Fast(change.peers));
        }
    }

    // The spare port

    /// Tells the host which paths take the spare port; closes it once it is not needed.
    pub(crate) fn refresh_spare(&mut self, now: Instant) {
        let used: BTreeSet<SocketAddr> = self.direct.on_spare().collect();
        let spare = self.flows.refresh(used, now);
        self.effects.extend(spare.map(PathEffect::SparePort));
    }
}

/// Returns true if an address is in use and answers.
fn works(direct: &DirectPaths, links: &Links, ip: IpAddr, now: Instant) -> bool {
    direct.directs().any(|(_, at)| at.ip() == ip) || links.hears(ip, DEAD_AFTER, now)
}

/// Returns true if a session carried no frame for so long that it may be dropped.
fn is_idle(status: &SessionStatus<'_>, now: Instant) -> bool {
    let Some(transport) = status.current else {
        return false;
    };
    let stats = transport.stats();
    let last = stats
        .last_frame_sent
        .max(stats.last_frame_received)
        .unwrap_or(transport.established());
    now.since(last) > SESSION_IDLE
}

#[cfg(test)]
mod tests;
