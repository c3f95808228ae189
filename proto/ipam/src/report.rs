//! All that operators see: owners of space, leases, requests that wait, and doubts with the command that ends each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use sha2::{Digest, Sha256};

use super::Ipam;
use super::refusal::Namer;
use super::requester::WaitingRequest;
use super::slices::Slicing;
use super::wire::Conflict;
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;

/// An address of a container of this router, in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkLease<'a> {
    /// The network.
    pub network: NetworkId,
    /// The address.
    pub address: IpAddr,
    /// The container.
    pub container: &'a str,
}

/// The number of an address of a container of this router ([`crate::slices::numbers`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation<'a> {
    /// The address.
    pub addr: Ipv4Addr,
    /// Prefix length of its subnet.
    pub prefix: u8,
    /// The container.
    pub container: &'a str,
    /// This very address was requested.
    pub explicit: bool,
    /// The owner of its slice, if that is another router.
    pub leased_from: Option<PeerId>,
}

/// The space of one router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceOwner {
    /// The router.
    pub peer: PeerId,
    /// The number of slices.
    pub slices: usize,
    /// The number of addresses in them.
    pub addresses: u64,
    /// It can be reached; the router itself always can.
    pub reachable: bool,
    /// Slices that are not usable yet: granted, or taken over, and not confirmed. Known of this router only.
    pub pending: usize,
}

/// Free space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Addresses free in this router's own slices, network and broadcast addresses of subnets included.
    pub free: u64,
    /// Routers with space that can be reached.
    pub reachable: usize,
    /// Owners that cannot.
    pub unreachable: usize,
}

impl Ipam {
    /// Returns the slices of its range.
    pub fn slicing(&self) -> &Slicing {
        self.registry.slicing()
    }

    /// Returns all addresses of this router's containers, ascending.
    pub fn allocations(&self) -> impl Iterator<Item = Allocation<'_>> {
        let (state, me) = (self.registry.state(), self.registry.me());
        let leases = state.leases().all_local().iter();
        leases.map(move |(addr, lease)| {
            let slice = state.slicing().slice_of(*addr);
            let owner = slice.and_then(|s| state.claims().owner(s));
            Allocation {
                addr: *addr,
                prefix: lease.prefix,
                container: &lease.container,
                explicit: lease.explicit,
                leased_from: owner.filter(|owner| *owner != me),
            }
        })
    }

    /// Returns the router that may have an address of the range, as far as is known here: the one that leases it, if it is
    /// of a slice of this router; else the owner of its slice, which may have leased it to another.
    pub fn rightful(&self, addr: Ipv4Addr) -> Option<PeerId> {
        let state = self.registry.state();
        let lease = state.leases().remote(&addr).map(|lease| lease.to);
        lease.or_else(|| state.claims().owner(state.slicing().slice_of(addr)?))
    }

    /// Returns addresses of this router's slices that other routers lease, and which routers.
    pub fn remote_leases(&self) -> impl Iterator<Item = (Ipv4Addr, PeerId)> {
        let leases = self.registry.state().leases().all_remote().iter();
        leases.map(|(addr, lease)| (*addr, lease.to))
    }

    /// Returns the space of each router that has any.
    pub fn owners(&self) -> Vec<SpaceOwner> {
        let (claims, me) = (self.registry.state().claims(), self.registry.me());
        let mut owners: BTreeMap<PeerId, (usize, usize)> = BTreeMap::new();
        for slice in claims.slices() {
            if let Some(owner) = claims.owner(slice) {
                let (slices, pending) = owners.entry(owner).or_default();
                *slices += 1;
                *pending += usize::from(owner == me && !claims.owns(slice));
            }
        }
        let size = u64::from(self.registry.slicing().size());
        let owners = owners.into_iter();
        owners
            .map(|(peer, (slices, pending))| SpaceOwner {
                peer,
                slices,
                addresses: size * u64::try_from(slices).unwrap_or(u64::MAX),
                reachable: peer == me || self.registry.peers().is_member(&peer),
                pending,
            })
            .collect()
    }

    /// Returns slices that the map calls this router's, usable or not yet.
    pub fn own(&self) -> impl Iterator<Item = u16> {
        let claims = self.registry.state().claims();
        claims.slices().filter(|s| claims.is_mine(*s))
    }

    /// Returns slices out of which this router gives addresses now: its own, which nobody else claims.
    pub fn usable(&self) -> impl Iterator<Item = u16> {
        let claims = self.registry.state().claims();
        claims.slices().filter(|s| claims.is_usable(*s))
    }

    /// Returns the free space here and elsewhere, for a warning when it is little.
    pub fn space(&self) -> Space {
        let durable = self.registry.durable();
        let free = self.usable().map(|s| u64::from(durable.free_in(s)));
        let members = self.registry.peers().members();
        let owners = self.owners();
        Space {
            free: free.sum(),
            reachable: members.filter(|(_, s)| s.free > 0).count(),
            unreachable: owners.iter().filter(|owner| !owner.reachable).count(),
        }
    }

    /// Returns requests that wait, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = WaitingRequest<'_>> {
        self.requester.waiting()
    }

    /// Returns addresses that two routers lease, as their owners say: those of this router, and those that others report.
    pub fn conflicts(&self) -> BTreeSet<Conflict> {
        let members = self.registry.peers().members();
        let theirs = members.flat_map(|(_, s)| s.conflicts.iter().copied());
        theirs.chain(self.registry.own_conflicts()).collect()
    }

    /// Returns slices of this router out of which nothing is allocated because another claims them too.
    pub fn contested(&self) -> impl Iterator<Item = (IpNet, PeerId)> {
        let state = self.registry.state();
        let (contests, slicing) = (state.claims().contests(), state.slicing());
        contests.map(|(slice, rival)| (slicing.net_of(slicing.net(slice)), rival))
    }

    /// Returns routers that allocate from another range, with which addresses are not shared.
    pub fn other_ranges(&self) -> impl Iterator<Item = (PeerId, Ipv4Net)> {
        let range = self.registry.range();
        let statements = self.registry.peers().statements();
        let ranges = statements.map(|(id, statement)| (*id, statement.range));
        ranges.filter(move |(_, theirs)| *theirs != range)
    }

    /// Returns one line for each thing an operator has to decide, with the command; `name` makes a router's name for
    /// people, `release` the command that takes an address from its container.
    pub fn advice(&self, name: Namer<'_>, release: &dyn Fn(&str, IpNet) -> String) -> Vec<String> {
        advice_of(self, name, release)
    }

    /// Returns a hash of all claims; equal on all routers that can reach one another, when nothing changes.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for claim in self.registry.state().claims().all() {
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

