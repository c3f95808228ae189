//! What routers announce of their containers: which address lives at which MAC, behind which router.
//!
//! The control plane fills it from records; lanes read it to answer ARP and neighbour solicitations ([`answer`]) and to
//! find a MAC that the MAC table does not know. One lock, taken for reading only by lanes, and only for such frames.
//!
//! Records may be wrong about a container that changed its addresses itself. What is seen to contradict them is believed:
//! then nothing is answered for that address, and who asks is answered by whoever has it ([`limits::CONTRADICTED_FOR`]).

pub mod answer;
mod table;

use std::net::IpAddr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::fdb::Owner;
use crate::ids::Mac;
use crate::limits;
use crate::time::Instant;
use table::Table;

/// One address of a container, as its router announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The address.
    pub ip: IpAddr,
    /// The MAC of the interface that has it.
    pub mac: Mac,
    /// How often the MAC moved to another router; of two claims the one with more moves is right.
    pub moves: u32,
}

/// Where an address lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Behind whom.
    pub owner: Owner,
    /// At which MAC.
    pub mac: Mac,
}

/// The bounds of a table; the defaults are those of [`limits`], tests take smaller ones.
#[derive(Clone, Copy, Debug)]
pub struct AnnouncedLimits {
    /// Claims in all; of a router for whose claims there is no room none is taken.
    pub claims: usize,
    /// Addresses that are contradicted at once.
    pub contradicted: usize,
}

impl Default for AnnouncedLimits {
    fn default() -> Self {
        Self {
            claims: limits::MAX_CLAIMS,
            contradicted: limits::MAX_CONTRADICTED,
        }
    }
}

/// What all routers within reach announce.
#[derive(Debug, Default)]
pub struct Announcements {
    table: RwLock<Table>,
}

impl Announcements {
    /// An empty table with other bounds.
    pub fn with_limits(limits: AnnouncedLimits) -> Self {
        Self {
            table: RwLock::new(Table::new(limits)),
        }
    }

    /// Replaces what `owner` announces; nothing means that it is gone. False when there is no room: then nothing of it is known.
    pub fn set(&self, owner: Owner, claims: Vec<Claim>) -> bool {
        self.write().set(owner, claims)
    }

    /// Where `ip` lives; `None` when nobody announces it, when it is contradicted, and when two routers announce it equally.
    pub fn place(&self, ip: IpAddr, now: Instant) -> Option<Place> {
        self.read().place(ip, now)
    }

    /// Behind whom `mac` lives; `None` when nobody announces it, and when two routers announce it equally.
    pub fn owner(&self, mac: Mac) -> Option<Owner> {
        self.read().owner(mac)
    }

    /// The claim about `mac` that counts: whose it is, and how often the MAC moved. Of two that count equally the first owner's.
    pub fn claim_of(&self, mac: Mac) -> Option<(Owner, u32)> {
        self.read().claim_of(mac)
    }

    /// The MACs that `owner` announces, with how often each moved.
    pub fn said_by(&self, owner: Owner) -> impl Iterator<Item = (Mac, u32)> {
        self.read().said_by(owner).into_iter()
    }

    /// Nothing is answered for the addresses at `mac` for [`limits::CONTRADICTED_FOR`], or until they are announced anew
    /// by somebody else: it moves too often.
    pub fn doubt(&self, mac: Mac, now: Instant) {
        self.write().doubt(mac, now);
    }

    /// Notes that somebody says that `ip` lives at `mac`. True when that contradicts what is announced.
    pub fn saw(&self, ip: IpAddr, mac: Mac, now: Instant) -> bool {
        let table = self.read();
        if table.agrees(ip, mac) {
            return false;
        }
        let is_noted = table.is_freshly_contradicted(ip, now);
        drop(table);
        if !is_noted {
            self.write().contradict(ip, now);
        }
        true
    }

    /// Forgets contradictions that are old. To be called now and then.
    pub fn sweep(&self, now: Instant) {
        if self.read().has_old(now) {
            self.write().forget_old(now);
        }
    }

    /// Number of claims.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
