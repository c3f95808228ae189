//! Kernel fast path: plain frames to consenting peers through VXLAN (RFC 7348), instead of sealed ones by the router.
//!
//! Both sides must consent continuously. A router that consents to plain traffic with the address of a peer's direct
//! path offers it with every heartbeat ([`Offer`], sealed). Two routers that offer it to each other are *candidates*:
//! their hosts accept VXLAN from each other and send beats that way ([`Beat`]). An offer names the beats that were
//! received, so each side knows that the path works in both directions before it sends the first frame of a
//! container.
//!
//! A peer is *fast* while its offers arrive, its direct path is up and is the address from which the offers come, its
//! beats are received, and it confirms the beats of this router. Otherwise it ceases to be fast at once.

mod beat;
mod consent;
mod offer;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

pub use beat::{BEAT_ETHERTYPE, BEAT_GROUP, Beat};
pub use consent::Consent;
pub use offer::Offer;

use crate::ids::PeerId;
use crate::limits::{DEAD_AFTER, MAX_FAST_PEERS};
use crate::time::Instant;

/// Offer of this router.
#[derive(Clone, Debug)]
pub struct Local {
    /// Peers to which it is offered.
    pub consent: Consent,
    /// UDP port of the VXLAN devices, not 0.
    pub port: u16,
    /// VXLAN network identifier, below 2^24.
    pub vni: u32,
    /// Nonce of the beats: random, not 0, drawn at each start.
    pub nonce: u64,
}

/// Peer with which plain VXLAN is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastPeer {
    /// Underlay address of the peer, from which VXLAN is accepted.
    pub address: IpAddr,
    /// UDP port of the peer's VXLAN devices.
    pub port: u16,
    /// VXLAN network identifier of the peer.
    pub vni: u32,
    /// True if containers' frames may be sent this way; before, only beats are.
    pub fast: bool,
}

/// Peers with which plain VXLAN is exchanged; at most [`MAX_FAST_PEERS`].
pub type FastPeers = BTreeMap<PeerId, FastPeer>;

/// Last offer of a peer.
#[derive(Clone, Copy, Debug)]
struct Offered {
    offer: Offer,
    from: IpAddr,
    at: Instant,
    /// Time at which its last beat was received.
    beat: Option<Instant>,
}

/// Offers of all peers.
#[derive(Debug, Default)]
pub struct FastPaths {
    local: Option<Local>,
    peers: BTreeMap<PeerId, Offered>,
}

impl FastPaths {
    /// Sets this router's offer; without it nothing is offered.
    pub fn set_local(&mut self, local: Local) {
        self.local = Some(local);
    }

    /// Returns this router's offer.
    pub fn local(&self) -> Option<&Local> {
        self.local.as_ref()
    }

    /// Returns the number of peers with a stored offer.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Returns true if no offer is stored.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Returns the offer to send to a peer with the direct path `direct`, if the operator consents.
    pub fn offer(&self, peer: &PeerId, direct: SocketAddr, now: Instant) -> Option<Offer> {
        let local = self.willing(direct.ip())?;
        let heard = self.peers.get(peer).filter(|p| p.is_heard(now));
        Some(Offer {
            port: local.port,
            vni: local.vni,
            nonce: local.nonce,
            echo: heard.map_or(0, |p| p.offer.nonce),
        })
    }

    /// Handles an offer received from `from`; `direct` is the direct path to its sender. Returns the refusal to send
    /// if the operator does not consent, so that the other side need not wait for a time-out.
    pub fn handle_offer(
        &mut self,
        peer: PeerId,
        from: SocketAddr,
        direct: Option<SocketAddr>,
        offer: Offer,
        now: Instant,
    ) -> Option<Offer> {
        if offer.is_refusal() {
            self.peers.remove(&peer);
            return None;
        }
        if self.willing(from.ip()).is_none() {
            self.peers.remove(&peer);
            return Some(Offer::REFUSAL);
        }
        let is_known = self.peers.contains_key(&peer);
        // The offer did not come by the direct path: one side is about to move. The next offers will show.
        if direct != Some(from) || (!is_known && self.peers.len() >= MAX_FAST_PEERS) {
            self.peers.remove(&peer);
            return None;
        }
        let same = |old: &&Offered| old.from == from.ip() && old.offer.nonce == offer.nonce;
        let beat = self.peers.get(&peer).filter(same).and_then(|old| old.beat);
        let offered = Offered {
            offer,
            from: from.ip(),
            at: now,
            beat,
        };
        self.peers.insert(peer, offered);
        None
    }

    /// Handles a beat received through VXLAN. Any host on the underlay can forge beats; one counts only if it has the
    /// nonce of the peer's offers.
    pub fn handle_beat(&mut self, beat: Beat, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&beat.peer)
            && peer.offer.nonce == beat.nonce
        {
            peer.beat = Some(now);
        }
    }

    /// Removes offers that were not renewed.
    pub fn expire(&mut self, now: Instant) {
        self.peers.retain(|_, peer| peer.is_live(now));
    }

    /// Returns the peers with which to exchange plain VXLAN, given the direct path to each.
    pub fn peers(&self, direct: impl Fn(&PeerId) -> Option<SocketAddr>, now: Instant) -> FastPeers {
        let peers = self.peers.iter();
        peers
            .filter_map(|(id, peer)| Some((*id, self.candidate(peer, direct(id)?, now)?)))
            .collect()
    }

    fn candidate(&self, peer: &Offered, direct: SocketAddr, now: Instant) -> Option<FastPeer> {
        let local = self.willing(direct.ip())?;
        if !peer.is_live(now) || peer.from != direct.ip() {
            return None;
        }
        Some(FastPeer {
            address: peer.from,
            port: peer.offer.port,
            vni: peer.offer.vni,
            fast: peer.is_heard(now) && peer.offer.echo == local.nonce,
        })
    }

    /// Returns the reason why a peer with this direct path is not fast, for operators; empty if it is, or if
    /// the operator does not consent.
    pub fn doubt(&self, id: &PeerId, direct: SocketAddr, now: Instant) -> String {
        let Some(local) = self.willing(direct.ip()) else {
            return String::new();
        };
        let port = local.port;
        let peer = self.peers.get(id);
        let Some((peer, state)) = peer.and_then(|p| Some((p, self.candidate(p, direct, now)?)))
        else {
            return "the other side does not offer plain VXLAN".to_owned();
        };
        match state.fast {
            true => String::new(),
            false if !peer.is_heard(now) => {
                format!("nothing comes by VXLAN; is UDP port {port} open here?")
            }
            false => "the other side hears nothing by VXLAN yet".to_owned(),
        }
    }

    fn willing(&self, address: IpAddr) -> Option<&Local> {
        self.local.as_ref().filter(|l| l.consent.allows(address))
    }
}

impl Offered {
    fn is_live(&self, now: Instant) -> bool {
        now.since(self.at) <= DEAD_AFTER
    }

    fn is_heard(&self, now: Instant) -> bool {
        self.beat.is_some_and(|at| now.since(at) <= DEAD_AFTER)
    }
}

#[cfg(test)]
mod tests;
