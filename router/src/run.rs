//! The order of a router's life: check, bind, build the host side, run, take down.
//!
//! Whatever can be refused is refused before the first kernel object is made, so that a failed start leaves nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use mesh_proto::control::{Config, Control, HeldAddresses};
use mesh_proto::crypto::identity::Identity;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::entropy::Entropy;
use mesh_proto::forward::{Forwarder, LaneEvent, Snapshot};
use mesh_proto::ids::PeerName;
use mesh_proto::topology::record::Ed25519;
use mesh_sys::bridge::{BridgeConfig, PortKind};
use mesh_sys::tcp::limit_segments;
use mesh_sys::udp::Udp;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot, watch};

use crate::api::{self, Api, SocketFile};
use crate::attach::Attachments;
use crate::attach::HostKernel;
use crate::attach::kernel::Kernel;
use crate::cipher;
use crate::clock::{Clock, OsEntropy};
use crate::config::Settings;
use crate::driver::{self, PluginSocket};
use crate::engine::Engines;
use crate::fastpath::{self, FastPath};
use crate::host::{self, DatapathView, HostView};
use crate::ipam::{Addresses, Allocator, Plan};
use crate::lanes::{ControlSender, LANE_EVENTS, Lanes, Shared};
use crate::names::{self, Naming};
use crate::shell::{Accepts, Command, Shell};
use crate::state::{Change, Store, Writer};
use crate::{ipam, log, port, resolve, secret};

/// Commands that may wait for the control plane.
const COMMANDS: usize = 64;
/// How often the host's addresses are looked at again.
const ADDRESSES: Duration = Duration::from_secs(5);

/// Runs a router until it is told to stop.
///
/// # Errors
/// One line that says what stands in the way and what to do.
pub fn run(settings: Settings, daemon: bool) -> anyhow::Result<()> {
    if daemon {
        mesh_sys::process::setsid()?;
    }
    log::init(&settings.log_level, daemon, &settings.state_dir);
    mesh_sys::process::check_capabilities()?;
    let secret = secret::load(&settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(start(settings, secret))
}

async fn start(settings: Settings, secret: MeshSecret) -> anyhow::Result<()> {
    let mut opened = Opened::open(&settings).await?;
    let clock = Clock::start();
    let forwarder = Arc::new(Forwarder::new(&mut OsEntropy));
    let plan = settings.ipalloc.settle(&settings.bridge)?;
    let mut control = build_control(&settings, secret, &opened, &forwarder, clock)?;
    let (addresses, allocator) = open_addresses(plan, &opened, &control, clock)?;
    let is_alone = !control.has_targets();
    let names = names::Prepared::start(
        &settings.dns,
        &settings.bridge,
        control.me(),
        is_alone,
        clock,
    )?;
    let (kernel, datapath) = build_host(&settings)?;
    let (shared, lane_events) = share(&settings, &opened, &control, forwarder, clock)?;
    // A port that takes fewer lanes: a socket that nobody reads would lose what comes in by it.
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
    let held = Arc::new(ArcSwap::from_pointee(HeldAddresses::new()));
    let attachments = open_attachments(
        &settings,
        &opened.store,
        kernel,
        held.clone(),
        allocator.clone(),
    )?;
    let plugin = serve_plugin(&attachments);
    tokio::spawn(attachments.clone().run());
    tokio::spawn(attachments.clone().keep_exposed());
    let (endpoint_sender, endpoints) = watch::channel(opened.endpoints);
    tokio::spawn(watch_addresses(settings.clone(), endpoint_sender));
    tokio::spawn(sweep(shared.forwarder.clone(), clock));
    let host_view = view(&settings, &shared, datapath.view, fast.as_ref());
    let feed = names.feed();
    let naming = names.run(
        attachments.clone(),
        opened.store.clone(),
        command_sender.clone(),
    )?;
    let api = (attachments.clone(), allocator, naming);
    serve_api(opened.api, host_view, api, command_sender);
    let state = write_state(&opened.store)?;
    let shell = Shell {
        control,
        clock,
        snapshot: shared.snapshot.clone(),
        sender: ControlSender::new(shared),
        links: Accepts::new(opened.listener),
        lane_events,
        commands,
        attached: attachments.announced(),
        endpoints,
        held,
        pins: opened.pins,
        fast,
        names: feed,
        state,
        addresses,
    };
    tracing::info!(
        "mesh router {} ({}) listens on port {}; ciphers of data, in order of preference: {}",
        opened.name,
        settings.nickname,
        settings.port,
        cipher::suites(settings.cipher)
    );
    shell.run().await;
    drop(plugin);
    lanes.stop();
    tracing::info!("stopped");
    Ok(())
}

/// What a router holds before the first kernel object is made.
struct Opened {
    api: UnixListener,
    /// Removes the API's socket when the router ends.
    _socket: SocketFile,
    listener: TcpListener,
    /// One socket for each lane, all of one port.
    udp: Vec<Udp>,
    store: Arc<Store>,
    identity: Arc<Identity>,
    epoch: u64,
    name: PeerName,
    endpoints: Vec<SocketAddr>,
    pins: BTreeMap<PeerName, [u8; 32]>,
}

impl Opened {
    async fn open(settings: &Settings) -> anyhow::Result<Self> {
        resolve::check(&settings.peers, settings.port).await?;
        let api = api::bind(&settings.socket).await?;
        let socket = SocketFile(settings.socket.clone());
        let listener = listen(settings).await?;
        let udp = Udp::bind_group(settings.host, settings.port, settings.lanes)?;
        for socket in &udp {
            // Path MTU discovery is ours, and what is too long for a path we cut ourselves.
            socket.set_dont_fragment(true)?;
        }
        let store = Arc::new(Store::open(&settings.state_dir)?);
        let boot = store.boot(|| (OsEntropy.key(), OsEntropy.key()))?;
        let identity = Arc::new(Identity::from_seeds(boot.sign, boot.dh));
        Ok(Self {
            api,
            _socket: socket,
            listener,
            udp,
            name: settings
                .name
                .unwrap_or_else(|| identity.id().derived_name()),
            identity,
            epoch: boot.epoch,
            endpoints: host::endpoints(settings.host, settings.port, &settings.bridge)?,
            pins: stored_pins(&store)?,
            store,
        })
    }
}

fn build_control(
    settings: &Settings,
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
        endpoints: opened.endpoints.clone(),
        discovery: settings.discovery,
        mtu: settings.mtu,
        suites: cipher::suites(settings.cipher),
        pins: opened.pins.clone(),
    };
    let mut control = Control::new(
        config,
        forwarder.clone(),
        Arc::new(Ed25519),
        Box::new(OsEntropy),
        clock.now(),
    )?;
    let mut targets = opened.store.targets()?;
    targets.extend(
        settings
            .peers
            .iter()
            .filter(|p| !targets.contains(p))
            .cloned()
            .collect::<Vec<_>>(),
    );
    control
        .connect(&targets, false, clock.now())
        .map_err(anyhow::Error::msg)?;
    Ok(control)
}

