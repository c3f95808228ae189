//! The `/etc/hosts` of containers that are about to start; [`StartingContainers`] knows which file is whose.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use mesh_dns::containers::starting::StartingContainers;
use mesh_engine::container::EngineContainer;

use super::hosts_file::put;

/// Containers that may start. Shared with the Docker driver.
#[derive(Debug, Default)]
pub(super) struct StartingFiles(Mutex<StartingContainers>);

impl StartingFiles {
    /// Records a container that Docker described, running or not.
    pub(super) fn learn(&self, container: &EngineContainer) {
        self.lock().learn(container);
    }

    /// Removes a container.
    pub(super) fn forget(&self, id: &str) {
        self.lock().forget(id);
    }

    /// Changes the file of the container that starts with these leases and addresses. Does nothing if several match.
    pub(super) fn before_start(&self, joined: &[(String, IpNet)]) {
        let starting = self.lock();
        let Some((path, lines)) = starting.hosts_of(joined) else {
            return;
        };
        if let Err(error) = put(&lines, &path) {
            tracing::debug!("the first process may take Docker's address for its own: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, StartingContainers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
        let starting = StartingFiles::default();
        let text = || std::fs::read_to_string(&file).unwrap();
        starting.before_start(&joined);
        starting.learn(&container);
        starting.forget("0123");
        starting.before_start(&joined);
        container.leave_hosts = true;
        starting.learn(&container);
        starting.before_start(&joined);
        assert_eq!(text(), "172.17.0.5\tc\n");
        container.leave_hosts = false;
        starting.learn(&container);
        starting.before_start(&[("other".to_owned(), "10.2.1.9/24".parse().unwrap())]);
        starting.before_start(&joined);
        assert_eq!(text(), "10.2.1.1\tc\t# mesh\n172.17.0.5\tc\n");

        // Outside the shared range there is no lease name; two connections with equal addresses are ambiguous.
        std::fs::write(&file, "172.17.0.5\tc\n").unwrap();
        container.connections[0].remove("mesh.holder");
        starting.learn(&container);
        let mut twin = container.clone();
        twin.id = "4567".into();
        twin.hosts_file = "/nowhere/4567/hosts".into();
        starting.learn(&twin);
        let joined = [("docker::net".to_owned(), joined[0].1)];
        starting.before_start(&joined);
        assert_eq!(text(), "172.17.0.5\tc\n");
        starting.forget("4567");
        starting.before_start(&joined);
        assert_eq!(text(), "10.2.1.1\tc\t# mesh\n172.17.0.5\tc\n");
    }
}
