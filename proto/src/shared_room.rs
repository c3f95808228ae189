//! Room for table entries that several networks share, so that their tables are bounded together.
//!
//! Each table has some entries in any case, and takes room for more from what all share. So the tables of one network
//! cannot take the room of another one away, and all together stay within the bound.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

/// Entries that the tables of several networks may have beyond those that each has in any case.
#[derive(Debug)]
pub(crate) struct SharedRoom {
    left: AtomicUsize,
}

/// Room of one table.
#[derive(Debug)]
pub(crate) struct RoomShare {
    /// Entries that the table may have in any case.
    sure: usize,
    /// Room for more; `None`: the table shares with no other, and is bounded elsewhere.
    shared: Option<Arc<SharedRoom>>,
    taken: usize,
}

impl SharedRoom {
    /// Creates room for `entries`.
    pub(crate) fn new(entries: usize) -> Arc<Self> {
        let left = AtomicUsize::new(entries);
        Arc::new(Self { left })
    }

    fn take(&self, entries: usize) -> bool {
        let less = |left: usize| left.checked_sub(entries);
        self.left.fetch_update(Relaxed, Relaxed, less).is_ok()
    }

    fn give_back(&self, entries: usize) {
        self.left.fetch_add(entries, Relaxed);
    }
}

impl RoomShare {
    /// Creates the room of a table that shares with no other.
    pub(crate) fn alone() -> Self {
        Self {
            sure: usize::MAX,
            shared: None,
            taken: 0,
        }
    }

    /// Creates the room of a table that may have `sure` entries in any case, and more from `shared`.
    pub(crate) fn of(shared: &Arc<SharedRoom>, sure: usize) -> Self {
        Self {
            sure,
            shared: Some(shared.clone()),
            taken: 0,
        }
    }

    /// Adjusts to a table of `entries`. Returns false, and changes nothing, if there is no room.
    pub(crate) fn resize(&mut self, entries: usize) -> bool {
        let Some(shared) = &self.shared else {
            return true;
        };
        let needed = entries.saturating_sub(self.sure);
        if needed > self.taken && !shared.take(needed - self.taken) {
            return false;
        }
        shared.give_back(self.taken.saturating_sub(needed));
        self.taken = needed;
        true
    }
}

impl Drop for RoomShare {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.give_back(self.taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_sure_room_and_all_share_the_rest() {
        let shared = SharedRoom::new(10);
        let [mut a, mut b] = [0; 2].map(|_| RoomShare::of(&shared, 4));
        assert!(a.resize(14) && !a.resize(15));
        assert!(b.resize(4) && !b.resize(5));
        assert!(a.resize(12) && b.resize(6) && !b.resize(7));
        drop(a);
        assert!(b.resize(14) && !b.resize(15));
        assert!(b.resize(0));
        assert_eq!(shared.left.load(Relaxed), 10);
        assert!(RoomShare::alone().resize(usize::MAX));
    }
}
