//! Which peers may be sent plain frames by the kernel, through VXLAN, instead of sealed ones by the router.
//!
//! Both sides must say so, all the time. A router that consents to plain traffic with the address of a peer's direct
//! path offers it with every heartbeat ([`Offer`], sealed); two that offer it to one another are *candidates*: their
//! hosts accept VXLAN from one another and send beats that way ([`Beat`]). An offer names the beats that are heard, so
//! each side knows that the way works in both directions before the first frame of a container takes it.
//!
//! A peer is *fast* while its offers come, its direct path is up and is the address the offers come from, we hear its
//! beats, and it says that it hears ours. Anything else, and it is not, at once.

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

/// What this router offers.
#[derive(Clone, Debug)]
pub struct Local {
    /// To whom.
    pub consent: Consent,
    /// UDP port its VXLAN devices receive at, not 0.
    pub port: u16,
    /// Their network identifier, below 2^24.
    pub vni: u32,
    /// What its beats carry: random, not 0, another one for each run.
    pub nonce: u64,
}

/// A peer that plain VXLAN is exchanged with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastPeer {
    /// Its underlay address: VXLAN from there is accepted.
    pub address: IpAddr,
    /// Its VXLAN port.
    pub port: u16,
    /// Its network identifier.
    pub vni: u32,
    /// Whether containers' frames may be sent to it this way; before, only beats are.
    pub fast: bool,
}

/// Every peer that plain VXLAN is exchanged with; at most [`MAX_FAST_PEERS`].
pub type FastPeers = BTreeMap<PeerId, FastPeer>;

/// What a peer offered last.
#[derive(Clone, Copy, Debug)]
struct Offered {
    offer: Offer,
    from: IpAddr,
    at: Instant,
    /// When its last beat was heard.
    beat: Option<Instant>,
}

/// The offers of all peers.
#[derive(Debug, Default)]
pub struct FastPaths {
    local: Option<Local>,
    peers: BTreeMap<PeerId, Offered>,
}

impl FastPaths {
    /// Says what is offered; nothing is while this was not called.
    pub fn set_local(&mut self, local: Local) {
        self.local = Some(local);
    }

    /// What is offered.
    pub fn local(&self) -> Option<&Local> {
        self.local.as_ref()
    }

    /// How many peers' offers are remembered.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether no peer offers anything.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The offer to send to a peer whose direct path is `direct`, if we consent.
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

    /// Takes an offer that came from `from`; `direct` is the direct path to its sender. Returns the refusal to send back
    /// when we do not consent, so that the other side need not wait for our silence.
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
        // From elsewhere than its path: it is about to move, or we are. Its next offers will tell.
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

    /// A beat came by VXLAN. Anybody on the underlay can make one; it counts if it names what the peer's offers do.
    pub fn handle_beat(&mut self, beat: Beat, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&beat.peer)
            && peer.offer.nonce == beat.nonce
        {
            peer.beat = Some(now);
        }
    }

    /// Forgets offers that were not renewed.
    pub fn expire(&mut self, now: Instant) {
        self.peers.retain(|_, peer| peer.is_live(now));
    }

    /// The peers to exchange plain VXLAN with, given the direct path to each.
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

    /// Why a peer with this direct path is not fast, for people; empty when it is, or when we do not consent.
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
