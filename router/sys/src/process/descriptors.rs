//! Limit of open file descriptors of this process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::SysError;

/// More than a router ever opens: links, sockets of the DNS server in each container's namespace, waiting
/// connections.
const ENOUGH: u64 = 65_536;

/// Raises the soft limit of open files towards the hard limit, which is mostly far higher for programs started by a
/// shell; returns the new soft limit. `setrlimit(2)`, `RLIMIT_NOFILE`.
///
/// # Errors
/// The errno of the failed system call.
pub fn raise_limit() -> Result<u64, SysError> {
    let failed = |errno: nix::Error| SysError::new("raise the limit of open files", errno.into());
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    let wanted = hard.min(ENOUGH).max(soft);
    if wanted > soft {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map_err(failed)?;
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_never_lowered() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let raised = raise_limit().unwrap();
        assert!(raised >= soft && (raised == hard || raised >= ENOUGH));
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, raised);
        assert_eq!(raise_limit().unwrap(), raised);
    }
}