/// The journal of addresses, before anybody is spoken to; without a plan nothing is allocated.
fn open_addresses(
    plan: Result<Plan, String>,
    opened: &Opened,
    control: &Control,
    clock: Clock,
) -> anyhow::Result<(Option<Addresses>, Allocator)> {
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

/// How frames enter and leave, and what the report says of it.
struct Datapath {
    halves: port::Halves,
    view: DatapathView,
}

/// Makes the bridge and the router's port on it: the first kernel objects.
fn build_host(settings: &Settings) -> anyhow::Result<(HostKernel, Datapath)> {
    let chosen = port::choose(settings.datapath, &settings.bridge, settings.lanes)?;
    let config = BridgeConfig {
        name: settings.bridge.clone(),
        mtu: settings.mtu,
        mac: None,
        port: chosen.kind,
    };
    let kernel = HostKernel::new(config, chosen.kind == PortKind::Veth);
    let view = DatapathView {
        name: chosen.name(),
        reason: chosen.reason.clone(),
    };
    kernel.ensure_bridge()?;
    let halves = port::open(chosen, kernel.bridge.clone())?;
    Ok((kernel, Datapath { halves, view }))
}

/// What the lanes and the control plane share.
fn share(
    settings: &Settings,
    opened: &Opened,
    control: &Control,
    forwarder: Arc<Forwarder>,
    clock: Clock,
) -> anyhow::Result<(Shared, mpsc::Receiver<LaneEvent>)> {
    let (events, lane_events) = mpsc::channel(LANE_EVENTS);
    let shared = Shared {
        forwarder,
        snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::alone(
            control.me(),
            opened.epoch,
            settings.mtu,
            clock.now(),
        ))),
        udp: opened.udp.first().context("no UDP socket")?.clone(),
        events,
        events_lost: Arc::new(AtomicU64::new(0)),
        clock,
        stop: Arc::new(AtomicBool::new(false)),
    };
    Ok((shared, lane_events))
}

