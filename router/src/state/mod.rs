//! The router's state directory: identity and boot epoch, targets, pinned names, attachments.
//!
//! One small file each, replaced as a whole (write, fsync, rename, fsync of the directory), with a checksum in the
//! first line. A file that is damaged or not ours is an error that names the file and the remedy; it is never ignored
//! and never overwritten. A lock keeps two routers from sharing a directory.

pub(crate) mod file;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use mesh_proto::names::Kept;
use mesh_sys::process::LockFile;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use self::writer::{Change, Writer};
use crate::ipam;

const IDENTITY: &str = "identity";
const TARGETS: &str = "targets";
const PINS: &str = "pins";
const ATTACHMENTS: &str = "attachments";
const NAMES: &str = "names";
const LOCK: &str = "lock";
/// Written by `mesh launch`, with what the router says.
pub(crate) const LOG: &str = "router.log";
/// What was in it before it grew too long.
pub(crate) const OLD_LOG: &str = "router.log.1";
const IDENTITY_REMEDY: &str =
    "restore it from a backup, or remove it and this router joins as a new peer";

/// Why the state cannot be used; the message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another router holds the lock.
    #[error("state directory {} is in use by another router{}", dir.display(), pid.map(|p| format!(" (pid {p})")).unwrap_or_default())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who holds it, if the lock file says so.
        pid: Option<u32>,
    },
    /// The system refused something (permissions, disk full, …); the old content is still there.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Damaged, or not ours.
    #[error("state file {} cannot be used: {why}; {remedy}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The identity may be read by others.
    #[error("{} holds secret keys but has mode {mode:04o}; run: chmod 600 {}", path.display(), path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl StateError {
    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }

    fn corrupt(path: &Path, why: impl Into<String>, remedy: &'static str) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            why: why.into(),
            remedy,
        }
    }
}

/// The secret seeds of a router's identity, and how often it has started. Zeroized when dropped; `Debug` prints nothing.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct IdentitySeeds {
    /// Ed25519 seed.
    pub sign: [u8; 32],
    /// X25519 secret.
    pub dh: [u8; 32],
    /// Starts so far; 0 before the first [`Store::boot`].
    pub epoch: u64,
}

impl std::fmt::Debug for IdentitySeeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentitySeeds")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    sign: String,
    dh: String,
    epoch: u64,
}

/// The state directory, locked for as long as this lives.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    _lock: LockFile,
}

