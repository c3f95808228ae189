//! Interfaces of ours that the table does not know: of containers that run on (the state was lost), or of nobody.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_host::docker::driver_options;
use mesh_host::docker::endpoint::{EndpointOptions, GivenAddresses};
use mesh_host::leases::lease_owner::lease_owner;
use mesh_host::member::{Home, MemberPort, PluggedMember};
use mesh_host::network::scoped::ScopedAddress;
use mesh_host::orphan::{self, OrphanVerdict};
use mesh_host::table::AttachmentTable;
use mesh_proto::api::Runtime;

use crate::attach::AttachmentError;
use crate::attach::docker::DockerEndpoints;
use crate::attach::foundation::Foundation;
use crate::attach::kernel::{KernelError, KernelHandle};
use crate::attach::stored_table::StoredTable;
use crate::engine::Engines;

/// Enters orphans of running containers into the table, and removes all others.
pub(crate) struct Orphans {
    table: Arc<StoredTable>,
    kernel: KernelHandle,
    engines: Engines,
    endpoints: Arc<DockerEndpoints>,
    /// Names of our namespaces begin with it.
    netns_prefix: String,
}

impl Orphans {
    pub(crate) fn new(
        base: &Foundation,
        endpoints: Arc<DockerEndpoints>,
        netns_prefix: String,
    ) -> Self {
        Self {
            table: base.table.clone(),
            kernel: base.kernel.clone(),
            engines: base.engines.clone(),
            endpoints,
            netns_prefix,
        }
    }

    /// Settles all orphans, of the interfaces that exist with the tags `plugged`.
    pub(super) async fn settle(&self, plugged: &BTreeSet<String>) {
        let known = self.table.read(AttachmentTable::tags);
        for tag in plugged.difference(&known) {
            if !self.is_nobodys(tag).await {
                continue;
            }
            if let Err(error) = self.kernel.unplug_all(vec![tag.clone()]).await {
                tracing::warn!(%error, "an interface that belongs to nobody could not be removed");
            }
        }
        if let Err(error) = self.remove_namespaces().await {
            tracing::warn!(%error, "a namespace that belongs to nobody could not be removed");
        }
    }

    /// Returns whether an interface belongs to nobody; one whose container runs is entered into the table. While Docker is
    /// away, nobody knows.
    async fn is_nobodys(&self, tag: &str) -> bool {
        let OrphanVerdict::AskEngines { key, address } = orphan::verdict(tag) else {
            return true;
        };
        match self.adopt_endpoint(&key, address).await {
            Ok(false) => {}
            Ok(true) | Err(_) => return false,
        }
        matches!(self.adopt_container(&key, address).await, Ok(false))
    }

    /// Takes an endpoint that Docker knows into the table, if it does.
    async fn adopt_endpoint(
        &self,
        id: &str,
        scoped: ScopedAddress,
    ) -> Result<bool, AttachmentError> {
        let Some(known) = self.endpoints.find(id).await? else {
            return Ok(false);
        };
        // Before it is joined nobody knows whose it is.
        if let Some(container) = &known.container {
            let options = container.connections.iter();
            let mut kept = options.filter_map(driver_options::kept);
            let kept = kept.find(|kept| kept.scoped() == scoped);
            let given = GivenAddresses {
                first: scoped.address,
                second: container.second_address(id),
            };
            let remembered = || {
                self.table
                    .read(|table| table.remembered_options(&known.network, given))
            };
            let kept = kept.or_else(|| remembered().filter(|kept| kept.scoped() == scoped));
            let owner = |_| lease_owner(Runtime::Docker, "", id);
            let wanted =
                kept.unwrap_or_else(|| EndpointOptions::given(scoped.network, given, owner, None));
            self.endpoints.enter(id, &known.network, container, &wanted);
        }
        Ok(true)
    }

    /// Takes an interface of a running container into the table, if there is such a container.
    async fn adopt_container(
        &self,
        id: &str,
        scoped: ScopedAddress,
    ) -> Result<bool, AttachmentError> {
        let Ok((engine, container)) = self.engines.find(None, id).await else {
            return Ok(false);
        };
        let Ok(pid) = container.attachable() else {
            return Ok(false);
        };
        let process = self.kernel.process(pid);
        let process = process.ok_or(AttachmentError::NoProcess(pid))?;
        let ports = MemberPort::for_addresses(scoped.network, &[scoped.address], false);
        self.table.record(|table| {
            let home = Home::Container(Some(process));
            let made = || PluggedMember::new(&container.name, engine.runtime(), home, Vec::new());
            table.members.entry(id, made).ports.extend(ports);
        });
        Ok(true)
    }

    async fn remove_namespaces(&self) -> Result<(), KernelError> {
        let prefix = self.netns_prefix.clone();
        let mut names = self
            .kernel
            .run(move |kernel| kernel.netns_names(&prefix))
            .await?;
        self.table
            .read(|table| names.retain(|name| !table.members.has_netns(name)));
        for name in names {
            self.kernel
                .run(move |kernel| kernel.delete_netns(&name))
                .await?;
        }
        Ok(())
    }
}
