//! Networks that containers of this host are in: used, unused for a while, or removed from the mesh.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use mesh_networks::HostNetworks;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;

/// A network stays open for this long after its last container left: one that is restarted is back in time.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// A network counts as used for this long after it was opened: its first container is on the way.
const USED_FOR: Duration = Duration::from_secs(3);
/// A network that was never known in this run counts as removed after this long: its definition may be on its way.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);

/// Follows which networks are used. The network `default` is always open, and never in here.
#[derive(Debug, Default)]
pub struct UsedNetworks {
    /// The networks that are open, with the last time that each was seen in use.
    open: BTreeMap<NetworkId, Instant>,
    /// Those of them that nothing uses.
    idle: BTreeSet<NetworkId>,
    /// Those whose definitions were known in this run.
    known: BTreeSet<NetworkId>,
    /// Since when others were not known.
    unknown: BTreeMap<NetworkId, Instant>,
}

/// The steps that follow from a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkChanges {
    /// Networks that were removed from the mesh while containers of this host were in them.
    pub removed: Vec<NetworkId>,
    /// Networks that nothing has used for a while.
    pub close: Vec<NetworkId>,
}

impl UsedNetworks {
    /// Notes that something is about to use a network, or does.
    pub fn note(&mut self, network: NetworkId, now: Instant) {
        if !network.is_default() {
            self.open.insert(network, now);
            self.idle.remove(&network);
        }
    }

    /// Looks at what is used now; `is_defined` says which networks the mesh has.
    pub fn look(
        &mut self,
        used: &BTreeSet<NetworkId>,
        is_defined: impl Fn(&NetworkId) -> bool,
        now: Instant,
    ) -> NetworkChanges {
        for network in used {
            self.note(*network, now);
        }
        let mut changes = NetworkChanges::default();
        for network in self.open.keys() {
            if is_defined(network) {
                self.known.insert(*network);
                self.unknown.remove(network);
                continue;
            }
            let since = *self.unknown.entry(*network).or_insert(now);
            let is_removed = self.known.contains(network) || now.since(since) >= UNKNOWN_FOR;
            if is_removed && used.contains(network) {
                changes.removed.push(*network);
            }
        }
        let idle = self.open.iter().filter(|(network, last)| {
            let is_over = now.since(**last) >= KEPT_FOR || !is_defined(network);
            !used.contains(network) && is_over
        });
        changes.close = idle.map(|(network, _)| *network).collect();
        for network in &changes.close {
            self.open.remove(network);
            self.known.remove(network);
            self.unknown.remove(network);
        }
        let unused = self
            .open
            .iter()
            .filter(|(network, last)| !used.contains(network) && now.since(**last) >= USED_FOR);
        self.idle = unused.map(|(network, _)| *network).collect();
        changes
    }

    /// Returns the networks that are open.
    pub fn open(&self) -> HostNetworks {
        let open = self.open.keys().copied();
        let (idle, used) = open.partition(|network| self.idle.contains(network));
        HostNetworks { used, idle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: NetworkId = NetworkId([7; 16]);
    const DB: NetworkId = NetworkId([8; 16]);

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    fn look(
        usage: &mut UsedNetworks,
        used: &[NetworkId],
        known: bool,
        secs: u64,
    ) -> NetworkChanges {
        let used = used.iter().copied().collect();
        usage.look(&used, |_| known, at(secs))
    }

    #[test]
    fn a_network_outlives_the_restart_of_its_container() {
        let mut usage = UsedNetworks::default();
        assert_eq!(look(&mut usage, &[WEB], true, 0), NetworkChanges::default());
        assert_eq!(look(&mut usage, &[], true, 29).close, []);
        assert_eq!(look(&mut usage, &[WEB], true, 30).close, []);
        assert_eq!(look(&mut usage, &[], true, 59).close, []);
        assert_eq!(usage.open().idle, BTreeSet::from([WEB]));
        assert_eq!(look(&mut usage, &[], true, 60).close, [WEB]);
        assert_eq!(usage.open(), HostNetworks::default());
        assert_eq!(look(&mut usage, &[], true, 61), NetworkChanges::default());
    }

    #[test]
    fn what_is_prepared_is_open_and_default_never_counts() {
        let mut usage = UsedNetworks::default();
        usage.note(DB, at(0));
        usage.note(NetworkId::DEFAULT, at(0));
        assert_eq!(usage.open().used, BTreeSet::from([DB]));
        assert_eq!(look(&mut usage, &[], true, 2).close, []);
        assert_eq!(usage.open().used, BTreeSet::from([DB]));
        assert_eq!(look(&mut usage, &[], true, 29).close, []);
        assert_eq!(usage.open().idle, BTreeSet::from([DB]));
        assert_eq!(look(&mut usage, &[], true, 30).close, [DB]);
    }

    #[test]
    fn a_network_that_was_known_is_removed_at_once_and_another_in_time() {
        let mut usage = UsedNetworks::default();
        look(&mut usage, &[WEB], true, 0);
        assert_eq!(look(&mut usage, &[WEB], false, 1).removed, [WEB]);
        assert_eq!(
            look(&mut usage, &[WEB], false, 4).removed,
            [WEB],
            "until it is done"
        );
        assert_eq!(look(&mut usage, &[], false, 5).close, [WEB], "at once");
        // A router that has just started learns of its networks in a moment.
        assert_eq!(look(&mut usage, &[DB], false, 10).removed, []);
        assert_eq!(look(&mut usage, &[DB], false, 39).removed, []);
        assert_eq!(look(&mut usage, &[DB], false, 40).removed, [DB]);
        let mut usage = UsedNetworks::default();
        look(&mut usage, &[DB], false, 0);
        assert_eq!(look(&mut usage, &[DB], true, 20).removed, []);
        assert_eq!(look(&mut usage, &[DB], false, 21).removed, [DB]);
    }
}
