//! What neighbours were asked for because they said that they have it: others need not send it too, and it may never come.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::ids::{ConnId, Version};
use crate::limits::{ASK_AGAIN, ASK_EACH, ASK_TIMES, MAX_ASKED, MAX_ASKED_OF_ONE};
use crate::time::Instant;
use crate::wire::topic::RecordKey;

/// The records that were asked for and are waited for, at most [`MAX_ASKED`], of which one neighbour named at most
/// [`MAX_ASKED_OF_ONE`].
#[derive(Debug, Default)]
pub(super) struct Asked {
    records: BTreeMap<RecordKey, Request>,
    /// How many of them each link named first.
    named: BTreeMap<ConnId, usize>,
    /// None is overdue before.
    next: Option<Instant>,
    gave_up: bool,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    version: Version,
    named_by: ConnId,
    /// Who named it too since it was asked for.
    holder: Option<ConnId>,
    at: Instant,
    times: u32,
}

/// A record that did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overdue {
    pub(super) key: RecordKey,
    /// Another neighbour that has it, if one said so.
    pub(super) holder: Option<ConnId>,
    /// How many times it was asked for before.
    pub(super) times: u32,
}

impl Asked {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether to ask the neighbour at the other end of `conn`, which has this version, now. What there is no room for is not
    /// asked for: digests tell of it again.
    pub(super) fn ask(
        &mut self,
        conn: ConnId,
        (key, version): (RecordKey, Version),
        now: Instant,
    ) -> bool {
        if let Some(request) = self.records.get_mut(&key) {
            let is_newer = request.version < version;
            if is_newer {
                request.holder = None;
            } else if request.version == version {
                request.holder = Some(conn);
            }
            // It stays overdue when it was: whoever names ever higher versions must not keep others from being asked.
            request.version = request.version.max(version);
            return is_newer;
        }
        let named = self.named.get(&conn).copied().unwrap_or_default();
        if self.records.len() >= MAX_ASKED || named >= MAX_ASKED_OF_ONE {
            return false;
        }
        self.named.insert(conn, named + 1);
        let request = Request {
            version,
            named_by: conn,
            holder: None,
            at: now,
            times: 1,
        };
        self.records.insert(key, request);
        self.next.get_or_insert(now + self.wait());
        true
    }

    /// A record came.
    pub(super) fn came(&mut self, key: &RecordKey, version: Version) {
        let request = self.records.get(key).copied();
        if let Some(request) = request.filter(|request| request.version <= version) {
            self.records.remove(key);
            forget(&mut self.named, request.named_by);
        }
    }

    /// When [`Asked::overdue`] wants to be called.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    /// What is to be asked for elsewhere; after [`ASK_TIMES`] it is given up.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Overdue> {
        if self.next.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let (wait, mut overdue) = (self.wait(), Vec::new());
        let Self {
            records,
            named,
            gave_up,
            ..
        } = self;
        records.retain(|key, request| {
            if now.since(request.at) < wait {
                return true;
            }
            if request.times >= ASK_TIMES {
                forget(named, request.named_by);
                *gave_up = true;
                return false;
            }
            overdue.push(Overdue {
                key: *key,
                holder: request.holder.take(),
                times: request.times,
            });
            request.times += 1;
            request.at = now;
            true
        });
        let oldest = self.records.values().map(|request| request.at).min();
        // Not one by one, when many were asked for one after the other.
        self.next = oldest.map(|at| (at + wait).max(now + ASK_AGAIN / 4));
        overdue
    }

    /// Whether something was given up since this was asked last. Who named it while it was waited for does not name it again.
    pub(super) fn take_gave_up(&mut self) -> bool {
        core::mem::take(&mut self.gave_up)
    }

    /// How long a record may take, with so many on their way.
    fn wait(&self) -> Duration {
        ASK_AGAIN + ASK_EACH * u32::try_from(self.records.len()).unwrap_or(u32::MAX)
    }
}

