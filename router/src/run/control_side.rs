//! Parts of the control plane, made before the first kernel object is created.

use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};
use mesh_ipam::AddressPool;
use mesh_networks::{NetworksConfig, local_prefix};
use mesh_options::RouterSettings;
use mesh_options::ipalloc::{Ipalloc, IpallocPlan};
use mesh_proto::control::{Config, Control};
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::forward::Forwarder;
use mesh_proto::topology::record::Ed25519;
use mesh_proto::topology::settings as shared;
use mesh_proto::wire::topic::Topic;

use super::opened::StartResources;
use super::{targets, watch};
use crate::clock::{Clock, OsEntropy};
use crate::crypto::cipher;
use crate::ipam::{self, Allocator, IpamShell};
use crate::names;
use crate::networks::{self, NetworksClient, NetworksShell};
use crate::process::start::StartMode;
use crate::warnings::Warnings;

/// Parts of the control plane, not yet running.
pub(super) struct ControlSide {
    pub(super) opened: StartResources,
    pub(super) clock: Clock,
    pub(super) forwarder: Arc<Forwarder>,
    pub(super) control: Control,
    /// `None` if this router allocates no addresses.
    pub(super) addresses: Option<IpamShell>,
    pub(super) allocator: Allocator,
    pub(super) networks: NetworksShell,
    pub(super) networks_client: NetworksClient,
    pub(super) range: watch::Range,
    pub(super) names: names::PreparedNames,
}

impl ControlSide {
    /// Opens sockets and state, and makes the parts.
    pub(super) async fn open(
        settings: &RouterSettings,
        manner: StartMode,
        secret: MeshSecret,
        warnings: &Warnings,
    ) -> anyhow::Result<Self> {
        let opened = StartResources::open(settings, warnings).await?;
        mesh_sys::bridge::check_usable(&settings.bridge)?;
        let clock = Clock::start();
        let forwarder = Arc::new(Forwarder::with_limits(settings.groups, &mut OsEntropy));
        let plan = settings.ipalloc.settle(manner.is_by_hand(), |range| {
            ipam::colliding(range, &settings.bridge)
        })?;
        let mesh_tag = secret.mesh_tag();
        let plan = plan.map(|plan| plan.of_mesh(local_prefix(&mesh_tag)));
        let range6 = plan.as_ref().ok().and_then(|plan| plan.pool.range6);
        let said = (secret, range6);
        let control = build_control(settings, manner, said, &opened, &forwarder, clock)?;
        let pools: Vec<IpNet> = plan
            .iter()
            .flat_map(|plan| subnets_of(&plan.pool))
            .collect();
        let config = NetworksConfig {
            mtu: settings.mtu,
            default_subnets: pools.clone(),
        };
        let (addresses, allocator) = open_addresses(plan, &opened, &control, clock)?;
        let (networks, networks_client) = networks::open(
            &opened.store,
            config,
            &mesh_tag,
            &allocator,
            &control,
            warnings,
            clock.now(),
        )?;
        let range = watch::Range::new(settings, allocator.clone(), warnings.clone());
        range.look();
        let names = names::PreparedNames::start(
            &settings.dns,
            &names::CalledNetworks::new(&settings.bridge, networks_client.directory()),
            control.me(),
            !control.has_targets(),
            clock,
            pools,
        )?;
        Ok(Self {
            opened,
            clock,
            forwarder,
            control,
            addresses,
            allocator,
            networks,
            networks_client,
            range,
            names,
        })
    }
}

fn build_control(
    settings: &RouterSettings,
    manner: StartMode,
    (secret, range6): (MeshSecret, Option<Ipv6Net>),
    opened: &StartResources,
    forwarder: &Arc<Forwarder>,
    clock: Clock,
) -> anyhow::Result<Control> {
    let config = Config {
        identity: opened.identity.clone(),
        secret: Arc::new(secret),
        epoch: opened.epoch,
        name: opened.name,
        nickname: settings.nickname.clone(),
        port: settings.port,
        endpoints: opened.underlay.endpoints.clone(),
        discovery: settings.discovery,
        mtu: settings.mtu,
        suites: cipher::suites(settings.cipher),
        // Losing them costs a moment at most.
        stored_neighbours: opened.store.neighbours().unwrap_or_else(|error| {
            tracing::warn!("{error}");
            Vec::new()
        }),
        forgotten: opened.store.forgotten()?,
        pins: opened.pins.clone(),
    };
    let mut control = Control::new(
        config,
        forwarder.clone(),
        Arc::new(Ed25519),
        Box::new(OsEntropy),
        clock.now(),
    )?;
    control.announce(
        Topic::SETTINGS,
        said_settings(settings, range6).encode(),
        clock.now(),
    )?;
    let last = opened.store.given()?;
    let settled = targets::settle(settings, manner, opened.store.targets()?, last.clone());
    control
        .connect(&settled.targets, false, clock.now())
        .map_err(anyhow::Error::msg)?;
    if settled.given != last {
        opened.store.set_given(&settled.given)?;
    }
    Ok(control)
}

/// Returns the settings that must be the same on all routers.
fn said_settings(settings: &RouterSettings, range6: Option<Ipv6Net>) -> shared::Settings {
    let mut said = shared::Settings::default().with(shared::MTU, &settings.mtu.to_string());
    if settings.dns.enabled {
        said = said.with(shared::DNS_DOMAIN, &settings.dns.domain.to_string());
    }
    if let Ipalloc::On(plan, _) = &settings.ipalloc {
        let subnet = plan.pool.default_subnet.to_string();
        said = said.with(shared::DEFAULT_SUBNET, &subnet);
        let range6 = range6.map_or("off".to_owned(), |range6| range6.to_string());
        said = said.with(shared::RANGE6, &range6);
    }
    said
}

fn subnets_of(pool: &AddressPool) -> impl Iterator<Item = IpNet> + use<> {
    let v6 = pool.range6.map(IpNet::V6);
    core::iter::once(IpNet::V4(pool.range)).chain(v6)
}

/// Opens the journal of addresses, before any communication; without a plan nothing is allocated.
fn open_addresses(
    plan: Result<IpallocPlan, String>,
    opened: &StartResources,
    control: &Control,
    clock: Clock,
) -> anyhow::Result<(Option<IpamShell>, Allocator)> {
    let plan = match plan {
        Ok(plan) => plan,
        Err(why) => {
            tracing::warn!("{why}");
            return Ok((None, Allocator::off(why)));
        }
    };
    let now = clock.now();
    let expecting = control.has_targets();
    let dir = opened.store.dir();
    let (addresses, allocator) = ipam::open(&plan, dir, opened.epoch, control, expecting, now)?;
    Ok((Some(addresses), allocator))
}
