//! Passing on what is newly said: along a tree, and beside it in few words.
//!
//! A record goes to those neighbours that are our children in the broadcast tree of its origin, so that in a mesh at rest
//! each router gets it once. Each router computes the trees from what it holds, so they differ for a moment after a
//! change, and a segment that was lost holds up a whole branch: therefore the neighbours that follow on the ring, and
//! have not shown by then that they have it, are told its version a little later, and ask for what they lack. Each router
//! follows somebody on the ring, so nobody is left out. A comparison of digests finds whatever is missing even then.
//!
//! A neighbour of a moment ago is in no tree yet. When a mesh starts all are, and each would get everything from all of
//! its neighbours: so only those that follow on the ring are sent everything then, and the others are told versions.
//!
//! Each link keeps sets of what the neighbour is yet to be told; a record is looked up when it is sent, so a slow link
//! always carries the newest state and its memory is bounded by what there is.

use std::collections::BTreeSet;

use crate::ids::{ConnId, PeerId, Version};
use crate::limits::{
    MAX_GOSSIP_BATCH, MAX_RECORDS_PER_MESSAGE, MAX_WANT, MENTION_AFTER, MENTION_TO,
};
use crate::time::Instant;
use crate::topology::lsdb::Lsdb;
use crate::topology::record::SignedRecord;
use crate::topology::routes::Routes;
use crate::topology::topic::{RecordKey, Topic};
use crate::wire::message::LinkMessage;

use super::Control;

/// What a neighbour is yet to be told: sets, never a queue of history.
#[derive(Debug, Default)]
pub struct Untold {
    /// What is newly said; whether it is sent or mentioned is decided when it is due.
    news: BTreeSet<RecordKey>,
    /// What is sent: the neighbour is our child in the tree, or asked for it.
    send: BTreeSet<RecordKey>,
    /// What is mentioned when it is due, unless the neighbour shows before that it has it.
    mention: BTreeSet<RecordKey>,
    send_at: Option<Instant>,
    mention_at: Option<Instant>,
}

