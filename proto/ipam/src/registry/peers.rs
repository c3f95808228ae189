//! The other routers: their newest statements, and whether they can be reached.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use super::super::wire::IpamStatement;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::MAX_PEERS;
use mesh_proto::time::Instant;

/// Another router.
#[derive(Debug)]
struct KnownRouter {
    statement: Option<IpamStatement>,
    is_reachable: bool,
    /// The moment when that changed last.
    since: Instant,
}

/// All other routers.
#[derive(Debug)]
pub(crate) struct Peers {
    me: PeerId,
    range: Ipv4Net,
    all: BTreeMap<PeerId, KnownRouter>,
    /// Others exist, as the operator said, and none was met yet.
    is_expecting: bool,
    revision: u64,
}

impl Peers {
    /// Makes the table of a router that knows no other.
    pub(super) fn new(me: PeerId, range: Ipv4Net) -> Self {
        Self {
            me,
            range,
            all: BTreeMap::new(),
            is_expecting: false,
            revision: 0,
        }
    }

    /// Notes whether others exist of which none was met yet.
    pub(super) fn set_expecting(&mut self, expecting: bool) {
        self.is_expecting = expecting;
    }

    /// Returns whether others exist of which none was met yet.
    pub(crate) fn is_expecting(&self) -> bool {
        self.is_expecting
    }

    /// Notes whether a router can be reached. Returns whether that is news. If there is no room, a router that cannot be
    /// reached and that nothing depends on gives way.
    pub(super) fn note_reachable(
        &mut self,
        id: PeerId,
        is_reachable: bool,
        is_needed: impl Fn(&PeerId) -> bool,
        now: Instant,
    ) -> bool {
        if id == self.me {
            return false;
        }
        if let Some(peer) = self.all.get_mut(&id) {
            let changed = peer.is_reachable != is_reachable;
            if changed {
                peer.is_reachable = is_reachable;
                peer.since = now;
                self.revision += 1;
            }
            return changed;
        }
        if self.all.len() >= MAX_PEERS {
            let is_useless = |id: &PeerId, peer: &KnownRouter| !peer.is_reachable && !is_needed(id);
            let Some((victim, _)) = self.all.iter().find(|(id, p)| is_useless(id, p)) else {
                return false;
            };
            let victim = *victim;
            self.all.remove(&victim);
        }
        let peer = KnownRouter {
            statement: None,
            is_reachable,
            since: now,
        };
        self.all.insert(id, peer);
        true
    }

    /// Keeps a statement of a known router. Returns whether it is newer than the one before.
    pub(super) fn keep(&mut self, origin: PeerId, statement: &IpamStatement) -> bool {
        let Some(peer) = self.all.get_mut(&origin) else {
            return false;
        };
        let known = peer.statement.as_ref().map(|s| s.version);
        let is_news = known.is_none_or(|version| statement.version > version);
        if is_news {
            peer.statement = Some(statement.clone());
            self.revision += 1;
        }
        is_news
    }

    /// Returns a number that grows with each change that concerns this router's own statement.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns whether anything is known of a router.
    pub(super) fn knows(&self, peer: &PeerId) -> bool {
        self.all.contains_key(peer)
    }

    /// Returns the routers that can be reached and take part, with the same range.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&PeerId, &IpamStatement)> {
        let reachable = self.all.iter().filter(|(_, peer)| peer.is_reachable);
        reachable.filter_map(|(id, peer)| {
            let statement = peer.statement.as_ref()?;
            (statement.range == self.range).then_some((id, statement))
        })
    }

    /// Returns whether a router can be reached and takes part, with the same range.
    pub(crate) fn is_member(&self, peer: &PeerId) -> bool {
        let statement = self.statement(peer).filter(|_| self.is_reachable(peer));
        statement.is_some_and(|s| s.range == self.range)
    }

    /// Returns whether a router can be reached.
    pub(crate) fn is_reachable(&self, peer: &PeerId) -> bool {
        self.all.get(peer).is_some_and(|peer| peer.is_reachable)
    }

    /// Returns the moment when a router was last met or lost.
    pub(crate) fn since(&self, peer: &PeerId) -> Option<Instant> {
        self.all.get(peer).map(|peer| peer.since)
    }

    /// Returns the newest statement of a router.
    pub(crate) fn statement(&self, peer: &PeerId) -> Option<&IpamStatement> {
        self.all.get(peer)?.statement.as_ref()
    }

    /// Returns the newest statement of each router, reachable or not.
    pub(crate) fn statements(&self) -> impl Iterator<Item = (&PeerId, &IpamStatement)> {
        let all = self.all.iter();
        all.filter_map(|(id, peer)| Some((id, peer.statement.as_ref()?)))
    }

    /// Returns the identities of all routers.
    pub(crate) fn ids(&self) -> Vec<PeerId> {
        self.all.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_proto::ids::Version;

    const ME: PeerId = PeerId([1; 16]);
    const OTHER: PeerId = PeerId([2; 16]);

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn statement(seq: u64, range: &str) -> IpamStatement {
        IpamStatement {
            version: Version { epoch: 1, seq },
            range: net(range),
            settled: 1,
            live: false,
            free: 0,
            own: Vec::new(),
            others: Vec::new(),
            pins: Vec::new(),
            fences: Vec::new(),
            conflicts: Vec::new(),
        }
    }

    #[test]
    fn a_member_can_be_reached_and_shares_the_range() {
        let mut peers = Peers::new(ME, net("10.32.0.0/12"));
        let needed = |_: &PeerId| true;
        assert!(!peers.note_reachable(ME, true, needed, Instant::ZERO));
        assert!(!peers.keep(OTHER, &statement(1, "10.32.0.0/12")), "unknown");
        assert!(peers.note_reachable(OTHER, true, needed, Instant::ZERO));
        assert!(!peers.is_member(&OTHER), "it said nothing yet");
        assert!(peers.keep(OTHER, &statement(2, "10.32.0.0/12")));
        assert!(
            !peers.keep(OTHER, &statement(2, "10.64.0.0/12")),
            "not newer"
        );
        assert!(peers.is_member(&OTHER) && peers.members().count() == 1);
        let before = peers.revision();
        assert!(peers.note_reachable(OTHER, false, needed, Instant::ZERO));
        assert!(!peers.note_reachable(OTHER, false, needed, Instant::ZERO));
        assert!(peers.revision() > before);
        assert!(!peers.is_member(&OTHER) && peers.statement(&OTHER).is_some());
        peers.note_reachable(OTHER, true, needed, Instant::ZERO);
        peers.keep(OTHER, &statement(3, "10.64.0.0/12"));
        assert!(!peers.is_member(&OTHER), "another range");
        assert_eq!(peers.statements().count(), 1);
    }

    #[test]
    fn a_full_table_forgets_what_nothing_depends_on() {
        let mut peers = Peers::new(ME, net("10.32.0.0/12"));
        let id = |n: usize| PeerId(u128::try_from(n + 2).unwrap().to_be_bytes());
        for n in 0..MAX_PEERS {
            assert!(peers.note_reachable(id(n), n == 0, |_| true, Instant::ZERO));
        }
        let one_more = id(MAX_PEERS);
        assert!(!peers.note_reachable(one_more, true, |_| true, Instant::ZERO));
        let needed = |peer: &PeerId| *peer == id(1);
        assert!(peers.note_reachable(one_more, true, needed, Instant::ZERO));
        assert!(peers.knows(&id(0)) && peers.knows(&id(1)) && !peers.knows(&id(2)));
    }
}
