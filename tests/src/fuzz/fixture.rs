//! Routers, records and data planes for the targets; the same in every run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::crypto::aead::Suite;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::crypto::network_key::NetworkKey;
use mesh_proto::crypto::secret::MeshSecret;
use mesh_proto::entropy::SeededEntropy;
use mesh_proto::forward::{
    Collected, Forwarder, NetworkKeys, Path, PeerLabel, Scratch, Snapshot, SnapshotNetwork,
    SnapshotNetworks,
};
use mesh_proto::ids::{Mac, PeerId, SessionIndex, Version};
use mesh_proto::limits::DEFAULT_MTU;
use mesh_proto::link::LinkConfig;
use mesh_proto::network::{NetworkId, NetworkLabel};
use mesh_proto::offload::PortFrame;
use mesh_proto::session::transport::{Ends, Transport, TransportKeys};
use mesh_proto::time::Instant;
use mesh_proto::topology::bodies::{IdentityBody, Neighbour};
use mesh_proto::topology::record::SignedRecord;
use mesh_proto::topology::routes::Routes;
use mesh_proto::wire::topic::Topic;

/// Start time of every run.
pub(crate) const START: Instant = Instant::from_nanos(1_000_000_000_000);

/// Returns the identity of router `n`.
pub(crate) fn identity(n: u8) -> Identity {
    Identity::from_seeds([n.wrapping_add(1); 32], [n ^ 0x80; 32])
}

/// Returns the underlay address of router `n`.
pub(crate) fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n.wrapping_add(1)], 6783))
}

/// Returns the body of `identity`'s identity record.
pub(crate) fn body_of(identity: &Identity) -> IdentityBody {
    IdentityBody::new(identity, identity.id().derived_name(), "host".to_owned())
}

/// Returns the identity record of `identity`, with this version.
pub(crate) fn introduction(identity: &Identity, version: Version) -> SignedRecord {
    let body = body_of(identity).encode();
    SignedRecord::sign(Topic::IDENTITY, version, &body, identity)
        .expect("a small record can be signed")
}

/// Returns an established link to `peer`.
pub(crate) fn neighbour(peer: PeerId) -> Neighbour {
    Neighbour {
        peer: peer.prefix(),
        outbound: true,
        established: true,
        cost: 1,
        address: None,
    }
}

/// Returns the link configuration of router `n`; all have the same secret.
pub(crate) fn link_config(n: u8) -> LinkConfig {
    let identity = identity(n);
    let record = introduction(&identity, Version { epoch: 1, seq: 1 });
    LinkConfig {
        identity: Arc::new(identity),
        secret: Arc::new(MeshSecret::from_key_bytes([7; 32])),
        record,
        features: 5,
    }
}

/// Peers of a [`Plane`]: two neighbours, one behind the first of them, and one without a session.
pub(crate) const PEERS: u8 = 4;

/// Returns the id of peer `n` of a [`Plane`]; 0 is the router itself.
pub(crate) fn id(n: u8) -> PeerId {
    PeerId([n.wrapping_add(1); 16])
}

/// Returns the MAC address of container `n`.
pub(crate) fn mac(n: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, n])
}

/// A data plane with live sessions, and the far ends of these.
pub(crate) struct Plane {
    pub(crate) forwarder: Forwarder,
    pub(crate) snapshot: Snapshot,
    pub(crate) scratch: Scratch,
    /// Far ends of peers 1 to 3.
    pub(crate) ends: Vec<Transport>,
    pub(crate) now: Instant,
}

