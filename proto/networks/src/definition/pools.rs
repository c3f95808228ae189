//! Subnets for networks whose user gave none, chosen of private address space.
//!
//! The choice begins at a place that depends on the name, and takes the first subnet that is free. So two hosts that
//! create a network of one name at once choose alike, and those that create others do not all take the first subnet.

use core::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sha2::{Digest, Sha256};

use super::name::NetworkName;

/// IPv4 space (RFC 1918), each with the prefix length of the subnets that it is cut into: 128 large ones, then 1,024
/// smaller ones. Docker's own pools (172.17.0.0/12 and 192.168.0.0/16) and the default range of the mesh
/// (10.32.0.0/12) are not in it.
pub const POOLS: [(Ipv4Net, u8); 2] = [
    (Ipv4Net::new_assert(Ipv4Addr::new(10, 128, 0, 0), 9), 16),
    (Ipv4Net::new_assert(Ipv4Addr::new(10, 64, 0, 0), 10), 20),
];
/// Prefix length of a chosen IPv6 subnet.
pub const PREFIX6: u8 = 64;

/// Returns the unique local prefix (RFC 4193) of a mesh, a /48: `fd` and the first 40 bits of a hash of its tag. Its
/// first /64 is left to the network `default`.
pub fn local_prefix(mesh: &[u8]) -> Ipv6Net {
    let hash = Sha256::new()
        .chain_update(b"mesh ula v1")
        .chain_update(mesh)
        .finalize();
    let mut bits = 0xfd_u128;
    for byte in hash.iter().take(5) {
        bits = bits << 8 | u128::from(*byte);
    }
    // 48 bits are a valid prefix length.
    Ipv6Net::new_assert((bits << 80).into(), 48)
}

/// Returns an IPv4 subnet for a network that has no name yet, chosen by `seed`, that overlaps none of `taken`; `None` if there
/// is none.
pub fn choose_subnet(seed: &str, taken: &[IpNet]) -> Option<Ipv4Net> {
    let taken: Vec<(u128, u128)> = taken.iter().filter_map(|net| span(*net, true)).collect();
    POOLS.iter().find_map(|(pool, prefix)| {
        let blocks = Blocks {
            base: u32::from(pool.network()).into(),
            size: 32 - u32::from(*prefix),
            count: 1 << (prefix - pool.prefix_len()),
        };
        let base = blocks.first_free(place(seed), &taken)?;
        let base = Ipv4Addr::from(u32::try_from(base).ok()?);
        Ipv4Net::new(base, *prefix).ok()
    })
}

/// Returns an IPv4 subnet for a network of this name that overlaps none of `taken`; `None` if there is none.
pub(crate) fn choose_v4(name: &NetworkName, taken: &[IpNet]) -> Option<IpNet> {
    choose_subnet(name.as_str(), taken).map(IpNet::V4)
}

/// Returns an IPv6 subnet of `prefix`, a /48, likewise.
pub(crate) fn choose_v6(prefix: Ipv6Net, name: &NetworkName, taken: &[IpNet]) -> Option<IpNet> {
    let taken: Vec<(u128, u128)> = taken.iter().filter_map(|net| span(*net, false)).collect();
    let blocks = Blocks {
        base: u128::from(prefix.network()) + (1 << (128 - PREFIX6)),
        size: 128 - u32::from(PREFIX6),
        count: (1 << (PREFIX6 - 48)) - 1,
    };
    let base = blocks.first_free(place(name.as_str()), &taken)?;
    Some(Ipv6Net::new(base.into(), PREFIX6).ok()?.into())
}

/// Blocks of addresses of equal size, one after the other.
struct Blocks {
    /// First address.
    base: u128,
    /// Bits of an address within a block.
    size: u32,
    count: usize,
}

impl Blocks {
    /// Returns the first address of the first block that is free of `taken`, in the order from `place` on and around.
    fn first_free(&self, place: u64, taken: &[(u128, u128)]) -> Option<u128> {
        let mut free = vec![true; self.count];
        let number = |addr: u128| usize::try_from(addr.saturating_sub(self.base) >> self.size);
        for (first, last) in taken.iter().filter(|(_, last)| *last >= self.base) {
            let first = number(*first).unwrap_or(usize::MAX).min(self.count);
            let last = number(*last).unwrap_or(usize::MAX).min(self.count - 1);
            free.iter_mut()
                .take(last + 1)
                .skip(first)
                .for_each(|free| *free = false);
        }
        let start = usize::try_from(place % u64::try_from(self.count).ok()?).ok()?;
        let mut around = (start..self.count).chain(0..start);
        let block = around.find(|n| free[*n])?;
        Some(self.base + (u128::try_from(block).ok()? << self.size))
    }
}

