//! Where a lane's effects go: datagrams into the socket, frames into the port, events to the control plane.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use mesh_proto::forward::{LaneEvent, Outbox, Outgoing, Scratch, Snapshot};
use mesh_proto::time::Instant;
use mesh_proto::wire::datagram::InnerFrame;
use mesh_sys::udp::{Udp, UdpSender};

use super::inject::Injector;
use super::{Shared, lock};

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

    /// Sends what was built. What the kernel refuses is lost, as datagrams are; the next ones still go.
    pub(super) fn flush(&mut self) {
        if self.outgoing.is_empty() {
            return;
        }
        let sent = self
            .sender
            .send(self.outgoing.bytes(), self.outgoing.runs());
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
        if self.shared.events.try_send(event).is_err() {
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

    /// Sends one datagram; a failure is the network's business, as with any datagram.
    pub fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.sending.outgoing.push(to, bytes);
        self.sending.flush();
    }

    /// Sends the frames that waited for a session which this snapshot has.
    pub fn flush_waiting(&mut self, snapshot: &Snapshot, now: Instant) {
        let mut out = LaneOut {
            sending: &mut self.sending,
            // Frames that waited are never answered.
            port: PortSide::None,
            shared: &self.shared,
        };
        self.shared
            .forwarder
            .flush_pending(snapshot, now, &mut self.scratch, &mut out);
        self.sending.flush();
    }
}
