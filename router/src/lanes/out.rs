//! Where a lane's effects go: datagrams into the socket, frames into the port, events to the control plane.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use mesh_proto::control::SparePort;
use mesh_proto::forward::{LaneEvent, Outbox, Outgoing, Run, Scratch, Snapshot};
use mesh_proto::time::Instant;
use mesh_proto::wire::datagram::InnerFrame;
use mesh_sys::udp::UdpSender;

use super::inject::Injector;
use super::spare::{Spare, SpareSocket};
use super::{Reported, Shared, lock};

/// Datagrams of one turn, and the half of the socket that sends them.
pub(super) struct Sending {
    sender: UdpSender,
    spare: Arc<Spare>,
    /// A sender over the spare port, and that port's number.
    spare_sender: Option<(u64, UdpSender)>,
    outgoing: Outgoing,
}

impl Sending {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            sender: shared.udp.sender(),
            spare: shared.spare.clone(),
            spare_sender: None,
            outgoing: Outgoing::default(),
        }
    }

    /// Sends what was built, from the address of this host that `sources` has for where it goes. What the kernel refuses is lost, as datagrams are; the next ones still go.
    pub(super) fn flush(&mut self, sources: &BTreeMap<SocketAddr, IpAddr>) {
        if self.outgoing.is_empty() {
            return;
        }
        let spare = self.spare.current();
        let dropped = match spare.as_deref().filter(|spare| !spare.to.is_empty()) {
            None => {
                let (bytes, runs) = (self.outgoing.bytes(), self.outgoing.runs());
                self.sender.send_from(bytes, runs, sources).dropped
            }
            Some(spare) => self.send_apart(spare, sources),
        };
        if dropped > 0 {
            tracing::trace!("{dropped} datagrams were refused by the kernel");
        }
        self.outgoing.clear();
    }

    /// Sends each run from the port that leads there.
    fn send_apart(&mut self, spare: &SpareSocket, sources: &BTreeMap<SocketAddr, IpAddr>) -> usize {
        let bytes = self.outgoing.bytes();
        let runs = self.outgoing.runs().iter().cloned();
        let (away, own): (Vec<Run>, Vec<Run>) = runs.partition(|run| spare.to.contains(&run.to));
        let mut sender = match self.spare_sender.take() {
            Some((number, sender)) if number == spare.number => sender,
            _ => spare.udp.sender(),
        };
        let own = self.sender.send_from(bytes, &own, sources);
        // Another port is another flow: the kernel chooses its address.
        let away = sender.send(bytes, &away);
        let dropped = own.dropped + away.dropped;
        self.spare_sender = Some((spare.number, sender));
        dropped
    }
}

/// The writing half of the port, as a lane has it.
pub(super) enum PortSide<'a> {
    /// Held for the whole turn.
    Held(&'a mut Injector),
    /// Taken for each frame, and flushed.
    Shared(&'a Mutex<Injector>),
    /// Not at all: frames are dropped.
    None,
}

/// One lane's outbox for the time of one turn.
pub(super) struct LaneOut<'a> {
    pub(super) sending: &'a mut Sending,
    pub(super) port: PortSide<'a>,
    pub(super) shared: &'a Shared,
    /// The address of this host that the datagram came to which is being taken.
    pub(super) local: Option<IpAddr>,
}

impl Outbox for LaneOut<'_> {
    fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.sending.outgoing
    }

    fn inject(&mut self, frame: InnerFrame<'_>) {
        match &mut self.port {
            PortSide::Held(port) => port.inject(frame),
            PortSide::Shared(port) => {
                let mut port = lock(port);
                port.inject(frame);
                port.flush();
            }
            PortSide::None => {}
        }
    }

    fn event(&mut self, event: LaneEvent) {
        let local = self.local;
        let reported = Reported { event, local };
        if self.shared.events.try_send(reported).is_err() {
            self.shared.events_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How the control plane sends datagrams of its own.
pub struct ControlSender {
    shared: Shared,
    scratch: Scratch,
    sending: Sending,
}

impl ControlSender {
    /// A sender over the lanes' socket.
    pub fn new(shared: Shared) -> Self {
        Self {
            scratch: Scratch::default(),
            sending: Sending::new(&shared),
            shared,
        }
    }

    /// Sends one datagram, from this address of the host if one is given; a failure is the network's business, as with any datagram.
    pub fn send(&mut self, to: SocketAddr, source: Option<IpAddr>, bytes: &[u8]) {
        self.sending.outgoing.push(to, bytes);
        let sources = source.map(|source| (to, source));
        self.sending.flush(&sources.into_iter().collect());
    }

    /// Sends one datagram from the spare port.
    pub fn send_spare(&self, to: SocketAddr, bytes: &[u8]) {
        self.shared.spare.send(to, bytes);
    }

    /// The spare port is to be like this.
    pub fn set_spare(&self, wanted: &SparePort) {
        self.shared.spare.set(wanted, &self.shared);
    }

    /// Sends the frames that waited for a session which this snapshot has.
    pub fn flush_waiting(&mut self, snapshot: &Snapshot, now: Instant) {
        let mut out = LaneOut {
            sending: &mut self.sending,
            // Frames that waited are never answered.
            port: PortSide::None,
            shared: &self.shared,
            local: None,
        };
        self.shared
            .forwarder
            .flush_pending(snapshot, now, &mut self.scratch, &mut out);
        self.sending.flush(&snapshot.sources);
    }
}
