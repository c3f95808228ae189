//! Names of containers, and DNS answers about them.
//!
//! Each router states the names of its own host ([`LocalNames::statement`]). The statements are signed records of a
//! topic of their own, each replaced as a whole by a newer one ([`Names::handle_statement`]). So nothing has to be
//! deleted, clocks need not agree, and a router that was partitioned does not revive names that have ended. Names of
//! an unreachable router are hidden as soon as it is known to be unreachable ([`Names::set_reachable`]).
//!
//! Several containers, on any hosts, may share a name, which then leads to all of their addresses. This is intended,
//! and means that a member of the mesh can add itself to the name of another; [`Names::zone`] shows the origin of
//! each entry.
//!
//! A name belongs to a network: names of different networks have nothing to do with each other, also if they are equal, and a
//! query is answered only from the networks that its sender is in ([`AskerNetworks`]).
//!
//! [`answer()`] answers queries; those for other servers are returned to the caller as [`Forwarded`].

#![forbid(unsafe_code)]

mod answer;
mod asker;
mod content;
mod forward;
mod local;
mod name;
mod query;
mod resolv;
mod statement;
mod subject;
mod swarm;
mod write;
mod zone;

pub use answer::{QueryOutcome, answer};
pub use asker::{Asker, AskerNetworks};
pub use content::AnswerSettings;
pub use forward::{Forwarded, Judgement};
pub use local::{AddError, Container, LocalNames, ManualName, ManualNames, RemovedName};
pub use name::{Domain, MeshName, NameError};
pub use query::QueryTransport;
pub use resolv::{Upstreams, options, search_domains, upstreams};
pub use statement::{NameEntry, Port, ServiceProtocol, StatedNames, StatementError, decode};
pub use zone::{NetworkNames, Zone, ZoneEntry};

use core::net::IpAddr;
use std::collections::BTreeSet;

use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::NAMES_SETTLE;
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;

/// Names of all reachable routers of the mesh.
#[derive(Debug)]
pub struct Names {
    me: PeerId,
    zone: Zone,
    /// Number of the own statement, which is in the view before it is sent.
    changes: u64,
    /// Time until which missing names may be merely not yet known.
    settles: Instant,
    refused: u64,
    /// Single labels whose queries are not forwarded.
    denied: BTreeSet<(NetworkId, MeshName)>,
    /// Addresses of this host's containers, with a name or without.
    here: BTreeSet<(NetworkId, IpAddr)>,
}

impl Names {
    /// Creates the view of a router that starts now, without names.
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

    /// Replaces the entries of this router ([`LocalNames::entries`]). Returns true if the view changed.
    pub fn set_own(&mut self, stated: StatedNames) -> bool {
        self.changes += 1;
        let version = Version {
            epoch: 0,
            seq: self.changes,
        };
        // The own entries always have room.
        self.zone
            .replace(self.me, version, stated, true)
            .unwrap_or_default()
    }

    /// Replaces the names whose queries are not forwarded ([`LocalNames::denied`]).
    pub fn deny(&mut self, denied: BTreeSet<(NetworkId, MeshName)>) {
        self.denied = denied;
    }

    /// Replaces the mesh addresses of this host's containers, with a name or without. This router alone is
    /// authoritative for their names.
    pub fn set_here(&mut self, addresses: BTreeSet<(NetworkId, IpAddr)>) {
        self.here = addresses;
    }

    /// Returns true if a container of this host has this address in one of these networks.
    pub fn is_here(&self, networks: &AskerNetworks, ip: IpAddr) -> bool {
        let mut networks = networks.as_slice().iter();
        networks.any(|network| self.here.contains(&(*network, ip)))
    }

    /// Returns true if queries for this name are not forwarded.
    pub(crate) fn is_denied(&self, networks: &AskerNetworks, name: &str) -> bool {
        let is_his = |network| networks.as_slice().contains(network);
        let mut denied = self.denied.iter();
        denied.any(|(network, denied)| denied.as_str() == name && is_his(network))
    }

    /// Handles the statement of another router, empty if it was withdrawn. `version` is that of the record; if it is
    /// not newer, nothing changes. Returns true if the view changed.
    ///
    /// # Errors
    /// [`StatementError`]; the origin's earlier names are removed, because they are outdated.
    pub fn handle_statement(
        &mut self,
        origin: PeerId,
        version: Version,
        bytes: &[u8],
    ) -> Result<bool, StatementError> {
        if origin == self.me {
            return Ok(false);
        }
        let (stated, error) = match decode(bytes) {
            Ok(stated) => (stated, None),
            Err(_) if bytes.is_empty() => (StatedNames::default(), None),
            Err(error) => (StatedNames::default(), Some(error)),
        };
        let result = self.zone.replace(origin, version, stated, false);
        match error.map_or(result, Err) {
            Ok(changed) => Ok(changed),
            Err(error) => {
                self.refused += 1;
                Err(error)
            }
        }
    }

    /// Sets the reachability of a router, which decides if its names are shown. Returns true if the view changed.
    pub fn set_reachable(&mut self, origin: PeerId, is_reachable: bool) -> bool {
        origin != self.me && self.zone.set_reachable(origin, is_reachable)
    }

    /// Removes a router of which no record is stored any more. Returns true if the view changed.
    pub fn forget(&mut self, origin: &PeerId) -> bool {
        *origin != self.me && self.zone.forget(origin)
    }

    /// Ends the settling time: there is no neighbour, or all neighbours have sent their records.
    pub fn settle(&mut self) {
        self.settles = Instant::ZERO;
    }

    /// Returns true if missing names do not exist; within the first [`NAMES_SETTLE`] after the start they may be
    /// unknown.
    pub fn is_settled(&self, now: Instant) -> bool {
        now >= self.settles
    }

    /// Returns the merged view.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Returns the number of refused statements of other routers.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests;
