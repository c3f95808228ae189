//! One address taken from its container.

use std::sync::Arc;

use mesh_engine::error::EngineError;
use mesh_host::table::AddressBinding;
use mesh_proto::api::Runtime;

use super::Members;
use crate::attach::AttachmentError;
use crate::attach::docker::DockerEndpoints;
use crate::attach::foundation::Foundation;
use crate::attach::stored_table::StoredTable;
use crate::engine::Engines;

/// Takes addresses from containers. Callers have the turn to change containers.
pub(crate) struct Detachment {
    table: Arc<StoredTable>,
    members: Arc<Members>,
    endpoints: Arc<DockerEndpoints>,
    engines: Engines,
}

impl Detachment {
    pub(crate) fn new(
        base: &Foundation,
        members: &Arc<Members>,
        endpoints: &Arc<DockerEndpoints>,
    ) -> Self {
        Self {
            table: base.table.clone(),
            members: members.clone(),
            endpoints: endpoints.clone(),
            engines: base.engines.clone(),
        }
    }

    /// Takes an address from its container; an endpoint of Docker's is disconnected by Docker.
    ///
    /// # Errors
    /// Docker's; the kernel's.
    pub(crate) async fn take_off(&self, binding: &AddressBinding) -> Result<(), AttachmentError> {
        let Some(id) = &binding.endpoint else {
            let owner = &binding.owner;
            return self.members.remove_address(owner, binding.scoped()).await;
        };
        let network = self
            .table
            .read(|table| table.endpoints.get(id).map(|end| end.network.clone()));
        // Of a stopped container only the network is known.
        let network = network.unwrap_or_else(|| id.clone());
        if let Some(docker) = self.engines.of(Runtime::Docker) {
            match docker.disconnect(&network, &binding.owner).await {
                // Not one of Docker's any more.
                Ok(()) | Err(EngineError::NoContainer(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Docker has told the driver by now; if it knew nothing of the endpoint, it goes all the same.
        self.endpoints.delete(id).await;
        Ok(())
    }
}