impl Plane {
    pub(crate) fn new() -> Self {
        let mut snapshot = Snapshot::alone(id(0), 1, DEFAULT_MTU, START);
        let mut ends = Vec::new();
        for n in 1..PEERS {
            let (ours, theirs) = sessions(n);
            let ours = Arc::new(ours);
            snapshot.by_index.insert(ours.local(), ours.clone());
            let peer = snapshot.peers.entry(id(n)).or_default();
            peer.transport = Some(ours);
            peer.path = if n == 3 {
                Path::Via(id(1))
            } else {
                Path::Direct(address(n))
            };
            ends.push(theirs);
        }
        snapshot.peers.entry(id(PEERS)).or_default().path = Path::Direct(address(PEERS));
        snapshot.neighbours = vec![id(1), id(2)];
        let trees = [(0, vec![id(1), id(2)]), (1, vec![id(2)]), (3, vec![id(2)])];
        let trees = trees
            .into_iter()
            .map(|(origin, children)| (id(origin), children));
        snapshot.routes = Arc::new(Routes::by_hand(id(0), &trees.collect()));
        let forwarder = Forwarder::new(&mut SeededEntropy::new(3));
        snapshot.networks = networks(&forwarder);
        Self {
            forwarder,
            snapshot,
            scratch: Scratch::default(),
            ends,
            now: START,
        }
    }

    /// Returns the far end of the session with peer `n`, from 1.
    pub(crate) fn end(&self, n: u8) -> &Transport {
        &self.ends[usize::from(n.clamp(1, PEERS - 1)) - 1]
    }

    pub(crate) fn ingress(&mut self, from: SocketAddr, datagram: &[u8]) -> Collected {
        let mut sink = Collected::default();
        let mut bytes = datagram.to_vec();
        let Self {
            forwarder,
            snapshot,
            now,
            ..
        } = self;
        forwarder.ingress(snapshot, from, &mut bytes, *now, &mut sink);
        sink
    }

    pub(crate) fn egress(&mut self, frames: &[&[u8]]) -> Collected {
        let mut sink = Collected::default();
        let mut frames = frames.iter().map(|f| PortFrame::plain(f));
        let Self {
            forwarder,
            snapshot,
            scratch,
            now,
            ..
        } = self;
        let network = NetworkId::DEFAULT;
        forwarder.egress(snapshot, network, &mut frames, *now, scratch, &mut sink);
        sink
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }
}

/// Network of which the router of a [`Plane`] and its [`MEMBERS`] are members.
pub(crate) const NETWORK: NetworkId = NetworkId([9; 16]);
/// Label that the router assigned to it.
pub(crate) const LABEL: NetworkLabel = NetworkLabel(5);
/// Members among the peers.
pub(crate) const MEMBERS: [u8; 2] = [1, 3];

/// Returns the key of [`NETWORK`].
pub(crate) fn network_key() -> NetworkKey {
    NetworkKey::new([8; 32])
}

fn networks(forwarder: &Forwarder) -> Arc<SnapshotNetworks> {
    let domain = forwarder.join(NETWORK, &mut SeededEntropy::new(4));
    let label = |n: u8| PeerLabel {
        label: NetworkLabel(n.into()),
        epoch: 1,
    };
    let membership = SnapshotNetwork {
        domain: domain.expect("there is room for one network"),
        label: LABEL,
        peers: MEMBERS.map(|n| (id(n), label(n))).into(),
        keys: NetworkKeys::new(vec![Arc::new(network_key())]),
    };
    Arc::new(SnapshotNetworks::new([Arc::new(membership)]).expect("one network"))
}

fn sessions(n: u8) -> (Transport, Transport) {
    let (near, far) = (SessionIndex(u32::from(n)), SessionIndex(100 + u32::from(n)));
    let ends = |peer, local, remote| Ends {
        peer: id(peer),
        epoch: 1,
        local,
        remote,
    };
    let keys = |send, recv| TransportKeys {
        suite: Suite::ChaCha20Poly1305,
        send: [send; 32],
        recv: [recv; 32],
    };
    let ours = Transport::new(ends(n, near, far), keys(n, n ^ 0x80), true, START);
    let theirs = Transport::new(ends(0, far, near), keys(n ^ 0x80, n), false, START);
    (ours, theirs)
}

/// Returns an Ethernet frame between two containers.
pub(crate) fn frame(from: u8, to: Mac, payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &mac(from).0, &[0x08, 0x00], payload].concat()
}
