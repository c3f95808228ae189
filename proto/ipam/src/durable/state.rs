//! The state that a router must not forget. It changes by [`JournalEntry`] only, so replaying a journal gives it again.

use super::super::slices::Slicing;
use super::claims::ClaimMap;
use super::entry::JournalEntry;
use super::leases::{Leases, LocalLease, RemoteLease};
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::MAX_FENCES;

/// Claims, leases and removals, as the journal says them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressState {
    me: PeerId,
    slicing: Slicing,
    claims: ClaimMap,
    leases: Leases,
    /// Routers that were removed, and the last of their statements that counts no more; oldest first.
    fences: Vec<(PeerId, Version)>,
}

impl AddressState {
    /// Makes the state of a new router.
    pub(crate) fn new(me: PeerId, slicing: Slicing) -> Self {
        Self {
            me,
            slicing,
            claims: ClaimMap::new(me, slicing),
            leases: Leases::new(slicing),
            fences: Vec::new(),
        }
    }

    /// Carries out one entry. Entries that say nothing new change nothing.
    pub(crate) fn apply(&mut self, entry: &JournalEntry) {
        match entry {
            JournalEntry::Claim { owner, run } => self.claims.claim(*owner, run),
            JournalEntry::Own { from, run } => self.claims.own(*from, run),
            JournalEntry::Grant { to, run } => self.claims.grant(*to, run),
            JournalEntry::Granted { slice } => self.claims.end_grant(*slice),
            JournalEntry::Lease {
                addr,
                prefix,
                explicit,
                container,
            } => {
                let lease = LocalLease {
                    container: container.clone(),
                    prefix: *prefix,
                    explicit: *explicit,
                };
                self.leases.lease(*addr, lease);
            }
            JournalEntry::Release { addr } => self.leases.release(*addr),
            JournalEntry::RemoteLease {
                addr,
                to,
                epoch,
                number,
            } => {
                let (to, epoch, number) = (*to, *epoch, *number);
                let lease = RemoteLease { to, epoch, number };
                self.leases.lease_out(*addr, lease);
            }
            JournalEntry::RemoteRelease { addr } => self.leases.release_remote(*addr),
            JournalEntry::Contest { slice, rival } => self.claims.contest(*slice, *rival),
            JournalEntry::Conceded { slice, rival } => self.claims.concede(*slice, rival),
            JournalEntry::Fence { peer, version } => self.fence(*peer, *version),
        }
    }

    /// Frees all that a removed router leased, and ends the doubt about all that it claimed.
    fn fence(&mut self, peer: PeerId, version: Version) {
        self.leases.fence(peer, version);
        self.claims.concede_all(&peer);
        self.fences.retain(|(p, _)| *p != peer);
        self.fences.push((peer, version));
        if self.fences.len() > MAX_FENCES {
            self.fences.remove(0);
        }
    }

    /// Returns the identity of this router.
    pub(crate) fn me(&self) -> PeerId {
        self.me
    }

    /// Returns the range and its slices.
    pub(crate) fn slicing(&self) -> &Slicing {
        &self.slicing
    }

    /// Returns the owners of slices.
    pub(crate) fn claims(&self) -> &ClaimMap {
        &self.claims
    }

    /// Returns the leases of addresses.
    pub(crate) fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Returns removed routers, each with the last of their statements that counts no more; oldest first.
    pub(crate) fn fences(&self) -> &[(PeerId, Version)] {
        &self.fences
    }

    /// Returns up to which statement a router was removed.
    pub(crate) fn fence_of(&self, peer: &PeerId) -> Option<Version> {
        let mut fences = self.fences.iter();
        fences.find(|(p, _)| p == peer).map(|(_, v)| *v)
    }

    /// Returns whether a router owns, leases or contests anything.
    pub(crate) fn involves(&self, peer: &PeerId) -> bool {
        self.claims.owners().any(|owner| owner == *peer)
            || self.leases.has_remote(peer)
            || self.claims.contests().any(|(_, rival)| rival == *peer)
    }

    /// Returns entries that lead to this state.
    pub(super) fn snapshot(&self) -> Vec<JournalEntry> {
        let mut entries = self.claims.snapshot();
        // Before the leases: a router that was removed and leases again does so after its removal.
        for (peer, version) in &self.fences {
            let (peer, version) = (*peer, *version);
            entries.push(JournalEntry::Fence { peer, version });
        }
        entries.extend(self.leases.snapshot());
        let contests = self.claims.contests();
        entries.extend(contests.map(|(slice, rival)| JournalEntry::Contest { slice, rival }));
        entries
    }
}
