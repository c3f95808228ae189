//! Propagation of updates: along a tree, and beside it in few words (eager and lazy push as in Plumtree).
//!
//! A record goes to those neighbours that are our children in the broadcast tree of its origin, so that in a mesh at rest
//! each router gets it once. Each router computes the trees from its own database, so they differ for a moment after a
//! change, and a lost segment holds up a whole branch. Therefore the version is advertised a little later to the neighbours
//! that follow on the ring and have not shown by then that they have it; they request what they lack. Each router follows
//! another one on the ring, so none is left out. A comparison of digests finds what is missing even then.
//!
//! A neighbour of a moment ago is in no tree yet, and a router of which no link is known has none. When a mesh starts, all
//! routers are in this state, and each would get everything from all of its neighbours. So only the neighbours that follow
//! on the ring are sent a record then, and the version is advertised to the others. Of a link with a long queue only the next
//! one is sent it, so that copies take no room from records that no router has yet.

use core::time::Duration;
use std::sync::Arc;

use crate::ids::{ConnId, PeerId, Version};
use crate::limits::{BUSY_LINK, LAZY_PUSH_FANOUT};
use crate::time::Instant;
use crate::wire::message::LinkMessage;
use crate::wire::topic::RecordKey;

use super::queue::Push;
use super::requests::Overdue;
use super::{Gossip, GossipEffect};

impl Gossip {
    /// Queues an update for every neighbour but the one it came from, to be pushed at this time.
    pub(super) fn propagate(&mut self, key: RecordKey, from: Option<ConnId>, at: Instant) {
        for (conn, link) in &mut self.links {
            if Some(*conn) != from {
                link.queue.update(key, at);
            }
        }
    }

    /// Returns the time at which a link with room has something to send.
    pub(crate) fn next_push(&self, has_room: impl Fn(ConnId) -> bool) -> Option<Instant> {
        let links = self.links.iter();
        let due = links.filter_map(|(conn, link)| Some((*conn, link.queue.due()?)));
        due.filter(|(conn, _)| has_room(*conn))
            .map(|(_, at)| at)
            .min()
    }

    /// Returns the links with room on which something is due, after deciding how each update is pushed there. Their messages
    /// are those of [`Gossip::next_message`].
    pub(crate) fn due(&mut self, has_room: impl Fn(ConnId) -> bool, now: Instant) -> Vec<ConnId> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let links = self.links.iter();
        let due = links.filter(|(conn, link)| is_due(link.queue.due()) && has_room(**conn));
        let due: Vec<ConnId> = due.map(|(conn, _)| *conn).collect();
        if due.is_empty() {
            return due;
        }
        let ring = self.ring();
        for conn in &due {
            let Some(link) = self.links.get(conn) else {
                continue;
            };
            let push = self.push(link.peer, &ring, link.queue.len() > BUSY_LINK);
            if let Some(link) = self.links.get_mut(conn) {
                link.queue.decide_push(push, now);
            }
        }
        due
    }

    /// Takes off the next message for a link, if one is due.
    pub(crate) fn next_message(&mut self, conn: ConnId, now: Instant) -> Option<LinkMessage> {
        let link = self.links.get_mut(&conn)?;
        link.queue.next_message(&self.lsdb, now)
    }

    /// Returns how updates are pushed to `peer`.
    fn push(
        &self,
        peer: PeerId,
        ring: &[PeerId],
        is_busy: bool,
    ) -> impl Fn(&RecordKey) -> Push + use<> {
        let (routes, me) = (Arc::clone(&self.routes), self.me);
        let is_joined = routes.neighbours().binary_search(&peer).is_ok();
        let copies = if is_busy { 1 } else { LAZY_PUSH_FANOUT };
        let is_next = |count| ring.iter().take(count).any(|next| *next == peer);
        let (listens, gets_copies) = (is_next(LAZY_PUSH_FANOUT), is_next(copies));
        move |key| match is_joined && routes.is_reachable(&key.origin) {
            true if routes.flood(&key.origin).any(|child| child == peer) => Push::Eager,
            true if listens => Push::Lazy,
            true => Push::Skip,
            // There is no tree, and there may be no ring: no neighbour is left to others.
            false if gets_copies || !is_joined && key.origin == me => Push::Eager,
            false => Push::Lazy,
        }
    }

    /// Returns the neighbours in the order of the ring of all routers, from the next one on.
    fn ring(&self) -> Vec<PeerId> {
        let all: Vec<PeerId> = self.by_peer.keys().copied().collect();
        let at = all.partition_point(|peer| *peer <= self.me);
        all[at..].iter().chain(&all[..at]).copied().collect()
    }

    /// Compares with the next neighbour on the ring after other routers came within reach, once none has come for longer than
    /// routes take to be computed again. Their earlier updates were pushed without a tree, to the links of that time, and
    /// comparisons left them out.
    pub(crate) fn compare_when_quiet(&mut self, routes_interval: Duration, now: Instant) {
        let ring = self.ring();
        let next = ring.first().and_then(|peer| self.by_peer.get(peer));
        if let Some(conn) = next {
            let at = now + routes_interval * 5 / 4;
            self.effects.push_back(GossipEffect::CompareAt(*conn, at));
        }
    }

    /// Requests records from a neighbour that has them, as far as no other was asked for them.
    pub(super) fn request(
        &mut self,
        conn: ConnId,
        records: impl IntoIterator<Item = (RecordKey, Version)>,
        now: Instant,
    ) {
        let Some(link) = self.links.get_mut(&conn) else {
            return;
        };
        let records = records.into_iter();
        let due = records.filter(|record| self.requests.request(conn, *record, now));
        link.queue.request(due.map(|(key, _)| key));
    }

    /// Repeats overdue requests elsewhere: the link may have ended. A comparison, which need not wait for its turn, finds
    /// the records of requests that were given up.
    pub(crate) fn tick_requests(&mut self, now: Instant) {
        let overdue = self.requests.overdue(now);
        let exhausted = self.requests.take_exhausted();
        if overdue.is_empty() && !exhausted {
            return;
        }
        let others = self.ring().into_iter().take(LAZY_PUSH_FANOUT);
        let others: Vec<ConnId> = others
            .filter_map(|p| self.by_peer.get(&p).copied())
            .collect();
        if exhausted && let Some(conn) = others.first() {
            self.effects.push_back(GossipEffect::CompareSoon(*conn));
        }
        for Overdue {
            key,
            alternative,
            times,
        } in overdue
        {
            let alternative = alternative.filter(|conn| self.links.contains_key(conn));
            let next = (times as usize).checked_rem(others.len());
            let next = next.and_then(|next| others.get(next)).copied();
            if let Some(link) = alternative
                .or(next)
                .and_then(|conn| self.links.get_mut(&conn))
            {
                link.queue.request([key]);
            }
        }
    }
}
