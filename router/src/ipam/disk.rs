//! The thread that writes the journal of addresses: what came since the last sync goes with the next one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::journal::{FILE, JournalFile};

/// Entries that may wait for the disk; with more of them the caller has to send a snapshot instead.
pub(crate) const MAX_BACKLOG: usize = 16_384;

/// How far the disk is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// All entries up to this one are synced.
    pub(crate) durable: u64,
    /// Bytes of the file.
    pub(crate) length: usize,
    /// Why nothing is written any more; a snapshot is needed to go on.
    pub(crate) error: Option<String>,
}

/// The running thread. When this is dropped, what waits is still written.
#[derive(Debug)]
pub(crate) struct Disk {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// What is to be written: perhaps all of the file anew, then these entries.
#[derive(Debug, Default)]
struct Queue {
    snapshot: Option<Vec<Vec<u8>>>,
    entries: Vec<Vec<u8>>,
    /// The number of the last of them.
    position: u64,
    closed: bool,
}

impl Disk {
    /// Starts the thread for the journal in `dir`. Nothing is written before the first [`Disk::replace`].
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(dir: &Path) -> io::Result<(Self, watch::Receiver<Progress>)> {
        let shared = Arc::<Shared>::default();
        let (sender, progress) = watch::channel(Progress::default());
        let (queue, path) = (shared.clone(), dir.join(FILE));
        let thread = std::thread::Builder::new()
            .name("addresses".into())
            .spawn(move || {
                let mut writer = Writer { path, file: None };
                while let Some(work) = queue.next() {
                    let done = writer.write(&work);
                    sender.send_modify(|progress| note(progress, &work, done));
                }
            })?;
        let thread = Some(thread);
        Ok((Self { shared, thread }, progress))
    }

    /// Has an entry written and synced soon. False when too many wait, and a snapshot must be sent.
    pub(crate) fn push(&self, position: u64, entry: Vec<u8>) -> bool {
        let mut queue = self.shared.lock();
        let has_room = queue.entries.len() < MAX_BACKLOG;
        if has_room {
            queue.entries.push(entry);
            queue.position = position;
            self.shared.changed.notify_one();
        }
        has_room
    }

    /// Has the file made anew from a snapshot, which says all that entries up to `position` said.
    pub(crate) fn replace(&self, position: u64, snapshot: Vec<Vec<u8>>) {
        let mut queue = self.shared.lock();
        queue.snapshot = Some(snapshot);
        queue.entries.clear();
        queue.position = position;
        self.shared.changed.notify_one();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        if self.thread.take().is_some_and(|t| t.join().is_err()) {
            tracing::error!("the thread that writes addresses had crashed");
        }
    }
}

impl Shared {
    /// Waits for work; `None` when all is written and no more will come.
    fn next(&self) -> Option<Queue> {
        let mut queue = self.lock();
        while queue.snapshot.is_none() && queue.entries.is_empty() {
            if queue.closed {
                return None;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Some(Queue {
            snapshot: queue.snapshot.take(),
            entries: std::mem::take(&mut queue.entries),
            position: queue.position,
            closed: queue.closed,
        })
    }

    /// Nothing that panics happens under this lock.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer {
    path: PathBuf,
    /// None before the first snapshot, and after a failure: what is in the file then is not known.
    file: Option<JournalFile>,
}

impl Writer {
    /// The file's length, once all of it is synced; nothing for entries that come while there is no file.
    fn write(&mut self, work: &Queue) -> io::Result<Option<usize>> {
        let file = self.file.take();
        let mut file = match (&work.snapshot, file) {
            (Some(snapshot), _) => JournalFile::create(&self.path, snapshot)?,
            (None, Some(file)) => file,
            (None, None) => return Ok(None),
        };
        if !work.entries.is_empty() {
            file.append(&work.entries)?;
        }
        let length = file.length();
        self.file = Some(file);
        Ok(Some(length))
    }
}

fn note(progress: &mut Progress, work: &Queue, done: io::Result<Option<usize>>) {
    match done {
        Ok(Some(length)) => {
            *progress = Progress {
                durable: work.position,
                length,
                error: None,
            }
        }
        Ok(None) => {}
        Err(error) => progress.error = Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::super::journal;
    use super::*;

    fn entry(n: u64) -> Vec<u8> {
        n.to_be_bytes().to_vec()
    }

    async fn until(
        progress: &mut watch::Receiver<Progress>,
        ready: impl FnMut(&Progress) -> bool,
    ) -> Progress {
        let changed = progress.wait_for(ready);
        let waited = tokio::time::timeout(Duration::from_secs(10), changed);
        waited.await.unwrap().unwrap().clone()
    }

    fn stored(dir: &Path) -> Vec<Vec<u8>> {
        journal::load(dir).unwrap().unwrap().unwrap().entries
    }

    #[tokio::test]
    async fn what_is_reported_is_on_disk_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, mut progress) = Disk::start(dir.path()).unwrap();
        disk.replace(1, vec![entry(0), entry(1)]);
        until(&mut progress, |p| p.durable == 1).await;
        for n in 2..=500 {
            assert!(disk.push(n, entry(n)));
        }
        until(&mut progress, |p| p.durable == 500).await;
        let expected: Vec<_> = (0..=500).map(entry).collect();
        assert_eq!(stored(dir.path()), expected);
        disk.replace(501, vec![entry(7)]);
        assert!(disk.push(502, entry(8)));
        until(&mut progress, |p| p.durable == 502).await;
        assert_eq!(stored(dir.path()), [entry(7), entry(8)]);
        disk.push(503, entry(9));
        drop(disk);
        assert_eq!(
            stored(dir.path()).last(),
            Some(&entry(9)),
            "written at the end"
        );
    }

    #[tokio::test]
    async fn after_a_failure_nothing_counts_before_a_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("state");
        std::fs::create_dir(&inside).unwrap();
        let (disk, mut progress) = Disk::start(&inside).unwrap();
        disk.replace(1, vec![entry(1)]);
        until(&mut progress, |p| p.durable == 1).await;
        // The directory is away: a new file cannot be made there.
        let away = dir.path().join("away");
        std::fs::rename(&inside, &away).unwrap();
        disk.replace(2, vec![entry(1), entry(2)]);
        let failed = until(&mut progress, |p| p.error.is_some()).await;
        assert_eq!(failed.durable, 1);
        assert!(disk.push(3, entry(3)));
        std::fs::rename(&away, &inside).unwrap();
        assert!(disk.push(4, entry(4)));
        disk.replace(4, vec![entry(4)]);
        let mended = until(&mut progress, |p| p.error.is_none()).await;
        assert_eq!(mended.durable, 4);
        assert_eq!(stored(&inside), [entry(4)]);
        let mode = std::fs::metadata(inside.join(FILE)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn what_waits_is_bounded() {
        let disk = Disk {
            shared: Arc::default(),
            thread: None,
        };
        let taken = (0..20_000).filter(|n| disk.push(*n, Vec::new())).count();
        assert_eq!(taken, MAX_BACKLOG);
    }
}
