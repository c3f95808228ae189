//! Names of this host: those of its containers, those added manually, and those removed manually.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::name::MeshName;
use super::statement::{self, NameEntry, Port};
use mesh_proto::limits::{
    MAX_HOST_NAME_PAIRS, MAX_MANUAL_NAMES, MAX_NAME_ADDRESSES, MAX_NAME_CONTAINER, MAX_NAME_PORTS,
};

/// Container of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// Full container id.
    pub id: String,
    /// Host name, name and aliases, in the order of reverse answers.
    pub names: Vec<MeshName>,
    /// Addresses in the mesh.
    pub addresses: Vec<IpAddr>,
    /// Exposed ports.
    pub ports: Vec<Port>,
}

/// Manual changes, which are kept over restarts of the router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualNames {
    /// Added names.
    pub added: BTreeSet<ManualName>,
    /// Removed names of containers: container id and name.
    pub removed: BTreeSet<(String, MeshName)>,
}

/// Manually added name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ManualName {
    /// Full id of the container; the name exists while that is on the mesh. Empty for a permanent name.
    pub container: String,
    /// Name without the domain.
    pub name: MeshName,
    /// Addresses of the name; empty for those of the container.
    pub addresses: BTreeSet<IpAddr>,
}

/// Reason why a name is not added; one line, ready to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// Neither a container nor an address is given.
    #[error("{0} would lead nowhere; give an address or a container")]
    Nowhere(MeshName),
    /// No address of a container.
    #[error("{0} cannot be the address of a name (multicast, loopback or unspecified)")]
    NotAnAddress(IpAddr),
    /// More addresses than one name may have.
    #[error("{0} addresses for one name; at most {MAX_NAME_ADDRESSES} are possible")]
    TooManyAddresses(usize),
    /// The table is full.
    #[error("{MAX_MANUAL_NAMES} names were changed by hand on this host already; remove some")]
    Full,
    /// More addresses than all manually added names may have.
    #[error(
        "the names added by hand on this host have {0} addresses then; at most {MAX_HOST_NAME_PAIRS} are possible"
    )]
    TooManyPairs(usize),
    /// The statement of this host would exceed its bound.
    #[error(
        "there is no room for {0} among the names that this host announces; remove some (`mesh dns-remove`)"
    )]
    NoRoom(MeshName),
}

/// Names of this host, and its statement of them.
#[derive(Debug, Default)]
pub struct LocalNames {
    containers: Vec<Container>,
    manual: ManualNames,
    entries: Vec<NameEntry>,
    bytes: Vec<u8>,
    left_out: usize,
}

impl LocalNames {
    /// Creates the names of a host with the manual changes `manual`.
    pub fn new(mut manual: ManualNames) -> Self {
        manual.bound();
        let mut local = Self {
            manual,
            ..Self::default()
        };
        local.refresh();
        local
    }

    /// Replaces the containers; those without addresses are left out. Returns true if the statement changed.
    pub fn set_containers(&mut self, mut containers: Vec<Container>) -> bool {
        containers.sort();
        self.containers = containers;
        self.refresh()
    }

    /// Adds a name, and undoes its removal. Adding a name again with other addresses adds those. Returns true if the
    /// statement changed.
    ///
    /// # Errors
    /// [`AddError`]; nothing is changed.
    pub fn add(&mut self, added: ManualName) -> Result<bool, AddError> {
        if let Some(ip) = added
            .addresses
            .iter()
            .find(|ip| !statement::is_containers(**ip))
        {
            return Err(AddError::NotAnAddress(*ip));
        }
        if added.addresses.len() > MAX_NAME_ADDRESSES {
            return Err(AddError::TooManyAddresses(added.addresses.len()));
        }
        if added.container.is_empty() && added.addresses.is_empty() {
            return Err(AddError::Nowhere(added.name));
        }
        let mut manual = self.manual.clone();
        manual
            .removed
            .remove(&(added.container.clone(), added.name.clone()));
        let name = added.name.clone();
        manual.insert(added)?;
        let (before, left_out) = (core::mem::replace(&mut self.manual, manual), self.left_out);
        let changed = self.refresh();
        if self.left_out > left_out {
            self.set_manual(before);
            return Err(AddError::NoRoom(name));
        }
        Ok(changed)
    }

