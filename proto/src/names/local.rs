//! The names of this host: those its containers have by themselves, those added by hand, those taken away by hand.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::name::MeshName;
use super::statement::{self, Entry, Port};
use crate::limits::{
    MAX_HOST_NAME_PAIRS, MAX_KEPT_NAMES, MAX_NAME_ADDRESSES, MAX_NAME_CONTAINER, MAX_NAME_PORTS,
};

/// A container of this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// Its full id.
    pub id: String,
    /// Host name, name, aliases: reverse answers have them in this order.
    pub names: Vec<MeshName>,
    /// In the mesh.
    pub addresses: Vec<IpAddr>,
    /// What it exposes.
    pub ports: Vec<Port>,
}

/// What people changed by hand; kept over restarts of the router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Names added.
    pub added: BTreeSet<Added>,
    /// Names of containers that were taken away: container id and name.
    pub removed: BTreeSet<(String, MeshName)>,
}

/// A name added by hand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Added {
    /// Full id of its container, while which is on the mesh the name is there; empty for one that is always.
    pub container: String,
    /// The name.
    pub name: MeshName,
    /// Where it leads; empty for the addresses the container has.
    pub addresses: BTreeSet<IpAddr>,
}

/// Why a name is not added; one line, ready to print.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// Neither a container nor an address.
    #[error("{0} would lead nowhere; give an address or a container")]
    Nowhere(MeshName),
    /// An address that is none.
    #[error("{0} cannot be the address of a name (multicast, loopback or unspecified)")]
    NotAnAddress(IpAddr),
    /// More addresses than one name may have.
    #[error("{0} addresses for one name; at most {MAX_NAME_ADDRESSES} are possible")]
    TooManyAddresses(usize),
    /// The table is full.
    #[error("{MAX_KEPT_NAMES} names were changed by hand on this host already; remove some")]
    Full,
    /// More addresses than all names added by hand may have.
    #[error(
        "the names added by hand on this host have {0} addresses then; at most {MAX_HOST_NAME_PAIRS} are possible"
    )]
    TooManyPairs(usize),
    /// What this host states of its names would be too long for it.
    #[error(
        "{0} finds no room among the names that this host tells others; remove some (`mesh dns-remove`)"
    )]
    NoRoom(MeshName),
}

/// The names of this host, and the statement of them.
#[derive(Debug, Default)]
pub struct LocalNames {
    containers: Vec<Container>,
    kept: Kept,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    left_out: usize,
}

impl LocalNames {
    /// Names of which `kept` were changed by hand earlier.
    pub fn new(mut kept: Kept) -> Self {
        kept.bound();
        let mut local = Self {
            kept,
            ..Self::default()
        };
        local.refresh();
        local
    }

    /// Replaces the containers, those without addresses left out. Returns whether the statement changed.
    pub fn set_containers(&mut self, mut containers: Vec<Container>) -> bool {
        containers.sort();
        self.containers = containers;
        self.refresh()
    }

    /// Adds a name; if it was taken away before, it is back. Adding it again with other addresses adds those. Returns
    /// whether the statement changed.
    ///
    /// # Errors
    /// [`AddError`]; nothing is changed.
    pub fn add(&mut self, added: Added) -> Result<bool, AddError> {
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
        let mut kept = self.kept.clone();
        kept.removed
            .remove(&(added.container.clone(), added.name.clone()));
        let name = added.name.clone();
        kept.insert(added)?;
        let (before, left_out) = (core::mem::replace(&mut self.kept, kept), self.left_out);
        let changed = self.refresh();
        if self.left_out > left_out {
            self.set_kept(before);
            return Err(AddError::NoRoom(name));
        }
        Ok(changed)
    }

