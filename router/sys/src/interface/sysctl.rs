//! Kernel settings in `/proc/sys/net`.
//!
//! The kernel resolves these paths in the namespace of the thread that opens them, so inside
//! [`crate::netns::Netns::run_in`] they are those of that namespace.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::SysError;
use crate::ifname;

/// Group of settings of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SysctlGroup {
    /// `net/ipv4/conf/<interface>`.
    Ipv4Conf,
    /// `net/ipv4/neigh/<interface>`.
    Ipv4Neigh,
    /// `net/ipv6/conf/<interface>`.
    Ipv6Conf,
    /// `net/ipv6/neigh/<interface>`.
    Ipv6Neigh,
}

impl SysctlGroup {
    fn path(self, interface: &str, key: &str) -> PathBuf {
        let table = match self {
            Self::Ipv4Conf => "ipv4/conf",
            Self::Ipv4Neigh => "ipv4/neigh",
            Self::Ipv6Conf => "ipv6/conf",
            Self::Ipv6Neigh => "ipv6/neigh",
        };
        ["/proc/sys/net", table, interface, key].iter().collect()
    }
}

/// Sets one setting of an interface. A value that is set already is not written again, so that a read-only
/// `/proc/sys` with the right values is no error.
///
/// # Errors
/// [`SysError::is_not_found`] if the interface or the protocol (IPv6 disabled at boot) does not exist.
pub fn set(table: SysctlGroup, interface: &str, key: &str, value: &str) -> Result<(), SysError> {
    ifname::check(interface)?;
    let path = table.path(interface, key);
    if std::fs::read_to_string(&path).is_ok_and(|now| now.trim_end() == value) {
        return Ok(());
    }
    std::fs::write(&path, value)
        .map_err(|e| SysError::new(format!("set {} to {value}", path.display()), e))
}

/// Sets a setting like [`set`], but ignores a missing one. Returns true if it exists.
///
/// # Errors
/// The errno of the failed system call, unless there is no such setting.
pub fn set_if_present(
    table: SysctlGroup,
    interface: &str,
    key: &str,
    value: &str,
) -> Result<bool, SysError> {
    match set(table, interface, key, value) {
        Ok(()) => Ok(true),
        Err(e) if e.is_not_found() => Ok(false),
        Err(e) => Err(e),
    }
}

/// Last recommended setting that could not be set, until it is taken.
static NOT_SET: Mutex<Option<String>> = Mutex::new(None);

/// Sets a setting like [`set_if_present`] that is recommended, but not required. A failure is no error, but stored
/// for [`take_not_set`]: in some containers `/proc/sys` is read-only.
pub fn prefer(table: SysctlGroup, interface: &str, key: &str, value: &str) {
    if let Err(error) = set_if_present(table, interface, key, value) {
        tracing::debug!("{error}");
        *not_set() = Some(error.to_string());
    }
}

/// Takes the last failure of [`prefer`] since the last call.
pub fn take_not_set() -> Option<String> {
    not_set().take()
}

/// Ignores poisoning: no code under this lock panics.
fn not_set() -> MutexGuard<'static, Option<String>> {
    NOT_SET.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads one setting of an interface, without the end of the line.
///
/// # Errors
/// [`SysError::is_not_found`] if the interface or the protocol does not exist.
pub fn get(table: SysctlGroup, interface: &str, key: &str) -> Result<String, SysError> {
    ifname::check(interface)?;
    let path = table.path(interface, key);
    let read: io::Result<String> = std::fs::read_to_string(&path);
    read.map(|text| text.trim_end().to_owned())
        .map_err(|e| SysError::new(format!("read {}", path.display()), e))
}

/// Least sizes of a neighbour table: up to the first nothing is collected, and above the last a packet to a new
/// neighbour fails with ENOBUFS. Linux has 128, 512 and 1,024: too few for 20 containers that each reach 60 others.
const NEIGHBOUR_LIMITS: [(&str, u32); 3] = [
    ("gc_thresh3", 16_384),
    ("gc_thresh2", 8_192),
    ("gc_thresh1", 4_096),
];

