//! Requests in flight: records that neighbours advertised and were asked for, each from one neighbour at a time, with retries.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::ids::{ConnId, Version};
use crate::limits::{
    MAX_REQUESTS, MAX_REQUESTS_PER_LINK, REQUEST_ATTEMPTS, REQUEST_TIMEOUT, REQUEST_TIMEOUT_EACH,
};
use crate::time::Instant;
use crate::wire::topic::RecordKey;

/// All requests in flight: at most [`MAX_REQUESTS`], of which at most [`MAX_REQUESTS_PER_LINK`] for records that one neighbour
/// advertised first.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    records: BTreeMap<RecordKey, InFlight>,
    /// Number of requests by the link that advertised the record first.
    by_link: BTreeMap<ConnId, usize>,
    /// Time before which no request is overdue.
    next: Option<Instant>,
    exhausted: bool,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    version: Version,
    advertised_by: ConnId,
    /// Another link that advertised it since it was requested.
    alternative: Option<ConnId>,
    at: Instant,
    times: u32,
}

/// A record that did not arrive in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overdue {
    pub(crate) key: RecordKey,
    /// Another neighbour that advertised it, if any.
    pub(crate) alternative: Option<ConnId>,
    /// Number of earlier requests.
    pub(crate) times: u32,
}

impl Requests {
    /// Returns the number of requests in flight.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns true if the neighbour at the other end of `conn`, which has this version, is to be asked now. Records beyond
    /// the bounds are not requested: a later comparison of digests finds them.
    pub(crate) fn request(
        &mut self,
        conn: ConnId,
        (key, version): (RecordKey, Version),
        now: Instant,
    ) -> bool {
        if let Some(request) = self.records.get_mut(&key) {
            let is_newer = request.version < version;
            if is_newer {
                request.alternative = None;
            } else if request.version == version {
                request.alternative = Some(conn);
            }
            // Its deadline stays: a neighbour that advertises ever higher versions must not keep others from being asked.
            request.version = request.version.max(version);
            return is_newer;
        }
        let advertised = self.by_link.get(&conn).copied().unwrap_or_default();
        if self.records.len() >= MAX_REQUESTS || advertised >= MAX_REQUESTS_PER_LINK {
            return false;
        }
        self.by_link.insert(conn, advertised + 1);
        let request = InFlight {
            version,
            advertised_by: conn,
            alternative: None,
            at: now,
            times: 1,
        };
        self.records.insert(key, request);
        self.next.get_or_insert(now + self.wait());
        true
    }

    /// Records that a record arrived.
    pub(crate) fn fulfilled(&mut self, key: &RecordKey, version: Version) {
        let request = self.records.get(key).copied();
        if let Some(request) = request.filter(|request| request.version <= version) {
            self.records.remove(key);
            forget(&mut self.by_link, request.advertised_by);
        }
    }

    /// Returns the time of the next call of [`Requests::overdue`].
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Returns the requests to repeat elsewhere; after [`REQUEST_ATTEMPTS`] a request is given up.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<Overdue> {
        if self.next.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let (wait, mut overdue) = (self.wait(), Vec::new());
        let Self {
            records,
            by_link,
            exhausted,
            ..
        } = self;
        records.retain(|key, request| {
            if now.since(request.at) < wait {
                return true;
            }
            if request.times >= REQUEST_ATTEMPTS {
                forget(by_link, request.advertised_by);
                *exhausted = true;
                return false;
            }
            overdue.push(Overdue {
                key: *key,
                alternative: request.alternative.take(),
                times: request.times,
            });
            request.times += 1;
            request.at = now;
            true
        });
        let oldest = self.records.values().map(|request| request.at).min();
        // In batches, when many were requested one after the other.
        self.next = oldest.map(|at| (at + wait).max(now + REQUEST_TIMEOUT / 4));
        overdue
    }

    /// Returns true if a request was given up since the last call. Neighbours that advertised the record in between do not
    /// advertise it again.
    pub(crate) fn take_exhausted(&mut self) -> bool {
        core::mem::take(&mut self.exhausted)
    }

    /// Returns the time that a record may take, which grows with the number of requests.
    fn wait(&self) -> Duration {
        REQUEST_TIMEOUT
            + REQUEST_TIMEOUT_EACH * u32::try_from(self.records.len()).unwrap_or(u32::MAX)
    }
}

