//! A thread that writes state files, so that a slow disk holds up nobody.
//!
//! It keeps the newest value of each file, never a queue of old ones, and writes in the order in which files first
//! changed. A file that cannot be written is tried again while the router runs, and its operator is warned until then: it
//! costs memory over a restart, never forwarding.

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

/// Time until what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The subject of the warning about it.
const STATE: &str = "state";

/// The new content of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The boot epoch, raised in the middle of a run.
    Epoch(u64),
    /// Targets as typed.
    Targets(Vec<String>),
    /// What is not to be dialled.
    Forgotten(Vec<Forgotten>),
    /// Whom the router is linked to.
    Neighbours(Vec<Remembered>),
    /// Which signing key each peer name is bound to.
    Pins(BTreeMap<String, [u8; 32]>),
}

impl Change {
    /// Writes it.
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

/// The running thread. When this is dropped, what waits is still written.
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

/// At most one change of each kind.
#[derive(Debug, Default)]
struct Queue {
    changes: VecDeque<Change>,
    /// Those that could not be written.
    failed: Vec<Change>,
    /// Why.
    error: Option<String>,
    /// Who waits until everything was tried.
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    closed: bool,
}

impl Queue {
    /// Takes a newer value in place of one of the same kind.
    fn put(&mut self, change: Change) {
        let same = |c: &Change| discriminant(c) == discriminant(&change);
        self.failed.retain(|c| !same(c));
        match self.changes.iter_mut().find(|c| same(c)) {
            Some(waiting) => *waiting = change,
            None => self.changes.push_back(change),
        }
    }

    /// What was tried and failed, unless there is a newer value.
    fn fail(&mut self, change: Change, error: String) {
        let same = |c: &Change| discriminant(c) == discriminant(&change);
        if !self.changes.iter().any(same) {
            self.failed.push(change);
        }
        self.error = Some(error);
    }

    /// Everything was tried once: tells those who wait.
    fn tell(&mut self) {
        if self.failed.is_empty() {
            self.error = None;
        }
        let result = self.error.clone().map_or(Ok(()), Err);
        for waiting in self.waiting.drain(..) {
            // Who hung up does not want to know.
            let _ = waiting.send(result.clone());
        }
    }
}

impl Writer {
    /// Starts the thread; `write` stores one change ([`Change::store`]).
    ///
    /// # Errors
    /// When the thread cannot be started.
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

    /// Has `change` written soon, in place of one of the same kind that still waits. Returns at once.
    pub fn put(&self, change: Change) {
        self.shared.lock().put(change);
        self.shared.changed.notify_one();
    }

    /// Tells when everything that was put by now has been tried, and whether all of it is stored. Returns at once.
    pub fn confirm(&self, waiting: oneshot::Sender<Result<(), String>>) {
        let mut queue = self.shared.lock();
        // What failed before is tried for them, too.
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
    /// Waits for a change; `None` when all was tried and no more will come.
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

    /// Nothing that panics happens under this lock.
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
        // The first may be taken before the second comes, or give way to it.
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
        // The old change is tried again, too.
        writer.put(Change::Epoch(2));
        assert_eq!(confirmed(), Ok(()));
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !warnings.lines().is_empty() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
}
