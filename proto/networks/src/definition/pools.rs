//! Subnets for networks whose user gave none, chosen of private address space.
//!
//! The choice begins at a place that depends on the name, and takes the first subnet that is free. So two hosts that
//! create a network of one name at once choose alike, and those that create others do not all take the first subnet.

use core::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sha2::{Digest, Sha256};

use super::name::NetworkName;
use super::subnet::overlap;

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

/// Returns an IPv4 subnet for a network of this name that overlaps none of `taken`; `None` if there is none.
pub(crate) fn choose_v4(name: &NetworkName, taken: &[IpNet]) -> Option<IpNet> {
    POOLS.iter().find_map(|(pool, prefix)| {
        let count = 1_u32 << (prefix - pool.prefix_len());
        let size = 32 - u32::from(*prefix);
        let base = u32::from(pool.network());
        let at = |n: u32| Ipv4Net::new(Ipv4Addr::from(base | n << size), *prefix).ok();
        // Below `count`, which is a u32.
        let first = u32::try_from(place(name) % u64::from(count)).unwrap_or(0);
        let mut all = (0..count).filter_map(|n| at((first + n) % count));
        all.find(|net| is_free((*net).into(), taken)).map(IpNet::V4)
    })
}

/// Returns an IPv6 subnet of `prefix`, a /48, likewise.
pub(crate) fn choose_v6(prefix: Ipv6Net, name: &NetworkName, taken: &[IpNet]) -> Option<IpNet> {
    let base = u128::from(prefix.network());
    let within = taken.iter().filter(|net| overlap(**net, prefix.into()));
    let within: Vec<IpNet> = within.copied().collect();
    const COUNT: u64 = (1 << (PREFIX6 - 48)) - 1;
    let first = place(name) % COUNT;
    let at = |n: u64| {
        let number = u128::from((first + n) % COUNT + 1);
        Ipv6Net::new((base | number << 64).into(), PREFIX6).ok()
    };
    let mut all = (0..COUNT).filter_map(at);
    all.find(|net| is_free((*net).into(), &within))
        .map(IpNet::V6)
}

fn is_free(net: IpNet, taken: &[IpNet]) -> bool {
    !taken.iter().any(|other| overlap(net, *other))
}

/// Returns the place at which the choice for a name begins.
fn place(name: &NetworkName) -> u64 {
    let hash = Sha256::new()
        .chain_update(b"mesh subnet v1")
        .chain_update(name.as_str())
        .finalize();
    let first = hash.iter().take(8);
    first.fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn name(text: &str) -> NetworkName {
        NetworkName::parse(text).unwrap()
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
