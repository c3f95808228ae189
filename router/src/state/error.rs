//! Errors of the state directory.

use std::io;
use std::path::{Path, PathBuf};

/// Error that makes the state unusable. The message names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another router holds the lock.
    #[error("state directory {} is in use by another router{}", dir.display(), pid.map(|p| format!(" (pid {p})")).unwrap_or_default())]
    InUse {
        /// Path of the state directory.
        dir: PathBuf,
        /// Pid of the lock's holder, if the lock file has it.
        pid: Option<u32>,
    },
    /// The system refused an operation (permissions, disk full, …); the old content is intact.
    #[error("{what} {}: {}", path.display(), plain(cause))]
    Io {
        /// The failed operation, as the start of the message.
        what: &'static str,
        /// File of the operation.
        path: PathBuf,
        /// Error of the system. Not a `source`, which would be printed a second time.
        cause: io::Error,
    },
    /// The file is damaged, or not a state file.
    #[error("state file {} cannot be used: {why}; {remedy}", path.display())]
    Corrupt {
        /// Path of the file.
        path: PathBuf,
        /// Problem with the content.
        why: String,
        /// Remedy for the operator.
        remedy: &'static str,
    },
    /// Other users could change the state.
    #[error("the state directory {} {why} {}", dir.display(), dir.display())]
    Unsafe {
        /// Path of the state directory.
        dir: PathBuf,
        /// Problem, and the start of the remedy.
        why: String,
    },
    /// Other users may read the identity.
    #[error("{} holds secret keys but has mode {mode:04o}; run: chmod 600 {}", path.display(), path.display())]
    TooOpen {
        /// Path of the file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
}

/// Formats the error without the system's error number.
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
