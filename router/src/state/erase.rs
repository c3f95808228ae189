//! Removal of all state, for `reset`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{ATTACHMENTS, IDENTITY, LOCK, LOG, NAMES, NEIGHBOURS, OLD_LOG, PINS, TARGETS};
use crate::ipam;

/// Removes every file of a state directory, and the directory when nothing else is in it. For `reset`; needs no lock,
/// no sound content and no running router. Returns what was removed.
///
/// # Errors
/// The first file that could not be removed.
pub fn erase(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for name in [
        IDENTITY,
        TARGETS,
        NEIGHBOURS,
        PINS,
        ATTACHMENTS,
        NAMES,
        LOCK,
        LOG,
        OLD_LOG,
    ] {
        for path in [dir.join(name), dir.join(format!(".{name}.tmp"))] {
            match fs::remove_file(&path) {
                Ok(()) => removed.push(path),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(named(&path, &e)),
            }
        }
    }
    for path in addresses(dir)? {
        fs::remove_file(&path).map_err(|e| named(&path, &e))?;
        removed.push(path);
    }
    // A directory that holds something of others (a key file, a configuration) stays.
    if fs::remove_dir(dir).is_ok() {
        removed.push(dir.to_owned());
    }
    Ok(removed)
}

/// The journal of addresses, and earlier ones that were set aside.
fn addresses(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(named(dir, &e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let temporary = format!(".{}.tmp", ipam::FILE);
        if name == ipam::FILE || name == temporary.as_str() || name.starts_with(ipam::SET_ASIDE) {
            found.push(dir.join(&*name));
        }
    }
    found.sort();
    Ok(found)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
