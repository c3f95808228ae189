//! Changes of a container's `/etc/hosts`.

use std::path::Path;

use mesh_dns::containers::hosts_file::{HostsLines, MAX_HOSTS};
use mesh_sys::error::SysError;
use mesh_sys::inplace::rewrite;

/// Puts the lines into the file. Returns true if it changed.
pub(super) fn put(lines: &HostsLines, path: &Path) -> Result<bool, SysError> {
    rewrite(path, MAX_HOSTS, |text| Some(lines.in_place_of(text)))
}
