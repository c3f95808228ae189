//! Digest tree of anti-entropy: incremental hashes of sets of records. A digest is the sum of the records' hashes,
//! stored for each first byte of the identities.
//!
//! Addition is commutative, so equal sets have equal sums however they came about. A member can make records of its
//! own whose sums collide, but that hides only differences between those.

use crate::ids::PeerId;
use crate::wire::digest_tree::DigestNode;

/// DigestTree over the records of all reachable routers.
#[derive(Clone, Debug)]
pub(super) struct DigestTree {
    /// DigestTree by the first byte of the origin.
    buckets: Box<[u128; 256]>,
    total: u128,
}

impl Default for DigestTree {
    fn default() -> Self {
        Self {
            buckets: Box::new([0; 256]),
            total: 0,
        }
    }
}

impl DigestTree {
    /// Adds the hashes of the records of `origin`.
    pub(super) fn add(&mut self, origin: &PeerId, sum: u128) {
        self.change(origin, |old| old.wrapping_add(sum));
    }

    /// Subtracts the hashes of the records of `origin`.
    pub(super) fn subtract(&mut self, origin: &PeerId, sum: u128) {
        self.change(origin, |old| old.wrapping_sub(sum));
    }

    fn change(&mut self, origin: &PeerId, change: impl Fn(u128) -> u128) {
        self.total = change(self.total);
        let bucket = &mut self.buckets[usize::from(origin.0[0])];
        *bucket = change(*bucket);
    }

    /// Returns the sum over all records.
    pub(super) fn total(&self) -> u128 {
        self.total
    }

    /// Returns the sum over the records in `node`; `None` below the level for which sums are stored.
    pub(super) fn of(&self, node: DigestNode) -> Option<u128> {
        let (first, last) = node.bytes()?;
        let part = self.buckets.get(usize::from(first)..=usize::from(last))?;
        Some(part.iter().fold(0, |sum, bucket| sum.wrapping_add(*bucket)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_do_not_depend_on_the_order(
            mut items in prop::collection::vec((any::<[u8; 16]>(), any::<u128>()), 0..40),
        ) {
            let mut forwards = DigestTree::default();
            items.iter().for_each(|(id, sum)| forwards.add(&PeerId(*id), *sum));
            items.reverse();
            let mut backwards = DigestTree::default();
            items.iter().for_each(|(id, sum)| backwards.add(&PeerId(*id), *sum));
            prop_assert_eq!(forwards.total(), backwards.total());
            prop_assert_eq!(forwards.of(DigestNode::ROOT), Some(forwards.total()));
            let parts = DigestNode::ROOT.children().flat_map(DigestNode::children);
            let total = parts.fold(0u128, |sum, n| sum.wrapping_add(forwards.of(n).unwrap()));
            prop_assert_eq!(total, forwards.total());
            items.iter().for_each(|(id, sum)| forwards.subtract(&PeerId(*id), *sum));
            prop_assert_eq!(forwards.total(), 0);
        }
    }
}
