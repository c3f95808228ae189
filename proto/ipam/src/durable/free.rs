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
        let first = first_slice(&self.state.me(), &slices);
        let slices = (first..slices.end).chain(slices.start..first);
        for slice in slices.filter(|s| self.may_use(*s)) {
            if self.free_in(slice) == 0 && !self.has_fault(Fault::NoPins) {
                continue;
            }
            let mut hosts = hosts(&self.state, slice, subnet).map(Ipv4Addr::from);
            if let Some(addr) = hosts.find(|addr| !is_odd(*addr) && !self.excludes(*addr)) {
                return Some(addr);
            }
        }
        None
    }

    /// Returns how many addresses of a slice may be allocated and are not leased.
    pub(crate) fn free_in(&self, slice: u16) -> u32 {
        let (mut odd, mut odd_in_use) = (0, 0);
        for addr in odd_of(self.state.slicing().net(slice)) {
            odd += 1;
            odd_in_use += u32::from(self.excludes(addr));
        }
        let used = self.state.leases().in_slice(slice);
        let used = used.saturating_sub(odd_in_use);
        let all = self.state.slicing().size().saturating_sub(odd);
        all.saturating_sub(used)
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
    let slice = state.slicing().net(slice);
    let first = u32::from(subnet.network()).saturating_add(1);
    let last = u32::from(subnet.broadcast()).saturating_sub(1);
    u32::from(slice.network()).max(first)..=u32::from(slice.broadcast()).min(last)
}
