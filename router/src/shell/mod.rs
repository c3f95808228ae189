//! Shell around the control plane: moves bytes and sets one timer. All decisions are in `mesh_proto::control`.

mod accept;
mod budget;
mod conns;
mod dial;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use mesh_host::table::Announced;
use mesh_proto::control::{Control, Note, Output, RemoteAddresses};
use mesh_proto::forward::Snapshot;
use mesh_proto::ids::PeerName;
use mesh_proto::time::Instant;
use mesh_proto::topology::bodies::Attached;
use mesh_state::changes::StateChange;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::command::{ControlCommand, Stored};
use crate::fastpath::FastPath;
use crate::host_routes::HostRoutes;
use crate::ipam::{IpamEvent, IpamShell};
use crate::lanes::{ControlSender, Reported};
use crate::names::NamesFeed;
use crate::networks::NetworksShell;
use crate::state::StateWriter;

use self::accept::Accepted;
pub use self::accept::Accepts;
use self::budget::TurnBudget;
use self::conns::{ConnEvent, Conns, reset};

/// The shell and its connections to other parts.
pub struct Shell {
    /// The control plane.
    pub control: Control,
    /// Clock of the router.
    pub clock: Clock,
    /// Published snapshot.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Sender of control datagrams, and of frames that waited for a session.
    pub sender: ControlSender,
    /// Incoming links.
    pub links: Accepts<TcpListener>,
    /// File descriptors below this number may be used by incoming links; the others are for the API, the kernel and
    /// name resolution.
    pub descriptors: u64,
    /// Events of the lanes.
    pub lane_events: mpsc::Receiver<Reported>,
    /// Commands of the API.
    pub commands: mpsc::Receiver<ControlCommand>,
    /// Addresses attached on this host.
    pub attached: watch::Receiver<Vec<Announced>>,
    /// Underlay endpoints of the host.
    pub endpoints: watch::Receiver<Vec<SocketAddr>>,
    /// Route lookups of the host.
    pub ways: HostRoutes,
    /// Addresses held elsewhere in the mesh, for the allocator.
    pub held: Arc<Mutex<RemoteAddresses>>,
    /// Stored pins: names and the keys that they are bound to.
    pub pins: BTreeMap<PeerName, [u8; 32]>,
    /// Kernel part of the fast path, if enabled.
    pub fast: Option<FastPath>,
    /// Receiver of other routers' announcements of names.
    pub names: NamesFeed,
    /// Writer of the epoch, targets and pins.
    pub state: StateWriter,
    /// Addresses that routers allocate, where that is wanted.
    pub addresses: Option<IpamShell>,
    /// Networks of the mesh.
    pub networks: NetworksShell,
    /// Callers that wait until a change is stored.
    pub unstored: Vec<oneshot::Sender<Result<(), String>>>,
}

impl Shell {
    /// Runs until [`ControlCommand::Stop`].
    pub async fn run(mut self) {
        let (mut conns, mut conn_events) = Conns::new();
        loop {
            self.carry_out(&mut conns);
            self.run_timers();
            self.carry_out(&mut conns);
            conns.let_go().await;
            for waiting in self.unstored.drain(..) {
                self.state.confirm(waiting);
            }
            self.names.send_updates(&self.control);
            let sleep = tokio::time::sleep_until(self.clock.to_tokio(self.next_deadline()));
            // Polled in random order, so that no source starves another; due timers do not depend on it.
            tokio::select! {
                command = self.commands.recv() => match command {
                    None | Some(ControlCommand::Stop) => break,
                    Some(command) => self.handle_command(command),
                },
                Some(event) = self.lane_events.recv() => self.handle_lanes(event),
                Some(event) = conn_events.recv() => self.handle_conns(event, &mut conn_events, &mut conns),
                first = self.links.next() => self.handle_accepts(first, &mut conns),
                Ok(()) = self.attached.changed() => {
                    let attached: Vec<Attached> =
                        self.attached.borrow_and_update().iter().map(to_record).collect();
                    self.control.set_attached(&attached, self.clock.now());
                }
                Ok(()) = self.endpoints.changed() => {
                    let endpoints = self.endpoints.borrow_and_update().clone();
                    self.control.set_endpoints(endpoints, self.clock.now());
                }
                event = ipam_event(&mut self.addresses) => {
                    if let Some(addresses) = &mut self.addresses {
                        addresses.handle(event, &self.control, self.clock.now());
                    }
                }
                event = self.networks.event() => {
                    self.networks.handle(event, &self.control, self.clock.now());
                }
                () = self.names.room(), if self.names.waits() => {}
                () = sleep => {}
            }
        }
        self.control.shut_down(self.clock.now());
        self.carry_out(&mut conns);
        conns.finish().await;
    }

