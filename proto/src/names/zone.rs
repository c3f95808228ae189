//! All names of the mesh, as this router sees them: what each router states, merged. Those of routers that cannot be
//! reached are kept and not shown, so that they are back the moment the routers are.

use core::cmp::Reverse;
use core::net::IpAddr;
use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::name::MeshName;
use super::statement::{Entry, StatementError};
use crate::ids::{PeerId, Version};
use crate::limits::{MAX_DNS_RECORDS, MAX_NAME_PAIRS, MAX_PEERS};

/// An entry, and who states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The router on whose host the container is.
    pub origin: PeerId,
    /// What it says.
    pub entry: Arc<Entry>,
}

/// What one router states.
#[derive(Debug, Default)]
struct Origin {
    version: Version,
    entries: Vec<Arc<Entry>>,
    pairs: usize,
    is_reachable: bool,
    /// How many stated something before it.
    born: u64,
}

/// The merged view.
#[derive(Debug, Default)]
pub struct Zone {
    origins: BTreeMap<PeerId, Origin>,
    /// Pairs of name and address of all origins but the one that is never refused.
    pairs: usize,
    /// Origins that came so far.
    born: u64,
    /// By name, its labels in reverse order: what lies below a name follows it.
    forward: BTreeMap<Box<str>, Vec<Held>>,
    reverse: BTreeMap<IpAddr, Vec<Held>>,
}

impl Zone {
    /// Replaces what `origin` states, if `version` is newer than what is known. `own` is this router itself, for which
    /// there is always room. Returns whether the view changed.
    ///
    /// # Errors
    /// [`StatementError::Full`]: what the origin stated before stays. For a router within reach those out of reach go, and
    /// then those that came after it; nobody else does. [`StatementError::TooManyOrigins`].
    pub fn replace(
        &mut self,
        origin: PeerId,
        version: Version,
        entries: Vec<Entry>,
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
        let entries: Vec<Arc<Entry>> = entries.into_iter().map(Arc::new).collect();
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

    /// Says whether a router can be reached; before, none can. Returns whether the view changed.
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

    /// Forgets a router of which nothing is kept any more. Returns whether the view changed.
    pub fn forget(&mut self, origin: &PeerId) -> bool {
        let changed = self.clear(origin);
        self.origins.remove(origin);
        changed
    }

    /// Who has this name; empty for one that is not there.
    pub fn holders(&self, name: &str) -> &[Held] {
        let found = self.forward.get(&*reversed(name));
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether there are names that end with `.name`.
    pub fn has_below(&self, name: &str) -> bool {
        let start = format!("{}.", reversed(name));
        let from = (Bound::Included(&*start), Bound::Unbounded);
        let mut from = self.forward.range::<str, _>(from);
        from.next().is_some_and(|(key, _)| key.starts_with(&start))
    }

    /// Who has a name for this address.
    pub fn named(&self, ip: IpAddr) -> &[Held] {
        let found = self.reverse.get(&ip);
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// The names of an address, each once, in the same order on every host: of each router in the order in which it states
    /// them, and of several routers by turns, those with the lesser name first.
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

    /// Everything shown, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.forward.values().flatten()
    }

    /// Names shown; a shared one counts once.
    pub fn names(&self) -> usize {
        self.forward.len()
    }

    /// Pairs of name and address that other routers stated, shown or not; at most [`MAX_NAME_PAIRS`].
    pub fn pairs(&self) -> usize {
        self.pairs
    }

    /// Names that are not shown as their routers cannot be reached.
    pub fn hidden(&self) -> usize {
        let hidden = self.origins.values().filter(|o| !o.is_reachable);
        hidden.map(|o| o.entries.len()).sum()
    }

    /// Routers of which something is known, be it that they can be reached; at most [`MAX_PEERS`].
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

    /// Drops the names of origins out of reach, then of those that came after `born`, the last ones first, until there is
    /// room for so many more pairs; nobody's if that would not do. Returns whether any was shown.
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
                // What it states is taken again when there is room.
                known.version = Version::default();
            }
        }
        changed
    }

    /// Drops the names of an origin. Returns whether any was shown.
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

    fn show(&mut self, origin: PeerId, entries: &[Arc<Entry>]) {
        for entry in entries {
            let held = Held {
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

    fn hide(&mut self, origin: &PeerId, entries: &[Arc<Entry>]) {
        for entry in entries {
            drop_origin(&mut self.forward, &*reversed(entry.name.as_str()), origin);
            for ip in &entry.addresses {
                drop_origin(&mut self.reverse, ip, origin);
            }
        }
    }
}

fn drop_origin<K, Q>(map: &mut BTreeMap<K, Vec<Held>>, key: &Q, origin: &PeerId)
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

/// The labels in reverse order.
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

impl Held {
    /// The name.
    pub fn name(&self) -> &MeshName {
        &self.entry.name
    }
}
