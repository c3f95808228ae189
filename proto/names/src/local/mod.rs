//! Names of this host: those of its containers, those added manually, and those removed manually.

mod manual;

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

pub use manual::{AddError, ManualName, ManualNames, RemovedName};

use super::name::MeshName;
use super::statement::{self, NameEntry, Port, StatedNames};
use mesh_proto::limits::{
    MAX_MANUAL_NAMES, MAX_NAME_ADDRESSES, MAX_NAME_CONTAINER, MAX_NAME_PORTS,
};
use mesh_proto::network::NetworkId;

/// Container of this host in one network; there is one for each of its networks.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// Full container id.
    pub id: String,
    /// The network.
    pub network: NetworkId,
    /// Its names there: host name, name and aliases, in the order of reverse answers.
    pub names: Vec<MeshName>,
    /// Its addresses there.
    pub addresses: Vec<IpAddr>,
    /// Exposed ports.
    pub ports: Vec<Port>,
}

/// Names of this host, and its statement of them.
#[derive(Debug, Default)]
pub struct LocalNames {
    containers: Vec<Container>,
    manual: ManualNames,
    entries: StatedNames,
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
        manual.restore(added.network, &added.container, &added.name);
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

    /// Removes names of one network: of `container` (empty: of none), with this name or any, leading to one of these
    /// addresses or any. Names that the container has by itself stay removed until they are added again or the container is
    /// replaced. Returns the number of names removed, including those that lost only some of their addresses.
    ///
    /// # Errors
    /// [`AddError::Full`]; nothing is changed.
    pub fn remove(
        &mut self,
        (network, container): (NetworkId, &str),
        name: Option<&MeshName>,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<usize, AddError> {
        let mut manual = self.manual.clone();
        let named = |n: &MeshName| name.is_none_or(|name| n == name);
        let (mut changed, mut rest) = (0, BTreeSet::new());
        for added in manual.added {
            let is_of = added.network == network && added.container == container;
            if !is_of || !named(&added.name) {
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
            let own = self.containers.iter();
            let own = own.filter(|c| c.id == container && c.network == network);
            for own in own.flat_map(|c| &c.names).filter(|n| named(n)) {
                changed += usize::from(manual.suppress(network, container, own));
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
        self.manual.retain(exists);
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
    pub fn denied(&self) -> BTreeSet<(NetworkId, MeshName)> {
        let is_here = |network, id: &str| {
            let mut containers = self.containers.iter();
            containers.any(|c| c.id == id && c.network == network)
        };
        let removed = self.manual.removed_names();
        removed
            .filter(|(network, id, _)| is_here(*network, id))
            .map(|(network, _, name)| (network, name.clone()))
            .collect()
    }

    /// Returns the addresses of this host's containers, with a name or without.
    pub fn addresses(&self) -> BTreeSet<(NetworkId, IpAddr)> {
        let containers = self.containers.iter();
        containers
            .flat_map(|c| c.addresses.iter().map(|ip| (c.network, *ip)))
            .collect()
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
    pub fn entries(&self) -> &StatedNames {
        &self.entries
    }

    /// Returns the number of names for which the statement has no room.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Rebuilds the statement. Returns true if it changed.
    fn refresh(&mut self) -> bool {
        // Entries with their rank among the names of their container; manually added ones come last.
        let mut all: BTreeMap<(NetworkId, NameEntry), usize> = BTreeMap::new();
        for container in &self.containers {
            let network = container.network;
            let taken = |(_, name): &(usize, &MeshName)| {
                !self.manual.is_removed(network, &container.id, name)
            };
            for (place, name) in container.names.iter().enumerate().filter(taken) {
                if let Some(entry) = entry(name, Some(container), &container.addresses) {
                    all.entry((network, entry)).or_insert(place);
                }
            }
        }
        for added in &self.manual.added {
            if let Some(entry) = self.added_entry(added) {
                all.entry((added.network, entry)).or_insert(usize::MAX);
            }
        }
        let mut all: Vec<((NetworkId, NameEntry), usize)> = all.into_iter().collect();
        // The primary names of containers come first, so that they have room before others.
        all.sort_by_key(|(_, place)| *place);
        let all: Vec<(NetworkId, NameEntry)> = all.into_iter().map(|(entry, _)| entry).collect();
        let (bytes, stated) = statement::encode(&all);
        self.left_out = all.len() - stated.count();
        self.entries = stated;
        let changed = bytes != self.bytes;
        self.bytes = bytes;
        changed
    }

    /// Returns the entry of a manually added name; `None` if it leads nowhere now.
    fn added_entry(&self, added: &ManualName) -> Option<NameEntry> {
        let addresses: Vec<IpAddr> = added.addresses.iter().copied().collect();
        if added.container.is_empty() {
            return entry(&added.name, None, &addresses);
        }
        let mut containers = self.containers.iter();
        let container =
            containers.find(|c| c.id == added.container && c.network == added.network)?;
        match addresses.is_empty() {
            true => entry(&added.name, Some(container), &container.addresses),
            false => entry(&added.name, Some(container), &addresses),
        }
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
