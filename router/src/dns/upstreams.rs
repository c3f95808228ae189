//! Upstream servers: those that the host uses, from the current `resolv.conf`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mesh_proto::limits::{MAX_RESOLV_CONF, RESOLV_CONF_INTERVAL};
use mesh_proto::names::upstreams;

/// Source of the upstream servers.
#[derive(Debug)]
pub struct Upstreams(Source);

#[derive(Debug)]
enum Source {
    Fixed(Vec<SocketAddr>),
    File(PathBuf, Mutex<Known>),
}

/// Last known content of the file.
#[derive(Debug, Default)]
struct Known {
    looked: Option<Instant>,
    stamp: Option<Stamp>,
    servers: Vec<SocketAddr>,
}

/// Identity of the file's content: inode, length, modification time in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64);

impl Upstreams {
    /// Returns a fixed list of servers.
    pub fn fixed(servers: Vec<SocketAddr>) -> Self {
        Self(Source::Fixed(servers))
    }

    /// Returns the servers in a file, usually `/etc/resolv.conf`; it is checked for changes while queries arrive.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into(), Mutex::default()))
    }

    /// Returns the current servers, in order.
    pub(super) fn now(&self) -> Vec<SocketAddr> {
        match &self.0 {
            Source::Fixed(servers) => servers.clone(),
            Source::File(path, known) => {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                known.look(path);
                known.servers.clone()
            }
        }
    }
}

impl Known {
    fn look(&mut self, path: &Path) {
        if self
            .looked
            .is_some_and(|at| at.elapsed() < RESOLV_CONF_INTERVAL)
        {
            return;
        }
        let is_first = self.looked.is_none();
        self.looked = Some(Instant::now());
        // A file that is missing for a moment (while being replaced) removes no server.
        let Ok(stamp) = stamp(path) else {
            if is_first {
                tracing::warn!(
                    "there is no {}: only names of the mesh are known",
                    path.display()
                );
            }
            return;
        };
        if self.stamp == Some(stamp) {
            return;
        }
        match read_resolv_conf(path) {
            Ok(text) => {
                let found = upstreams(&text, |_| false);
                let servers: Vec<String> = found.servers.iter().map(ToString::to_string).collect();
                tracing::info!(
                    "names that are not of the mesh are asked of: {}",
                    if servers.is_empty() {
                        "nobody".to_owned()
                    } else {
                        servers.join(", ")
                    }
                );
                if found.unusable > 0 {
                    let path = path.display();
                    tracing::warn!("{} lines of {path} name no usable server", found.unusable);
                }
                self.servers = found.servers;
                self.stamp = Some(stamp);
            }
            Err(error) => tracing::warn!("cannot read {}: {error}", path.display()),
        }
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let data = fs::metadata(path)?;
    Ok((data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
}

/// Reads the start of a `resolv.conf`, up to the size limit.
pub fn read_resolv_conf(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_RESOLV_CONF)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
