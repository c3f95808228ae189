//! The table of TCP links: one slot per connection, at most one link that is up per peer.

use core::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::ids::{ConnId, PeerId};
use crate::limits::{
    FAILED_INBOUND_AGE, MAX_FAILED_INBOUND, MAX_HALF_OPEN, MAX_HALF_OPEN_PER_SOURCE, MAX_LINKS,
};
use crate::source::Source;
use crate::time::Instant;

use super::slot::LinkSlot;

/// An inbound connection that failed, kept for a while so that `status connections` on this side can say why.
#[derive(Clone, Debug)]
pub(crate) struct FailedInbound {
    /// The other end's TCP address.
    pub(crate) address: SocketAddr,
    /// Reason.
    pub(crate) error: String,
    /// Time.
    at: Instant,
}

/// All links of a router, half-open ones included.
#[derive(Debug, Default)]
pub(crate) struct LinkTable {
    slots: BTreeMap<ConnId, LinkSlot>,
    by_peer: BTreeMap<PeerId, ConnId>,
    failed_inbound: VecDeque<FailedInbound>,
}

impl LinkTable {
    /// Returns true if there may be one more link to a peer, or dial. Half-open ones that others dialled have bounds of their own.
    pub(crate) fn has_room(&self) -> bool {
        let counted = self.slots.values();
        let counted = counted.filter(|slot| slot.outbound || slot.peer.is_some());
        counted.count() < MAX_LINKS
    }

    /// Returns the number of peers from this source that dialled links that are there.
    pub(crate) fn of_source(&self, source: Source) -> usize {
        let inbound = self.slots.values().filter(|slot| !slot.outbound);
        let peers = inbound.filter(|slot| slot.peer.is_some());
        peers
            .filter(|slot| Source::of(slot.address) == source)
            .count()
    }

    /// Adds a connection; returns one that must be closed for it: the oldest half-open one of a source that has more
    /// than [`MAX_HALF_OPEN_PER_SOURCE`], or, beyond [`MAX_HALF_OPEN`] in all, of the source that has most.
    pub(crate) fn insert(&mut self, conn: ConnId, slot: LinkSlot) -> Option<ConnId> {
        self.slots.insert(conn, slot);
        let mut half_open = BTreeMap::<Source, Vec<(Instant, ConnId)>>::new();
        for (conn, slot) in &self.slots {
            if slot.peer.is_none() && !slot.outbound {
                let source = Source::of(slot.address);
                half_open
                    .entry(source)
                    .or_default()
                    .push((slot.opened(), *conn));
            }
        }
        let total: usize = half_open.values().map(Vec::len).sum();
        // Of several such sources the one whose connections are the oldest.
        let crowd = half_open
            .into_values()
            .max_by_key(|c| (c.len(), Reverse(c.iter().min().copied())))?;
        let too_many = total > MAX_HALF_OPEN || crowd.len() > MAX_HALF_OPEN_PER_SOURCE;
        crowd
            .into_iter()
            .min()
            .filter(|_| too_many)
            .map(|(_, conn)| conn)
    }

    /// Returns the slot of a connection.
    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut LinkSlot> {
        self.slots.get_mut(&conn)
    }

    /// Returns the slot of a connection.
    pub(crate) fn get(&self, conn: ConnId) -> Option<&LinkSlot> {
        self.slots.get(&conn)
    }

    /// Returns the sources that are no strangers because of a link.
    pub(super) fn known_sources(&self, now: Instant) -> impl Iterator<Item = Source> {
        let slots = self.slots.values();
        let linked = slots.filter(move |slot| slot.is_outbound() || slot.is_old(now));
        linked.map(|slot| Source::of(slot.address()))
    }

    /// Returns all connections, in the order they were opened.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &LinkSlot)> {
        self.slots.iter().map(|(conn, slot)| (*conn, slot))
    }

    /// Returns all connections, to change.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut LinkSlot)> {
        self.slots.iter_mut().map(|(conn, slot)| (*conn, slot))
    }

    /// Returns the connection that carries the link to `peer`.
    pub(crate) fn of_peer(&self, peer: &PeerId) -> Option<ConnId> {
        self.by_peer.get(peer).copied()
    }

    /// Returns the peers with a link that is up.
    pub(crate) fn neighbours(&self) -> impl Iterator<Item = (&PeerId, &LinkSlot)> {
        self.by_peer
            .iter()
            .filter_map(|(peer, conn)| Some((peer, self.slots.get(conn)?)))
    }

    /// Makes `conn` the link to `peer`, which is up.
    pub(crate) fn set_up(&mut self, conn: ConnId, peer: PeerId, now: Instant) {
        if let Some(slot) = self.slots.get_mut(&conn) {
            slot.set_up(now);
            self.by_peer.insert(peer, conn);
        }
    }

    /// Removes a connection; the peer too if this was the link to it.
    pub(crate) fn remove(&mut self, conn: ConnId) -> Option<(LinkSlot, Option<PeerId>)> {
        let slot = self.slots.remove(&conn)?;
        let lost = slot
            .peer
            .filter(|peer| self.by_peer.get(peer) == Some(&conn));
        if let Some(peer) = &lost {
            self.by_peer.remove(peer);
        }
        Some((slot, lost))
    }

    /// Remembers why an inbound connection failed; beyond [`MAX_FAILED_INBOUND`] the oldest is forgotten.
    pub(crate) fn remember_failed(&mut self, address: SocketAddr, error: String, now: Instant) {
        self.failed_inbound
            .retain(|f| f.address.ip() != address.ip());
        if self.failed_inbound.len() >= MAX_FAILED_INBOUND {
            self.failed_inbound.pop_front();
        }
        self.failed_inbound.push_back(FailedInbound {
            address,
            error,
            at: now,
        });
    }

    /// Forgets the failed connections from a host, of which one worked.
    pub(crate) fn forget_failed(&mut self, address: SocketAddr) {
        self.failed_inbound
            .retain(|f| f.address.ip() != address.ip());
    }

    /// Returns the inbound connections that failed lately.
    pub(crate) fn failed_inbound(&self, now: Instant) -> impl Iterator<Item = &FailedInbound> {
        self.failed_inbound
            .iter()
            .filter(move |f| now.since(f.at) < FAILED_INBOUND_AGE)
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
