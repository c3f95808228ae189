//! The thread that stores networks and labels: only the newest content, and again until it succeeds.

use std::io;
use std::time::Duration;

use tokio::sync::watch;

use crate::state::StateError;
use crate::state::background::{BackgroundThread, Backlog};
use crate::warnings::Warnings;

/// Delay before a failed write is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Subject of the warning about failed writes.
const SUBJECT: &str = "networks";

/// State of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DiskProgress {
    /// Number of the content on disk.
    pub(super) durable: u64,
    /// Reason why the last write failed.
    pub(super) error: Option<String>,
}

/// The thread that writes. When this is dropped, what waits is still written.
#[derive(Debug)]
pub(super) struct NetworksDisk(BackgroundThread<NewestContent>);

/// Numbered content.
#[derive(Debug)]
struct NumberedContent {
    position: u64,
    content: Vec<u8>,
}

/// Content that waits for the disk.
#[derive(Debug, Default)]
struct NewestContent {
    waiting: Option<NumberedContent>,
    failed: Option<NumberedContent>,
}

impl Backlog for NewestContent {
    type Work = NumberedContent;
    type Outcome = bool;

    fn take(&mut self) -> Result<NumberedContent, Option<Duration>> {
        let retry = self.failed.is_some().then_some(RETRY);
        let next = self.waiting.take().ok_or(retry)?;
        self.failed = None;
        Ok(next)
    }

    fn finish(&mut self, work: NumberedContent, is_stored: bool) {
        if !is_stored {
            self.failed = Some(work);
        }
    }

    fn retry(&mut self) {
        if self.waiting.is_none() {
            self.waiting = self.failed.take();
        }
    }
}

impl NetworksDisk {
    /// Starts the thread; `write` stores one content.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(
        warnings: Warnings,
        mut write: impl FnMut(&[u8]) -> Result<(), StateError> + Send + 'static,
    ) -> io::Result<(Self, watch::Receiver<DiskProgress>)> {
        let (sender, progress) = watch::channel(DiskProgress::default());
        let thread = BackgroundThread::start("networks", NewestContent::default(), move |work| {
            let written = write(&work.content);
            warnings.note(SUBJECT, &written, |error| {
                format!(
                    "cannot store the networks: {error}; it is tried again, and until then no network is created, \
                     removed or joined here"
                )
            });
            let error = written.err().map(|error| error.to_string());
            let is_stored = error.is_none();
            sender.send_modify(|progress| {
                progress.durable = match is_stored {
                    true => work.position,
                    false => progress.durable,
                };
                progress.error = error;
            });
            is_stored
        })?;
        Ok((Self(thread), progress))
    }

    /// Has this content written soon, in place of all that waits. Returns at once.
    pub(super) fn store(&self, position: u64, content: Vec<u8>) {
        let newest = NumberedContent { position, content };
        self.0.change(|backlog| {
            backlog.failed = None;
            backlog.waiting = Some(newest);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use super::*;
    use crate::state::Store;

    #[tokio::test]
    async fn a_slow_disk_gets_the_newest_content() {
        let (began, begun) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let written = Arc::new(Mutex::new(Vec::new()));
        let disk = written.clone();
        let (writer, mut progress) = NetworksDisk::start(Warnings::default(), move |content| {
            began.send(()).unwrap();
            released.recv().unwrap();
            disk.lock().unwrap().push(content.to_vec());
            Ok(())
        })
        .unwrap();
        writer.store(1, vec![1]);
        begun.recv().unwrap();
        for n in 2..=100 {
            writer.store(n, vec![u8::try_from(n).unwrap()]);
        }
        release.send(()).unwrap();
        release.send(()).unwrap();
        progress.wait_for(|p| p.durable == 100).await.unwrap();
        assert_eq!(*written.lock().unwrap(), [vec![1], vec![100]]);
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_newer_content_is_tried_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let warnings = Warnings::default();
        let mut is_full = true;
        let (writer, mut progress) = NetworksDisk::start(warnings.clone(), move |content| {
            if std::mem::take(&mut is_full) {
                let full = io::Error::from(io::ErrorKind::StorageFull);
                return Err(StateError::Io {
                    what: "cannot write",
                    path: "networks".into(),
                    cause: full,
                });
            }
            store.set_networks(content)
        })
        .unwrap();
        writer.store(1, vec![1]);
        progress.wait_for(|p| p.error.is_some()).await.unwrap();
        assert_eq!(progress.borrow().durable, 0);
        let told = warnings.lines().concat();
        assert!(
            told.starts_with("cannot store the networks: cannot write"),
            "{told}"
        );
        writer.store(2, vec![2, 0xff]);
        progress.wait_for(|p| p.durable == 2).await.unwrap();
        assert_eq!(progress.borrow().error, None);
        assert!(warnings.lines().is_empty());
        drop(writer);
        let store = std::fs::read(dir.path().join("networks")).unwrap();
        assert!(store.ends_with(&[b'\n', 2, 0xff]));
    }
}
