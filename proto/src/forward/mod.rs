//! Forwarding decisions of the data plane, without its sockets.
//!
//! # Life of a frame
//!
//! *Egress* ([`Forwarder::egress`], `egress/`) takes frames of the local port. Underlay traffic between routers of
//! this mesh is dropped ([`Underlay`]). The source is learnt as local, and the destination is looked up once in the
//! MAC table; from then on the frame is addressed to a peer:
//!
//! * behind a peer: sealed end to end in a Data datagram, with the preceding and following frames for the same peer
//!   as far as they fit; sent directly, or encapsulated in a Relay datagram to the next hop;
//! * behind the local port: not sent, the bridge delivers it;
//! * unknown, but announced by a router: sent to that router;
//! * ARP request or neighbour solicitation for an announced address: sent to the announced container only
//!   ([`crate::arp_proxy::resolution`]), as long as it answers;
//! * otherwise a group or an unknown MAC: sealed in a Flood datagram for each neighbour in the tree of this router,
//!   within the rate limits of the port.
//!
//! A super-frame takes one lookup and is segmented to the path MTU. A plain frame longer than the path MTU becomes IP
//! fragments, or its sender gets an ICMP error ([`crate::frame::fit`]). A datagram that is still too long, as all
//! long ones are while the path MTU is not yet known, is sealed in fragments ([`crate::fragment`]).
//!
//! A frame for a peer without a session waits up to [`crate::limits::PENDING_AGE`] while the control plane
//! establishes one.
//!
//! *Ingress* ([`Forwarder::ingress`], `ingress/`) takes datagrams. Each is authenticated before anything in it is
//! used:
//!
//! * Data: its sources are learnt as behind the peer that sealed it; its frames go to the local port and nowhere
//!   else;
//! * Relay for another router: forwarded to the next hop with the hop limit reduced by one, unless it was relayed
//!   before, its hop limit is used up, or the next hop is its sender. Relay for this router: the inner datagram is
//!   processed;
//! * Flood: unless it is a duplicate or originated here, its sources are learnt as behind its origin, its frames go
//!   to the local port, and it is forwarded down the origin's tree with the hop limit reduced by one;
//! * Fragment: once all fragments are there, the reassembled datagram is processed like any other;
//! * Probe and handshake messages become events for the control plane.
//!
//! Both send with a `Transmitter` (`transmit/`), which encapsulates, fragments, and asks for missing sessions.
//!
//! # Loop prevention
//!
//! Duplicates are recognised by (destination, receiver index, counter) for relayed datagrams, by digest for relayed
//! handshake messages, and by (origin, epoch, sequence) for broadcasts. So a router forwards each at most once,
//! whatever the routes and trees are, and the hop limit ends loops that a forgotten window lets through. Frames from
//! peers are never sent to peers.

mod collected;
mod counters;
mod domain;
mod duplicates;
mod egress;
mod ingress;
mod lane;
mod networks;
mod outgoing;
mod snapshot;
mod transmit;
mod underlay;

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub use collected::Collected;
pub use counters::{Counter, Counters, DropReason};
pub use domain::{BroadcastDomain, GroupLimits, PortLosses};
pub use lane::{LaneEvent, Outbox, Scratch};
pub use networks::{
    NetworkKeys, PeerLabel, SnapshotNetwork, SnapshotNetworks, SnapshotNetworksError,
};
pub use outgoing::{Outgoing, Run};
pub use snapshot::{Path, PeerPath, Snapshot, Unreachable};
pub use transmit::SendError;
pub use underlay::Underlay;

use crate::arp_proxy::ArpProxy;
use crate::entropy::Entropy;
use crate::fdb::Fdb;
#[cfg(test)]
use crate::fdb::Owner;
#[cfg(test)]
use crate::ids::Mac;
use crate::ids::PeerId;
use crate::limits::{EVENT_INTERVAL, MAX_NETWORKS_HERE, MAX_THROTTLED_EVENTS};
use crate::network::NetworkId;
use crate::offload::PortFrame;
use crate::rate::Throttle;
use crate::time::Instant;
pub use crate::wire::via::Via;
use domain::DomainShares;
use egress::EgressPipeline;
use ingress::IngressPipeline;
use lane::{LaneNetwork, LaneView};
use transmit::{TransmitState, Transmitter};

