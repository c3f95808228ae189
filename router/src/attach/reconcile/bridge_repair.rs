//! The bridge, its ports and its firewall rule: made or mended by each look.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_host::interference::Interference;
use tokio::sync::watch;

use crate::attach::foundation::Foundation;
use crate::attach::host::{HostExposer, Uplinks};
use crate::attach::kernel::KernelHandle;
use crate::attach::stored_table::StoredTable;
use crate::clock::Clock;

/// Mends the bridge, and tells of it.
pub(crate) struct BridgeRepair {
    table: Arc<StoredTable>,
    kernel: KernelHandle,
    exposer: Arc<HostExposer>,
    uplinks: Arc<Uplinks>,
    port_generation: watch::Sender<u64>,
    interference: Mutex<Interference>,
    clock: Clock,
}

impl BridgeRepair {
    pub(crate) fn new(base: &Foundation, exposer: Arc<HostExposer>, uplinks: Arc<Uplinks>) -> Self {
        Self {
            table: base.table.clone(),
            kernel: base.kernel.clone(),
            exposer,
            uplinks,
            port_generation: watch::Sender::default(),
            interference: Mutex::default(),
            clock: Clock::start(),
        }
    }

    /// Makes or mends the bridge, and joins other bridges to it; failures are logged.
    pub(super) async fn mend(&self) {
        let resting: BTreeSet<String> = self
            .table
            .read(|table| table.members.resting_tags().collect());
        let ensured = self
            .kernel
            .run(move |kernel| kernel.ensure_bridge(&resting));
        match ensured.await {
            Ok(done) => {
                let line = self.interfered().note(&done.changed, self.clock.now());
                if let Some(line) = line {
                    tracing::warn!("{line}");
                }
                if done.anything {
                    tracing::info!(
                        "the bridge, its ports or its firewall rule were made or mended"
                    );
                }
                if done.port {
                    self.port_generation.send_modify(|n| *n += 1);
                }
                if done.anything {
                    // A new bridge has no address.
                    self.exposer.wake();
                }
            }
            Err(error) => tracing::warn!(%error, "the bridge could not be mended"),
        }
        self.uplinks.mend().await;
    }

    /// Returns a number that is raised whenever the router's port had to be made again and must be opened again.
    pub(super) fn port_generation(&self) -> watch::Receiver<u64> {
        self.port_generation.subscribe()
    }

    /// Returns the changes of late at ports of `bridge` by somebody else, as a warning.
    pub(super) fn interference(&self, bridge: &str) -> Option<String> {
        self.interfered().warning(bridge, self.clock.now())
    }

    fn interfered(&self) -> MutexGuard<'_, Interference> {
        self.interference
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
