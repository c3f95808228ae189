//! Addresses of slices that this router may use: the lowest free one of a subnet, or this very one.

use core::ops::{Range, RangeInclusive};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sha2::{Digest, Sha256};

use super::journal::Entry;
use super::refusal::{Refusal, Wait};
use super::request::{Request, Step};
use super::slices::Run;
use super::state::{Held, State, USED};
use super::wire::Want;
use super::{Fault, Ipam};
use crate::ids::PeerId;
use crate::limits::MAX_HELD;
use crate::time::Instant;

impl Ipam {
    pub(super) fn step_subnet(
        &mut self,
        number: u64,
        request: &Request,
        subnet: Ipv4Net,
        now: Instant,
    ) -> Step {
        if let Some(addr) = self.again(request, subnet) {
            return Step::Done(addr);
        }
        if self.state.held.len() >= MAX_HELD {
            return Step::Failed(Refusal::Limit);
        }
        if self.state.has_no_map()
            && let Some(wait) = self.found(request.since, now)
        {
            return self.ask_founder(number, request, wait, now);
        }
        if let Some(addr) = self.find_free(subnet) {
            self.hold(addr, request);
            return Step::Done(addr);
        }
        self.ask_for_space(number, request, subnet, now)
    }

    /// The address that the container was given in this subnet; not one that it claimed.
    fn again(&self, request: &Request, subnet: Ipv4Net) -> Option<Ipv4Addr> {
        let addrs = self.state.containers.get(&request.container)?;
        let fits = |addr: &&Ipv4Addr| {
            let held = self.state.held.get(*addr);
            let is_given = |held: &Held| held.prefix == request.prefix && !held.explicit;
            subnet.contains(*addr) && held.is_some_and(is_given)
        };
        addrs.iter().find(fits).copied()
    }

    /// The lowest free address of a subnet in slices that may be used. In a subnet of several slices each router begins
    /// at another one: two that allocate before they meet then rarely give out the same. Never one that people, and some
    /// software, take for a network or a broadcast address.
    pub(super) fn find_free(&self, subnet: Ipv4Net) -> Option<Ipv4Addr> {
        let slices = self.state.slicing.slices_of(subnet);
        let home = home(&self.config.me, &slices);
        let slices = (home..slices.end).chain(slices.start..home);
        for slice in slices.filter(|s| self.may_use(*s)) {
            if self.left_in(slice) == 0 && !self.has_fault(Fault::NoPins) {
                continue;
            }
            let mut hosts = hosts(&self.state, slice, subnet).map(Ipv4Addr::from);
            if let Some(addr) = hosts.find(|addr| !is_odd(*addr) && !self.excludes(*addr)) {
                return Some(addr);
            }
        }
        None
    }

    /// How many addresses of a slice may be allocated and are neither held nor lent.
    pub(super) fn left_in(&self, slice: u16) -> u32 {
        let (mut odd, mut odd_in_use) = (0, 0);
        for addr in odd_of(self.state.slicing.net(slice)) {
            odd += 1;
            odd_in_use += u32::from(self.excludes(addr));
        }
        let used = self.state.used.get(usize::from(slice)).copied();
        let used = used.unwrap_or_default().saturating_sub(odd_in_use);
        let all = self.state.slicing.size().saturating_sub(odd);
        all.saturating_sub(used)
    }

    pub(super) fn may_use(&self, slice: u16) -> bool {
        self.state.usable(slice)
            || (self.has_fault(Fault::NoAgreement)
                && self.state.owner(slice) == Some(self.config.me))
    }

    pub(super) fn hold(&mut self, addr: Ipv4Addr, request: &Request) {
        self.mark_used(addr);
        self.record(&Entry::Hold {
            addr,
            prefix: request.prefix,
            explicit: matches!(request.want, Want::Address(_)),
            container: request.container.clone(),
        });
    }

