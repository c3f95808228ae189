//! What routers announce of their containers: which address lives at which MAC, behind which router.
//!
//! The control plane fills it from records; lanes read it to send ARP requests and neighbour solicitations to the one
//! container they are for ([`question`]), and to find a MAC that the MAC table does not know. Nothing is answered from
//! it: a record is a statement, and only the answer of who has the address shows that it is still true.
//!
//! What frames show is believed before what records say. An owner that does not answer, and an address that somebody else
//! says it has, are doubted: then everybody is asked, the owner included, until the owner is heard again.

mod evidence;
pub mod question;
mod recent;
mod table;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::fdb::Owner;
use crate::ids::Mac;
use crate::limits;
use crate::time::Instant;
use evidence::{Doubt, Evidence};
use table::Table;

/// One address of a container, as its router announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The address.
    pub ip: IpAddr,
    /// The MAC of the interface that has it.
    pub mac: Mac,
    /// How often the MAC moved to another router; of two claims of one MAC the one with more moves is right.
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

/// An address that several routers announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// The address.
    pub ip: IpAddr,
    /// What each of them says, in the order of owners.
    pub places: Vec<Place>,
}

/// The bounds of a table; the defaults are those of [`limits`], tests take smaller ones.
#[derive(Clone, Copy, Debug)]
pub struct AnnouncedLimits {
    /// Claims in all; of a router for whose claims there is no room none is taken.
    pub claims: usize,
    /// Addresses that are doubted at once.
    pub doubted: usize,
    /// Questions whose answers are waited for at once.
    pub asked: usize,
}

impl Default for AnnouncedLimits {
    fn default() -> Self {
        Self {
            claims: limits::MAX_CLAIMS,
            doubted: limits::MAX_DOUBTED,
            asked: limits::MAX_UNANSWERED,
        }
    }
}

/// What all routers within reach announce.
#[derive(Debug)]
pub struct Announcements {
    table: RwLock<Table>,
    evidence: Mutex<Evidence>,
}

impl Default for Announcements {
    fn default() -> Self {
        Self::with_limits(AnnouncedLimits::default())
    }
}

impl Announcements {
    /// An empty table with other bounds.
    pub fn with_limits(limits: AnnouncedLimits) -> Self {
        Self {
            table: RwLock::new(Table::new(limits)),
            evidence: Mutex::new(Evidence::new(limits)),
        }
    }

    /// Replaces what `owner` announces; nothing means that it is gone. False when there is no room: then nothing of it is known.
    pub fn set(&self, owner: Owner, claims: Vec<Claim>, now: Instant) -> bool {
        let Some(news) = self.write().set(owner, claims, now) else {
            return false;
        };
        let mut evidence = self.evidence();
        news.into_iter().for_each(|ip| evidence.forget(ip));
        true
    }

    /// Sets the rightful owners of contested addresses; replaces what was said before.
    pub fn settle(&self, rightful: BTreeMap<IpAddr, Owner>) {
        let is_same = self.read().is_settled(&rightful);
        if !is_same {
            self.write().settle(rightful);
        }
    }

    /// Where `ip` lives; `None` when nobody announces it, when it is doubted, and when several routers announce it and it
    /// is not clear who is right.
    pub fn place(&self, ip: IpAddr, now: Instant) -> Option<Place> {
        let place = self.read().place(ip, now)?;
        (!self.evidence().is_doubted(ip, now)).then_some(place)
    }

    /// The router behind which `mac` lives; `None` when nobody announces it, and when it is not clear which of several routers is right.
    pub fn owner(&self, mac: Mac, now: Instant) -> Option<Owner> {
        self.read().owner(mac, now)
    }

    /// The claim about `mac` that counts: whose it is, and how often the MAC moved. Of two that count equally the first owner's.
    pub fn claim_of(&self, mac: Mac) -> Option<(Owner, u32)> {
        self.read().claim_of(mac)
    }

    /// The MACs that `owner` announces, with how often each moved.
    pub fn said_by(&self, owner: Owner) -> impl Iterator<Item = (Mac, u32)> {
        self.read().said_by(owner).into_iter()
    }

    /// The first `limit` addresses that several routers announce, for longer than a move takes.
    pub fn contests(&self, limit: usize, now: Instant) -> Vec<Contest> {
        self.read().contests(limit, now)
    }

    /// Addresses that several routers announce.
    pub fn contested(&self) -> Vec<IpAddr> {
        self.read().contested()
    }

    /// Everybody is asked for the addresses at `mac` for [`limits::CONTRADICTED_FOR`], or until they are announced again
    /// by somebody else: it moves too often.
    pub fn doubt(&self, mac: Mac, now: Instant) {
        let addresses = self.read().addresses_at(mac);
        let mut evidence = self.evidence();
        for ip in addresses {
            evidence.doubt(ip, Doubt::Flapping, now);
        }
    }

    /// Notes that a frame from behind `owner` says that `ip` lives at `mac`. True when that contradicts what is announced.
    pub fn saw(&self, ip: IpAddr, (owner, mac): (Owner, Mac), now: Instant) -> bool {
        let Some(place) = self.read().place(ip, now) else {
            return false;
        };
        let contradicts = place.mac != mac;
        // Of what is behind the local port nobody is asked here.
        if place.owner != Owner::Local {
            if contradicts {
                self.evidence().doubt(ip, Doubt::Contradicted, now);
            } else if place.owner == owner {
                self.evidence().heard(ip);
            }
        }
        contradicts
    }

    /// Notes that `asker` asks for an address that has a [`Announcements::place`]. False when its owner did not answer the
    /// same asker: then everybody is to be asked.
    pub fn ask(&self, ip: IpAddr, asker: Mac, now: Instant) -> bool {
        self.evidence().ask(ip, asker, now)
    }

    /// Forgets what is old. To be called now and then.
    pub fn sweep(&self, now: Instant) {
        self.evidence().sweep(now);
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

    fn evidence(&self) -> MutexGuard<'_, Evidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
