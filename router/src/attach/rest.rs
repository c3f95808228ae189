//! Containers in namespaces of ours, podman's: one that is stopped keeps its namespace, with the interface and its address
//! in it, so that all is there before its first process when it is started again. Until then the interface has no carrier, and
//! the address is free, unannounced and without a name.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use mesh_proto::address::AddressArg;
use mesh_proto::api::Runtime;

use super::table::{Holder, Member};
use super::{AttachError, Attachments, Home};
use crate::engine::EngineError;

impl Attachments {
    /// Something about a podman container is not as it was: podman is asked soon.
    pub(crate) fn look_at_podman(&self) {
        self.ask_podman.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Whether a container of podman is on the mesh, or asleep.
    pub(crate) fn has_podman(&self) -> bool {
        let table = self.table();
        let mut members = table.members.values();
        members.any(|member| member.runtime == Runtime::Podman)
    }

    /// Tags of interfaces that are to have no carrier.
    pub(super) fn resting(&self) -> BTreeSet<String> {
        let table = self.table();
        let asleep = table.members.iter().filter(|(_, m)| m.asleep);
        asleep
            .flat_map(|(key, m)| m.ports.iter().map(|port| port.interface(key).tag))
            .collect()
    }

    /// Members of a container that were last seen stopped.
    pub(super) fn sleepers_of(&self, owner: &str) -> Vec<String> {
        let table = self.table();
        let members = table.members.iter();
        let asleep = members.filter(|(key, m)| m.asleep && m.owner(key) == owner);
        asleep.map(|(key, _)| key.clone()).collect()
    }

    /// The container does not run: its addresses are free.
    pub(super) async fn put_to_rest(&self, key: &str) -> Result<(), AttachError> {
        self.record(|table| table.members.get_mut(key).map(|m| m.asleep = true));
        self.set_resting(key, true).await
    }

    /// The container runs: it has those of its addresses that nobody took in the meantime.
    pub(super) async fn rouse(&self, key: &str) -> Result<(), AttachError> {
        let lost = self.record(|table| {
            let Some(member) = table.members.get(key) else {
                return Vec::new();
            };
            let owner = member.owner(key).to_owned();
            let is_lost = |port: &&super::table::Port| {
                self.check_address(table, port.address, &owner).is_err()
            };
            let lost: Vec<_> = member.ports.iter().filter(is_lost).cloned().collect();
            if let Some(member) = table.members.get_mut(key) {
                member.ports.retain(|port| !lost.contains(port));
                member.asleep = false;
            }
            lost
        });
        for port in lost {
            tracing::warn!(address = %port.address, container = key,
                "a restarted container lost its address, which another container has now");
            let tag = port.interface(key).tag;
            self.on_kernel(move |kernel| kernel.unplug(&tag)).await?;
        }
        self.set_resting(key, false).await
    }

    async fn set_resting(&self, key: &str, resting: bool) -> Result<(), AttachError> {
        let tags: Vec<String> = {
            let table = self.table();
            let ports = table.members.get(key).into_iter().flat_map(|m| &m.ports);
            ports.map(|port| port.interface(key).tag).collect()
        };
        self.on_kernel(move |kernel| {
            tags.iter()
                .try_for_each(|tag| kernel.rest(tag, resting).map(drop))
        })
        .await?;
        Ok(())
    }

    /// Of a container that a list calls stopped, or gone: what its engine says of it now. None: there is none.
    pub(super) async fn asked_again(
        &self,
        member: &Member,
        id: &str,
        listed: bool,
    ) -> Option<bool> {
        let asked = match self.engines.of(member.runtime) {
            Some(engine) => engine.inspect(id).await,
            None => return listed.then_some(false),
        };
        match asked {
            Ok(container) => Some(container.running),
            Err(EngineError::NoContainer(_)) => None,
            Err(_) => Some(!member.asleep),
        }
    }

    /// Podman has no daemon that tells at once what ended: who holds one of these addresses is looked at before anybody is
    /// refused because of it.
    pub(super) async fn look_at_holders(&self, args: &[AddressArg]) -> Result<(), AttachError> {
        let held: Vec<(String, Member)> = {
            let table = self.table();
            let has = |m: &Member| {
                let is_meant = |arg: &AddressArg| {
                    let has =
                        |ip: &ipnet::IpNet| m.ports.iter().any(|p| p.address.addr() == ip.addr());
                    matches!(arg, AddressArg::Ip(ip) if has(ip))
                };
                m.runtime == Runtime::Podman && args.iter().any(is_meant)
            };
            let members = table.members.iter().filter(|(_, m)| has(m));
            members.map(|(key, m)| (key.clone(), m.clone())).collect()
        };
        let mut is_gone = false;
        for (key, member) in held {
            let Home::Namespace {
                holder: Holder::Container(id),
                ..
            } = &member.home
            else {
                continue;
            };
            let state = self.asked_again(&member, id, true).await;
            let _turn = self.operations.lock().await;
            match state {
                None => {
                    self.remove_member(&key).await?;
                    is_gone = true;
                }
                Some(false) if !member.asleep => self.put_to_rest(&key).await?,
                Some(_) => {}
            }
        }
        if is_gone {
            // What it held of the range that routers share is free before it is claimed again.
            self.settle_holds().await;
        }
        Ok(())
    }
}