    /// Removes names: of `container` (empty: of none), with this name or any, leading to one of these addresses or
    /// any. Names that the container has by itself stay removed until they are added again or the container is
    /// replaced. Returns the number of names removed, including those that lost only some of their addresses.
    ///
    /// # Errors
    /// [`AddError::Full`]; nothing is changed.
    pub fn remove(
        &mut self,
        container: &str,
        name: Option<&MeshName>,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<usize, AddError> {
        let mut manual = self.manual.clone();
        let named = |n: &MeshName| name.is_none_or(|name| n == name);
        let (mut changed, mut rest) = (0, BTreeSet::new());
        for added in manual.added {
            if added.container != container || !named(&added.name) {
                rest.insert(added);
                continue;
            }
            let left: BTreeSet<IpAddr> = &added.addresses - addresses;
            let goes_as_a_whole = addresses.is_empty() || left.is_empty();
            changed += usize::from(goes_as_a_whole || left.len() < added.addresses.len());
            if !goes_as_a_whole {
                rest.insert(ManualName {
                    addresses: left,
                    ..added
                });
            }
        }
        manual.added = rest;
        // A container's own name leads to all of its addresses, and can only be removed as a whole.
        if addresses.is_empty() && !container.is_empty() {
            let own = self.containers.iter().filter(|c| c.id == container);
            for own in own.flat_map(|c| &c.names).filter(|n| named(n)) {
                let is_new = manual.removed.insert((container.to_owned(), own.clone()));
                changed += usize::from(is_new);
            }
        }
        if manual.len() > MAX_MANUAL_NAMES && manual.len() > self.manual.len() {
            return Err(AddError::Full);
        }
        self.manual = manual;
        self.refresh();
        Ok(changed)
    }

    /// Drops the manual changes for containers that do not exist any more. Returns true if there were any.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) -> bool {
        let before = self.manual.len();
        self.manual
            .added
            .retain(|a| a.container.is_empty() || exists(&a.container));
        self.manual
            .removed
            .retain(|(container, _)| exists(container));
        let changed = self.manual.len() != before;
        if changed {
            self.refresh();
        }
        changed
    }

    /// Replaces the manual changes, as when a change could not be stored.
    pub fn set_manual(&mut self, manual: ManualNames) {
        self.manual = manual;
        self.manual.bound();
        self.refresh();
    }

    /// Returns the removed names of present containers; queries for them are not forwarded either.
    pub fn denied(&self) -> BTreeSet<MeshName> {
        let is_here = |id: &str| self.containers.iter().any(|c| c.id == id);
        let removed = self.manual.removed.iter().filter(|(id, _)| is_here(id));
        removed.map(|(_, name)| name.clone()).collect()
    }

