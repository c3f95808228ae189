//! Upstream servers: those that the host uses, from the current `resolv.conf`; [`ResolvConfCache`] decides when it is read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mesh_dns::server::resolv_conf::{FileStamp, Look, ResolvConfCache};
use mesh_proto::limits::MAX_RESOLV_CONF;
use mesh_proto::time::Instant;

/// Source of the upstream servers.
#[derive(Debug)]
pub struct UpstreamSource(SourceKind);

#[derive(Debug)]
enum SourceKind {
    Fixed(Vec<SocketAddr>),
    File(PathBuf, Mutex<ResolvConfCache>),
}

impl UpstreamSource {
    /// Returns a fixed list of servers.
    pub fn fixed(servers: Vec<SocketAddr>) -> Self {
        Self(SourceKind::Fixed(servers))
    }

    /// Returns the servers in a file, usually `/etc/resolv.conf`; it is checked for changes while queries arrive.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(SourceKind::File(path.into(), Mutex::default()))
    }

    /// Returns the current servers, in order.
    pub(super) fn servers(&self, now: Instant) -> Vec<SocketAddr> {
        match &self.0 {
            SourceKind::Fixed(servers) => servers.clone(),
            SourceKind::File(path, known) => {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                look(&mut known, path, now);
                known.servers().to_vec()
            }
        }
    }
}

fn look(known: &mut ResolvConfCache, path: &Path, now: Instant) {
    let Some(look) = known.begin_look(now) else {
        return;
    };
    // A file that is missing for a moment (while being replaced) removes no server.
    let Ok(stamp) = stamp(path) else {
        if look == Look::First {
            tracing::warn!(
                "there is no {}: only names of the mesh are known",
                path.display()
            );
        }
        return;
    };
    if !known.is_other(stamp) {
        return;
    }
    match read_resolv_conf(path) {
        Ok(text) => {
            let unusable = known.set(stamp, &text);
            tracing::info!(
                "names that are not of the mesh are asked of: {}",
                known.servers_text()
            );
            if unusable > 0 {
                let path = path.display();
                tracing::warn!("{unusable} lines of {path} name no usable server");
            }
        }
        Err(error) => tracing::warn!("cannot read {}: {error}", path.display()),
    }
}

fn stamp(path: &Path) -> io::Result<FileStamp> {
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
