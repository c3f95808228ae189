//! `mesh attach` and `mesh detach`: containers that run already.

use std::sync::Arc;

use ipnet::IpNet;
use mesh_engine::error::EngineError;
use mesh_host::arguments::{ArgumentMeaning, parse_addresses, parse_each, patience, texts, wanted};
use mesh_host::hosts::HostsWish;
use mesh_host::table::{AddressBinding, AttachTo, AttachedTo};
use mesh_proto::address::AddressArg;
use mesh_proto::api::{AttachRequest, ContainerAddresses, DetachRequest, Runtime};

use super::find::{AttachSubject, Finder};
use super::members::warn_of_loss;
use super::{Members, Tenants};
use crate::attach::AttachmentError;
use crate::attach::docker::DockerEndpoints;
use crate::attach::foundation::Foundation;
use crate::attach::leases::{LeaseRequest, LeaseSource};
use crate::attach::operations::Operations;
use crate::attach::stored_table::StoredTable;
use crate::engine::Engines;

/// The parts that commands about containers act through.
pub(crate) struct ContainerCommands {
    table: Arc<StoredTable>,
    source: Arc<LeaseSource>,
    operations: Arc<Operations>,
    members: Arc<Members>,
    tenants: Arc<Tenants>,
    endpoints: Arc<DockerEndpoints>,
    engines: Engines,
    finder: Finder,
}

impl ContainerCommands {
    pub(crate) fn new(
        base: &Foundation,
        members: &Arc<Members>,
        tenants: &Arc<Tenants>,
        endpoints: &Arc<DockerEndpoints>,
    ) -> Self {
        Self {
            table: base.table.clone(),
            source: base.source.clone(),
            operations: base.operations.clone(),
            members: members.clone(),
            tenants: tenants.clone(),
            endpoints: endpoints.clone(),
            engines: base.engines.clone(),
            finder: Finder::new(base),
        }
    }

    /// Plugs a running container; an address it has already is success.
    ///
    /// # Errors
    /// An address that is used elsewhere, a container that is not there, not running, or on the host's network; the
    /// kernel's. Nothing is left of the attempt.
    pub(crate) async fn attach(
        &self,
        request: &AttachRequest,
    ) -> Result<ContainerAddresses, AttachmentError> {
        let args = parse_addresses(&request.addresses)?;
        let subject = self
            .finder
            .subject(request.runtime, &request.container)
            .await?;
        let lease = LeaseRequest {
            owner: subject.lease_owner(),
            patience: patience(request.timeout)?,
            caller: request.caller_pid,
        };
        let args = self.known_of(&subject.owner, &args)?;
        self.tenants.refresh(&args).await?;
        let acquired = self.source.acquire(&lease, &args).await?;
        self.source.await_release(&acquired.addresses).await;
        let attached = self.attach_to(request, &acquired.addresses).await;
        if attached.is_err() {
            self.source.give_back(&lease.owner, &acquired.fresh).await;
        }
        attached
    }

    async fn attach_to(
        &self,
        request: &AttachRequest,
        addresses: &[IpNet],
    ) -> Result<ContainerAddresses, AttachmentError> {
        let _guard = self.operations.begin().await;
        // Looked up again: it may have ended in the meantime.
        let subject = self
            .finder
            .subject(request.runtime, &request.container)
            .await?;
        // It runs, whatever was seen last.
        let detached = self
            .table
            .read(|table| table.members.detached_of(&subject.owner));
        for key in detached {
            self.members.restore(&key).await?;
        }
        let done = self.reserve(&subject, addresses, request)?;
        for address in done.lost.iter().flatten() {
            warn_of_loss(&subject.key, *address);
        }
        let attached = ContainerAddresses {
            container: subject.owner.clone(),
            name: subject.name.clone(),
            addresses: texts(addresses),
        };
        if done.new.is_empty() && done.lost.is_none() {
            return Ok(attached);
        }
        let plugged = self.members.plug_all(&subject.key, subject.target.clone());
        if let Err(error) = plugged.await {
            self.members.take_out(&subject.key, &done.new).await;
            return Err(error);
        }
        if let Some((_, process)) = &subject.container {
            self.members.watch(process.pid);
        }
        Ok(attached)
    }

