//! One real router: `Control` and `Forwarder`, with memory in place of sockets and bridge.

mod effects;
mod observe;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_ipam::IpamConfig;
use mesh_names::Container;
use mesh_proto::control::{Config, Control, RemoteAddresses};
use mesh_proto::crypto::aead::Suites;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::forward::{Forwarder, Scratch, Snapshot};
use mesh_proto::ids::ConnId;
use mesh_proto::limits;
use mesh_proto::network::NetworkId;
use mesh_proto::offload::{PortFrame, VirtioHeader};
use mesh_proto::time::Instant;
use mesh_proto::topology::RecordError;
use mesh_proto::topology::bodies::Attached;
use mesh_proto::topology::lsdb::Lsdb;
use mesh_proto::topology::record::Verifier;
use mesh_proto::topology::routes::Routes;
use mesh_proto::wire::datagram::{Header, Kind};
use mesh_proto::wire::topic::Topic;

use super::addresses::{AddressSetup, RouterAddresses, WorkloadRequest};
use super::effect::Effect;
use super::fault::InjectedFault;
use super::names::AnnouncedNames;
use super::networks::RouterNetworks;
use super::offloads::{OffloadPort, PortBatch};
use super::process::Process;
use super::rng::Rng;
use super::state::RouterState;
use super::verifier::AcceptAll;

/// The fault `ShortRead` takes a byte from reads longer than this.
const LONG_READ: usize = 900;

/// Parameters of a start besides the state.
pub(crate) struct RouterSetup {
    pub(crate) nickname: String,
    pub(crate) address: SocketAddr,
    pub(crate) discovery: bool,
    pub(crate) secret: Arc<MeshSecret>,
    pub(crate) verifier: Arc<dyn Verifier + Send + Sync>,
    pub(crate) attached: Vec<Attached>,
    /// Networks besides `default` with members on the host.
    pub(crate) networks: Vec<NetworkId>,
    /// Address spaces; none if it does not allocate.
    pub(crate) addresses: Option<AddressSetup>,
    /// Ciphers that its CPU supports well.
    pub(crate) suites: Suites,
    /// Offset of the host's clock from that of the world.
    pub(crate) clock: Duration,
    /// Injected fault.
    pub(crate) fault: Option<InjectedFault>,
}

/// Offset of a host's clock from that of the world.
#[derive(Clone, Copy, Debug)]
struct ClockOffset(Duration);

impl ClockOffset {
    fn local(self, now: Instant) -> Instant {
        now + self.0
    }

    fn world(self, local: Instant) -> Instant {
        if local == Instant::FAR_FUTURE {
            return local;
        }
        local - self.0
    }
}

/// A running router.
pub(crate) struct SimRouter {
    control: Control,
    /// `None` if allocation is off.
    addresses: Option<RouterAddresses>,
    names: AnnouncedNames,
    networks: RouterNetworks,
    forwarder: Arc<Forwarder>,
    snapshot: Arc<Snapshot>,
    /// Hash of the snapshot's graph, computed on demand.
    graph: Option<u64>,
    scratch: Scratch,
    clock: ClockOffset,
    effects: Vec<Effect>,
    /// Injected fault: snapshots are ignored.
    deaf_to_snapshots: bool,
    /// Injected fault of the router itself.
    fault: Option<InjectedFault>,
    /// Last announced attachments.
    announced: Vec<Attached>,
    /// Port with offloads; `None` for one without.
    port: Option<OffloadPort>,
    /// Known addresses elsewhere.
    held: RemoteAddresses,
}

