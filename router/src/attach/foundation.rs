//! The parts that all others stand on.

use std::sync::Arc;

use super::kernel::KernelHandle;
use super::leases::{LeaseCollector, LeaseSource};
use super::networks::AttachedNetworks;
use super::operations::Operations;
use super::stored_table::StoredTable;
use super::wakeups::Wakeups;
use super::{AttachmentError, Surroundings};
use crate::engine::Engines;
use crate::state::StateError;

/// The table, the world around it, and leases. Each part takes from here what it uses.
pub(super) struct Foundation {
    pub(super) table: Arc<StoredTable>,
    pub(super) kernel: KernelHandle,
    pub(super) engines: Engines,
    pub(super) operations: Arc<Operations>,
    pub(super) wakeups: Arc<Wakeups>,
    pub(super) source: Arc<LeaseSource>,
    pub(super) leases: Arc<LeaseCollector>,
    pub(super) networks: Arc<AttachedNetworks>,
}

impl Foundation {
    /// Reads the stored table.
    ///
    /// # Errors
    /// The stored table cannot be read.
    pub(super) fn open(around: Surroundings) -> Result<Self, StateError> {
        let Surroundings {
            store,
            kernel,
            engines,
            book,
            allocator,
            networks,
        } = around;
        let kernel = KernelHandle::new(kernel);
        let table = Arc::new(StoredTable::open(
            store,
            allocator.container_names().clone(),
        )?);
        let operations = Arc::new(Operations::default());
        let source = Arc::new(LeaseSource::new(
            allocator,
            networks.clone(),
            book,
            operations.clone(),
        ));
        let leases = Arc::new(LeaseCollector::new(
            table.clone(),
            source.clone(),
            kernel.clone(),
            engines.clone(),
            operations.clone(),
        ));
        let networks = AttachedNetworks::new(networks, kernel.clone(), table.clone());
        Ok(Self {
            networks: Arc::new(networks),
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

/// Returns 64 random bits in hexadecimal.
pub(super) fn fresh_id() -> Result<String, AttachmentError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|e| AttachmentError::Invalid(format!("no random numbers from the kernel: {e}")))?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}
