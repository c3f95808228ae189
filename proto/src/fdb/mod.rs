//! Forwarding database (MAC table): the owner, local port or peer, behind which each MAC address is.
//!
//! It is shared by the lanes and the control plane behind one lock; refreshing a known address takes the lock for
//! reading only. Senders of frames choose the source addresses, so the hash is keyed and the table is bounded, per
//! owner and in total: a full owner replaces its own oldest address, a full table the oldest address of the owner
//! that has the most. So a flood of addresses affects only the addresses behind the same owner. The tables of networks
//! other than `default` are bounded together, too, and each has some room in any case.

mod table;

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::entropy::Entropy;
use crate::ids::{Mac, PeerId};
use crate::limits;
use crate::shared_room::RoomShare;
use crate::time::Instant;
use table::MacTable;

/// Location of a MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The local port.
    Local,
    /// Another router.
    Peer(PeerId),
}

/// Result of learning a source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learn {
    /// The address was added.
    New,
    /// The address was known behind this owner.
    Same,
    /// The address moved; it was behind this owner before.
    Moved(Owner),
    /// The address moves too often, and stays where it is for [`limits::FDB_HOLD`].
    Damped,
    /// The frame was sent before the address moved away from there; the address stays where it is now.
    Late,
    /// The address was added in place of an older one, because its owner or the table was full.
    Full,
    /// A group address, which is no valid source; nothing was learnt.
    Group,
}

/// Bounds of a table; [`limits`] by default, lower in tests.
#[derive(Clone, Copy, Debug)]
pub struct FdbLimits {
    /// Addresses in total.
    pub total: usize,
    /// Addresses behind one owner.
    pub per_owner: usize,
}

impl Default for FdbLimits {
    fn default() -> Self {
        Self {
            total: limits::MAX_FDB,
            per_owner: limits::MAX_FDB_PER_OWNER,
        }
    }
}

/// Entry of the table, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FdbEntry {
    /// MAC address.
    pub mac: Mac,
    /// Owner of the address.
    pub owner: Owner,
    /// Time since the address was last seen, accurate to about a second.
    pub idle: Duration,
}

/// MAC table of a router.
#[derive(Debug)]
pub struct Fdb {
    table: RwLock<MacTable>,
    /// Incremented with every change of ownership.
    changes: AtomicU64,
}

impl Fdb {
    /// Creates an empty table; its hash key is drawn from `entropy`.
    pub fn new(entropy: &mut dyn Entropy) -> Self {
        Self::with_limits(entropy, FdbLimits::default())
    }

    /// Creates an empty table with other bounds, each at least 1.
    pub fn with_limits(entropy: &mut dyn Entropy, limits: FdbLimits) -> Self {
        Self::sharing(entropy, limits, RoomShare::alone())
    }

    /// Creates an empty table whose room is also bounded by `share`, which has room for one address at least.
    pub(crate) fn sharing(entropy: &mut dyn Entropy, limits: FdbLimits, share: RoomShare) -> Self {
        let key = [entropy.u64(), entropy.u64()];
        Self {
            table: RwLock::new(MacTable::new(key, limits, share)),
            changes: AtomicU64::new(0),
        }
    }

    /// Learns from a frame that `mac` is behind `owner`.
    pub fn learn(&self, mac: Mac, owner: Owner, now: Instant) -> Learn {
        if mac.is_group() {
            return Learn::Group;
        }
        if self.read().refresh(mac, owner, now) {
            return Learn::Same;
        }
        self.write().learn(mac, owner, now)
    }

    /// Returns true if `mac` had moved more than [`limits::FLAP_MOVES`] times within [`limits::FLAP_WINDOW`] at its
    /// last move.
    pub fn flaps(&self, mac: Mac) -> bool {
        self.read().flaps(mac)
    }

    /// Returns the owner of `mac`; `None` if it is unknown or was not seen for [`limits::FDB_AGE`].
    pub fn lookup(&self, mac: Mac, now: Instant) -> Option<Owner> {
        self.read().lookup(mac, now)
    }

    /// Removes all addresses behind `owner`, and returns their number.
    pub fn forget_owner(&self, owner: Owner) -> usize {
        self.write().forget_owner(owner)
    }

    /// Removes one address. Returns true if it was known.
    pub fn forget(&self, mac: Mac) -> bool {
        self.write().remove(mac)
    }

    /// Removes addresses not seen for [`limits::FDB_AGE`], and returns their number. To be called from time to time.
    pub fn sweep(&self, now: Instant) -> usize {
        let expired = self.read().expired(now);
        if expired.is_empty() {
            return 0;
        }
        let mut table = self.write();
        expired
            .into_iter()
            .filter(|mac| table.lookup(*mac, now).is_none() && table.remove(*mac))
            .count()
    }

    /// Updates the age of `mac` if it is behind `owner`. Returns true if it is.
    pub fn refresh(&self, mac: Mac, owner: Owner, now: Instant) -> bool {
        self.read().refresh(mac, owner, now)
    }

    /// Returns a number that changes whenever the table may have changed, other than in ages.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// Returns the number of addresses, expired ones included until they are swept.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Returns true if the table is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns all entries, in ascending order of addresses.
    pub fn snapshot(&self, now: Instant) -> Vec<FdbEntry> {
        let mut entries = self.read().entries(now);
        entries.sort_unstable();
        entries
    }

    fn read(&self) -> RwLockReadGuard<'_, MacTable> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, MacTable> {
        let table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        // Incremented under the lock: a reader that sees the new number and then reads the table waits for the
        // change.
        self.changes.fetch_add(1, Relaxed);
        table
    }
}

#[cfg(test)]
mod tests;
