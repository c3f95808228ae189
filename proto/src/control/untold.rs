//! What one neighbour is yet to be told.
//!
//! Sets, never a queue of history: a record is looked up when it is sent, so a slow link always carries the newest state
//! and its memory is bounded by what there is.

use std::collections::BTreeSet;

use crate::ids::Version;
use crate::limits::{MAX_GOSSIP_BATCH, MAX_RECORDS_PER_MESSAGE, MAX_WANT, MENTION_AFTER};
use crate::time::Instant;
use crate::topology::lsdb::Lsdb;
use crate::wire::message::LinkMessage;
use crate::wire::topic::RecordKey;

use super::links::Slot;

/// What becomes of news for one neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// It is sent the record.
    Send,
    /// It is told the version a little later, unless it shows before that it has it.
    Mention,
    /// Somebody else tells it.
    Nothing,
}

/// What a neighbour is yet to be told.
#[derive(Debug, Default)]
pub struct Untold {
    /// What is newly said; whether it is sent or mentioned is decided when it is due.
    news: BTreeSet<RecordKey>,
    /// What is sent: the neighbour is our child in the tree, or asked for it.
    send: BTreeSet<RecordKey>,
    /// What the neighbour is asked for.
    ask: BTreeSet<RecordKey>,
    /// What is mentioned when it is due, unless the neighbour shows before that it has it.
    mention: BTreeSet<RecordKey>,
    send_at: Option<Instant>,
    mention_at: Option<Instant>,
}

