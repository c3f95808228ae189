//! Phases of a router's life: check, bind, build the host side, run, take down.
//!
//! All refusals come before the first kernel object is created, so that a failed start leaves nothing behind.

mod opened;
mod serve;
mod targets;
mod watch;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use mesh_options::RouterSettings;
use mesh_options::ipalloc::{Ipalloc, IpallocPlan};
use mesh_proto::control::{Config, Control, RemoteAddresses};
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::forward::{Forwarder, Snapshot};
use mesh_proto::topology::record::Ed25519;
use mesh_proto::topology::settings as shared;
use mesh_proto::wire::topic::Topic;
use mesh_state::changes::StateChange;
use mesh_sys::bridge::{BridgeConfig, PortKind};
use tokio::sync::mpsc;

use self::opened::Opened;
use self::serve::{keep_plugin, serve_api};
use crate::attach::Attachments;
use crate::attach::HostKernel;
use crate::attach::kernel::KernelApi;
use crate::clock::{Clock, OsEntropy};
use crate::crypto::cipher;
use crate::crypto::secret;
use crate::crypto::secret::Password;
use crate::engine::Engines;
use crate::fastpath::{self, FastPath};
use crate::host::{DatapathView, HostView};
use crate::ipam;
use crate::ipam::{Allocator, IpamShell};
use crate::lanes::latency::Latency;
use crate::lanes::port;
use crate::lanes::{ControlSender, LANE_EVENTS, Lanes, Reported, Shared, Spare};
use crate::names;
use crate::process::log;
use crate::process::start::{Manner, Restart};
use crate::shell::{Accepts, Shell};
use crate::state::{StateWriter, Store};
use crate::warnings::Warnings;
use crate::ways::HostWays;

/// Time limit for pending kernel operations at the end.
const LAST_STEPS: Duration = Duration::from_secs(1);
/// Capacity of the command channel of the control plane.
const COMMANDS: usize = 64;
/// File descriptors reserved for other uses than incoming links; a quarter of the limit if that is less.
const KEPT_DESCRIPTORS: u64 = 1_024;

