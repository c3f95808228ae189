//! What went wrong, on what: "cannot create bridge mesh: operation not permitted".

use std::fmt;
use std::io;

use nix::errno::Errno;

/// A system call, or a group of them, that failed.
#[derive(Debug)]
pub struct SysError {
    what: String,
    source: io::Error,
}

impl SysError {
    /// The failure of `what` (a verb and its object, as in "create bridge mesh") for the reason `source`.
    pub fn new(what: impl Into<String>, source: io::Error) -> Self {
        Self {
            what: what.into(),
            source,
        }
    }

    /// As [`SysError::new`], from an error number.
    pub fn errno(what: impl Into<String>, errno: Errno) -> Self {
        Self::new(what, errno.into())
    }

    /// As [`SysError::new`], with a reason in words.
    pub fn other(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(what, io::Error::other(reason.into()))
    }

    /// What was tried.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The reason alone, for callers that say what was tried in words of their own.
    pub fn into_reason(self) -> io::Error {
        self.source
    }

    /// Whether the thing acted on does not exist (ENODEV, ENOENT, ENXIO, ESRCH).
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.raw(),
            Some(Errno::ENODEV | Errno::ENOENT | Errno::ENXIO | Errno::ESRCH)
        )
    }

    /// Whether the thing to be made is there already (EEXIST).
    pub fn is_exists(&self) -> bool {
        self.raw() == Some(Errno::EEXIST)
    }

    /// Whether a capability is missing (EPERM, EACCES).
    pub fn is_permission(&self) -> bool {
        matches!(self.raw(), Some(Errno::EPERM | Errno::EACCES))
    }

    /// Whether somebody else has the address (EADDRINUSE).
    pub fn is_in_use(&self) -> bool {
        self.raw() == Some(Errno::EADDRINUSE)
    }

    /// The error number, if the kernel gave one.
    pub fn raw(&self) -> Option<Errno> {
        self.source.raw_os_error().map(Errno::from_raw)
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: ", self.what)?;
        let Some(errno) = self.raw() else {
            return write!(f, "{}", self.source);
        };
        let mut words = errno.desc().chars();
        match words.next() {
            Some(first) => write!(f, "{}{}", first.to_lowercase(), words.as_str()),
            None => write!(f, "{errno}"),
        }
    }
}

impl std::error::Error for SysError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The reason itself is in our own words already, and would be told twice.
        self.source.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_done_to_what() {
        let error = SysError::errno("create bridge mesh", Errno::EPERM);
        assert_eq!(
            error.to_string(),
            "cannot create bridge mesh: operation not permitted"
        );
        assert!(error.is_permission() && !error.is_exists() && !error.is_not_found());
    }

    #[test]
    fn kinds_are_told_apart() {
        assert!(SysError::errno("x", Errno::ENODEV).is_not_found());
        assert!(SysError::errno("x", Errno::EEXIST).is_exists());
        let words = SysError::other("x", "no such luck");
        assert_eq!(words.to_string(), "cannot x: no such luck");
        assert!(!words.is_not_found());
    }
}
