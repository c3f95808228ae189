//! The journal file on disk; [`mesh_allocator::journal::file`] has its format.

mod keeper;
mod writer;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use mesh_allocator::journal::file::{Journal, JournalDamage, MAX_FILE, file, frame, read};

pub(crate) use keeper::JournalKeeper;

use crate::state::file as state_file;
use mesh_state::files::{
    ADDRESSES, ADDRESSES_SET_ASIDE, NETWORK_ADDRESSES, NETWORK_ADDRESSES_SET_ASIDE,
};

/// The file while it is written.
#[derive(Debug)]
pub(crate) struct JournalFile {
    file: File,
    length: usize,
}

impl JournalFile {
    /// Puts a new file with these entries in place of any old one: a crash leaves the old or the new. Mode 0600.
    ///
    /// # Errors
    /// The system's; the old file is still there, unless the last step failed.
    pub(crate) fn create(path: &Path, entries: &[Vec<u8>]) -> io::Result<Self> {
        let bytes = file(entries);
        let file = state_file::replace(path, &bytes)?;
        Ok(Self {
            file,
            length: bytes.len(),
        })
    }

    /// Appends a frame and syncs it.
    ///
    /// # Errors
    /// The system's: how much of the frame is there is not known, and the file must be replaced.
    pub(crate) fn append(&mut self, entries: &[Vec<u8>]) -> io::Result<()> {
        let frame = frame(self.length, entries);
        let offset = u64::try_from(self.length).unwrap_or(u64::MAX);
        self.file.write_all_at(&frame, offset)?;
        self.file.sync_data()?;
        self.length += frame.len();
        Ok(())
    }

    /// Returns its length in bytes.
    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

/// The names of one of the journals in a state directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JournalNames {
    /// The file.
    pub(crate) file: &'static str,
    /// The beginning of the name of one that could not be used.
    pub(crate) set_aside: &'static str,
}

/// The journal of the network `default`.
pub(crate) const DEFAULT: JournalNames = JournalNames {
    file: ADDRESSES,
    set_aside: ADDRESSES_SET_ASIDE,
};

/// The journal of the other networks.
pub(crate) const NETWORKS: JournalNames = JournalNames {
    file: NETWORK_ADDRESSES,
    set_aside: NETWORK_ADDRESSES_SET_ASIDE,
};

/// Reads a journal of a state directory; none when there is no file.
///
/// # Errors
/// The system's, and [`JournalDamage`].
pub(crate) fn load(
    dir: &Path,
    names: JournalNames,
) -> io::Result<Result<Option<Journal>, JournalDamage>> {
    let file = match File::open(dir.join(names.file)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Ok(None)),
        Err(e) => return Err(e),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Ok(Err(JournalDamage::TooLong));
    }
    Ok(read(&bytes).map(Some))
}

/// Renames a journal that cannot be used, so that a new one can be begun. Returns the new name.
///
/// # Errors
/// The system's.
pub(crate) fn set_aside(dir: &Path, names: JournalNames, epoch: u64) -> io::Result<PathBuf> {
    let aside = dir.join(format!("{}{epoch}", names.set_aside));
    fs::rename(dir.join(names.file), &aside)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path(), DEFAULT).unwrap(), Ok(None));
        let path = dir.path().join(ADDRESSES);
        let entries = |n: u8| vec![vec![n; 3]; 2];
        let mut journal = JournalFile::create(&path, &entries(1)).unwrap();
        journal.append(&entries(2)).unwrap();
        let loaded = load(dir.path(), DEFAULT).unwrap().unwrap().unwrap();
        assert_eq!(loaded.entries, [entries(1), entries(2)].concat());
        assert_eq!(loaded.length, journal.length());
    }

    #[test]
    fn a_file_that_is_too_long_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let long = File::create(dir.path().join(ADDRESSES)).unwrap();
        long.set_len(MAX_FILE + 1).unwrap();
        assert_eq!(
            load(dir.path(), DEFAULT).unwrap(),
            Err(JournalDamage::TooLong)
        );
        let aside = set_aside(dir.path(), DEFAULT, 7).unwrap();
        assert!(aside.ends_with("addresses.bad-7") && aside.exists());
        assert_eq!(load(dir.path(), DEFAULT).unwrap(), Ok(None));
    }
}
