//! The snapshot that the lanes read: sessions, paths and trees of one moment.

use std::collections::{BTreeMap, BTreeSet};

use crate::forward::{Path, PeerPath, Snapshot};
use crate::ids::PeerId;
use crate::limits::BASE_DATAGRAM;
use crate::pmtu::inner_mtu;
use crate::time::Instant;
use crate::wire::datagram::RELAY_OVERHEAD;

use super::Control;

/// Bytes of a Relay datagram around the one inside.
const RELAYED: u16 = 48;
const _: () = assert!(RELAYED as usize == RELAY_OVERHEAD);

impl Control {
    /// Made fifty times a second while the mesh changes: it costs what this router has sessions and links, however many
    /// routers there are.
    pub(super) fn build_snapshot(&self, now: Instant) -> Snapshot {
        let works = |peer: &PeerId| self.paths.direct(peer).is_some();
        let linked = self.links.neighbours().map(|(peer, _)| *peer);
        let neighbours: BTreeSet<PeerId> =
            linked.chain(self.kept.iter().map(|(p, _)| *p)).collect();
        let receiving = self.sessions.receiving();
        let sealing = self.sessions.receiving().map(|(_, t)| t.remote());
        Snapshot {
            me: self.me,
            epoch: self.config.epoch,
            built: now,
            mtu: self.config.mtu,
            settle_until: self.settle_until,
            peers: self.peer_paths(),
            by_index: receiving.map(|(i, t)| (i, t.clone())).collect(),
            sealing: sealing.collect(),
            sources: self.sources.shared(),
            neighbours: neighbours.into_iter().filter(works).collect(),
            routes: self.routes.clone(),
        }
    }

    fn peer_paths(&self) -> BTreeMap<PeerId, PeerPath> {
        let with_session = self.sessions.statuses().map(|s| s.peer);
        let linked = self.links.neighbours().map(|(peer, _)| *peer);
        let direct = self.paths.directs().map(|(peer, _)| *peer);
        let peers: BTreeSet<PeerId> = with_session.chain(linked).chain(direct).collect();
        let peers = peers.into_iter().filter(|peer| *peer != self.me);
        peers.map(|peer| (peer, self.peer_path(peer))).collect()
    }

    fn peer_path(&self, peer: PeerId) -> PeerPath {
        let path = self.path_to(&peer);
        let hop = match path {
            Path::Via(next) => next,
            Path::Direct(_) | Path::None => peer,
        };
        PeerPath {
            transport: self.sessions.current(peer).cloned(),
            path,
            datagram: self.datagram_of(&hop),
            mtu: self.mtu_by(path, &peer),
            mtu_behind: self.mtu_by(Path::Via(peer), &peer),
        }
    }

    /// How datagrams for `peer` leave this router.
    pub(super) fn path_to(&self, peer: &PeerId) -> Path {
        if let Some(direct) = self.paths.direct(peer) {
            return Path::Direct(direct.address);
        }
        match self.routes.next_hop(peer) {
            Some((next, _)) if next != *peer && self.paths.direct(&next).is_some() => {
                Path::Via(next)
            }
            _ => Path::None,
        }
    }

    /// The longest datagram that passes to this neighbour; what every path should pass while there is none.
    fn datagram_of(&self, peer: &PeerId) -> u16 {
        self.sizes.datagram(peer).unwrap_or(BASE_DATAGRAM)
    }

    /// The longest packet that the first hop to `peer` takes in one datagram, at most the MTU of the mesh.
    pub(super) fn mtu_to(&self, peer: &PeerId) -> u16 {
        self.mtu_by(self.path_to(peer), peer)
    }

    fn mtu_by(&self, path: Path, peer: &PeerId) -> u16 {
        let (hop, overhead) = match path {
            Path::Via(next) => (next, RELAYED),
            Path::Direct(_) | Path::None => (*peer, 0),
        };
        let settled = self.sizes.settled(&hop);
        let mtu = settled.map_or(u16::MAX, |d| inner_mtu(d.saturating_sub(overhead)));
        mtu.min(self.config.mtu)
    }
}
