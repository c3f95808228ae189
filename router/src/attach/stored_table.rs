//! The table of what is on the mesh on this host: stored before it is acted upon, and published when it changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_host::docker::endpoint::ContainerRef;
use mesh_host::leases::container_names::ContainerNames;
use mesh_host::table::AttachmentTable;
use mesh_proto::ids::Mac;
use mesh_proto::network::NetworkId;

use super::AttachmentError;
use super::published::PublishedTable;
use crate::state::{StateError, Store};

/// The owner of the table. It is read and changed in closures, so that its lock is never held over an `await`: the driver
/// must answer while another operation waits for dockerd.
pub(super) struct StoredTable {
    store: Arc<Store>,
    table: Mutex<AttachmentTable>,
    published: PublishedTable,
}

impl StoredTable {
    /// Reads what was on the mesh when the router last ran, and publishes it.
    ///
    /// # Errors
    /// The stored table cannot be read.
    pub(super) fn open(store: Arc<Store>, called: ContainerNames) -> Result<Self, StateError> {
        let mut table: AttachmentTable = store.attachments()?;
        // The router was stopped before these were made.
        table.endpoints.remove_unmade();
        let published = PublishedTable::new(called);
        published.publish(&table);
        Ok(Self {
            store,
            table: Mutex::new(table),
            published,
        })
    }

    /// Returns what `f` finds in the table.
    pub(super) fn read<T>(&self, f: impl FnOnce(&AttachmentTable) -> T) -> T {
        f(&self.lock())
    }

    /// Changes the table if that can be stored; else it stays as it is.
    ///
    /// # Errors
    /// Those of `change`; the state cannot be stored.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut AttachmentTable) -> Result<T, AttachmentError>,
    ) -> Result<T, AttachmentError> {
        let mut table = self.lock();
        let mut next = table.clone();
        let result = change(&mut next)?;
        if next != *table {
            self.store.set_attachments(&next)?;
            *table = next;
            self.published.publish(&table);
        }
        Ok(result)
    }

    /// Changes the table because the world has changed already; a failure to store it is only logged, and mended by the
    /// next change.
    pub(super) fn record<T>(&self, change: impl FnOnce(&mut AttachmentTable) -> T) -> T {
        let mut table = self.lock();
        let before = table.clone();
        let result = change(&mut table);
        if before != *table {
            if let Err(error) = self.store.set_attachments(&*table) {
                tracing::error!(%error, "the list of attachments is not stored");
            }
            self.published.publish(&table);
        }
        result
    }

    /// Returns the published parts of the table.
    pub(super) fn published(&self) -> &PublishedTable {
        &self.published
    }

    /// Returns the host's MAC addresses on the mesh, by network, once they are known.
    pub(super) fn host_macs(&self) -> BTreeMap<NetworkId, Mac> {
        self.published.host_macs()
    }

    /// Notes the host's MAC address in a network of the mesh.
    pub(super) fn set_host_mac(&self, network: NetworkId, mac: Mac) {
        if self.published.set_host_mac(network, mac) {
            self.published.publish(&self.lock());
        }
    }

    /// Forgets the host's MAC address in a network whose bridge is gone.
    pub(super) fn forget_host_mac(&self, network: NetworkId) {
        self.published.forget_host_mac(network);
    }

    /// Returns the number of renames of containers so far.
    pub(super) fn renames(&self) -> u64 {
        self.published.renames()
    }

    /// Notes the containers that Docker keeps, running or not, by the ids in the owners of their leases. Returns false,
    /// and changes nothing, if a container was renamed since there were `renames`: its name may be the old one.
    pub(super) fn set_keepers(
        &self,
        keepers: BTreeMap<String, ContainerRef>,
        renames: u64,
    ) -> bool {
        let is_current = self.published.set_keepers(keepers, renames);
        self.published.publish_names(&self.lock());
        is_current
    }

    /// Notes another name of a container.
    pub(super) fn rename(&self, container: &str, name: &str) {
        self.published.rename_keeper(container, name);
        self.record(|table| table.rename(container, name));
        self.published.publish_names(&self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, AttachmentTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use mesh_host::exposure::HostExposure;

    use super::*;

    fn open(dir: &std::path::Path) -> StoredTable {
        let store = Arc::new(Store::open(dir).unwrap());
        StoredTable::open(store, ContainerNames::default()).unwrap()
    }

    fn expose(table: &mut AttachmentTable, address: &str) -> Result<(), AttachmentError> {
        let address = address.parse().unwrap();
        Ok(table.expose(address, (true, false), None, &|_, _| None)?)
    }

    fn exposed(stored: &StoredTable) -> Vec<(String, bool)> {
        stored.read(|table| {
            let exposed = table.exposed.iter();
            let shown = |(address, exposure): (_, &HostExposure)| {
                (format!("{address}"), exposure.masquerade)
            };
            exposed.map(shown).collect()
        })
    }

    #[test]
    fn what_is_refused_or_cannot_be_stored_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let stored = open(dir.path());
        let refused: Result<(), AttachmentError> = stored.change(|table| {
            expose(table, "10.2.1.254/24")?;
            Err(AttachmentError::NoProcess(7))
        });
        assert!(refused.is_err() && exposed(&stored).is_empty());
        let trap = dir.path().join(".attachments.tmp");
        std::os::unix::fs::symlink("/dev/full", &trap).unwrap();
        let change = |table: &mut AttachmentTable| expose(table, "10.2.1.254/24");
        assert!(stored.change(change).is_err() && exposed(&stored).is_empty());
        stored.change(change).unwrap();
        let shown = [("10.2.1.254/24".to_owned(), true)];
        assert_eq!(exposed(&stored), shown);
        drop(stored);
        assert_eq!(exposed(&open(dir.path())), shown, "it is stored");
    }

    #[test]
    fn a_change_is_published_once_the_hosts_mac_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let stored = open(dir.path());
        let announced = stored.published().announced();
        stored
            .change(|table| expose(table, "10.2.1.254/24"))
            .unwrap();
        assert!(announced.borrow().is_empty());
        stored.set_host_mac(NetworkId::DEFAULT, Mac([2, 0, 0, 0, 0, 1]));
        assert_eq!(announced.borrow().len(), 1);
        let all = ["10.2.1.254/24".parse().unwrap()];
        stored.record(|table| table.exposed.remove(&all));
        assert!(announced.borrow().is_empty());
    }
}
