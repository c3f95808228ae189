//! What operators see: who owns how much, what is held, what waits, what is in doubt and which command ends that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sha2::{Digest, Sha256};

use super::Ipam;
use super::peers::Peer;
use super::refusal::{Namer, Wait};
use super::request::RequestId;
use super::wire::{Conflict, Want};
use crate::ids::PeerId;
use crate::time::Instant;

/// An address of a container of this router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation<'a> {
    /// The address.
    pub addr: Ipv4Addr,
    /// Prefix length of its subnet.
    pub prefix: u8,
    /// Whose it is.
    pub container: &'a str,
    /// Whether it was claimed rather than allocated.
    pub explicit: bool,
    /// The owner of its slice, if that is another router.
    pub lent_by: Option<PeerId>,
}

/// What a router owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Who.
    pub peer: PeerId,
    /// How many slices.
    pub slices: usize,
    /// How many addresses that is.
    pub addresses: u64,
    /// Whether it can be reached; the router itself can.
    pub reachable: bool,
    /// Slices that are not usable yet: given, or taken over, and not confirmed. Known of this router only.
    pub pending: usize,
}

/// What is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Addresses free in this router's own slices, network and broadcast addresses of subnets included.
    pub free: u64,
    /// Routers with space that can be reached.
    pub reachable: usize,
    /// Owners that cannot.
    pub unreachable: usize,
}

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting<'a> {
    /// Which.
    pub request: RequestId,
    /// For whom.
    pub container: &'a str,
    /// For what.
    pub want: Want,
    /// Since when.
    pub since: Instant,
    /// Until when at most.
    pub deadline: Instant,
    /// Why.
    pub why: &'a Wait,
}

