//! Other members of one network within reach, and the keys that they announce.

use std::collections::BTreeSet;

use mesh_proto::ids::PeerId;
use mesh_proto::limits::NETWORK_KEY_KEEPERS;
use mesh_proto::network::NetworkKeyPrint;

use super::announcement::KeyAnnouncement;

/// Members of one network within reach, without this router.
#[derive(Debug)]
pub(super) struct Company<'a> {
    pub(super) me: PeerId,
    /// All of them, by id.
    pub(super) members: Vec<PeerId>,
    /// Those that announce keys, by id.
    pub(super) announcers: Vec<(PeerId, &'a KeyAnnouncement)>,
}

/// Keys in the order in which this router would seal with them; each group by the lowest id that announces it.
#[derive(Debug, Default)]
pub(super) struct KeyOrder {
    /// Keys that seal somewhere and are not to be replaced.
    pub(super) fresh: Vec<NetworkKeyPrint>,
    /// Keys that will replace another one. They count only if this router holds no fresh one: so they are forgotten
    /// once they are not needed, and one that announces keys without having them holds up nothing.
    pub(super) next: Vec<NetworkKeyPrint>,
    /// Keys that seal somewhere and are to be replaced.
    pub(super) stale: Vec<NetworkKeyPrint>,
}

impl Company<'_> {
    /// Returns the number of members with lower ids.
    pub(super) fn below(&self) -> usize {
        self.members.partition_point(|peer| *peer < self.me)
    }

    /// Returns the number of members with lower ids that announce any key.
    pub(super) fn announcing_below(&self) -> usize {
        self.announcers.partition_point(|(peer, _)| *peer < self.me)
    }

    /// Returns the number of members with lower ids that announce this key.
    pub(super) fn keepers_below(&self, print: NetworkKeyPrint) -> usize {
        let below = self.announcers.iter().take(self.announcing_below());
        below.filter(|(_, says)| says.get(print).is_some()).count()
    }

    /// Returns the members that announce this key.
    pub(super) fn holders(&self, print: NetworkKeyPrint) -> Vec<PeerId> {
        let holders = self.announcers.iter();
        let holders = holders.filter(|(_, says)| says.get(print).is_some());
        holders.map(|(peer, _)| *peer).collect()
    }

    /// Returns true if a member seals with this key and does not announce it as one that is to be replaced.
    pub(super) fn seals_unaware(&self, print: NetworkKeyPrint) -> bool {
        let mut firsts = self.announcers.iter().filter_map(|(_, says)| says.first());
        firsts.any(|key| key.print == print && !key.stale)
    }

    /// Returns true if no broadcast is lost, as far as announcements tell, if this router seals with this key: all
    /// that announce keys seal with it, or, where all members announce their keys, all have it.
    pub(super) fn is_known_to_all(&self, print: NetworkKeyPrint) -> bool {
        let mut announcers = self.announcers.iter();
        let is_first = |says: &KeyAnnouncement| says.first().is_some_and(|k| k.print == print);
        if !self.announcers.is_empty() && announcers.all(|(_, says)| is_first(says)) {
            return true;
        }
        self.members.len() < NETWORK_KEY_KEEPERS
            && self.announcers.len() == self.members.len()
            && self.holders(print).len() == self.members.len()
    }

    /// Orders the keys that members announce, this router with `own` included.
    pub(super) fn order(
        &self,
        own: &KeyAnnouncement,
        is_stale: impl Fn(NetworkKeyPrint) -> bool,
        is_held: impl Fn(NetworkKeyPrint) -> bool,
    ) -> KeyOrder {
        let flagged = self.announcers.iter().flat_map(|(_, says)| &says.keys);
        let flagged = flagged.filter(|key| key.stale).map(|key| key.print);
        let flagged: BTreeSet<NetworkKeyPrint> = flagged.collect();
        let is_stale = |print| flagged.contains(&print) || is_stale(print);
        let (below, above) = self.announcers.split_at(self.announcing_below());
        let below = below.iter().map(|(_, says)| *says);
        let above = above.iter().map(|(_, says)| *says);
        let mut order = KeyOrder::default();
        let mut firsts = BTreeSet::new();
        let all: Vec<&KeyAnnouncement> = below.chain([own]).chain(above).collect();
        for first in all.iter().filter_map(|says| says.first()) {
            // A key that will replace another one seals at nobody who has another.
            if firsts.insert(first.print) {
                match is_stale(first.print) {
                    true => order.stale.push(first.print),
                    false => order.fresh.push(first.print),
                }
            }
        }
        if !order.fresh.iter().any(|print| is_held(*print)) {
            for key in all.iter().flat_map(|says| &says.keys) {
                if key.next && !is_stale(key.print) && firsts.insert(key.print) {
                    order.next.push(key.print);
                }
            }
        }
        order
    }
}

impl KeyOrder {
    /// Returns all keys in this order.
    pub(super) fn all(&self) -> impl Iterator<Item = NetworkKeyPrint> {
        let all = self.fresh.iter().chain(&self.next).chain(&self.stale);
        all.copied()
    }
}
