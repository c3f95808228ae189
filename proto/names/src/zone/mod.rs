//! Zone: the names of the mesh as seen by this router, merged from the statements of all routers. Those of
//! unreachable routers are kept but hidden, so that they are back as soon as the routers are.
//!
//! Names of all networks are kept, also of those in which this host has no containers, so that its first one finds the
//! others at once. Each network has tables of its own ([`NetworkNames`]).

mod index;

use core::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use index::{NetworkNames, ZoneEntry};

use super::statement::{NameEntry, StatedNames, StatementError};
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::{MAX_NAME_PAIRS, MAX_PEERS, NETWORK_NAME_PAIRS};
use mesh_proto::network::NetworkId;

/// Tables of a network without names.
static NO_NAMES: NetworkNames = NetworkNames::new();

/// Entries of one statement, by network.
type EntryGroups = Vec<(NetworkId, Vec<Arc<NameEntry>>)>;

/// Statement of one router.
#[derive(Debug, Default)]
struct Origin {
    version: Version,
    groups: EntryGroups,
    /// Share of it in [`MAX_NAME_PAIRS`].
    pairs: usize,
    is_reachable: bool,
    /// Age rank: number of routers added before it.
    born: u64,
}

/// Merged view.
#[derive(Debug, Default)]
pub struct Zone {
    origins: BTreeMap<PeerId, Origin>,
    /// Pairs of name and address of all origins except this router, which is never refused, and the surcharges of their
    /// networks.
    pairs: usize,
    /// Number of origins added so far.
    born: u64,
    /// Names shown, by network; none empty.
    networks: BTreeMap<NetworkId, NetworkNames>,
}

impl Zone {
    /// Replaces the statement of `origin`, if `version` is newer. `own` marks this router itself, which always has
    /// room. Returns true if the view changed.
    ///
    /// # Errors
    /// [`StatementError::Full`]: the earlier statement stays. For a reachable router, unreachable ones are evicted,
    /// and then those added after it, but no others. [`StatementError::TooManyOrigins`].
    pub fn replace(
        &mut self,
        origin: PeerId,
        version: Version,
        stated: StatedNames,
        own: bool,
    ) -> Result<bool, StatementError> {
        let Some(known) = self.known(origin) else {
            return Err(StatementError::TooManyOrigins);
        };
        if known.version >= version {
            return Ok(false);
        }
        let (before, born, is_reachable) = (known.pairs, known.born, known.is_reachable);
        let pairs = stated.pairs() + NETWORK_NAME_PAIRS * stated.others();
        let mut changed = false;
        if !own && self.pairs - before + pairs > MAX_NAME_PAIRS {
            if is_reachable {
                changed = self.make_room(origin, born, pairs.saturating_sub(before));
            }
            if self.pairs - before + pairs > MAX_NAME_PAIRS {
                return Err(StatementError::Full);
            }
        }
        if let Some(known) = self.origins.get_mut(&origin) {
            known.version = version;
        }
        changed |= self.clear(&origin);
        self.pairs += if own { 0 } else { pairs };
        let groups = shared(stated);
        let Some(known) = self.origins.get_mut(&origin) else {
            return Ok(changed);
        };
        known.pairs = if own { 0 } else { pairs };
        known.groups.clone_from(&groups);
        let shown = known.is_reachable && !groups.is_empty();
        if shown {
            self.show(origin, &groups);
        }
        Ok(changed || shown)
    }

    /// Sets the reachability of a router; initially it is unreachable. Returns true if the view changed.
    pub fn set_reachable(&mut self, origin: PeerId, is_reachable: bool) -> bool {
        let Some(known) = self.known(origin) else {
            return false;
        };
        if known.is_reachable == is_reachable {
            return false;
        }
        known.is_reachable = is_reachable;
        let groups = known.groups.clone();
        match is_reachable {
            true => self.show(origin, &groups),
            false => self.hide(&origin, &groups),
        }
        !groups.is_empty()
    }

    /// Removes a router of which no record is stored any more. Returns true if the view changed.
    pub fn forget(&mut self, origin: &PeerId) -> bool {
        let changed = self.clear(origin);
        self.origins.remove(origin);
        changed
    }