/// Runs a router until it is told to stop.
///
/// # Errors
/// One line with the cause and the remedy.
pub fn run(
    mut settings: RouterSettings,
    manner: Manner,
    password: Option<Password>,
) -> anyhow::Result<()> {
    settings.dns.by_hand = manner.is_by_hand();
    if manner.daemon {
        mesh_sys::process::setsid()?;
    }
    log::init(&settings.log_level, manner.daemon, &settings.state_dir);
    mesh_sys::process::check_capabilities()?;
    let warnings = Warnings::default();
    let secret = secret::load(&settings, password, &warnings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let ended = runtime.block_on(start(settings, manner, secret, warnings));
    // Threads that still wait for the kernel or an engine are abandoned.
    runtime.shutdown_timeout(LAST_STEPS);
    ended
}

/// Raises the limit of file descriptors. Returns the number that incoming links may use; the others are for the API,
/// the kernel and name resolution.
fn for_links() -> u64 {
    match mesh_sys::process::descriptors::raise_limit() {
        Ok(limit) => limit - (limit / 4).min(KEPT_DESCRIPTORS),
        Err(error) => {
            tracing::warn!("{error}");
            u64::MAX
        }
    }
}

async fn start(
    settings: RouterSettings,
    manner: Manner,
    secret: MeshSecret,
    warnings: Warnings,
) -> anyhow::Result<()> {
    let mut opened = Opened::open(&settings, &warnings).await?;
    mesh_sys::bridge::check_usable(&settings.bridge)?;
    let clock = Clock::start();
    let forwarder = Arc::new(Forwarder::with_limits(settings.groups, &mut OsEntropy));
    let plan = settings.ipalloc.settle(manner.is_by_hand(), |range| {
        ipam::colliding(range, &settings.bridge)
    })?;
    let mut control = build_control(&settings, manner, secret, &opened, &forwarder, clock)?;
    let pool = plan.as_ref().ok().map(|plan| plan.pool.range.into());
    let (addresses, allocator) = open_addresses(plan, &opened, &control, clock)?;
    let range = watch::Range::new(&settings, allocator.clone(), warnings.clone());
    range.look();
    let is_alone = !control.has_targets();
    let names = names::PreparedNames::start(
        &settings.dns,
        &settings.bridge,
        control.me(),
        is_alone,
        clock,
        pool.into_iter().collect(),
    )?;
    let (kernel, datapath) = build_host(&settings, &warnings)?;
    let (shared, lane_events) = share(&settings, &mut opened, &control, forwarder, clock)?;
    let ways = HostWays::open(shared.inside.clone())?;
    control.set_route_lookup(Box::new(ways.clone()));
    // If the port has fewer lanes, close the other sockets: datagrams to a socket that nobody reads are lost.
    opened.udp.truncate(datapath.halves.len());
    let lanes =
        Lanes::start(&shared, datapath.halves, &opened.udp).context("cannot start a thread")?;
    let (command_sender, commands) = mpsc::channel(COMMANDS);
    let wiring = fastpath::Wiring {
        forwarder: shared.forwarder.clone(),
        clock,
        commands: command_sender.clone(),
    };
    let fast = fastpath::begin(&settings, &mut control, wiring)?;
    let held = Arc::new(Mutex::new(RemoteAddresses::default()));
    let offloads_off = kernel.offloads_off;
    let attachments = open_attachments(
        &settings,
        &opened.store,
        kernel,
        held.clone(),
        allocator.clone(),
    )?;
    tokio::spawn(attachments.clone().run());
    tokio::spawn(attachments.clone().keep_exposed());
    let (endpoint_sender, endpoints) = tokio::sync::watch::channel(opened.underlay.endpoints);
    let host = watch::Host {
        settings: settings.clone(),
        warnings: warnings.clone(),
        store: opened.store.clone(),
        forwarder: shared.forwarder.clone(),
        inside: shared.inside.clone(),
    };
    tokio::spawn(host.run(endpoint_sender));
    tokio::spawn(range.run());
    tokio::spawn(watch::sweep(shared.forwarder.clone(), clock));
    let host_view = HostView {
        restart: manner.restart(),
        warnings: warnings.clone(),
        ..view(&settings, &shared, datapath.view, fast.as_ref())
    };
    let feed = names.feed();
    let naming = names.run(
        attachments.clone(),
        opened.store.clone(),
        command_sender.clone(),
    )?;
    let api = (attachments.clone(), allocator, naming);
    keep_plugin(&settings, offloads_off).await;
    serve_api(opened.api, host_view, api, command_sender);
    let state = write_state(&opened.store, &warnings)?;
    let shell = Shell {
        control,
        clock,
        snapshot: shared.snapshot.clone(),
        sender: ControlSender::new(shared),
        links: Accepts::new(opened.listener),
        descriptors: for_links(),
        lane_events,
        commands,
        attached: attachments.announced(),
        endpoints,
        ways,
        held,
        pins: opened.pins,
        fast,
        names: feed,
        state,
        addresses,
        unstored: Vec::new(),
    };
    tracing::info!(
        "mesh router {} ({}) listens on port {}; ciphers of data, in order of preference: {}",
        opened.name,
        settings.nickname,
        settings.port,
        cipher::suites(settings.cipher)
    );
    ready();
    shell.run().await;
    lanes.stop();
    tracing::info!("stopped");
    Ok(())
}

/// Notifies a service manager that waits for readiness.
fn ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!("the service manager is not told that this router is up: {error}");
    }
}

