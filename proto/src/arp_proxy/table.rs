//! Bindings without their lock. Trees instead of hash tables, because the announcing routers choose the keys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{ArpProxyLimits, Binding, Contest, Location};
use crate::fdb::Owner;
use crate::ids::Mac;
use crate::limits::MOVE_SETTLES;
use crate::shared_room::RoomShare;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct BindingTable {
    limits: ArpProxyLimits,
    share: RoomShare,
    by_owner: BTreeMap<Owner, Vec<Binding>>,
    by_ip: BTreeMap<(IpAddr, Owner), BindingEntry>,
    by_mac: BTreeMap<(Mac, Owner), BindingEntry>,
    /// Addresses that several owners announce.
    contested: BTreeSet<IpAddr>,
    /// Rightful owners, as far as known, of contested addresses.
    rightful: BTreeMap<IpAddr, Owner>,
    bindings: usize,
}

/// Announcement of an address or a MAC by one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BindingEntry {
    mac: Mac,
    moves: u32,
    since: Instant,
}

impl BindingTable {
    pub(super) fn new(limits: ArpProxyLimits, share: RoomShare) -> Self {
        Self {
            limits,
            share,
            by_owner: BTreeMap::new(),
            by_ip: BTreeMap::new(),
            by_mac: BTreeMap::new(),
            contested: BTreeSet::new(),
            rightful: BTreeMap::new(),
            bindings: 0,
        }
    }

    /// Replaces the bindings of `owner`. Returns the addresses with changed bindings; `None` if there is no room.
    pub(super) fn set(
        &mut self,
        owner: Owner,
        mut bindings: Vec<Binding>,
        now: Instant,
    ) -> Option<Vec<IpAddr>> {
        bindings.sort_unstable();
        bindings.dedup_by_key(|binding| binding.ip);
        let old = self.take(owner);
        let all = self.bindings + bindings.len();
        if all > self.limits.bindings || !self.share.resize(all) {
            self.share.resize(self.bindings);
            return None;
        }
        let mut news = Vec::new();
        for binding in &bindings {
            let before = old.get(&binding.ip).filter(|entry| entry.matches(binding));
            if before.is_none() {
                news.push(binding.ip);
            }
            let since = before.map_or(now, |entry| entry.since);
            self.enter(owner, binding, since);
        }
        self.bindings += bindings.len();
        if !bindings.is_empty() {
            self.by_owner.insert(owner, bindings);
        }
        Some(news)
    }

    fn enter(&mut self, owner: Owner, binding: &Binding, since: Instant) {
        let entry = BindingEntry {
            mac: binding.mac,
            moves: binding.moves,
            since,
        };
        self.by_ip.insert((binding.ip, owner), entry);
        let of_mac = self.by_mac.entry((binding.mac, owner)).or_insert(entry);
        of_mac.moves = of_mac.moves.max(binding.moves);
        of_mac.since = of_mac.since.min(since);
        self.note_contest(binding.ip);
    }

    /// Removes the bindings of `owner`, and returns them.
    fn take(&mut self, owner: Owner) -> BTreeMap<IpAddr, BindingEntry> {
        let old = self.by_owner.remove(&owner).unwrap_or_default();
        self.bindings -= old.len();
        let mut entry = BTreeMap::new();
        for binding in old {
            entry.extend(
                self.by_ip
                    .remove(&(binding.ip, owner))
                    .map(|s| (binding.ip, s)),
            );
            self.by_mac.remove(&(binding.mac, owner));
            self.note_contest(binding.ip);
        }
        entry
    }

    fn note_contest(&mut self, ip: IpAddr) {
        if self.of_ip(ip).nth(1).is_some() {
            self.contested.insert(ip);
        } else {
            self.contested.remove(&ip);
        }
    }

    pub(super) fn locate(&self, ip: IpAddr, now: Instant) -> Option<Location> {
        let (owner, entry) = if self.contested.contains(&ip) {
            self.right_one(ip, now)?
        } else {
            self.of_ip(ip).next()?
        };
        let mac = entry.mac;
        Some(Location { owner, mac })
    }

    /// Returns the winner of several bindings.
    ///
    /// Claims of one MAC: that with the highest sequence number, while the others may be about to be withdrawn.
    /// Otherwise that of the rightful owner, because sequence numbers of different MACs cannot be compared.
    fn right_one(&self, ip: IpAddr, now: Instant) -> Option<(Owner, BindingEntry)> {
        let bindings = || self.of_ip(ip);
        let (_, one) = bindings().next()?;
        if bindings().all(|(_, entry)| entry.mac == one.mac) && is_fresh(bindings(), now) {
            return newest(bindings());
        }
        let rightful = self.rightful.get(&ip)?;
        bindings().find(|(owner, _)| owner == rightful)
    }

