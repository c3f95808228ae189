//! Configuration of the control plane at its start, and the effects that come out of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::links::Ending;
use super::neighbours::target_text::DialTo;
use super::neighbours::{Forgotten, StoredNeighbour};
use super::note::Note;
use super::paths::SparePort;
use super::routing::RemoteAttached;
use crate::crypto::aead::Suites;
use crate::crypto::identity::Identity;
use crate::crypto::secret::MeshSecret;
use crate::fastpath::FastPeers;
use crate::forward::Snapshot;
use crate::ids::{ConnId, PeerId, PeerName};
use crate::wire::topic::{RecordKey, Topic};

/// Configuration of a router at its start.
pub struct Config {
    /// Its keys.
    pub identity: Arc<Identity>,
    /// The secret that guards the mesh.
    pub secret: Arc<MeshSecret>,
    /// Boot epoch, raised and persisted before.
    pub epoch: u64,
    /// Its name.
    pub name: PeerName,
    /// Its nickname; at most [`crate::limits::MAX_NICKNAME`] bytes.
    pub nickname: String,
    /// TCP and UDP port.
    pub port: u16,
    /// Addresses others may dial.
    pub endpoints: Vec<SocketAddr>,
    /// True if peers learnt by gossip are dialled.
    pub discovery: bool,
    /// MTU inside the mesh.
    pub mtu: u16,
    /// Ciphers this router takes for data, in order of preference; at least one.
    pub suites: Suites,
    /// The last [`Output::Neighbours`] of the run before; at most [`crate::limits::MAX_WARM_START`] of them count.
    pub stored_neighbours: Vec<StoredNeighbour>,
    /// The last [`Output::Forgotten`] of the run before; at most [`crate::limits::MAX_FORGOTTEN`] of them count.
    pub forgotten: Vec<Forgotten>,
    /// Names and the signing keys they were first seen with; at most [`crate::limits::MAX_PEERS`] of them count.
    pub pins: BTreeMap<PeerName, [u8; 32]>,
}

/// An effect for the shell to carry out.
#[derive(Debug)]
pub enum Output {
    /// Open a TCP connection; answer with `handle_connected` or `handle_closed`.
    Dial {
        /// Its handle.
        conn: ConnId,
        /// The address; names are resolved now.
        to: DialTo,
        /// Further addresses, if that does not answer at once, in this order, each [`crate::limits::DIAL_AGAIN`] after
        /// the one before; the first that answers is taken, and the others are given up.
        others: Vec<SocketAddr>,
    },
    /// Write to a connection; answer with `handle_written`.
    Send {
        /// The connection.
        conn: ConnId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Close a connection; no answer is wanted.
    Close {
        /// The connection.
        conn: ConnId,
        /// The fate of the bytes that were written to it.
        ending: Ending,
    },
    /// Send a UDP datagram.
    Datagram {
        /// The address.
        to: SocketAddr,
        /// From which address of this host; none: the kernel chooses.
        source: Option<IpAddr>,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Send a UDP datagram from the spare port; without one it is lost.
    SpareDatagram {
        /// The address.
        to: SocketAddr,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The spare port is to be like this: opened, replaced or closed, and used for datagrams to these addresses.
    SparePort(Arc<SparePort>),
    /// The lanes are to read this from now on.
    Publish(Arc<Snapshot>),
    /// The boot epoch was raised in the middle of a run: keep it, so that the next start begins above it.
    Epoch(u64),
    /// A name is bound to a key from now on: keep it.
    Pin(PeerName, [u8; 32]),
    /// A name is free again: forget its key.
    Unpin(PeerName),
    /// The explicit targets changed: keep them.
    Targets(Vec<String>),
    /// The routers that are not to be dialled changed: keep them.
    Forgotten(Vec<Forgotten>),
    /// The selected neighbours changed for good: keep them, for the next start.
    Neighbours(Vec<StoredNeighbour>),
    /// A router announces other containers than before, or came within reach or went.
    RemoteAttached(RemoteAttached),
    /// The set of fast-path peers changed.
    Fast(Arc<FastPeers>),
    /// An announcement about a topic that is not the control plane's own was updated or withdrawn.
    Announcement(RecordKey),
    /// The set of routers within reach changed.
    Reach,
    /// A message of a router to this one arrived, about a topic that is not the control plane's own.
    Unicast {
        /// The sender.
        from: PeerId,
        /// The topic.
        topic: Topic,
        /// The body.
        body: Vec<u8>,
    },
    /// Something an operator may want to read; at most one line.
    Note(Note),
}