fn build_control(
    settings: &RouterSettings,
    manner: Manner,
    secret: MeshSecret,
    opened: &Opened,
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
        said_settings(settings).encode(),
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
fn said_settings(settings: &RouterSettings) -> shared::Settings {
    let mut said = shared::Settings::default().with(shared::MTU, &settings.mtu.to_string());
    if settings.dns.enabled {
        said = said.with(shared::DNS_DOMAIN, &settings.dns.domain.to_string());
    }
    if let Ipalloc::On(plan, _) = &settings.ipalloc {
        let subnet = plan.pool.default_subnet.to_string();
        said = said.with(shared::DEFAULT_SUBNET, &subnet);
    }
    said
}

/// Opens the journal of addresses, before any communication; without a plan nothing is allocated.
fn open_addresses(
    plan: Result<IpallocPlan, String>,
    opened: &Opened,
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

/// The datapath: halves of the port, and its description for reports.
struct OpenedDatapath {
    halves: port::Halves,
    view: DatapathView,
}

/// Creates the bridge and the router's port on it: the first kernel objects.
fn build_host(
    settings: &RouterSettings,
    warnings: &Warnings,
) -> anyhow::Result<(HostKernel, OpenedDatapath)> {
    let chosen = port::choose(
        settings.datapath,
        &settings.bridge,
        settings.lanes,
        settings.groups,
    )?;
    let config = BridgeConfig {
        name: settings.bridge.clone(),
        mtu: settings.mtu,
        mac: None,
        port: chosen.kind,
    };
    let mut kernel = HostKernel::new(config, chosen.kind == PortKind::Veth);
    kernel.warnings = warnings.clone();
    let view = DatapathView {
        name: chosen.name(),
        reason: chosen.reason.clone(),
    };
    kernel.ensure_bridge(&Default::default())?;
    let halves = port::open(chosen, kernel.bridge.clone())?;
    Ok((kernel, OpenedDatapath { halves, view }))
}

/// Returns the state that the lanes share with the control plane.
fn share(
    settings: &RouterSettings,
    opened: &mut Opened,
    control: &Control,
    forwarder: Arc<Forwarder>,
    clock: Clock,
) -> anyhow::Result<(Shared, mpsc::Receiver<Reported>)> {
    let (events, lane_events) = mpsc::channel(LANE_EVENTS);
    forwarder
        .underlay()
        .set_host(&opened.underlay.addresses, settings.port);
    let shared = Shared {
        latency: Latency::start(settings.latency, &forwarder),
        forwarder,
        inside: Arc::new(ArcSwap::from_pointee(std::mem::take(
            &mut opened.underlay.inside,
        ))),
        snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::alone(
            control.me(),
            opened.epoch,
            settings.mtu,
            clock.now(),
        ))),
        udp: opened.udp.first().context("no UDP socket")?.clone(),
        spare: Arc::new(Spare::new(settings.host)),
        events,
        events_lost: Arc::new(AtomicU64::new(0)),
        clock,
        stop: Arc::new(AtomicBool::new(false)),
    };
    Ok((shared, lane_events))
}

fn open_attachments(
    settings: &RouterSettings,
    store: &Arc<Store>,
    kernel: HostKernel,
    held: Arc<Mutex<RemoteAddresses>>,
    allocator: Allocator,
) -> anyhow::Result<Arc<Attachments>> {
    Ok(Attachments::open(
        store.clone(),
        Arc::new(kernel),
        Engines::local(),
        Arc::new(move |address| {
            let held = held.lock().unwrap_or_else(PoisonError::into_inner);
            held.words(address)
        }),
        allocator,
        &settings.bridge,
    )?)
}

/// Returns the host side of reports.
fn view(
    settings: &RouterSettings,
    shared: &Shared,
    datapath: DatapathView,
    fast: Option<&FastPath>,
) -> HostView {
    HostView {
        port: settings.port,
        listen: settings
            .host
            .unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
            .to_string(),
        bridge: settings.bridge.clone(),
        datapath,
        multicast_route: settings.multicast_route,
        latency: shared.latency.clone(),
        fast_path: fast.map(FastPath::status),
        forwarder: shared.forwarder.clone(),
        events_lost: shared.events_lost.clone(),
        clock: shared.clock,
        restart: Restart::Nobody,
        warnings: Warnings::default(),
    }
}

/// Starts the thread that writes state files.
fn write_state(store: &Arc<Store>, warnings: &Warnings) -> anyhow::Result<StateWriter> {
    let disk = store.clone();
    StateWriter::start(warnings.clone(), move |change: &Change| disk.apply(change))
        .context("cannot start a thread")
}
