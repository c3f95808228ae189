//! Links: TCP connections from opening to end, who is let in, and the neighbours whose routes outlast their link.
//!
//! Inputs are connections and bytes of the shell; events of a connection come out of [`Links::poll_event`], effects out of
//! [`Links::poll_effect`].
//!
//! | file | subject |
//! |---|---|
//! | `table` | all links; at most one that is up per peer |
//! | `slot` | one link: liveness, room, and whether both ends want it |
//! | `opening` | opening, admission and end of a link |
//! | `admission` | whether an authenticated peer is let in |
//! | `pins` | names bound to keys |
//! | `strangers` | how many that are not known may dial, and how long they wait after a wrong secret |
//! | `graceful_restart` | routes that stay while the link is dialled again |
//! | `effect` | effects |

pub(crate) mod admission;
mod effect;
mod graceful_restart;
mod opening;
mod pins;
mod slot;
mod strangers;
mod table;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use crate::entropy::Entropy;
use crate::ids::{ConnId, PeerId, PeerName};
use crate::limits::PENALTY_ALERTS;
use crate::link::{Link, LinkEvent};
use crate::rate::TokenBucket;
use crate::time::Instant;
use crate::wire::message::LinkMessage;

pub use effect::Ending;
pub(crate) use effect::{LinkEffect, LinkEnd, Retry};
use graceful_restart::GracefulRestart;
pub(crate) use opening::Opening;
use pins::Pins;
pub(crate) use slot::{Due, LinkSlot};
use strangers::{Familiar, Strangers};
use table::{FailedInbound, LinkTable};

/// The links of one router.
pub(crate) struct Links {
    /// Our own name and identity.
    me: (PeerName, PeerId),
    table: LinkTable,
    graceful_restart: GracefulRestart,
    strangers: Strangers,
    familiar: Familiar,
    penalty_alerts: TokenBucket,
    pins: Pins,
    next_conn: u64,
    effects: VecDeque<LinkEffect>,
}

impl Links {
    /// Creates the links of a router that has just started; where `strict`, names are bound to keys.
    pub(crate) fn new(
        me: (PeerName, PeerId),
        pins: BTreeMap<PeerName, [u8; 32]>,
        strict: bool,
    ) -> Self {
        Self {
            me,
            table: LinkTable::default(),
            graceful_restart: GracefulRestart::default(),
            strangers: Strangers::default(),
            familiar: Familiar::default(),
            penalty_alerts: TokenBucket::new(PENALTY_ALERTS, PENALTY_ALERTS),
            pins: Pins::new(pins, strict),
            next_conn: 1,
            effects: VecDeque::new(),
        }
    }

    /// Returns the next effect, in order.
    pub(crate) fn poll_effect(&mut self) -> Option<LinkEffect> {
        self.effects.pop_front()
    }

