//! Names of one network that are shown, for answers.

use core::net::IpAddr;
use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::name::MeshName;
use crate::statement::NameEntry;
use mesh_proto::ids::PeerId;
use mesh_proto::limits::MAX_DNS_RECORDS;

/// Entry with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneEntry {
    /// Router on whose host the container is.
    pub origin: PeerId,
    /// Stated entry.
    pub entry: Arc<NameEntry>,
}

/// Names of one network. It has nothing of any other network, so an answer from it cannot either.
#[derive(Debug, Default)]
pub struct NetworkNames {
    /// Entries by name with its labels in reverse order, so that names below a name follow it.
    forward: BTreeMap<Box<str>, Vec<ZoneEntry>>,
    reverse: BTreeMap<IpAddr, Vec<ZoneEntry>>,
}

impl NetworkNames {
    pub(super) const fn new() -> Self {
        Self {
            forward: BTreeMap::new(),
            reverse: BTreeMap::new(),
        }
    }

    /// Returns the entries with this name; empty if there are none.
    pub fn holders(&self, name: &str) -> &[ZoneEntry] {
        let found = self.forward.get(&*reversed(name));
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns true if there are names that end with `.name`.
    pub fn has_below(&self, name: &str) -> bool {
        let start = format!("{}.", reversed(name));
        let from = (Bound::Included(&*start), Bound::Unbounded);
        let mut from = self.forward.range::<str, _>(from);
        from.next().is_some_and(|(key, _)| key.starts_with(&start))
    }

    /// Returns the entries with this address.
    pub fn named(&self, ip: IpAddr) -> &[ZoneEntry] {
        let found = self.reverse.get(&ip);
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the names of an address, each once, in the same order on every host: those of each router in the order
    /// of its statement, and those of several routers by rank, at equal rank the lesser name first.
    pub fn names_of(&self, ip: IpAddr) -> Vec<&MeshName> {
        let mut places: BTreeMap<PeerId, usize> = BTreeMap::new();
        let ranked = self.named(ip).iter().take(MAX_DNS_RECORDS).map(|held| {
            let place = places.entry(held.origin).or_default();
            *place += 1;
            (*place, held.name())
        });
        let mut ranked: Vec<(usize, &MeshName)> = ranked.collect();
        ranked.sort_unstable();
        let mut seen = BTreeSet::new();
        let names = ranked.into_iter().map(|(_, name)| name);
        names.filter(|name| seen.insert(*name)).collect()
    }

    /// Returns all entries, by name.
    pub fn iter(&self) -> impl Iterator<Item = &ZoneEntry> {
        self.forward.values().flatten()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.forward.is_empty()
    }

    pub(super) fn show(&mut self, origin: PeerId, entries: &[Arc<NameEntry>]) {
        for entry in entries {
            let held = ZoneEntry {
                origin,
                entry: entry.clone(),
            };
            let key = reversed(entry.name.as_str()).into_boxed_str();
            self.forward.entry(key).or_default().push(held.clone());
            for ip in &entry.addresses {
                self.reverse.entry(*ip).or_default().push(held.clone());
            }
        }
    }

    pub(super) fn hide(&mut self, origin: &PeerId, entries: &[Arc<NameEntry>]) {
        for entry in entries {
            drop_origin(&mut self.forward, &*reversed(entry.name.as_str()), origin);
            for ip in &entry.addresses {
                drop_origin(&mut self.reverse, ip, origin);
            }
        }
    }
}

fn drop_origin<K, Q>(map: &mut BTreeMap<K, Vec<ZoneEntry>>, key: &Q, origin: &PeerId)
where
    K: Ord + core::borrow::Borrow<Q>,
    Q: Ord + ?Sized,
{
    if let Some(list) = map.get_mut(key) {
        list.retain(|held| held.origin != *origin);
        if list.is_empty() {
            map.remove(key);
        }
    }
}

/// Returns the name with its labels in reverse order.
fn reversed(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for label in name.rsplit('.') {
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(label);
    }
    out
}

impl ZoneEntry {
    /// Returns the name.
    pub fn name(&self) -> &MeshName {
        &self.entry.name
    }
}
