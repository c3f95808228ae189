//! The router's state directory: identity and boot epoch, targets, neighbours, pinned names, attachments, networks.
//!
//! Each is a small file, replaced as a whole (write, fsync, rename, fsync of the directory), with a checksum in the
//! first line. A damaged or foreign file is an error that names the file and the remedy; it is never ignored and never
//! overwritten. A lock keeps two routers from sharing a directory.

pub(crate) mod background;
mod erase;
mod error;
pub(crate) mod file;
mod identity;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mesh_names::ManualNames;
use mesh_proto::control::{Forgotten, StoredNeighbour};
use mesh_state::content::{GivenPeers, parse_pins, pins_text, to_json};
use mesh_state::files::{
    ATTACHMENTS, FORGOTTEN, GIVEN, LOCK, NAMES, NEIGHBOURS, NETWORKS, PINS, TARGETS,
};
use mesh_sys::process::{LockFile, is_trusted};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::erase::erase;
pub use self::error::StateError;
pub use self::writer::StateWriter;

/// Remedy for a damaged file of networks.
const NETWORKS_REMEDY: &str = "remove it; the other routers tell which networks there are, and those that only this \
                               router knew are to be created again";
/// Remedy for a damaged table of attachments.
const ATTACHMENTS_REMEDY: &str = "remove it and run `mesh attach` for each container";
/// Mode bit of a directory in which users may remove their own files only.
const STICKY: u32 = 0o1000;

/// The state directory, locked while this lives.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    _lock: LockFile,
}

impl Store {
    /// Opens and locks `dir`; creates it with mode 0700 if absent.
    ///
    /// # Errors
    /// [`StateError::InUse`] if another router has it; [`StateError::Unsafe`]; [`StateError::Io`].
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| StateError::io("cannot make the state directory", dir, e))?;
        check_directory(dir)?;
        let path = dir.join(LOCK);
        let lock = LockFile::try_lock(&path)
            .map_err(|e| StateError::io("cannot lock", &path, e.into_reason()))?;
        let Some(lock) = lock else {
            let pid = fs::read_to_string(&path)
                .ok()
                .and_then(|s| s.trim().parse().ok());
            return Err(StateError::InUse {
                dir: dir.to_owned(),
                pid,
            });
        };
        lock.write(&format!("{}\n", std::process::id()))
            .map_err(|e| StateError::io("cannot write", &path, e))?;
        Ok(Self {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// Returns the path of the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the targets given with `launch` or `connect`, as typed.
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

    /// Returns the peers given to the last start; empty if none are stored.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], [`StateError::Io`].
    pub fn given(&self) -> Result<GivenPeers, StateError> {
        self.load(
            GIVEN,
            "remove it; peers of the configuration that were forgotten come back",
        )
    }

    /// Replaces the peers given to the last start.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old ones stay.
    pub fn set_given(&self, given: &GivenPeers) -> Result<(), StateError> {
        self.save(GIVEN, given)
    }

    /// Returns the targets that must not be dialled; empty if none are stored.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], [`StateError::Io`].
    pub fn forgotten(&self) -> Result<Vec<Forgotten>, StateError> {
        self.load(FORGOTTEN, "remove it and run `mesh forget` again")
    }

    /// Replaces the targets that must not be dialled.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old content stays.
    pub fn set_forgotten(&self, forgotten: &[Forgotten]) -> Result<(), StateError> {
        self.save(FORGOTTEN, &forgotten)
    }

    /// Returns the problem if files cannot be written here: the directory is missing, read-only or full.
    pub fn hindrance(&self) -> Option<String> {
        mesh_sys::process::hindrance(&self.dir)
    }

    /// Returns the neighbours to reconnect to; empty if none are stored.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], [`StateError::Io`].
    pub fn neighbours(&self) -> Result<Vec<StoredNeighbour>, StateError> {
        self.load(
            NEIGHBOURS,
            "remove it; the router finds others by its targets",
        )
    }

    /// Replaces the neighbours.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old ones stay.
    pub fn set_neighbours(&self, neighbours: &[StoredNeighbour]) -> Result<(), StateError> {
        self.save(NEIGHBOURS, &neighbours)
    }

    /// Returns the signing key that each peer name is bound to.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], [`StateError::Io`].
    pub fn pins(&self) -> Result<BTreeMap<String, [u8; 32]>, StateError> {
        const REMEDY: &str = "remove it; names are then bound to the first keys seen";
        let hexed: BTreeMap<String, String> = self.load(PINS, REMEDY)?;
        parse_pins(hexed).map_err(|why| StateError::corrupt(&self.dir.join(PINS), why, REMEDY))
    }

    /// Replaces the pins.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old ones stay.
    pub fn set_pins(&self, pins: &BTreeMap<String, [u8; 32]>) -> Result<(), StateError> {
        self.save(PINS, &pins_text(pins))
    }

    /// Returns the attachments of this host; the default if none are stored.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], [`StateError::Io`].
    pub fn attachments<T: DeserializeOwned + Default>(&self) -> Result<T, StateError> {
        self.load(ATTACHMENTS, ATTACHMENTS_REMEDY)
    }

    /// Returns the attachments that a router stored last in a directory, which it may have open.
    ///
    /// # Errors
    /// Those of [`Store::attachments`].
    pub(crate) fn peek_attachments<T: DeserializeOwned + Default>(
        dir: &Path,
    ) -> Result<T, StateError> {
        load(dir, ATTACHMENTS, ATTACHMENTS_REMEDY)
    }

    /// Replaces the attachments of this host.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old content stays.
    pub fn set_attachments<T: Serialize>(&self, table: &T) -> Result<(), StateError> {
        self.save(ATTACHMENTS, table)
    }

    /// Returns the operator's changes of names; empty if none are stored.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], [`StateError::Io`].
    pub fn names(&self) -> Result<ManualNames, StateError> {
        self.load(
            NAMES,
            "remove it and run `mesh dns-add` and `dns-remove` again",
        )
    }

    /// Replaces the operator's changes of names.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old content stays.
    pub fn set_names(&self, kept: &ManualNames) -> Result<(), StateError> {
        self.save(NAMES, kept)
    }

    /// Returns the networks and labels that the last run stored; `None` if none are stored.
    ///
    /// # Errors
    /// [`StateError::Corrupt`], [`StateError::Io`].
    pub fn networks(&self) -> Result<Option<Vec<u8>>, StateError> {
        file::read_bytes(&self.dir.join(NETWORKS), NETWORKS_REMEDY)
    }

    /// Returns the error for networks that were read and make no sense.
    pub(crate) fn refuse_networks(&self, why: impl Into<String>) -> StateError {
        StateError::corrupt(&self.dir.join(NETWORKS), why, NETWORKS_REMEDY)
    }

    /// Replaces the networks and labels.
    ///
    /// # Errors
    /// [`StateError::Io`]; the old content stays.
    pub fn set_networks(&self, content: &[u8]) -> Result<(), StateError> {
        file::write(&self.dir.join(NETWORKS), content)
    }

    fn load<T: DeserializeOwned + Default>(
        &self,
        name: &str,
        remedy: &'static str,
    ) -> Result<T, StateError> {
        load(&self.dir, name, remedy)
    }

    fn save<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        let path = self.dir.join(name);
        file::write(&path, to_json(value).as_bytes())
    }
}