fn advice_of(ipam: &Ipam, name: Namer<'_>, release: &dyn Fn(&str, IpNet) -> String) -> Vec<String> {
    let mut lines = Vec::new();
    for conflict in ipam.conflicts() {
        let (first, second) = (name(&conflict.first), name(&conflict.second));
        let slicing = ipam.slicing();
        let addr = slicing.address(conflict.addr);
        lines.push(match ipam.registry.state().leases().local(&conflict.addr) {
            Some(lease) => format!(
                "{addr} is held on {first} and on {second}; to end that here: {}",
                release(
                    &lease.container,
                    slicing.with_prefix(conflict.addr, lease.prefix)
                )
            ),
            None => format!(
                "{addr} is held on {first} and on {second}; to end that, on one of them: mesh detach, as mesh status ipam says there"
            ),
        });
    }
    let mut rivals: BTreeMap<PeerId, usize> = BTreeMap::new();
    for (_, rival) in ipam.contested() {
        *rivals.entry(rival).or_default() += 1;
    }
    for (rival, slices) in rivals {
        let who = name(&rival);
        lines.push(match ipam.registry.peers().is_member(&rival) {
            true => format!(
                "{slices} slices are claimed by {who} too; nothing to do, it is told to give way"
            ),
            false => format!(
                "{slices} slices are claimed by {who} too, which cannot be reached; if it is gone for good: mesh rmpeer {who}"
            ),
        });
    }
    for (peer, theirs) in ipam.other_ranges() {
        let (who, ours) = (name(&peer), ipam.registry.range());
        lines.push(format!(
            "{who} allocates from {theirs}, not {ours}; to share addresses, there: mesh reset, and mesh launch --ipalloc-range {ours}"
        ));
    }
    lines
}
