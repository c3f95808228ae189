//! Removal of the whole state, for `reset`.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mesh_sys::process::is_trusted;

use super::{
    ADDRESSES, ADDRESSES_SET_ASIDE, ATTACHMENTS, FORGOTTEN, GIVEN, IDENTITY, LOCK, LOG, NAMES,
    NEIGHBOURS, OLD_LOG, PINS, TARGETS,
};

/// State files, except the journal of addresses.
const FILES: [&str; 11] = [
    IDENTITY,
    TARGETS,
    GIVEN,
    FORGOTTEN,
    NEIGHBOURS,
    PINS,
    ATTACHMENTS,
    NAMES,
    LOCK,
    LOG,
    OLD_LOG,
];

/// True if the directory contains only files of a router, with trusted owners.
pub(super) fn holds_only_state(dir: &Path) -> io::Result<bool> {
    let addresses = addresses(dir)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, meta) = (entry.path(), entry.metadata()?);
        if !meta.is_file() || !is_trusted(meta.uid()) {
            return Ok(false);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name
            .strip_prefix('.')
            .and_then(|n| n.strip_suffix(".tmp"))
            .unwrap_or(&name);
        if !FILES.contains(&name) && !addresses.contains(&path) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes every file of a state directory, and the directory if it is then empty. Needs no lock, no valid content and
/// no running router. Returns the removed paths.
///
/// # Errors
/// The first file that could not be removed.
pub fn erase(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for name in FILES {
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
    // A directory with other files (a key file, a configuration) stays.
    if fs::remove_dir(dir).is_ok() {
        removed.push(dir.to_owned());
    }
    Ok(removed)
}

/// Returns the journal of addresses, and earlier journals that were set aside.
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
        let temporary = format!(".{ADDRESSES}.tmp");
        if name == ADDRESSES || name == temporary.as_str() || name.starts_with(ADDRESSES_SET_ASIDE)
        {
            found.push(dir.join(&*name));
        }
    }
    found.sort();
    Ok(found)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
