//! The choice of an address: the lowest free one of a subnet in the slices that this router may use.

use core::ops::{Range, RangeInclusive};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sha2::{Digest, Sha256};

use super::{AddressState, DurableState, Fault};
use mesh_proto::ids::PeerId;

impl DurableState {
    /// Returns the lowest free address of a subnet. In a subnet of several slices each router begins at another one: two
    /// that allocate before they meet then rarely choose the same. Never one that people, and some software, take for a
    /// network or a broadcast address.
    pub(crate) fn find_free(&self, subnet: Ipv4Net) -> Option<Ipv4Addr> {
        let slices = self.state.slicing().slices_of(subnet);
        // In a network besides `default` nobody allocates before it met the owner.
        let first = match self.state.slicing().is_subnet() {
            true => slices.start,
            false => first_slice(&self.state.me(), &slices),
        };
        let slices = (first..slices.end).chain(slices.start..first);
        for slice in slices.filter(|s| self.may_use(*s)) {
            if self.free_in(slice) == 0 && !self.has_fault(Fault::NoPins) {
                continue;
            }
            let mut hosts = hosts(&self.state, slice, subnet).map(Ipv4Addr::from);
            let is_free = |addr: &Ipv4Addr| !self.is_kept_back(*addr) && !self.excludes(*addr);
            if let Some(addr) = hosts.find(is_free) {
                return Some(addr);
            }
        }
        None
    }

    /// Returns how many addresses of a slice may be allocated and are not leased.
    pub(crate) fn free_in(&self, slice: u16) -> u32 {
        let slicing = self.state.slicing();
        let (mut odd, mut odd_in_use) = (0, 0);
        for addr in self.kept_back(slicing.net(slice)) {
            odd += 1;
            odd_in_use += u32::from(self.excludes(addr));
        }
        let used = self.state.leases().in_slice(slice);
        let used = used.saturating_sub(odd_in_use);
        let all = slicing.size().saturating_sub(odd);
        all.saturating_sub(used)
    }

    /// Returns whether an address is given out only if it is asked for by itself.
    pub(crate) fn is_kept_back(&self, addr: Ipv4Addr) -> bool {
        is_odd(addr) || self.reserved() == Some(addr)
    }

    /// Returns the addresses of a slice that are given out only if they are asked for by themselves, if at all.
    fn kept_back(&self, slice: Ipv4Net) -> impl Iterator<Item = Ipv4Addr> {
        let slicing = self.state.slicing();
        let subnet = slicing.is_subnet().then(|| slicing.range());
        let ends = subnet
            .into_iter()
            .flat_map(|s| [s.network(), s.broadcast()]);
        let more = ends.chain(self.reserved());
        odd_of(slice).chain(more.filter(move |addr| slice.contains(addr) && !is_odd(*addr)))
    }

    fn excludes(&self, addr: Ipv4Addr) -> bool {
        let leases = self.state.leases();
        leases.local(&addr).is_some()
            || (leases.remote(&addr).is_some() && !self.has_fault(Fault::NoPins))
    }
}

/// Returns the one of these slices at which a router begins, by a hash of its identity.
fn first_slice(me: &PeerId, slices: &Range<u16>) -> u16 {
    let hash = Sha256::new()
        .chain_update(b"mesh home v1")
        .chain_update(me.0);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.finalize()[..8]);
    let count = u64::try_from(slices.len()).unwrap_or(1).max(1);
    let offset = u64::from_be_bytes(first) % count;
    slices.start + u16::try_from(offset).unwrap_or(0)
}

/// Returns whether an address looks like that of a network or like a broadcast address: x.x.x.0, x.x.x.255. In a larger
/// subnet a container may request it, but is not given it.
fn is_odd(addr: Ipv4Addr) -> bool {
    matches!(addr.octets()[3], 0 | 255)
}

/// Returns the addresses of a slice that are not allocated.
fn odd_of(slice: Ipv4Net) -> impl Iterator<Item = Ipv4Addr> {
    let (first, last) = (u32::from(slice.network()), u32::from(slice.broadcast()));
    let blocks = (first >> 8)..=(last >> 8);
    let odd = blocks.flat_map(|block| [block << 8, block << 8 | 255]);
    odd.filter(move |addr| (first..=last).contains(addr))
        .map(Ipv4Addr::from)
}

/// Returns the addresses of a slice that a host of `subnet` may have, as numbers.
fn hosts(state: &AddressState, slice: u16, subnet: Ipv4Net) -> RangeInclusive<u32> {
    let whole = state.slicing().subnet_of(subnet);
    let slice = state.slicing().net(slice);
    let mut first = u32::from(whole.network()).saturating_add(1);
    let mut last = u32::from(whole.broadcast()).saturating_sub(1);
    if whole != subnet {
        first = first.max(u32::from(subnet.network()));
        last = last.min(u32::from(subnet.broadcast()));
    }
    u32::from(slice.network()).max(first)..=u32::from(slice.broadcast()).min(last)
}
