//! Where a lane's effects go: datagrams into a batch, frames into the port, events to the control plane.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use mesh_proto::forward::{LaneEvent, Outbox, Scratch, Snapshot};
use mesh_proto::offload::virtio::VirtioHeader;
use mesh_proto::time::Instant;
use mesh_sys::port::FrameWriter;
use mesh_sys::udp::{Run, Udp, UdpSender};

use super::{BATCH, Shared};
use crate::port::ReopeningWriter;

/// Datagrams of one batch, sent with one system call.
pub(super) struct Outgoing {
    sender: UdpSender,
    buffer: Vec<u8>,
    datagrams: Vec<Run>,
}

impl Outgoing {
    pub(super) fn new(udp: &Udp) -> Self {
        Self {
            sender: udp.sender(),
            buffer: Vec::new(),
            datagrams: Vec::with_capacity(BATCH),
        }
    }

    fn push(&mut self, to: SocketAddr, bytes: &[u8]) {
        if self.datagrams.len() == BATCH {
            self.flush();
        }
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        self.datagrams.push(Run::one(to, start..self.buffer.len()));
    }

    /// Sends what was pushed. What the kernel refuses is lost, as datagrams are; the next ones still go.
    pub(super) fn flush(&mut self) {
        if !self.datagrams.is_empty() {
            let sent = self.sender.send(&self.buffer, &self.datagrams);
            if sent.dropped > 0 {
                tracing::trace!(
                    "{} of {} datagrams were refused by the kernel",
                    sent.dropped,
                    self.datagrams.len()
                );
            }
            self.buffer.clear();
            self.datagrams.clear();
        }
    }
}

/// One lane's outbox for the time of one batch.
pub(super) struct LaneOut<'a> {
    pub(super) outgoing: &'a mut Outgoing,
    pub(super) port: Option<&'a mut ReopeningWriter>,
    pub(super) shared: &'a Shared,
}

impl Outbox for LaneOut<'_> {
    fn datagram(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.outgoing.push(to, bytes);
    }

    fn inject(&mut self, frame: &[u8]) {
        if let Some(port) = &mut self.port
            && let Err(error) = port.send(&VirtioHeader::PLAIN, frame)
        {
            tracing::trace!("cannot inject a frame: {error}");
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
    outgoing: Outgoing,
}

impl ControlSender {
    /// A sender over the lanes' socket.
    pub fn new(shared: Shared) -> Self {
        Self {
            scratch: Scratch::default(),
            outgoing: Outgoing::new(&shared.udp),
            shared,
        }
    }

    /// Sends one datagram; a failure is the network's business, as with any datagram.
    pub fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.outgoing.push(to, bytes);
        self.outgoing.flush();
    }

    /// Sends the frames that waited for a session which this snapshot has.
    pub fn flush_waiting(&mut self, snapshot: &Snapshot, now: Instant) {
        let mut out = LaneOut {
            outgoing: &mut self.outgoing,
            port: None,
            shared: &self.shared,
        };
        self.shared
            .forwarder
            .flush_pending(snapshot, now, &mut self.scratch, &mut out);
        self.outgoing.flush();
    }
}