    fn run_timers(&mut self) {
        let now = self.clock.now();
        if self.control.next_deadline().0 <= now {
            self.control.handle_timeout(now);
        }
        if let Some(addresses) = self.addresses.as_mut().filter(|a| a.next_deadline() <= now) {
            addresses.handle_timeout(now);
        }
        if self.networks.next_deadline() <= now {
            self.networks.handle_timeout(&self.control, now);
        }
    }

    fn next_deadline(&self) -> Instant {
        let (deadline, _why) = self.control.next_deadline();
        let deadline = deadline.min(self.networks.next_deadline());
        let addresses = self.addresses.as_ref().map(IpamShell::next_deadline);
        addresses.map_or(deadline, |at| at.min(deadline))
    }

    /// Carries out effects of control, of address allocation and of networks, until none has any left.
    fn carry_out(&mut self, conns: &mut Conns) {
        loop {
            self.carry_out_control(conns);
            let now = self.clock.now();
            let addresses = self.addresses.as_mut();
            let mut any = addresses.is_some_and(|a| a.carry_out(&mut self.control, now));
            any |= self.networks.carry_out(&mut self.control, now);
            if !any {
                break;
            }
        }
    }

    fn carry_out_control(&mut self, conns: &mut Conns) {
        while let Some(output) = self.control.poll_output() {
            if let Some(addresses) = &mut self.addresses {
                addresses.on_control_output(&output, &self.control, self.clock.now());
            }
            self.networks
                .on_control_output(&output, &self.control, self.clock.now());
            match output {
                Output::Dial { conn, to, others } => {
                    conns.dial(conn, to, others, self.ways.clone());
                }
                Output::Send { conn, bytes } => conns.send(conn, bytes),
                Output::Close { conn, ending } => conns.close(conn, ending),
                Output::Datagram { to, source, bytes } => self.sender.send(to, source, &bytes),
                Output::SpareDatagram { to, bytes } => self.sender.send_spare(to, &bytes),
                Output::SparePort(wanted) => self.sender.set_spare(&wanted),
                Output::Publish(snapshot) => {
                    self.snapshot.store(snapshot.clone());
                    self.sender.flush_waiting(&snapshot, self.clock.now());
                }
                Output::Epoch(epoch) => self.state.put(StateChange::Epoch(epoch)),
                Output::Pin(name, key) => {
                    self.pins.insert(name, key);
                    self.save_pins();
                }
                Output::Unpin(name) => {
                    self.pins.remove(&name);
                    self.save_pins();
                }
                Output::Targets(targets) => self.state.put(StateChange::Targets(targets)),
                Output::Forgotten(all) => self.state.put(StateChange::Forgotten(all)),
                Output::Neighbours(all) => self.state.put(StateChange::Neighbours(all)),
                Output::RemoteAttached(holder) => {
                    let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                    held.set(holder);
                }
                Output::Announcement(key) => self.names.note_record(key),
                Output::Reach => self.names.note_reach(&self.control),
                // The topic's own module has handled it.
                Output::Unicast { .. } => {}
                Output::Fast(peers) => {
                    if let Some(fast) = &self.fast {
                        fast.set(peers);
                    }
                }
                Output::Note(Note::Info(text)) => tracing::info!("{text}"),
                Output::Note(Note::Warn(text)) => tracing::warn!("{text}"),
            }
        }
    }

    /// Returns a receiver for the result of storing the latest change.
    fn stored(&mut self) -> Stored {
        let (sender, stored) = oneshot::channel();
        self.unstored.push(sender);
        stored
    }

    fn save_pins(&self) {
        let pins = self
            .pins
            .iter()
            .map(|(name, key)| (name.to_string(), *key))
            .collect();
        self.state.put(StateChange::Pins(pins));
    }

