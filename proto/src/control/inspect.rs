//! What a watcher of a router may ask without changing it: the simulator, and whoever debugs.

use crate::ids::PeerId;
use crate::limits;
use crate::time::Instant;
use crate::topology::bodies::IdentityBody;
use crate::topology::record::{RecordError, SignedRecord};
use crate::topology::topic::{RecordKey, Topic};

use super::{Control, Said};

impl Control {
    /// The routers this one has a route to, itself included, in order.
    pub fn reachable(&self) -> Vec<PeerId> {
        self.routes.reachable().collect()
    }

    /// Says `body` about `topic` from now on, to all routers; an empty one takes back what was said. Told at once after
    /// a quiet time, else with the next record ([`Topic::hold_down`]); told again after a restart only if
    /// said again.
    ///
    /// # Errors
    /// When the topic is one of the control plane's own.
    pub fn say(&mut self, topic: Topic, body: Vec<u8>, now: Instant) -> Result<(), RecordError> {
        self.gossip.announce(topic, body)?;
        self.flush(now);
        Ok(())
    }

    /// What all routers say about a topic, this one included, in order of their identities.
    /// [`super::Output::Said`] tells when it changed, [`super::Output::Reach`] when others are within reach than before.
    pub fn said(&self, topic: Topic) -> impl Iterator<Item = Said<'_>> {
        self.gossip.said(topic)
    }

    /// What one router says about a topic.
    pub fn said_by(&self, origin: PeerId, topic: Topic) -> Option<Said<'_>> {
        self.gossip.said_by(origin, topic)
    }

    /// Every router of which a record is held, within reach or not, this one included.
    pub fn identities(&self) -> impl Iterator<Item = (PeerId, &IdentityBody)> {
        let records = self.gossip.lsdb().about(Topic::IDENTITY);
        records.filter_map(|(record, _)| Some((record.origin(), record.as_identity()?)))
    }

    /// Says `body` about `topic` to one router. It may be lost.
    ///
    /// # Errors
    /// When the topic is one of the control plane's own, or the body too long.
    pub fn tell(
        &mut self,
        to: PeerId,
        topic: Topic,
        body: &[u8],
        now: Instant,
    ) -> Result<(), RecordError> {
        self.gossip.tell(to, topic, body)?;
        self.drain_gossip(now);
        self.flush(now);
        Ok(())
    }

    /// The digest of what all members of this part of the mesh agree on once it is quiet.
    pub fn digest(&self) -> [u8; 16] {
        self.gossip.digest()
    }

    /// A record, as it is held.
    pub fn record(&self, key: RecordKey) -> Option<&SignedRecord> {
        self.gossip.lsdb().get(key)
    }

    /// Records taken from others so far.
    pub fn records_taken(&self) -> u64 {
        self.gossip.counters().accepted
    }

    /// The tables that grow with what others say: name, entries, and the bound from [`crate::limits`].
    pub fn tables(&self) -> Vec<(&'static str, usize, usize)> {
        vec![
            ("known routers", self.gossip.lsdb().len(), limits::MAX_PEERS),
            (
                "records",
                self.gossip.lsdb().records(),
                limits::MAX_PEERS * usize::from(limits::MAX_TOPICS),
            ),
            (
                "bytes of records",
                self.gossip.lsdb().bytes(),
                limits::MAX_DATABASE + limits::MAX_RECORD * usize::from(limits::MAX_TOPICS),
            ),
            (
                "links",
                self.links.iter().count(),
                limits::MAX_LINKS + limits::MAX_HALF_OPEN,
            ),
            ("sources", self.strangers.len(), limits::MAX_CALLERS),
            (
                "routers that were linked",
                self.familiar.len(),
                limits::MAX_FAMILIAR,
            ),
            (
                "explicit targets",
                self.targets.explicit().count(),
                limits::MAX_TARGETS,
            ),
            (
                "all targets",
                self.targets.iter().count(),
                limits::MAX_TARGETS + limits::MAX_PEERS,
            ),
            (
                "records that wait for one neighbour",
                self.gossip.longest_queue(),
                3 * limits::MAX_PEERS * usize::from(limits::MAX_TOPICS) + limits::MAX_ASKED,
            ),
            (
                "records asked for",
                self.gossip.requests(),
                limits::MAX_ASKED,
            ),
            (
                "sessions",
                self.sessions.statuses().count(),
                limits::MAX_SESSIONS,
            ),
            ("wanted sessions", self.wanted.len(), limits::MAX_SESSIONS),
            ("probed peers", self.paths.len(), limits::MAX_SESSIONS),
            (
                "probes of one peer",
                self.paths.waiting(),
                limits::MAX_OUTSTANDING_PROBES,
            ),
            ("pinned names", self.config.pins.len(), limits::MAX_PINS),
            ("MAC addresses", self.forwarder.fdb().len(), limits::MAX_FDB),
        ]
    }
}