fn load<T: DeserializeOwned + Default>(
    dir: &Path,
    name: &str,
    remedy: &'static str,
) -> Result<T, StateError> {
    let path = dir.join(name);
    match file::read(&path, remedy)? {
        None => Ok(T::default()),
        Some(body) => serde_json::from_str(&body)
            .map_err(|e| StateError::corrupt(&path, e.to_string(), remedy)),
    }
}

/// Fails if other users may write the directory: they could redirect the router's writes, and replace its identity.
fn check_directory(dir: &Path) -> Result<(), StateError> {
    let failed = |e| StateError::io("cannot look at the state directory", dir, e);
    let meta = fs::metadata(dir).map_err(failed)?;
    let unsafe_because = |why: String| StateError::Unsafe {
        dir: dir.to_owned(),
        why,
    };
    if !is_trusted(meta.uid()) {
        let why = format!("belongs to user {}; run: chown root", meta.uid());
        return Err(unsafe_because(why));
    }
    let mode = meta.mode() & 0o7777;
    // A directory with other files keeps its mode; the router's files are private in any case. A new tmpfs has the mode
    // of /tmp.
    let is_fresh = mode & 0o022 == 0 || mode & STICKY != 0;
    let tighten = || fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(failed);
    let is_ours = || erase::holds_only_state(dir).map_err(failed);
    if mode & 0o077 != 0 && is_fresh && is_ours()? {
        tighten()?;
        if is_ours()? {
            return Ok(());
        }
    }
    if mode & 0o022 != 0 {
        let why = format!("can be written by others (mode {mode:04o}); run: chmod 700");
        return Err(unsafe_because(why));
    }
    Ok(())
}
