//! The table of TCP links: one slot per connection, at most one link that is up per peer.

use core::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use core::time::Duration;

use crate::entropy::Entropy;
use crate::ids::{ConnId, PeerId};
use crate::limits::{
    ANTI_ENTROPY, DEAD_AFTER, FAILED_INBOUND_AGE, HEARTBEAT, LINK_BEAT, LINK_DEAD_AFTER,
    MAX_FAILED_INBOUND, MAX_GOSSIP_QUEUE, MAX_HALF_OPEN, MAX_HALF_OPEN_PER_SOURCE, MAX_LINKS,
    ROUTES_INTERVAL,
};
use crate::link::Link;
use crate::source::Source;
use crate::time::Instant;
use crate::wire::message::LinkMessage;

/// One TCP connection and what hangs on it.
#[derive(Debug)]
pub struct Slot {
    /// The protocol machine of the connection.
    pub link: Link,
    /// The other end's TCP address.
    pub address: SocketAddr,
    /// Whether we dialled.
    pub outbound: bool,
    /// Who is at the other end, once authenticated.
    pub peer: Option<PeerId>,
    /// Whether both sides admitted the link.
    pub up: bool,
    /// Smoothed round-trip time of the TCP link.
    pub rtt: Option<Duration>,
    /// What the other end was told last of whether the link is wanted here.
    pub told_wanted: bool,
    /// Since when it is not wanted here.
    pub unwanted_since: Option<Instant>,
    /// Since when the other end does not want it; it says so.
    pub peer_unwanted_since: Option<Instant>,
    opened: Instant,
    up_since: Option<Instant>,
    last_heard: Instant,
    next_ping: Instant,
    /// Whether datagrams go directly between the two, which shows that the other end lives; and since when it is so or not.
    direct: (bool, Instant),
    ping: Option<(u64, Instant)>,
    next_digest: Instant,
    /// A comparison out of turn.
    compare_at: Option<Instant>,
    unwritten: usize,
}

/// An inbound connection that failed, kept for a while so that `status connections` on this side can say why.
#[derive(Clone, Debug)]
pub struct FailedInbound {
    /// The other end's TCP address.
    pub address: SocketAddr,
    /// Why it failed.
    pub error: String,
    /// When.
    pub at: Instant,
}

/// All links of a router.
#[derive(Debug, Default)]
pub struct Links {
    slots: BTreeMap<ConnId, Slot>,
    by_peer: BTreeMap<PeerId, ConnId>,
    failed_inbound: VecDeque<FailedInbound>,
}

/// What one link needs at a tick.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// A heartbeat with this nonce.
    Ping(u64),
    /// A comparison of digests.
    Digest,
    /// Nothing was heard for too long.
    Silent,
}

impl Slot {
    /// A slot for a connection that was just opened.
    pub fn new(link: Link, address: SocketAddr, outbound: bool, now: Instant) -> Self {
        Self {
            link,
            address,
            outbound,
            peer: None,
            up: false,
            rtt: None,
            told_wanted: true,
            unwanted_since: None,
            peer_unwanted_since: None,
            opened: now,
            up_since: None,
            last_heard: now,
            next_ping: now,
            direct: (false, now),
            ping: None,
            next_digest: now,
            compare_at: None,
            unwritten: 0,
        }
    }

    /// Something arrived.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// How long nothing arrived.
    pub fn silence(&self, now: Instant) -> Duration {
        now.since(self.last_heard)
    }

    /// When the connection was opened.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// When both sides had admitted the link.
    pub fn up_since(&self) -> Option<Instant> {
        self.up_since
    }

    /// Bytes were handed to the shell.
    pub fn queued(&mut self, bytes: usize) {
        self.unwritten += bytes;
    }

    /// The shell wrote bytes to the socket.
    pub fn written(&mut self, bytes: usize) {
        self.unwritten = self.unwritten.saturating_sub(bytes);
    }

