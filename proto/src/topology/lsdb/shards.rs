//! Sharded copy-on-write map of the database entries: 256 shards by the first byte of the identity.
//!
//! A clone shares all shards with the original until one of the two changes them. So a clone costs only what changes,
//! and the routers of a simulation, which begin with the same records, store those once.

use core::array;
use core::ops::RangeInclusive;
use std::sync::Arc;

use super::entry::OriginEntry;
use crate::ids::PeerId;

/// One shard, ascending by router.
type Shard = Vec<(PeerId, OriginEntry)>;

/// Ordered map from routers to their entries.
#[derive(Clone, Debug)]
pub(super) struct ShardedMap {
    shards: Box<[Arc<Shard>; 256]>,
    len: usize,
}

impl Default for ShardedMap {
    fn default() -> Self {
        let empty = Arc::default();
        Self {
            shards: Box::new(array::from_fn(|_| Arc::clone(&empty))),
            len: 0,
        }
    }
}

impl ShardedMap {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn contains_key(&self, peer: &PeerId) -> bool {
        self.get(peer).is_some()
    }

    pub(super) fn get(&self, peer: &PeerId) -> Option<&OriginEntry> {
        let shard = self.shard(peer);
        let at = place(shard, peer).ok()?;
        Some(&shard[at].1)
    }

    pub(super) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut OriginEntry> {
        // Looked up first, so that nothing is copied for an absent router.
        let at = place(self.shard(peer), peer).ok()?;
        Some(&mut self.part_mut(peer)[at].1)
    }

    /// Stores an entry, and returns the previous one.
    pub(super) fn insert(&mut self, peer: PeerId, entry: OriginEntry) -> Option<OriginEntry> {
        let shard = self.part_mut(&peer);
        match place(shard, &peer) {
            Ok(at) => Some(core::mem::replace(&mut shard[at].1, entry)),
            Err(at) => {
                // Doubling the capacity would cost a third more memory in total.
                if shard.len() == shard.capacity() {
                    shard.reserve_exact(shard.len() / 8 + 2);
                }
                shard.insert(at, (peer, entry));
                self.len += 1;
                None
            }
        }
    }

    pub(super) fn remove(&mut self, peer: &PeerId) -> Option<OriginEntry> {
        let at = place(self.shard(peer), peer).ok()?;
        let shard = self.part_mut(peer);
        let (_, entry) = shard.remove(at);
        if shard.len() < shard.capacity() / 4 {
            shard.shrink_to_fit();
        }
        self.len -= 1;
        Some(entry)
    }

    /// Returns all entries, in ascending order of routers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &OriginEntry)> + Clone {
        let all = self.shards.iter().flat_map(|shard| shard.iter());
        all.map(|(peer, entry)| (peer, entry))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &PeerId> + Clone {
        self.iter().map(|(peer, _)| peer)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &OriginEntry> + Clone {
        self.iter().map(|(_, entry)| entry)
    }

    /// Returns the entries in a range of routers, in ascending order.
    pub(super) fn range(
        &self,
        range: RangeInclusive<PeerId>,
    ) -> impl Iterator<Item = (&PeerId, &OriginEntry)> {
        let (first, last) = range.into_inner();
        let shards = self.shards.get(number(&first)..=number(&last));
        let all = shards.unwrap_or_default().iter();
        let within = all.flat_map(move |shard| {
            let from = shard.partition_point(|(peer, _)| *peer < first);
            let rest = shard[from..].iter();
            rest.take_while(move |(peer, _)| *peer <= last)
        });
        within.map(|(peer, entry)| (peer, entry))
    }

    fn shard(&self, peer: &PeerId) -> &Shard {
        &self.shards[number(peer)]
    }

    fn part_mut(&mut self, peer: &PeerId) -> &mut Shard {
        Arc::make_mut(&mut self.shards[number(peer)])
    }
}

fn number(peer: &PeerId) -> usize {
    usize::from(peer.0[0])
}

fn place(shard: &Shard, peer: &PeerId) -> Result<usize, usize> {
    shard.binary_search_by(|(other, _)| other.cmp(peer))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::topology::testing;
    use proptest::prelude::*;

    fn entry() -> OriginEntry {
        OriginEntry::new(
            testing::record(&testing::identity(1), 1, 1, "host"),
            0,
            None,
        )
    }

    /// Few different first bytes, so that shards hold several entries.
    fn peer((first, last): (u8, u8)) -> PeerId {
        let mut id = [0; 16];
        (id[0], id[15]) = (first * 85, last);
        PeerId(id)
    }

    proptest! {
        #[test]
        fn it_is_an_ordered_map(
            changes in prop::collection::vec((0..4u8, 0..8u8, any::<bool>()), 0..60),
            (from, to) in ((0..4u8, 0..8u8), (0..4u8, 0..8u8)),
        ) {
            let (mut shards, mut model) = (ShardedMap::default(), BTreeMap::new());
            for (first, last, there) in changes {
                let peer = peer((first, last));
                if there {
                    let before = shards.insert(peer, entry()).is_some();
                    prop_assert_eq!(before, model.insert(peer, ()).is_some());
                } else {
                    let before = shards.remove(&peer).is_some();
                    prop_assert_eq!(before, model.remove(&peer).is_some());
                }
                prop_assert_eq!(shards.get_mut(&peer).is_some(), there);
                prop_assert_eq!(shards.contains_key(&peer), there);
            }
            prop_assert_eq!(shards.len(), model.len());
            prop_assert_eq!(shards.is_empty(), model.is_empty());
            prop_assert!(shards.keys().eq(model.keys()));
            let (from, to) = (peer(from), peer(to));
            let within = shards.range(from..=to).map(|(peer, _)| *peer);
            let expected = model.keys().copied().filter(|p| (from..=to).contains(p));
            prop_assert!(within.eq(expected));
        }
    }

    #[test]
    fn a_copy_shares_what_neither_changes() {
        let mut shards = ShardedMap::default();
        let (near, far) = (peer((0, 1)), peer((3, 1)));
        shards.insert(near, entry());
        shards.insert(far, entry());
        let mut copy = shards.clone();
        let is_shared = |copy: &ShardedMap, peer| {
            Arc::ptr_eq(&copy.shards[number(peer)], &shards.shards[number(peer)])
        };
        assert!(copy.get_mut(&peer((0, 9))).is_none());
        assert!(copy.remove(&peer((0, 9))).is_none());
        assert!(is_shared(&copy, &near) && is_shared(&copy, &far));
        copy.get_mut(&near).unwrap().reachable = true;
        assert!(!is_shared(&copy, &near) && is_shared(&copy, &far));
        assert!(!shards.get(&near).unwrap().reachable);
    }
}
