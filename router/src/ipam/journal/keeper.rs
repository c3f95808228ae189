//! The journal as the control thread sees it: entries go to the disk, and it is compacted when it is long.

use std::io;
use std::path::Path;

use mesh_allocator::journal::backlog::SyncProgress;
use mesh_allocator::journal::compaction::Compaction;
use tokio::sync::watch;

use super::JournalNames;
use super::writer::JournalWriter;

/// The journal that is being written.
#[derive(Debug)]
pub(crate) struct JournalKeeper {
    writer: JournalWriter,
    progress: watch::Receiver<SyncProgress>,
    compaction: Compaction,
}

impl JournalKeeper {
    /// Starts to write the journal of this name in `dir`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(dir: &Path, names: JournalNames) -> io::Result<Self> {
        let (writer, progress) = JournalWriter::start(dir, names)?;
        Ok(Self {
            writer,
            progress,
            compaction: Compaction::default(),
        })
    }

    /// Has an entry written.
    pub(crate) fn push(&mut self, position: u64, entry: Vec<u8>) {
        if !self.writer.push(position, entry) {
            self.compaction.demand();
        }
    }

    /// Waits until the disk went on.
    ///
    /// # Errors
    /// The thread has ended.
    pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.progress.changed().await
    }

    /// Returns the number of the last entry on disk.
    ///
    /// # Errors
    /// The reason nothing is written any more.
    pub(crate) fn durable(&mut self) -> Result<u64, String> {
        let progress = self.progress.borrow_and_update().clone();
        if let Some(error) = progress.error {
            return Err(error);
        }
        self.compaction.note_length(progress.length);
        Ok(progress.durable)
    }

    /// Returns the reason nothing is written any more, if so.
    pub(crate) fn error(&self) -> Option<String> {
        self.progress.borrow().error.clone()
    }

    /// Returns whether nothing is written any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.progress.borrow().error.is_some()
    }

    /// Tries again if nothing is written any more.
    pub(crate) fn retry(&mut self) {
        if self.is_broken() {
            self.compaction.demand();
        }
    }

    /// Returns whether the journal is to be compacted now.
    pub(crate) fn is_due(&self) -> bool {
        self.compaction.is_due()
    }

    /// Has the journal written from a snapshot, which says all that entries up to `position` said. All of these must have
    /// been pushed.
    pub(crate) fn compact(&mut self, position: u64, snapshot: Vec<Vec<u8>>) {
        self.compaction.begin();
        self.writer.replace(position, snapshot);
    }
}
