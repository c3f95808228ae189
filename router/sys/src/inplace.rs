//! In-place changes of small text files, because a bind mount shows the original file, not one that replaced it.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::SysError;

/// Passes the content of a file to `change` and writes the result, unless it is `None` or unchanged. Returns true if
/// the file was written. Concurrent readers see the old or the new text, if that is no longer than a page.
///
/// # Errors
/// The file is a symbolic link, no regular file, longer than `most` bytes, or not UTF-8; the errno of the failed
/// system call.
pub fn rewrite(
    path: &Path,
    most: u64,
    change: impl FnOnce(&str) -> Option<String>,
) -> Result<bool, SysError> {
    let failed = |e| SysError::new(format!("change {}", path.display()), e);
    try_rewrite(path, most, change).map_err(failed)
}

fn try_rewrite(
    path: &Path,
    most: u64,
    change: impl FnOnce(&str) -> Option<String>,
) -> io::Result<bool> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .custom_flags(flags.bits())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    let mut old = String::new();
    (&file).take(most + 1).read_to_string(&mut old)?;
    if u64::try_from(old.len()).unwrap_or(u64::MAX) > most {
        return Err(io::Error::other(format!("it is longer than {most} bytes")));
    }
    let Some(new) = change(&old).filter(|new| *new != old) else {
        return Ok(false);
    };
    // Written at once over the whole old text, so that no reader sees the end of the old text behind the new one.
    let rest = old.len().saturating_sub(new.len());
    let text = [new.as_str(), &"\n".repeat(rest)].concat();
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())?;
    file.set_len(u64::try_from(new.len()).unwrap_or(u64::MAX))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_file_is_changed_where_it_is_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::write(&path, "a long line\n").unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        assert!(rewrite(&path, 64, |old| Some(old.replace(" long", ""))).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a line\n");
        assert!(rewrite(&path, 64, |old| Some(format!("{old}more\n"))).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a line\nmore\n");
        assert!(!rewrite(&path, 64, |old| Some(old.to_owned())).unwrap());
        assert!(!rewrite(&path, 64, |_| None).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for refused in [
            rewrite(&link, 64, |_| Some(String::new())),
            rewrite(&path, 3, |_| Some(String::new())),
        ] {
            assert!(refused.is_err());
        }
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(rewrite(&path, 64, |_| Some(String::new())).is_err());
        assert!(rewrite(dir.path(), 64, |_| Some(String::new())).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), [0xff, 0xfe]);
    }
}