    /// Returns the names of a network; without any if it is not known.
    pub fn network(&self, network: &NetworkId) -> &NetworkNames {
        self.networks.get(network).unwrap_or(&NO_NAMES)
    }

    /// Returns all entries shown with their networks, in ascending order of networks, by name.
    pub fn iter(&self) -> impl Iterator<Item = (NetworkId, &ZoneEntry)> {
        let networks = self.networks.iter();
        networks.flat_map(|(network, names)| names.iter().map(|held| (*network, held)))
    }

    /// Returns the number of pairs of name and address stated by other routers, shown or not, with the surcharge
    /// [`NETWORK_NAME_PAIRS`] of each network; at most [`MAX_NAME_PAIRS`].
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Returns the number of names hidden because their routers are unreachable.
    pub fn hidden(&self) -> usize {
        let hidden = self.origins.values().filter(|o| !o.is_reachable);
        let groups = hidden.flat_map(|origin| &origin.groups);
        groups.map(|(_, entries)| entries.len()).sum()
    }

    /// Returns the number of known routers, with or without a statement; at most [`MAX_PEERS`].
    pub fn origins(&self) -> usize {
        self.origins.len()
    }

    fn known(&mut self, origin: PeerId) -> Option<&mut Origin> {
        let is_full = self.origins.len() >= MAX_PEERS;
        if is_full && !self.origins.contains_key(&origin) {
            return None;
        }
        let born = self.born;
        self.born += u64::from(!self.origins.contains_key(&origin));
        let known = self.origins.entry(origin);
        Some(known.or_insert_with(|| Origin {
            born,
            ..Origin::default()
        }))
    }

    /// Removes the names of unreachable origins, then of those added after `born`, the most recent ones first, until
    /// there is room for `pairs` more pairs; removes none if that would not suffice. Returns true if any was shown.
    fn make_room(&mut self, origin: PeerId, born: u64, pairs: usize) -> bool {
        let others = self.origins.iter().filter(|(peer, known)| {
            **peer != origin && known.pairs > 0 && (!known.is_reachable || known.born > born)
        });
        let mut others: Vec<_> = others
            .map(|(peer, known)| (known.is_reachable, Reverse(known.born), known.pairs, *peer))
            .collect();
        let gain: usize = others.iter().map(|(_, _, pairs, _)| pairs).sum();
        if self.pairs - gain + pairs > MAX_NAME_PAIRS {
            return false;
        }
        others.sort_unstable();
        let mut changed = false;
        for (_, _, _, victim) in others {
            if self.pairs + pairs <= MAX_NAME_PAIRS {
                break;
            }
            changed |= self.clear(&victim);
            if let Some(known) = self.origins.get_mut(&victim) {
                // Its statement is accepted again once there is room.
                known.version = Version::default();
            }
        }
        changed
    }

    /// Removes the names of an origin. Returns true if any was shown.
    fn clear(&mut self, origin: &PeerId) -> bool {
        let Some(known) = self.origins.get_mut(origin) else {
            return false;
        };
        let groups = core::mem::take(&mut known.groups);
        self.pairs -= core::mem::take(&mut known.pairs);
        let was_shown = known.is_reachable && !groups.is_empty();
        if was_shown {
            self.hide(origin, &groups);
        }
        was_shown
    }

    fn show(&mut self, origin: PeerId, groups: &EntryGroups) {
        for (network, entries) in groups {
            let names = self.networks.entry(*network).or_default();
            names.show(origin, entries);
        }
    }

    fn hide(&mut self, origin: &PeerId, groups: &EntryGroups) {
        for (network, entries) in groups {
            let Some(names) = self.networks.get_mut(network) else {
                continue;
            };
            names.hide(origin, entries);
            if names.is_empty() {
                self.networks.remove(network);
            }
        }
    }
}

fn shared(stated: StatedNames) -> EntryGroups {
    let groups = stated.into_groups();
    let shared = |entries: Vec<NameEntry>| entries.into_iter().map(Arc::new).collect();
    groups
        .map(|(network, entries)| (network, shared(entries)))
        .collect()
}