    /// Bytes that may still be queued for this neighbour, of what can wait.
    pub fn room(&self) -> usize {
        MAX_GOSSIP_QUEUE.saturating_sub(self.unwritten + self.link.pending_bytes())
    }

    /// A pong arrived.
    pub fn ponged(&mut self, nonce: u64, now: Instant) {
        if let Some((expected, sent)) = self.ping
            && expected == nonce
        {
            self.ping = None;
            let sample = now.since(sent);
            self.rtt = Some(self.rtt.map_or(sample, |old| (old * 7 + sample) / 8));
        }
    }

    /// What is due on a link that is up; each answer moves its timer on.
    pub fn due(&mut self, now: Instant, entropy: &mut dyn Entropy) -> Vec<Due> {
        if !self.up {
            return Vec::new();
        }
        if self.dies_at() <= now {
            return vec![Due::Silent];
        }
        if self.compare_at.is_some_and(|at| at <= now) {
            self.compare_at = None;
            return vec![Due::Digest];
        }
        if now < self.next_ping {
            return Vec::new();
        }
        if self.direct.0 {
            self.next_ping = now + entropy.jitter(LINK_BEAT, 20);
            if !self.outbound {
                return Vec::new();
            }
        } else {
            self.next_ping = now + entropy.jitter(HEARTBEAT, 10);
        }
        let nonce = entropy.u64();
        let (nonce, _) = *self.ping.get_or_insert((nonce, now));
        let mut due = vec![Due::Ping(nonce)];
        // One end compares, for both; with a ping it costs no segment of its own.
        if self.outbound && self.next_digest <= now {
            self.next_digest = now + ANTI_ENTROPY * 7 / 10;
            due.push(Due::Digest);
        }
        due
    }

    /// When [`Slot::due`] has something to say again.
    pub fn next_due(&self) -> Option<Instant> {
        let next = self.next_ping.min(self.dies_at());
        self.up
            .then(|| self.compare_at.map_or(next, |at| next.min(at)))
    }

    /// The other end came within reach by this link: what else did is compared once both ends have noticed.
    pub fn joined(&mut self, now: Instant) {
        if self.outbound {
            self.compare_at(now + ROUTES_INTERVAL);
        }
    }

    /// What both ends hold is to be compared out of turn then, and not before.
    pub fn compare_at(&mut self, at: Instant) {
        self.compare_at = Some(at);
    }

    /// What both ends hold is to be compared out of turn, a moment from now.
    pub fn compare_soon(&mut self, now: Instant) {
        self.compare_at.get_or_insert(now + ROUTES_INTERVAL);
    }

    /// Whether so little was heard lately that another link to the same router is to be preferred.
    pub fn seems_silent(&self, now: Instant) -> bool {
        let usual = if self.direct.0 {
            LINK_BEAT * 3 / 2
        } else {
            DEAD_AFTER / 2
        };
        self.silence(now) > usual
    }

    /// Datagrams go directly to the other end, or not any more. Without them the link itself must show that it lives.
    pub fn set_direct(&mut self, direct: bool, now: Instant) {
        if self.direct.0 != direct {
            self.direct = (direct, now);
            if !direct {
                self.next_ping = now;
            }
        }
    }

    /// When the link counts as dead if nothing is heard.
    fn dies_at(&self) -> Instant {
        match self.direct {
            (true, _) => self.last_heard + LINK_DEAD_AFTER,
            // What was not asked could not be heard.
            (false, since) => self.last_heard.max(since) + DEAD_AFTER,
        }
    }

    /// Seals a message into the link; without [`Slot::room`] it is lost: the neighbour asks and does not read. All
    /// messages but records are repeated in time, and records wait in the queue of gossip.
    pub fn send(&mut self, message: &LinkMessage) {
        if self.room() > 0 {
            self.link.send(message);
        }
    }
}

