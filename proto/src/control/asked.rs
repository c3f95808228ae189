//! What was asked for because a neighbour mentioned it: others need not send it too, and it may never come.

use std::collections::BTreeMap;

use crate::ids::Version;
use crate::limits::{ASK_AGAIN, MAX_WANT};
use crate::time::Instant;
use crate::topology::topic::RecordKey;

/// The records that were asked for and are waited for, at most [`MAX_WANT`].
#[derive(Debug, Default)]
pub(super) struct Asked {
    records: BTreeMap<RecordKey, (Version, Instant)>,
    /// None is overdue before.
    next: Option<Instant>,
}

impl Asked {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether to ask for this now. With [`MAX_WANT`] records asked for, no more are: digests tell of them again.
    pub(super) fn ask(&mut self, key: RecordKey, version: Version, now: Instant) -> bool {
        let asked = self.records.get(&key);
        if asked.is_some_and(|(asked, at)| *asked >= version && now.since(*at) < ASK_AGAIN) {
            return false;
        }
        if asked.is_none() && self.records.len() >= MAX_WANT {
            return false;
        }
        self.records.insert(key, (version, now));
        let due = now + ASK_AGAIN;
        self.next = Some(self.next.map_or(due, |at| at.min(due)));
        true
    }

    /// When [`Asked::overdue`] wants to be called.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Forgets what has been waited for long enough; what of it did not come, as `held` tells of what there is.
    pub(super) fn overdue(
        &mut self,
        held: impl Fn(&RecordKey) -> Option<Version>,
        now: Instant,
    ) -> Vec<RecordKey> {
        if self.next.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let mut missing = Vec::new();
        self.records.retain(|key, (version, at)| {
            let waits = now.since(*at) < ASK_AGAIN;
            if !waits && held(key) < Some(*version) {
                missing.push(*key);
            }
            waits
        });
        let oldest = self.records.values().map(|(_, at)| *at).min();
        self.next = oldest.map(|at| at + ASK_AGAIN);
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PeerId;
    use crate::topology::topic::Topic;

    fn key(n: u8) -> RecordKey {
        RecordKey::new(PeerId([n; 16]), Topic::LINKS)
    }

    const fn version(seq: u64) -> Version {
        Version { epoch: 1, seq }
    }

    #[test]
    fn one_neighbour_is_asked_for_a_record_and_another_for_a_newer_one() {
        let mut asked = Asked::default();
        let now = Instant::ZERO;
        assert!(asked.ask(key(1), version(5), now));
        assert!(!asked.ask(key(1), version(5), now));
        assert!(!asked.ask(key(1), version(4), now));
        assert!(asked.ask(key(1), version(6), now));
        assert!(asked.ask(key(1), version(6), now + ASK_AGAIN));
    }

    #[test]
    fn what_did_not_come_is_overdue_once() {
        let mut asked = Asked::default();
        let (now, later) = (Instant::ZERO, Instant::ZERO + ASK_AGAIN);
        for n in 1..=3 {
            asked.ask(key(n), version(5), now);
        }
        asked.ask(key(4), version(5), now + ASK_AGAIN / 2);
        let held = |k: &RecordKey| match *k {
            k if k == key(1) => Some(version(5)),
            k if k == key(2) => Some(version(4)),
            _ => None,
        };
        assert_eq!(asked.next_deadline(), Some(later));
        assert_eq!(asked.overdue(held, now + ASK_AGAIN / 2), []);
        assert_eq!(asked.overdue(held, later), [key(2), key(3)]);
        assert_eq!(asked.next_deadline(), Some(later + ASK_AGAIN / 2));
        assert_eq!(asked.overdue(held, later + ASK_AGAIN / 2), [key(4)]);
        assert_eq!((asked.next_deadline(), asked.len()), (None, 0));
    }

    #[test]
    fn so_many_are_asked_for_and_no_more() {
        let mut asked = Asked::default();
        let now = Instant::ZERO;
        let many = (0..=u16::MAX).map(|n| {
            let mut id = [9; 16];
            id[..2].copy_from_slice(&n.to_be_bytes());
            RecordKey::new(PeerId(id), Topic::LINKS)
        });
        let taken = many.filter(|key| asked.ask(*key, version(1), now)).count();
        assert_eq!((taken, asked.len()), (MAX_WANT, MAX_WANT));
        asked.overdue(|_| None, now + ASK_AGAIN);
        assert!(asked.ask(key(2), version(1), now + ASK_AGAIN), "room again");
    }
}
