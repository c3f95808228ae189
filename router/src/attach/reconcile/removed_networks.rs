//! Networks that the mesh has no more: what is in them here is detached, and told.

use std::sync::Arc;

use mesh_host::table::AddressBinding;
use mesh_proto::api::Runtime;
use mesh_proto::network::NetworkId;

use crate::attach::AttachmentError;
use crate::attach::containers::Detachment;
use crate::attach::foundation::Foundation;
use crate::attach::host::{HostExposer, Uplinks};
use crate::attach::networks::{AttachedNetworks, EvictedContainer};
use crate::attach::stored_table::StoredTable;

/// Takes containers, the host and other bridges off networks that were removed.
pub(crate) struct RemovedNetworks {
    table: Arc<StoredTable>,
    networks: Arc<AttachedNetworks>,
    detachment: Arc<Detachment>,
    exposer: Arc<HostExposer>,
    uplinks: Arc<Uplinks>,
}

impl RemovedNetworks {
    pub(crate) fn new(
        base: &Foundation,
        detachment: Arc<Detachment>,
        exposer: Arc<HostExposer>,
        uplinks: Arc<Uplinks>,
    ) -> Self {
        Self {
            table: base.table.clone(),
            networks: base.networks.clone(),
            detachment,
            exposer,
            uplinks,
        }
    }

    /// Opens the networks that are used, closes those that are not, and empties those that were removed; failures are
    /// logged, and tried again by the next look.
    pub(super) async fn mend(&self) {
        for network in self.networks.mend().await {
            if let Err(error) = self.empty(network).await {
                let name = self.networks.name(&network);
                tracing::warn!(%error, "the network {name} was removed, and something on this host could not be detached");
            }
        }
    }

    async fn empty(&self, network: NetworkId) -> Result<(), AttachmentError> {
        let bindings = self.table.read(|table| table.bindings_in(network));
        let of_host = bindings.iter().filter(|binding| binding.is_host());
        if of_host.clone().next().is_some() {
            self.exposer.hide_network(network).await?;
        }
        of_host.for_each(|binding| self.tell(network, binding, Runtime::Host));
        let of_containers = bindings.iter().filter(|binding| !binding.is_host());
        let mut result = Ok(());
        for binding in of_containers {
            let runtime = self.runtime_of(binding);
            match self.detachment.take_off(binding).await {
                Ok(()) => self.tell(network, binding, runtime),
                Err(error) => result = result.and(Err(error)),
            }
        }
        let name = self.networks.name(&network);
        for bridge in self.uplinks.leave_network(network).await? {
            tracing::warn!(
                "the network {name} was removed; the bridge {bridge} is detached from it"
            );
        }
        result
    }

    /// Returns the runtime of a container that is in the table still.
    fn runtime_of(&self, binding: &AddressBinding) -> Runtime {
        if binding.endpoint.is_some() {
            return Runtime::Docker;
        }
        let found = self.table.read(|table| {
            let mut members = table.members.of_owner(&binding.owner);
            members.next().map(|(_, member)| member.runtime)
        });
        found.unwrap_or(Runtime::Process)
    }

    fn tell(&self, network: NetworkId, binding: &AddressBinding, runtime: Runtime) {
        let name = self.networks.name(&network);
        tracing::warn!(
            "the network {name} was removed; {} is detached from it, and had the address {}",
            binding.name,
            binding.address.addr()
        );
        self.networks.note_eviction(EvictedContainer {
            container: binding.owner.clone(),
            name: binding.name.clone(),
            runtime,
            network: name,
            address: binding.address,
        });
    }
}
