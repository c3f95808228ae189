//! What a watcher of a router may ask without changing it: the simulator, and whoever debugs.

use crate::ids::PeerId;
use crate::limits;
use crate::topology::record::SignedRecord;
use crate::wire::topic::RecordKey;

use super::Control;

impl Control {
    /// The routers this one has a route to, itself included, in order.
    pub fn reachable(&self) -> Vec<PeerId> {
        self.routes.reachable().collect()
    }

    /// A record, as it is held.
    pub fn record(&self, key: RecordKey) -> Option<&SignedRecord> {
        self.lsdb.get(key)
    }

    /// Records taken from others so far.
    pub fn records_taken(&self) -> u64 {
        self.gossip_counters.accepted
    }

    /// The tables that grow with what others say: name, entries, and the bound from [`crate::limits`].
    pub fn tables(&self) -> Vec<(&'static str, usize, usize)> {
        let widest = self
            .links
            .iter()
            .map(|(_, slot)| slot.untold.len())
            .max()
            .unwrap_or(0);
        vec![
            ("known routers", self.lsdb.len(), limits::MAX_PEERS),
            (
                "records",
                self.lsdb.records(),
                limits::MAX_PEERS * usize::from(limits::MAX_TOPICS),
            ),
            (
                "bytes of records",
                self.lsdb.bytes(),
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
                widest,
                3 * limits::MAX_PEERS * usize::from(limits::MAX_TOPICS) + limits::MAX_ASKED,
            ),
            ("records asked for", self.asked.len(), limits::MAX_ASKED),
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
