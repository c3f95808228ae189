//! The snapshot that the lanes read: sessions, paths and trees of one moment.

use std::collections::BTreeMap;

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
    /// With a thousand routers made fifty times a second while the mesh changes: each peer is looked up once.
    pub(super) fn build_snapshot(&self, now: Instant) -> Snapshot {
        let works = |peer: &PeerId| self.paths.direct(peer).is_some();
        let neighbours = self.links.neighbours().map(|(peer, _)| *peer);
        let flood = self.routes.trees().map(|(origin, children)| {
            let children = children.iter().copied().filter(works);
            (origin, children.collect::<Vec<_>>())
        });
        let receiving = self.sessions.receiving();
        Snapshot {
            me: self.me,
            epoch: self.config.epoch,
            built: now,
            mtu: self.config.mtu,
            settle_until: self.settle_until,
            peers: self.peer_paths(),
            by_index: receiving.map(|(i, t)| (i, t.clone())).collect(),
            neighbours: neighbours.filter(works).collect(),
            flood: flood.collect(),
        }
    }

    fn peer_paths(&self) -> BTreeMap<PeerId, PeerPath> {
        let mut directs: BTreeMap<PeerId, (Path, u16)> = BTreeMap::new();
        for (peer, address) in self.paths.directs() {
            directs.insert(*peer, (Path::Direct(address), self.datagram_of(peer)));
        }
        let relayed = |next: Option<PeerId>, peer: &PeerId| {
            let next = next.filter(|next| next != peer)?;
            let (_, datagram) = directs.get(&next)?;
            Some((Path::Via(next), *datagram))
        };
        let path_to = |peer: &PeerId, next: Option<PeerId>| {
            let found = directs.get(peer).copied();
            let found = found.or_else(|| relayed(next, peer));
            let (path, datagram) = found.unwrap_or((Path::None, self.datagram_of(peer)));
            PeerPath {
                transport: self.sessions.current(*peer).cloned(),
                path,
                datagram,
                mtu: self.mtu_by(path, peer),
            }
        };
        let routed = self.routes.hops().filter(|(peer, _)| *peer != self.me);
        let mut peers: BTreeMap<PeerId, PeerPath> = routed
            .map(|(peer, next)| (peer, path_to(&peer, next)))
            .collect();
        // Those that no route leads to yet, or any more.
        let with_session = self.sessions.statuses().map(|s| s.peer);
        let linked = self.links.neighbours().map(|(peer, _)| *peer);
        for peer in with_session.chain(linked).filter(|p| *p != self.me) {
            peers.entry(peer).or_insert_with(|| path_to(&peer, None));
        }
        peers
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