impl SimRouter {
    /// Starts a router with the state of its last run.
    pub(crate) fn start(
        state: &RouterState,
        setup: &RouterSetup,
        rng: &mut Rng,
        now: Instant,
    ) -> Result<Self, String> {
        let local = now + setup.clock;
        let me = state.identity.id();
        let forwarder = Arc::new(Forwarder::new(&mut rng.entropy()));
        let entropy = Box::new(rng.entropy());
        let verifier = match setup.fault {
            Some(InjectedFault::SkippedSignature) => Arc::new(AcceptAll),
            _ => setup.verifier.clone(),
        };
        let control = Control::new(
            config(state, setup),
            forwarder.clone(),
            verifier,
            entropy,
            local,
        )
        .map_err(|e| e.to_string())?;
        let addresses = setup.addresses.as_ref().map(|addresses| {
            let config = IpamConfig {
                me,
                epoch: state.epoch,
                slicing: addresses.slicing,
                auto_reclaim: None,
            };
            RouterAddresses::start(config, addresses, setup.fault, local)
        });
        let addresses = addresses.transpose()?;
        let mut router = Self {
            control,
            addresses,
            names: AnnouncedNames::new(me, setup.fault, local),
            networks: RouterNetworks::new(&setup.networks, state.epoch),
            forwarder,
            snapshot: Arc::new(Snapshot::alone(me, state.epoch, limits::DEFAULT_MTU, local)),
            graph: None,
            scratch: Scratch::default(),
            clock: ClockOffset(setup.clock),
            effects: Vec::new(),
            deaf_to_snapshots: false,
            fault: setup.fault,
            announced: setup.attached.clone(),
            port: rng.chance(500).then(OffloadPort::new),
            held: RemoteAddresses::default(),
        };
        let announced = router.networks.start(&mut router.control, local);
        announced.map_err(|e| e.to_string())?;
        router.control.set_attached(&setup.attached, local);
        router.control.connect(&state.targets, true, local)?;
        if let Some(addresses) = &mut router.addresses {
            let expecting = !state.targets.is_empty();
            addresses.ipam().set_expecting(expecting, local);
        }
        router.settle(now);
        Ok(router)
    }

    /// Makes it ignore all further snapshots, as an injected fault.
    pub(crate) fn ignore_snapshots(&mut self) {
        self.deaf_to_snapshots = true;
    }

    /// Gives the router the knowledge of an earlier run, see [`Control::resume`].
    pub(crate) fn resume(&mut self, lsdb: &Lsdb, routes: &Routes, now: Instant) {
        self.control.resume(lsdb, routes, self.clock.local(now));
        self.settle(now);
    }

    /// Handles frames from containers of a network.
    pub(crate) fn frames(&mut self, network: NetworkId, frames: &[Vec<u8>], now: Instant) {
        let frames = &mut frames.iter().map(|f| PortFrame::plain(f));
        self.egress(network, frames, now);
    }

    /// Handles a super-frame from a container of the network `default`.
    pub(crate) fn super_frame(&mut self, header: VirtioHeader, bytes: &[u8], now: Instant) {
        let frames = &mut [PortFrame { header, bytes }].into_iter();
        self.egress(NetworkId::DEFAULT, frames, now);
    }

    fn egress(
        &mut self,
        network: NetworkId,
        batch: &mut dyn Iterator<Item = PortFrame<'_>>,
        now: Instant,
    ) {
        let local = self.clock.local(now);
        let mut turn = PortBatch::new(self.port.as_mut());
        let (snapshot, scratch) = (&self.snapshot, &mut self.scratch);
        self.forwarder
            .egress(snapshot, network, batch, local, scratch, &mut turn);
        let out = turn.end();
        self.take(out, now);
        self.settle(now);
    }

    /// Sets the containers of the host.
    pub(crate) fn set_attached(&mut self, mut attached: Vec<Attached>, now: Instant) {
        if self.fault == Some(InjectedFault::ForgottenTombstone) {
            let old = self.announced.drain(..).filter(|a| !attached.contains(a));
            let old: Vec<Attached> = old.collect();
            attached.extend(old);
            self.announced.clone_from(&attached);
        }
        self.control.set_attached(&attached, self.clock.local(now));
        self.settle(now);
    }

    /// Sets the underlay address of the host.
    pub(crate) fn set_address(&mut self, address: SocketAddr, now: Instant) {
        self.control
            .set_endpoints(vec![address], self.clock.local(now));
        self.settle(now);
    }

    /// Requests an address for a container; returns whether the request waits.
    pub(crate) fn request_address(&mut self, request: &WorkloadRequest, now: Instant) -> bool {
        let local = self.clock.local(now);
        let (control, addresses) = (&self.control, self.addresses.as_mut());
        let times = [local + request.patience, local];
        let opened = addresses.is_some_and(|a| a.ask(request, control, times));
        self.settle(now);
        opened
    }

