//! Networks and pools that Docker no longer has, although nobody told so.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::time::Instant;

use super::UserNetworkTable;

/// Longest time from the request of a pool, or the creation of a network by the driver, until Docker lists the network.
const CREATION_LIMIT: Duration = Duration::from_secs(60);

/// Which networks of a table Docker was seen to have.
///
/// Docker lists a network some time after it told the driver of it, so one that was never listed may still come.
#[derive(Debug, Default)]
pub struct DockerPresence {
    listed: BTreeSet<String>,
    /// Networks, and pools of none, that Docker has not listed yet, with the time of the first look that missed them.
    missed: BTreeMap<String, Instant>,
}

impl DockerPresence {
    /// Removes from `table` what Docker has no more: networks that it listed before and does not list now, and what it did
    /// not list for 60 s.
    pub fn settle(
        &mut self,
        table: &mut UserNetworkTable,
        listed: &BTreeSet<String>,
        now: Instant,
    ) {
        let ids = table.ids();
        self.missed
            .retain(|id, _| ids.contains(id) && !listed.contains(id));
        let mut gone = BTreeSet::new();
        for id in ids.difference(listed) {
            let since = *self.missed.entry(id.clone()).or_insert(now);
            let is_late = now.since(since) >= CREATION_LIMIT;
            if self.listed.contains(id) || is_late {
                gone.insert(id.clone());
                self.missed.remove(id);
            }
        }
        table.remove_all(|id| gone.contains(id));
        self.listed.clone_from(listed);
    }
}
