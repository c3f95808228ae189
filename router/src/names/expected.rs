//! The `/etc/hosts` of containers that are about to start. Docker has written the file before its last call to our
//! network driver, and the first process must find its mesh address in it.
//!
//! During that call Docker cannot be asked which container a connection belongs to, so this is recorded before: by the
//! lease name of the connection's address, or by the address if it has none.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use mesh_host::driver_options::promise;

use super::hosts_file::{Lines, path_of};
use crate::engine::Container;

/// Most connections that are recorded. Other containers get their file changed right after the start.
const MAX_EXPECTED: usize = 4_096;

/// Containers that may start, by [`key`] of their connections.
#[derive(Debug, Default)]
pub(super) struct Expected(Mutex<BTreeMap<String, Vec<Known>>>);

#[derive(Debug)]
struct Known {
    id: String,
    hostname: String,
    file: PathBuf,
}

impl Expected {
    /// Records a container that Docker described, running or not.
    pub(super) fn learn(&self, container: &EngineContainer) {
        let mut known = self.lock();
        forget(&mut known, &container.id);
        let file = path_of(&container.id, &container.hosts_file);
        let Some(file) = file.filter(|_| !container.leave_hosts) else {
            return;
        };
        for (address, holder) in container.connections.iter().filter_map(promise) {
            if known.values().map(Vec::len).sum::<usize>() >= MAX_EXPECTED {
                return;
            }
            let expected = Known {
                id: container.id.clone(),
                hostname: container.hostname.clone(),
                file: file.clone(),
            };
            known
                .entry(key(&holder, address))
                .or_default()
                .push(expected);
        }
    }

    /// Removes a container.
    pub(super) fn forget(&self, id: &str) {
        forget(&mut self.lock(), id);
    }

    /// Changes the file of the container that starts with these leases and addresses. Does nothing if several match.
    pub(super) fn before_start(&self, joined: &[(String, IpNet)]) {
        let known = self.lock();
        let promised = |(holder, address): &(String, IpNet)| {
            let by_holder = known.get(holder);
            by_holder.or_else(|| known.get(&key("", *address)))
        };
        let Some([container]) = joined.iter().find_map(promised).map(Vec::as_slice) else {
            return;
        };
        let addresses = joined.iter().map(|(_, address)| address.addr()).collect();
        let lines = Lines::new(&container.hostname, addresses, Vec::new());
        if let Err(error) = lines.put(&container.file) {
            tracing::debug!("the first process may take Docker's address for its own: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Known>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the key of a connection: its lease name, or for an address outside the shared range the address.
fn key(holder: &str, address: IpNet) -> String {
    match holder.is_empty() {
        true => address.to_string(),
        false => holder.to_owned(),
    }
}

fn forget(known: &mut BTreeMap<String, Vec<Known>>, id: &str) {
    known.retain(|_, all| {
        all.retain(|known| known.id != id);
        !all.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_starts_finds_its_address_in_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("0123/hosts");
        std::fs::create_dir(dir.path().join("0123")).unwrap();
        std::fs::write(&file, "172.17.0.5\tc\n").unwrap();
        let options = [
            ("mesh.address", "10.2.1.1/24"),
            ("mesh.holder", "docker:c:1"),
        ];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut container = EngineContainer {
            id: "0123".into(),
            hostname: "c".into(),
            hosts_file: file.to_string_lossy().into_owned(),
            connections: vec![BTreeMap::from(options)],
            ..EngineContainer::default()
        };
        let joined = [("docker:c:1".to_owned(), "10.2.1.1/24".parse().unwrap())];
        let expected = Expected::default();
        let text = || std::fs::read_to_string(&file).unwrap();
        expected.before_start(&joined);
        expected.learn(&container);
        expected.forget("0123");
        expected.before_start(&joined);
        container.leave_hosts = true;
        expected.learn(&container);
        expected.before_start(&joined);
        assert_eq!(text(), "172.17.0.5\tc\n");
        container.leave_hosts = false;
        expected.learn(&container);
        expected.before_start(&[("other".to_owned(), "10.2.1.9/24".parse().unwrap())]);
        expected.before_start(&joined);
        assert_eq!(text(), "10.2.1.1\tc\t# mesh\n172.17.0.5\tc\n");

        // Outside the shared range there is no lease name; two connections with equal addresses are ambiguous.
        std::fs::write(&file, "172.17.0.5\tc\n").unwrap();
        container.connections[0].remove("mesh.holder");
        expected.learn(&container);
        let mut twin = container.clone();
        twin.id = "4567".into();
        twin.hosts_file = "/nowhere/4567/hosts".into();
        expected.learn(&twin);
        let joined = [("docker::net".to_owned(), joined[0].1)];
        expected.before_start(&joined);
        assert_eq!(text(), "172.17.0.5\tc\n");
        expected.forget("4567");
        expected.before_start(&joined);
        assert_eq!(text(), "10.2.1.1\tc\t# mesh\n172.17.0.5\tc\n");
    }
}