    /// Enters new addresses of a container into the table.
    fn reserve(
        &self,
        subject: &AttachSubject,
        addresses: &[IpNet],
        request: &AttachRequest,
    ) -> Result<AttachedTo, AttachmentError> {
        let hosts = HostsWish::parse(request.no_rewrite_hosts, &request.add_host)
            .map_err(AttachmentError::Invalid)?;
        let is_docker = matches!(subject.container, Some((Runtime::Docker, _)));
        if !is_docker && !hosts.added().is_empty() {
            let message = format!(
                "--add-host: {} has no /etc/hosts that the router changes; only Docker's containers have",
                subject.name
            );
            return Err(AttachmentError::Invalid(message));
        }
        let to = AttachTo {
            key: &subject.key,
            owner: &subject.owner,
            name: &subject.name,
            container: subject.container,
            addresses,
            multicast_route: request.multicast_route,
            without_dns: request.without_dns,
            hosts,
        };
        let elsewhere = |ip| self.source.elsewhere(ip);
        self.table.change(|table| Ok(table.attach(to, &elsewhere)?))
    }

    /// Unplugs a container, running or not, from some or all of its addresses.
    ///
    /// # Errors
    /// A container that is not there, an address it does not have; then nothing is done.
    pub(crate) async fn detach(
        &self,
        request: &DetachRequest,
    ) -> Result<ContainerAddresses, AttachmentError> {
        let args = parse_each(&request.addresses)?;
        let _guard = self.operations.begin().await;
        let (owner, name) = self
            .finder
            .owner_of(request.runtime, &request.container)
            .await?;
        self.endpoints.resolve_owners().await;
        let mut has = self.table.read(|table| table.bindings_of(&owner));
        has.extend(self.finder.promised_to(request.runtime, &owner).await);
        if !args.is_empty() {
            let all = std::mem::take(&mut has);
            for arg in args {
                let found = self.matching(&all, arg)?;
                if found.is_empty() {
                    let what = wanted(arg);
                    return Err(AttachmentError::NotAttached { what, name });
                }
                has.extend(found);
            }
        }
        for binding in &has {
            self.detach_one(binding).await?;
        }
        // Leases that nobody needs any more are free.
        self.members.wake();
        let gone: Vec<IpNet> = has.iter().map(|binding| binding.address).collect();
        Ok(ContainerAddresses {
            container: owner,
            name,
            addresses: texts(&gone),
        })
    }

    async fn detach_one(&self, binding: &AddressBinding) -> Result<(), AttachmentError> {
        let Some(id) = &binding.endpoint else {
            let owner = &binding.owner;
            return self.members.remove_address(owner, binding.address).await;
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

    /// Returns those of a container's addresses that an argument means.
    fn matching(
        &self,
        all: &[AddressBinding],
        arg: AddressArg,
    ) -> Result<Vec<AddressBinding>, AttachmentError> {
        let meaning = ArgumentMeaning::of(arg, || self.source.default_subnet())?;
        let is_meant = |binding: &&AddressBinding| meaning.covers(binding.address);
        Ok(all.iter().filter(is_meant).cloned().collect())
    }

    /// Returns arguments with addresses that the container has already in place of subnets.
    fn known_of(
        &self,
        owner: &str,
        args: &[AddressArg],
    ) -> Result<Vec<AddressArg>, AttachmentError> {
        let has = self.table.read(|table| table.bindings_of(owner));
        let known = |arg: &AddressArg| {
            if matches!(arg, AddressArg::Ip(_)) {
                return Ok(*arg);
            }
            let found = self.matching(&has, *arg)?;
            Ok(found
                .first()
                .map_or(*arg, |binding| AddressArg::Ip(binding.address)))
        };
        args.iter().map(known).collect()
    }
}