impl Store {
    /// Opens `dir`, made with mode 0700 if absent, and locks it.
    ///
    /// # Errors
    /// [`StateError::InUse`] when another router has it; [`StateError::Io`].
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| StateError::io("cannot make state directory", dir, e))?;
        let path = dir.join(LOCK);
        let lock = LockFile::try_lock(&path)
            .map_err(|e| StateError::io("cannot lock", &path, io::Error::other(e)))?;
        let Some(lock) = lock else {
            let pid = fs::read_to_string(&path)
                .ok()
                .and_then(|s| s.trim().parse().ok());
            return Err(StateError::InUse {
                dir: dir.to_owned(),
                pid,
            });
        };
        fs::write(&path, format!("{}\n", std::process::id()))
            .map_err(|e| StateError::io("cannot write", &path, e))?;
        Ok(Self {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The identity, as of the last start; none before the first [`Store::boot`].
    ///
    /// # Errors
    /// [`StateError::TooOpen`] when others may read it, [`StateError::Corrupt`], [`StateError::Io`].
    pub fn identity(&self) -> Result<Option<IdentitySeeds>, StateError> {
        let path = self.dir.join(IDENTITY);
        file::check_private(&path)?;
        let Some(mut body) = file::read(&path, IDENTITY_REMEDY)? else {
            return Ok(None);
        };
        let parsed: Result<IdentityFile, _> = serde_json::from_str(&body);
        body.zeroize();
        let parsed =
            parsed.map_err(|e| StateError::corrupt(&path, e.to_string(), IDENTITY_REMEDY))?;
        match (unhex(&parsed.sign), unhex(&parsed.dh)) {
            (Some(sign), Some(dh)) => Ok(Some(IdentitySeeds {
                sign,
                dh,
                epoch: parsed.epoch,
            })),
            _ => Err(StateError::corrupt(
                &path,
                "a key is not 64 hexadecimal digits",
                IDENTITY_REMEDY,
            )),
        }
    }

    /// One more start: raises the epoch and stores it before anything is signed with it. The first time the identity
    /// is made from `fresh` (called once, for two independent random seeds).
    ///
    /// # Errors
    /// As [`Store::identity`]; the router must not start without a stored epoch.
    pub fn boot(
        &self,
        fresh: impl FnOnce() -> ([u8; 32], [u8; 32]),
    ) -> Result<IdentitySeeds, StateError> {
        let mut seeds = if let Some(seeds) = self.identity()? {
            seeds
        } else {
            let (sign, dh) = fresh();
            IdentitySeeds { sign, dh, epoch: 0 }
        };
        // An epoch that does not rise would make peers take our handshakes for replays.
        seeds.epoch = seeds.epoch.checked_add(1).ok_or_else(|| {
            StateError::corrupt(
                &self.dir.join(IDENTITY),
                "its epoch cannot be raised",
                IDENTITY_REMEDY,
            )
        })?;
        self.set_identity(&seeds).map(|()| seeds)
    }

    /// Stores an epoch that was raised in the middle of a run, so that the next start begins above it. A lower one than
    /// is stored changes nothing.
    ///
    /// # Errors
    /// As [`Store::identity`]; the old content stays.
    pub fn raise_epoch(&self, epoch: u64) -> Result<(), StateError> {
        match self.identity()? {
            Some(mut seeds) if seeds.epoch < epoch => {
                seeds.epoch = epoch;
                self.set_identity(&seeds)
            }
            _ => Ok(()),
        }
    }

    fn set_identity(&self, seeds: &IdentitySeeds) -> Result<(), StateError> {
        let stored = IdentityFile {
            sign: hex(&seeds.sign),
            dh: hex(&seeds.dh),
            epoch: seeds.epoch,
        };
        let mut body = to_json(&stored);
        let written = file::write(&self.dir.join(IDENTITY), &body);
        body.zeroize();
        written
    }

    /// Targets given with `launch` or `connect`, as typed.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], [`StateError::Io`].
    pub fn targets(&self) -> Result<Vec<String>, StateError> {
        self.load(TARGETS, "remove it and run `mesh connect` for each target")
    }

    /// Replaces the targets.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old ones stay.
    pub fn set_targets(&self, targets: &[String]) -> Result<(), StateError> {
        self.save(TARGETS, &targets)
    }

    /// Which signing key each peer name is bound to.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], [`StateError::Io`].
    pub fn pins(&self) -> Result<BTreeMap<String, [u8; 32]>, StateError> {
        const REMEDY: &str = "remove it and names are bound anew to the keys seen first";
        let hexed: BTreeMap<String, String> = self.load(PINS, REMEDY)?;
        hexed
            .into_iter()
            .map(|(name, key)| match unhex(&key) {
                Some(key) => Ok((name, key)),
                None => Err(StateError::corrupt(
                    &self.dir.join(PINS),
                    format!("the key of {name} is not 64 hexadecimal digits"),
                    REMEDY,
                )),
            })
            .collect()
    }

    /// Replaces the pins.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old ones stay.
    pub fn set_pins(&self, pins: &BTreeMap<String, [u8; 32]>) -> Result<(), StateError> {
        let hexed: BTreeMap<&String, String> =
            pins.iter().map(|(name, key)| (name, hex(key))).collect();
        self.save(PINS, &hexed)
    }

    /// What is on the mesh on this host; the default when nothing was stored.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], [`StateError::Io`].
    pub fn attachments<T: DeserializeOwned + Default>(&self) -> Result<T, StateError> {
        self.load(
            ATTACHMENTS,
            "remove it and run `mesh attach` for each container",
        )
    }

    /// Replaces what is on the mesh on this host.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old content stays.
    pub fn set_attachments<T: Serialize>(&self, table: &T) -> Result<(), StateError> {
        self.save(ATTACHMENTS, table)
    }

    /// Names changed by hand; none when nothing was stored.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], [`StateError::Io`].
    pub fn names(&self) -> Result<Kept, StateError> {
        self.load(
            NAMES,
            "remove it and run `mesh dns-add` and `dns-remove` again",
        )
    }

    /// Replaces the names changed by hand.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old content stays.
    pub fn set_names(&self, kept: &Kept) -> Result<(), StateError> {
        self.save(NAMES, kept)
    }

    fn load<T: DeserializeOwned + Default>(
        &self,
        name: &str,
        remedy: &'static str,
    ) -> Result<T, StateError> {
        let path = self.dir.join(name);
        match file::read(&path, remedy)? {
            None => Ok(T::default()),
            Some(body) => serde_json::from_str(&body)
                .map_err(|e| StateError::corrupt(&path, e.to_string(), remedy)),
        }
    }

    fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        let path = self.dir.join(name);
        file::write(&path, &to_json(value))
    }
}

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

/// Our own types always serialize: maps have string keys and nothing fails on the way.
fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn hex(bytes: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(64), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(out)
}
