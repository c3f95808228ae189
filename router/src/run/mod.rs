//! Phases of a router's life: check, bind, build the host side, run, take down.
//!
//! All refusals come before the first kernel object is created, so that a failed start leaves nothing behind.

mod control_side;
mod networks;
mod opened;
mod serve;
mod targets;
mod watch;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use mesh_options::RouterSettings;
use mesh_proto::control::{Control, RemoteAddresses};
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::forward::Snapshot;
use mesh_proto::ids::PeerName;
use mesh_proto::network::NetworkId;
use mesh_state::changes::StateChange;
use mesh_sys::bridge::{BridgeConfig, PortKind};
use mesh_sys::udp::Udp;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;

use self::control_side::ControlSide;
use self::networks::{LaneBridges, NetworkService};
use self::opened::StartResources;
use self::serve::{plugin_settings, serve_host};
use crate::attach::kernel::KernelApi;
use crate::attach::{Attachments, HostKernel, Surroundings};
use crate::command::ControlCommand;
use crate::crypto::cipher;
use crate::crypto::secret;
use crate::crypto::secret::Password;
use crate::engine::Engines;
use crate::fastpath::{self, FastPath};
use crate::host::{DatapathView, HostView};
use crate::host_routes::HostRoutes;
use crate::ipam::{self, Allocator};
use crate::lanes::latency::Latency;
use crate::lanes::networks::NetworkPorts;
use crate::lanes::port;
use crate::lanes::{ControlSender, LANE_EVENTS, LaneContext, Lanes, Reported, Spare};
use crate::networks::NetworksClient;
use crate::process::log;
use crate::process::start::StartMode;
use crate::shell::{Accepts, Shell};
use crate::state::{StateWriter, Store};
use crate::warnings::Warnings;

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
    manner: StartMode,
    password: Option<Password>,
) -> anyhow::Result<()> {
    settings.dns.by_hand = manner.is_by_hand();
    if manner.daemon {
        mesh_sys::process::setsid()?;
    }
    let _log = log::init(&settings.log_level, manner.daemon, &settings.state_dir);
    mesh_sys::process::check_capabilities()?;
    let warnings = Warnings::default();
    let secret = secret::load(&settings, password, &warnings)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let host = host_runtime().context("cannot start")?;
    let ended = runtime.block_on(start(settings, manner, secret, warnings, host.handle()));
    // Threads that still wait for the disk, the kernel or an engine are abandoned.
    host.shutdown_timeout(LAST_STEPS);
    runtime.shutdown_timeout(LAST_STEPS);
    ended
}

/// Returns the thread of what concerns this host alone: attachments, names, the API. It waits for the disk; the control
/// plane has another thread.
fn host_runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("mesh-host")
        .enable_all()
        .build()
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
    manner: StartMode,
    secret: MeshSecret,
    warnings: Warnings,
    host_thread: &Handle,
) -> anyhow::Result<()> {
    let mut side = ControlSide::open(&settings, manner, secret, &warnings).await?;
    let (kernel, datapath) = build_host(&settings, &warnings)?;
    let (shared, lane_events) = share(&settings, &mut side, datapath.networks)?;
    let ways = look_up_routes(&mut side.control, &shared)?;
    let lanes = start_lanes(&shared, datapath.halves, &mut side.opened.udp)?;
    let (command_sender, commands) = mpsc::channel(COMMANDS);
    let fast = begin_fast_path(&settings, &mut side.control, &shared, &command_sender)?;
    let held = Arc::new(Mutex::new(RemoteAddresses::default()));
    let plugin = plugin_settings(&settings, kernel.offloads_off);
    let on_host = host_thread.enter();
    let attachments = open_attachments(&settings, &mut side, kernel, held.clone())?;
    let endpoints = watch_host(&settings, &warnings, &side.opened, &shared);
    follow_networks(side.range, &side.networks_client, &side.allocator);
    let host = view(&settings, manner, &warnings, &shared, datapath.view, &fast);
    let feed = side.names.feed();
    let (on_mesh, store) = (attachments.clone(), side.opened.store.clone());
    let naming = side.names.run(on_mesh, store, command_sender.clone())?;
    let api = (
        attachments.clone(),
        side.allocator,
        naming,
        side.networks_client,
    );
    drop(on_host);
    let serving = serve_host(plugin, side.opened.api, host, api, command_sender);
    host_thread.spawn(serving).await?;
    let shell = Shell {
        control: side.control,
        clock: side.clock,
        snapshot: shared.snapshot.clone(),
        sender: ControlSender::new(shared),
        links: Accepts::new(side.opened.listener),
        descriptors: for_links(),
        lane_events,
        commands,
        attached: attachments.announced(),
        endpoints,
        ways,
        held,
        pins: side.opened.pins,
        fast,
        names: feed,
        state: write_state(&side.opened.store, &warnings)?,
        addresses: side.addresses,
        networks: side.networks,
        unstored: Vec::new(),
    };
    ready(&settings, side.opened.name);
    shell.run().await;
    lanes.stop();
    tracing::info!("stopped");
    Ok(())
}

