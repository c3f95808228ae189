//! What control tells the data plane: an immutable view of peers, sessions, paths and broadcast trees.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ids::{PeerId, SessionIndex};
use crate::session::transport::Transport;
use crate::time::Instant;
use crate::topology::routes::Routes;

/// How datagrams for a peer leave this router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// There is no way known.
    #[default]
    None,
    /// Straight to this address.
    Direct(SocketAddr),
    /// Through this neighbour, which itself has a direct path.
    Via(PeerId),
}

/// What the data plane knows of one peer.
#[derive(Clone, Debug)]
pub struct PeerPath {
    /// The session to seal with; it must be one that the peer is known to have finished too.
    pub transport: Option<Arc<Transport>>,
    /// How to reach the peer.
    pub path: Path,
    /// The longest datagram (UDP payload) that passes to where it leaves to: the peer, or the neighbour on the way. A
    /// longer one is to be cut.
    pub datagram: u16,
    /// The longest IP packet that is sent whole: a longer one is fragmented, or its sender told. What could not be told of
    /// the path yet is no reason to do so: then this is the MTU of the mesh.
    pub mtu: u16,
    /// The same for packets to routers behind this peer, if its path is direct.
    pub mtu_behind: u16,
}

impl Default for PeerPath {
    fn default() -> Self {
        Self {
            transport: None,
            path: Path::None,
            // Control always says what passes; a view made by hand has nothing cut.
            datagram: u16::MAX,
            mtu: u16::MAX,
            mtu_behind: u16::MAX,
        }
    }
}

/// The view of one moment; control replaces it as a whole. What it has of all routers is shared by those made between two
/// changes of the topology, so that one costs what this router has sessions and links.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// This router.
    pub me: PeerId,
    /// The boot epoch of this router, which broadcasts carry.
    pub epoch: u64,
    /// When the view was made.
    pub built: Instant,
    /// The MTU of the mesh: the longest frame is this and 18 bytes (Ethernet header and one VLAN tag).
    pub mtu: u16,
    /// Until then broadcasts go to all neighbours instead of along trees.
    pub settle_until: Instant,
    /// The routers this one has a session, a link or a direct path with. Others are reached by `routes`.
    pub peers: BTreeMap<PeerId, PeerPath>,
    /// All sessions that may still open datagrams, by the index in those.
    pub by_index: BTreeMap<SessionIndex, Arc<Transport>>,
    /// The handles that the receivers of our datagrams gave our sessions.
    pub sealing: BTreeSet<SessionIndex>,
    /// From which address of this host datagrams leave, by where they go; where nothing stands the kernel chooses.
    pub sources: Arc<BTreeMap<SocketAddr, IpAddr>>,
    /// The routers with an established link and a direct path, ascending.
    pub neighbours: Vec<PeerId>,
    /// The ways to all routers, and to whom the broadcasts of each are passed on.
    pub routes: Arc<Routes>,
}

/// The next router on the way, with the session that seals for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop<'a> {
    pub(super) peer: PeerId,
    pub(super) transport: &'a Transport,
    pub(super) address: SocketAddr,
    /// The longest datagram that passes there.
    pub(super) datagram: usize,
}

/// How a datagram for a peer leaves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Exit<'a> {
    /// To this address, in datagrams of at most so many bytes.
    Direct(SocketAddr, usize),
    Through(Hop<'a>),
}

/// Why nothing can be sent to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// The peer is not known.
    #[error("peer {0} is not known")]
    UnknownPeer(PeerId),
    /// No path to the peer is known.
    #[error("no path to peer {0}")]
    NoRoute(PeerId),
    /// There is no session with the peer, or with the neighbour on the way to it, named here.
    #[error("no session with peer {0}")]
    NoSession(PeerId),
}

impl Snapshot {
    /// The view of a router that knows nobody.
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
        }
    }

    /// The longest frame the mesh carries.
    pub(super) fn max_frame(&self) -> usize {
        usize::from(self.mtu) + 18
    }

    /// The MTU on the way to `peer`, at most that of the mesh.
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

    /// How to reach a router this one has neither a session nor a link with: through the neighbour that leads there.
    fn through(&self, peer: PeerId) -> Option<(PeerId, &PeerPath)> {
        let (next, _) = self.routes.next_hop(&peer)?;
        let hop = self.peers.get(&next).filter(|_| next != peer)?;
        matches!(hop.path, Path::Direct(_)).then_some((next, hop))
    }

    /// The session that seals for `peer` end to end.
    pub(super) fn transport(&self, peer: PeerId, now: Instant) -> Result<&Transport, Unreachable> {
        self.peer(peer)?
            .transport
            .as_deref()
            .filter(|t| !t.is_dead(now))
            .ok_or(Unreachable::NoSession(peer))
    }

    /// How datagrams for `peer` leave.
    pub fn path(&self, peer: PeerId) -> Path {
        match self.peers.get(&peer) {
            Some(known) => known.path,
            None => self
                .through(peer)
                .map_or(Path::None, |(next, _)| Path::Via(next)),
        }
    }

    /// How datagrams for `peer` leave, and in what length.
    pub(super) fn exit(&self, peer: PeerId, now: Instant) -> Result<Exit<'_>, Unreachable> {
        let Some(known) = self.peers.get(&peer) else {
            return match self.through(peer) {
                Some((next, _)) => Ok(Exit::Through(self.neighbour(next, now)?)),
                None if self.routes.is_reachable(&peer) => Err(Unreachable::NoRoute(peer)),
                None => Err(Unreachable::UnknownPeer(peer)),
            };
        };
        match known.path {
            Path::None => Err(Unreachable::NoRoute(peer)),
            Path::Direct(address) => Ok(Exit::Direct(address, known.datagram.into())),
            Path::Via(neighbour) => Ok(Exit::Through(self.neighbour(neighbour, now)?)),
        }
    }

    /// The next router on the way to `peer`: itself, if its path is direct.
    pub(super) fn next_hop(&self, peer: PeerId, now: Instant) -> Result<Hop<'_>, Unreachable> {
        match self.exit(peer, now)? {
            Exit::Direct(..) => self.neighbour(peer, now),
            Exit::Through(hop) => Ok(hop),
        }
    }

    /// A router with a direct path, as a next hop.
    pub(super) fn neighbour(&self, peer: PeerId, now: Instant) -> Result<Hop<'_>, Unreachable> {
        let known = self.peer(peer)?;
        let Path::Direct(address) = known.path else {
            return Err(Unreachable::NoRoute(peer));
        };
        Ok(Hop {
            peer,
            transport: self.transport(peer, now)?,
            address,
            datagram: known.datagram.into(),
        })
    }

    /// To whom a broadcast of `origin` goes from here, except `sender`.
    ///
    /// While the topology settles, and for an origin without a tree yet, that is every neighbour: duplicates are
    /// suppressed, so too many copies cost little and a missing one costs a time-out.
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