impl Links {
    /// Whether there may be one more link to a peer, or dial. Half-open ones that others dialled have bounds of their own.
    pub fn has_room(&self) -> bool {
        let counted = self.slots.values();
        let counted = counted.filter(|slot| slot.outbound || slot.peer.is_some());
        counted.count() < MAX_LINKS
    }

    /// How many peers from this source have dialled links that are there.
    pub fn of_source(&self, source: Source) -> usize {
        let inbound = self.slots.values().filter(|slot| !slot.outbound);
        let peers = inbound.filter(|slot| slot.peer.is_some());
        peers
            .filter(|slot| Source::of(slot.address) == source)
            .count()
    }

    /// Adds a connection; returns one that must be closed for it: the oldest half-open one of a source that has more
    /// than [`MAX_HALF_OPEN_PER_SOURCE`], or, beyond [`MAX_HALF_OPEN`] in all, of the source that has most.
    pub fn insert(&mut self, conn: ConnId, slot: Slot) -> Option<ConnId> {
        self.slots.insert(conn, slot);
        let mut half_open = BTreeMap::<Source, Vec<(Instant, ConnId)>>::new();
        for (conn, slot) in &self.slots {
            if slot.peer.is_none() && !slot.outbound {
                let source = Source::of(slot.address);
                half_open
                    .entry(source)
                    .or_default()
                    .push((slot.opened, *conn));
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

    /// The slot of a connection.
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut Slot> {
        self.slots.get_mut(&conn)
    }

    /// The slot of a connection.
    pub fn get(&self, conn: ConnId) -> Option<&Slot> {
        self.slots.get(&conn)
    }

    /// Sends a message on a link; without room it is lost, as with [`Slot::send`].
    pub fn send(&mut self, conn: ConnId, message: &LinkMessage) {
        if let Some(slot) = self.slots.get_mut(&conn) {
            slot.send(message);
        }
    }

    /// Returns true if there is room on a link for what can wait.
    pub fn has_room_on(&self, conn: ConnId) -> bool {
        self.slots.get(&conn).is_some_and(|slot| slot.room() > 0)
    }

    /// All connections, in the order they were opened.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &Slot)> {
        self.slots.iter().map(|(conn, slot)| (*conn, slot))
    }

    /// All connections, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut Slot)> {
        self.slots.iter_mut().map(|(conn, slot)| (*conn, slot))
    }

    /// The connection that carries the link to `peer`.
    pub fn of_peer(&self, peer: &PeerId) -> Option<ConnId> {
        self.by_peer.get(peer).copied()
    }

    /// The peers with a link that is up.
    pub fn neighbours(&self) -> impl Iterator<Item = (&PeerId, &Slot)> {
        self.by_peer
            .iter()
            .filter_map(|(peer, conn)| Some((peer, self.slots.get(conn)?)))
    }

    /// `conn` is up and is now the link to `peer`.
    pub fn set_up(&mut self, conn: ConnId, peer: PeerId, now: Instant) {
        if let Some(slot) = self.slots.get_mut(&conn) {
            slot.up = true;
            slot.up_since = Some(now);
            slot.heard(now);
            self.by_peer.insert(peer, conn);
        }
    }

    /// Removes a connection; the peer too if this was the link to it.
    pub fn remove(&mut self, conn: ConnId) -> Option<(Slot, Option<PeerId>)> {
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
    pub fn remember_failed(&mut self, address: SocketAddr, error: String, now: Instant) {
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

    /// An inbound connection from this host worked: its old failures are history.
    pub fn forget_failed(&mut self, address: SocketAddr) {
        self.failed_inbound
            .retain(|f| f.address.ip() != address.ip());
    }

    /// Inbound connections that failed lately.
    pub fn failed_inbound(&self, now: Instant) -> impl Iterator<Item = &FailedInbound> {
        self.failed_inbound
            .iter()
            .filter(move |f| now.since(f.at) < FAILED_INBOUND_AGE)
    }
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