/// One record less is waited for that this link named.
fn forget(named: &mut BTreeMap<ConnId, usize>, conn: ConnId) {
    if let Some(count) = named.get_mut(&conn) {
        *count -= 1;
        if *count == 0 {
            named.remove(&conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PeerId;
    use crate::wire::topic::Topic;

    fn key(n: u8) -> RecordKey {
        RecordKey::new(PeerId([n; 16]), Topic::LINKS)
    }

    const LINK: ConnId = ConnId(1);

    const fn version(seq: u64) -> Version {
        Version { epoch: 1, seq }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn overdue(asked: &mut Asked, millis: u64) -> Vec<(RecordKey, u32)> {
        let all = asked.overdue(at(millis));
        all.iter().map(|one| (one.key, one.times)).collect()
    }

    #[test]
    fn who_named_it_too_is_asked_next() {
        let (second, third) = (ConnId(2), ConnId(3));
        let mut asked = Asked::default();
        asked.ask(LINK, (key(1), version(5)), at(0));
        assert!(!asked.ask(second, (key(1), version(5)), at(10)));
        assert!(!asked.ask(third, (key(1), version(4)), at(20)), "older");
        let first = asked.overdue(at(201));
        assert_eq!(first[0].holder, Some(second));
        assert!(asked.ask(third, (key(1), version(6)), at(210)), "asked now");
        assert_eq!(asked.overdue(at(420))[0].holder, None);
        assert!(!asked.take_gave_up());
    }

    #[test]
    fn one_neighbour_is_asked_for_a_record_and_another_for_a_newer_one() {
        let mut asked = Asked::default();
        assert!(asked.ask(LINK, (key(1), version(5)), at(0)));
        assert!(!asked.ask(LINK, (key(1), version(5)), at(0)));
        assert!(!asked.ask(LINK, (key(1), version(4)), at(0)));
        assert!(asked.ask(LINK, (key(1), version(6)), at(0)));
        asked.came(&key(1), version(5));
        assert!(
            !asked.ask(LINK, (key(1), version(6)), at(1)),
            "the newer one did not"
        );
        asked.came(&key(1), version(6));
        assert_eq!(asked.len(), 0);
    }

    #[test]
    fn what_did_not_come_is_asked_for_elsewhere_a_few_times() {
        let mut asked = Asked::default();
        for n in 1..=3 {
            asked.ask(LINK, (key(n), version(5)), at(0));
        }
        asked.came(&key(1), version(5));
        asked.ask(LINK, (key(4), version(5)), at(150));
        assert_eq!(asked.overdue(at(150)), []);
        assert_eq!(overdue(&mut asked, 201), [(key(2), 1), (key(3), 1)]);
        assert_eq!(asked.next_deadline(), Some(at(150) + asked.wait()));
        assert_eq!(overdue(&mut asked, 351), [(key(4), 1)]);
        asked.came(&key(4), version(5));
        let mut times = Vec::new();
        while let Some(next) = asked.next_deadline() {
            times.extend(asked.overdue(next).iter().map(|one| one.times));
        }
        let mut expected: Vec<u32> = (2..ASK_TIMES).flat_map(|n| [n, n]).collect();
        expected.sort_unstable();
        assert_eq!(times, expected);
        assert_eq!(asked.len(), 0, "then it is given up");
        assert!(asked.take_gave_up() && !asked.take_gave_up());
    }

    #[test]
    fn ever_newer_versions_do_not_keep_others_from_being_asked() {
        let mut asked = Asked::default();
        for n in 0..20 {
            assert!(asked.ask(LINK, (key(1), version(n)), at(10 * n)));
        }
        assert_eq!(overdue(&mut asked, 210), [(key(1), 1)]);
    }

    #[test]
    fn so_many_are_asked_for_and_no_more_and_have_longer_to_come() {
        let mut asked = Asked::default();
        let mut ask = |link: u64| {
            let many = (0..=u32::try_from(MAX_ASKED).unwrap()).map(|n| {
                let mut id = [u8::try_from(link).unwrap(); 16];
                id[..4].copy_from_slice(&n.to_be_bytes());
                RecordKey::new(PeerId(id), Topic::LINKS)
            });
            many.filter(|key| asked.ask(ConnId(link), (*key, version(1)), at(0)))
                .count()
        };
        let links = MAX_ASKED / MAX_ASKED_OF_ONE;
        assert!((0..links as u64).all(|link| ask(link) == MAX_ASKED_OF_ONE));
        assert_eq!(ask(9), 0);
        assert_eq!(asked.len(), MAX_ASKED);
        assert_eq!(asked.overdue(at(1_000)), []);
        assert_eq!(asked.overdue(at(2_000)).len(), MAX_ASKED);
        while let Some(next) = asked.next_deadline() {
            asked.overdue(next);
        }
        assert!(
            asked.ask(ConnId(0), (key(1), version(1)), at(60_000)),
            "room again"
        );
        asked.came(&key(1), version(1));
        assert_eq!(asked.named, BTreeMap::new());
    }
}
