//! One real router: `Control` and `Forwarder`, with memory in place of sockets and bridge.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::control::{Config, Control, Note, Output, RemoteAddresses, StoredNeighbour};
use mesh_proto::crypto::aead::Suites;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::forward::{Collected, Forwarder, Path, Scratch, Snapshot};
use mesh_proto::ids::{ConnId, PeerId, PeerName};
use mesh_proto::ipam::{Ipam, IpamConfig, Slicing};
use mesh_proto::limits;
use mesh_proto::names::Container;
use mesh_proto::offload::{PortFrame, VirtioHeader};
use mesh_proto::time::Instant;
use mesh_proto::topology::RecordError;
use mesh_proto::topology::bodies::Attached;
use mesh_proto::topology::lsdb::Lsdb;
use mesh_proto::topology::record::{SignedRecord, Verifier};
use mesh_proto::topology::routes::Routes;
use mesh_proto::wire::datagram::{Header, Kind};
use mesh_proto::wire::topic::{RecordKey, Topic};

use super::addresses::RouterAddresses;
use super::fault::{InjectedFault, detours};
use super::frames::id_of;
use super::invariants::bounds::Fill;
use super::invariants::forward_once::relay_key;
use super::invariants::ways::{RouteView, graph};
use super::names::AnnouncedNames;
use super::offloads::{OffloadPort, PortBatch};
use super::process::{Effect, Keep, Process};
use super::rng::Rng;
use super::verifier::AcceptAll;

/// The fault `ShortRead` takes a byte from reads longer than this.
const LONG_READ: usize = 900;

/// RouterState that a router keeps on disk.
#[derive(Clone)]
pub(crate) struct RouterState {
    pub(crate) identity: Arc<Identity>,
    pub(crate) epoch: u64,
    pub(crate) targets: Vec<String>,
    pub(crate) neighbours: Vec<StoredNeighbour>,
    pub(crate) pins: BTreeMap<PeerName, [u8; 32]>,
}

/// Parameters of a start besides the state.
pub(crate) struct RouterSetup {
    pub(crate) nickname: String,
    pub(crate) address: SocketAddr,
    pub(crate) discovery: bool,
    pub(crate) secret: Arc<MeshSecret>,
    pub(crate) verifier: Arc<dyn Verifier + Send + Sync>,
    pub(crate) attached: Vec<Attached>,
    /// Address range and journal entries, if the router allocates.
    pub(crate) range: Option<(Slicing, Vec<Vec<u8>>)>,
    /// Ciphers that its CPU supports well.
    pub(crate) suites: Suites,
    /// Offset of the host's clock from that of the world.
    pub(crate) clock: Duration,
    /// Injected fault.
    pub(crate) fault: Option<InjectedFault>,
}

