//! The map of claims: the owner of each slice, as far as is known here.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

use super::super::slices::{SliceRun, Slicing};
use super::entry::JournalEntry;
use mesh_proto::ids::PeerId;

/// The bit of a version that says an address of the slice was ever given out. It outranks every other.
pub(crate) const USED: u32 = 1 << 31;

/// The owner of a slice, and how often that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SliceClaim {
    pub(crate) owner: PeerId,
    pub(crate) ver: u32,
}

impl SliceClaim {
    /// Returns whether this claim comes before another one of the same slice: by the higher version, then by the smaller
    /// owner. Of any two different claims one does.
    pub(crate) fn outranks(&self, other: &Self) -> bool {
        self.ver > other.ver || (self.ver == other.ver && self.owner < other.owner)
    }
}

/// Returns the version after `ver` in a chain.
pub(crate) fn next(ver: u32) -> u32 {
    ver.saturating_add(1)
}

/// Claims of all slices, with all that hangs on them: certainty, rivals, and grants under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimMap {
    me: PeerId,
    slicing: Slicing,
    /// The highest claim heard of, by slice.
    highest: Vec<Option<SliceClaim>>,
    /// Slices that are this router's beyond doubt, and the router that granted them, if any did.
    owned: Vec<Option<Option<PeerId>>>,
    /// Owned slices that others also claim and may have given addresses of.
    contests: BTreeMap<u16, BTreeSet<PeerId>>,
    /// Slices granted to other routers, which do not claim them yet.
    grants: BTreeMap<u16, PeerId>,
}

/// Changes, for [`super::state::AddressState::apply`] alone. Those that say nothing new change nothing.
impl ClaimMap {
    /// Makes an empty map.
    pub(super) fn new(me: PeerId, slicing: Slicing) -> Self {
        let slices = usize::from(slicing.count());
        Self {
            me,
            slicing,
            highest: vec![None; slices],
            owned: vec![None; slices],
            contests: BTreeMap::new(),
            grants: BTreeMap::new(),
        }
    }

    pub(super) fn claim(&mut self, owner: PeerId, run: &SliceRun) {
        let claim = SliceClaim {
            owner,
            ver: run.ver,
        };
        for slice in self.existing(run) {
            let i = usize::from(slice);
            if self.highest[i].is_some_and(|known| !claim.outranks(&known)) {
                continue;
            }
            self.highest[i] = Some(claim);
            // A higher claim in this router's own name came from another one: routers that leased addresses of the slice
            // must say so first.
            self.owned[i] = None;
            if owner != self.me {
                self.contests.remove(&slice);
            }
            if self.grants.get(&slice).is_some_and(|to| *to != owner) {
                self.grants.remove(&slice);
            }
        }
    }

    pub(super) fn own(&mut self, from: Option<PeerId>, run: &SliceRun) {
        self.claim(self.me, run);
        for slice in self.existing(run) {
            if self.get(slice) == Some(self.mine(run.ver)) {
                self.owned[usize::from(slice)] = Some(from);
            }
        }
    }

    pub(super) fn grant(&mut self, to: PeerId, run: &SliceRun) {
        self.claim(to, run);
        for slice in self.existing(run) {
            if self.owner(slice) == Some(to) {
                self.grants.insert(slice, to);
            }
        }
    }

    pub(super) fn end_grant(&mut self, slice: u16) {
        self.grants.remove(&slice);
    }

    pub(super) fn contest(&mut self, slice: u16, rival: PeerId) {
        if self.is_mine(slice) {
            self.contests.entry(slice).or_default().insert(rival);
        }
    }

    pub(super) fn concede(&mut self, slice: u16, rival: &PeerId) {
        if let Some(rivals) = self.contests.get_mut(&slice) {
            rivals.remove(rival);
            if rivals.is_empty() {
                self.contests.remove(&slice);
            }
        }
    }

    pub(super) fn concede_all(&mut self, rival: &PeerId) {
        self.contests.retain(|_, rivals| {
            rivals.remove(rival);
            !rivals.is_empty()
        });
    }
}

impl ClaimMap {
    /// Returns all slices.
    pub(crate) fn slices(&self) -> Range<u16> {
        0..self.slicing.count()
    }

    /// Returns the slices of a run that there are.
    pub(crate) fn existing(&self, run: &SliceRun) -> Range<u16> {
        let (slices, count) = (run.slices(), self.slicing.count());
        slices.start.min(count)..slices.end.min(count)
    }

    /// Returns for each slice whether one of the runs has it.
    pub(crate) fn mark(&self, runs: &[SliceRun]) -> Vec<bool> {
        let mut marks = vec![false; self.highest.len()];
        for slice in runs.iter().flat_map(|run| self.existing(run)) {
            marks[usize::from(slice)] = true;
        }
        marks
    }

    /// Returns the highest claim of a slice.
    pub(crate) fn get(&self, slice: u16) -> Option<SliceClaim> {
        self.highest.get(usize::from(slice)).copied().flatten()
    }

