//! Thread that writes state files, so that a slow disk blocks no other part.
//!
//! It keeps only the newest value of each file, and writes files in the order of their first change. A failed write is
//! retried while the router runs, with a warning to the operator: a failure costs state at the next start, never
//! forwarding.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem::discriminant;
use std::time::Duration;

use mesh_proto::control::{Forgotten, StoredNeighbour};
use tokio::sync::oneshot;

use super::{StateError, Store};
use crate::state::background::{BackgroundThread, Backlog};
use crate::warnings::Warnings;

/// Delay before a failed write is retried.
const RETRY: Duration = Duration::from_secs(5);
/// Subject of the warning about failed writes.
const STATE: &str = "state";

/// New content of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Boot epoch, raised during a run.
    Epoch(u64),
    /// Targets as typed.
    Targets(Vec<String>),
    /// Targets that must not be dialled.
    Forgotten(Vec<Forgotten>),
    /// Neighbours to reconnect to.
    Neighbours(Vec<StoredNeighbour>),
    /// Signing key that each peer name is bound to.
    Pins(BTreeMap<String, [u8; 32]>),
}

impl Change {
    /// Writes the file.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old content stays.
    pub fn store(&self, store: &Store) -> Result<(), StateError> {
        match self {
            Self::Epoch(epoch) => store.raise_epoch(*epoch),
            Self::Targets(targets) => store.set_targets(targets),
            Self::Forgotten(all) => store.set_forgotten(all),
            Self::Neighbours(all) => store.set_neighbours(all),
            Self::Pins(pins) => store.set_pins(pins),
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Self::Epoch(_) => "the epoch",
            Self::Targets(_) => "the targets",
            Self::Forgotten(_) => "what was forgotten",
            Self::Neighbours(_) => "the neighbours",
            Self::Pins(_) => "a peer's key",
        }
    }
}

/// The thread that writes. When this is dropped, what waits is still written.
#[derive(Debug)]
pub struct StateWriter(BackgroundThread<StateBacklog>);

/// At most one change of each kind.
#[derive(Debug)]
struct StateBacklog {
    changes: VecDeque<Change>,
    /// Changes that could not be written.
    failed: Vec<Change>,
    /// The reason for the last of them.
    error: Option<String>,
    /// Callers that wait until everything was tried.
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    warnings: Warnings,
}

impl StateBacklog {
    fn new(warnings: Warnings) -> Self {
        Self {
            changes: VecDeque::new(),
            failed: Vec::new(),
            error: None,
            waiting: Vec::new(),
            warnings,
        }
    }

    /// Takes a newer value in place of one of the same kind.
    fn put(&mut self, change: Change) {
        let same = |c: &Change| discriminant(c) == discriminant(&change);
        self.failed.retain(|c| !same(c));
        match self.changes.iter_mut().find(|c| same(c)) {
            Some(waiting) => *waiting = change,
            None => self.changes.push_back(change),
        }
    }

    /// Everything was tried once: tells those who wait.
    fn tell(&mut self) {
        if self.failed.is_empty() {
            self.error = None;
        }
        let result = self.error.clone().map_or(Ok(()), Err);
        for waiting in self.waiting.drain(..) {
            // A caller that hung up does not need it.
            let _ = waiting.send(result.clone());
        }
    }
}

impl Backlog for StateBacklog {
    type Work = Change;
    type Outcome = Result<(), String>;

    fn take(&mut self) -> Result<Change, Option<Duration>> {
        if let Some(change) = self.changes.pop_front() {
            return Ok(change);
        }
        self.tell();
        if self.failed.is_empty() {
            self.warnings.clear(STATE);
            return Err(None);
        }
        Err(Some(RETRY))
    }

    /// Keeps a change that could not be written, unless there is a newer value.
    fn finish(&mut self, change: Change, outcome: Result<(), String>) {
        if let Err(error) = outcome {
            let same = |c: &Change| discriminant(c) == discriminant(&change);
            if !self.changes.iter().any(same) {
                self.failed.push(change);
            }
            self.error = Some(error);
        }
    }

    fn retry(&mut self) {
        let failed = std::mem::take(&mut self.failed);
        self.changes.extend(failed);
    }
}

impl StateWriter {
    /// Starts the thread; `write` stores one change ([`Change::store`]).
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        warnings: Warnings,
        mut write: impl FnMut(&Change) -> Result<(), StateError> + Send + 'static,
    ) -> io::Result<Self> {
        let backlog = StateBacklog::new(warnings.clone());
        let thread = BackgroundThread::start("state", backlog, move |change| {
            write(change).map_err(|error| {
                let what = change.what();
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
    pub fn put(&self, change: Change) {
        self.0.change(|backlog| backlog.put(change));
    }

    /// Sends the result to `waiting` once every change queued so far was attempted. Returns at once.
    pub fn confirm(&self, waiting: oneshot::Sender<Result<(), String>>) {
        self.0.change(|backlog| {
            // What failed before is tried for them, too.
            backlog.retry();
            backlog.waiting.push(waiting);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use super::*;

    fn targets(n: u64) -> Change {
        Change::Targets(vec![n.to_string()])
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
            writer.put(Change::Epoch(n));
            writer.put(targets(n));
            writer.put(Change::Pins(BTreeMap::from([(
                "a".to_owned(),
                [u8::from(n == 1_000); 32],
            )])));
        }
        assert!(written.lock().unwrap().is_empty());
        for _ in 0..4 {
            release.send(()).unwrap();
        }
        drop(writer);
        let pins = Change::Pins(BTreeMap::from([("a".to_owned(), [1; 32])]));
        let expected = [targets(0), Change::Epoch(1_000), targets(1_000), pins];
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
            change.store(&disk)
        })
        .unwrap();
        writer.put(targets(1));
        // The first may be taken before the second comes, or give way to it.
        while !writer.0.change(|backlog| backlog.changes.is_empty()) {
            std::thread::yield_now();
        }
        writer.put(targets(2));
        writer.put(Change::Epoch(5));
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
        writer.put(Change::Epoch(2));
        assert_eq!(confirmed(), Ok(()));
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !warnings.lines().is_empty() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
}
