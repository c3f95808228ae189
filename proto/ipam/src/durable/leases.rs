//! Leases: addresses of this router's containers, and those that other routers lease of its slices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::super::slices::Slicing;
use super::entry::JournalEntry;
use mesh_proto::ids::{PeerId, Version};

/// The lease of a container of this router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalLease {
    pub(crate) container: String,
    /// Prefix length of the subnet.
    pub(crate) prefix: u8,
    /// True if this very address was requested.
    pub(crate) explicit: bool,
}

/// The lease of another router: of an address in a slice that is not its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RemoteLease {
    pub(crate) to: PeerId,
    /// That router's epoch, and the number of its request in this epoch.
    pub(crate) epoch: u64,
    pub(crate) number: u64,
}

/// Leases by address, with the number of them in each slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leases {
    slicing: Slicing,
    local: BTreeMap<Ipv4Addr, LocalLease>,
    containers: BTreeMap<String, BTreeSet<Ipv4Addr>>,
    remote: BTreeMap<Ipv4Addr, RemoteLease>,
    used: Vec<u32>,
}

/// Changes, for [`super::state::AddressState::apply`] alone. Those that say nothing new change nothing.
impl Leases {
    /// Makes an empty table.
    pub(super) fn new(slicing: Slicing) -> Self {
        Self {
            slicing,
            local: BTreeMap::new(),
            containers: BTreeMap::new(),
            remote: BTreeMap::new(),
            used: vec![0; usize::from(slicing.count())],
        }
    }

    pub(super) fn lease(&mut self, addr: Ipv4Addr, lease: LocalLease) {
        self.release(addr);
        self.count(addr, true);
        let addrs = self.containers.entry(lease.container.clone()).or_default();
        addrs.insert(addr);
        self.local.insert(addr, lease);
    }

    pub(super) fn release(&mut self, addr: Ipv4Addr) {
        let Some(lease) = self.local.remove(&addr) else {
            return;
        };
        self.count(addr, false);
        if let Some(addrs) = self.containers.get_mut(&lease.container) {
            addrs.remove(&addr);
            if addrs.is_empty() {
                self.containers.remove(&lease.container);
            }
        }
    }

    pub(super) fn lease_out(&mut self, addr: Ipv4Addr, lease: RemoteLease) {
        if self.remote.insert(addr, lease).is_none() {
            self.count(addr, true);
        }
    }

    pub(super) fn release_remote(&mut self, addr: Ipv4Addr) {
        if self.remote.remove(&addr).is_some() {
            self.count(addr, false);
        }
    }

    /// Ends the leases of a router up to an epoch.
    pub(super) fn fence(&mut self, peer: PeerId, version: Version) {
        let ends = |lease: &RemoteLease| lease.to == peer && lease.epoch <= version.epoch;
        let remote = self.remote.iter().filter(|(_, lease)| ends(lease));
        let freed: Vec<Ipv4Addr> = remote.map(|(addr, _)| *addr).collect();
        freed.into_iter().for_each(|addr| self.release_remote(addr));
    }

    fn count(&mut self, addr: Ipv4Addr, more: bool) {
        let slice = self.slicing.slice_of(addr).map(usize::from);
        if let Some(used) = slice.and_then(|i| self.used.get_mut(i)) {
            *used = match more {
                true => *used + 1,
                false => used.saturating_sub(1),
            };
        }
    }
}

impl Leases {
    /// Returns the lease of an address by a container of this router.
    pub(crate) fn local(&self, addr: &Ipv4Addr) -> Option<&LocalLease> {
        self.local.get(addr)
    }

    /// Returns the lease of an address by another router.
    pub(crate) fn remote(&self, addr: &Ipv4Addr) -> Option<&RemoteLease> {
        self.remote.get(addr)
    }

    /// Returns all leases of this router's containers.
    pub(crate) fn all_local(&self) -> &BTreeMap<Ipv4Addr, LocalLease> {
        &self.local
    }

    /// Returns all leases of other routers.
    pub(crate) fn all_remote(&self) -> &BTreeMap<Ipv4Addr, RemoteLease> {
        &self.remote
    }

    /// Returns the addresses of a container, ascending.
    pub(crate) fn of_container(&self, container: &str) -> impl Iterator<Item = Ipv4Addr> {
        self.containers
            .get(container)
            .into_iter()
            .flatten()
            .copied()
    }

    /// Returns how many addresses of a slice are leased.
    pub(crate) fn in_slice(&self, slice: u16) -> u32 {
        self.used.get(usize::from(slice)).copied().unwrap_or(0)
    }

    /// Returns whether any address is leased.
    pub(crate) fn is_live(&self) -> bool {
        !self.local.is_empty() || !self.remote.is_empty()
    }

    /// Returns whether a container of this router leases an address.
    pub(crate) fn has_local(&self) -> bool {
        !self.local.is_empty()
    }

    /// Returns whether another router leases an address of this one.
    pub(crate) fn has_remote(&self, peer: &PeerId) -> bool {
        self.remote.values().any(|lease| lease.to == *peer)
    }

    /// Returns entries that lead to this table.
    pub(super) fn snapshot(&self) -> impl Iterator<Item = JournalEntry> {
        let local = self.local.iter().map(|(addr, lease)| JournalEntry::Lease {
            addr: *addr,
            prefix: lease.prefix,
            explicit: lease.explicit,
            container: lease.container.clone(),
        });
        let remote = self.remote.iter();
        local.chain(remote.map(|(addr, lease)| JournalEntry::RemoteLease {
            addr: *addr,
            to: lease.to,
            epoch: lease.epoch,
            number: lease.number,
        }))
    }
}
