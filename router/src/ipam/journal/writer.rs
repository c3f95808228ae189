//! The thread that writes the journal of addresses: entries that came since the last sync go with the next one.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh_allocator::journal::backlog::{JournalBacklog, SyncProgress};
use tokio::sync::watch;

use super::{JournalFile, JournalNames};
use crate::state::background::{BackgroundThread, Backlog};

/// The thread that writes. When this is dropped, what waits is still written.
#[derive(Debug)]
pub(crate) struct JournalWriter(BackgroundThread<JournalBacklog>);

impl Backlog for JournalBacklog {
    type Work = JournalBacklog;
    type Outcome = ();

    fn take(&mut self) -> Result<JournalBacklog, Option<Duration>> {
        self.take().ok_or(None)
    }

    fn finish(&mut self, _: JournalBacklog, (): ()) {}
}

impl JournalWriter {
    /// Starts the thread for the journal of this name in `dir`. Nothing is written before the first
    /// [`JournalWriter::replace`].
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(
        dir: &Path,
        names: JournalNames,
    ) -> io::Result<(Self, watch::Receiver<SyncProgress>)> {
        let (sender, progress) = watch::channel(SyncProgress::default());
        let mut tail = JournalTail {
            path: dir.join(names.file),
            file: None,
        };
        let backlog = JournalBacklog::default();
        let thread = BackgroundThread::start(names.file, backlog, move |work| {
            let done = tail.write(work);
            let done = done.map_err(|error| error.to_string());
            sender.send_modify(|progress| progress.note(work, done));
        })?;
        Ok((Self(thread), progress))
    }

    /// Has an entry written and synced soon. Returns false when too many wait, and a snapshot must be sent.
    pub(crate) fn push(&self, position: u64, entry: Vec<u8>) -> bool {
        self.0.change(|backlog| backlog.push(position, entry))
    }

    /// Has the file written from a snapshot, which says all that entries up to `position` said.
    pub(crate) fn replace(&self, position: u64, snapshot: Vec<Vec<u8>>) {
        self.0.change(|backlog| backlog.replace(position, snapshot));
    }
}

/// The end of the file, where entries are appended.
struct JournalTail {
    path: PathBuf,
    /// None before the first snapshot, and after a failure: the content of the file is not known then.
    file: Option<JournalFile>,
}

impl JournalTail {
    /// Returns the file's length, once all of it is synced; nothing for entries that come while there is no file.
    fn write(&mut self, work: &JournalBacklog) -> io::Result<Option<usize>> {
        let file = self.file.take();
        let mut file = match (work.snapshot(), file) {
            (Some(snapshot), _) => JournalFile::create(&self.path, snapshot)?,
            (None, Some(file)) => file,
            (None, None) => return Ok(None),
        };
        if !work.entries().is_empty() {
            file.append(work.entries())?;
        }
        let length = file.length();
        self.file = Some(file);
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::super::{DEFAULT, load};
    use super::*;

    fn entry(n: u64) -> Vec<u8> {
        n.to_be_bytes().to_vec()
    }

    async fn until(
        progress: &mut watch::Receiver<SyncProgress>,
        ready: impl FnMut(&SyncProgress) -> bool,
    ) -> SyncProgress {
        let changed = progress.wait_for(ready);
        let waited = tokio::time::timeout(Duration::from_secs(10), changed);
        waited.await.unwrap().unwrap().clone()
    }

    fn stored(dir: &Path) -> Vec<Vec<u8>> {
        load(dir, DEFAULT).unwrap().unwrap().unwrap().entries
    }

    #[tokio::test]
    async fn what_is_reported_is_on_disk_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, mut progress) = JournalWriter::start(dir.path(), DEFAULT).unwrap();
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
        let (disk, mut progress) = JournalWriter::start(&inside, DEFAULT).unwrap();
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
        let mode = std::fs::metadata(inside.join(DEFAULT.file))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }
}