    fn handle_command(&mut self, command: ControlCommand) {
        let now = self.clock.now();
        // A failed send means that the caller is gone.
        match command {
            ControlCommand::Report(answer) => {
                let _ = answer.send(self.control.report(now));
            }
            ControlCommand::Connect {
                targets,
                replace,
                done,
            } => {
                let connected = self.control.connect(&targets, replace, now);
                let _ = done.send(connected.map(|()| self.stored()));
            }
            ControlCommand::Forget { targets, done } => {
                let became = self.control.forget(&targets);
                let _ = done.send((became, self.stored()));
            }
            ControlCommand::Announce(topic, body) => {
                if let Err(error) = self.control.announce(topic, body, now) {
                    tracing::error!("{topic} cannot be announced: {error}");
                }
            }
            ControlCommand::Beat(beat) => self.control.handle_beat(beat, now),
            ControlCommand::Stop => {}
        }
    }

    fn handle_lanes(&mut self, first: Reported) {
        let mut now = self.clock.now();
        let mut turn = TurnBudget::begin(now);
        let mut next = Some(first);
        while let Some(Reported { event, local }) = next {
            turn.count_lane(&event);
            self.control.handle_lane_at(event, local, now);
            now = self.clock.now();
            next = (!turn.is_over(now))
                .then(|| self.lane_events.try_recv().ok())
                .flatten();
        }
    }

    fn handle_conns(
        &mut self,
        first: ConnEvent,
        more: &mut mpsc::Receiver<ConnEvent>,
        conns: &mut Conns,
    ) {
        let mut turn = TurnBudget::begin(self.clock.now());
        let mut next = Some(first);
        while let Some(event) = next {
            turn.count();
            self.handle_conn(event, conns);
            next = (!turn.is_over(self.clock.now()))
                .then(|| more.try_recv().ok())
                .flatten();
        }
    }

    fn handle_conn(&mut self, event: ConnEvent, conns: &mut Conns) {
        let now = self.clock.now();
        match event {
            ConnEvent::Connected { conn, stream, to } => {
                conns.adopt(conn, stream);
                self.control.handle_connected(conn, to, now);
            }
            ConnEvent::Bytes { conn, bytes } => self.control.handle_bytes(conn, &bytes, now),
            ConnEvent::Written { conn, bytes } => self.control.handle_written(conn, bytes, now),
            ConnEvent::Closed { conn, error } => self.control.handle_closed(conn, &error, now),
        }
    }

    fn handle_accepts(&mut self, first: Accepted, conns: &mut Conns) {
        let mut turn = TurnBudget::begin(self.clock.now());
        let mut next = Some(first);
        while let Some(accepted) = next {
            turn.count_accept();
            self.handle_accept(accepted, conns);
            next = (!turn.is_over(self.clock.now()))
                .then(|| self.links.next_now())
                .flatten();
        }
    }

    fn handle_accept(&mut self, (stream, from): Accepted, conns: &mut Conns) {
        let from = mesh_sys::udp::normalise(from);
        let local = stream.local_addr().ok().map(|local| local.ip());
        if let Some(why) = self.ways.refuse(local, from) {
            self.control.handle_refused(from, &why, self.clock.now());
            reset(stream);
            return;
        }
        // The kernel assigns the lowest free number: above the limit, few are left, and not for links.
        let is_spare = u64::try_from(stream.as_raw_fd()).is_ok_and(|fd| fd < self.descriptors);
        let conn = is_spare
            .then(|| self.control.handle_accepted(from, self.clock.now()))
            .flatten();
        match conn {
            Some(conn) => conns.adopt(conn, stream),
            None => reset(stream),
        }
    }
}

/// Waits for ever where no addresses are allocated.
async fn ipam_event(addresses: &mut Option<IpamShell>) -> IpamEvent {
    match addresses {
        Some(addresses) => addresses.event().await,
        None => std::future::pending().await,
    }
}

fn to_record(announced: &Announced) -> Attached {
    Attached {
        network: announced.network,
        mac: announced.mac,
        addr: announced.address,
        container: announced.container.clone(),
        // Control knows the previous location.
        moves: 0,
    }
}
