//! The journal of the networks besides `default`: its file and its thread are made when the first of them is used.

use std::path::{Path, PathBuf};

use anyhow::Context;
use mesh_allocator::desk::AddressDesk;
use mesh_allocator::journal::file::Journal;
use mesh_ipam::JournalError;
use mesh_proto::time::Instant;

use super::journal::{self, JournalKeeper, NETWORKS};

/// The journal, once there is any.
#[derive(Debug)]
pub(super) struct SpaceJournals {
    dir: PathBuf,
    keeper: Option<JournalKeeper>,
    /// The reason the thread cannot be started.
    error: Option<String>,
}

impl SpaceJournals {
    /// Restores the addresses of an earlier run. A journal that cannot be used is set aside, and operators are told.
    ///
    /// # Errors
    /// The journal is of a later version: it is left alone. The system's.
    pub(super) fn open(
        desk: &mut AddressDesk,
        dir: &Path,
        epoch: u64,
        now: Instant,
    ) -> anyhow::Result<Self> {
        let mut spaces = Self {
            dir: dir.to_owned(),
            keeper: None,
            error: None,
        };
        let path = dir.join(NETWORKS.file);
        let read = journal::load(dir, NETWORKS);
        let read = read.with_context(|| format!("cannot read {}", path.display()))?;
        let refused = match read {
            Ok(None) => return Ok(spaces),
            Ok(Some(Journal { entries, .. })) => {
                match desk.restore_spaces(entries.iter().map(Vec::as_slice), now) {
                    Ok(()) => {
                        spaces.start();
                        return Ok(spaces);
                    }
                    Err(why @ JournalError::Format(_)) => return Err(why.into()),
                    Err(why) => why.to_string(),
                }
            }
            Err(damage) => damage.to_string(),
        };
        let aside = journal::set_aside(dir, NETWORKS, epoch);
        let aside = aside.with_context(|| format!("cannot set {} aside", path.display()))?;
        let notice = format!(
            "the journal of addresses in networks could not be used ({refused}) and is now {}; this router began a new \
             one: addresses of its containers are claimed again, and what it had lent is learnt from the others",
            aside.display()
        );
        tracing::error!("{notice}");
        desk.add_notice(notice);
        Ok(spaces)
    }

    fn start(&mut self) -> Option<&mut JournalKeeper> {
        if self.keeper.is_none() {
            match JournalKeeper::start(&self.dir, NETWORKS) {
                Ok(keeper) => (self.keeper, self.error) = (Some(keeper), None),
                Err(error) => self.error = Some(format!("cannot start a thread: {error}")),
            }
        }
        self.keeper.as_mut()
    }

    /// Has an entry written. While the thread cannot be started nothing is synced, and a later snapshot says it.
    pub(super) fn push(&mut self, position: u64, entry: Vec<u8>) {
        if let Some(keeper) = self.start() {
            keeper.push(position, entry);
        }
    }

    /// Waits until the disk went on.
    pub(super) async fn changed(&mut self) -> Result<(), tokio::sync::watch::error::RecvError> {
        match &mut self.keeper {
            Some(keeper) => keeper.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Returns the number of the last entry on disk, if there is a journal.
    ///
    /// # Errors
    /// The reason nothing is written any more.
    pub(super) fn durable(&mut self) -> Option<Result<u64, String>> {
        self.keeper.as_mut().map(JournalKeeper::durable)
    }

    /// Returns the reason nothing is written any more, if so.
    pub(super) fn error(&self) -> Option<String> {
        let keeper = self.keeper.as_ref().and_then(JournalKeeper::error);
        keeper.or_else(|| self.error.clone())
    }

    /// Returns whether nothing is written any more.
    pub(super) fn is_broken(&self) -> bool {
        self.error.is_some() || self.keeper.as_ref().is_some_and(JournalKeeper::is_broken)
    }

    /// Tries again if nothing is written any more.
    pub(super) fn retry(&mut self) {
        if self.error.is_some() {
            self.start();
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.retry();
        }
    }

    /// Has the journal written from a snapshot, if it is time. All entries must have been pushed.
    pub(super) fn compact(&mut self, desk: &AddressDesk) {
        if let Some(keeper) = self.keeper.as_mut().filter(|keeper| keeper.is_due()) {
            let (position, snapshot) = desk.spaces_snapshot();
            keeper.compact(position, snapshot);
        }
    }
}