/// Keeps the allocator informed of the range and of networks.
fn follow_networks(range: watch::Range, networks: &NetworksClient, allocator: &Allocator) {
    tokio::spawn(range.run());
    tokio::spawn(ipam::tell_plans(networks.directory(), allocator.clone()));
}

/// Has the control plane look up routes of this host.
fn look_up_routes(control: &mut Control, shared: &LaneContext) -> anyhow::Result<HostRoutes> {
    let ways = HostRoutes::open(shared.inside.clone())?;
    control.set_route_lookup(Box::new(ways.clone()));
    Ok(ways)
}

/// Starts the lanes. If the port has fewer of them, the other sockets are closed: datagrams to a socket that nobody reads
/// are lost.
fn start_lanes(
    shared: &LaneContext,
    halves: port::Halves,
    sockets: &mut Vec<Udp>,
) -> anyhow::Result<Lanes> {
    sockets.truncate(halves.len());
    Lanes::start(shared, halves, sockets).context("cannot start a thread")
}

/// Notifies the log, and a service manager that waits for readiness.
fn ready(settings: &RouterSettings, name: PeerName) {
    tracing::info!(
        "mesh router {name} ({}) listens on port {}; ciphers of data, in order of preference: {}",
        settings.nickname,
        settings.port,
        cipher::suites(settings.cipher)
    );
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::warn!("the service manager is not told that this router is up: {error}");
    }
}

/// Raises the limits of the kernel's neighbour tables: one table serves all containers of the host, and when it is full,
/// none of them can send to an address that it has not sent to before.
fn make_room_for_neighbours() {
    match mesh_sys::interface::sysctl::raise_neighbour_limits() {
        Ok(true) => tracing::info!("the limits of the kernel's neighbour tables are raised"),
        Ok(false) => {}
        Err(error) => tracing::warn!(
            "{error}; with many containers on this host, set it from outside (`sysctl -w`), or packets to new addresses \
             fail with \"No buffer space available\""
        ),
    }
}

/// The opened port: its halves, and its description for reports; and the ports of networks beside it.
struct OpenedPort {
    halves: port::Halves,
    /// Ports of networks, none of which is open yet.
    networks: NetworkPorts,
    view: DatapathView,
}

/// Creates the bridge and the router's port on it: the first kernel objects.
fn build_host(
    settings: &RouterSettings,
    warnings: &Warnings,
) -> anyhow::Result<(HostKernel, OpenedPort)> {
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
    make_room_for_neighbours();
    let halves = port::open(chosen, kernel.bridge.clone())?;
    let networks = NetworkPorts::new(kernel.bridge.clone(), settings.groups, halves.len())?;
    kernel.networks = Arc::new(LaneBridges(networks.clone()));
    let opened = OpenedPort {
        halves,
        networks,
        view,
    };
    Ok((kernel, opened))
}