/// Raises the limits of the kernel's neighbour tables where they are lower. Returns true if one was.
///
/// Only the first network namespace has these settings; in another one nothing is done.
///
/// # Errors
/// `/proc/sys` is read-only, as in some containers.
pub fn raise_neighbour_limits() -> Result<bool, SysError> {
    let mut raised = false;
    for table in [SysctlGroup::Ipv4Neigh, SysctlGroup::Ipv6Neigh] {
        for (key, least) in NEIGHBOUR_LIMITS {
            match get(table, "default", key) {
                Ok(now) if is_lower(&now, least) => {
                    set(table, "default", key, &least.to_string())?;
                    raised = true;
                }
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(raised)
}

/// Returns true if a setting is a number below `least`. One that is no number is not ours to change.
fn is_lower(setting: &str, least: u32) -> bool {
    setting.parse().is_ok_and(|now: u32| now < least)
}

/// Returns true if the host forwards IPv4, or IPv6.
///
/// # Errors
/// [`SysError::is_not_found`] if the protocol does not exist.
pub fn forwards(ipv6: bool) -> Result<bool, SysError> {
    let path = forwarding(ipv6);
    let read = std::fs::read_to_string(path);
    read.map(|text| text.trim_end() != "0")
        .map_err(|e| SysError::new(format!("read {path}"), e))
}

/// Enables forwarding of IPv4. Returns true if it was disabled.
///
/// # Errors
/// `/proc/sys` is read-only, as in some containers.
pub fn set_forwarding() -> Result<bool, SysError> {
    if forwards(false)? {
        return Ok(false);
    }
    let path = forwarding(false);
    let written = std::fs::write(path, "1");
    written.map_err(|e| SysError::new(format!("set {path} to 1"), e))?;
    Ok(true)
}

/// Checks that [`set_forwarding`] would succeed, without changing anything.
///
/// # Errors
/// The reason why it would fail.
pub fn check_forwarding() -> Result<(), SysError> {
    if forwards(false)? {
        return Ok(());
    }
    let path = forwarding(false);
    let opened = std::fs::OpenOptions::new().write(true).open(path);
    opened
        .map(drop)
        .map_err(|e| SysError::new(format!("set {path} to 1"), e))
}

fn forwarding(ipv6: bool) -> &'static str {
    match ipv6 {
        false => "/proc/sys/net/ipv4/ip_forward",
        true => "/proc/sys/net/ipv6/conf/all/forwarding",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NamedNetns, needs_root};

    #[test]
    fn settings_are_those_of_the_threads_namespace() {
        if needs_root("settings_are_those_of_the_threads_namespace") {
            return;
        }
        let (a, b) = (NamedNetns::new(), NamedNetns::new());
        a.run(|| set(SysctlGroup::Ipv4Conf, "lo", "arp_ignore", "3").unwrap());
        let read = || get(SysctlGroup::Ipv4Conf, "lo", "arp_ignore").unwrap();
        assert_eq!(a.run(read), "3");
        assert_ne!(b.run(read), "3");
        assert_ne!(read(), "3");
    }

    #[test]
    fn a_missing_interface_is_distinguished_from_other_failures() {
        let error = get(SysctlGroup::Ipv4Conf, "mesh-none", "arp_ignore").unwrap_err();
        assert!(error.is_not_found());
        assert!(!set_if_present(SysctlGroup::Ipv4Conf, "mesh-none", "arp_ignore", "1").unwrap());
        assert!(set(SysctlGroup::Ipv4Conf, "../lo", "arp_ignore", "1").is_err());
    }

    #[test]
    fn limits_of_the_neighbour_tables_are_only_raised() {
        for (key, least) in NEIGHBOUR_LIMITS {
            assert!(is_lower("128", least), "{key}");
            assert!(!is_lower(&least.to_string(), least), "{key}");
            assert!(!is_lower("80000", least), "{key}");
        }
        assert!(!is_lower("", 1) && !is_lower("-1", 1) && !is_lower("many", 1));
        if needs_root("limits_of_the_neighbour_tables_are_only_raised") {
            return;
        }
        // Only the first namespace has them.
        assert!(!NamedNetns::new().run(|| raise_neighbour_limits().unwrap()));
    }
}
