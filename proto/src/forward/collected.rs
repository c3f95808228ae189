//! An outbox in memory, for whoever has no sockets: tests, the simulator, the control plane's own datagrams.

use core::net::SocketAddr;

use super::{LaneEvent, Outbox, Outgoing};
use crate::wire::datagram::InnerFrame;

/// What decisions of the data plane led to.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    /// Datagrams to send.
    pub outgoing: Outgoing,
    /// Frames for the local port.
    pub frames: Vec<Vec<u8>>,
    /// How many of the frames are partial ([`InnerFrame::partial`]).
    pub partial: usize,
    /// What control is told.
    pub events: Vec<LaneEvent>,
}

impl Collected {
    /// The datagrams to send, one by one.
    pub fn datagrams(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let datagrams = self.outgoing.datagrams();
        datagrams.map(|(to, bytes)| (to, bytes.to_vec())).collect()
    }
}

impl Outbox for Collected {
    fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    fn inject(&mut self, frame: InnerFrame<'_>) {
        self.partial += usize::from(frame.partial);
        self.frames.push(frame.bytes.to_vec());
    }

    fn event(&mut self, event: LaneEvent) {
        self.events.push(event);
    }
}