/// Returns the state that the lanes share with the control plane.
fn share(
    settings: &RouterSettings,
    side: &mut ControlSide,
    networks: NetworkPorts,
) -> anyhow::Result<(LaneContext, mpsc::Receiver<Reported>)> {
    let (events, lane_events) = mpsc::channel(LANE_EVENTS);
    let opened = &mut side.opened;
    side.forwarder
        .underlay()
        .set_host(&opened.underlay.addresses, settings.port);
    let shared = LaneContext {
        latency: Latency::start(settings.latency, &side.forwarder),
        forwarder: side.forwarder.clone(),
        inside: Arc::new(ArcSwap::from_pointee(std::mem::take(
            &mut opened.underlay.inside,
        ))),
        snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::alone(
            side.control.me(),
            opened.epoch,
            settings.mtu,
            side.clock.now(),
        ))),
        udp: opened.udp.first().context("no UDP socket")?.clone(),
        networks,
        spare: Arc::new(Spare::new(settings.host)),
        events,
        events_lost: Arc::new(AtomicU64::new(0)),
        clock: side.clock,
        stop: Arc::new(AtomicBool::new(false)),
    };
    Ok((shared, lane_events))
}

/// Starts the fast path, if the operator consents to it.
fn begin_fast_path(
    settings: &RouterSettings,
    control: &mut Control,
    shared: &LaneContext,
    commands: &mpsc::Sender<ControlCommand>,
) -> anyhow::Result<Option<FastPath>> {
    let wiring = fastpath::Wiring {
        forwarder: shared.forwarder.clone(),
        clock: shared.clock,
        commands: commands.clone(),
    };
    fastpath::begin(settings, control, wiring)
}

/// Opens the table of attachments, and starts the tasks that keep the host in agreement with it.
fn open_attachments(
    settings: &RouterSettings,
    side: &mut ControlSide,
    kernel: HostKernel,
    held: Arc<Mutex<RemoteAddresses>>,
) -> anyhow::Result<Arc<Attachments>> {
    let around = Surroundings {
        store: side.opened.store.clone(),
        kernel: Arc::new(kernel),
        engines: Engines::local(),
        book: Arc::new(move |network: NetworkId, address| {
            let held = held.lock().unwrap_or_else(PoisonError::into_inner);
            held.words(network, address)
        }),
        allocator: side.allocator.clone(),
        networks: Arc::new(NetworkService(side.networks_client.clone())),
    };
    let attachments = Attachments::open(around, &settings.bridge)?;
    side.networks.follow(attachments.open_networks());
    tokio::spawn(attachments.clone().run());
    tokio::spawn(attachments.clone().keep_exposed());
    let (told, mut directory) = (attachments.clone(), side.networks_client.directory());
    tokio::spawn(async move {
        while directory.changed().await.is_ok() {
            told.look_again();
        }
    });
    Ok(attachments)
}

/// Starts the checks of the host. Returns the receiver of the endpoints of this router.
fn watch_host(
    settings: &RouterSettings,
    warnings: &Warnings,
    opened: &StartResources,
    shared: &LaneContext,
) -> tokio::sync::watch::Receiver<Vec<SocketAddr>> {
    let (sender, endpoints) = tokio::sync::watch::channel(opened.underlay.endpoints.clone());
    let host = watch::HostWatch {
        settings: settings.clone(),
        warnings: warnings.clone(),
        store: opened.store.clone(),
        forwarder: shared.forwarder.clone(),
        inside: shared.inside.clone(),
    };
    tokio::spawn(host.run(sender));
    tokio::spawn(watch::sweep(shared.forwarder.clone(), shared.clock));
    endpoints
}

/// Returns the host side of reports.
fn view(
    settings: &RouterSettings,
    manner: StartMode,
    warnings: &Warnings,
    shared: &LaneContext,
    datapath: DatapathView,
    fast: &Option<FastPath>,
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
        fast_path: fast.as_ref().map(FastPath::status),
        forwarder: shared.forwarder.clone(),
        events_lost: shared.events_lost.clone(),
        clock: shared.clock,
        restart: manner.restart(),
        warnings: warnings.clone(),
    }
}

/// Starts the thread that writes state files.
fn write_state(store: &Arc<Store>, warnings: &Warnings) -> anyhow::Result<StateWriter> {
    let disk = store.clone();
    StateWriter::start(warnings.clone(), move |change: &StateChange| {
        disk.apply(change)
    })
    .context("cannot start a thread")
}
