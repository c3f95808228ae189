//! Snapshot for the data plane: an immutable view of peers, sessions, paths and broadcast trees, made by the control
//! plane.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::networks::SnapshotNetworks;
use crate::ids::{PeerId, SessionIndex};
use crate::session::transport::Transport;
use crate::time::Instant;
use crate::topology::routes::Routes;

/// Path by which datagrams for a peer leave this router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// No path is known.
    #[default]
    None,
    /// Directly to this underlay address.
    Direct(SocketAddr),
    /// Through this neighbour, which has a direct path.
    Via(PeerId),
}

/// State of one peer for the data plane.
#[derive(Clone, Debug)]
pub struct PeerPath {
    /// Session to seal with; only one that the peer is known to have completed.
    pub transport: Option<Arc<Transport>>,
    /// Path to the peer.
    pub path: Path,
    /// Longest datagram (UDP payload) that passes the first hop, which is the peer or the next hop to it. A longer
    /// one is fragmented.
    pub datagram: u16,
    /// Path MTU for IP packets inside the mesh: a longer packet is fragmented, or its sender gets an ICMP error. It
    /// is the mesh's MTU until the path MTU is known.
    pub mtu: u16,
    /// Path MTU for packets to routers behind this peer, if its path is direct.
    pub mtu_behind: u16,
}

impl Default for PeerPath {
    fn default() -> Self {
        Self {
            transport: None,
            path: Path::None,
            // The control plane always sets these; a snapshot made by hand fragments nothing.
            datagram: u16::MAX,
            mtu: u16::MAX,
            mtu_behind: u16::MAX,
        }
    }
}

impl PeerPath {
    /// Returns the session with `peer`, of which this is the state, unless its keys may no longer be used.
    fn session(&self, peer: PeerId, now: Instant) -> Result<&Transport, Unreachable> {
        self.transport
            .as_deref()
            .filter(|transport| !transport.is_dead(now))
            .ok_or(Unreachable::NoSession(peer))
    }
}

/// View of the control plane's state at one moment, replaced as a whole. The routes to all routers are shared between
/// snapshots of one topology, so that the cost of a snapshot depends only on this router's sessions and links.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Identity of this router.
    pub me: PeerId,
    /// Boot epoch of this router, carried by its broadcasts.
    pub epoch: u64,
    /// Time at which the snapshot was made.
    pub built: Instant,
    /// MTU of the mesh. The longest frame has 18 bytes more: an Ethernet header and one VLAN tag.
    pub mtu: u16,
    /// Time until which broadcasts go to all neighbours instead of along trees.
    pub settle_until: Instant,
    /// Routers with which this one has a session, a link or a direct path. All others are reached by `routes`.
    pub peers: BTreeMap<PeerId, PeerPath>,
    /// Sessions that may still open datagrams, by receiver index.
    pub by_index: BTreeMap<SessionIndex, Arc<Transport>>,
    /// Receiver indices that peers assigned to the sessions of this router.
    pub sealing: BTreeSet<SessionIndex>,
    /// Source address of this host by destination; if there is none, the kernel chooses.
    pub sources: Arc<BTreeMap<SocketAddr, IpAddr>>,
    /// Routers with an established link and a direct path, in ascending order.
    pub neighbours: Vec<PeerId>,
    /// Next hops to all routers, and the children in the tree of each origin.
    pub routes: Arc<Routes>,
    /// Networks other than `default` that have members here.
    pub networks: Arc<SnapshotNetworks>,
}

/// Session with a peer, and the first hop of datagrams for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerRoute<'a> {
    pub(super) transport: &'a Transport,
    pub(super) first_hop: FirstHop<'a>,
}

/// Next hop, with the session that seals for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextHop<'a> {
    pub(super) peer: PeerId,
    pub(super) transport: &'a Transport,
    pub(super) address: SocketAddr,
    /// Longest datagram (UDP payload) that passes to it.
    pub(super) datagram: usize,
}

/// First hop of datagrams for a peer.
#[derive(Clone, Copy, Debug)]
pub(super) enum FirstHop<'a> {
    /// Underlay address of the peer, and the longest datagram (UDP payload) that passes to it.
    Direct(SocketAddr, usize),
    Relay(NextHop<'a>),
}

/// Reason why nothing can be sent to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// The peer is not known.
    #[error("peer {0} is not known")]
    UnknownPeer(PeerId),
    /// No path to the peer is known.
    #[error("no path to peer {0}")]
    NoRoute(PeerId),
    /// No session with this router, which is the peer or the next hop to it.
    #[error("no session with peer {0}")]
    NoSession(PeerId),
}

impl Snapshot {
    /// Creates the snapshot of a router that knows no others.
    pub fn alone(me: PeerId, epoch: u64, mtu: u16, now: Instant) -> Self {
        Self {
            me,
            epoch,
            built: now,
            mtu,
            settle_until: now,
            peers: BTreeMap::new(),
            by_index: BTreeMap::new(),
            sealing: BTreeSet::new(),
            sources: Arc::default(),
            neighbours: Vec::new(),
            routes: Arc::new(Routes::none(me)),
            networks: Arc::default(),
        }
    }

