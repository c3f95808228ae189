//! A small file with a checksum: a first line with the checksum, then text.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::StateError;

/// Start of the first line, with the version of the format.
const MAGIC: &str = "mesh-state 1 ";
/// Largest file read, in bytes; real ones are far smaller, and a foreign file must not exhaust memory.
pub(super) const MAX_FILE: u64 = 16 * 1024 * 1024;

/// Returns `body` with the checksum line in front.
pub(super) fn seal(body: &str) -> Vec<u8> {
    let mut out = format!("{MAGIC}{}\n", digest(body.as_bytes())).into_bytes();
    out.extend_from_slice(body.as_bytes());
    out
}

/// Returns the body of a sealed file, or the problem with it.
pub(super) fn unseal(bytes: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let (head, body) = text.split_once('\n').ok_or("its first line is cut off")?;
    let Some(sum) = head.strip_prefix(MAGIC) else {
        return Err(if head.starts_with("mesh-state ") {
            "it was written by another version of mesh"
        } else {
            "it is not a state file of mesh"
        });
    };
    if sum == digest(body.as_bytes()) {
        Ok(body)
    } else {
        Err("its checksum does not match")
    }
}

fn digest(body: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(body) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// Reads the body of `path`; `None` if the file does not exist.
pub(super) fn read(path: &Path, remedy: &'static str) -> Result<Option<String>, StateError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StateError::io("cannot read", path, e)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(|e| StateError::io("cannot read", path, e))?;
    match unseal(&bytes) {
        Ok(body) => Ok(Some(body.to_owned())),
        Err(why) => Err(StateError::corrupt(path, why, remedy)),
    }
}

/// Replaces `path` atomically: after a crash or with a full disk, the content is either old or new. Mode 0600.
pub(super) fn write(path: &Path, body: &str) -> Result<(), StateError> {
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
    let temporary = dir.join(format!(".{name}.tmp"));
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
