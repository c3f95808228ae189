//! The range, cut in slices of equal size, which are numbered from 0 along the line of addresses, without wrap-around.

pub(crate) mod numbers;

use core::ops::Range;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use mesh_proto::limits::MAX_SLICES;

use numbers::numbered;

/// The reason a range cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// The prefix is not between 8 and 28 bits long.
    #[error("{0} has a bad size; a range has a prefix of 8 to 28 bits, like 10.32.0.0/12")]
    Size(IpNet),
    /// Host bits are set.
    #[error("{0} has host bits set; write {1}")]
    HostBits(IpNet, IpNet),
}

/// The range and the size of its slices, which follows from the range:
///
/// | range | slices | addresses in one |
/// |---|---|---|
/// | /8 | 4,096 | 4,096 |
/// | /12 (default) | 4,096 | 256 |
/// | /16 | 256 | 256 |
/// | /20 | 16 | 256 |
/// | /24 | 16 | 16 |
/// | /28 | 4 | 4 |
///
/// All of it counts in numbers of 32 bits, which are written as IPv4 addresses ([`numbers`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slicing {
    range: Ipv4Net,
    slice_bits: u8,
    /// The subnet of a network: only its own first and last addresses are no hosts. None for the range of `default`.
    subnet: Option<IpNet>,
}

/// Slices that follow one another, with equal versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceRun {
    /// The first one.
    pub first: u16,
    /// The number of them.
    pub count: u16,
    /// The version of each.
    pub ver: u32,
}

impl Slicing {
    /// Cuts `range`.
    ///
    /// # Errors
    /// [`RangeError`] for a prefix shorter than 8 or longer than 28 bits, or with host bits.
    pub fn new(range: Ipv4Net) -> Result<Self, RangeError> {
        if range.trunc() != range {
            return Err(RangeError::HostBits(range.into(), range.trunc().into()));
        }
        if !(8..=28).contains(&range.prefix_len()) {
            return Err(RangeError::Size(range.into()));
        }
        Ok(Self {
            range,
            slice_bits: slice_bits(range),
            subnet: None,
        })
    }

    /// Cuts the subnet of a network: into two slices for a /29, and into one for a /30. Of an IPv6 subnet, its first 2^24
    /// addresses.
    ///
    /// # Errors
    /// [`RangeError`] for a prefix shorter than 8 bits or with less than 2 bits for hosts, or with host bits.
    pub fn of_subnet(subnet: IpNet) -> Result<Self, RangeError> {
        if subnet.trunc() != subnet {
            return Err(RangeError::HostBits(subnet, subnet.trunc()));
        }
        let range = numbered(subnet);
        if !(8..=30).contains(&range.prefix_len()) {
            return Err(RangeError::Size(subnet));
        }
        Ok(Self {
            range,
            slice_bits: slice_bits(range),
            subnet: Some(subnet),
        })
    }

    /// Returns whether the range is the subnet of a network other than `default`.
    pub fn is_subnet(&self) -> bool {
        self.subnet.is_some()
    }

    /// Returns the subnet or range as people know it.
    pub fn subnet(&self) -> IpNet {
        self.subnet.unwrap_or(IpNet::V4(self.range))
    }

    /// Returns the subnet, of which only the first and the last address are no hosts, to which a part of the range
    /// belongs.
    pub fn subnet_of(&self, part: Ipv4Net) -> Ipv4Net {
        match self.is_subnet() {
            true => self.range,
            false => part,
        }
    }

    /// Returns the whole range.
    pub fn range(&self) -> Ipv4Net {
        self.range
    }

    /// Returns the number of slices: 1 to [`MAX_SLICES`].
    pub fn count(&self) -> u16 {
        let bits = 32 - self.range.prefix_len() - self.slice_bits;
        1u16.checked_shl(u32::from(bits))
            .unwrap_or(MAX_SLICES)
            .min(MAX_SLICES)
    }

    /// Returns the number of addresses in a slice: 4 to 4,096.
    pub fn size(&self) -> u32 {
        1 << self.slice_bits
    }

    /// Returns the slice of an address of the range.
    pub fn slice_of(&self, addr: Ipv4Addr) -> Option<u16> {
        if !self.range.contains(&addr) {
            return None;
        }
        let offset = u32::from(addr) - u32::from(self.range.network());
        u16::try_from(offset >> self.slice_bits).ok()
    }

    /// Returns the addresses of a slice, as numbers; the end is exclusive and may be 2^32.
    pub fn addresses(&self, slice: u16) -> Range<u64> {
        let first = u64::from(u32::from(self.range.network()))
            + (u64::from(slice) << u32::from(self.slice_bits));
        first..first + u64::from(self.size())
    }

    /// Returns the slice as a subnet.
    pub fn net(&self, slice: u16) -> Ipv4Net {
        let first = u32::try_from(self.addresses(slice).start).unwrap_or(u32::MAX);
        Ipv4Net::new(Ipv4Addr::from(first), 32 - self.slice_bits).unwrap_or(self.range)
    }

    /// Returns the slices that share an address with `net`; empty when it is not in the range.
    pub fn slices_of(&self, net: Ipv4Net) -> Range<u16> {
        if !self.range.contains(&net) {
            return 0..0;
        }
        let first = self.slice_of(net.network()).unwrap_or(0);
        let last = self.slice_of(net.broadcast()).unwrap_or(0);
        first..last + 1
    }

    /// Returns all slices as one run.
    pub fn all(&self, ver: u32) -> SliceRun {
        SliceRun {
            first: 0,
            count: self.count(),
            ver,
        }
    }
}

/// Returns the number of bits of an address within a slice.
fn slice_bits(range: Ipv4Net) -> u8 {
    let bits = 32 - range.prefix_len();
    let largest_count = bits.saturating_sub(12);
    let small_range = bits.saturating_sub(4).clamp(2, 8);
    largest_count.max(small_range)
}

impl SliceRun {
    /// Returns the numbers of its slices; empty past [`MAX_SLICES`].
    pub fn slices(&self) -> Range<u16> {
        self.first.min(MAX_SLICES)..self.first.saturating_add(self.count).min(MAX_SLICES)
    }

    /// Puts slices, ascending and with their versions, together as runs.
    pub fn collect(slices: impl IntoIterator<Item = (u16, u32)>) -> Vec<SliceRun> {
        let mut runs: Vec<SliceRun> = Vec::new();
        for (slice, ver) in slices {
            match runs.last_mut() {
                Some(run) if run.ver == ver && run.first + run.count == slice => run.count += 1,
                _ => runs.push(SliceRun {
                    first: slice,
                    count: 1,
                    ver,
                }),
            }
        }
        runs
    }
}
