//! A thread that writes state files, so that a slow disk holds up nobody.
//!
//! It keeps the newest value of each file, never a queue of old ones, and writes in the order in which files first
//! changed. A file that cannot be written costs memory over a restart, never forwarding.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem::discriminant;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use mesh_proto::control::Remembered;

use super::{StateError, Store};

/// The new content of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The boot epoch, raised in the middle of a run.
    Epoch(u64),
    /// Targets as typed.
    Targets(Vec<String>),
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
            Self::Neighbours(all) => store.set_neighbours(all),
            Self::Pins(pins) => store.set_pins(pins),
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Self::Epoch(_) => "the epoch",
            Self::Targets(_) => "the targets",
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
    closed: bool,
}

impl Writer {
    /// Starts the thread; `write` stores one change ([`Change::store`]).
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        mut write: impl FnMut(&Change) -> Result<(), StateError> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let queue = shared.clone();
        let thread = std::thread::Builder::new()
            .name("state".into())
            .spawn(move || {
                while let Some(change) = queue.next() {
                    if let Err(error) = write(&change) {
                        let what = change.what();
                        tracing::error!(
                            "cannot store {what}: {error}; it will be forgotten at the next start"
                        );
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
        let mut queue = self.shared.lock();
        let same = |c: &&mut Change| discriminant(*c) == discriminant(&change);
        match queue.changes.iter_mut().find(same) {
            Some(waiting) => *waiting = change,
            None => queue.changes.push_back(change),
        }
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
    /// Waits for a change; `None` when all is written and no more will come.
    fn next(&self) -> Option<Change> {
        let mut queue = self.lock();
        loop {
            if let Some(change) = queue.changes.pop_front() {
                return Some(change);
            }
            if queue.closed {
                return None;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
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
        let writer = Writer::start(move |change| {
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
        let writer = Writer::start(move |change| {
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
}