impl Ipam {
    /// All addresses of this router's containers, ascending.
    pub fn allocations(&self) -> impl Iterator<Item = Allocation<'_>> {
        self.state.held.iter().map(|(addr, held)| {
            let slice = self.state.slicing.slice_of(*addr);
            let owner = slice.and_then(|s| self.state.owner(s));
            Allocation {
                addr: *addr,
                prefix: held.prefix,
                container: &held.container,
                explicit: held.explicit,
                lent_by: owner.filter(|owner| *owner != self.config.me),
            }
        })
    }

    /// The router that may hold an address of the range, as far as is known here: whom it is lent to, if it is of a slice of
    /// this router; else the owner of its slice, who may have lent it to another.
    pub fn rightful(&self, addr: Ipv4Addr) -> Option<PeerId> {
        let lent = self.state.loans.get(&addr).map(|loan| loan.to);
        lent.or_else(|| self.state.owner(self.state.slicing.slice_of(addr)?))
    }

    /// Addresses of this router's slices that other routers hold, and which.
    pub fn loans(&self) -> impl Iterator<Item = (Ipv4Addr, PeerId)> {
        self.state.loans.iter().map(|(addr, loan)| (*addr, loan.to))
    }

    /// Who owns how much.
    pub fn owners(&self) -> Vec<Owner> {
        let mut owners: BTreeMap<PeerId, (usize, usize)> = BTreeMap::new();
        for slice in self.state.slices() {
            if let Some(owner) = self.state.owner(slice) {
                let (slices, pending) = owners.entry(owner).or_default();
                *slices += 1;
                let is_pending = owner == self.config.me && !self.state.owns(slice);
                *pending += usize::from(is_pending);
            }
        }
        let size = u64::from(self.state.slicing.size());
        let owners = owners.into_iter();
        owners
            .map(|(peer, (slices, pending))| Owner {
                peer,
                slices,
                addresses: size * u64::try_from(slices).unwrap_or(u64::MAX),
                reachable: peer == self.config.me || self.is_member(&peer),
                pending,
            })
            .collect()
    }

    /// Slices that the map calls this router's, whether it may use them yet or not.
    pub fn own(&self) -> impl Iterator<Item = u16> {
        let me = self.config.me;
        let slices = self.state.slices();
        slices.filter(move |s| self.state.owner(*s) == Some(me))
    }

    /// Slices out of which this router gives addresses now: its own, which nobody else claims.
    pub fn usable(&self) -> impl Iterator<Item = u16> {
        self.state.slices().filter(|s| self.state.usable(*s))
    }

    /// What is free here and elsewhere, for a warning when it is little.
    pub fn space(&self) -> Space {
        let usable = self.state.slices().filter(|s| self.state.usable(*s));
        let free = usable.map(|s| u64::from(self.left_in(s)));
        let owners = self.owners();
        Space {
            free: free.sum(),
            reachable: self.members().filter(|(_, s)| s.free > 0).count(),
            unreachable: owners.iter().filter(|owner| !owner.reachable).count(),
        }
    }

    /// Requests that wait, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting<'_>> {
        self.requests.values().map(|request| Waiting {
            request: request.id,
            container: &request.container,
            want: request.want,
            since: request.since,
            deadline: request.deadline,
            why: &request.why,
        })
    }

    /// Addresses that two routers hold, as their owners say: those of this router, and those that others report.
    pub fn conflicts(&self) -> BTreeSet<Conflict> {
        let theirs = self
            .members()
            .flat_map(|(_, s)| s.conflicts.iter().copied());
        theirs.chain(self.own_conflicts()).collect()
    }

    /// Slices of this router out of which nothing is allocated because another claims them too.
    pub fn contested(&self) -> impl Iterator<Item = (Ipv4Net, PeerId)> {
        self.state.contests.iter().flat_map(|(slice, rivals)| {
            let net = self.state.slicing.net(*slice);
            rivals.iter().map(move |rival| (net, *rival))
        })
    }

    /// Routers that allocate from another range, with which addresses are not shared.
    pub fn other_ranges(&self) -> impl Iterator<Item = (PeerId, Ipv4Net)> {
        let range = self.range();
        let of = |(id, peer): (&PeerId, &Peer)| Some((*id, peer.statement.as_ref()?.range));
        self.peers
            .iter()
            .filter_map(of)
            .filter(move |(_, theirs)| *theirs != range)
    }

    /// One line for each thing an operator has to decide, with the command; `name` makes a router's name for people,
    /// `release` the command that takes an address from whoever holds it.
    pub fn advice(
        &self,
        name: Namer<'_>,
        release: &dyn Fn(&str, Ipv4Net) -> String,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        for conflict in self.conflicts() {
            let (first, second) = (name(&conflict.first), name(&conflict.second));
            let addr = conflict.addr;
            lines.push(match self.state.held.get(&addr) {
                Some(held) => format!(
                    "{addr} is held on {first} and on {second}; to end that here: {}",
                    release(
                        &held.container,
                        Ipv4Net::new(addr, held.prefix).unwrap_or_else(|_| addr.into())
                    )
                ),
                None => format!(
                    "{addr} is held on {first} and on {second}; to end that, on one of them: mesh detach, as mesh status ipam says there"
                ),
            });
        }
        let mut rivals: BTreeMap<PeerId, usize> = BTreeMap::new();
        for (_, rival) in self.contested() {
            *rivals.entry(rival).or_default() += 1;
        }
        for (rival, slices) in rivals {
            let who = name(&rival);
            lines.push(match self.is_member(&rival) {
                true => format!(
                    "{slices} slices are claimed by {who} too; nothing to do, it is told to give way"
                ),
                false => format!(
                    "{slices} slices are claimed by {who} too, which cannot be reached; if it is gone for good: mesh rmpeer {who}"
                ),
            });
        }
        for (peer, theirs) in self.other_ranges() {
            let (who, ours) = (name(&peer), self.range());
            lines.push(format!(
                "{who} allocates from {theirs}, not {ours}; to share addresses, there: mesh reset, and mesh launch --ipalloc-range {ours}"
            ));
        }
        lines
    }

    /// A hash of who owns what; equal on all routers that can reach one another, when nothing changes.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for claim in &self.state.map {
            match claim {
                Some(claim) => {
                    hash.update([1]);
                    hash.update(claim.owner.0);
                    hash.update(claim.ver.to_be_bytes());
                }
                None => hash.update([0]),
            }
        }
        hash.finalize().into()
    }
}
