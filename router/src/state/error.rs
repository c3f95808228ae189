//! Why the state of a router cannot be used.

use std::io;
use std::path::{Path, PathBuf};

/// Why the state cannot be used; the message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another router holds the lock.
    #[error("state directory {} is in use by another router{}", dir.display(), pid.map(|p| format!(" (pid {p})")).unwrap_or_default())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who holds it, if the lock file says so.
        pid: Option<u32>,
    },
    /// The system refused something (permissions, disk full, …); the old content is still there.
    #[error("{what} {}: {}", path.display(), plain(cause))]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause; not a source, which would be told a second time.
        cause: io::Error,
    },
    /// Damaged, or not ours.
    #[error("state file {} cannot be used: {why}; {remedy}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Others could change the state.
    #[error("the state directory {} {why} {}", dir.display(), dir.display())]
    Unsafe {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it, and the beginning of the remedy.
        why: String,
    },
    /// The identity may be read by others.
    #[error("{} holds secret keys but has mode {mode:04o}; run: chmod 600 {}", path.display(), path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// The error without the number that the system gives it.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

impl StateError {
    pub(super) fn io(what: &'static str, path: &Path, cause: io::Error) -> Self {
        Self::Io {
            what,
            path: path.to_owned(),
            cause,
        }
    }

    pub(super) fn corrupt(path: &Path, why: impl Into<String>, remedy: &'static str) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            why: why.into(),
            remedy,
        }
    }
}
