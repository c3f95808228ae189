//! Names of containers, and the answers of DNS about them.
//!
//! Each router states the names of its own host ([`LocalNames::statement`]); the statements are records of a topic of
//! their own, signed, each replaced as a whole by a newer one ([`Names::handle_statement`]). So nothing has to be deleted,
//! no clock has to agree with another, and a router that was cut off brings nothing back that ended meanwhile. Names of
//! a router that cannot be reached are not shown, from the moment that is known ([`Names::set_reachable`]).
//!
//! Several containers, on any hosts, may have one name: it leads to all of their addresses. That is a feature, and it
//! means that a member of the mesh can add itself to a name of another; [`Names::zone`] says who states what.
//!
//! [`answer`] turns a query into an answer; what is not ours to answer it hands to the caller, as a [`Forwarded`] query
//! for other servers.

mod answer;
mod forward;
mod local;
mod name;
mod query;
mod resolv;
mod statement;
mod subject;
mod write;
mod zone;

pub use answer::{Settings, Verdict, answer};
pub use forward::{Forwarded, Judgement};
pub use local::{AddError, Added, Container, Kept, LocalNames};
pub use name::{Domain, MeshName, NameError};
pub use query::Way;
pub use resolv::{Upstreams, options, search_domains, upstreams};
pub use statement::{Entry, Port, StatementError, Transport, decode};
pub use zone::{Held, Zone};

use core::net::IpAddr;
use std::collections::BTreeSet;

use crate::ids::{PeerId, Version};
use crate::limits::NAMES_SETTLE;
use crate::time::Instant;

/// All names of the mesh, as far as it can be reached, and whether there may be more.
#[derive(Debug)]
pub struct Names {
    me: PeerId,
    zone: Zone,
    /// Number of the own statement; it is in the view before it is carried anywhere.
    changes: u64,
    /// Until when names that are not there may only be unknown yet.
    settles: Instant,
    refused: u64,
    /// Single labels of which nobody else is asked.
    denied: BTreeSet<MeshName>,
    /// Addresses of containers of this host, with a name or without.
    here: BTreeSet<IpAddr>,
}

impl Names {
    /// The names known to a router that starts now: none.
    pub fn new(me: PeerId, now: Instant) -> Self {
        let mut names = Self {
            me,
            zone: Zone::default(),
            changes: 0,
            settles: now + NAMES_SETTLE,
            refused: 0,
            denied: BTreeSet::new(),
            here: BTreeSet::new(),
        };
        names.zone.set_reachable(me, true);
        names
    }

    /// Replaces what this router states itself ([`LocalNames::entries`]). Returns whether the view changed.
    pub fn set_own(&mut self, entries: Vec<Entry>) -> bool {
        self.changes += 1;
        let version = Version {
            epoch: 0,
            seq: self.changes,
        };
        // There is always room for the own ones.
        self.zone
            .replace(self.me, version, entries, true)
            .unwrap_or_default()
    }

    /// Replaces the names that are not to be found elsewhere either ([`LocalNames::denied`]).
    pub fn deny(&mut self, denied: BTreeSet<MeshName>) {
        self.denied = denied;
    }

    /// Replaces the addresses that containers of this host have in the mesh, with a name or without: of their names nobody
    /// else knows the truth.
    pub fn set_here(&mut self, addresses: BTreeSet<IpAddr>) {
        self.here = addresses;
    }

    /// Whether a container of this host has this address in the mesh.
    pub fn is_here(&self, ip: IpAddr) -> bool {
        self.here.contains(&ip)
    }

    pub(crate) fn denied(&self) -> &BTreeSet<MeshName> {
        &self.denied
    }

    /// Takes what another router states; nothing at all, if it took that back. `version` is that of what carried it; one
    /// that is not newer changes nothing. Returns whether the view changed.
    ///
    /// # Errors
    /// [`StatementError`]; the origin then has no names here, as what it said before is not true any more.
    pub fn handle_statement(
        &mut self,
        origin: PeerId,
        version: Version,
        bytes: &[u8],
    ) -> Result<bool, StatementError> {
        if origin == self.me {
            return Ok(false);
        }
        let (entries, error) = match decode(bytes) {
            Ok(entries) => (entries, None),
            Err(_) if bytes.is_empty() => (Vec::new(), None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let result = self.zone.replace(origin, version, entries, false);
        match error.map_or(result, Err) {
            Ok(changed) => Ok(changed),
            Err(error) => {
                self.refused += 1;
                Err(error)
            }
        }
    }

    /// Says whether a router can be reached: its names are shown while it can. Returns whether the view changed.
    pub fn set_reachable(&mut self, origin: PeerId, is_reachable: bool) -> bool {
        origin != self.me && self.zone.set_reachable(origin, is_reachable)
    }

    /// Forgets a router of which no record is kept any more. Returns whether the view changed.
    pub fn forget(&mut self, origin: &PeerId) -> bool {
        *origin != self.me && self.zone.forget(origin)
    }

    /// Says that all names that can be known are: there is nobody to wait for, or all neighbours have told.
    pub fn settle(&mut self) {
        self.settles = Instant::ZERO;
    }

    /// Whether a name that is not there is none; else it may come within the first
    /// [`NAMES_SETTLE`] after the start.
    pub fn is_settled(&self, now: Instant) -> bool {
        now >= self.settles
    }

    /// The merged view.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Statements of others that were not taken.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests;
