//! Sharded copy-on-write map of the database entries: 256 shards by the first byte of the identity.
//!
//! A clone shares all shards with the original until one of the two changes them. So a clone costs only what changes,
//! and the routers of a simulation, which begin with the same records, store those once.

use core::array;
use core::ops::RangeInclusive;
use std::sync::Arc;

use super::entry::Entry;
use crate::ids::PeerId;

/// One shard, ascending by router.
type Part = Vec<(PeerId, Entry)>;

/// Ordered map from routers to their entries.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    parts: Box<[Arc<Part>; 256]>,
    len: usize,
}

impl Default for Parts {
    fn default() -> Self {
        let empty = Arc::default();
        Self {
            parts: Box::new(array::from_fn(|_| Arc::clone(&empty))),
            len: 0,
        }
    }
}

impl Parts {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn contains_key(&self, peer: &PeerId) -> bool {
        self.get(peer).is_some()
    }

    pub(super) fn get(&self, peer: &PeerId) -> Option<&Entry> {
        let part = self.part(peer);
        let at = place(part, peer).ok()?;
        Some(&part[at].1)
    }

    pub(super) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Entry> {
        // Looked up first, so that nothing is copied for an absent router.
        let at = place(self.part(peer), peer).ok()?;
        Some(&mut self.part_mut(peer)[at].1)
    }

    /// Stores an entry, and returns the previous one.
    pub(super) fn insert(&mut self, peer: PeerId, entry: Entry) -> Option<Entry> {
        let part = self.part_mut(&peer);
        match place(part, &peer) {
            Ok(at) => Some(core::mem::replace(&mut part[at].1, entry)),
            Err(at) => {
                // Doubling the capacity would cost a third more memory in total.
                if part.len() == part.capacity() {
                    part.reserve_exact(part.len() / 8 + 2);
                }
                part.insert(at, (peer, entry));
                self.len += 1;
                None
            }
        }
    }

    pub(super) fn remove(&mut self, peer: &PeerId) -> Option<Entry> {
        let at = place(self.part(peer), peer).ok()?;
        let part = self.part_mut(peer);
        let (_, entry) = part.remove(at);
        if part.len() < part.capacity() / 4 {
            part.shrink_to_fit();
        }
        self.len -= 1;
        Some(entry)
    }

    /// Returns all entries, in ascending order of routers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Entry)> + Clone {
        let all = self.parts.iter().flat_map(|part| part.iter());
        all.map(|(peer, entry)| (peer, entry))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &PeerId> + Clone {
        self.iter().map(|(peer, _)| peer)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.iter().map(|(_, entry)| entry)
    }

    /// Returns the entries in a range of routers, in ascending order.
    pub(super) fn range(
        &self,
        range: RangeInclusive<PeerId>,
    ) -> impl Iterator<Item = (&PeerId, &Entry)> {
        let (first, last) = range.into_inner();
        let parts = self.parts.get(number(&first)..=number(&last));
        let all = parts.unwrap_or_default().iter();
        let within = all.flat_map(move |part| {
            let from = part.partition_point(|(peer, _)| *peer < first);
            let rest = part[from..].iter();
            rest.take_while(move |(peer, _)| *peer <= last)
        });
        within.map(|(peer, entry)| (peer, entry))
    }

    fn part(&self, peer: &PeerId) -> &Part {
        &self.parts[number(peer)]
    }

    fn part_mut(&mut self, peer: &PeerId) -> &mut Part {
        Arc::make_mut(&mut self.parts[number(peer)])
    }
}

fn number(peer: &PeerId) -> usize {
    usize::from(peer.0[0])
}

fn place(part: &Part, peer: &PeerId) -> Result<usize, usize> {
    part.binary_search_by(|(other, _)| other.cmp(peer))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::topology::testing;
    use proptest::prelude::*;

    fn entry() -> Entry {
        Entry::new(
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
            let (mut parts, mut model) = (Parts::default(), BTreeMap::new());
            for (first, last, there) in changes {
                let peer = peer((first, last));
                if there {
                    let before = parts.insert(peer, entry()).is_some();
                    prop_assert_eq!(before, model.insert(peer, ()).is_some());
                } else {
                    let before = parts.remove(&peer).is_some();
                    prop_assert_eq!(before, model.remove(&peer).is_some());
                }
                prop_assert_eq!(parts.get_mut(&peer).is_some(), there);
                prop_assert_eq!(parts.contains_key(&peer), there);
            }
            prop_assert_eq!(parts.len(), model.len());
            prop_assert_eq!(parts.is_empty(), model.is_empty());
            prop_assert!(parts.keys().eq(model.keys()));
            let (from, to) = (peer(from), peer(to));
            let within = parts.range(from..=to).map(|(peer, _)| *peer);
            let expected = model.keys().copied().filter(|p| (from..=to).contains(p));
            prop_assert!(within.eq(expected));
        }
    }

    #[test]
    fn a_copy_shares_what_neither_changes() {
        let mut parts = Parts::default();
        let (near, far) = (peer((0, 1)), peer((3, 1)));
        parts.insert(near, entry());
        parts.insert(far, entry());
        let mut copy = parts.clone();
        let is_shared =
            |copy: &Parts, peer| Arc::ptr_eq(&copy.parts[number(peer)], &parts.parts[number(peer)]);
        assert!(copy.get_mut(&peer((0, 9))).is_none());
        assert!(copy.remove(&peer((0, 9))).is_none());
        assert!(is_shared(&copy, &near) && is_shared(&copy, &far));
        copy.get_mut(&near).unwrap().reachable = true;
        assert!(!is_shared(&copy, &near) && is_shared(&copy, &far));
        assert!(!parts.get(&near).unwrap().reachable);
    }
}
