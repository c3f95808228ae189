//! Effects of a lane: datagrams to the socket, frames to the port, events to the control plane.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use mesh_proto::control::SparePort;
use mesh_proto::forward::{LaneEvent, Outbox, Outgoing, Run, Scratch, Snapshot};
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;
use mesh_proto::wire::datagram::InnerFrame;
use mesh_sys::udp::UdpSender;

use super::inject::Injector;
use super::networks::NetworkDelivery;
use super::spare::{Spare, SpareSocket};
use super::{LaneContext, Reported, lock};

/// Datagrams of one batch, and the sending half of the socket.
pub(super) struct Sending {
    sender: UdpSender,
    spare: Arc<Spare>,
    /// Sender of the spare port, with the number of that port.
    spare_sender: Option<(u64, UdpSender)>,
    outgoing: Outgoing,
}

impl Sending {
    pub(super) fn new(shared: &LaneContext) -> Self {
        Self {
            sender: shared.udp.sender(),
            spare: shared.spare.clone(),
            spare_sender: None,
            outgoing: Outgoing::default(),
        }
    }

    /// Sends the batch, each datagram from the local address that `sources` has for its destination. Datagrams that the
    /// kernel refuses are lost; the others are still sent.
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

    /// Sends each run from the port for its destination.
    fn send_apart(&mut self, spare: &SpareSocket, sources: &BTreeMap<SocketAddr, IpAddr>) -> usize {
        let bytes = self.outgoing.bytes();
        let runs = self.outgoing.runs().iter().cloned();
        let (away, own): (Vec<Run>, Vec<Run>) = runs.partition(|run| spare.to.contains(&run.to));
        let mut sender = match self.spare_sender.take() {
            Some((number, sender)) if number == spare.number => sender,
            _ => spare.udp.sender(),
        };
        let own = self.sender.send_from(bytes, &own, sources);
        // Another port is another flow: the kernel chooses its source address.
        let away = sender.send(bytes, &away);
        let dropped = own.dropped + away.dropped;
        self.spare_sender = Some((spare.number, sender));
        dropped
    }
}

/// Access of a lane to the writing half of the port.
pub(super) enum PortSide<'a> {
    /// Held for the whole batch.
    Held(&'a mut Injector),
    /// Locked and flushed for each frame.
    Shared(&'a Mutex<Injector>),
    /// No access: frames are dropped.
    None,
}

/// Outputs of one lane during one batch.
pub(super) struct LaneOut<'a> {
    pub(super) sending: &'a mut Sending,
    pub(super) port: PortSide<'a>,
    /// Ports of networks other than `default`; `None`: their frames are dropped.
    pub(super) networks: Option<&'a mut NetworkDelivery>,
    pub(super) shared: &'a LaneContext,
    /// Local address of the datagram being processed.
    pub(super) local: Option<IpAddr>,
}

impl Outbox for LaneOut<'_> {
    fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.sending.outgoing
    }

    fn inject(&mut self, network: NetworkId, frame: InnerFrame<'_>) {
        if !network.is_default() {
            if let Some(networks) = &mut self.networks {
                networks.inject(network, frame);
            }
            return;
        }
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

/// Sender of the control plane's own datagrams.
pub struct ControlSender {
    shared: LaneContext,
    scratch: Scratch,
    sending: Sending,
}

impl ControlSender {
    /// Returns a sender over the lanes' socket.
    pub fn new(shared: LaneContext) -> Self {
        Self {
            scratch: Scratch::default(),
            sending: Sending::new(&shared),
            shared,
        }
    }

    /// Sends one datagram, from the local address `source` if given. Failures are ignored, as with any datagram.
    pub fn send(&mut self, to: SocketAddr, source: Option<IpAddr>, bytes: &[u8]) {
        self.sending.outgoing.push(to, bytes);
        let sources = source.map(|source| (to, source));
        self.sending.flush(&sources.into_iter().collect());
    }

    /// Sends one datagram from the spare port.
    pub fn send_spare(&self, to: SocketAddr, bytes: &[u8]) {
        self.shared.spare.send(to, bytes);
    }

    /// Opens, changes or closes the spare port.
    pub fn set_spare(&self, wanted: &SparePort) {
        self.shared.spare.set(wanted, &self.shared);
    }

    /// Sends the frames that waited for a session in this snapshot.
    pub fn flush_waiting(&mut self, snapshot: &Snapshot, now: Instant) {
        let mut out = LaneOut {
            sending: &mut self.sending,
            // Frames that waited get no replies (ICMP).
            port: PortSide::None,
            networks: None,
            shared: &self.shared,
            local: None,
        };
        self.shared
            .forwarder
            .flush_pending(snapshot, now, &mut self.scratch, &mut out);
        self.sending.flush(&snapshot.sources);
    }
}
