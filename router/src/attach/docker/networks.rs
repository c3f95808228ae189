//! Docker networks of ours that are gone under stopped containers: `docker network prune` and `rm` take networks that no
//! running container is on, and a stopped one cannot be started without.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mesh_engine::container::EngineContainer;
use mesh_engine::docker::stranded::lost_connections;
use mesh_engine::error::EngineError;
use mesh_proto::api::Runtime;

use crate::attach::foundation::Foundation;
use crate::attach::operations::Operations;
use crate::attach::stored_table::StoredTable;
use crate::engine::{Engine, Engines};

/// Number of looks for a network that Docker was about to delete and still shows, and the time between two of them.
const LOOKS: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(50);
/// Longest time that Docker waits for a network that takes the place of one which it deletes.
const MEND_WAIT: Duration = Duration::from_secs(3);

/// Makes networks again that stopped containers want.
pub(crate) struct DockerNetworks {
    table: Arc<StoredTable>,
    engines: Engines,
    operations: Arc<Operations>,
}

impl DockerNetworks {
    pub(in crate::attach) fn new(base: &Foundation) -> Self {
        Self {
            table: base.table.clone(),
            engines: base.engines.clone(),
            operations: base.operations.clone(),
        }
    }

    /// Puts another network in the place of one that Docker is deleting, and shows to nobody any more, if a stopped
    /// container wants it, before Docker is answered. Of a version that still shows it, as soon as it is gone.
    pub(crate) async fn deleted(self: &Arc<Self>) {
        if self.operations.is_retired() {
            return;
        }
        let mended = tokio::time::timeout(MEND_WAIT, self.mend()).await;
        if matches!(mended, Ok(Ok(1..))) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            for _ in 0..LOOKS {
                tokio::time::sleep(BETWEEN).await;
                match this.mend().await {
                    Ok(0) => {}
                    Ok(_) => return,
                    Err(error) => {
                        tracing::warn!(%error, "a network that stopped containers want is not made again yet");
                    }
                }
            }
        });
    }

    /// Makes networks again that stopped containers want, and connects these with the addresses they had; returns the
    /// number of containers.
    ///
    /// # Errors
    /// Docker cannot be asked, or refuses for one of them; the others are mended.
    pub(crate) async fn mend(&self) -> Result<usize, EngineError> {
        let Some(docker) = self.engines.of(Runtime::Docker) else {
            return Ok(0);
        };
        let existing = docker.networks().await?.into_iter();
        let ours = self.learn(existing.map(|network| network.id).collect());
        let (mut mended, mut failed) = (0, None);
        for id in docker.stranded().await? {
            let Ok(container) = docker.inspect(&id).await else {
                continue;
            };
            match reconnect(&*docker, &container, &ours).await {
                Ok(0) => {}
                Ok(_) => {
                    mended += 1;
                    tracing::info!(
                        container = container.name,
                        "a Docker network was gone that this stopped container needs; it was made again"
                    );
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(mended), Err)
    }

    /// Returns the ids of all networks that were ever seen to be ours, these included.
    fn learn(&self, now: BTreeSet<String>) -> BTreeSet<String> {
        if !self.table.read(|table| now.is_subset(table.networks())) {
            self.table.record(|table| table.learn_networks(now));
        }
        self.table.read(|table| table.networks().clone())
    }
}

/// Connects a stopped container to the networks that it had; returns how many were missing.
async fn reconnect(
    docker: &dyn Engine,
    container: &EngineContainer,
    ours: &BTreeSet<String>,
) -> Result<usize, EngineError> {
    let existing = docker.networks().await?;
    let mut count = 0;
    for connection in lost_connections(container, &existing, ours) {
        docker.reconnect(&container.id, connection).await?;
        count += 1;
    }
    Ok(count)
}
