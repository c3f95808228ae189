//! Passing on what is newly said: along a tree, and beside it in few words.
//!
//! A record goes to those neighbours that are our children in the broadcast tree of its origin, so that in a mesh at rest
//! each router gets it once. Each router computes the trees from what it holds, so they differ for a moment after a
//! change, and a segment that was lost holds up a whole branch: therefore the neighbours that follow on the ring, and
//! have not shown by then that they have it, are told its version a little later, and ask for what they lack. Each router
//! follows somebody on the ring, so nobody is left out. A comparison of digests finds whatever is missing even then.
//!
//! A neighbour of a moment ago is in no tree yet, and a router of which no link is known has none. When a mesh starts, all
//! are so, and each would get everything from all of its neighbours: so only those that follow on the ring are sent it then,
//! and the others are told its version. Of a link on which much waits only the next one is sent it, so that copies take no
//! room from what nobody has yet.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{ConnId, PeerId, Version};
use crate::limits::{BUSY_LINK, MENTION_TO};
use crate::time::Instant;
use crate::topology::record::SignedRecord;
use crate::wire::topic::{RecordKey, Topic};

use super::Control;
use super::asked::Overdue;
use super::untold::Telling;

impl Control {
    /// Marks a record as news for every neighbour but the one it came from, to be told then.
    pub(super) fn spread(&mut self, key: RecordKey, from: Option<ConnId>, at: Instant) {
        for (conn, slot) in self.links.iter_mut() {
            if slot.up && Some(conn) != from {
                slot.untold.news(key, at);
            }
        }
    }

    /// The neighbour showed that it has our record of this, so it need not get it.
    pub(super) fn has_it(&mut self, from: Option<ConnId>, key: RecordKey) {
        if let Some(slot) = from.and_then(|conn| self.links.get_mut(conn)) {
            slot.untold.has(&key);
        }
    }

    /// Sends what has waited long enough, link by link, as far as each has room.
    pub(super) fn send_gossip(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let due = self.links.iter().filter(|(_, s)| is_due(s.next_gossip()));
        let due: Vec<ConnId> = due.map(|(conn, _)| conn).collect();
        if due.is_empty() {
            return;
        }
        let ring = self.ring();
        for conn in due {
            let slot = self.links.get(conn);
            let Some((peer, slot)) = slot.and_then(|slot| Some((slot.peer?, slot))) else {
                continue;
            };
            let is_busy = slot.untold.len() > BUSY_LINK;
            let telling = self.telling(peer, &ring, is_busy);
            if let Some(slot) = self.links.get_mut(conn) {
                slot.untold.sort(telling, now);
                slot.tell(&self.lsdb, now);
            }
            self.drain_link(conn);
        }
    }

    /// What becomes of news for `peer`.
    fn telling(
        &self,
        peer: PeerId,
        ring: &[PeerId],
        is_busy: bool,
    ) -> impl Fn(&RecordKey) -> Telling + use<> {
        let (routes, me) = (Arc::clone(&self.routes), self.me);
        let is_joined = routes.neighbours().binary_search(&peer).is_ok();
        let copies = if is_busy { 1 } else { MENTION_TO };
        let is_next = |count| ring.iter().take(count).any(|next| *next == peer);
        let (listens, gets_copies) = (is_next(MENTION_TO), is_next(copies));
        move |key| match is_joined && routes.is_reachable(&key.origin) {
            true if routes.flood(&key.origin).any(|child| child == peer) => Telling::Send,
            true if listens => Telling::Mention,
            true => Telling::Nothing,
            // There is no tree, and there may be no ring: nobody is left to others.
            false if gets_copies || !is_joined && key.origin == me => Telling::Send,
            false => Telling::Mention,
        }
    }

    /// The neighbours in order of the ring of all, from the next one on: the first few are told what they may lack.
    fn ring(&self) -> Vec<PeerId> {
        let all: Vec<PeerId> = self.links.neighbours().map(|(peer, _)| *peer).collect();
        let at = all.partition_point(|peer| *peer <= self.me);
        all[at..].iter().chain(&all[..at]).copied().collect()
    }

    /// Others came within reach: compares with the next neighbour on the ring once none has come for longer than routes
    /// take to be computed again. What they said while they were not was passed on without a tree, to the links there
    /// were; comparisons left it out.
    pub(super) fn compare_when_quiet(&mut self, routes_interval: Duration, now: Instant) {
        let next = self
            .ring()
            .first()
            .and_then(|peer| self.links.of_peer(peer));
        if let Some(slot) = next.and_then(|conn| self.links.get_mut(conn)) {
            slot.compare_at(now + routes_interval * 5 / 4);
        }
    }

    /// A neighbour mentions what it has: what is missing here is asked for.
    pub(super) fn take_have(&mut self, conn: ConnId, held: &[(RecordKey, Version)], now: Instant) {
        let mut missing = BTreeMap::new();
        for (key, version) in held {
            if key.origin == self.me {
                continue;
            }
            let ours = self.lsdb.get(*key).map(SignedRecord::version);
            let epoch = self.epoch_of(&key.origin);
            let is_void = epoch.is_some_and(|epoch| version.epoch < epoch);
            if ours == Some(*version) {
                self.has_it(Some(conn), *key);
                continue;
            }
            if ours > Some(*version) || is_void {
                self.correct(Some(conn), *key, now);
                continue;
            }
            if epoch.is_none() {
                let identity = RecordKey::new(key.origin, Topic::IDENTITY);
                missing.entry(identity).or_default();
            }
            missing.insert(*key, *version);
        }
        self.ask(conn, missing, now);
    }

    /// Asks a neighbour for what it says it has, as far as no other was asked for it.
    pub(super) fn ask(
        &mut self,
        conn: ConnId,
        held: impl IntoIterator<Item = (RecordKey, Version)>,
        now: Instant,
    ) {
        let Some(slot) = self.links.get_mut(conn) else {
            return;
        };
        let held = held.into_iter();
        let wanted = held.filter(|record| self.asked.ask(conn, *record, now));
        slot.untold.ask(wanted.map(|(key, _)| key));
    }

    /// What was asked for and did not come is asked for elsewhere: the link may have ended meanwhile. What was given up is
    /// found by a comparison, which need not wait for its turn.
    pub(super) fn tick_asked(&mut self, now: Instant) {
        let overdue = self.asked.overdue(now);
        let gave_up = self.asked.take_gave_up();
        if overdue.is_empty() && !gave_up {
            return;
        }
        let others = self.ring().into_iter().take(MENTION_TO);
        let others: Vec<ConnId> = others.filter_map(|p| self.links.of_peer(&p)).collect();
        if gave_up && let Some(slot) = others.first().and_then(|conn| self.links.get_mut(*conn)) {
            slot.compare_soon(now);
        }
        for Overdue { key, holder, times } in overdue {
            let holder = holder.filter(|conn| self.links.get(*conn).is_some_and(|slot| slot.up));
            let next = (times as usize).checked_rem(others.len());
            let next = next.and_then(|next| others.get(next)).copied();
            if let Some(slot) = holder.or(next).and_then(|conn| self.links.get_mut(conn)) {
                slot.untold.ask([key]);
            }
        }
    }
}
