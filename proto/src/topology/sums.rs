//! Digest tree of anti-entropy: incremental hashes of sets of records. A digest is the sum of the records' hashes,
//! stored for each first byte of the identities.
//!
//! Addition is commutative, so equal sets have equal sums however they came about. A member can make records of its
//! own whose sums collide, but that hides only differences between those.

use crate::ids::PeerId;

/// Children of a [`Node`].
pub const CHILDREN: usize = 16;
/// Depth of the deepest [`Node`] that has children, in half-bytes of the identity that its routers share.
pub const MAX_DEPTH: u8 = 3;

/// Node of the digest tree: all identities with the same first half-bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    depth: u8,
    prefix: u16,
}

/// Sums over the records of all reachable routers.
#[derive(Clone, Debug)]
pub struct Sums {
    /// Sums by the first byte of the origin.
    buckets: Box<[u128; 256]>,
    total: u128,
}

impl Default for Sums {
    fn default() -> Self {
        Self {
            buckets: Box::new([0; 256]),
            total: 0,
        }
    }
}

impl Sums {
    /// Adds the hashes of the records of `origin`.
    pub fn add(&mut self, origin: &PeerId, sum: u128) {
        self.change(origin, |old| old.wrapping_add(sum));
    }

    /// Subtracts the hashes of the records of `origin`.
    pub fn subtract(&mut self, origin: &PeerId, sum: u128) {
        self.change(origin, |old| old.wrapping_sub(sum));
    }

    fn change(&mut self, origin: &PeerId, change: impl Fn(u128) -> u128) {
        self.total = change(self.total);
        let bucket = &mut self.buckets[usize::from(origin.0[0])];
        *bucket = change(*bucket);
    }

    /// Returns the sum over all records.
    pub fn total(&self) -> u128 {
        self.total
    }

    /// Returns the sum over the records in `node`; `None` below the level for which sums are stored.
    pub fn of(&self, node: Node) -> Option<u128> {
        let (first, last) = node.bytes()?;
        let part = self.buckets.get(usize::from(first)..=usize::from(last))?;
        Some(part.iter().fold(0, |sum, bucket| sum.wrapping_add(*bucket)))
    }
}

impl Node {
    /// Root of the tree: all identities.
    pub const ROOT: Self = Self {
        depth: 0,
        prefix: 0,
    };

    /// Returns the node whose identities begin with the last `depth` half-bytes of `prefix`; `None` if it can have no
    /// children.
    pub fn new(depth: u8, prefix: u16) -> Option<Self> {
        let fits = u32::from(prefix) < 1 << (4 * u32::from(depth.min(MAX_DEPTH)));
        (depth <= MAX_DEPTH && fits).then_some(Self { depth, prefix })
    }

    /// Returns the number of half-bytes that its identities share.
    pub fn depth(self) -> u8 {
        self.depth
    }

    /// Returns the shared half-bytes, in the low-order bits.
    pub fn prefix(self) -> u16 {
        self.prefix
    }

    /// Returns its 16 children, in order.
    pub fn children(self) -> impl Iterator<Item = Self> {
        (0..16).map(move |n| Self {
            depth: self.depth + 1,
            prefix: self.prefix << 4 | n,
        })
    }

    /// Returns true if it has children that can be sent to other routers.
    pub fn is_divisible(self) -> bool {
        self.depth <= MAX_DEPTH
    }

    /// Returns the lowest and the highest identity in it.
    pub fn range(self) -> (PeerId, PeerId) {
        let shift = 128 - 4 * u32::from(self.depth);
        let first = u128::from(self.prefix).checked_shl(shift).unwrap_or(0);
        let rest = u128::MAX
            .checked_shr(4 * u32::from(self.depth))
            .unwrap_or(0);
        (
            PeerId(first.to_be_bytes()),
            PeerId((first | rest).to_be_bytes()),
        )
    }

    /// Returns the lowest and the highest first byte, if it consists of whole buckets.
    fn bytes(self) -> Option<(u8, u8)> {
        let (first, last) = self.range();
        (self.depth <= 2).then_some((first.0[0], last.0[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_parts_of_a_node_cover_it() {
        let mut nodes = vec![Node::ROOT];
        for _ in 0..400 {
            let Some(node) = nodes.pop() else { break };
            assert_eq!(Node::new(node.depth(), node.prefix()), Some(node));
            let (first, last) = node.range();
            let parts: Vec<_> = node.children().map(Node::range).collect();
            assert_eq!((parts[0].0, parts[15].1), (first, last));
            for pair in parts.windows(2) {
                let (end, next) = (
                    u128::from_be_bytes(pair[0].1.0),
                    u128::from_be_bytes(pair[1].0.0),
                );
                assert_eq!(end + 1, next);
            }
            nodes.extend(node.children().filter(|n| n.is_divisible()));
        }
        assert_eq!(Node::ROOT.range(), (PeerId([0; 16]), PeerId([0xff; 16])));
        assert_eq!(Node::new(4, 0), None);
        assert_eq!(Node::new(1, 16), None);
        assert_eq!(Node::new(0, 1), None);
    }

    proptest! {
        #[test]
        fn sums_do_not_depend_on_the_order(
            mut items in prop::collection::vec((any::<[u8; 16]>(), any::<u128>()), 0..40),
        ) {
            let mut forwards = Sums::default();
            items.iter().for_each(|(id, sum)| forwards.add(&PeerId(*id), *sum));
            items.reverse();
            let mut backwards = Sums::default();
            items.iter().for_each(|(id, sum)| backwards.add(&PeerId(*id), *sum));
            prop_assert_eq!(forwards.total(), backwards.total());
            prop_assert_eq!(forwards.of(Node::ROOT), Some(forwards.total()));
            let parts = Node::ROOT.children().flat_map(Node::children);
            let total = parts.fold(0u128, |sum, n| sum.wrapping_add(forwards.of(n).unwrap()));
            prop_assert_eq!(total, forwards.total());
            items.iter().for_each(|(id, sum)| forwards.subtract(&PeerId(*id), *sum));
            prop_assert_eq!(forwards.total(), 0);
        }
    }
}
