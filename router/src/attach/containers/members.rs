//! Members of the table and their interfaces: plugged, taken out, and given back to containers that run again.

use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use mesh_host::interface::tag;
use mesh_host::member::{MemberTable, PluggedMember, ProcessIdentity};
use mesh_host::network::scoped::ScopedAddress;

use crate::attach::AttachmentError;
use crate::attach::foundation::Foundation;
use crate::attach::kernel::{KernelHandle, NetnsRef};
use crate::attach::leases::{LeaseCollector, LeaseSource};
use crate::attach::stored_table::StoredTable;
use crate::attach::wakeups::Wakeups;

/// Changes members in the table and in the kernel. Callers have the turn to change containers.
pub(crate) struct Members {
    table: Arc<StoredTable>,
    kernel: KernelHandle,
    source: Arc<LeaseSource>,
    leases: Arc<LeaseCollector>,
    wakeups: Arc<Wakeups>,
}

impl Members {
    pub(crate) fn new(base: &Foundation) -> Self {
        Self {
            table: base.table.clone(),
            kernel: base.kernel.clone(),
            source: base.source.clone(),
            leases: base.leases.clone(),
            wakeups: base.wakeups.clone(),
        }
    }

    /// Returns the process that has this pid now.
    ///
    /// # Errors
    /// [`AttachmentError::NoProcess`].
    pub(crate) fn process(&self, pid: u32) -> Result<ProcessIdentity, AttachmentError> {
        let process = self.kernel.process(pid);
        process.ok_or(AttachmentError::NoProcess(pid))
    }

    /// Has the reconciler look now.
    pub(super) fn wake(&self) {
        self.wakeups.wake();
    }

    /// Has the reconciler look when a process ends.
    pub(crate) fn watch(&self, pid: u32) {
        self.wakeups.wake_at_end(&self.kernel, pid);
    }

    /// Adds a member to the table, with all its addresses.
    ///
    /// # Errors
    /// An address is refused; the table cannot be stored.
    pub(super) fn reserve(&self, key: &str, member: PluggedMember) -> Result<(), AttachmentError> {
        let elsewhere = |network, ip| self.source.elsewhere(network, ip);
        self.table
            .change(|table| Ok(table.insert_member(key, member, &elsewhere)?))
    }