/// Data plane of one router, shared by all lanes and by the control plane. Each part locks its own state.
#[derive(Debug)]
pub struct Forwarder {
    counters: Counters,
    underlay: Underlay,
    /// The network `default`.
    default: BroadcastDomain,
    networks: NetworkDomains,
    transmit: TransmitState,
    egress: EgressPipeline,
    ingress: IngressPipeline,
}

/// Domains of the networks other than `default` that have members here. Lanes find them in their snapshots.
#[derive(Debug)]
struct NetworkDomains {
    shares: DomainShares,
    domains: RwLock<BTreeMap<NetworkId, Arc<BroadcastDomain>>>,
}

impl Forwarder {
    /// Creates an empty data plane; `entropy` gives the hash key of the MAC table, and the salt of broadcasts.
    pub fn new(entropy: &mut dyn Entropy) -> Self {
        Self::with_limits(GroupLimits::default(), entropy)
    }

    /// Creates an empty data plane with the operator's rate limits.
    pub fn with_limits(limits: GroupLimits, entropy: &mut dyn Entropy) -> Self {
        Self {
            counters: Counters::default(),
            underlay: Underlay::default(),
            default: BroadcastDomain::of_default(limits, entropy),
            networks: NetworkDomains {
                shares: DomainShares::new(limits),
                domains: RwLock::default(),
            },
            transmit: TransmitState::new(entropy),
            egress: EgressPipeline::new(),
            ingress: IngressPipeline::new(),
        }
    }

    /// Sends frames of the local port of `network`, in order. A super-frame is segmented into frames of the mesh's MTU.
    pub fn egress(
        &self,
        snap: &Snapshot,
        network: NetworkId,
        frames: &mut dyn Iterator<Item = PortFrame<'_>>,
        now: Instant,
        scratch: &mut Scratch,
        out: &mut dyn Outbox,
    ) {
        let tx = self.transmitter(snap, now, out);
        let lane = match network.is_default() {
            true => Some(self.default_network()),
            false => tx.view().network(network),
        };
        match lane {
            Some(lane) => self.egress.send(lane, frames, tx, scratch),
            None => frames.for_each(|_| self.counters.drop(DropReason::UnknownNetwork)),
        }
    }

    /// Sends waiting frames whose peer has a session now, and drops those that waited too long.
    ///
    /// To be called when a snapshot with a new session or path is published.
    pub fn flush_pending(
        &self,
        snap: &Snapshot,
        now: Instant,
        scratch: &mut Scratch,
        out: &mut dyn Outbox,
    ) {
        let tx = self.transmitter(snap, now, out);
        self.egress.flush(self.default_network(), tx, scratch);
        for membership in snap.networks.iter() {
            let tx = self.transmitter(snap, now, out);
            if let Some(network) = tx.view().network(membership.domain.network()) {
                self.egress.flush(network, tx, scratch);
            }
        }
    }

