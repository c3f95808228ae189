//! `mesh run`: what is made ready before the container exists.

use std::sync::Arc;

use ipnet::IpNet;
use mesh_engine::error::EngineError;
use mesh_host::arguments::{patience, texts};
use mesh_host::docker::driver_options;
use mesh_host::docker::endpoint::{EndpointOptions, SecondAddress};
use mesh_host::docker::network_plan;
use mesh_host::interface::is_first_ipv4;
use mesh_host::leases::lease_owner::lease_owner;
use mesh_host::member::{Home, MemberPort, PluggedMember, Tenant};
use mesh_host::network::addresses::AddressFor;
use mesh_proto::api::{AbandonRequest, AdoptRequest, PrepareRequest, Prepared, Runtime};
use mesh_proto::network::NetworkId;

use super::{Members, Tenants};
use crate::attach::AttachmentError;
use crate::attach::foundation::{Foundation, fresh_id};
use crate::attach::leases::{AcquiredAddresses, LeaseCollector, LeaseRequest, LeaseSource};
use crate::attach::networks::{AttachedNetworks, ChosenNetwork};
use crate::attach::operations::Operations;
use crate::attach::stored_table::StoredTable;
use crate::attach::wakeups::Wakeups;
use crate::engine::Engines;

/// Networks of Docker, or namespaces of ours, for containers that are not there yet.
pub(crate) struct Preparations {
    table: Arc<StoredTable>,
    source: Arc<LeaseSource>,
    leases: Arc<LeaseCollector>,
    operations: Arc<Operations>,
    members: Arc<Members>,
    tenants: Arc<Tenants>,
    wakeups: Arc<Wakeups>,
    networks: Arc<AttachedNetworks>,
    engines: Engines,
    /// Names of our namespaces begin with it.
    netns_prefix: String,
}

impl Preparations {
    pub(crate) fn new(
        base: &Foundation,
        members: &Arc<Members>,
        tenants: &Arc<Tenants>,
        netns_prefix: String,
    ) -> Self {
        Self {
            table: base.table.clone(),
            source: base.source.clone(),
            leases: base.leases.clone(),
            operations: base.operations.clone(),
            members: members.clone(),
            tenants: tenants.clone(),
            wakeups: base.wakeups.clone(),
            networks: base.networks.clone(),
            engines: base.engines.clone(),
            netns_prefix,
        }
    }

    /// Makes ready what `mesh run` gives to the engine: networks of Docker, or a namespace with its interfaces up.
    ///
    /// # Errors
    /// An address that cannot be used, an engine that is away, the kernel's. Nothing is left of the attempt.
    pub(crate) async fn prepare(
        &self,
        request: &PrepareRequest,
    ) -> Result<Prepared, AttachmentError> {
        let network = self.networks.choose(&request.network)?;
        let args = network.addresses(&request.addresses, AddressFor::Container)?;
        let id = fresh_id()?;
        let lease = LeaseRequest {
            owner: lease_owner(request.runtime, &request.name, &id),
            patience: patience(request.timeout)?,
            caller: request.caller_pid,
        };
        self.tenants.refresh(network.id, &args).await?;
        // What is refused opens no network.
        self.leases.reserve(&id, &lease, NetworkId::DEFAULT);
        let acquired = self.source.acquire(&lease, network.id, &args).await;
        if acquired.is_err() {
            self.leases.forget(&id);
        }
        let acquired = acquired?;
        let addresses = &acquired.addresses;
        self.source.await_release(network.id, addresses).await;
        let prepared = self
            .prepare_in(&network, request, id, &lease, &acquired)
            .await;
        if prepared.is_err() {
            let fresh = &acquired.fresh;
            self.source.give_back(&lease.owner, network.id, fresh).await;
        }
        prepared
    }

    async fn prepare_in(
        &self,
        network: &ChosenNetwork,
        request: &PrepareRequest,
        id: String,
        lease: &LeaseRequest,
        acquired: &AcquiredAddresses,
    ) -> Result<Prepared, AttachmentError> {
        let _guard = self.operations.begin().await;
        self.networks.open(network).await?;
        self.leases.reserve(&id, lease, network.id);
        match request.runtime {
            Runtime::Docker => {
                self.prepare_networks(network, request, id, &lease.owner, acquired)
                    .await
            }
            Runtime::Podman | Runtime::Process => {
                self.prepare_namespace(network, request, id, &acquired.addresses)
                    .await
            }
            Runtime::Host => Err(AttachmentError::Invalid(
                "the host runs no containers by itself; `mesh expose` gives it an address".into(),
            )),
        }
    }

