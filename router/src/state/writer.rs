//! Thread that writes state files, so that a slow disk blocks no other part.
//!
//! It keeps only the newest value of each file, and writes files in the order of their first change. A failed write is
//! retried while the router runs, with a warning to the operator: a failure costs state at the next start, never
//! forwarding.

use std::io;
use std::time::Duration;

use mesh_state::changes::{PendingChanges, StateChange};
use tokio::sync::oneshot;

use super::{StateError, Store};
use crate::state::background::{BackgroundThread, Backlog};
use crate::warnings::Warnings;

/// Delay before a failed write is retried.
const RETRY: Duration = Duration::from_secs(5);
/// Subject of the warning about failed writes.
const STATE: &str = "state";

/// The thread that writes. When this is dropped, what waits is still written.
#[derive(Debug)]
pub struct StateWriter(BackgroundThread<StateBacklog>);

/// Changes that wait, and those who wait for them.
#[derive(Debug)]
struct StateBacklog {
    changes: PendingChanges,
    /// Callers that wait until everything was tried.
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    warnings: Warnings,
}

impl Backlog for StateBacklog {
    type Work = StateChange;
    type Outcome = Result<(), String>;

    fn take(&mut self) -> Result<StateChange, Option<Duration>> {
        if let Some(change) = self.changes.next_change() {
            return Ok(change);
        }
        let result = self.changes.result();
        for waiting in self.waiting.drain(..) {
            // A caller that hung up does not need it.
            let _ = waiting.send(result.clone());
        }
        if self.changes.has_failed() {
            return Err(Some(RETRY));
        }
        self.warnings.clear(STATE);
        Err(None)
    }

    fn finish(&mut self, change: StateChange, outcome: Result<(), String>) {
        if let Err(error) = outcome {
            self.changes.fail(change, error);
        }
    }

    fn retry(&mut self) {
        self.changes.retry();
    }
}

impl Store {
    /// Writes the file of a change.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old content stays.
    pub fn apply(&self, change: &StateChange) -> Result<(), StateError> {
        match change {
            StateChange::Epoch(epoch) => self.raise_epoch(*epoch),
            StateChange::Targets(targets) => self.set_targets(targets),
            StateChange::Forgotten(all) => self.set_forgotten(all),
            StateChange::Neighbours(all) => self.set_neighbours(all),
            StateChange::Pins(pins) => self.set_pins(pins),
        }
    }
}

impl StateWriter {
    /// Starts the thread; `write` stores one change ([`Store::apply`]).
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        warnings: Warnings,
        mut write: impl FnMut(&StateChange) -> Result<(), StateError> + Send + 'static,
    ) -> io::Result<Self> {
        let backlog = StateBacklog {
            changes: PendingChanges::default(),
            waiting: Vec::new(),
            warnings: warnings.clone(),
        };
        let thread = BackgroundThread::start("state", backlog, move |change| {
            write(change).map_err(|error| {
                let what = change.subject();
                warnings.set(
                    STATE,
                    format!("cannot store {what}: {error}; it is tried again, and forgotten at the next start until then"),
                );
                error.to_string()
            })
        })?;
        Ok(Self(thread))
    }

    /// Queues a change, in place of a pending one of the same kind. Returns at once.
    pub fn put(&self, change: StateChange) {
        self.0.change(|backlog| backlog.changes.put(change));
    }

    /// Sends the result to `waiting` once every change queued so far was attempted. Returns at once.
    pub fn confirm(&self, waiting: oneshot::Sender<Result<(), String>>) {
        self.0.change(|backlog| {
            // What failed before is tried for them, too.
            backlog.changes.retry();
            backlog.waiting.push(waiting);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex, mpsc};

    use super::*;

    fn targets(n: u64) -> StateChange {
        StateChange::Targets(vec![n.to_string()])
    }

    #[test]
    fn a_slow_disk_holds_up_nobody_and_gets_the_newest_of_each() {
        let (began, begun) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let written = Arc::new(Mutex::new(Vec::new()));
        let disk = written.clone();
        let writer = StateWriter::start(Warnings::default(), move |change| {
            began.send(()).unwrap();
            released.recv().unwrap();
            disk.lock().unwrap().push(change.clone());
            Ok(())
        })
        .unwrap();
        writer.put(targets(0));
        begun.recv().unwrap();
        for n in 1..=1_000 {
            writer.put(StateChange::Epoch(n));
            writer.put(targets(n));
            writer.put(StateChange::Pins(BTreeMap::from([(
                "a".to_owned(),
                [u8::from(n == 1_000); 32],
            )])));
        }
        assert!(written.lock().unwrap().is_empty());
        for _ in 0..4 {
            release.send(()).unwrap();
        }
        drop(writer);
        let pins = StateChange::Pins(BTreeMap::from([("a".to_owned(), [1; 32])]));
        let expected = [targets(0), StateChange::Epoch(1_000), targets(1_000), pins];
        assert_eq!(*written.lock().unwrap(), expected);
    }

    #[test]
    fn what_waits_at_the_end_is_on_disk_and_an_error_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        store.boot(|| ([1; 32], [2; 32])).unwrap();
        let disk = store.clone();
        let mut first = true;
        let writer = StateWriter::start(Warnings::default(), move |change| {
            if std::mem::take(&mut first) {
                let full = io::Error::from(io::ErrorKind::StorageFull);
                return Err(StateError::io("cannot write", disk.dir(), full));
            }
            disk.apply(change)
        })
        .unwrap();
        writer.put(targets(1));
        // The first may be taken before the second comes, or give way to it.
        while !writer.0.change(|backlog| backlog.changes.is_empty()) {
            std::thread::yield_now();
        }
        writer.put(targets(2));
        writer.put(StateChange::Epoch(5));
        drop(writer);
        assert_eq!(store.targets().unwrap(), ["2"]);
        assert_eq!(store.identity().unwrap().unwrap().epoch, 5);
    }

    #[test]
    fn who_waits_is_told_whether_it_is_stored_and_a_full_disk_is_told_while_it_lasts() {
        let full = Arc::new(Mutex::new(true));
        let disk = full.clone();
        let warnings = Warnings::default();
        let writer = StateWriter::start(warnings.clone(), move |_| match *disk.lock().unwrap() {
            true => {
                let full = io::Error::from(io::ErrorKind::StorageFull);
                Err(StateError::io("cannot write", "targets".as_ref(), full))
            }
            false => Ok(()),
        })
        .unwrap();
        let confirmed = || {
            let (sender, stored) = oneshot::channel();
            writer.confirm(sender);
            stored.blocking_recv().unwrap()
        };
        assert_eq!(confirmed(), Ok(()), "nothing was to be stored");
        writer.put(targets(1));
        assert!(confirmed().unwrap_err().contains("targets"));
        let told = warnings.lines().concat();
        assert!(told.contains("cannot store the targets"), "{told}");
        *full.lock().unwrap() = false;
        // The old change is retried as well.
        writer.put(StateChange::Epoch(2));
        assert_eq!(confirmed(), Ok(()));
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !warnings.lines().is_empty() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
}
