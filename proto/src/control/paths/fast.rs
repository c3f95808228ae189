//! Plain VXLAN with peers that consent: offers, and the peers that the host was told of.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::fastpath::{Beat, FastPaths, FastPeers, Local, Offer};
use crate::ids::PeerId;
use crate::time::Instant;

/// Offers of plain VXLAN.
#[derive(Debug, Default)]
pub(crate) struct FastOffers {
    paths: FastPaths,
    /// The peers as the host was told last.
    told: Arc<FastPeers>,
}

/// A change of the peers with plain VXLAN.
#[derive(Debug)]
pub(crate) struct FastChange {
    /// The peers, as the host is to have them.
    pub(crate) peers: Arc<FastPeers>,
    /// Those that became fast (true) or ceased to be.
    pub(crate) changed: Vec<(PeerId, bool)>,
}

impl FastOffers {
    /// Offers plain VXLAN to the peers that the operator consents to.
    pub(crate) fn set_local(&mut self, local: Local) {
        self.paths.set_local(local);
    }

    /// Returns what is offered, if anything.
    pub(crate) fn local(&self) -> Option<&Local> {
        self.paths.local()
    }

    /// Takes a beat, of which nothing is authenticated.
    pub(crate) fn beat(&mut self, beat: Beat, now: Instant) {
        self.paths.handle_beat(beat, now);
    }

    /// Returns the offer to renew to a peer at this address.
    pub(crate) fn offer(&self, peer: &PeerId, direct: SocketAddr, now: Instant) -> Option<Vec<u8>> {
        let offer = self.paths.offer(peer, direct, now)?;
        Some(offer.encode().to_vec())
    }

    /// Takes an offer; returns the answer, if one is due.
    pub(crate) fn take(
        &mut self,
        peer: PeerId,
        from: SocketAddr,
        direct: Option<SocketAddr>,
        offer: Offer,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let refusal = self.paths.handle_offer(peer, from, direct, offer, now)?;
        Some(refusal.encode().to_vec())
    }

    /// Returns what changed if the peers, or which of them are fast, are others than before.
    pub(crate) fn refresh(
        &mut self,
        direct: impl Fn(&PeerId) -> Option<SocketAddr>,
        now: Instant,
    ) -> Option<FastChange> {
        self.paths.local()?;
        self.paths.expire(now);
        let peers = self.paths.peers(direct, now);
        if peers == *self.told {
            return None;
        }
        let is_fast = |of: &FastPeers, peer: &PeerId| of.get(peer).is_some_and(|p| p.fast);
        let all: BTreeSet<&PeerId> = self.told.keys().chain(peers.keys()).collect();
        let changed = all.into_iter().filter_map(|peer| {
            let fast = is_fast(&peers, peer);
            (fast != is_fast(&self.told, peer)).then_some((*peer, fast))
        });
        let changed = changed.collect();
        self.told = Arc::new(peers);
        Some(FastChange {
            peers: self.told.clone(),
            changed,
        })
    }

    /// Returns true if the host was told to exchange frames with this peer by plain VXLAN.
    pub(crate) fn is_fast(&self, peer: &PeerId) -> bool {
        self.told.get(peer).is_some_and(|p| p.fast)
    }

    /// Returns why frames for a peer at this address do not go by plain VXLAN.
    pub(crate) fn doubt(&self, peer: &PeerId, direct: SocketAddr, now: Instant) -> String {
        self.paths.doubt(peer, direct, now)
    }
}
