//! Graceful restart of links: routes stay while the link is dialled again. Datagrams still go both ways, only the TCP connection ended.
//!
//! A link that fell silent or was reset says little of the way that data takes. As long as the peer goes on answering
//! probes, both ends go on to announce each other as neighbours; a peer that does not answer at once is let go at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use core::time::Duration;

use crate::ids::PeerId;
use crate::limits::{KEEP_PROOF, KEEP_ROUTE};
use crate::time::Instant;

use super::slot::LinkSlot;

/// A link that ended, as routes use it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RestartingLink {
    pub(crate) address: SocketAddr,
    pub(crate) outbound: bool,
    ended: Instant,
    /// Time by which the peer has to have answered a probe that was sent since.
    proof: Instant,
}

/// The peers whose routes are kept without a link.
#[derive(Debug, Default)]
pub(super) struct GracefulRestart(BTreeMap<PeerId, RestartingLink>);

impl GracefulRestart {
    /// Returns true if the route to `peer` is kept.
    pub(super) fn has(&self, peer: &PeerId) -> bool {
        self.0.contains_key(peer)
    }

    /// Returns all of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &RestartingLink)> {
        self.0.iter()
    }

    /// Returns the time of the next call of [`GracefulRestart::expired`].
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let due = |kept: &RestartingLink| kept.proof.min(kept.ended + KEEP_ROUTE);
        self.0.values().map(due).min()
    }

    /// Keeps the route to `peer`, whose link ends: `rtt` is the round-trip time of its direct path.
    pub(super) fn keep(&mut self, peer: PeerId, slot: &LinkSlot, rtt: Duration, now: Instant) {
        let kept = RestartingLink {
            address: slot.address(),
            outbound: slot.is_outbound(),
            ended: now,
            proof: now + KEEP_PROOF + rtt * 2,
        };
        self.0.insert(peer, kept);
    }

    /// Releases the route to `peer`. Returns true if it was kept.
    pub(super) fn release(&mut self, peer: &PeerId) -> bool {
        self.0.remove(peer).is_some()
    }

    /// Returns the peers that no longer answer, and those without a link in time; `asked` tells when the newest answered
    /// probe of a direct path was sent.
    pub(super) fn expired(
        &mut self,
        asked: impl Fn(&PeerId) -> Option<Instant>,
        now: Instant,
    ) -> Vec<PeerId> {
        let mut gone = Vec::new();
        for (peer, kept) in &mut self.0 {
            let asked = asked(peer);
            if asked.is_some_and(|asked| asked >= kept.ended) {
                // From now on the path's own silence ends it.
                kept.proof = Instant::FAR_FUTURE;
            }
            let is_over = now.since(kept.ended) >= KEEP_ROUTE || now >= kept.proof;
            if asked.is_none() || is_over {
                gone.push(*peer);
            }
        }
        gone
    }
}
