//! Docker containers on the mesh: whether their queries are redirected to our server, and their `/etc/hosts`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use mesh_names::AskerNetworks;

use crate::containers::hosts_file::HostsLines;

/// Port of DNS, as containers use it.
const PORT: u16 = 53;

/// A Docker container on the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerContainer {
    /// Full id.
    pub id: String,
    /// Container name.
    pub name: String,
    /// Path of its network namespace.
    pub sandbox: PathBuf,
    /// DNS servers that it was configured with.
    pub asks: Vec<IpAddr>,
    /// True if its search list has the domain of the mesh: it was meant to use the router, even if the address has
    /// changed.
    pub is_told: bool,
    /// True if Docker connected it to a network of the mesh by itself, without `mesh run`: nobody told it which name server to ask.
    pub is_untold: bool,
    /// Its `/etc/hosts` on this host, and our lines in it; `None` if the file must not be changed.
    pub hosts: Option<(PathBuf, HostsLines)>,
    /// Networks whose names it is answered.
    pub networks: AskerNetworks,
    /// Number of Docker's last answer about it.
    pub heard: u64,
}

impl DockerContainer {
    /// Returns true if its queries are to be answered by a server that listens on these addresses.
    pub fn asks_here(&self, listening: &[SocketAddr]) -> bool {
        let is_here = |ip: &IpAddr| listening.iter().any(|address| address.ip() == *ip);
        self.is_untold || self.asks.iter().any(is_here) || (self.is_told && !self.asks.is_empty())
    }

    /// Returns the problem of a container that queries a host address on which the server no longer listens.
    pub fn astray(&self, listening: &[SocketAddr]) -> Option<String> {
        let is_there = |ip: &IpAddr| listening.contains(&SocketAddr::new(*ip, PORT));
        if listening.is_empty() || self.asks.iter().any(is_there) {
            return None;
        }
        let first = self.asks.first()?;
        let now = listening.first()?.ip();
        Some(format!(
            "container {} asks {first} for names, where nobody answers any more: create it again, then it asks {now}",
            self.name
        ))
    }

    /// Returns the problem of a container whose queries are not redirected.
    pub fn not_redirected(&self, error: &dyn core::fmt::Display) -> String {
        format!(
            "container {} asks Docker's server first, which knows the names of this host only: {error}",
            self.name
        )
    }

    /// Returns the problem of a container whose file is not changed.
    pub fn hosts_unchanged(&self, error: &dyn core::fmt::Display) -> String {
        format!(
            "container {} may take Docker's address for its own: {error}",
            self.name
        )
    }
}

/// Files with lines of ours, by container.
#[derive(Debug, Default)]
pub struct ChangedFiles(BTreeMap<String, PathBuf>);

impl ChangedFiles {
    /// Notes that the file of a container has our lines.
    pub fn insert(&mut self, id: &str, path: PathBuf) {
        self.0.insert(id.to_owned(), path);
    }

    /// Returns the files of containers that left the mesh, and forgets them.
    pub fn take_left(&mut self, on_mesh: &[DockerContainer]) -> Vec<PathBuf> {
        let mut left = Vec::new();
        self.0.retain(|id, path| {
            let stays = on_mesh.iter().any(|c| c.id == *id && c.hosts.is_some());
            if !stays {
                left.push(core::mem::take(path));
            }
            stays
        });
        left
    }
}

/// Results of the last check of all Docker containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerCheck {
    /// Errors, one line each.
    pub errors: Vec<String>,
    /// Checked containers, with the number of the answer that was applied.
    done: BTreeMap<String, u64>,
}

impl DockerCheck {
    /// Notes that the latest answers about these containers are applied.
    pub fn set_done(&mut self, containers: &[DockerContainer]) {
        let done = containers.iter().map(|c| (c.id.clone(), c.heard));
        self.done = done.collect();
    }

    /// Returns true if the latest answer about a container is applied.
    pub fn is_done(&self, container: &DockerContainer) -> bool {
        self.done.get(&container.id) == Some(&container.heard)
    }

    /// Returns the errors that an earlier check did not have.
    pub fn news<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a String> {
        let is_new = |line: &&String| !before.errors.contains(line);
        self.errors.iter().filter(is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(asks: &[&str], is_told: bool) -> DockerContainer {
        DockerContainer {
            id: "1".into(),
            name: "web".into(),
            asks: asks.iter().map(|ip| ip.parse().unwrap()).collect(),
            is_told,
            hosts: Some(("/h".into(), HostsLines::default())),
            heard: 7,
            ..DockerContainer::default()
        }
    }

    #[test]
    fn containers_that_ask_here_are_redirected() {
        let listening = ["172.17.0.1:53".parse().unwrap()];
        for (asks, is_told, here, astray) in [
            (&["172.17.0.1"][..], false, true, false),
            (&["192.0.2.1"], false, false, true),
            (&["192.0.2.1"], true, true, true),
            (&[], true, false, false),
        ] {
            let container = container(asks, is_told);
            assert_eq!(container.asks_here(&listening), here, "{asks:?} {is_told}");
            assert_eq!(
                container.astray(&listening).is_some(),
                astray,
                "{asks:?} {is_told}"
            );
        }
        assert_eq!(container(&["192.0.2.1"], true).astray(&[]), None);
    }

    #[test]
    fn files_of_containers_that_left_are_restored_once() {
        let mut files = ChangedFiles::default();
        files.insert("1", "/h".into());
        let here = [container(&[], false)];
        assert!(files.take_left(&here).is_empty());
        assert_eq!(files.take_left(&[]), [PathBuf::from("/h")]);
        assert!(files.take_left(&[]).is_empty());
    }

    #[test]
    fn an_answer_is_done_once_it_is_applied() {
        let mut check = DockerCheck::default();
        let mut container = container(&[], false);
        assert!(!check.is_done(&container));
        check.set_done(core::slice::from_ref(&container));
        assert!(check.is_done(&container));
        container.heard += 1;
        assert!(!check.is_done(&container));
        check.errors.push("e".into());
        assert_eq!(check.news(&DockerCheck::default()).count(), 1);
        assert_eq!(check.news(&check.clone()).count(), 0);
    }
}