    /// Runs `action` on its allocation at its local time; does nothing if allocation is off.
    pub(crate) fn with_addresses<T: Default>(
        &mut self,
        now: Instant,
        action: impl FnOnce(&mut RouterAddresses, Instant) -> T,
    ) -> T {
        let local = self.clock.local(now);
        let addresses = self.addresses.as_mut();
        let done = addresses.map(|a| action(a, local)).unwrap_or_default();
        self.settle(now);
        done
    }

    /// Sets the containers with names.
    pub(crate) fn set_named(&mut self, containers: Vec<Container>, now: Instant) {
        let local = self.clock.local(now);
        if let Some(statement) = self.names.set_containers(containers) {
            let said = self.control.announce(Topic::NAMES, statement, local);
            let note = |error: RecordError| Effect::Note(error.to_string());
            self.effects.extend(said.err().map(note));
        }
        self.settle(now);
    }
}

/// Returns the configuration of the control plane.
fn config(state: &RouterState, setup: &RouterSetup) -> Config {
    Config {
        identity: state.identity.clone(),
        secret: setup.secret.clone(),
        epoch: state.epoch,
        name: state.identity.id().derived_name(),
        nickname: setup.nickname.clone(),
        port: setup.address.port(),
        endpoints: vec![setup.address],
        discovery: setup.discovery,
        mtu: limits::DEFAULT_MTU,
        suites: setup.suites,
        stored_neighbours: state.neighbours.clone(),
        forgotten: Vec::new(),
        pins: state.pins.clone(),
    }
}

impl Process for SimRouter {
    fn accepted(&mut self, from: SocketAddr, now: Instant) -> Option<ConnId> {
        let conn = self.control.handle_accepted(from, self.clock.local(now));
        self.settle(now);
        conn
    }

    fn connected(&mut self, conn: ConnId, to: SocketAddr, now: Instant) {
        self.control
            .handle_connected(conn, to, self.clock.local(now));
        self.settle(now);
    }

    fn bytes(&mut self, conn: ConnId, bytes: &[u8], now: Instant) {
        let lost =
            usize::from(self.fault == Some(InjectedFault::ShortRead) && bytes.len() > LONG_READ);
        let bytes = &bytes[..bytes.len() - lost];
        self.control
            .handle_bytes(conn, bytes, self.clock.local(now));
        self.settle(now);
    }

    fn written(&mut self, conn: ConnId, bytes: usize, now: Instant) {
        self.control
            .handle_written(conn, bytes, self.clock.local(now));
        self.settle(now);
    }

    fn closed(&mut self, conn: ConnId, error: &str, now: Instant) {
        self.control
            .handle_closed(conn, error, self.clock.local(now));
        self.settle(now);
    }

    fn datagram(&mut self, from: SocketAddr, mut bytes: Vec<u8>, now: Instant) {
        let local = self.clock.local(now);
        let kind = Header::parse(&bytes).map(|h| h.kind);
        let handshake = matches!(kind, Ok(Kind::Init | Kind::Response));
        if self.fault == Some(InjectedFault::DeafToHandshakes) && handshake {
            return;
        }
        let forgetful = self.fault == Some(InjectedFault::SkippedDedup) && kind == Ok(Kind::Flood);
        let fresh = forgetful.then(|| Forwarder::new(&mut Rng::new(local.as_nanos()).entropy()));
        let mut turn = PortBatch::new(self.port.as_mut());
        fresh.as_ref().unwrap_or(&self.forwarder).ingress(
            &self.snapshot,
            from,
            &mut bytes,
            local,
            &mut turn,
        );
        let mut out = turn.end();
        self.mix_networks(kind.ok(), &mut out);
        self.take(out, now);
        self.settle(now);
    }

    fn timeout(&mut self, now: Instant) {
        let local = self.clock.local(now);
        if self.control.next_deadline().0 <= local {
            self.control.handle_timeout(local);
        }
        if let Some(addresses) = &mut self.addresses {
            addresses.handle_timeout(local);
        }
        self.settle(now);
    }

    fn next_deadline(&self) -> Instant {
        if self.fault == Some(InjectedFault::DeafTimer) {
            return Instant::FAR_FUTURE;
        }
        let addresses = self.addresses.as_ref().map(RouterAddresses::next_deadline);
        let addresses = addresses.unwrap_or(Instant::FAR_FUTURE);
        self.clock
            .world(self.control.next_deadline().0.min(addresses))
    }

    fn drain(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}
