//! The other routers: what they state, and whether they can be reached.

use super::Ipam;
use super::wire::Statement;
use crate::ids::PeerId;
use crate::limits::MAX_PEERS;
use crate::time::Instant;

/// Another router.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) statement: Option<Statement>,
    pub(super) reachable: bool,
    /// When that changed last.
    pub(super) since: Instant,
}

impl Ipam {
    /// Routers that can be reached and take part, with the same range.
    pub(super) fn members(&self) -> impl Iterator<Item = (&PeerId, &Statement)> {
        let reachable = self.peers.iter().filter(|(_, peer)| peer.reachable);
        reachable.filter_map(|(id, peer)| {
            let statement = peer.statement.as_ref()?;
            (statement.range == self.range()).then_some((id, statement))
        })
    }

    pub(super) fn is_member(&self, peer: &PeerId) -> bool {
        let peer = self.peers.get(peer).filter(|p| p.reachable);
        let statement = peer.and_then(|p| p.statement.as_ref());
        statement.is_some_and(|s| s.range == self.range())
    }

    pub(super) fn statement_of(&self, peer: &PeerId) -> Option<&Statement> {
        self.peers.get(peer)?.statement.as_ref()
    }

    /// Says whether that was news.
    pub(super) fn note_reachable(&mut self, id: PeerId, reachable: bool, now: Instant) -> bool {
        if id == self.config.me {
            return false;
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            let changed = peer.reachable != reachable;
            if changed {
                peer.reachable = reachable;
                peer.since = now;
                self.published.changed = true;
            }
            return changed;
        }
        if self.peers.len() >= MAX_PEERS {
            let useless = |id: &PeerId, peer: &Peer| !peer.reachable && !self.matters(id);
            let Some(victim) = self.peers.iter().find(|(id, p)| useless(id, p)) else {
                return false;
            };
            let victim = *victim.0;
            self.peers.remove(&victim);
        }
        let (statement, since) = (None, now);
        self.peers.insert(
            id,
            Peer {
                statement,
                reachable,
                since,
            },
        );
        true
    }

    /// Whether a router owns, borrows or contests anything.
    pub(super) fn matters(&self, peer: &PeerId) -> bool {
        self.state.map.iter().flatten().any(|c| c.owner == *peer)
            || self.state.loans.values().any(|loan| loan.to == *peer)
            || self.state.contests.values().any(|r| r.contains(peer))
    }
}