/// Returns the first and the last address of a subnet of this family.
fn span(net: IpNet, v4: bool) -> Option<(u128, u128)> {
    match net {
        IpNet::V4(net) if v4 => {
            let number = |ip: Ipv4Addr| u128::from(u32::from(ip));
            Some((number(net.network()), number(net.broadcast())))
        }
        IpNet::V6(net) if !v4 => Some((net.network().into(), net.broadcast().into())),
        _ => None,
    }
}

/// Returns the place at which the choice for a name begins.
fn place(name: &str) -> u64 {
    let hash = Sha256::new()
        .chain_update(b"mesh subnet v1")
        .chain_update(name)
        .finalize();
    let first = hash.iter().take(8);
    first.fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::super::subnet::overlap;
    use super::*;
    use std::collections::BTreeSet;

    fn name(text: &str) -> NetworkName {
        NetworkName::parse(text).unwrap()
    }

    fn is_free(net: IpNet, taken: &[IpNet]) -> bool {
        !taken.iter().any(|other| overlap(net, *other))
    }

    #[test]
    fn every_network_that_may_be_known_finds_a_subnet_of_its_own() {
        let prefix = local_prefix(b"blue");
        let mut taken: Vec<IpNet> = vec!["10.130.0.0/15".parse().unwrap()];
        for n in 0..mesh_proto::limits::MAX_NETWORKS {
            let name = name(&format!("n{n}"));
            let v4 = choose_v4(&name, &taken).unwrap();
            let v6 = choose_v6(prefix, &name, &taken).unwrap();
            assert!(is_free(v4, &taken) && is_free(v6, &taken));
            assert!(prefix.contains(&match v6 {
                IpNet::V6(v6) => v6,
                IpNet::V4(_) => panic!("IPv6"),
            }));
            assert_ne!(v6.network(), IpNet::V6(prefix).network());
            taken.extend([v4, v6]);
        }
        let large = taken.iter().filter(|net| net.prefix_len() == 16).count();
        assert_eq!(large, 126, "two of 128 were taken");
        taken.push("10.0.0.0/8".parse().unwrap());
        assert_eq!(choose_v4(&name("x"), &taken), None);
        // Neighbouring and enclosed subnets of others are avoided, too.
        let near = [
            "10.64.0.0/11",
            "10.96.0.0/12",
            "10.112.0.0/13",
            "10.120.16.4/30",
            "9.0.0.0/8",
            "11.0.0.0/8",
        ];
        let mut near: Vec<IpNet> = near.iter().map(|net| net.parse().unwrap()).collect();
        near.push("10.128.0.0/9".parse().unwrap());
        let net = choose_v4(&name("x"), &near).unwrap();
        assert!(is_free(net, &near), "{net}");
        near.extend(
            [
                "10.120.0.0/20",
                "10.120.32.0/19",
                "10.120.64.0/18",
                "10.120.128.0/17",
            ]
            .iter()
            .map(|net| net.parse::<IpNet>().unwrap()),
        );
        near.extend(
            ["10.121.0.0/16", "10.122.0.0/15", "10.124.0.0/14"]
                .iter()
                .map(|net| net.parse::<IpNet>().unwrap()),
        );
        assert_eq!(choose_v4(&name("x"), &near), None);
        taken.push("fc00::/7".parse().unwrap());
        assert_eq!(choose_v6(prefix, &name("x"), &taken), None);
    }

    #[test]
    fn the_choice_depends_on_the_name_and_the_mesh() {
        let chosen: BTreeSet<IpNet> = (0..20)
            .filter_map(|n| choose_v4(&name(&format!("n{n}")), &[]))
            .collect();
        assert!(chosen.len() > 15, "{chosen:?}");
        assert_eq!(choose_v4(&name("web"), &[]), choose_v4(&name("web"), &[]));
        let (blue, red) = (local_prefix(b"blue"), local_prefix(b"red"));
        assert_ne!(blue, red);
        assert_eq!(blue.prefix_len(), 48);
        assert!(blue.to_string().starts_with("fd"), "{blue}");
    }
}