    pub(super) fn owner(&self, mac: Mac, now: Instant) -> Option<Owner> {
        let bindings = || self.of_mac(mac);
        let is_clear = bindings().nth(1).is_none() || is_fresh(bindings(), now);
        let (owner, _) = newest(bindings()).filter(|_| is_clear)?;
        Some(owner)
    }

    pub(super) fn binding_of(&self, mac: Mac) -> Option<(Owner, u32)> {
        let bindings: Vec<_> = self.of_mac(mac).collect();
        let last = bindings
            .into_iter()
            .rev()
            .max_by_key(|(_, entry)| entry.moves);
        last.map(|(owner, entry)| (owner, entry.moves))
    }

    pub(super) fn announced_by(&self, owner: Owner) -> Vec<(Mac, u32)> {
        let bindings = self.by_owner.get(&owner).into_iter().flatten();
        bindings
            .map(|binding| (binding.mac, binding.moves))
            .collect()
    }

    pub(super) fn addresses_at(&self, mac: Mac) -> Vec<IpAddr> {
        let bindings = self.by_owner.values().flatten();
        bindings.filter(|c| c.mac == mac).map(|c| c.ip).collect()
    }

    pub(super) fn is_settled(&self, rightful: &BTreeMap<IpAddr, Owner>) -> bool {
        self.rightful == *rightful
    }

    pub(super) fn settle(&mut self, rightful: BTreeMap<IpAddr, Owner>) {
        self.rightful = rightful;
    }

    pub(super) fn contested(&self) -> Vec<IpAddr> {
        self.contested.iter().copied().collect()
    }

    pub(super) fn contests(&self, limit: usize, now: Instant) -> Vec<Contest> {
        let lasting = self.contested.iter().copied();
        let lasting = lasting.filter(|ip| !is_fresh(self.of_ip(*ip), now));
        let contest = |ip| Contest {
            ip,
            locations: self
                .of_ip(ip)
                .map(|(owner, entry)| Location {
                    owner,
                    mac: entry.mac,
                })
                .collect(),
        };
        lasting.take(limit).map(contest).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.bindings
    }

    fn of_ip(&self, ip: IpAddr) -> impl Iterator<Item = (Owner, BindingEntry)> {
        let bindings = self.by_ip.range((ip, FIRST)..=(ip, LAST));
        bindings.map(|((_, owner), entry)| (*owner, *entry))
    }

    fn of_mac(&self, mac: Mac) -> impl Iterator<Item = (Owner, BindingEntry)> {
        let bindings = self.by_mac.range((mac, FIRST)..=(mac, LAST));
        bindings.map(|((_, owner), entry)| (*owner, *entry))
    }

    /// Asserts that all indices are consistent.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let bindings = || {
            let all = self.by_owner.iter();
            all.flat_map(|(owner, bindings)| bindings.iter().map(|c| (*owner, *c)))
        };
        assert_eq!(self.bindings, bindings().count());
        assert!(self.bindings <= self.limits.bindings);
        assert_eq!(self.by_ip.len(), self.bindings);
        for (owner, binding) in bindings() {
            assert!(self.by_ip[&(binding.ip, owner)].matches(&binding));
            assert!(self.by_mac[&(binding.mac, owner)].moves >= binding.moves);
            let several = bindings().filter(|(_, c)| c.ip == binding.ip).count() > 1;
            assert_eq!(self.contested.contains(&binding.ip), several);
        }
        assert!(self.contested.len() * 2 <= self.bindings);
        let mut macs: Vec<_> = bindings().map(|(owner, c)| (c.mac, owner)).collect();
        macs.sort_unstable();
        macs.dedup();
        assert!(macs.iter().eq(self.by_mac.keys()));
    }
}

impl BindingEntry {
    fn matches(&self, binding: &Binding) -> bool {
        (self.mac, self.moves) == (binding.mac, binding.moves)
    }
}

/// Lowest and highest owner.
const FIRST: Owner = Owner::Local;
const LAST: Owner = Owner::Peer(crate::ids::PeerId([0xff; 16]));

/// Returns true if the latest of these bindings is recent, so that others may be about to be withdrawn.
fn is_fresh(bindings: impl Iterator<Item = (Owner, BindingEntry)>, now: Instant) -> bool {
    let last = bindings.map(|(_, entry)| entry.since).max();
    last.is_some_and(|last| now.since(last) < MOVE_SETTLES)
}

/// Returns the binding with the highest sequence number; `None` if there is none or the highest is not unique.
fn newest(bindings: impl Iterator<Item = (Owner, BindingEntry)>) -> Option<(Owner, BindingEntry)> {
    let mut best: Option<(u32, Option<(Owner, BindingEntry)>)> = None;
    for binding in bindings {
        let moves = binding.1.moves;
        best = match best {
            Some((most, kept)) if most > moves => Some((most, kept)),
            Some((most, _)) if most == moves => Some((most, None)),
            _ => Some((moves, Some(binding))),
        };
    }
    best?.1
}
