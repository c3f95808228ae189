//! Docker networks of ours that are gone under stopped containers: `docker network prune` and `rm` take networks that no
//! running container is on, and a stopped one cannot be started without.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mesh_proto::api::Runtime;

use super::table::Table;
use super::{AttachError, Attachments};
use crate::driver::options;
use crate::engine::{Connection, Container, Engine, EngineError, OwnNetwork};

/// How often, and after how long, it is looked whether a network is gone that Docker was about to delete.
const LOOKS: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(50);
/// How long Docker may wait for a network that takes the place of one which it deletes.
const MEND_WAIT: Duration = Duration::from_secs(3);
/// Ids of networks that are remembered as ours.
const MAX_KNOWN: usize = 256;

impl Attachments {
    /// Docker is deleting one of our networks, which it shows to nobody any more: another takes its place if a stopped
    /// container wants it, before Docker is answered. Of a version that still shows it, as soon as it is gone.
    pub(crate) async fn network_deleted(self: &Arc<Self>) {
        if self.is_retired() {
            return;
        }
        let mended = tokio::time::timeout(MEND_WAIT, self.mend_networks()).await;
        if matches!(mended, Ok(Ok(1..))) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            for _ in 0..LOOKS {
                tokio::time::sleep(BETWEEN).await;
                match this.mend_networks().await {
                    Ok(0) => {}
                    Ok(_) => return,
                    Err(error) => {
                        tracing::warn!(%error, "a network that stopped containers want is not made again yet");
                    }
                }
            }
        });
    }

    /// Something was answered to Docker without us: looks at everything now.
    pub(crate) fn look_again(&self) {
        self.again.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Makes networks again that stopped containers want, and connects these with the addresses they had; how many
    /// containers.
    ///
    /// # Errors
    /// Docker cannot be asked, or refuses for one of them; the others are mended.
    pub(crate) async fn mend_networks(&self) -> Result<usize, AttachError> {
        let Some(docker) = self.engines.of(Runtime::Docker) else {
            return Ok(0);
        };
        let existing = docker.networks().await?.into_iter();
        let ours = self.known_networks(existing.map(|network| network.id).collect());
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
        failed.map_or(Ok(mended), |error| Err(error.into()))
    }

    /// Ids of all networks that were ever seen to be ours, these included.
    fn known_networks(&self, now: BTreeSet<String>) -> BTreeSet<String> {
        let is_known = |table: &Table| now.is_subset(&table.networks);
        if !is_known(&self.table()) {
            self.record(|table| {
                if table.networks.len() + now.len() > MAX_KNOWN {
                    table.networks.clear();
                }
                table.networks.extend(now);
            });
        }
        self.table().networks.clone()
    }
}

/// Connects a stopped container to the networks that it had; how many were missing.
async fn reconnect(
    docker: &dyn Engine,
    container: &Container,
    ours: &BTreeSet<String>,
) -> Result<usize, EngineError> {
    let existing = docker.networks().await?;
    let is_lost = |c: &&Connection| {
        let was_ours = ours.contains(&c.network_id) || options::promise(&c.options).is_some();
        let leads_to = |network: &OwnNetwork| match c.network_id.is_empty() {
            // It never ran.
            true => network.name == c.network,
            false => network.id == c.network_id,
        };
        was_ours && !existing.iter().any(leads_to)
    };
    let mut count = 0;
    for connection in container.networks.iter().filter(is_lost) {
        docker.reconnect(&container.id, connection).await?;
        count += 1;
    }
    Ok(count)
}
