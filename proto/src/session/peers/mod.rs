//! Table of the peers with a session or a handshake, with their session indices and timers.

mod indices;
mod peer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::indices::Indices;
pub(super) use self::peer::{Attempt, Confirm, PendingHandshake, SessionPeer, Watch};
use super::transport::Transport;
use crate::entropy::Entropy;
use crate::ids::{PeerId, SessionIndex};
use crate::limits;
use crate::time::Instant;

/// Peers by id. Keeps the indices in use and the queue of timers in step with them.
#[derive(Default)]
pub(super) struct PeerTable {
    peers: BTreeMap<PeerId, SessionPeer>,
    indices: Indices,
    timers: BTreeSet<(Instant, PeerId)>,
}

/// Peer that was removed from the table.
pub(super) struct RemovedPeer {
    pub(super) id: PeerId,
    /// True if it had keys.
    pub(super) had_keys: bool,
}

impl PeerTable {
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn contains(&self, id: &PeerId) -> bool {
        self.peers.contains_key(id)
    }

    pub(super) fn get(&self, id: &PeerId) -> Option<&SessionPeer> {
        self.peers.get(id)
    }

    /// Returns the state of a peer. [`PeerTable::settle`] is to be called after a change of its timers.
    pub(super) fn get_mut(&mut self, id: &PeerId) -> Option<&mut SessionPeer> {
        self.peers.get_mut(id)
    }

    /// Returns all peers, ordered by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerId, &SessionPeer)> {
        self.peers.iter().map(|(id, peer)| (*id, peer))
    }

    /// Makes sure that `id` has an entry with this key. Returns the peer that was removed to make room.
    pub(super) fn enter(
        &mut self,
        id: PeerId,
        dh_key: [u8; 32],
        now: Instant,
    ) -> Option<RemovedPeer> {
        let is_full = self.peers.len() >= limits::MAX_SESSIONS;
        let evicted = if is_full && !self.peers.contains_key(&id) {
            self.evict()
        } else {
            None
        };
        let peer = self
            .peers
            .entry(id)
            .or_insert_with(|| SessionPeer::new(dh_key, now));
        if peer.dh_key != dh_key {
            peer.dh_key = dh_key;
            peer.cookie = None;
            self.drop_pending(id);
        }
        evicted
    }

    fn evict(&mut self) -> Option<RemovedPeer> {
        let idle = self.peers.iter().min_by_key(|(_, peer)| peer.last_used());
        let id = idle.map(|(id, _)| *id)?;
        self.remove(id)
    }

    pub(super) fn remove(&mut self, id: PeerId) -> Option<RemovedPeer> {
        let peer = self.peers.remove(&id)?;
        for index in peer.indices() {
            self.indices.release(index);
        }
        if let Some(due) = peer.queued {
            self.timers.remove(&(due, id));
        }
        let had_keys = !peer.slots.is_empty();
        Some(RemovedPeer { id, had_keys })
    }

    /// Updates the timer queue after a change of `id`, and removes an empty entry.
    pub(super) fn settle(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.is_empty() {
            self.remove(id);
            return;
        }
        let due = peer.deadline().map(|(at, _)| at);
        if due != peer.queued {
            if let Some(before) = core::mem::replace(&mut peer.queued, due) {
                self.timers.remove(&(before, id));
            }
            if let Some(at) = due {
                self.timers.insert((at, id));
            }
        }
    }

    /// Returns the first timer: its time, and its peer.
    pub(super) fn first_timer(&self) -> Option<(Instant, PeerId)> {
        self.timers.first().copied()
    }

    /// Returns the peer that owns an index of this router.
    pub(super) fn owner(&self, index: SessionIndex) -> Option<PeerId> {
        self.indices.owner(index)
    }

    /// Allocates an unused index for `id`.
    pub(super) fn allocate(&mut self, id: PeerId, entropy: &mut dyn Entropy) -> SessionIndex {
        self.indices.allocate(id, entropy)
    }

    /// Releases the index of an attempt that was not made.
    pub(super) fn release(&mut self, index: SessionIndex) {
        self.indices.release(index);
    }

    /// Releases the indices of keys that are no longer used.
    pub(super) fn release_keys<'t>(
        &mut self,
        dropped: impl IntoIterator<Item = &'t Arc<Transport>>,
    ) {
        for transport in dropped {
            self.indices.release(transport.local());
        }
    }

    /// Drops the handshake that waits for a Response. Returns false if there is none.
    pub(super) fn drop_pending(&mut self, id: PeerId) -> bool {
        let pending = self.peers.get_mut(&id).and_then(|p| p.pending.take());
        let Some(pending) = pending else {
            return false;
        };
        for attempt in &pending.tries {
            self.indices.release(attempt.index);
        }
        true
    }

    /// Drops the oldest attempt of the pending handshake if there are as many as are kept. Returns false if no
    /// handshake is pending.
    pub(super) fn make_room_for_attempt(&mut self, id: PeerId) -> bool {
        let pending = self.peers.get_mut(&id).and_then(|p| p.pending.as_mut());
        let Some(pending) = pending else {
            return false;
        };
        if pending.tries.len() >= limits::KEPT_ATTEMPTS
            && let Some(oldest) = pending.tries.pop_front()
        {
            self.indices.release(oldest.index);
        }
        true
    }

    /// Returns the peer to which one of the pending Inits, with this index, was sent.
    pub(super) fn owner_of_attempt(&self, index: SessionIndex) -> Option<PeerId> {
        let id = self.indices.owner(index)?;
        let pending = self.peers.get(&id)?.pending.as_ref()?;
        let is_pending = pending.tries.iter().any(|a| a.index == index);
        is_pending.then_some(id)
    }

    /// Returns the pending attempt with this index.
    pub(super) fn attempt(&mut self, id: PeerId, index: SessionIndex) -> Option<&mut Attempt> {
        self.peers.get_mut(&id)?.pending.as_mut()?.by_index(index)
    }

    /// Takes the answered attempt out of the pending handshake, and abandons the other attempts.
    pub(super) fn take_attempt(&mut self, id: PeerId, index: SessionIndex) -> Option<Attempt> {
        let pending = self.peers.get_mut(&id).and_then(|p| p.pending.take());
        let mut answered = None;
        for attempt in pending.map(|p| p.tries).into_iter().flatten() {
            if attempt.index == index {
                answered = Some(attempt);
            } else {
                self.indices.release(attempt.index);
            }
        }
        answered
    }

    #[cfg(test)]
    pub(super) fn index_count(&self) -> usize {
        self.indices.len()
    }
}
