//! What a router must not forget. It changes by [`Entry`] only, so replaying a journal gives what there was.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::journal::Entry;
use super::slices::{Run, Slicing};
use crate::ids::{PeerId, Version};
use crate::limits::MAX_FENCES;

/// The bit of a version that says an address of the slice was ever given out. It outranks every other.
pub(crate) const USED: u32 = 1 << 31;

/// Who a slice belongs to, and how often that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) owner: PeerId,
    pub(crate) ver: u32,
}

impl Claim {
    /// The one order of all claims of a slice: the higher version, then the smaller owner.
    pub(crate) fn outranks(&self, other: &Self) -> bool {
        self.ver > other.ver || (self.ver == other.ver && self.owner < other.owner)
    }
}

/// The version after `ver` in a chain.
pub(crate) fn next(ver: u32) -> u32 {
    ver.saturating_add(1)
}

/// An address of a container on this router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) container: String,
    pub(crate) prefix: u8,
    pub(crate) explicit: bool,
}

/// An address that another router holds in a slice which that router does not own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loan {
    pub(crate) to: PeerId,
    /// The holder's epoch and the number of its request.
    pub(crate) epoch: u64,
    pub(crate) number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) me: PeerId,
    pub(crate) slicing: Slicing,
    /// The highest claim heard of, by slice.
    pub(crate) map: Vec<Option<Claim>>,
    /// Slices that are ours beyond doubt, and who gave them, if anybody did.
    pub(crate) owned: Vec<Option<Option<PeerId>>>,
    pub(crate) held: BTreeMap<Ipv4Addr, Held>,
    pub(crate) containers: BTreeMap<String, BTreeSet<Ipv4Addr>>,
    pub(crate) loans: BTreeMap<Ipv4Addr, Loan>,
    /// Held and lent addresses in each slice.
    pub(crate) used: Vec<u32>,
    /// Owned slices that others also claim and may have given addresses of.
    pub(crate) contests: BTreeMap<u16, BTreeSet<PeerId>>,
    /// Slices given away that their new owners do not claim yet.
    pub(crate) gives: BTreeMap<u16, PeerId>,
    /// Routers that were removed, and up to which of their statements; oldest first.
    pub(crate) fences: Vec<(PeerId, Version)>,
}

impl State {
    pub(crate) fn new(me: PeerId, slicing: Slicing) -> Self {
        let slices = usize::from(slicing.count());
        Self {
            me,
            slicing,
            map: vec![None; slices],
            owned: vec![None; slices],
            held: BTreeMap::new(),
            containers: BTreeMap::new(),
            loans: BTreeMap::new(),
            used: vec![0; slices],
            contests: BTreeMap::new(),
            gives: BTreeMap::new(),
            fences: Vec::new(),
        }
    }