impl Untold {
    /// Records that wait.
    pub fn len(&self) -> usize {
        self.news.len() + self.send.len() + self.mention.len() + self.ask.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// This is newly said, and is told in some way when it is due: what others say waits for more of that.
    pub fn news(&mut self, key: RecordKey, at: Instant) {
        self.news.insert(key);
        self.wake(at);
    }

    /// The neighbour lacks this.
    pub fn send(&mut self, key: RecordKey, now: Instant) {
        self.send_all([key], now);
    }

    /// The neighbour lacks these.
    pub fn send_all(&mut self, keys: impl IntoIterator<Item = RecordKey>, now: Instant) {
        self.send.extend(keys);
        self.wake(now);
    }

    fn mention(&mut self, key: RecordKey, now: Instant) {
        self.mention.insert(key);
        self.mention_at.get_or_insert(now + MENTION_AFTER);
    }

    /// The neighbour has these, and they are missing here.
    pub fn ask(&mut self, keys: impl IntoIterator<Item = RecordKey>) {
        self.ask.extend(keys);
    }

    fn wake(&mut self, at: Instant) {
        self.send_at = Some(self.send_at.map_or(at, |old| old.min(at)));
    }

    /// When something is due.
    pub fn due(&self) -> Option<Instant> {
        let waits = !(self.news.is_empty() && self.send.is_empty());
        let send = self.send_at.filter(|_| waits);
        let mention = self.mention_at.filter(|_| !self.mention.is_empty());
        let ask = (!self.ask.is_empty()).then_some(Instant::ZERO);
        [send, mention, ask].into_iter().flatten().min()
    }

    /// The neighbour has this.
    pub fn has(&mut self, key: &RecordKey) {
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

    /// Decides what becomes of the news that are due.
    pub(super) fn sort(&mut self, telling: impl Fn(&RecordKey) -> Telling, now: Instant) {
        if self.send_at.is_none_or(|at| now < at) {
            return;
        }
        for key in core::mem::take(&mut self.news) {
            match telling(&key) {
                Telling::Send => {
                    self.mention.remove(&key);
                    self.send.insert(key);
                }
                Telling::Mention => self.mention(key, now),
                Telling::Nothing => {}
            }
        }
        if self.send.is_empty() {
            // The next news wait for others again.
            self.send_at = None;
        }
    }

    /// Takes off what is to be mentioned now, until a message is full.
    fn take_mentions(&mut self, lsdb: &Lsdb, now: Instant) -> Vec<(RecordKey, Version)> {
        let mut held = Vec::new();
        if self.mention_at.is_none_or(|at| now < at) {
            return held;
        }
        while held.len() < MAX_WANT
            && let Some(key) = self.mention.pop_first()
        {
            held.extend(lsdb.get(key).map(|record| (key, record.version())));
        }
        if self.mention.is_empty() {
            self.mention_at = None;
        }
        held
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

impl Slot {
    /// The neighbour lacks these: it is told of them, as it may get them elsewhere. What is said in its own name it has to
    /// see, for a copy of it may have said that.
    pub(super) fn lacks(&mut self, keys: impl IntoIterator<Item = RecordKey>, now: Instant) {
        for key in keys {
            if self.peer == Some(key.origin) {
                self.untold.send(key, now);
            } else {
                self.untold.mention.insert(key);
                self.untold.mention_at = Some(now);
            }
        }
    }

    /// The neighbour has an older record of this, and the present one in a while, if it is not its own.
    pub(super) fn is_behind(&mut self, key: RecordKey, now: Instant) {
        if self.peer == Some(key.origin) {
            self.untold.send(key, now);
        } else {
            self.untold.mention(key, now);
        }
    }

    /// Tells the neighbour what is due, as far as there is room for it.
    pub(super) fn tell(&mut self, lsdb: &Lsdb, now: Instant) {
        while self.room() > 0 && !self.untold.send.is_empty() {
            let records = self.untold.take_batch(lsdb);
            if !records.is_empty() {
                self.send(&LinkMessage::Records(records));
            }
        }
        while self.room() > 0 && !self.untold.ask.is_empty() {
            let ask = core::iter::from_fn(|| self.untold.ask.pop_first());
            let ask = LinkMessage::Want(ask.take(MAX_WANT).collect());
            self.send(&ask);
        }
        while self.room() > 0 {
            let held = self.untold.take_mentions(lsdb, now);
            if held.is_empty() {
                break;
            }
            self.send(&LinkMessage::Have(held));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PeerId;
    use crate::topology::testing;
    use crate::wire::topic::Topic;

    fn key(n: u8) -> RecordKey {
        RecordKey::new(PeerId([n; 16]), Topic::LINKS)
    }

    fn news(keys: &[u8], at: Instant) -> Untold {
        let mut untold = Untold::default();
        keys.iter().for_each(|n| untold.news(key(*n), at));
        untold
    }

    #[test]
    fn news_are_sent_or_mentioned_later_or_left_to_others() {
        let now = Instant::ZERO;
        let mut untold = news(&[1, 2, 3, 4], now);
        let telling = |k: &RecordKey| match *k {
            k if k == key(1) => Telling::Send,
            k if k == key(4) => Telling::Nothing,
            _ => Telling::Mention,
        };
        untold.sort(telling, now);
        assert_eq!(untold.send, BTreeSet::from([key(1)]));
        assert_eq!(untold.mention, BTreeSet::from([key(2), key(3)]));
        assert_eq!(untold.len(), 3);
        assert_eq!(untold.due(), Some(now), "what is sent is due at once");
        untold.send.clear();
        assert_eq!(untold.due(), Some(now + MENTION_AFTER));
    }

    #[test]
    fn what_the_neighbour_has_is_not_mentioned() {
        let (now, later) = (Instant::ZERO, Instant::ZERO + MENTION_AFTER);
        let records = [1, 2, 3].map(|n| testing::record(&testing::identity(n), 1, 1, "host"));
        let (mut lsdb, mut untold) = (Lsdb::default(), Untold::default());
        for record in &records {
            lsdb.insert(record.clone(), now);
            untold.mention(record.key(), now);
        }
        untold.has(&records[1].key());
        assert_eq!(untold.take_mentions(&lsdb, now), [], "not yet");
        let mentioned = untold.take_mentions(&lsdb, later);
        let mut expected = [&records[0], &records[2]].map(|r| (r.key(), r.version()));
        expected.sort_unstable();
        assert_eq!(mentioned, expected);
        assert_eq!(untold.take_mentions(&lsdb, later), []);
        assert_eq!((untold.due(), untold.len()), (None, 0));
    }

    #[test]
    fn news_that_are_sent_are_not_mentioned() {
        let now = Instant::ZERO;
        let mut untold = news(&[1], now);
        untold.mention(key(1), now);
        untold.sort(|_| Telling::Send, now);
        assert_eq!((untold.send.len(), untold.mention.len()), (1, 0));
    }

    #[test]
    fn news_wait_for_their_time_and_what_is_gone_is_forgotten() {
        let now = Instant::ZERO;
        let later = now + MENTION_AFTER;
        let mut untold = news(&[1, 2], later);
        untold.sort(|_| Telling::Send, now);
        assert!(untold.send.is_empty());
        untold.forget(|k| *k == key(1));
        untold.sort(|_| Telling::Send, later);
        assert_eq!(untold.send, BTreeSet::from([key(2)]));
    }
}
