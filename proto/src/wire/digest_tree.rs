//! Places in the digest tree of anti-entropy, as routers name them to each other.

use crate::ids::PeerId;

/// Children of a [`DigestNode`].
pub const CHILDREN: usize = 16;
/// Depth of the deepest [`DigestNode`] that has children, in half-bytes of the identity that its routers share.
pub const MAX_DEPTH: u8 = 3;

/// Node of the digest tree: all identities with the same first half-bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DigestNode {
    depth: u8,
    prefix: u16,
}

impl DigestNode {
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
    pub(crate) fn bytes(self) -> Option<(u8, u8)> {
        let (first, last) = self.range();
        (self.depth <= 2).then_some((first.0[0], last.0[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_node_cover_it() {
        let mut nodes = vec![DigestNode::ROOT];
        for _ in 0..400 {
            let Some(node) = nodes.pop() else { break };
            assert_eq!(DigestNode::new(node.depth(), node.prefix()), Some(node));
            let (first, last) = node.range();
            let parts: Vec<_> = node.children().map(DigestNode::range).collect();
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
        assert_eq!(
            DigestNode::ROOT.range(),
            (PeerId([0; 16]), PeerId([0xff; 16]))
        );
        assert_eq!(DigestNode::new(4, 0), None);
        assert_eq!(DigestNode::new(1, 16), None);
        assert_eq!(DigestNode::new(0, 1), None);
    }
}