fn open_attachments(
    settings: &Settings,
    store: &Arc<Store>,
    kernel: HostKernel,
    held: Arc<ArcSwap<HeldAddresses>>,
    allocator: Allocator,
) -> anyhow::Result<Arc<Attachments>> {
    Ok(Attachments::open(
        store.clone(),
        Arc::new(kernel),
        Engines::local(),
        Arc::new(move |address| held.load().get(&address).cloned()),
        allocator,
        &settings.bridge,
    )?)
}

/// The host's side of reports.
fn view(
    settings: &Settings,
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
        fast_path: fast.map(FastPath::status),
        forwarder: shared.forwarder.clone(),
        events_lost: shared.events_lost.clone(),
        clock: shared.clock,
    }
}

/// Serves the API, and ends the router when that, or a signal, says so.
fn serve_api(
    listener: UnixListener,
    host: HostView,
    (attachments, allocator, naming): (Arc<Attachments>, Allocator, Naming),
    command_sender: mpsc::Sender<Command>,
) {
    let (stop_sender, stop) = mpsc::channel(1);
    let api = Api {
        commands: command_sender.clone(),
        attachments,
        allocator,
        naming,
        host: Arc::new(host),
        stop: stop_sender,
    };
    tokio::spawn(async move {
        if let Err(error) = api::serve(listener, api).await {
            tracing::error!("the API ended: {error}");
        }
    });
    tokio::spawn(until_stopped(stop, command_sender));
}

/// Starts the thread that writes state files.
fn write_state(store: &Arc<Store>) -> anyhow::Result<Writer> {
    let disk = store.clone();
    Writer::start(move |change: &Change| change.store(&disk)).context("cannot start a thread")
}

/// Serves Docker until the answer is dropped. Without it the router still does everything else: another router of this
/// host may be the one that Docker asks.
fn serve_plugin(attachments: &Arc<Attachments>) -> Option<oneshot::Sender<()>> {
    let socket = match PluginSocket::bind(Path::new(driver::DEFAULT_SOCKET)) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!("{error}; Docker on this host will not use this router");
            return None;
        }
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let attachments = attachments.clone();
    tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        if let Err(error) = socket.serve(attachments, stopped).await {
            tracing::error!("the Docker driver ended: {error}");
        }
    });
    Some(stop)
}

fn stored_pins(store: &Store) -> anyhow::Result<BTreeMap<PeerName, [u8; 32]>> {
    let parse = |(name, key): (String, [u8; 32])| Ok((name.parse()?, key));
    store.pins()?.into_iter().map(parse).collect()
}

/// A signal or the API ends the router.
async fn until_stopped(mut stop: mpsc::Receiver<()>, commands: mpsc::Sender<Command>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("cannot listen for signals");
        return;
    };
    tokio::select! {
        _ = stop.recv() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    drop(commands.send(Command::Stop).await);
}

async fn listen(settings: &Settings) -> anyhow::Result<TcpListener> {
    let mut last = None;
    for ip in listen_addresses(settings.host) {
        let address = SocketAddr::new(ip, settings.port);
        match TcpListener::bind(address).await {
            Ok(listener) => {
                limit_segments(&listener)?;
                return Ok(listener);
            }
            Err(error) => last = Some(in_use(&error, address)),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no address to listen on")))
}

/// All addresses of both families, or of IPv4 alone on a host without IPv6, or the one that was asked for.
fn listen_addresses(host: Option<IpAddr>) -> Vec<IpAddr> {
    match host {
        Some(host) => vec![host],
        None => vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
    }
}

fn in_use(error: &std::io::Error, address: SocketAddr) -> anyhow::Error {
    let text = error.to_string();
    let text = text
        .split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another router or program has it: mesh status tells, or choose another --port"
        }
        std::io::ErrorKind::AddrNotAvailable => "; that is no address of this host (--host)",
        _ => "",
    };
    anyhow::anyhow!("cannot listen on TCP {address}: {text}{hint}")
}

async fn watch_addresses(settings: Settings, sender: watch::Sender<Vec<SocketAddr>>) {
    loop {
        tokio::time::sleep(ADDRESSES).await;
        match host::endpoints(settings.host, settings.port, &settings.bridge) {
            Ok(endpoints) => {
                sender.send_if_modified(|old| {
                    let changed = *old != endpoints;
                    *old = endpoints;
                    changed
                });
            }
            Err(error) => tracing::debug!("{error}"),
        }
    }
}

/// Forgets MAC addresses that were not seen for long.
async fn sweep(forwarder: Arc<Forwarder>, clock: Clock) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        forwarder.sweep(clock.now());
    }
}