    /// Has the namespace live as long as the container or the process.
    ///
    /// # Errors
    /// [`AttachmentError::NotPrepared`] after the caller's end or `abandon`; [`AttachmentError::NoProcess`].
    pub(crate) async fn adopt(&self, request: &AdoptRequest) -> Result<(), AttachmentError> {
        let _guard = self.operations.begin().await;
        let tenant = match (&request.container, request.pid) {
            (Some(id), None) => Tenant::Container(id.clone()),
            (None, Some(pid)) => Tenant::Process(self.members.process(pid)?),
            _ => {
                return Err(AttachmentError::Invalid(
                    "adopt needs either a container or a pid".into(),
                ));
            }
        };
        self.table.change(|table| {
            match table.members.adopt(&request.id, tenant, &request.name) {
                true => Ok(()),
                false => Err(AttachmentError::NotPrepared(request.id.clone())),
            }
        })?;
        match request.pid {
            Some(pid) => self.members.watch(pid),
            // It may have ended already.
            None => self.wakeups.wake_for_podman(),
        }
        Ok(())
    }

    /// Undoes [`Preparations::prepare`]; success if that was done already.
    ///
    /// # Errors
    /// The namespace cannot be removed.
    pub(crate) async fn abandon(&self, request: &AbandonRequest) -> Result<(), AttachmentError> {
        let _guard = self.operations.begin().await;
        let is_ours = self.table.read(|table| {
            let member = table.members.get(&request.id);
            member.is_some_and(|member| member.netns().is_some())
        });
        if is_ours {
            self.members.remove(&request.id).await?;
        }
        self.leases.abandon(&request.id).await;
        Ok(())
    }

    async fn prepare_networks(
        &self,
        network: &ChosenNetwork,
        request: &PrepareRequest,
        id: String,
        lease_owner: &str,
        acquired: &AcquiredAddresses,
    ) -> Result<Prepared, AttachmentError> {
        let missing = || EngineError::Unavailable("this router does not use Docker".into());
        let docker = self.engines.of(Runtime::Docker).ok_or_else(missing)?;
        let elsewhere = |network, ip| self.source.elsewhere(network, ip);
        self.table.read(|table| {
            let mut addresses = acquired.addresses.iter();
            // No container has the empty id: the address of any container is someone else's.
            addresses.try_for_each(|address| {
                let scoped = network.scoped(*address);
                table.check(scoped, "", &elsewhere).map(drop)
            })
        })?;
        let by_name = docker.plugs_by_name().await?;
        let addresses = &acquired.firsts()[..];
        let mut networks = Vec::new();
        let base = docker.network_base().await?;
        let name = network.definition().map(|network| network.name.to_string());
        for planned in network_plan::plan(addresses, by_name, base, name.as_deref()) {
            docker.ensure_network(&planned.name).await?;
            let address = addresses[planned.address];
            let is_leased = self.source.covers(network.id, address.addr());
            let lease_owner = if is_leased { lease_owner } else { "" };
            let second = acquired.pairs.get(&address).map(|second| SecondAddress {
                address: *second,
                lease_owner: lease_owner.to_owned(),
            });
            let wanted = EndpointOptions {
                address,
                multicast: request.multicast_route && is_first_ipv4(addresses, planned.address),
                deferred: planned.deferred,
                lease_owner: lease_owner.to_owned(),
                network: network.id,
                mac: None,
                second,
            };
            let options = driver_options::format(&wanted).into_iter();
            let options = options.map(|(key, value)| format!(",driver-opt={key}={value}"));
            networks.push(format!(
                "name={}{}",
                planned.name,
                options.collect::<String>()
            ));
        }
        Ok(Prepared {
            id,
            networks,
            netns: None,
            addresses: texts(&acquired.addresses),
            ..Prepared::default()
        })
    }

    async fn prepare_namespace(
        &self,
        network: &ChosenNetwork,
        request: &PrepareRequest,
        id: String,
        addresses: &[IpNet],
    ) -> Result<Prepared, AttachmentError> {
        let caller = self.members.process(request.caller_pid)?;
        let netns = format!("{}{id}", self.netns_prefix);
        let name = match request.name.is_empty() {
            true => &id,
            false => &request.name,
        };
        let home = Home::Namespace {
            netns: netns.clone(),
            tenant: Tenant::Caller(caller),
        };
        let ports = MemberPort::for_addresses(network.id, addresses, request.multicast_route);
        let member = PluggedMember {
            without_dns: request.without_dns,
            ..PluggedMember::new(name, request.runtime, home, ports)
        };
        self.members.reserve(&id, member)?;
        match self.members.fill_namespace(&id, &netns).await {
            Ok(path) => {
                self.members.watch(caller.pid);
                Ok(Prepared {
                    id,
                    networks: Vec::new(),
                    netns: Some(path.to_string_lossy().into_owned()),
                    addresses: texts(addresses),
                    ..Prepared::default()
                })
            }
            Err(error) => {
                if let Err(left) = self.members.remove(&id).await {
                    tracing::warn!(%left, %netns, "not all of a preparation could be undone; trying again");
                }
                Err(error)
            }
        }
    }
}
