//! Timeouts of requests to an engine; [`PendingQueries`] decides how long each may take.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mesh_engine::deadlines::{PendingQueries, QueryId, timed_out};
use mesh_engine::error::EngineError;
use mesh_proto::api::EngineWaiting;

use crate::clock::Clock;

/// Pending requests.
#[derive(Debug)]
pub(super) struct Patience {
    pending: Mutex<PendingQueries>,
    clock: Clock,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            pending: Mutex::default(),
            clock: Clock::start(),
        }
    }
}

impl Patience {
    /// Waits for the answer to a request, up to the timeout.
    pub(super) async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let (id, limit) = self.lock().begin(self.clock.now());
        let query = PendingQuery { patience: self, id };
        let done = tokio::time::timeout(limit, answer).await;
        self.lock().set_silent(done.is_err());
        drop(query);
        done.unwrap_or_else(|_| Err(timed_out(limit)))
    }

    /// Returns the oldest pending request, if any.
    pub(super) fn waiting(&self) -> Option<EngineWaiting> {
        self.lock().oldest(self.clock.now())
    }

    fn lock(&self) -> MutexGuard<'_, PendingQueries> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pending request. Dropping it ends it, even if the caller was cancelled.
struct PendingQuery<'a> {
    patience: &'a Patience,
    id: QueryId,
}

impl Drop for PendingQuery<'_> {
    fn drop(&mut self) {
        self.patience.lock().end(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use mesh_engine::deadlines::{QUERY_TIMEOUT, SILENT_TIMEOUT};

    use super::*;

    #[tokio::test]
    async fn a_silent_engine_is_given_up_sooner_the_second_time() {
        let patience = Patience::default();
        let silent = || std::future::pending::<Result<(), EngineError>>();
        patience.lock().set_silent(true);
        let began = Instant::now();
        let (first, seen) = tokio::join!(patience.within(silent()), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            patience.waiting()
        });
        assert!(matches!(first, Err(EngineError::Silent(_))), "{first:?}");
        assert!(began.elapsed() < QUERY_TIMEOUT);
        assert!(seen.is_some_and(|w| w.since > 0.0 && w.limit == SILENT_TIMEOUT.as_secs_f64()));
        assert_eq!(patience.waiting(), None);
        patience.within(async { Ok(()) }).await.unwrap();
        let (id, limit) = patience.lock().begin(patience.clock.now());
        patience.lock().end(id);
        assert_eq!(limit, QUERY_TIMEOUT, "it is not silent any more");
        drop(tokio::time::timeout(Duration::ZERO, patience.within(silent())).await);
        assert_eq!(
            patience.waiting(),
            None,
            "a caller that hung up waits no more"
        );
    }
}
