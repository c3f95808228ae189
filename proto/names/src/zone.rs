//! Zone: the names of the mesh as seen by this router, merged from the statements of all routers. Those of
//! unreachable routers are kept but hidden, so that they are back as soon as the routers are.

use core::cmp::Reverse;
use core::net::IpAddr;
use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::name::MeshName;
use super::statement::{NameEntry, StatementError};
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::{MAX_DNS_RECORDS, MAX_NAME_PAIRS, MAX_PEERS};

/// Entry with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneEntry {
    /// Router on whose host the container is.
    pub origin: PeerId,
    /// Stated entry.
    pub entry: Arc<NameEntry>,
}

/// Statement of one router.
#[derive(Debug, Default)]
struct Origin {
    version: Version,
    entries: Vec<Arc<NameEntry>>,
    pairs: usize,
    is_reachable: bool,
    /// Age rank: number of routers added before it.
    born: u64,
}

/// Merged view.
#[derive(Debug, Default)]
pub struct Zone {
    origins: BTreeMap<PeerId, Origin>,
    /// Pairs of name and address of all origins except this router, which is never refused.
    pairs: usize,
    /// Number of origins added so far.
    born: u64,
    /// Entries by name with its labels in reverse order, so that names below a name follow it.
    forward: BTreeMap<Box<str>, Vec<ZoneEntry>>,
    reverse: BTreeMap<IpAddr, Vec<ZoneEntry>>,
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
        entries: Vec<NameEntry>,
        own: bool,
    ) -> Result<bool, StatementError> {
        let Some(known) = self.known(origin) else {
            return Err(StatementError::TooManyOrigins);
        };
        if known.version >= version {
            return Ok(false);
        }
        let (before, born, is_reachable) = (known.pairs, known.born, known.is_reachable);
        let pairs: usize = entries.iter().map(|e| e.addresses.len()).sum();
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
        let entries: Vec<Arc<NameEntry>> = entries.into_iter().map(Arc::new).collect();
        let Some(known) = self.origins.get_mut(&origin) else {
            return Ok(changed);
        };
        known.pairs = if own { 0 } else { pairs };
        known.entries.clone_from(&entries);
        let shown = known.is_reachable && !entries.is_empty();
        if shown {
            self.show(origin, &entries);
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
        let entries = known.entries.clone();
        match is_reachable {
            true => self.show(origin, &entries),
            false => self.hide(&origin, &entries),
        }
        !entries.is_empty()
    }

    /// Removes a router of which no record is stored any more. Returns true if the view changed.
    pub fn forget(&mut self, origin: &PeerId) -> bool {
        let changed = self.clear(origin);
        self.origins.remove(origin);
        changed
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

    /// Returns all entries shown, by name.
    pub fn iter(&self) -> impl Iterator<Item = &ZoneEntry> {
        self.forward.values().flatten()
    }

    /// Returns the number of names shown; a shared one counts once.
    pub fn names(&self) -> usize {
        self.forward.len()
    }

    /// Returns the number of pairs of name and address stated by other routers, shown or not; at most
    /// [`MAX_NAME_PAIRS`].
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Returns the number of names hidden because their routers are unreachable.
    pub fn hidden(&self) -> usize {
        let hidden = self.origins.values().filter(|o| !o.is_reachable);
        hidden.map(|o| o.entries.len()).sum()
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
        let entries = core::mem::take(&mut known.entries);
        self.pairs -= core::mem::take(&mut known.pairs);
        let was_shown = known.is_reachable && !entries.is_empty();
        if was_shown {
            self.hide(origin, &entries);
        }
        was_shown
    }

    fn show(&mut self, origin: PeerId, entries: &[Arc<NameEntry>]) {
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

    fn hide(&mut self, origin: &PeerId, entries: &[Arc<NameEntry>]) {
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
