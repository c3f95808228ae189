//! Requests that wait for an answer of an engine.
//!
//! A dockerd that hangs accepts connections and never answers. Callers get an error after a bounded time. While the
//! engine is known to be silent, the timeout is shorter, so that queued requests do not add up their waits.

use core::time::Duration;
use std::collections::BTreeMap;

use mesh_proto::api::EngineWaiting;
use mesh_proto::time::Instant;

use crate::error::EngineError;

/// Timeout of a query that needs only dockerd itself.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(15);
/// Timeout while another query is unanswered.
pub const SILENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Number of a pending request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueryId(u64);

/// Requests that are not answered yet.
#[derive(Debug, Default)]
pub struct PendingQueries {
    next: u64,
    /// Start and deadline of each request.
    asked: BTreeMap<QueryId, (Instant, Instant)>,
    is_silent: bool,
}

impl PendingQueries {
    /// Notes a new request. Returns its number, and the time that it may take.
    pub fn begin(&mut self, now: Instant) -> (QueryId, Duration) {
        let limit = match self.is_silent {
            true => SILENT_TIMEOUT,
            false => QUERY_TIMEOUT,
        };
        let id = QueryId(self.next);
        self.next += 1;
        self.asked.insert(id, (now, now + limit));
        (id, limit)
    }

    /// Removes a request that was answered or given up.
    pub fn end(&mut self, id: QueryId) {
        self.asked.remove(&id);
    }

    /// Notes whether the engine answered the last request in time.
    pub fn set_silent(&mut self, is_silent: bool) {
        self.is_silent = is_silent;
    }

    /// Returns the oldest pending request, if any.
    pub fn oldest(&self, now: Instant) -> Option<EngineWaiting> {
        let (since, until) = self.asked.values().min()?;
        Some(EngineWaiting {
            engine: "Docker".into(),
            since: now.since(*since).as_secs_f64(),
            limit: until.since(*since).as_secs_f64(),
        })
    }
}

/// Returns the error of a request that was given up after `limit`.
pub fn timed_out(limit: Duration) -> EngineError {
    let seconds = limit.as_secs();
    EngineError::Silent(format!(
        "Docker does not answer (dockerd runs, and said nothing for {seconds} s); see its log, or restart it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_engine_is_given_up_sooner_the_second_time() {
        let mut pending = PendingQueries::default();
        let start = Instant::ZERO + Duration::from_secs(1);
        let (first, limit) = pending.begin(start);
        assert_eq!(limit, QUERY_TIMEOUT);
        pending.set_silent(true);
        let later = start + Duration::from_secs(2);
        let (second, limit) = pending.begin(later);
        assert_eq!(limit, SILENT_TIMEOUT);
        let oldest = pending.oldest(later).unwrap();
        assert_eq!((oldest.since, oldest.limit), (2.0, 15.0));
        pending.end(first);
        let oldest = pending.oldest(later).unwrap();
        assert_eq!((oldest.since, oldest.limit), (0.0, 5.0));
        pending.end(second);
        assert_eq!(pending.oldest(later), None);
        pending.set_silent(false);
        assert_eq!(pending.begin(later).1, QUERY_TIMEOUT);
        assert!(timed_out(SILENT_TIMEOUT).to_string().contains("for 5 s"));
    }
}