impl Untold {
    /// Records that wait.
    pub fn len(&self) -> usize {
        self.news.len() + self.send.len() + self.mention.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The neighbour lacks this.
    pub fn send(&mut self, key: RecordKey) {
        self.send.insert(key);
    }

    /// The neighbour lacks these.
    pub fn send_all(&mut self, keys: impl IntoIterator<Item = RecordKey>) {
        self.send.extend(keys);
    }

    /// What waits to be sent, waits no longer than until `at`: what others said waits for more of that.
    pub fn wake(&mut self, at: Instant) {
        self.send_at = Some(self.send_at.map_or(at, |old| old.min(at)));
    }

    /// When something is due.
    pub fn due(&self) -> Option<Instant> {
        let waits = !(self.news.is_empty() && self.send.is_empty());
        let send = self.send_at.filter(|_| waits);
        let mention = self.mention_at.filter(|_| !self.mention.is_empty());
        send.into_iter().chain(mention).min()
    }

    /// The neighbour has this.
    fn has(&mut self, key: &RecordKey) {
        self.news.remove(key);
        self.send.remove(key);
        self.mention.remove(key);
    }

    /// These are not known here any more.
    pub fn forget(&mut self, is_gone: impl Fn(&RecordKey) -> bool) {
        for set in [&mut self.news, &mut self.send, &mut self.mention] {
            set.retain(|key| !is_gone(key));
        }
    }

    /// News that are due are sent if `sends`, else mentioned if the neighbour `listens`.
    fn sort(&mut self, sends: impl Fn(&RecordKey) -> bool, listens: bool, now: Instant) {
        if self.send_at.is_none_or(|at| now < at) {
            return;
        }
        for key in core::mem::take(&mut self.news) {
            if sends(&key) {
                self.mention.remove(&key);
                self.send.insert(key);
            } else if listens {
                self.mention.insert(key);
                self.mention_at.get_or_insert(now + MENTION_AFTER);
            }
        }
        if self.send.is_empty() {
            // The next news wait for others again.
            self.send_at = None;
        }
    }

    /// What is to be mentioned now.
    fn take_mentions(&mut self, now: Instant) -> BTreeSet<RecordKey> {
        if self.mention_at.is_none_or(|at| now < at) {
            return BTreeSet::new();
        }
        self.mention_at = None;
        core::mem::take(&mut self.mention)
    }

    /// Takes off records until a message is full.
    fn take_batch(&mut self, lsdb: &Lsdb) -> Vec<Vec<u8>> {
        let (mut records, mut size) = (Vec::new(), 0);
        while size < MAX_GOSSIP_BATCH && records.len() < MAX_RECORDS_PER_MESSAGE {
            let Some(key) = self.send.pop_first() else {
                self.send_at = None;
                break;
            };
            if let Some(record) = lsdb.get(key) {
                size += record.bytes().len();
                records.push(record.bytes().to_vec());
            }
        }
        records
    }
}

impl Control {
    /// Marks a record as news for every neighbour but the one it came from, to be told then.
    pub(super) fn spread(&mut self, key: RecordKey, from: Option<ConnId>, at: Instant) {
        for (conn, slot) in self.links.iter_mut() {
            if slot.up && Some(conn) != from {
                slot.untold.news.insert(key);
                slot.untold.wake(at);
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
        let listeners = self.listeners();
        for conn in due {
            let (Some(slot), lsdb, routes) = (self.links.get_mut(conn), &self.lsdb, &self.routes)
            else {
                continue;
            };
            let Some(peer) = slot.peer else { continue };
            let listens = listeners.contains(&peer);
            let is_joined = routes.neighbours().binary_search(&peer).is_ok();
            let sends = |key: &RecordKey| match is_joined {
                true => is_child(routes, &key.origin, &peer),
                // It is in no tree, but may have other neighbours that tell it.
                false => listens || key.origin == self.me,
            };
            slot.untold.sort(sends, listens || !is_joined, now);
            while slot.room() > 0 && !slot.untold.send.is_empty() {
                let records = slot.untold.take_batch(lsdb);
                if !records.is_empty() {
                    slot.send(&LinkMessage::Records(records));
                }
            }
            let mentions = slot.untold.take_mentions(now).into_iter();
            let held = mentions.filter_map(|key| Some((key, lsdb.get(key)?.version())));
            for held in held.collect::<Vec<_>>().chunks(MAX_WANT) {
                slot.send(&LinkMessage::Have(held.to_vec()));
            }
            self.drain_link(conn);
        }
    }

    /// The neighbours that are told what they may lack: the next ones on the ring of all neighbours.
    fn listeners(&self) -> BTreeSet<PeerId> {
        let all: Vec<PeerId> = self.links.neighbours().map(|(peer, _)| *peer).collect();
        let at = all.partition_point(|peer| *peer <= self.me);
        let round = all[at..].iter().chain(&all[..at]);
        round.take(MENTION_TO).copied().collect()
    }

    /// A neighbour mentions what it has: what is missing here is asked for.
    pub(super) fn take_have(&mut self, conn: ConnId, held: &[(RecordKey, Version)], now: Instant) {
        let mut missing = BTreeSet::new();
        for (key, version) in held {
            if key.origin == self.me {
                continue;
            }
            let ours = self.lsdb.get(*key).map(SignedRecord::version);
            if ours == Some(*version) {
                self.has_it(Some(conn), *key);
            }
            let epoch = self.epoch_of(&key.origin);
            let is_void = epoch.is_some_and(|epoch| version.epoch < epoch);
            if ours >= Some(*version) || is_void || !self.asked.ask(*key, *version, now) {
                continue;
            }
            if epoch.is_none() {
                missing.insert(RecordKey::new(key.origin, Topic::IDENTITY));
            }
            missing.insert(*key);
        }
        self.ask(conn, &missing.into_iter().collect::<Vec<_>>());
    }

    /// What was asked for and did not come is asked for elsewhere, once: the link may have ended meanwhile.
    pub(super) fn tick_asked(&mut self, now: Instant) {
        let lsdb = &self.lsdb;
        let held = |key: &RecordKey| lsdb.get(*key).map(SignedRecord::version);
        let overdue = self.asked.overdue(held, now);
        if overdue.is_empty() {
            return;
        }
        let others = self.listeners().into_iter();
        let others: Vec<ConnId> = others.filter_map(|p| self.links.of_peer(&p)).collect();
        for conn in others {
            self.ask(conn, &overdue);
            self.drain_link(conn);
        }
    }
}

/// Whether the neighbour `peer` is our child in the tree of `origin`, or there is no tree.
fn is_child(routes: &Routes, origin: &PeerId, peer: &PeerId) -> bool {
    !routes.is_reachable(origin) || routes.flood(origin).any(|child| child == *peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> RecordKey {
        RecordKey::new(PeerId([n; 16]), Topic::LINKS)
    }

    fn news(keys: &[u8], at: Instant) -> Untold {
        let mut untold = Untold::default();
        untold.news.extend(keys.iter().map(|n| key(*n)));
        untold.wake(at);
        untold
    }

    #[test]
    fn children_are_sent_news_and_listeners_hear_of_them_later() {
        let now = Instant::ZERO;
        let mut untold = news(&[1, 2, 3], now);
        untold.sort(|k| *k == key(1), true, now);
        assert_eq!(untold.send, BTreeSet::from([key(1)]));
        assert_eq!(untold.due(), Some(now), "what is sent is due at once");
        untold.send.clear();
        assert_eq!(untold.due(), Some(now + MENTION_AFTER));
        untold.has(&key(2));
        assert!(untold.take_mentions(now).is_empty(), "not yet");
        let mentioned = untold.take_mentions(now + MENTION_AFTER);
        assert_eq!(mentioned, BTreeSet::from([key(3)]));
        assert_eq!((untold.due(), untold.len()), (None, 0));
    }

    #[test]
    fn whoever_does_not_listen_is_told_nothing_beside_the_tree() {
        let now = Instant::ZERO;
        let mut untold = news(&[1, 2], now);
        untold.sort(|k| *k == key(1), false, now);
        assert_eq!(untold.len(), 1);
        assert!(untold.mention.is_empty());
    }

    #[test]
    fn news_wait_for_their_time_and_what_is_gone_is_forgotten() {
        let now = Instant::ZERO;
        let later = now + MENTION_AFTER;
        let mut untold = news(&[1, 2], later);
        untold.sort(|_| true, true, now);
        assert!(untold.send.is_empty());
        untold.forget(|k| *k == key(1));
        untold.sort(|_| true, true, later);
        assert_eq!(untold.send, BTreeSet::from([key(2)]));
    }
}
