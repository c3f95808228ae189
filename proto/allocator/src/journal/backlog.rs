//! Entries on their way to the disk, and how far it has come.

/// Entries that may wait for the disk; with more of them the caller has to send a snapshot instead.
pub const MAX_BACKLOG: usize = 16_384;

/// The state of the file on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncProgress {
    /// All entries up to this one are synced.
    pub durable: u64,
    /// Bytes of the file.
    pub length: usize,
    /// The reason nothing is written any more; a snapshot is needed to go on.
    pub error: Option<String>,
}

/// The work that waits: perhaps all of the file from a snapshot, then entries.
#[derive(Debug, Default)]
pub struct JournalBacklog {
    snapshot: Option<Vec<Vec<u8>>>,
    entries: Vec<Vec<u8>>,
    /// The number of the last of them.
    position: u64,
}

impl JournalBacklog {
    /// Adds an entry. Returns false when too many wait, and a snapshot must be sent.
    pub fn push(&mut self, position: u64, entry: Vec<u8>) -> bool {
        let has_room = self.entries.len() < MAX_BACKLOG;
        if has_room {
            self.entries.push(entry);
            self.position = position;
        }
        has_room
    }

    /// Replaces all that waits by a snapshot, which says all that entries up to `position` said.
    pub fn replace(&mut self, position: u64, snapshot: Vec<Vec<u8>>) {
        self.snapshot = Some(snapshot);
        self.entries.clear();
        self.position = position;
    }

    /// Takes all that waits, if anything: it goes with one sync.
    pub fn take(&mut self) -> Option<Self> {
        if self.snapshot.is_none() && self.entries.is_empty() {
            return None;
        }
        Some(Self {
            snapshot: self.snapshot.take(),
            entries: core::mem::take(&mut self.entries),
            position: self.position,
        })
    }

    /// Returns the entries of a new file, if one is to be written first.
    pub fn snapshot(&self) -> Option<&[Vec<u8>]> {
        self.snapshot.as_deref()
    }

    /// Returns the entries to append.
    pub fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }
}

impl SyncProgress {
    /// Notes the outcome of one piece of work: the length of the file, nothing if there was no file to append to, or the
    /// reason it could not be written.
    pub fn note(&mut self, work: &JournalBacklog, done: Result<Option<usize>, String>) {
        match done {
            Ok(Some(length)) => {
                *self = Self {
                    durable: work.position,
                    length,
                    error: None,
                }
            }
            Ok(None) => {}
            Err(error) => self.error = Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded() {
        let mut backlog = JournalBacklog::default();
        let push = |n: &u64| backlog.push(*n, Vec::new());
        let taken = (0..20_000).filter(push).count();
        assert_eq!(taken, MAX_BACKLOG);
    }

    #[test]
    fn a_snapshot_replaces_what_waits() {
        let mut backlog = JournalBacklog::default();
        assert!(backlog.take().is_none());
        backlog.push(1, vec![1]);
        backlog.replace(2, vec![vec![9]]);
        backlog.push(3, vec![3]);
        let work = backlog.take().unwrap();
        assert_eq!(work.snapshot(), Some(&[vec![9]][..]));
        assert_eq!(work.entries(), [vec![3]]);
        assert!(backlog.take().is_none());
        let mut progress = SyncProgress::default();
        progress.note(&work, Ok(Some(40)));
        assert_eq!((progress.durable, progress.length), (3, 40));
        progress.note(&work, Err("disk full".to_owned()));
        progress.note(&work, Ok(None));
        assert_eq!(
            (progress.durable, progress.error.as_deref()),
            (3, Some("disk full"))
        );
        progress.note(&work, Ok(Some(41)));
        assert_eq!(progress.error, None);
    }
}
