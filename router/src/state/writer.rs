//! Thread that writes state files, so that a slow disk blocks no other part.
//!
//! It keeps only the newest value of each file, and writes files in the order of their first change. A failed write is
//! retried while the router runs, with a warning to the operator: a failure costs state at the next start, never
//! forwarding.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem::discriminant;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mesh_proto::control::{Forgotten, Remembered};
use tokio::sync::oneshot;

use super::{StateError, Store};
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
    Neighbours(Vec<Remembered>),
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

/// Handle of the thread. On drop, pending changes are still written.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Pending changes; at most one of each kind.
#[derive(Debug, Default)]
struct Queue {
    changes: VecDeque<Change>,
    /// Changes that could not be written.
    failed: Vec<Change>,
    /// Last error.
    error: Option<String>,
    /// Callers that wait until every change was attempted.
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    closed: bool,
}

impl Queue {
    /// Adds a change, in place of an older one of the same kind.
    fn put(&mut self, change: Change) {
        let same = |c: &Change| discriminant(c) == discriminant(&change);
        self.failed.retain(|c| !same(c));
        match self.changes.iter_mut().find(|c| same(c)) {
            Some(waiting) => *waiting = change,
            None => self.changes.push_back(change),
        }
    }

    /// Records a failed change, unless a newer value is pending.
    fn fail(&mut self, change: Change, error: String) {
        let same = |c: &Change| discriminant(c) == discriminant(&change);
        if !self.changes.iter().any(same) {
            self.failed.push(change);
        }
        self.error = Some(error);
    }

    /// Reports the result to waiting callers, after every change was attempted.
    fn tell(&mut self) {
        if self.failed.is_empty() {
            self.error = None;
        }
        let result = self.error.clone().map_or(Ok(()), Err);
        for waiting in self.waiting.drain(..) {
            // A failed send means that the caller is gone.
            let _ = waiting.send(result.clone());
        }
    }
}

impl Writer {
    /// Starts the thread. `write` stores one change ([`Change::store`]).
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        warnings: Warnings,
        mut write: impl FnMut(&Change) -> Result<(), StateError> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let queue = shared.clone();
        let thread = std::thread::Builder::new()
            .name("state".into())
            .spawn(move || {
                while let Some(change) = queue.next(&warnings) {
                    if let Err(error) = write(&change) {
                        let what = change.what();
                        warnings.set(
                            STATE,
                            format!("cannot store {what}: {error}; it is tried again, and forgotten at the next start until then"),
                        );
                        queue.lock().fail(change, error.to_string());
                    }
                }
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Queues a change, in place of a pending one of the same kind. Returns at once.
    pub fn put(&self, change: Change) {
        self.shared.lock().put(change);
        self.shared.changed.notify_one();
    }

    /// Sends the result to `waiting` once every change queued so far was attempted. Returns at once.
    pub fn confirm(&self, waiting: oneshot::Sender<Result<(), String>>) {
        let mut queue = self.shared.lock();
        // Changes that failed before are retried as well.
        let failed = std::mem::take(&mut queue.failed);
        queue.changes.extend(failed);
        queue.waiting.push(waiting);
        self.shared.changed.notify_one();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            tracing::error!("the thread that writes state files had crashed");
        }
    }
}

impl Shared {
    /// Waits for a change; `None` once everything was attempted and no more will come.
    fn next(&self, warnings: &Warnings) -> Option<Change> {
        let mut queue = self.lock();
        loop {
            if let Some(change) = queue.changes.pop_front() {
                return Some(change);
            }
            queue.tell();
            if queue.failed.is_empty() {
                warnings.clear(STATE);
            }
            if queue.closed {
                return None;
            }
            if queue.failed.is_empty() {
                queue = self
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.changed.wait_timeout(queue, RETRY);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            if timeout.timed_out() {
                let failed = std::mem::take(&mut queue.failed);
                queue.changes.extend(failed);
            }
        }
    }

    /// Ignores poisoning: no code panics under this lock.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

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
        let writer = Writer::start(Warnings::default(), move |change| {
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
        let writer = Writer::start(Warnings::default(), move |change| {
            if std::mem::take(&mut first) {
                let full = io::Error::from(io::ErrorKind::StorageFull);
                return Err(StateError::io("cannot write", disk.dir(), full));
            }
            change.store(&disk)
        })
        .unwrap();
        writer.put(targets(1));
        // The first may be written before the second arrives, or be replaced by it.
        while !writer.shared.lock().changes.is_empty() {
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
        let writer = Writer::start(warnings.clone(), move |_| match *disk.lock().unwrap() {
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
