//! Errors of system calls, with the action that failed: "cannot create bridge mesh: operation not permitted".

use std::fmt;
use std::io;

use nix::errno::Errno;

/// Failure of a system call, or of a group of them.
#[derive(Debug)]
pub struct SysError {
    what: String,
    source: io::Error,
}

impl SysError {
    /// Creates the error of the action `what` (a verb and its object, as in "create bridge mesh") with the reason
    /// `source`.
    pub fn new(what: impl Into<String>, source: io::Error) -> Self {
        Self {
            what: what.into(),
            source,
        }
    }

    /// Creates an error like [`SysError::new`], from an error number.
    pub fn errno(what: impl Into<String>, errno: Errno) -> Self {
        Self::new(what, errno.into())
    }

    /// Creates an error like [`SysError::new`], with a reason in words.
    pub fn other(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(what, io::Error::other(reason.into()))
    }

    /// Returns the action that failed.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Returns the reason alone, for callers that describe the action themselves.
    pub fn into_reason(self) -> io::Error {
        self.source
    }

    /// Returns true if the object does not exist (ENODEV, ENOENT, ENXIO, ESRCH).
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.raw(),
            Some(Errno::ENODEV | Errno::ENOENT | Errno::ENXIO | Errno::ESRCH)
        )
    }

    /// Returns true if the object to be created exists already (EEXIST).
    pub fn is_exists(&self) -> bool {
        self.raw() == Some(Errno::EEXIST)
    }

    /// Returns true if a capability is missing (EPERM, EACCES).
    pub fn is_permission(&self) -> bool {
        matches!(self.raw(), Some(Errno::EPERM | Errno::EACCES))
    }

    /// Returns true if the address is in use (EADDRINUSE).
    pub fn is_in_use(&self) -> bool {
        self.raw() == Some(Errno::EADDRINUSE)
    }

    /// Returns the error number, if the reason has one.
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
        // The reason is in the message already, and would be printed twice.
        self.source.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_action_and_its_object() {
        let error = SysError::errno("create bridge mesh", Errno::EPERM);
        assert_eq!(
            error.to_string(),
            "cannot create bridge mesh: operation not permitted"
        );
        assert!(error.is_permission() && !error.is_exists() && !error.is_not_found());
    }

    #[test]
    fn kinds_of_errors_are_distinguished() {
        assert!(SysError::errno("x", Errno::ENODEV).is_not_found());
        assert!(SysError::errno("x", Errno::EEXIST).is_exists());
        let words = SysError::other("x", "no such luck");
        assert_eq!(words.to_string(), "cannot x: no such luck");
        assert!(!words.is_not_found());
    }
}
