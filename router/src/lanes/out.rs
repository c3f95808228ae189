//! Where a lane's effects go: datagrams into the socket, frames into the port, events to the control plane.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use mesh_proto::forward::{LaneEvent, Outbox, Outgoing, Scratch, Snapshot};
use mesh_proto::time::Instant;
use mesh_proto::wire::datagram::InnerFrame;
use mesh_sys::udp::{Udp, UdpSender};

use super::inject::Injector;
use super::{Reported, Shared, lock};

/// Datagrams of one turn, and the half of the socket that sends them.
pub(super) struct Sending {
    sender: UdpSender,
    outgoing: Outgoing,
}

impl Sending {
    pub(super) fn new(udp: &Udp) -> Self {
        Self {
            sender: udp.sender(),
            outgoing: Outgoing::default(),
        }
    }

    /// Sends what was built, from the address of this host that `sources` has for where it goes. What the kernel refuses is lost, as datagrams are; the next ones still go.
    pub(super) fn flush(&mut self, sources: &BTreeMap<SocketAddr, IpAddr>) {
        if self.outgoing.is_empty() {
            return;
        }
        let sent = self
            .sender
            .send_from(self.outgoing.bytes(), self.outgoing.runs(), sources);
        if sent.dropped > 0 {
            tracing::trace!("{} datagrams were refused by the kernel", sent.dropped);
        }
        self.outgoing.clear();
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
            sending: Sending::new(&shared.udp),
            shared,
        }
    }

    /// Sends one datagram, from this address of the host if one is given; a failure is the network's business, as with any datagram.
    pub fn send(&mut self, to: SocketAddr, source: Option<IpAddr>, bytes: &[u8]) {
        self.sending.outgoing.push(to, bytes);
        let sources = source.map(|source| (to, source));
        self.sending.flush(&sources.into_iter().collect());
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
