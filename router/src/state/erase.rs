//! Removal of the whole state, for `reset`.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mesh_state::files::{FILES, is_journal, is_state, temporary};
use mesh_sys::process::is_trusted;

/// Returns true if the directory contains only files of a router, with trusted owners.
pub(super) fn holds_only_state(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if !meta.is_file() || !is_trusted(meta.uid()) {
            return Ok(false);
        }
        if !is_state(&entry.file_name().to_string_lossy()) {
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
        for path in [dir.join(name), dir.join(temporary(name))] {
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
        if is_journal(&name) {
            found.push(dir.join(&*name));
        }
    }
    found.sort();
    Ok(found)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