    /// Returns the handle of a new connection.
    pub(crate) fn new_conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId(self.next_conn)
    }

    // One link

    /// Returns a connection.
    pub(crate) fn get(&self, conn: ConnId) -> Option<&LinkSlot> {
        self.table.get(conn)
    }

    /// Returns the peer at the other end of a connection, once authenticated.
    pub(crate) fn peer_of(&self, conn: ConnId) -> Option<PeerId> {
        self.get(conn)?.peer()
    }

    /// Takes bytes that arrived. Returns false if there is no such connection.
    pub(crate) fn receive(
        &mut self,
        conn: ConnId,
        bytes: &[u8],
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> bool {
        let Some(slot) = self.table.get_mut(conn) else {
            return false;
        };
        let before = slot.link.records();
        slot.link.handle_bytes(bytes, now, entropy);
        // A damaged length makes the link wait for bytes that mean nothing: those are no sign of life.
        if slot.link.records() != before {
            slot.heard(now);
        }
        true
    }

    /// Takes note of bytes that the shell wrote.
    pub(crate) fn written(&mut self, conn: ConnId, bytes: usize) {
        if let Some(slot) = self.table.get_mut(conn) {
            slot.written(bytes);
        }
    }

    /// Returns the next event of a connection.
    pub(crate) fn poll_event(&mut self, conn: ConnId) -> Option<LinkEvent> {
        self.table.get_mut(conn)?.link.poll_event()
    }

    /// Hands over what a link has to say. Returns true if there was something.
    pub(crate) fn drain(&mut self, conn: ConnId) -> bool {
        let Some(slot) = self.table.get_mut(conn) else {
            return false;
        };
        let mut any = false;
        while let Some(bytes) = slot.link.poll_transmit() {
            slot.queued(bytes.len());
            self.effects.push_back(LinkEffect::Send(conn, bytes));
            any = true;
        }
        any
    }

    /// Sends a message on a link; without room it is lost, as with [`LinkSlot::send`].
    pub(crate) fn send(&mut self, conn: ConnId, message: &LinkMessage) {
        if let Some(slot) = self.table.get_mut(conn) {
            slot.send(message);
        }
    }

    /// Returns true if there is room on a link for messages that can wait.
    pub(crate) fn has_room_on(&self, conn: ConnId) -> bool {
        self.get(conn).is_some_and(|slot| slot.room() > 0)
    }

    /// Takes a pong.
    pub(crate) fn ponged(&mut self, conn: ConnId, nonce: u64, now: Instant) {
        if let Some(slot) = self.table.get_mut(conn) {
            slot.ponged(nonce, now);
        }
    }

    /// Sets the time of a comparison out of turn.
    pub(crate) fn compare_at(&mut self, conn: ConnId, at: Instant) {
        if let Some(slot) = self.table.get_mut(conn) {
            slot.compare_at(at);
        }
    }

    /// Compares out of turn a moment from now.
    pub(crate) fn compare_soon(&mut self, conn: ConnId, now: Instant) {
        if let Some(slot) = self.table.get_mut(conn) {
            slot.compare_soon(now);
        }
    }

    /// Takes note that a peer came within reach by its link.
    pub(crate) fn joined(&mut self, peer: &PeerId, now: Instant) {
        if let Some(slot) = self.peer_mut(peer) {
            slot.joined(now);
        }
    }

    /// Sets if datagrams go directly to a peer.
    pub(crate) fn set_direct(&mut self, peer: &PeerId, direct: bool, now: Instant) {
        if let Some(slot) = self.peer_mut(peer) {
            slot.set_direct(direct, now);
        }
    }

    fn peer_mut(&mut self, peer: &PeerId) -> Option<&mut LinkSlot> {
        let conn = self.table.of_peer(peer)?;
        self.table.get_mut(conn)
    }

    /// Sets if a link is wanted here, and tells the other end. Returns for a link that has not been wanted for long if the
    /// other end has not wanted it for as long, either.
    pub(crate) fn set_wanted(&mut self, conn: ConnId, wanted: bool, now: Instant) -> Option<bool> {
        let slot = self.table.get_mut(conn)?;
        slot.set_wanted(wanted, now);
        let spare = slot.is_unwanted(now).then(|| slot.is_unwanted_there(now));
        self.drain(conn);
        spare
    }

    /// Sets if the other end wants a link.
    pub(crate) fn set_peer_wants(&mut self, conn: ConnId, wanted: bool, now: Instant) {
        if let Some(slot) = self.table.get_mut(conn) {
            slot.set_peer_wants(wanted, now);
        }
    }

    /// Returns what is due on each link, after the timers of handshakes.
    pub(crate) fn tick(
        &mut self,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Vec<(ConnId, Vec<Due>)> {
        let mut work = Vec::new();
        for (conn, slot) in self.table.iter_mut() {
            slot.link.handle_timeout(now);
            work.push((conn, slot.due(now, entropy)));
        }
        work
    }

    // All links

    /// Returns all connections, in the order they were opened.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &LinkSlot)> {
        self.table.iter()
    }

    /// Returns the connection that carries the link to `peer`.
    pub(crate) fn of_peer(&self, peer: &PeerId) -> Option<ConnId> {
        self.table.of_peer(peer)
    }

    /// Returns the link to `peer`.
    pub(crate) fn to(&self, peer: &PeerId) -> Option<&LinkSlot> {
        self.get(self.of_peer(peer)?)
    }

    /// Returns the peers with a link that is up.
    pub(crate) fn neighbours(&self) -> impl Iterator<Item = (&PeerId, &LinkSlot)> {
        self.table.neighbours()
    }

    /// Returns true if there may be one more link to a peer, or dial.
    pub(crate) fn has_room(&self) -> bool {
        self.table.has_room()
    }

    /// Returns the inbound connections that failed lately.
    pub(crate) fn failed_inbound(&self, now: Instant) -> impl Iterator<Item = &FailedInbound> {
        self.table.failed_inbound(now)
    }

    /// Returns the addresses of the other ends. Strangers that only opened a connection have no say.
    pub(crate) fn ends(&self) -> impl Iterator<Item = SocketAddr> {
        let slots = self.iter().map(|(_, slot)| slot);
        let linked = slots.filter(|slot| slot.is_outbound() || slot.is_up());
        linked.map(LinkSlot::address)
    }

    /// Returns true if something was heard by a link to this address within this time.
    pub(crate) fn hears(&self, ip: IpAddr, within: Duration, now: Instant) -> bool {
        self.iter().any(|(_, slot)| {
            slot.is_up() && slot.address().ip() == ip && slot.silence(now) < within
        })
    }

    // Neighbours without a link

    /// Keeps the route to the peer of a link that is about to be dropped, for no reason that the peer gave; `rtt` is the
    /// round-trip time of its direct path. Returns the peer if it has one. A link that no end wants is not dialled again:
    /// its peer ended it, and a reset overtook the reason.
    pub(crate) fn keep(
        &mut self,
        conn: ConnId,
        rtt: impl FnOnce(&PeerId) -> Option<Duration>,
        now: Instant,
    ) -> Option<PeerId> {
        let slot = self.table.get(conn).filter(|slot| slot.is_up())?;
        let peer = slot.peer().filter(|_| !slot.is_unwanted_by_both())?;
        if self.table.of_peer(&peer) != Some(conn) {
            return None;
        }
        self.graceful_restart.keep(peer, slot, rtt(&peer)?, now);
        Some(peer)
    }

    /// Releases the route to a peer whose direct path is gone. Returns true if it was kept.
    pub(crate) fn release(&mut self, peer: &PeerId) -> bool {
        self.graceful_restart.release(peer)
    }

    /// Returns the peers whose kept routes are over; `asked` tells when the newest answered probe was sent.
    pub(crate) fn expired_routes(
        &mut self,
        asked: impl Fn(&PeerId) -> Option<Instant>,
        now: Instant,
    ) -> Vec<PeerId> {
        self.graceful_restart.expired(asked, now)
    }

    /// Returns true if data goes straight to `peer`: there is a link, or was a moment ago.
    pub(crate) fn is_beside(&self, peer: &PeerId) -> bool {
        self.of_peer(peer).is_some() || self.graceful_restart.has(peer)
    }

    /// Returns the peers with a link, then those with a kept route.
    pub(crate) fn beside(&self) -> impl Iterator<Item = PeerId> {
        let linked = self.neighbours().map(|(peer, _)| *peer);
        linked.chain(self.graceful_restart.iter().map(|(peer, _)| *peer))
    }

    /// Returns the address of each of these peers, and if it was dialled.
    pub(crate) fn adjacencies(&self) -> BTreeMap<PeerId, (SocketAddr, bool)> {
        let kept = self.graceful_restart.iter();
        let kept = kept.map(|(peer, link)| (*peer, (link.address, link.outbound)));
        let linked = self.neighbours();
        let linked = linked.map(|(peer, slot)| (*peer, (slot.address(), slot.is_outbound())));
        kept.chain(linked).collect()
    }

    // Deadlines and the report

    /// Returns the time of the next action on a link.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.iter().filter_map(|(_, slot)| slot.next_due()).min()
    }

    /// Returns the time at which the next handshake is too late.
    pub(crate) fn next_handshake(&self) -> Option<Instant> {
        let links = self.iter().map(|(_, slot)| &slot.link);
        links.filter_map(Link::next_deadline).min()
    }

    /// Returns the time of the next [`Links::expired_routes`].
    pub(crate) fn next_graceful_restart(&self) -> Option<Instant> {
        self.graceful_restart.next_deadline()
    }

    /// Returns the numbers of connections refused without a handshake: too many, and after wrong secrets.
    pub(crate) fn refused(&self) -> (u64, u64) {
        self.strangers.refused()
    }

    /// Returns the sizes of the tables: sources, former neighbours, pins.
    pub(crate) fn tables(&self) -> (usize, usize, usize) {
        let pins = self.pins.keys().len();
        (self.strangers.len(), self.familiar.len(), pins)
    }
}

#[cfg(test)]
mod tests;
