//! Allocation of session indices, each owned by one peer.

use std::collections::BTreeMap;

use crate::entropy::Entropy;
use crate::ids::{PeerId, SessionIndex};

/// Indices in use: for each session those of its previous and current keys, and up to
/// [`crate::limits::KEPT_ATTEMPTS`] each of answered and begun handshakes.
#[derive(Default)]
pub(super) struct Indices {
    owners: BTreeMap<SessionIndex, PeerId>,
}

impl Indices {
    /// Allocates an unused index other than 0 for `peer`.
    pub(super) fn allocate(&mut self, peer: PeerId, entropy: &mut dyn Entropy) -> SessionIndex {
        let mut raw = [0; 4];
        entropy.fill(&mut raw);
        let mut index = SessionIndex(u32::from_be_bytes(raw));
        // Terminates: far fewer indices are in use than there are numbers.
        while index.0 == 0 || self.owners.contains_key(&index) {
            index.0 = index.0.wrapping_add(1);
        }
        self.owners.insert(index, peer);
        index
    }

    pub(super) fn release(&mut self, index: SessionIndex) {
        self.owners.remove(&index);
    }

    pub(super) fn owner(&self, index: SessionIndex) -> Option<PeerId> {
        self.owners.get(&index).copied()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always(u8);

    impl Entropy for Always {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }

    #[test]
    fn taken_and_zero_indices_are_skipped() {
        let mut indices = Indices::default();
        let peer = PeerId([1; 16]);
        assert_eq!(indices.allocate(peer, &mut Always(0)), SessionIndex(1));
        assert_eq!(indices.allocate(peer, &mut Always(0)), SessionIndex(2));
        let last = indices.allocate(peer, &mut Always(0xff));
        assert_eq!(last, SessionIndex(u32::MAX));
        assert_eq!(indices.allocate(peer, &mut Always(0xff)), SessionIndex(3));
        indices.release(SessionIndex(2));
        assert_eq!(indices.owner(SessionIndex(2)), None);
        assert_eq!(indices.owner(SessionIndex(3)), Some(peer));
        assert_eq!(indices.len(), 3);
    }
}