/// Counts one request less for a record that this link advertised.
fn forget(by_link: &mut BTreeMap<ConnId, usize>, conn: ConnId) {
    if let Some(count) = by_link.get_mut(&conn) {
        *count -= 1;
        if *count == 0 {
            by_link.remove(&conn);
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

    fn overdue(requests: &mut Requests, millis: u64) -> Vec<(RecordKey, u32)> {
        let all = requests.overdue(at(millis));
        all.iter().map(|one| (one.key, one.times)).collect()
    }

    #[test]
    fn who_advertised_it_too_is_asked_next() {
        let (second, third) = (ConnId(2), ConnId(3));
        let mut requests = Requests::default();
        requests.request(LINK, (key(1), version(5)), at(0));
        assert!(!requests.request(second, (key(1), version(5)), at(10)));
        assert!(
            !requests.request(third, (key(1), version(4)), at(20)),
            "older"
        );
        let first = requests.overdue(at(201));
        assert_eq!(first[0].alternative, Some(second));
        assert!(
            requests.request(third, (key(1), version(6)), at(210)),
            "asked now"
        );
        assert_eq!(requests.overdue(at(420))[0].alternative, None);
        assert!(!requests.take_exhausted());
    }

    #[test]
    fn one_neighbour_is_asked_for_a_record_and_another_for_a_newer_one() {
        let mut requests = Requests::default();
        assert!(requests.request(LINK, (key(1), version(5)), at(0)));
        assert!(!requests.request(LINK, (key(1), version(5)), at(0)));
        assert!(!requests.request(LINK, (key(1), version(4)), at(0)));
        assert!(requests.request(LINK, (key(1), version(6)), at(0)));
        requests.fulfilled(&key(1), version(5));
        assert!(
            !requests.request(LINK, (key(1), version(6)), at(1)),
            "the newer one did not"
        );
        requests.fulfilled(&key(1), version(6));
        assert_eq!(requests.len(), 0);
    }

    #[test]
    fn what_did_not_come_is_asked_for_elsewhere_a_few_times() {
        let mut requests = Requests::default();
        for n in 1..=3 {
            requests.request(LINK, (key(n), version(5)), at(0));
        }
        requests.fulfilled(&key(1), version(5));
        requests.request(LINK, (key(4), version(5)), at(150));
        assert_eq!(requests.overdue(at(150)), []);
        assert_eq!(overdue(&mut requests, 201), [(key(2), 1), (key(3), 1)]);
        assert_eq!(requests.next_deadline(), Some(at(150) + requests.wait()));
        assert_eq!(overdue(&mut requests, 351), [(key(4), 1)]);
        requests.fulfilled(&key(4), version(5));
        let mut times = Vec::new();
        while let Some(next) = requests.next_deadline() {
            times.extend(requests.overdue(next).iter().map(|one| one.times));
        }
        let mut expected: Vec<u32> = (2..REQUEST_ATTEMPTS).flat_map(|n| [n, n]).collect();
        expected.sort_unstable();
        assert_eq!(times, expected);
        assert_eq!(requests.len(), 0, "then it is given up");
        assert!(requests.take_exhausted() && !requests.take_exhausted());
    }

    #[test]
    fn ever_newer_versions_do_not_keep_others_from_being_asked() {
        let mut requests = Requests::default();
        for n in 0..20 {
            assert!(requests.request(LINK, (key(1), version(n)), at(10 * n)));
        }
        assert_eq!(overdue(&mut requests, 210), [(key(1), 1)]);
    }

    #[test]
    fn so_many_are_asked_for_and_no_more_and_have_longer_to_come() {
        let mut requests = Requests::default();
        let mut ask = |link: u64| {
            let many = (0..=u32::try_from(MAX_REQUESTS).unwrap()).map(|n| {
                let mut id = [u8::try_from(link).unwrap(); 16];
                id[..4].copy_from_slice(&n.to_be_bytes());
                RecordKey::new(PeerId(id), Topic::LINKS)
            });
            many.filter(|key| requests.request(ConnId(link), (*key, version(1)), at(0)))
                .count()
        };
        let links = MAX_REQUESTS / MAX_REQUESTS_PER_LINK;
        assert!((0..links as u64).all(|link| ask(link) == MAX_REQUESTS_PER_LINK));
        assert_eq!(ask(9), 0);
        assert_eq!(requests.len(), MAX_REQUESTS);
        assert_eq!(requests.overdue(at(1_000)), []);
        assert_eq!(requests.overdue(at(2_000)).len(), MAX_REQUESTS);
        while let Some(next) = requests.next_deadline() {
            requests.overdue(next);
        }
        assert!(
            requests.request(ConnId(0), (key(1), version(1)), at(60_000)),
            "room again"
        );
        requests.fulfilled(&key(1), version(1));
        assert_eq!(requests.by_link, BTreeMap::new());
    }
}
