//! The MAC table: behind which owner a MAC address lives.
//!
//! Shared between lanes and control behind one lock: refreshing a known address takes it for reading only. Whoever
//! sends frames chooses their source addresses, so the hash is keyed and the table is bounded, per owner and in all:
//! an owner that is full replaces its own oldest address, a table that is full replaces the oldest address of the
//! owner that has the most. A flood of addresses therefore costs those who share an owner with it, nobody else.

mod table;

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::entropy::Entropy;
use crate::ids::{Mac, PeerId};
use crate::limits;
use crate::time::Instant;
use table::Table;

/// Behind whom a MAC lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The local port.
    Local,
    /// Another router.
    Peer(PeerId),
}

/// What became of a source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learn {
    /// It is known from now on.
    New,
    /// It was known there already.
    Same,
    /// It lived behind the owner named here until now.
    Moved(Owner),
    /// It moves too often and keeps its place for [`limits::FDB_HOLD`].
    Damped,
    /// It was sent before the address moved away from there: the address stays where it is now.
    Late,
    /// It is known from now on, in the place of an older one: its owner or the table is full.
    Full,
    /// It is a group address, which cannot be a source; nothing was learnt.
    Group,
}

/// The bounds of a table; the defaults are those of [`limits`], tests take smaller ones.
#[derive(Clone, Copy, Debug)]
pub struct FdbLimits {
    /// Addresses in all.
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

/// One address, as the report shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FdbEntry {
    /// The address.
    pub mac: Mac,
    /// Behind whom it lives.
    pub owner: Owner,
    /// How long ago it was seen, to a second or so.
    pub idle: Duration,
}

/// The MAC table of a router.
#[derive(Debug)]
pub struct Fdb {
    table: RwLock<Table>,
    /// Raised with every change of who owns what.
    changes: AtomicU64,
}

impl Fdb {
    /// An empty table; its hash key comes from `entropy`.
    pub fn new(entropy: &mut dyn Entropy) -> Self {
        Self::with_limits(entropy, FdbLimits::default())
    }

    /// An empty table with other bounds; both are at least 1.
    pub fn with_limits(entropy: &mut dyn Entropy, limits: FdbLimits) -> Self {
        Self {
            table: RwLock::new(Table::new([entropy.u64(), entropy.u64()], limits)),
            changes: AtomicU64::new(0),
        }
    }

    /// Notes that a frame from `mac` came from `owner`.
    pub fn learn(&self, mac: Mac, owner: Owner, now: Instant) -> Learn {
        if mac.is_group() {
            return Learn::Group;
        }
        if self.read().refresh(mac, owner, now) {
            return Learn::Same;
        }
        self.write().learn(mac, owner, now)
    }

    /// Whether `mac` moved more than [`limits::FLAP_MOVES`] times within [`limits::FLAP_WINDOW`] when it moved last.
    pub fn flaps(&self, mac: Mac) -> bool {
        self.read().flaps(mac)
    }

    /// Behind whom `mac` lives; `None` when it is unknown or was not seen for [`limits::FDB_AGE`].
    pub fn lookup(&self, mac: Mac, now: Instant) -> Option<Owner> {
        self.read().lookup(mac, now)
    }

    /// Forgets every address behind `owner`; returns how many those were.
    pub fn forget_owner(&self, owner: Owner) -> usize {
        self.write().forget_owner(owner)
    }

    /// Forgets one address, wherever it lives; true when it was known.
    pub fn forget(&self, mac: Mac) -> bool {
        self.write().remove(mac)
    }

    /// Forgets addresses not seen for [`limits::FDB_AGE`]; returns how many those were. To be called now and then.
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

    /// Notes that `mac` was seen, if it lives behind `owner`; true when it does.
    pub fn refresh(&self, mac: Mac, owner: Owner, now: Instant) -> bool {
        self.read().refresh(mac, owner, now)
    }

    /// A number that differs from an earlier one if the table may have changed since, other than in ages.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// Number of addresses in the table, aged ones included until they are swept.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All addresses, in ascending order.
    pub fn snapshot(&self, now: Instant) -> Vec<FdbEntry> {
        let mut entries = self.read().entries(now);
        entries.sort_unstable();
        entries
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        let table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: whoever sees the number and reads the table then waits for the change.
        self.changes.fetch_add(1, Relaxed);
        table
    }
}

#[cfg(test)]
mod tests;
