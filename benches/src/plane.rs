//! Two data planes with a session between them.

use std::net::SocketAddr;
use std::sync::Arc;

use mesh_proto::crypto::aead::Suite;
use mesh_proto::entropy::SeededEntropy;
use mesh_proto::fdb::Owner;
use mesh_proto::forward::{Forwarder, LaneEvent, Outbox, Outgoing, Path, Scratch, Snapshot};
use mesh_proto::ids::{Mac, PeerId, SessionIndex};
use mesh_proto::limits::MTU_RANGE;
use mesh_proto::network::NetworkId;
use mesh_proto::offload::PortFrame;
use mesh_proto::session::transport::{Ends, Transport, TransportKeys};
use mesh_proto::time::Instant;
use mesh_proto::wire::datagram::InnerFrame;

const NOW: Instant = Instant::from_nanos(1_000_000_000);
const IDS: [PeerId; 2] = [PeerId([1; 16]), PeerId([2; 16])];

/// Output that keeps datagrams and counts frames.
#[derive(Debug, Default)]
pub struct Sink {
    /// Datagrams to send.
    pub outgoing: Outgoing,
    /// Frames delivered to the local port.
    pub frames: usize,
}

impl Sink {
    /// Removes the contents and keeps the buffers.
    pub fn clear(&mut self) {
        self.outgoing.clear();
        self.frames = 0;
    }
}

impl Outbox for Sink {
    fn outgoing(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }
    fn inject(&mut self, _network: NetworkId, _frame: InnerFrame<'_>) {
        self.frames += 1;
    }
    fn event(&mut self, _event: LaneEvent) {}
}

/// Sending router 0 and receiving router 1.
pub struct PlanePair {
    planes: [(Forwarder, Snapshot, Scratch); 2],
}

impl Default for PlanePair {
    fn default() -> Self {
        Self::new()
    }
}

impl PlanePair {
    /// Returns two routers whose MAC tables know containers 1 and 2.
    pub fn new() -> Self {
        Self {
            planes: [0, 1].map(plane),
        }
    }

    /// Sends frames from the local port of router 0.
    pub fn egress(&mut self, frames: &[Vec<u8>], out: &mut Sink) {
        let (forwarder, snapshot, scratch) = &mut self.planes[0];
        let mut frames = frames.iter().map(|f| PortFrame::plain(f));
        forwarder.egress(snapshot, NetworkId::DEFAULT, &mut frames, NOW, scratch, out);
    }

    /// Delivers a datagram to router 1.
    pub fn ingress(&mut self, datagram: &mut [u8], out: &mut Sink) {
        let (forwarder, snapshot, _) = &mut self.planes[1];
        forwarder.ingress(snapshot, address(0), datagram, NOW, out);
    }
}

fn address(n: usize) -> SocketAddr {
    let host = if n == 0 { 1 } else { 2 };
    SocketAddr::from(([10, 0, 0, host], 6783))
}

fn plane(me: usize) -> (Forwarder, Snapshot, Scratch) {
    let peer = 1 - me;
    let mut snapshot = Snapshot::alone(IDS[me], 1, *MTU_RANGE.end(), NOW);
    let index = |n: usize| SessionIndex(if n == 0 { 10 } else { 20 });
    let key = |n: usize| [if n == 0 { 3 } else { 4 }; 32];
    let keys = TransportKeys {
        suite: Suite::ChaCha20Poly1305,
        send: key(peer),
        recv: key(me),
    };
    let ends = Ends {
        peer: IDS[peer],
        epoch: 1,
        local: index(me),
        remote: index(peer),
    };
    let transport = Arc::new(Transport::new(ends, keys, me == 0, NOW));
    snapshot.by_index.insert(index(me), transport.clone());
    let path = snapshot.peers.entry(IDS[peer]).or_default();
    path.transport = Some(transport);
    path.path = Path::Direct(address(peer));
    snapshot.neighbours.push(IDS[peer]);
    let forwarder = Forwarder::new(&mut SeededEntropy::new(1));
    let there = if me == 0 { 2 } else { 1 };
    forwarder
        .fdb()
        .learn(mac(there), Owner::Peer(IDS[peer]), NOW);
    (forwarder, snapshot, Scratch::default())
}

fn mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, n])
}

/// Returns a frame of `size` bytes from container 1 to container 2.
pub fn frame(size: usize) -> Vec<u8> {
    let mut frame = [&mac(2).0[..], &mac(1).0, &[0x08, 0x00]].concat();
    frame.resize(size.max(frame.len()), 0x5a);
    frame
}
