//! Routes that stay while the link is dialled again: datagrams still go both ways, only the TCP connection ended.
//!
//! A link that fell silent or was reset says little of the way that data takes. As long as the peer goes on answering
//! probes, both ends keep saying that they are neighbours; who does not answer at once is let go at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::ids::{ConnId, PeerId};
use crate::limits::{KEEP_PROOF, KEEP_ROUTE};
use crate::time::Instant;

use super::Control;

/// What a link that ended was to the routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptLink {
    pub(super) address: SocketAddr,
    pub(super) outbound: bool,
    ended: Instant,
    /// The peer has to have answered by then what was asked since.
    proof: Instant,
}

/// The peers whose routes are kept without a link.
#[derive(Debug, Default)]
pub(super) struct Kept(BTreeMap<PeerId, KeptLink>);

impl Kept {
    /// Whether the route to `peer` is kept.
    pub(super) fn has(&self, peer: &PeerId) -> bool {
        self.0.contains_key(peer)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &KeptLink)> {
        self.0.iter()
    }

    /// When [`Control::tick_kept`] wants to be called.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let due = |kept: &KeptLink| kept.proof.min(kept.ended + KEEP_ROUTE);
        self.0.values().map(due).min()
    }
}

impl Control {
    /// The TCP connection of a link is about to be dropped, for no reason that the peer gave: its route stays if datagrams
    /// go directly to it.
    pub(super) fn keep_route(&mut self, conn: ConnId, now: Instant) {
        let Some(slot) = self.links.get(conn).filter(|slot| slot.up) else {
            return;
        };
        let Some(peer) = slot.peer.filter(|p| self.links.of_peer(p) == Some(conn)) else {
            return;
        };
        let Some(rtt) = self.paths.direct(&peer).map(|direct| direct.rtt) else {
            return;
        };
        let kept = KeptLink {
            address: slot.address,
            outbound: slot.outbound,
            ended: now,
            proof: now + KEEP_PROOF + rtt * 2,
        };
        self.kept.0.insert(peer, kept);
        // It is proof that is asked for: one question may be lost.
        for _ in 0..2 {
            if let Some((to, probe)) = self.paths.ask_direct(&peer, now, &mut *self.entropy) {
                self.seal_probe(&peer, to, probe, now);
            }
        }
    }

    /// A link to `peer` is there again, or its direct path is not.
    pub(super) fn keep_no_longer(&mut self, peer: &PeerId) {
        if self.kept.0.remove(peer).is_some() {
            self.topology_dirty = true;
            self.neighbours_dirty = true;
            self.snapshot_dirty = true;
        }
    }

    /// Whether data goes straight to `peer`: there is a link, or was a moment ago.
    pub(super) fn is_beside(&self, peer: &PeerId) -> bool {
        self.links.of_peer(peer).is_some() || self.kept.has(peer)
    }

    /// Drops routes to peers that no longer answer, and to those without a link in time.
    pub(super) fn tick_kept(&mut self, now: Instant) {
        let mut gone = Vec::new();
        for (peer, kept) in &mut self.kept.0 {
            let asked = self.paths.direct(peer).map(super::paths::Direct::asked);
            if asked.is_some_and(|asked| asked >= kept.ended) {
                // From now on the path's own silence ends it.
                kept.proof = Instant::FAR_FUTURE;
            }
            let is_over = now.since(kept.ended) >= KEEP_ROUTE || now >= kept.proof;
            if asked.is_none() || is_over {
                gone.push(*peer);
            }
        }
        for peer in gone {
            self.keep_no_longer(&peer);
        }
    }

    /// The address of the announced ones, or with the announced port, at which `peer` answers by UDP.
    pub(super) fn answering_address(&self, peer: &PeerId) -> Option<SocketAddr> {
        let direct = self.paths.direct(peer)?.address;
        let known = self.discovered_addresses(peer);
        if known.contains(&direct) {
            return Some(direct);
        }
        let port = known.first().map_or(self.config.port, SocketAddr::port);
        Some(SocketAddr::new(direct.ip(), port))
    }
}
