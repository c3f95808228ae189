//! `mesh attach` and `mesh detach`: containers that run already.

use std::sync::Arc;

use ipnet::IpNet;
use mesh_host::arguments::{ArgumentMeaning, patience, texts};
use mesh_host::hosts::HostsWish;
use mesh_host::network::addresses::AddressFor;
use mesh_host::network::scoped::ScopedAddress;
use mesh_host::table::{AddressBinding, AttachTo, AttachedTo};
use mesh_proto::address::AddressArg;
use mesh_proto::api::{AttachRequest, ContainerAddresses, DetachRequest, Runtime};
use mesh_proto::network::NetworkId;

use super::find::{AttachSubject, Finder};
use super::members::warn_of_loss;
use super::{Detachment, Members, Tenants};
use crate::attach::AttachmentError;
use crate::attach::docker::DockerEndpoints;
use crate::attach::foundation::Foundation;
use crate::attach::leases::{LeaseRequest, LeaseSource};
use crate::attach::networks::{AttachedNetworks, ChosenNetwork, meanings};
use crate::attach::operations::Operations;
use crate::attach::stored_table::StoredTable;

/// The parts that commands about containers act through.
pub(crate) struct ContainerCommands {
    table: Arc<StoredTable>,
    source: Arc<LeaseSource>,
    operations: Arc<Operations>,
    members: Arc<Members>,
    tenants: Arc<Tenants>,
    endpoints: Arc<DockerEndpoints>,
    networks: Arc<AttachedNetworks>,
    detachment: Arc<Detachment>,
    finder: Finder,
}

impl ContainerCommands {
    pub(crate) fn new(
        base: &Foundation,
        members: &Arc<Members>,
        tenants: &Arc<Tenants>,
        endpoints: &Arc<DockerEndpoints>,
        detachment: &Arc<Detachment>,
    ) -> Self {
        Self {
            table: base.table.clone(),
            source: base.source.clone(),
            operations: base.operations.clone(),
            members: members.clone(),
            tenants: tenants.clone(),
            endpoints: endpoints.clone(),
            networks: base.networks.clone(),
            detachment: detachment.clone(),
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
        let network = self.networks.choose(&request.network)?;
        let args = network.addresses(&request.addresses, AddressFor::Container)?;
        let subject = self
            .finder
            .subject(request.runtime, &request.container)
            .await?;
        let lease = LeaseRequest {
            owner: subject.lease_owner(),
            patience: patience(request.timeout)?,
            caller: request.caller_pid,
        };
        let args = self.known_of(&subject.owner, &network, &args)?;
        self.tenants.refresh(network.id, &args).await?;
        let acquired = self.source.acquire(&lease, network.id, &args).await?;
        let (id, addresses) = (network.id, &acquired.addresses);
        self.source.await_release(id, addresses).await;
        let attached = self.attach_to(request, &network, addresses).await;
        if attached.is_err() {
            let fresh = &acquired.fresh;
            self.source.give_back(&lease.owner, id, fresh).await;
        }
        attached
    }

    async fn attach_to(
        &self,
        request: &AttachRequest,
        network: &ChosenNetwork,
        addresses: &[IpNet],
    ) -> Result<ContainerAddresses, AttachmentError> {
        let _guard = self.operations.begin().await;
        self.networks.open(network).await?;
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
        let done = self.reserve(&subject, network, addresses, request)?;
        self.networks.forget_eviction(&subject.owner);
        for lost in done.lost.iter().flatten() {
            warn_of_loss(&subject.key, lost.address);
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
            let new: Vec<ScopedAddress> = done.new.iter().map(|a| network.scoped(*a)).collect();
            self.members.take_out(&subject.key, &new).await;
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
        network: &ChosenNetwork,
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
            network: network.id,
            addresses,
            multicast_route: request.multicast_route,
            without_dns: request.without_dns,
            hosts,
        };
        let elsewhere = |network, ip| self.source.elsewhere(network, ip);
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
        let network = self.networks.choose(&request.network)?;
        let subnet = || self.source.default_subnet();
        let args = meanings(network.id, &request.addresses, subnet)?;
        let _guard = self.operations.begin().await;
        let (owner, name) = self
            .finder
            .owner_of(request.runtime, &request.container)
            .await?;
        self.endpoints.resolve_owners().await;
        let mut has = self.table.read(|table| table.bindings_of(&owner));
        has.extend(self.finder.promised_to(request.runtime, &owner).await);
        if args.is_empty() {
            // Without a network all is meant, in all networks.
            has.retain(|b| request.network.is_empty() || b.network == network.id);
        } else {
            let all = std::mem::take(&mut has);
            for (arg, what) in args {
                let found = matching(&all, network.id, arg);
                if found.is_empty() {
                    return Err(self.not_attached(&all, arg, what, name));
                }
                has.extend(found);
            }
        }
        for binding in &has {
            self.detachment.take_off(binding).await?;
        }
        self.networks.forget_eviction(&owner);
        // Leases that nobody needs any more are free.
        self.members.wake();
        let gone: Vec<IpNet> = has.iter().map(|binding| binding.address).collect();
        Ok(ContainerAddresses {
            container: owner,
            name,
            addresses: texts(&gone),
        })
    }

    /// Returns why nothing is detached; an address that the container has in another network is meant by mistake.
    fn not_attached(
        &self,
        all: &[AddressBinding],
        arg: ArgumentMeaning,
        what: String,
        name: String,
    ) -> AttachmentError {
        let elsewhere = all.iter().find(|binding| arg.covers(binding.address));
        match elsewhere.map(|binding| self.networks.name(&binding.network)) {
            Some(network) => AttachmentError::OtherNetwork {
                what,
                name,
                network,
            },
            None => AttachmentError::NotAttached { what, name },
        }
    }

    /// Returns arguments with addresses that the container has already in place of subnets.
    fn known_of(
        &self,
        owner: &str,
        network: &ChosenNetwork,
        args: &[AddressArg],
    ) -> Result<Vec<AddressArg>, AttachmentError> {
        let has = self.table.read(|table| table.bindings_of(owner));
        let known = |arg: &AddressArg| {
            if matches!(arg, AddressArg::Ip(_)) {
                return Ok(*arg);
            }
            let meaning = ArgumentMeaning::of(*arg, || self.source.default_subnet())?;
            let found = matching(&has, network.id, meaning);
            Ok(found
                .first()
                .map_or(*arg, |binding| AddressArg::Ip(binding.address)))
        };
        args.iter().map(known).collect()
    }
}

/// Returns those of a container's addresses in a network that an argument means.
fn matching(
    all: &[AddressBinding],
    network: NetworkId,
    arg: ArgumentMeaning,
) -> Vec<AddressBinding> {
    let is_meant = |b: &&AddressBinding| b.network == network && arg.covers(b.address);
    all.iter().filter(is_meant).cloned().collect()
}