    /// Makes a member's namespace if it is not there, and plugs what is missing in it.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn fill_namespace(
        &self,
        key: &str,
        netns: &str,
    ) -> Result<PathBuf, AttachmentError> {
        let name = netns.to_owned();
        let path = self
            .kernel
            .run(move |kernel| kernel.create_netns(&name))
            .await?;
        self.plug_all(key, NetnsRef::Path(path.clone())).await?;
        Ok(path)
    }

    /// Plugs every interface of a member that is not plugged, in order, and records their names.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn plug_all(
        &self,
        key: &str,
        target: NetnsRef,
    ) -> Result<(), AttachmentError> {
        let Some(member) = self.table.read(|table| table.members.get(key).cloned()) else {
            return Ok(());
        };
        for port in member.ports {
            let interface = port.interface(key);
            let target = target.clone();
            let ifname = self
                .kernel
                .run(move |kernel| kernel.plug(&target, &interface))
                .await?;
            self.table
                .record(|table| table.members.set_ifname(key, port.scoped(), &ifname));
        }
        Ok(())
    }

    /// Takes a member out: its interfaces, its namespace if that is ours, its record.
    ///
    /// # Errors
    /// The kernel's; the record stays.
    pub(crate) async fn remove(&self, key: &str) -> Result<(), AttachmentError> {
        let Some(member) = self.table.read(|table| table.members.get(key).cloned()) else {
            return Ok(());
        };
        let tags: Vec<String> = member.tags(key).collect();
        let netns = member.netns().map(str::to_owned);
        self.kernel
            .run(move |kernel| {
                for tag in &tags {
                    kernel.unplug(tag)?;
                }
                if let Some(netns) = netns {
                    kernel.delete_netns(&netns)?;
                }
                Ok(())
            })
            .await?;
        let gone = self.table.record(|table| table.members.remove(key));
        self.leases
            .note_used(gone.iter().flat_map(PluggedMember::addresses));
        self.wakeups.wake();
        Ok(())
    }

    /// Takes an address from the members of a container.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) async fn remove_address(
        &self,
        owner: &str,
        address: ScopedAddress,
    ) -> Result<(), AttachmentError> {
        let with_it = |members: &MemberTable| -> Vec<String> {
            let ours = members.of_owner(owner);
            let ours = ours.filter(|(_, member)| member.addresses().any(|a| a == address));
            ours.map(|(key, _)| key.to_owned()).collect()
        };
        for key in self.table.read(|table| with_it(&table.members)) {
            self.kernel.unplug_all(vec![tag(&key, address)]).await?;
            self.forget(&key, &[address]);
        }
        Ok(())
    }

    /// Undoes the part of an attachment that was made; what resists is left to the reconciler.
    pub(super) async fn take_out(&self, key: &str, addresses: &[ScopedAddress]) {
        for address in addresses {
            let removed = self.kernel.unplug_all(vec![tag(key, *address)]);
            if let Err(error) = removed.await {
                tracing::warn!(%error, %address, "not all of an attachment could be undone");
            }
        }
        self.forget(key, addresses);
    }

    fn forget(&self, key: &str, addresses: &[ScopedAddress]) {
        self.leases.note_used(addresses.iter().copied());
        self.table
            .record(|table| table.members.remove_ports(key, addresses));
    }

    /// Frees the addresses of a container in a namespace of ours that does not run. All else stays, so that it is there
    /// before the first process when the container is started again.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn suspend(&self, key: &str) -> Result<(), AttachmentError> {
        self.table.record(|table| table.members.set_detached(key));
        self.set_resting(key, true).await
    }

    /// Gives a container in a namespace of ours that runs again those of its addresses that nobody took in the meantime.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn restore(&self, key: &str) -> Result<(), AttachmentError> {
        let elsewhere = |network, ip| self.source.elsewhere(network, ip);
        let lost = self.table.record(|table| table.reattach(key, &elsewhere));
        for port in lost {
            warn_of_loss(key, port.address);
            let tag = port.interface(key).tag;
            self.kernel.unplug_all(vec![tag]).await?;
        }
        self.set_resting(key, false).await
    }

    async fn set_resting(&self, key: &str, resting: bool) -> Result<(), AttachmentError> {
        let tags: Vec<String> = self.table.read(|table| {
            let member = table.members.get(key);
            member.map_or_else(Vec::new, |member| member.tags(key).collect())
        });
        self.kernel
            .run(move |kernel| {
                tags.iter()
                    .try_for_each(|tag| kernel.rest(tag, resting).map(drop))
            })
            .await?;
        Ok(())
    }

    /// Frees the addresses of a container of an engine whose process has ended, and removes its interfaces.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) async fn stop(
        &self,
        key: &str,
        member: &PluggedMember,
    ) -> Result<(), AttachmentError> {
        self.table.record(|table| table.members.set_stopped(key));
        // Usually they went with the namespace, but another process may hold that.
        self.kernel.unplug_all(member.tags(key).collect()).await?;
        Ok(())
    }

    /// Plugs a container of an engine that runs again, with the addresses that are still free.
    ///
    /// # Errors
    /// It runs no more; the kernel's.
    pub(crate) async fn resume(&self, key: &str, pid: u32) -> Result<(), AttachmentError> {
        let process = self.process(pid)?;
        let elsewhere = |network, ip| self.source.elsewhere(network, ip);
        let lost = self
            .table
            .record(|table| table.resume(key, process, &elsewhere));
        for lost in lost.into_iter().flatten() {
            warn_of_loss(key, lost.address);
        }
        self.watch(pid);
        self.plug_all(key, NetnsRef::Pid(pid)).await
    }

    /// Removes a member whose container is gone, interfaces and all, from the table.
    pub(crate) fn forget_container(&self, key: &str) {
        self.table.record(|table| table.members.remove(key));
    }
}

/// Warns that a container that was stopped has an address no more.
pub(super) fn warn_of_loss(key: &str, address: IpNet) {
    tracing::warn!(%address, container = key,
        "a restarted container lost its address, which another container has now");
}
