//! In-memory [`Outbox`] for callers without sockets: tests, the simulator, and datagrams of the control plane.

use core::net::SocketAddr;

use super::{LaneEvent, Outbox, Outgoing};
use crate::network::NetworkId;
use crate::wire::datagram::InnerFrame;

/// Effects of data-plane calls, collected in memory.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// Datagrams to send.
    pub outgoing: Outgoing,
    /// Frames for the local port of the network `default`.
    pub frames: Vec<Vec<u8>>,
    /// Frames for the local ports of other networks.
    pub elsewhere: Vec<(NetworkId, Vec<u8>)>,
    /// Number of frames whose checksum is unfinished ([`InnerFrame::partial`]).
    pub partial: usize,
    /// Events for the control plane.
    pub events: Vec<LaneEvent>,
}

impl Collected {
    /// Returns the datagrams to send, one by one, with their destinations.
    pub fn datagrams(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let datagrams = self.outgoing.datagrams();
        datagrams.map(|(to, bytes)| (to, bytes.to_vec())).collect()
    }
}

impl Outbox for Collected {
    fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    fn inject(&mut self, network: NetworkId, frame: InnerFrame<'_>) {
        self.partial += usize::from(frame.partial);
        let bytes = frame.bytes.to_vec();
        match network.is_default() {
            true => self.frames.push(bytes),
            false => self.elsewhere.push((network, bytes)),
        }
    }

    fn event(&mut self, event: LaneEvent) {
        self.events.push(event);
    }
}