/// A running router.
pub(crate) struct SimRouter {
    control: Control,
    /// `None` if allocation is off.
    addresses: Option<RouterAddresses>,
    names: AnnouncedNames,
    forwarder: Arc<Forwarder>,
    snapshot: Arc<Snapshot>,
    /// Hash of the snapshot's graph, computed on demand.
    graph: Option<u64>,
    scratch: Scratch,
    clock: Duration,
    effects: Vec<Effect>,
    /// Injected fault: snapshots are ignored.
    pub(crate) deaf_to_snapshots: bool,
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
        let config = Config {
            identity: state.identity.clone(),
            secret: setup.secret.clone(),
            epoch: state.epoch,
            name: me.derived_name(),
            nickname: setup.nickname.clone(),
            port: setup.address.port(),
            endpoints: vec![setup.address],
            discovery: setup.discovery,
            mtu: limits::DEFAULT_MTU,
            suites: setup.suites,
            stored_neighbours: state.neighbours.clone(),
            forgotten: Vec::new(),
            pins: state.pins.clone(),
        };
        let forwarder = Arc::new(Forwarder::new(&mut rng.entropy()));
        let entropy = Box::new(rng.entropy());
        let verifier = match setup.fault {
            Some(InjectedFault::SkippedSignature) => Arc::new(AcceptAll),
            _ => setup.verifier.clone(),
        };
        let control = Control::new(config, forwarder.clone(), verifier, entropy, local)
            .map_err(|e| e.to_string())?;
        let addresses = match &setup.range {
            Some((slicing, journal)) => {
                let config = IpamConfig {
                    me,
                    epoch: state.epoch,
                    slicing: *slicing,
                    auto_reclaim: None,
                };
                Some(RouterAddresses::start(config, journal, setup.fault, local)?)
            }
            None => None,
        };
        let mut router = Self {
            control,
            addresses,
            names: AnnouncedNames::new(me, setup.fault, local),
            forwarder,
            snapshot: Arc::new(Snapshot::alone(me, state.epoch, limits::DEFAULT_MTU, local)),
            graph: None,
            scratch: Scratch::default(),
            clock: setup.clock,
            effects: Vec::new(),
            deaf_to_snapshots: false,
            fault: setup.fault,
            announced: setup.attached.clone(),
            port: rng.chance(500).then(OffloadPort::new),
            held: RemoteAddresses::default(),
        };
        router.control.set_attached(&setup.attached, local);
        router.control.connect(&state.targets, true, local)?;
        if let Some(addresses) = &mut router.addresses {
            let expecting = !state.targets.is_empty();
            addresses.ipam().set_expecting(expecting, local);
        }
        router.settle(now);
        Ok(router)
    }

    /// Gives the router the knowledge of an earlier run, see [`Control::resume`].
    pub(crate) fn resume(&mut self, lsdb: &Lsdb, routes: &Routes, now: Instant) {
        self.control.resume(lsdb, routes, self.local(now));
        self.settle(now);
    }

    /// Returns a record from its database.
    pub(crate) fn record(&self, key: RecordKey) -> Option<&SignedRecord> {
        self.control.record(key)
    }

    /// Handles frames from containers.
    pub(crate) fn frames(&mut self, frames: &[Vec<u8>], now: Instant) {
        self.egress(&mut frames.iter().map(|f| PortFrame::plain(f)), now);
    }

    /// Handles a super-frame from a container.
    pub(crate) fn super_frame(&mut self, header: VirtioHeader, bytes: &[u8], now: Instant) {
        self.egress(&mut [PortFrame { header, bytes }].into_iter(), now);
    }

    fn egress(&mut self, batch: &mut dyn Iterator<Item = PortFrame<'_>>, now: Instant) {
        let local = self.local(now);
        let mut turn = PortBatch::new(self.port.as_mut());
        self.forwarder
            .egress(&self.snapshot, batch, local, &mut self.scratch, &mut turn);
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
        self.control.set_attached(&attached, self.local(now));
        self.settle(now);
    }

    /// Sets the underlay address of the host.
    pub(crate) fn set_address(&mut self, address: SocketAddr, now: Instant) {
        self.control.set_endpoints(vec![address], self.local(now));
        self.settle(now);
    }

    /// Returns its allocation state, as operators see it.
    pub(crate) fn ipam(&self) -> Option<&Ipam> {
        self.addresses.as_ref().map(RouterAddresses::state)
    }

    /// Runs `deed` on its allocation at its local time; does nothing if allocation is off.
    pub(crate) fn with_addresses<T: Default>(
        &mut self,
        now: Instant,
        deed: impl FnOnce(&mut RouterAddresses, Instant) -> T,
    ) -> T {
        let local = self.local(now);
        let addresses = self.addresses.as_mut();
        let done = addresses.map(|a| deed(a, local)).unwrap_or_default();
        self.settle(now);
        done
    }

    /// Returns its view of names.
    pub(crate) fn names(&self) -> &AnnouncedNames {
        &self.names
    }

    /// Sets the containers with names.
    pub(crate) fn set_named(&mut self, containers: Vec<Container>, now: Instant) {
        let local = self.local(now);
        if let Some(statement) = self.names.set_containers(containers) {
            let said = self.control.announce(Topic::NAMES, statement, local);
            let note = |error: RecordError| Effect::Note(error.to_string());
            self.effects.extend(said.err().map(note));
        }
        self.settle(now);
    }

    /// Returns the longest datagram that its lanes send to `peer`, if the path is direct.
    pub(crate) fn datagram_to(&self, peer: &PeerId) -> Option<u16> {
        let peer = self.snapshot.peers.get(peer)?;
        matches!(peer.path, Path::Direct(_)).then_some(peer.datagram)
    }

    /// Returns the peers with next hop `hop`.
    pub(crate) fn routed_via(&self, hop: &PeerId) -> Vec<PeerId> {
        let mut peers = self.reachable();
        peers.retain(|peer| self.snapshot.path(*peer) == Path::Via(*hop));
        peers
    }

    /// True if frames for `peer` have a path whose next hop is not `hop`.
    pub(crate) fn avoids(&self, hop: &PeerId, peer: &PeerId) -> bool {
        match self.snapshot.path(*peer) {
            Path::Via(via) => via != *hop,
            Path::Direct(_) => true,
            Path::None => false,
        }
    }

    /// Returns the addresses that it knows to be held elsewhere.
    pub(crate) fn held(&self) -> BTreeSet<IpAddr> {
        self.held.addresses().collect()
    }

    /// Returns the digest that neighbours compare.
    pub(crate) fn digest(&self) -> [u8; 16] {
        self.control.digest()
    }

    /// Returns the routers it has a route to, itself included.
    pub(crate) fn reachable(&self) -> Vec<PeerId> {
        self.control.reachable()
    }

    /// Returns its warnings to the operator.
    pub(crate) fn warnings(&self, now: Instant) -> Vec<String> {
        self.control.report(self.local(now)).warnings
    }

    /// Returns the age of the oldest key it seals with.
    pub(crate) fn oldest_key(&self, now: Instant) -> Option<Duration> {
        let local = self.local(now);
        let sessions = self.snapshot.peers.values().flat_map(|p| &p.transport);
        sessions.map(|t| local.since(t.established())).max()
    }

    /// Returns the number of records accepted from others.
    pub(crate) fn records_taken(&self) -> u64 {
        self.control.records_taken()
    }

    /// Returns the sizes of its tables with their bounds.
    pub(crate) fn tables(&self) -> Vec<Fill> {
        let (partials, bytes) = self.forwarder.partials();
        let partials = [
            ("partial datagrams", partials, limits::MAX_PARTIALS),
            (
                "bytes of partial datagrams",
                bytes,
                limits::MAX_PARTIAL_BYTES,
            ),
        ];
        let tables = self.control.tables().into_iter().chain(partials);
        tables
            .map(|(table, used, bound)| Fill { table, used, bound })
            .collect()
    }

    fn local(&self, now: Instant) -> Instant {
        now + self.clock
    }

    fn world(&self, local: Instant) -> Instant {
        if local == Instant::FAR_FUTURE {
            return local;
        }
        local - self.clock
    }

    /// Takes the effects of a lane; a received broadcast that is sent again is reported separately.
    fn take(&mut self, out: Collected, now: Instant) {
        let datagrams = out.datagrams();
        let on = |(_, bytes): &(SocketAddr, Vec<u8>)| {
            Header::parse(bytes).is_ok_and(|h| h.kind == Kind::Flood)
        };
        if datagrams.iter().any(on) {
            let ids = out.frames.iter().filter_map(|frame| id_of(frame));
            self.effects.extend(ids.map(Effect::Flooded));
        }
        let injected = out.frames.into_iter().map(Effect::Inject);
        self.effects.extend(injected);
        let relayed = datagrams
            .iter()
            .filter_map(|(_, bytes)| self.relayed(bytes));
        let relayed: Vec<Effect> = relayed.collect();
        self.effects.extend(relayed);
        self.effects.extend(
            datagrams
                .into_iter()
                .map(|(to, bytes)| Effect::Datagram { to, bytes }),
        );
        for event in out.events {
            self.control.handle_lane(event, self.local(now));
        }
    }

    /// Returns the router's view of the path of a relayed datagram.
    fn relayed(&mut self, datagram: &[u8]) -> Option<Effect> {
        let key = relay_key(datagram)?;
        let routes = &self.snapshot.routes;
        let hops = routes.next_hop(&PeerId(key.0));
        let view = RouteView {
            graph: *self.graph.get_or_insert_with(|| graph(routes)),
            to_go: hops.map(|(_, hops)| hops),
        };
        Some(Effect::Relayed(key, view))
    }

    /// Carries out the effects of control and allocation, until none are left.
    fn settle(&mut self, now: Instant) {
        let local = self.local(now);
        loop {
            self.settle_control(now);
            let (control, effects) = (&mut self.control, &mut self.effects);
            let addresses = self.addresses.as_mut();
            if !addresses.is_some_and(|a| a.carry_out(control, effects, local)) {
                return;
            }
        }
    }

    fn settle_control(&mut self, now: Instant) {
        let local = self.local(now);
        while let Some(output) = self.control.poll_output() {
            self.names.hear(&output, &self.control);
            if let Some(addresses) = &mut self.addresses {
                addresses.hear(&output, &self.control, local);
            }
            let effect = match output {
                Output::Dial { conn, to, .. } => Effect::Dial { conn, to },
                Output::Send { conn, bytes } => Effect::Send { conn, bytes },
                Output::Close { conn, .. } => Effect::Close { conn },
                Output::Datagram { to, bytes, .. } | Output::SpareDatagram { to, bytes } => {
                    Effect::Datagram { to, bytes }
                }
                Output::Publish(snapshot) => {
                    self.publish(snapshot, now);
                    continue;
                }
                Output::Pin(name, key) => Effect::Keep(Keep::Pin(name, key)),
                Output::Epoch(epoch) => Effect::Keep(Keep::Epoch(epoch)),
                Output::Unpin(name) => Effect::Keep(Keep::Unpin(name)),
                Output::Targets(targets) => Effect::Keep(Keep::Targets(targets)),
                Output::Neighbours(all) => Effect::Keep(Keep::Neighbours(all)),
                // The simulator keeps all names.
                Output::Forgotten(_) => continue,
                Output::RemoteAttached(holder) => {
                    self.held.set(holder);
                    continue;
                }
                Output::Fast(_)
                | Output::SparePort(_)
                | Output::Announcement(_)
                | Output::Unicast { .. }
                | Output::Reach => continue,
                Output::Note(Note::Info(text) | Note::Warn(text)) => Effect::Note(text),
            };
            self.effects.push(effect);
        }
    }

    fn publish(&mut self, snapshot: Arc<Snapshot>, now: Instant) {
        if self.deaf_to_snapshots {
            return;
        }
        if !Arc::ptr_eq(&self.snapshot.routes, &snapshot.routes) {
            self.graph = None;
        }
        self.snapshot = match self.fault {
            Some(InjectedFault::Detour) => Arc::new(detours(&snapshot)),
            _ => snapshot,
        };
        let mut out = Collected::default();
        let local = self.local(now);
        self.forwarder
            .flush_pending(&self.snapshot, local, &mut self.scratch, &mut out);
        self.take(out, now);
    }
}

