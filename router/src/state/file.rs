//! A small file with a checksum, replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use mesh_state::files::temporary;
use mesh_state::sealed::{MAX_FILE, seal, unseal, unseal_bytes};

use super::StateError;

/// Reads the text in `path`; `None` if the file does not exist.
pub(super) fn read(path: &Path, remedy: &'static str) -> Result<Option<String>, StateError> {
    let Some(bytes) = read_sealed(path)? else {
        return Ok(None);
    };
    match unseal(&bytes) {
        Ok(body) => Ok(Some(body.to_owned())),
        Err(why) => Err(StateError::corrupt(path, why, remedy)),
    }
}

/// Reads the bytes in `path`; `None` if the file does not exist.
pub(super) fn read_bytes(path: &Path, remedy: &'static str) -> Result<Option<Vec<u8>>, StateError> {
    let Some(bytes) = read_sealed(path)? else {
        return Ok(None);
    };
    match unseal_bytes(&bytes) {
        Ok(body) => Ok(Some(body.to_owned())),
        Err(why) => Err(StateError::corrupt(path, why, remedy)),
    }
}

fn read_sealed(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StateError::io("cannot read", path, e)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(|e| StateError::io("cannot read", path, e))?;
    Ok(Some(bytes))
}

/// Replaces `path` atomically: after a crash or with a full disk, the content is either old or new. Mode 0600.
pub(super) fn write(path: &Path, body: &[u8]) -> Result<(), StateError> {
    match replace(path, &seal(body)) {
        Ok(_) => Ok(()),
        Err(e) => Err(StateError::io("cannot write", path, e)),
    }
}

/// Replaces `path` by a new file with these bytes: a crash leaves the old or the new one. Mode 0600.
///
/// # Errors
/// Error of the system; the old file remains, unless the last step failed.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = dir.join(temporary(&name));
    let written = write_new(&temporary, bytes).and_then(|file| {
        fs::rename(&temporary, path)?;
        Ok(file)
    });
    if written.is_err() {
        // Report the first error, not one of the cleanup.
        let _ = fs::remove_file(&temporary);
    }
    let file = written?;
    File::open(dir)?.sync_all()?;
    Ok(file)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        // Left behind by a crash.
        Ok(meta) if meta.is_file() => fs::remove_file(path)?,
        // Not a plain file: a symbolic link, for example, would redirect the write.
        Ok(_) => {
            let why = format!("{} was no file, and is taken away", path.display());
            return Err(io::Error::other(why));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

/// Fails if other users may read or write the file.
pub(super) fn check_private(path: &Path) -> Result<(), StateError> {
    let mode = match fs::metadata(path) {
        Ok(meta) => meta.mode() & 0o777,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(StateError::io("cannot read", path, e)),
    };
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(StateError::TooOpen {
            path: path.to_owned(),
            mode,
        })
    }
}
