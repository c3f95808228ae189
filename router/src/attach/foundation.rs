//! The parts that all others stand on.

use std::sync::Arc;

use super::kernel::{KernelApi, KernelHandle};
use super::leases::{AddressBook, LeaseCollector, LeaseSource};
use super::operations::Operations;
use super::stored_table::StoredTable;
use super::wakeups::Wakeups;
use crate::engine::Engines;
use crate::ipam::Allocator;
use crate::state::{StateError, Store};

/// The table, the world around it, and leases. Each part takes from here what it uses.
pub(super) struct Foundation {
    pub(super) table: Arc<StoredTable>,
    pub(super) kernel: KernelHandle,
    pub(super) engines: Engines,
    pub(super) operations: Arc<Operations>,
    pub(super) wakeups: Arc<Wakeups>,
    pub(super) source: Arc<LeaseSource>,
    pub(super) leases: Arc<LeaseCollector>,
}

impl Foundation {
    /// Reads the stored table.
    ///
    /// # Errors
    /// The stored table cannot be read.
    pub(super) fn open(
        store: Arc<Store>,
        kernel: Arc<dyn KernelApi>,
        engines: Engines,
        book: AddressBook,
        allocator: Allocator,
    ) -> Result<Self, StateError> {
        let kernel = KernelHandle::new(kernel);
        let table = Arc::new(StoredTable::open(
            store,
            allocator.container_names().clone(),
        )?);
        let operations = Arc::new(Operations::default());
        let source = Arc::new(LeaseSource::new(allocator, book, operations.clone()));
        let leases = Arc::new(LeaseCollector::new(
            table.clone(),
            source.clone(),
            kernel.clone(),
            engines.clone(),
            operations.clone(),
        ));
        Ok(Self {
            table,
            kernel,
            engines,
            operations,
            wakeups: Arc::new(Wakeups::default()),
            source,
            leases,
        })
    }
}