    /// Says, before the first address of a slice is given out, that the slice is used.
    pub(super) fn mark_used(&mut self, addr: Ipv4Addr) {
        let Some(first) = self.state.slicing.slice_of(addr) else {
            return;
        };
        let owned = self.state.owned[usize::from(first)];
        let claim = self.state.claim_of(first);
        if let (Some(from), Some(claim)) = (owned, claim)
            && claim.ver & USED == 0
        {
            let (count, ver) = (1, claim.ver | USED);
            let run = Run { first, count, ver };
            self.record(&Entry::Own { from, run });
        }
    }

    pub(super) fn step_address(
        &mut self,
        number: u64,
        request: &Request,
        addr: Ipv4Addr,
        now: Instant,
    ) -> Step {
        if let Some(held) = self.state.held.get(&addr) {
            return match held.container == request.container {
                true => Step::Done(addr),
                false => Step::Failed(Refusal::Held(addr, held.container.clone())),
            };
        }
        if self.state.has_no_map()
            && let Some(wait) = self.found(request.since, now)
        {
            return self.ask_founder(number, request, wait, now);
        }
        let Some(slice) = self.state.slicing.slice_of(addr) else {
            return Step::Failed(Refusal::NotAHost(addr));
        };
        let Some(owner) = self.state.owner(slice) else {
            return Step::Wait(Wait::Space(0, None));
        };
        if owner != self.config.me {
            if !self.is_member(&owner) {
                return Step::Failed(Refusal::OwnerUnreachable(addr, owner));
            }
            self.ask(number, request, owner, now);
            return Step::Wait(Wait::Owner(owner));
        }
        if let Some(loan) = self.state.loans.get(&addr)
            && !self.has_fault(Fault::NoPins)
        {
            return Step::Failed(Refusal::HeldBy(addr, loan.to));
        }
        if let Some(rivals) = self.state.contests.get(&slice) {
            let rival = rivals.first().copied().unwrap_or(owner);
            return match self.is_member(&rival) {
                true => Step::Wait(Wait::Contest(rival)),
                false => Step::Failed(Refusal::Contested(addr, rival)),
            };
        }
        if !self.may_use(slice) {
            return Step::Wait(Wait::Agreement);
        }
        self.hold(addr, request);
        Step::Done(addr)
    }
}

/// The slice at which a router begins: one of these, by a hash of its identity.
fn home(me: &PeerId, slices: &Range<u16>) -> u16 {
    let hash = Sha256::new()
        .chain_update(b"mesh home v1")
        .chain_update(me.0);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    let count = u64::try_from(slices.len()).unwrap_or(1).max(1);
    let offset = u64::from_be_bytes(first) % count;
    slices.start + u16::try_from(offset).unwrap_or(0)
}

/// Whether an address looks like that of a network or like a broadcast address: x.x.x.0, x.x.x.255. A container may claim
/// it in a larger subnet, but is not given it.
fn is_odd(addr: Ipv4Addr) -> bool {
    matches!(addr.octets()[3], 0 | 255)
}

/// The addresses of a slice that are not allocated.
fn odd_of(slice: Ipv4Net) -> impl Iterator<Item = Ipv4Addr> {
    let (first, last) = (u32::from(slice.network()), u32::from(slice.broadcast()));
    let blocks = (first >> 8)..=(last >> 8);
    let odd = blocks.flat_map(|block| [block << 8, block << 8 | 255]);
    odd.filter(move |addr| (first..=last).contains(addr))
        .map(Ipv4Addr::from)
}

/// The addresses of a slice that a host of `subnet` may have, as numbers.
fn hosts(state: &State, slice: u16, subnet: Ipv4Net) -> RangeInclusive<u32> {
    let slice = state.slicing.net(slice);
    let first = u32::from(subnet.network()).saturating_add(1);
    let last = u32::from(subnet.broadcast()).saturating_sub(1);
    u32::from(slice.network()).max(first)..=u32::from(slice.broadcast()).min(last)
}
