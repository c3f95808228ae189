//! Members: their namespaces, interfaces and addresses, as their tenants or containers are now.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_host::member::{Home, PluggedMember};
use mesh_host::reconcile::{
    EngineListings, MemberAction, container_actions, is_missing, namespace_actions,
};

use crate::attach::AttachmentError;
use crate::attach::containers::{Members, Tenants};
use crate::attach::foundation::Foundation;
use crate::attach::kernel::{KernelHandle, NetnsRef};
use crate::engine::Engines;

/// Makes the kernel and the table agree about members.
pub(crate) struct MemberRepair {
    kernel: KernelHandle,
    engines: Engines,
    members: Arc<Members>,
    tenants: Arc<Tenants>,
}

impl MemberRepair {
    pub(crate) fn new(base: &Foundation, members: Arc<Members>, tenants: Arc<Tenants>) -> Self {
        Self {
            kernel: base.kernel.clone(),
            engines: base.engines.clone(),
            members,
            tenants,
        }
    }

    /// Mends one member; `plugged` are the tags of all interfaces that exist.
    ///
    /// # Errors
    /// The first step that failed.
    pub(super) async fn mend(
        &self,
        key: &str,
        member: &PluggedMember,
        listings: &EngineListings,
        plugged: &BTreeSet<String>,
    ) -> Result<(), AttachmentError> {
        let is_missing = is_missing(key, member, plugged);
        let actions = match &member.home {
            Home::Namespace { tenant, .. } => {
                let tenant = self.tenants.state_of(member, tenant, listings).await;
                namespace_actions(member, tenant, is_missing)
            }
            Home::Container(process) => {
                let lives = process.is_some_and(|process| self.kernel.is_alive(process));
                let listing = listings.of(member.runtime);
                container_actions(key, *process, lives, listing, is_missing)
            }
        };
        for action in actions {
            self.act(key, member, action).await?;
        }
        Ok(())
    }

    async fn act(
        &self,
        key: &str,
        member: &PluggedMember,
        action: MemberAction,
    ) -> Result<(), AttachmentError> {
        match action {
            MemberAction::Remove => self.members.remove(key).await,
            MemberAction::Fill => {
                let netns = member.netns().unwrap_or_default();
                self.members.fill_namespace(key, netns).await.map(drop)
            }
            MemberAction::Plug(process) => {
                let target = NetnsRef::Pid(process.pid);
                self.members.plug_all(key, target).await
            }
            MemberAction::Suspend => self.members.suspend(key).await,
            MemberAction::Restore => self.members.restore(key).await,
            MemberAction::Stop => self.members.stop(key, member).await,
            MemberAction::Forget => {
                self.members.forget_container(key);
                Ok(())
            }
            MemberAction::Resume => {
                let Some(engine) = self.engines.of(member.runtime) else {
                    return Ok(());
                };
                let pid = engine.inspect(key).await?.attachable()?;
                self.members.resume(key, pid).await
            }
        }
    }
}