    /// Processes one datagram received from address `from`; it is decrypted in place.
    pub fn ingress(
        &self,
        snap: &Snapshot,
        from: SocketAddr,
        datagram: &mut [u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) {
        let tx = self.transmitter(snap, now, out);
        self.ingress
            .receive(self.default_network(), tx, from, datagram);
    }

    /// Seals a payload of the control plane for `peer` and sends it by the best path.
    ///
    /// # Errors
    /// [`SendError`] if there is no path to `peer` or no session with it.
    pub fn send_probe(
        &self,
        snap: &Snapshot,
        peer: PeerId,
        payload: &[u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) -> Result<(), SendError> {
        self.transmitter(snap, now, out).send_probe(peer, payload)
    }

    /// Sends a complete datagram, such as a handshake message, to `peer`, directly or through the next hop.
    ///
    /// # Errors
    /// [`SendError`] if there is no path, or if `datagram` is of a kind that goes hop by hop.
    pub fn send_to_peer(
        &self,
        snap: &Snapshot,
        peer: PeerId,
        datagram: &[u8],
        now: Instant,
        out: &mut dyn Outbox,
    ) -> Result<(), SendError> {
        let mut tx = self.transmitter(snap, now, out);
        tx.send_datagram(peer, datagram)
    }

    /// Returns the domain of a network other than `default`, which is new if the network had no members here.
    ///
    /// `None` if there are [`MAX_NETWORKS_HERE`] already, and for the network `default`. `entropy` gives the hash key of
    /// the MAC table.
    pub fn join(
        &self,
        network: NetworkId,
        entropy: &mut dyn Entropy,
    ) -> Option<Arc<BroadcastDomain>> {
        let NetworkDomains { shares, domains } = &self.networks;
        let mut domains = domains.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = domains.get(&network) {
            return Some(known.clone());
        }
        if network.is_default() || domains.len() >= MAX_NETWORKS_HERE {
            return None;
        }
        let domain = Arc::new(BroadcastDomain::of_network(network, shares, entropy));
        domains.insert(network, domain.clone());
        Some(domain)
    }

    /// Removes the domain of a network that has no members here any more. Returns false if there was none.
    pub fn leave(&self, network: NetworkId) -> bool {
        let domains = self.networks.domains.write();
        let mut domains = domains.unwrap_or_else(PoisonError::into_inner);
        domains.remove(&network).is_some()
    }

    /// Returns the domain of the network `default`.
    pub fn default_domain(&self) -> &BroadcastDomain {
        &self.default
    }

    /// Returns the MAC table of the network `default`.
    pub fn fdb(&self) -> &Fdb {
        self.default.fdb()
    }

    /// Returns the table of addresses that routers announce for their containers in the network `default`.
    pub fn arp_proxy(&self) -> &ArpProxy {
        self.default.arp_proxy()
    }

    /// Returns the underlay addresses of all routers.
    pub fn underlay(&self) -> &Underlay {
        &self.underlay
    }

    /// Returns the counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts frames that the local port lost before the router read them.
    pub fn lost_at_port(&self, lost: PortLosses) {
        lost.count(&self.counters);
    }

    /// Counts a datagram of another router that was received on an interface of the mesh.
    pub fn came_through_mesh(&self) {
        self.counters.drop(DropReason::Underlay);
    }

    /// Removes expired MAC addresses, waiting frames and incomplete datagrams. To be called about once a second.
    pub fn sweep(&self, now: Instant) {
        self.default.sweep(&self.counters, now);
        for domain in self.networks.all() {
            domain.sweep(&self.counters, now);
        }
        self.ingress.sweep(&self.counters, now);
    }

    /// Returns the number of incomplete datagrams in reassembly, and the bytes of their fragments.
    pub fn partials(&self) -> (usize, usize) {
        self.ingress.partials()
    }

    /// Learns a MAC address as from a frame of `network`.
    #[cfg(test)]
    pub(crate) fn learn(&self, network: NetworkId, mac: Mac, owner: Owner, now: Instant) {
        let others = self.networks.all();
        let domain = others.iter().find(|domain| domain.network() == network);
        let tables = domain.map_or(&self.default, Arc::as_ref).tables();
        tables.learn(mac, owner, now, &self.counters);
    }

    fn default_network(&self) -> LaneNetwork<'_> {
        LaneNetwork::default_in(&self.default)
    }

    fn transmitter<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        now: Instant,
        out: &'a mut dyn Outbox,
    ) -> Transmitter<'a> {
        let view = LaneView {
            snapshot,
            counters: &self.counters,
            underlay: &self.underlay,
            now,
        };
        Transmitter::new(&self.transmit, view, out)
    }
}

impl NetworkDomains {
    fn all(&self) -> Vec<Arc<BroadcastDomain>> {
        let domains = self.domains.read().unwrap_or_else(PoisonError::into_inner);
        domains.values().cloned().collect()
    }
}

fn throttle<K: Ord>() -> Throttle<K> {
    Throttle::new(EVENT_INTERVAL, MAX_THROTTLED_EVENTS)
}

/// Ignores poisoning: a lane that panicked leaves counters and windows consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
