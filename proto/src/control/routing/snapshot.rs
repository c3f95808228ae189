//! The snapshot that the lanes read: sessions, paths and trees of one moment.

use std::collections::{BTreeMap, BTreeSet};

use crate::forward::{Path, PeerPath};
use crate::ids::PeerId;
use crate::limits::BASE_DATAGRAM;
use crate::pmtu::inner_mtu;
use crate::session::Sessions;
use crate::wire::datagram::RELAY_OVERHEAD;

use crate::control::paths::Paths;
use crate::control::view::ControlView;

/// Bytes of a Relay datagram around the one inside.
const RELAYED: u16 = 48;
const _: () = assert!(RELAYED as usize == RELAY_OVERHEAD);

/// Returns the paths to all routers with a session, a link or a direct path: they cost what this router has of these, however
/// many routers there are.
pub(super) fn peer_paths(
    view: ControlView<'_>,
    sessions: &Sessions,
    (me, mtu): (PeerId, u16),
) -> BTreeMap<PeerId, PeerPath> {
    let with_session = sessions.statuses().map(|s| s.peer);
    let linked = view.links.neighbours().map(|(peer, _)| *peer);
    let direct = view.paths.directs().map(|(peer, _)| *peer);
    let peers: BTreeSet<PeerId> = with_session.chain(linked).chain(direct).collect();
    let peers = peers.into_iter().filter(|peer| *peer != me);
    let path = |peer| (peer, peer_path(peer, view, sessions, mtu));
    peers.map(path).collect()
}

fn peer_path(peer: PeerId, view: ControlView<'_>, sessions: &Sessions, mtu: u16) -> PeerPath {
    let path = view.path_to(&peer);
    let hop = match path {
        Path::Via(next) => next,
        Path::Direct(_) | Path::None => peer,
    };
    // Without a discovery, what every path should pass.
    let datagram = view.paths.datagram(&hop).unwrap_or(BASE_DATAGRAM);
    PeerPath {
        transport: sessions.current(peer).cloned(),
        path,
        datagram,
        mtu: mtu_by(view.paths, path, &peer).min(mtu),
        mtu_behind: mtu_by(view.paths, Path::Via(peer), &peer).min(mtu),
    }
}

/// Returns the longest packet that the first hop to `peer` takes in one datagram, if that is known.
pub(crate) fn mtu_by(paths: &Paths, path: Path, peer: &PeerId) -> u16 {
    let (hop, overhead) = match path {
        Path::Via(next) => (next, RELAYED),
        Path::Direct(_) | Path::None => (*peer, 0),
    };
    let settled = paths.settled(&hop);
    settled.map_or(u16::MAX, |d| inner_mtu(d.saturating_sub(overhead)))
}
