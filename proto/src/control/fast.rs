//! Plain VXLAN with peers that consent: offers go out with the heartbeats, and what follows from them to the host.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::fastpath::{Beat, FastPeers, Local, Offer};
use crate::ids::PeerId;
use crate::time::Instant;

use super::{Control, Note, Output};

impl Control {
    /// Plain VXLAN is offered to the peers that the operator consents to. To be called once, at the start.
    pub fn set_fastpath(&mut self, local: Local) {
        self.fast.set_local(local);
    }

    /// A beat came by VXLAN; nothing of it is authenticated.
    pub fn handle_beat(&mut self, beat: Beat, now: Instant) {
        self.fast.handle_beat(beat, now);
        self.refresh_fast(now);
        self.flush(now);
    }

    /// Renews the offer to a peer with a direct path.
    pub(super) fn offer_fast(&mut self, peer: &PeerId, now: Instant) {
        let Some(direct) = self.paths.direct(peer).map(|d| d.address) else {
            return;
        };
        if let Some(offer) = self.fast.offer(peer, direct, now) {
            self.seal_payload(peer, direct, &offer.encode(), now);
        }
    }

    pub(super) fn take_offer(&mut self, peer: PeerId, from: SocketAddr, body: &[u8], now: Instant) {
        let Some(offer) = Offer::decode(body) else {
            return;
        };
        let direct = self.paths.direct(&peer).map(|d| d.address);
        if let Some(refusal) = self.fast.handle_offer(peer, from, direct, offer, now) {
            self.seal_payload(&peer, from, &refusal.encode(), now);
        }
        self.refresh_fast(now);
    }

    /// Tells the host if the peers, or which of them are fast, are others than before.
    pub(super) fn refresh_fast(&mut self, now: Instant) {
        if self.fast.local().is_none() {
            return;
        }
        self.fast.expire(now);
        let direct = |peer: &PeerId| self.paths.direct(peer).map(|d| d.address);
        let peers = self.fast.peers(direct, now);
        if peers == *self.fast_peers {
            return;
        }
        self.note_fast(&peers);
        self.fast_peers = Arc::new(peers);
        self.outputs
            .push_back(Output::Fast(self.fast_peers.clone()));
    }

    fn note_fast(&mut self, peers: &FastPeers) {
        let is_fast = |of: &FastPeers, peer: &PeerId| of.get(peer).is_some_and(|p| p.fast);
        let before = self.fast_peers.clone();
        let all: BTreeSet<&PeerId> = before.keys().chain(peers.keys()).collect();
        for peer in all {
            let words = match (is_fast(&before, peer), is_fast(peers, peer)) {
                (false, true) => "go by the kernel's VXLAN, unencrypted",
                (true, false) => "go through the router again, encrypted",
                _ => continue,
            };
            let text = format!("frames for {} {words}", self.display(peer));
            self.note(Note::Info(text));
        }
    }
}