    /// Carries out one entry. Entries that say nothing new change nothing.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Claim { owner, run } => self.claim(*owner, run),
            Entry::Own { from, run } => {
                self.claim(self.me, run);
                for slice in self.existing(run) {
                    if self.claim_of(slice) == Some(self.mine(run.ver)) {
                        self.owned[usize::from(slice)] = Some(*from);
                    }
                }
            }
            Entry::Give { to, run } => {
                self.claim(*to, run);
                for slice in self.existing(run) {
                    if self.owner(slice) == Some(*to) {
                        self.gives.insert(slice, *to);
                    }
                }
            }
            Entry::Taken { slice } => drop(self.gives.remove(slice)),
            Entry::Hold {
                addr,
                prefix,
                explicit,
                container,
            } => {
                self.release(*addr);
                self.count(*addr, true);
                let (container, prefix) = (container.clone(), *prefix);
                let addrs = self.containers.entry(container.clone()).or_default();
                addrs.insert(*addr);
                let explicit = *explicit;
                self.held.insert(
                    *addr,
                    Held {
                        container,
                        prefix,
                        explicit,
                    },
                );
            }
            Entry::Release { addr } => self.release(*addr),
            Entry::Lend {
                addr,
                to,
                epoch,
                number,
            } => {
                let (to, epoch, number) = (*to, *epoch, *number);
                if self
                    .loans
                    .insert(*addr, Loan { to, epoch, number })
                    .is_none()
                {
                    self.count(*addr, true);
                }
            }
            Entry::Unlend { addr } => self.unlend(*addr),
            Entry::Contest { slice, rival } => {
                if self.owner(*slice) == Some(self.me) {
                    self.contests.entry(*slice).or_default().insert(*rival);
                }
            }
            Entry::Conceded { slice, rival } => self.concede(*slice, rival),
            Entry::Fence { peer, version } => self.fence(*peer, *version),
        }
    }

    pub(crate) fn claim_of(&self, slice: u16) -> Option<Claim> {
        self.map.get(usize::from(slice)).copied().flatten()
    }

    pub(crate) fn owner(&self, slice: u16) -> Option<PeerId> {
        self.claim_of(slice).map(|claim| claim.owner)
    }

    /// Whether the slice is ours beyond doubt.
    pub(crate) fn owns(&self, slice: u16) -> bool {
        self.owned
            .get(usize::from(slice))
            .is_some_and(Option::is_some)
    }

    /// Whether addresses of the slice may be given out here.
    pub(crate) fn usable(&self, slice: u16) -> bool {
        self.owns(slice) && !self.contests.contains_key(&slice)
    }

    /// Whether no address of the slice is held or lent.
    pub(crate) fn is_empty(&self, slice: u16) -> bool {
        self.used.get(usize::from(slice)).is_none_or(|n| *n == 0)
    }

    pub(crate) fn slices(&self) -> core::ops::Range<u16> {
        0..self.slicing.count()
    }

    pub(crate) fn existing(&self, run: &Run) -> core::ops::Range<u16> {
        let (slices, count) = (run.slices(), self.slicing.count());
        slices.start.min(count)..slices.end.min(count)
    }

    /// Whether nobody is known to own anything.
    pub(crate) fn has_no_map(&self) -> bool {
        self.map.iter().all(Option::is_none)
    }

    pub(crate) fn fence_of(&self, peer: &PeerId) -> Option<Version> {
        let mut fences = self.fences.iter();
        fences.find(|(p, _)| p == peer).map(|(_, v)| *v)
    }

    pub(crate) fn mine(&self, ver: u32) -> Claim {
        Claim {
            owner: self.me,
            ver,
        }
    }

    fn claim(&mut self, owner: PeerId, run: &Run) {
        let claim = Claim {
            owner,
            ver: run.ver,
        };
        for slice in self.existing(run) {
            let i = usize::from(slice);
            if self.map[i].is_some_and(|known| !claim.outranks(&known)) {
                continue;
            }
            self.map[i] = Some(claim);
            // A higher claim in our own name came from somebody else: whoever held addresses before must say so first.
            self.owned[i] = None;
            if owner != self.me {
                self.contests.remove(&slice);
            }
            if self.gives.get(&slice).is_some_and(|to| *to != owner) {
                self.gives.remove(&slice);
            }
        }
    }

    fn release(&mut self, addr: Ipv4Addr) {
        let Some(held) = self.held.remove(&addr) else {
            return;
        };
        self.count(addr, false);
        if let Some(addrs) = self.containers.get_mut(&held.container) {
            addrs.remove(&addr);
            if addrs.is_empty() {
                self.containers.remove(&held.container);
            }
        }
    }

    fn unlend(&mut self, addr: Ipv4Addr) {
        if self.loans.remove(&addr).is_some() {
            self.count(addr, false);
        }
    }

    fn concede(&mut self, slice: u16, rival: &PeerId) {
        if let Some(rivals) = self.contests.get_mut(&slice) {
            rivals.remove(rival);
            if rivals.is_empty() {
                self.contests.remove(&slice);
            }
        }
    }

    /// What a removed router held is free, and what it claimed is no more in doubt.
    fn fence(&mut self, peer: PeerId, version: Version) {
        let freed: Vec<Ipv4Addr> = self
            .loans
            .iter()
            .filter(|(_, loan)| loan.to == peer && loan.epoch <= version.epoch)
            .map(|(addr, _)| *addr)
            .collect();
        for addr in freed {
            self.unlend(addr);
        }
        let contested: Vec<u16> = self.contests.keys().copied().collect();
        for slice in contested {
            self.concede(slice, &peer);
        }
        self.fences.retain(|(p, _)| *p != peer);
        self.fences.push((peer, version));
        if self.fences.len() > MAX_FENCES {
            self.fences.remove(0);
        }
    }

    fn count(&mut self, addr: Ipv4Addr, more: bool) {
        let slice = self.slicing.slice_of(addr).map(usize::from);
        if let Some(used) = slice.and_then(|i| self.used.get_mut(i)) {
            *used = if more {
                *used + 1
            } else {
                used.saturating_sub(1)
            };
        }
    }
}
