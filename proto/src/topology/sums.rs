//! Hashes over sets of records that cost what changes: the sum of the records' hashes, kept for each 256th of the
//! identities.
//!
//! Addition is commutative, so that equal sets have equal sums however they came about. A member can make records of
//! its own whose sums collide; it hides nothing but a difference between those.

use crate::ids::PeerId;

/// Children of a [`Node`].
pub const CHILDREN: usize = 16;
/// A [`Node`] of this depth covers all identities that share so many half-bytes; its children are the deepest there are.
pub const MAX_DEPTH: u8 = 3;

/// The part of all identities that begin with the same few half-bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    depth: u8,
    prefix: u16,
}

/// Sums over the records of the routers within reach.
#[derive(Clone, Debug)]
pub struct Sums {
    /// By the first byte of the origin.
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
    /// Adds what `origin` says.
    pub fn add(&mut self, origin: &PeerId, sum: u128) {
        self.change(origin, |old| old.wrapping_add(sum));
    }

    /// Takes what `origin` said away again.
    pub fn subtract(&mut self, origin: &PeerId, sum: u128) {
        self.change(origin, |old| old.wrapping_sub(sum));
    }

    fn change(&mut self, origin: &PeerId, change: impl Fn(u128) -> u128) {
        self.total = change(self.total);
        let bucket = &mut self.buckets[usize::from(origin.0[0])];
        *bucket = change(*bucket);
    }

    /// The sum over everything.
    pub fn total(&self) -> u128 {
        self.total
    }

    /// The sum over the part that `node` is; `None` for one that is smaller than what sums are kept for.
    pub fn of(&self, node: Node) -> Option<u128> {
        let (first, last) = node.bytes()?;
        let part = self.buckets.get(usize::from(first)..=usize::from(last))?;
        Some(part.iter().fold(0, |sum, bucket| sum.wrapping_add(*bucket)))
    }
}

impl Node {
    /// Everything.
    pub const ROOT: Self = Self {
        depth: 0,
        prefix: 0,
    };

    /// The part whose identities begin with the last `depth` half-bytes of `prefix`; none for one that cannot be divided.
    pub fn new(depth: u8, prefix: u16) -> Option<Self> {
        let fits = u32::from(prefix) < 1 << (4 * u32::from(depth.min(MAX_DEPTH)));
        (depth <= MAX_DEPTH && fits).then_some(Self { depth, prefix })
    }

    /// How many half-bytes its identities share.
    pub fn depth(self) -> u8 {
        self.depth
    }

    /// Those half-bytes.
    pub fn prefix(self) -> u16 {
        self.prefix
    }

    /// Its 16 parts, in order.
    pub fn children(self) -> impl Iterator<Item = Self> {
        (0..16).map(move |n| Self {
            depth: self.depth + 1,
            prefix: self.prefix << 4 | n,
        })
    }

    /// Whether it has parts that can be told to others.
    pub fn is_divisible(self) -> bool {
        self.depth <= MAX_DEPTH
    }

    /// The lowest and the highest identity in it.
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

    /// First and last first byte, if it is a union of parts with the same first byte.
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