    /// Returns the longest frame that the mesh carries, in bytes.
    pub(super) fn max_frame(&self) -> usize {
        usize::from(self.mtu) + 18
    }

    /// Returns the path MTU to `peer`, at most the mesh's MTU.
    pub(super) fn mtu_to(&self, peer: PeerId) -> u16 {
        let mtu = match self.peers.get(&peer) {
            Some(known) => Some(known.mtu),
            None => self.through(peer).map(|(_, hop)| hop.mtu_behind),
        };
        mtu.map_or(self.mtu, |mtu| mtu.min(self.mtu))
    }

    fn peer(&self, peer: PeerId) -> Result<&PeerPath, Unreachable> {
        self.peers
            .get(&peer)
            .ok_or_else(|| match self.routes.is_reachable(&peer) {
                true => Unreachable::NoSession(peer),
                false => Unreachable::UnknownPeer(peer),
            })
    }

    /// Returns the next hop to a router with which this one has neither a session nor a link.
    fn through(&self, peer: PeerId) -> Option<(PeerId, &PeerPath)> {
        let (next, _) = self.routes.next_hop(&peer)?;
        let hop = self.peers.get(&next).filter(|_| next != peer)?;
        matches!(hop.path, Path::Direct(_)).then_some((next, hop))
    }

    /// Returns the end-to-end session with `peer`, and the first hop of datagrams for it.
    pub(super) fn route(&self, peer: PeerId, now: Instant) -> Result<PeerRoute<'_>, Unreachable> {
        let known = self.peer(peer)?;
        Ok(PeerRoute {
            transport: known.session(peer, now)?,
            first_hop: self.first_hop_of(peer, known, now)?,
        })
    }

    /// Returns the path of datagrams for `peer`.
    pub fn path(&self, peer: PeerId) -> Path {
        match self.peers.get(&peer) {
            Some(known) => known.path,
            None => self
                .through(peer)
                .map_or(Path::None, |(next, _)| Path::Via(next)),
        }
    }

    /// Returns the first hop of datagrams for `peer`, with the longest datagram that passes.
    pub(super) fn first_hop(
        &self,
        peer: PeerId,
        now: Instant,
    ) -> Result<FirstHop<'_>, Unreachable> {
        let Some(known) = self.peers.get(&peer) else {
            return match self.through(peer) {
                Some((next, _)) => Ok(FirstHop::Relay(self.neighbour(next, now)?)),
                None if self.routes.is_reachable(&peer) => Err(Unreachable::NoRoute(peer)),
                None => Err(Unreachable::UnknownPeer(peer)),
            };
        };
        self.first_hop_of(peer, known, now)
    }

    fn first_hop_of(
        &self,
        peer: PeerId,
        known: &PeerPath,
        now: Instant,
    ) -> Result<FirstHop<'_>, Unreachable> {
        match known.path {
            Path::None => Err(Unreachable::NoRoute(peer)),
            Path::Direct(address) => Ok(FirstHop::Direct(address, known.datagram.into())),
            Path::Via(neighbour) => Ok(FirstHop::Relay(self.neighbour(neighbour, now)?)),
        }
    }

    /// Returns the next hop to `peer`: `peer` itself if its path is direct.
    pub(super) fn next_hop(&self, peer: PeerId, now: Instant) -> Result<NextHop<'_>, Unreachable> {
        match self.first_hop(peer, now)? {
            FirstHop::Direct(..) => self.neighbour(peer, now),
            FirstHop::Relay(hop) => Ok(hop),
        }
    }

    /// Returns `peer` as a next hop, if its path is direct.
    pub(super) fn neighbour(&self, peer: PeerId, now: Instant) -> Result<NextHop<'_>, Unreachable> {
        let known = self.peer(peer)?;
        let Path::Direct(address) = known.path else {
            return Err(Unreachable::NoRoute(peer));
        };
        Ok(NextHop {
            peer,
            transport: known.session(peer, now)?,
            address,
            datagram: known.datagram.into(),
        })
    }

    /// Returns the neighbours to which a broadcast of `origin` is forwarded, except `sender`.
    ///
    /// While the topology settles, and for an origin without a tree, these are all neighbours: duplicates are
    /// suppressed, so superfluous copies cost little, while a missing one costs a time-out.
    pub(super) fn flood_targets(
        &self,
        origin: PeerId,
        sender: Option<PeerId>,
        now: Instant,
    ) -> impl Iterator<Item = PeerId> {
        let is_settled = now >= self.settle_until && self.routes.is_reachable(&origin);
        let works = move |peer: &PeerId| self.neighbours.binary_search(peer).is_ok();
        let tree = is_settled.then(|| self.routes.flood(&origin).filter(works));
        let all = (!is_settled).then(|| self.neighbours.iter().copied());
        let targets = tree.into_iter().flatten().chain(all.into_iter().flatten());
        targets.filter(move |p| *p != origin && Some(*p) != sender && *p != self.me)
    }
}