    /// Returns the highest claims by slice.
    pub(crate) fn all(&self) -> &[Option<SliceClaim>] {
        &self.highest
    }

    /// Returns the owner of each slice that has one.
    pub(crate) fn owners(&self) -> impl Iterator<Item = PeerId> {
        self.highest.iter().flatten().map(|claim| claim.owner)
    }

    /// Returns the router with the highest claim of a slice.
    pub(crate) fn owner(&self, slice: u16) -> Option<PeerId> {
        self.get(slice).map(|claim| claim.owner)
    }

    /// Returns whether the highest claim of a slice is this router's.
    pub(crate) fn is_mine(&self, slice: u16) -> bool {
        self.owner(slice) == Some(self.me)
    }

    /// Returns whether a slice is this router's beyond doubt.
    pub(crate) fn owns(&self, slice: u16) -> bool {
        self.granter(slice).is_some()
    }

    /// Returns, of a slice that this router owns beyond doubt, the router that granted it, if any did.
    pub(crate) fn granter(&self, slice: u16) -> Option<Option<PeerId>> {
        self.owned.get(usize::from(slice)).copied().flatten()
    }

    /// Returns how many slices are this router's beyond doubt.
    pub(crate) fn owned(&self) -> usize {
        self.owned.iter().flatten().count()
    }

    /// Returns whether addresses of the slice may be given out here.
    pub(crate) fn is_usable(&self, slice: u16) -> bool {
        self.owns(slice) && !self.contests.contains_key(&slice)
    }

    /// Returns whether nobody is known to own anything.
    pub(crate) fn is_blank(&self) -> bool {
        self.highest.iter().all(Option::is_none)
    }

    /// Returns whether the owner of every slice is known.
    pub(crate) fn is_complete(&self) -> bool {
        self.highest.iter().all(Option::is_some)
    }

    /// Returns the other routers that claim a slice of this one.
    pub(crate) fn rivals(&self, slice: u16) -> Option<&BTreeSet<PeerId>> {
        self.contests.get(&slice)
    }

    /// Returns contested slices and their rivals.
    pub(crate) fn contests(&self) -> impl Iterator<Item = (u16, PeerId)> {
        let contests = self.contests.iter();
        contests.flat_map(|(slice, rivals)| rivals.iter().map(|rival| (*slice, *rival)))
    }

    /// Returns the slices that one rival contests.
    pub(crate) fn contested_by(&self, rival: &PeerId) -> Vec<u16> {
        let contests = self.contests.iter();
        let contests = contests.filter(|(_, rivals)| rivals.contains(rival));
        contests.map(|(slice, _)| *slice).collect()
    }

    /// Returns granted slices that their new owners do not claim yet.
    pub(crate) fn grants(&self) -> &BTreeMap<u16, PeerId> {
        &self.grants
    }

    /// Returns slices with the version after that of their claims, as runs.
    pub(crate) fn raised(&self, slices: impl IntoIterator<Item = u16>) -> Vec<SliceRun> {
        let slices = slices.into_iter();
        SliceRun::collect(slices.filter_map(|s| Some((s, next(self.get(s)?.ver)))))
    }

    /// Returns slices with the version of their claims, as runs.
    pub(crate) fn runs(&self, slices: impl IntoIterator<Item = u16>) -> Vec<SliceRun> {
        let slices = slices.into_iter();
        SliceRun::collect(slices.filter_map(|s| Some((s, self.get(s)?.ver))))
    }

    /// Returns a claim of this router.
    pub(crate) fn mine(&self, ver: u32) -> SliceClaim {
        let owner = self.me;
        SliceClaim { owner, ver }
    }

    /// Returns entries that lead to this map but for its contests.
    pub(super) fn snapshot(&self) -> Vec<JournalEntry> {
        let mut entries = Vec::new();
        let owners: BTreeSet<PeerId> = self.owners().collect();
        for owner in owners {
            let theirs = self.slices().filter(|s| self.owner(*s) == Some(owner));
            let runs = self.runs(theirs).into_iter();
            entries.extend(runs.map(|run| JournalEntry::Claim { owner, run }));
        }
        for slice in self.slices().filter(|s| self.owns(*s)) {
            let from = self.granter(slice).flatten();
            let run = self.run_of(slice);
            match entries.last_mut() {
                Some(JournalEntry::Own { from: f, run: r })
                    if *f == from && r.ver == run.ver && r.first + r.count == slice =>
                {
                    r.count += 1;
                }
                _ => entries.push(JournalEntry::Own { from, run }),
            }
        }
        for (slice, to) in &self.grants {
            let run = self.run_of(*slice);
            entries.push(JournalEntry::Grant { to: *to, run });
        }
        entries
    }

    fn run_of(&self, slice: u16) -> SliceRun {
        SliceRun {
            first: slice,
            count: 1,
            ver: self.get(slice).map_or(0, |c| c.ver),
        }
    }
}