    /// Takes names away: of `container` (empty: of none), with this name or all, leading to one of these addresses or
    /// anywhere. Names that the container has by itself stay away until they are added again or it is another one. Returns
    /// how many names went; a name that only lost some of its addresses counts too.
    ///
    /// # Errors
    /// [`AddError::Full`]; nothing is changed.
    pub fn remove(
        &mut self,
        container: &str,
        name: Option<&MeshName>,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<usize, AddError> {
        let mut kept = self.kept.clone();
        let named = |n: &MeshName| name.is_none_or(|name| n == name);
        let (mut changed, mut rest) = (0, BTreeSet::new());
        for added in kept.added {
            if added.container != container || !named(&added.name) {
                rest.insert(added);
                continue;
            }
            let left: BTreeSet<IpAddr> = &added.addresses - addresses;
            let goes_as_a_whole = addresses.is_empty() || left.is_empty();
            changed += usize::from(goes_as_a_whole || left.len() < added.addresses.len());
            if !goes_as_a_whole {
                rest.insert(Added {
                    addresses: left,
                    ..added
                });
            }
        }
        kept.added = rest;
        // By itself a container's name leads to all of its addresses: it goes only as a whole.
        if addresses.is_empty() && !container.is_empty() {
            let own = self.containers.iter().filter(|c| c.id == container);
            for own in own.flat_map(|c| &c.names).filter(|n| named(n)) {
                let is_new = kept.removed.insert((container.to_owned(), own.clone()));
                changed += usize::from(is_new);
            }
        }
        if kept.len() > MAX_KEPT_NAMES && kept.len() > self.kept.len() {
            return Err(AddError::Full);
        }
        self.kept = kept;
        self.refresh();
        Ok(changed)
    }

    /// Forgets what was changed by hand for containers of which `exists` does not hold. Returns whether anything was.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) -> bool {
        let before = self.kept.len();
        self.kept
            .added
            .retain(|a| a.container.is_empty() || exists(&a.container));
        self.kept.removed.retain(|(container, _)| exists(container));
        let changed = self.kept.len() != before;
        if changed {
            self.refresh();
        }
        changed
    }

    /// Replaces what was changed by hand, as when a change could not be stored.
    pub fn set_kept(&mut self, kept: Kept) {
        self.kept = kept;
        self.kept.bound();
        self.refresh();
    }

    /// Names that were taken away by hand from containers that are here: nothing else is to be found by them either.
    pub fn denied(&self) -> BTreeSet<MeshName> {
        let is_here = |id: &str| self.containers.iter().any(|c| c.id == id);
        let removed = self.kept.removed.iter().filter(|(id, _)| is_here(id));
        removed.map(|(_, name)| name.clone()).collect()
    }

    /// The addresses of this host's containers, with a name or without.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let all = self.containers.iter().flat_map(|c| &c.addresses);
        all.copied().collect()
    }

    /// What is to be kept over a restart.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// What this router says of its names: at most [`crate::limits::MAX_NAMES_STATEMENT`] bytes; empty if it has none.
    pub fn statement(&self) -> &[u8] {
        match self.entries.is_empty() {
            true => &[],
            false => &self.bytes,
        }
    }

    /// The same, read.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Names that the statement has no room for.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Makes the statement anew; says whether it changed.
    fn refresh(&mut self) -> bool {
        // By entry: its place among the names of its container. What is added by hand comes last.
        let mut all: BTreeMap<Entry, usize> = BTreeMap::new();
        for container in &self.containers {
            let taken = |(_, name): &(usize, &MeshName)| {
                let key = (container.id.clone(), (*name).clone());
                !self.kept.removed.contains(&key)
            };
            for (place, name) in container.names.iter().enumerate().filter(taken) {
                if let Some(entry) = entry(name, Some(container), &container.addresses) {
                    all.entry(entry).or_insert(place);
                }
            }
        }
        for added in &self.kept.added {
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
        let mut all: Vec<(Entry, usize)> = all.into_iter().collect();
        // Names that containers are known by come first: they have room before others have.
        all.sort_by_key(|(_, place)| *place);
        let all: Vec<Entry> = all.into_iter().map(|(entry, _)| entry).collect();
        let (bytes, stated) = statement::encode(&all);
        self.left_out = all.len() - stated.len();
        self.entries = stated;
        let changed = bytes != self.bytes;
        self.bytes = bytes;
        changed
    }
}

/// The entry of a name that leads to these addresses; none if there is no address.
fn entry(name: &MeshName, container: Option<&Container>, addresses: &[IpAddr]) -> Option<Entry> {
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
    (!addresses.is_empty()).then(|| Entry {
        name: name.clone(),
        container: id.take(MAX_NAME_CONTAINER).collect(),
        addresses,
        ports,
    })
}

impl Kept {
    fn len(&self) -> usize {
        self.added.len() + self.removed.len()
    }

    fn insert(&mut self, mut added: Added) -> Result<(), AddError> {
        let same = |a: &&Added| a.container == added.container && a.name == added.name;
        let old: Vec<Added> = self.added.iter().filter(same).cloned().collect();
        for old in old {
            // Once for all addresses of the container, once for one: both stay.
            if old.addresses.is_empty() == added.addresses.is_empty() {
                added.addresses.extend(&old.addresses);
                self.added.remove(&old);
            }
        }
        if added.addresses.len() > MAX_NAME_ADDRESSES {
            return Err(AddError::TooManyAddresses(added.addresses.len()));
        }
        if self.len() >= MAX_KEPT_NAMES {
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

    /// What a file of an earlier run says may be beyond the bound.
    fn bound(&mut self) {
        while self.len() > MAX_KEPT_NAMES {
            if self.added.pop_last().is_none() {
                self.removed.pop_last();
            }
        }
    }
}
