//! The `/etc/hosts` of containers that are about to start. Docker has written the file before its last call to our
//! network driver, and the first process must find its mesh address in it.
//!
//! During that call Docker cannot be asked which container a connection belongs to, so this is recorded before: by the
//! lease name of the connection's address, or by the address if it has none.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;
use mesh_engine::container::EngineContainer;
use mesh_host::docker::driver_options::promise;

use crate::containers::hosts_file::{HostsLines, path_of};

/// Most connections that are recorded. Other containers get their file changed right after the start.
const MAX_EXPECTED: usize = 4_096;

/// Containers that may start, by [`key`] of their connections.
#[derive(Debug, Default)]
pub struct StartingContainers(BTreeMap<String, Vec<StartingContainer>>);

#[derive(Debug)]
struct StartingContainer {
    id: String,
    hostname: String,
    file: PathBuf,
}

impl StartingContainers {
    /// Records a container that Docker described, running or not.
    pub fn learn(&mut self, container: &EngineContainer) {
        self.forget(&container.id);
        let file = path_of(&container.id, &container.hosts_file);
        let Some(file) = file.filter(|_| !container.leave_hosts) else {
            return;
        };
        for (address, owner) in container.connections.iter().filter_map(promise) {
            if self.0.values().map(Vec::len).sum::<usize>() >= MAX_EXPECTED {
                return;
            }
            let expected = StartingContainer {
                id: container.id.clone(),
                hostname: container.hostname.clone(),
                file: file.clone(),
            };
            self.0
                .entry(key(&owner, address.address))
                .or_default()
                .push(expected);
        }
    }

    /// Removes a container.
    pub fn forget(&mut self, id: &str) {
        self.0.retain(|_, all| {
            all.retain(|container| container.id != id);
            !all.is_empty()
        });
    }

    /// Returns the file of the container that starts with these leases and addresses, and our lines in it; `None` if none or
    /// several match.
    pub fn hosts_of(&self, joined: &[(String, IpNet)]) -> Option<(PathBuf, HostsLines)> {
        let promised = |(owner, address): &(String, IpNet)| {
            let by_owner = self.0.get(owner);
            by_owner.or_else(|| self.0.get(&key("", *address)))
        };
        let [container] = joined.iter().find_map(promised)?.as_slice() else {
            return None;
        };
        let addresses = joined.iter().map(|(_, address)| address.addr()).collect();
        let lines = HostsLines::new(&container.hostname, addresses, Vec::new());
        Some((container.file.clone(), lines))
    }
}

/// Returns the key of a connection: its lease name, or for an address outside the shared range the address.
fn key(owner: &str, address: IpNet) -> String {
    match owner.is_empty() {
        true => address.to_string(),
        false => owner.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_starts_finds_its_address_in_its_file() {
        let file = "/var/lib/docker/containers/0123/hosts";
        let options = [
            ("mesh.address", "10.2.1.1/24"),
            ("mesh.holder", "docker:c:1"),
        ];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut container = EngineContainer {
            id: "0123".into(),
            hostname: "c".into(),
            hosts_file: file.into(),
            connections: vec![BTreeMap::from(options)],
            ..EngineContainer::default()
        };
        let joined = [("docker:c:1".to_owned(), "10.2.1.1/24".parse().unwrap())];
        let mut starting = StartingContainers::default();
        assert_eq!(starting.hosts_of(&joined), None);
        starting.learn(&container);
        starting.forget("0123");
        assert_eq!(starting.hosts_of(&joined), None);
        container.leave_hosts = true;
        starting.learn(&container);
        assert_eq!(starting.hosts_of(&joined), None);
        container.leave_hosts = false;
        starting.learn(&container);
        let other = [("other".to_owned(), "10.2.1.9/24".parse().unwrap())];
        assert_eq!(starting.hosts_of(&other), None);
        let (path, lines) = starting.hosts_of(&joined).unwrap();
        assert_eq!(path, PathBuf::from(file));
        let text = lines.in_place_of("172.17.0.5\tc\n");
        assert_eq!(text, "10.2.1.1\tc\t# mesh\n172.17.0.5\tc\n");

        // Outside the shared range there is no lease name; two connections with equal addresses are ambiguous.
        container.connections[0].remove("mesh.holder");
        starting.learn(&container);
        let mut twin = container.clone();
        twin.id = "4567".into();
        twin.hosts_file = "/nowhere/4567/hosts".into();
        starting.learn(&twin);
        let joined = [("docker::net".to_owned(), joined[0].1)];
        assert_eq!(starting.hosts_of(&joined), None);
        starting.forget("4567");
        assert_eq!(starting.hosts_of(&joined).unwrap().0, PathBuf::from(file));
    }
}
