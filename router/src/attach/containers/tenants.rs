//! Tenants of namespaces of ours, above all podman's containers: one that is stopped keeps its namespace. Podman has no
//! daemon that tells at once what ended, so it is asked.

use std::net::IpAddr;
use std::sync::Arc;

use mesh_engine::error::EngineError;
use mesh_host::member::{PluggedMember, Tenant};
use mesh_host::reconcile::{EngineListings, TenantState, listed_state};
use mesh_proto::address::AddressArg;
use mesh_proto::network::NetworkId;

use super::Members;
use crate::attach::AttachmentError;
use crate::attach::foundation::Foundation;
use crate::attach::kernel::KernelHandle;
use crate::attach::leases::LeaseCollector;
use crate::attach::operations::Operations;
use crate::attach::stored_table::StoredTable;
use crate::engine::Engines;

/// Knows who lives in namespaces of ours.
pub(crate) struct Tenants {
    table: Arc<StoredTable>,
    kernel: KernelHandle,
    engines: Engines,
    operations: Arc<Operations>,
    members: Arc<Members>,
    leases: Arc<LeaseCollector>,
}

impl Tenants {
    pub(crate) fn new(base: &Foundation, members: &Arc<Members>) -> Self {
        Self {
            table: base.table.clone(),
            kernel: base.kernel.clone(),
            engines: base.engines.clone(),
            operations: base.operations.clone(),
            members: members.clone(),
            leases: base.leases.clone(),
        }
    }

    /// Returns the state of the tenant of a member's namespace. While its engine cannot be asked, it is as it was.
    pub(crate) async fn state_of(
        &self,
        member: &PluggedMember,
        tenant: &Tenant,
        listings: &EngineListings,
    ) -> TenantState {
        let id = match tenant {
            Tenant::Caller(process) | Tenant::Process(process) => {
                return match self.kernel.is_alive(*process) {
                    true => TenantState::Running,
                    false => TenantState::Gone,
                };
            }
            Tenant::Container(id) => id,
        };
        let listing = listings.of(member.runtime);
        if let Some(state) = listed_state(member, id, listing) {
            return state;
        }
        let is_listed = listing.is_some_and(|listing| listing.contains_key(id));
        self.ask(member, id, is_listed).await
    }

    /// Asks the engine of a container for its state now; a list calls it stopped if `is_listed`, or else gone.
    async fn ask(&self, member: &PluggedMember, id: &str, is_listed: bool) -> TenantState {
        let Some(engine) = self.engines.of(member.runtime) else {
            return match is_listed {
                true => TenantState::Stopped,
                false => TenantState::Gone,
            };
        };
        match engine.inspect(id).await {
            Ok(container) if container.running => TenantState::Running,
            Ok(_) => TenantState::Stopped,
            Err(EngineError::NoContainer(_)) => TenantState::Gone,
            Err(_) => TenantState::as_seen_last(member),
        }
    }

    /// Looks at podman's containers that have one of these addresses in a network, before anybody is refused because of
    /// them.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) async fn refresh(
        &self,
        network: NetworkId,
        args: &[AddressArg],
    ) -> Result<(), AttachmentError> {
        let addresses: Vec<IpAddr> = args
            .iter()
            .filter_map(|arg| match arg {
                AddressArg::Ip(ip) => Some(ip.addr()),
                _ => None,
            })
            .collect();
        let found = self
            .table
            .read(|table| table.members.podman_with(network, &addresses));
        let mut is_gone = false;
        for (key, id, member) in found {
            let state = self.ask(&member, &id, true).await;
            let _guard = self.operations.begin().await;
            match state {
                TenantState::Gone => {
                    self.members.remove(&key).await?;
                    is_gone = true;
                }
                TenantState::Stopped if !member.detached => self.members.suspend(&key).await?,
                TenantState::Stopped | TenantState::Running => {}
            }
        }
        if is_gone {
            // Its leases are free before they are claimed again.
            self.leases.collect().await;
        }
        Ok(())
    }
}
