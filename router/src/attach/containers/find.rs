//! Containers and processes, found by what users call them.

use std::sync::Arc;

use mesh_engine::error::EngineError;
use mesh_host::docker::driver_options;
use mesh_host::leases::lease_owner::lease_owner;
use mesh_host::member::ProcessIdentity;
use mesh_host::table::AddressBinding;
use mesh_proto::address::mac_for;
use mesh_proto::api::Runtime;

use crate::attach::AttachmentError;
use crate::attach::foundation::Foundation;
use crate::attach::kernel::{KernelHandle, NetnsRef};
use crate::attach::stored_table::StoredTable;
use crate::engine::Engines;

/// A running container or process that addresses are attached to.
pub(super) struct AttachSubject {
    /// Key of its member in the table.
    pub(super) key: String,
    /// Container id, as in [`AddressBinding::owner`].
    pub(super) owner: String,
    /// Container or command name.
    pub(super) name: String,
    /// The engine and first process of a container of an engine.
    pub(super) container: Option<(Runtime, ProcessIdentity)>,
    /// Its network namespace.
    pub(super) target: NetnsRef,
}

impl AttachSubject {
    /// Returns the owner of the leases of its addresses.
    pub(super) fn lease_owner(&self) -> String {
        let runtime = match &self.container {
            Some((runtime, _)) => *runtime,
            None => Runtime::Process,
        };
        lease_owner(runtime, "", &self.owner)
    }
}

/// A process in a namespace of ours.
struct NamespacedProcess {
    key: String,
    name: String,
    netns: String,
}

/// Finds containers by name or id: in the table, and by asking the engines.
pub(super) struct Finder {
    table: Arc<StoredTable>,
    kernel: KernelHandle,
    engines: Engines,
}

impl Finder {
    pub(super) fn new(base: &Foundation) -> Self {
        Self {
            table: base.table.clone(),
            kernel: base.kernel.clone(),
            engines: base.engines.clone(),
        }
    }

    /// Returns a container that runs, or a process in a namespace of ours.
    ///
    /// # Errors
    /// It is not there, does not run, or is on the host's network; the kernel's.
    pub(super) async fn subject(
        &self,
        runtime: Option<Runtime>,
        name: &str,
    ) -> Result<AttachSubject, AttachmentError> {
        if let Some(found) = self.process(runtime, name) {
            let netns = found.netns;
            let path = self.kernel.run(move |kernel| kernel.create_netns(&netns));
            return Ok(AttachSubject {
                target: NetnsRef::Path(path.await?),
                owner: found.key.clone(),
                key: found.key,
                name: found.name,
                container: None,
            });
        }
        if runtime == Some(Runtime::Process) {
            return Err(EngineError::NoContainer(name.to_owned()).into());
        }
        let (engine, container) = self.engines.find(runtime, name).await?;
        let pid = container.attachable()?;
        let process = self.kernel.process(pid);
        let process = process.ok_or(AttachmentError::NoProcess(pid))?;
        Ok(AttachSubject {
            key: container.id.clone(),
            owner: container.id,
            name: container.name,
            container: Some((engine.runtime(), process)),
            target: NetnsRef::Pid(pid),
        })
    }

    /// Returns a process in a namespace of ours, by the id that `run` printed or by its name.
    fn process(&self, runtime: Option<Runtime>, name: &str) -> Option<NamespacedProcess> {
        if runtime.is_some_and(|r| r != Runtime::Process) {
            return None;
        }
        let also_by_name = runtime == Some(Runtime::Process);
        self.table.read(|table| {
            let (key, member) = table.members.find_process(name, also_by_name)?;
            Some(NamespacedProcess {
                key: key.to_owned(),
                name: member.name.clone(),
                netns: member.netns()?.to_owned(),
            })
        })
    }

    /// Returns id and name of a container to be detached: it may be stopped, or gone from its engine.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn owner_of(
        &self,
        runtime: Option<Runtime>,
        name: &str,
    ) -> Result<(String, String), AttachmentError> {
        if let Some(found) = self.process(runtime, name) {
            return Ok((found.key, found.name));
        }
        let error = match self.engines.find(runtime, name).await {
            Ok((_, container)) => return Ok((container.id, container.name)),
            Err(error) => error,
        };
        let found = self.table.read(|table| table.find_container(name));
        found.ok_or(error.into())
    }

    /// Returns what Docker keeps for a stopped container, by the networks that it is to be on.
    pub(super) async fn promised_to(
        &self,
        runtime: Option<Runtime>,
        owner: &str,
    ) -> Vec<AddressBinding> {
        let Ok((engine, container)) = self.engines.find(runtime, owner).await else {
            return Vec::new();
        };
        if container.running || engine.runtime() != Runtime::Docker {
            return Vec::new();
        }
        let connections = container.networks.iter();
        let promised = connections.flat_map(|connection| {
            let promises = driver_options::promises(&connection.options).into_iter();
            let name = &container.name;
            promises.map(move |(promised, _)| AddressBinding {
                network: promised.network,
                owner: owner.to_owned(),
                name: name.clone(),
                address: promised.address,
                mac: mac_for(promised.ip()),
                endpoint: Some(connection.network.clone()),
            })
        });
        promised.collect()
    }
}