impl Process for SimRouter {
    fn accepted(&mut self, from: SocketAddr, now: Instant) -> Option<ConnId> {
        let conn = self.control.handle_accepted(from, self.local(now));
        self.settle(now);
        conn
    }

    fn connected(&mut self, conn: ConnId, to: SocketAddr, now: Instant) {
        self.control.handle_connected(conn, to, self.local(now));
        self.settle(now);
    }

    fn bytes(&mut self, conn: ConnId, bytes: &[u8], now: Instant) {
        let lost =
            usize::from(self.fault == Some(InjectedFault::ShortRead) && bytes.len() > LONG_READ);
        let bytes = &bytes[..bytes.len() - lost];
        self.control.handle_bytes(conn, bytes, self.local(now));
        self.settle(now);
    }

    fn written(&mut self, conn: ConnId, bytes: usize, now: Instant) {
        self.control.handle_written(conn, bytes, self.local(now));
        self.settle(now);
    }

    fn closed(&mut self, conn: ConnId, error: &str, now: Instant) {
        self.control.handle_closed(conn, error, self.local(now));
        self.settle(now);
    }

    fn datagram(&mut self, from: SocketAddr, mut bytes: Vec<u8>, now: Instant) {
        let local = self.local(now);
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
        let out = turn.end();
        self.take(out, now);
        self.settle(now);
    }

    fn timeout(&mut self, now: Instant) {
        let local = self.local(now);
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
        let addresses = self.ipam().map(Ipam::next_deadline);
        let addresses = addresses.unwrap_or(Instant::FAR_FUTURE);
        self.world(self.control.next_deadline().0.min(addresses))
    }

    fn drain(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    fn router(&mut self) -> Option<&mut SimRouter> {
        Some(self)
    }

    fn as_router(&self) -> Option<&SimRouter> {
        Some(self)
    }
}
