//! Timeouts of requests to an engine.
//!
//! A dockerd that hangs accepts connections and never answers. Callers get an error after a bounded time. While the
//! engine is known to be silent, the timeout is shorter, so that queued requests do not add up their waits.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mesh_proto::api::EngineWaiting;

use super::EngineError;

/// Timeout of a query that needs only dockerd itself.
const QUESTION: Duration = Duration::from_secs(15);
/// Timeout while another query is unanswered.
const WHILE_SILENT: Duration = Duration::from_secs(5);

/// Pending requests.
#[derive(Debug, Default)]
pub(super) struct Patience(Mutex<PendingRequests>);

#[derive(Debug, Default)]
struct PendingRequests {
    next: u64,
    /// Start and deadline of each request.
    asked: BTreeMap<u64, (Instant, Instant)>,
    is_silent: bool,
}

impl Patience {
    /// Waits for the answer to a request, up to the timeout.
    pub(super) async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let question = self.ask();
        let limit = question.limit;
        let done = tokio::time::timeout(limit, answer).await;
        self.lock().is_silent = done.is_err();
        drop(question);
        done.unwrap_or_else(|_| {
            let seconds = limit.as_secs();
            Err(EngineError::Silent(format!(
                "Docker does not answer (dockerd runs, and said nothing for {seconds} s); see its log, or restart it"
            )))
        })
    }

    /// Returns the oldest pending request, if any.
    pub(super) fn waiting(&self) -> Option<EngineWaiting> {
        let pending = self.lock();
        let (since, until) = pending.asked.values().min()?;
        Some(EngineWaiting {
            engine: "Docker".into(),
            since: since.elapsed().as_secs_f64(),
            limit: (*until - *since).as_secs_f64(),
        })
    }

    fn ask(&self) -> Question<'_> {
        let mut pending = self.lock();
        let limit = match pending.is_silent {
            true => WHILE_SILENT,
            false => QUESTION,
        };
        let id = pending.next;
        pending.next += 1;
        let now = Instant::now();
        pending.asked.insert(id, (now, now + limit));
        Question {
            patience: self,
            id,
            limit,
        }
    }

    fn lock(&self) -> MutexGuard<'_, PendingRequests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pending request. Dropping it ends it, even if the caller was cancelled.
struct Question<'a> {
    patience: &'a Patience,
    id: u64,
    limit: Duration,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.patience.lock().asked.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_engine_is_given_up_sooner_the_second_time() {
        let patience = Patience::default();
        let silent = || std::future::pending::<Result<(), EngineError>>();
        patience.lock().is_silent = true;
        let began = Instant::now();
        let (first, seen) = tokio::join!(patience.within(silent()), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            patience.waiting()
        });
        assert!(matches!(first, Err(EngineError::Silent(_))), "{first:?}");
        assert!(began.elapsed() < QUESTION);
        assert!(seen.is_some_and(|w| w.since > 0.0 && w.limit == WHILE_SILENT.as_secs_f64()));
        assert_eq!(patience.waiting(), None);
        patience.within(async { Ok(()) }).await.unwrap();
        assert!(!patience.lock().is_silent);
        drop(tokio::time::timeout(Duration::ZERO, patience.within(silent())).await);
        assert_eq!(
            patience.waiting(),
            None,
            "a caller that hung up waits no more"
        );
    }
}
