//! Names of containers, and the answers of DNS about them.
//!
//! Each router states the names of its own host ([`Names::statement`]); the statements are carried with the routers'
//! records, signed, each replaced as a whole by a newer one ([`Names::handle_statement`]). So nothing has to be deleted,
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

use std::collections::BTreeSet;

use core::net::IpAddr;

pub use answer::{Settings, Verdict, answer};
pub use forward::{Forwarded, Judgement};
pub use local::{AddError, Added, Container, Kept, LocalNames};
pub use name::{Domain, MeshName, NameError};
pub use query::Way;
pub use resolv::{Upstreams, upstreams};
pub use statement::{Entry, Port, StatementError, Transport, decode};
pub use zone::{Held, Zone};

use crate::ids::{PeerId, Version};
use crate::limits::NAMES_SETTLE;
use crate::time::Instant;

/// The names of this host, and of the whole mesh as far as it can be reached.
#[derive(Debug)]
pub struct Names {
    me: PeerId,
    local: LocalNames,
    zone: Zone,
    /// Number of the own statement; it is in the view before it is carried anywhere.
    changes: u64,
    /// Until when names that are not there may only be unknown yet.
    settles: Instant,
    refused: u64,
}

impl Names {
    /// The names of a router that starts now, of which `kept` were changed by hand earlier.
    pub fn new(me: PeerId, kept: Kept, now: Instant) -> Self {
        let mut names = Self {
            me,
            local: LocalNames::new(kept),
            zone: Zone::default(),
            changes: 0,
            settles: now + NAMES_SETTLE,
            refused: 0,
        };
        names.zone.set_reachable(me, true);
        names.follow(true);
        names
    }

    /// Replaces the containers of this host. Returns whether the statement changed.
    pub fn set_containers(&mut self, containers: Vec<Container>) -> bool {
        let changed = self.local.set_containers(containers);
        self.follow(changed)
    }

    /// See [`LocalNames::add`].
    ///
    /// # Errors
    /// As there.
    pub fn add(&mut self, added: Added) -> Result<bool, AddError> {
        let changed = self.local.add(added)?;
        Ok(self.follow(changed))
    }

    /// See [`LocalNames::remove`].
    ///
    /// # Errors
    /// As there.
    pub fn remove(
        &mut self,
        container: &str,
        name: Option<&MeshName>,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<usize, AddError> {
        let count = self.local.remove(container, name, addresses)?;
        self.follow(count > 0);
        Ok(count)
    }

    /// See [`LocalNames::retain`].
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) -> bool {
        let changed = self.local.retain(exists);
        self.follow(changed)
    }

    /// What this router says of its names: at most [`crate::limits::MAX_NAMES_STATEMENT`] bytes.
    pub fn statement(&self) -> &[u8] {
        self.local.statement()
    }

    /// Takes what another router states. `version` is that of what carried it; one that is not newer changes nothing.
    /// Returns whether the view changed.
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
        let read = decode(bytes);
        let (entries, error) = match read {
            Ok(entries) => (entries, None),
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

    /// The names of this host.
    pub fn local(&self) -> &LocalNames {
        &self.local
    }

    /// Statements of others that were not taken.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Shows the own statement if it changed.
    fn follow(&mut self, changed: bool) -> bool {
        if changed {
            self.changes += 1;
            let version = Version {
                epoch: 0,
                seq: self.changes,
            };
            let entries = self.local.entries().to_vec();
            // There is always room for the own ones.
            let _ = self.zone.replace(self.me, version, entries, true);
        }
        changed
    }
}

#[cfg(test)]
mod tests;
