//! Proxy ARP/ND table: IP and MAC addresses of containers, as announced by their routers.
//!
//! The control plane fills it from records. Lanes use it to send ARP requests and neighbour solicitations only to the
//! container with the address ([`resolution`]), and to find a MAC that the MAC table does not have. This corresponds to
//! unicast forwarding in the proxy ARP/ND of EVPN (RFC 9161). Nothing is answered from the table: a record may be
//! outdated, and only an answer of the container itself shows that it is there.
//!
//! Learnt addresses take precedence over records. If an owner does not answer, or another MAC is seen for an address,
//! requests for it are flooded, also to the owner, until the owner is heard again.

mod evidence;
mod recent;
pub mod resolution;
mod table;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::fdb::Owner;
use crate::ids::Mac;
use crate::limits;
use crate::shared_room::RoomShare;
use crate::time::Instant;
use evidence::{Doubt, Evidence};
use table::BindingTable;

/// Address of a container, as announced by its router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// IP address.
    pub ip: IpAddr,
    /// MAC address of the interface.
    pub mac: Mac,
    /// MAC mobility sequence number: moves to another router so far. Of two bindings of one MAC, the higher number
    /// wins.
    pub moves: u32,
}

/// Location of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Router, or local port.
    pub owner: Owner,
    /// MAC address.
    pub mac: Mac,
}

/// Address that several routers announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// IP address.
    pub ip: IpAddr,
    /// Location announced by each router, in the order of owners.
    pub locations: Vec<Location>,
}

/// Bounds of a table; [`limits`] by default, lower in tests.
#[derive(Clone, Copy, Debug)]
pub struct ArpProxyLimits {
    /// Bindings in total; if those of a router do not fit, none of them is stored.
    pub bindings: usize,
    /// Addresses under doubt at once.
    pub doubted: usize,
    /// Requests waiting for an answer at once.
    pub asked: usize,
}

impl Default for ArpProxyLimits {
    fn default() -> Self {
        Self {
            bindings: limits::MAX_CLAIMS,
            doubted: limits::MAX_DOUBTED,
            asked: limits::MAX_UNANSWERED,
        }
    }
}

/// Bindings that all reachable routers announce, and doubts about them.
#[derive(Debug)]
pub struct ArpProxy {
    table: RwLock<BindingTable>,
    evidence: Mutex<Evidence>,
}

impl Default for ArpProxy {
    fn default() -> Self {
        Self::with_limits(ArpProxyLimits::default())
    }
}

impl ArpProxy {
    /// Creates an empty table with other bounds.
    pub fn with_limits(limits: ArpProxyLimits) -> Self {
        Self::sharing(limits, RoomShare::alone())
    }

    /// Creates an empty table whose bindings are also bounded by `share`.
    pub(crate) fn sharing(limits: ArpProxyLimits, share: RoomShare) -> Self {
        Self {
            table: RwLock::new(BindingTable::new(limits, share)),
            evidence: Mutex::new(Evidence::new(limits)),
        }
    }

    /// Replaces the bindings of `owner`; an empty list removes it. Returns false if there is no room: then `owner` has
    /// no bindings.
    pub fn set(&self, owner: Owner, bindings: Vec<Binding>, now: Instant) -> bool {
        let Some(news) = self.write().set(owner, bindings, now) else {
            return false;
        };
        let mut evidence = self.evidence();
        news.into_iter().for_each(|ip| evidence.forget(ip));
        true
    }

    /// Replaces the rightful owners of contested addresses.
    pub fn settle(&self, rightful: BTreeMap<IpAddr, Owner>) {
        let is_same = self.read().is_settled(&rightful);
        if !is_same {
            self.write().settle(rightful);
        }
    }

    /// Returns the location of `ip`; `None` if it is not announced, under doubt, or announced by several routers
    /// without a clear winner.
    pub fn locate(&self, ip: IpAddr, now: Instant) -> Option<Location> {
        let location = self.read().locate(ip, now)?;
        (!self.evidence().is_doubted(ip, now)).then_some(location)
    }

    /// Returns the owner of `mac`; `None` if it is not announced, or announced by several routers without a clear
    /// winner.
    pub fn owner(&self, mac: Mac, now: Instant) -> Option<Owner> {
        self.read().owner(mac, now)
    }

    /// Returns the winning binding of `mac`: its owner and the sequence number. Between equal ones, the first owner
    /// wins.
    pub fn binding_of(&self, mac: Mac) -> Option<(Owner, u32)> {
        self.read().binding_of(mac)
    }

    /// Returns the MACs that `owner` announces, with their sequence numbers.
    pub fn announced_by(&self, owner: Owner) -> impl Iterator<Item = (Mac, u32)> {
        self.read().announced_by(owner).into_iter()
    }

    /// Returns the first `limit` addresses that several routers announce for longer than a move takes.
    pub fn contests(&self, limit: usize, now: Instant) -> Vec<Contest> {
        self.read().contests(limit, now)
    }

    /// Returns the addresses that several routers announce.
    pub fn contested(&self) -> Vec<IpAddr> {
        self.read().contested()
    }

    /// Marks `mac` as flapping: requests for its addresses are flooded for [`limits::CONTRADICTED_FOR`], or until
    /// another announcement of them.
    pub fn doubt(&self, mac: Mac, now: Instant) {
        let addresses = self.read().addresses_at(mac);
        let mut evidence = self.evidence();
        for ip in addresses {
            evidence.doubt(ip, Doubt::Flapping, now);
        }
    }

    /// Learns from a frame of `owner` that `ip` is at `mac`. Returns true if this contradicts the announcement.
    pub fn saw(&self, ip: IpAddr, (owner, mac): (Owner, Mac), now: Instant) -> bool {
        let Some(location) = self.read().locate(ip, now) else {
            return false;
        };
        let contradicts = location.mac != mac;
        // Requests for addresses behind the local port are not directed.
        if location.owner != Owner::Local {
            if contradicts {
                self.evidence().doubt(ip, Doubt::Contradicted, now);
            } else if location.owner == owner {
                self.evidence().heard(ip);
            }
        }
        contradicts
    }

    /// Records a request of `asker` for an address with a [`ArpProxy::locate`]. Returns false if it is to be
    /// flooded, because the owner did not answer the same asker before.
    pub fn ask(&self, ip: IpAddr, asker: Mac, now: Instant) -> bool {
        self.evidence().ask(ip, asker, now)
    }

    /// Drops outdated evidence. To be called from time to time.
    pub fn sweep(&self, now: Instant) {
        self.evidence().sweep(now);
    }

    /// Returns the number of bindings.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Returns true if there are no bindings.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> RwLockReadGuard<'_, BindingTable> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BindingTable> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn evidence(&self) -> MutexGuard<'_, Evidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