    /// Returns the addresses of this host's containers, with a name or without.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let all = self.containers.iter().flat_map(|c| &c.addresses);
        all.copied().collect()
    }

    /// Returns the manual changes, to be kept over a restart.
    pub fn manual(&self) -> &ManualNames {
        &self.manual
    }

    /// Returns the statement of this router's names, at most [`mesh_proto::limits::MAX_NAMES_STATEMENT`] bytes; empty if
    /// it has none.
    pub fn statement(&self) -> &[u8] {
        match self.entries.is_empty() {
            true => &[],
            false => &self.bytes,
        }
    }

    /// Returns the entries of the statement.
    pub fn entries(&self) -> &[NameEntry] {
        &self.entries
    }

    /// Returns the number of names for which the statement has no room.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Rebuilds the statement. Returns true if it changed.
    fn refresh(&mut self) -> bool {
        // Entries with their rank among the names of their container; manually added ones come last.
        let mut all: BTreeMap<NameEntry, usize> = BTreeMap::new();
        for container in &self.containers {
            let taken = |(_, name): &(usize, &MeshName)| {
                let key = (container.id.clone(), (*name).clone());
                !self.manual.removed.contains(&key)
            };
            for (place, name) in container.names.iter().enumerate().filter(taken) {
                if let Some(entry) = entry(name, Some(container), &container.addresses) {
                    all.entry(entry).or_insert(place);
                }
            }
        }
        for added in &self.manual.added {
            let container = self.containers.iter().find(|c| c.id == added.container);
            let addresses: Vec<IpAddr> = added.addresses.iter().copied().collect();
            let entry = match container {
                Some(c) if addresses.is_empty() => entry(&added.name, Some(c), &c.addresses),
                Some(c) => entry(&added.name, Some(c), &addresses),
                None if added.container.is_empty() => entry(&added.name, None, &addresses),
                None => None,
            };
            if let Some(entry) = entry {
                all.entry(entry).or_insert(usize::MAX);
            }
        }
        let mut all: Vec<(NameEntry, usize)> = all.into_iter().collect();
        // The primary names of containers come first, so that they have room before others.
        all.sort_by_key(|(_, place)| *place);
        let all: Vec<NameEntry> = all.into_iter().map(|(entry, _)| entry).collect();
        let (bytes, stated) = statement::encode(&all);
        self.left_out = all.len() - stated.len();
        self.entries = stated;
        let changed = bytes != self.bytes;
        self.bytes = bytes;
        changed
    }
}

/// Returns the entry of a name with these addresses; `None` if there is no address.
fn entry(
    name: &MeshName,
    container: Option<&Container>,
    addresses: &[IpAddr],
) -> Option<NameEntry> {
    let mut addresses: Vec<IpAddr> = addresses
        .iter()
        .copied()
        .filter(|ip| statement::is_containers(*ip))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_NAME_ADDRESSES);
    let ports = container.map(|c| &c.ports[..]).unwrap_or_default();
    let mut ports: Vec<Port> = ports.iter().filter(|p| p.is_sound()).cloned().collect();
    ports.sort_unstable();
    ports.dedup();
    ports.truncate(MAX_NAME_PORTS);
    let id = container.map(|c| &c.id[..]).unwrap_or_default();
    let id = id.chars().filter(char::is_ascii_graphic);
    (!addresses.is_empty()).then(|| NameEntry {
        name: name.clone(),
        container: id.take(MAX_NAME_CONTAINER).collect(),
        addresses,
        ports,
    })
}

impl ManualNames {
    fn len(&self) -> usize {
        self.added.len() + self.removed.len()
    }

    fn insert(&mut self, mut added: ManualName) -> Result<(), AddError> {
        let same = |a: &&ManualName| a.container == added.container && a.name == added.name;
        let old: Vec<ManualName> = self.added.iter().filter(same).cloned().collect();
        for old in old {
            // An entry for all addresses of the container and one for certain addresses are kept side by side.
            if old.addresses.is_empty() == added.addresses.is_empty() {
                added.addresses.extend(&old.addresses);
                self.added.remove(&old);
            }
        }
        if added.addresses.len() > MAX_NAME_ADDRESSES {
            return Err(AddError::TooManyAddresses(added.addresses.len()));
        }
        if self.len() >= MAX_MANUAL_NAMES {
            return Err(AddError::Full);
        }
        let pairs: usize = self.added.iter().map(|a| a.addresses.len()).sum();
        let pairs = pairs + added.addresses.len();
        if pairs > MAX_HOST_NAME_PAIRS {
            return Err(AddError::TooManyPairs(pairs));
        }
        self.added.insert(added);
        Ok(())
    }

    /// Enforces the bound on the content of a file.
    fn bound(&mut self) {
        while self.len() > MAX_MANUAL_NAMES {
            if self.added.pop_last().is_none() {
                self.removed.pop_last();
            }
        }
    }
}
