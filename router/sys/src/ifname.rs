//! Names of interfaces: validity, and derived names.

use std::io;

use mesh_proto::network::NetworkId;

use crate::SysError;

/// Longest name of an interface in bytes (IFNAMSIZ − 1).
pub const MAX_IFNAME: usize = 15;
/// Beginning of the name of a network's bridge.
const NETWORK: &str = "mn";
/// Hexadecimal digits behind it: with them the names of its ports have 15 bytes at most.
const NETWORK_DIGITS: usize = 10;

/// Returns true if the kernel accepts `name` for an interface (`dev_valid_name`), and it is safe as a part of a path.
pub fn is_valid(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_IFNAME
        && name != "."
        && name != ".."
        && !name
            .bytes()
            .any(|b| b == b'/' || b == b':' || b == 0 || b.is_ascii_whitespace())
}

/// Checks that a name is valid ([`is_valid`]).
///
/// # Errors
/// Invalid input, with `name`.
pub fn check(name: &str) -> Result<(), SysError> {
    if is_valid(name) {
        return Ok(());
    }
    let reason = format!("an interface name has 1 to {MAX_IFNAME} bytes and no '/', ':' or space");
    Err(SysError::new(
        format!("use '{name}' as an interface name"),
        io::Error::new(io::ErrorKind::InvalidInput, reason),
    ))
}

/// Returns a name of 14 bytes, `mv` and 48 bits of a hash of `parts`, which is stable between runs.
pub fn hashed(parts: &[&str]) -> String {
    format!("mv{:012x}", fnv1a(parts) & 0xffff_ffff_ffff)
}

/// Returns the name of the bridge of `network` in the mesh whose main bridge is `base`: 12 bytes, `mn` and 40 bits of a
/// hash of both, stable between runs. The network `default` has the main bridge.
pub fn network_bridge(base: &str, network: &NetworkId) -> String {
    if network.is_default() {
        return base.to_owned();
    }
    let hash = fnv1a(&[base, &network.to_string()]);
    let bits = 4 * NETWORK_DIGITS;
    let folded = (hash ^ hash >> bits) & ((1 << bits) - 1);
    format!("{NETWORK}{folded:0width$x}", width = NETWORK_DIGITS)
}

/// Returns true if a name has the form of [`network_bridge`]. No main bridge may have such a name.
pub fn is_network_bridge(name: &str) -> bool {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    name.strip_prefix(NETWORK)
        .is_some_and(|rest| rest.len() == NETWORK_DIGITS && rest.bytes().all(is_digit))
}

/// Returns the names of the port's veth pair: (in the bridge, the router's end).
///
/// Bridges whose names agree in the first 9 bytes and differ after them would share a prefix, so longer names are
/// hashed, except those of [`network_bridge`].
pub fn port_pair(bridge: &str) -> (String, String) {
    let stem = port_stem(bridge);
    (format!("{stem}-p"), format!("{stem}-r"))
}

/// Returns the name of the TAP that is the port instead of the pair; hashed like [`port_pair`].
pub fn tap_port(bridge: &str) -> String {
    format!("{}-t", port_stem(bridge))
}

/// Returns the names of the VXLAN devices of a bridge: (over IPv4, over IPv6); hashed like [`port_pair`].
pub fn vxlan_pair(bridge: &str) -> (String, String) {
    let stem = port_stem(bridge);
    (format!("{stem}-x4"), format!("{stem}-x6"))
}

fn port_stem(bridge: &str) -> String {
    if bridge.len() <= 9 || is_network_bridge(bridge) {
        bridge.to_owned()
    } else {
        format!("mb{:07x}", fnv1a(&[bridge]) & 0x0fff_ffff)
    }
}

/// Returns the 64-bit FNV-1a hash, with a separator after each part. It is no defence against chosen input.
fn fnv1a(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_kernel_refuses() {
        for good in ["mesh", "mesh-p", "a.b", "eth0@x", "123456789012345"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a:b",
            "1234567890123456",
            "a\0",
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
        assert!(check("a/b").unwrap_err().to_string().contains("'a/b'"));
    }

    #[test]
    fn derived_names_fit_and_differ() {
        let a = hashed(&["mesh", "c1", "10.2.1.1/24"]);
        assert!(is_valid(&a));
        assert_eq!(a, hashed(&["mesh", "c1", "10.2.1.1/24"]));
        assert_ne!(a, hashed(&["mesh", "c11", "0.2.1.1/24"]));
        assert_ne!(hashed(&["ab", "c"]), hashed(&["a", "bc"]));
    }

    #[test]
    fn port_names_of_long_bridges_do_not_collide() {
        assert_eq!(port_pair("mesh"), ("mesh-p".into(), "mesh-r".into()));
        assert_eq!(tap_port("mesh"), "mesh-t");
        assert_ne!(tap_port("production-one"), tap_port("production-two"));
        assert!(is_valid(&tap_port("production-one")));
        let (a, b) = (port_pair("production-one"), port_pair("production-two"));
        assert_ne!(a, b);
        let x = vxlan_pair("production-one");
        assert_eq!(vxlan_pair("mesh"), ("mesh-x4".into(), "mesh-x6".into()));
        for name in [a.0, a.1, b.0, b.1, x.0, x.1] {
            assert!(is_valid(&name), "{name}");
        }
    }

    #[test]
    fn names_of_networks_fit_differ_and_are_recognised() {
        let derived = |bridge: &str| {
            let (pair, vxlan) = (port_pair(bridge), vxlan_pair(bridge));
            [pair.0, pair.1, vxlan.0, vxlan.1, tap_port(bridge)]
        };
        let mut seen = std::collections::BTreeSet::new();
        let bases = [
            "m",
            "mesh",
            "mesh2",
            "mnabcdef0",
            "production-one",
            "123456789012345",
        ];
        for base in bases {
            for name in derived(base).into_iter().chain([base.to_owned()]) {
                assert!(!is_network_bridge(&name), "{name}");
                assert!(is_valid(&name) && seen.insert(name.clone()), "{name}");
            }
            for number in 1..=200_u128 {
                let bridge = network_bridge(base, &NetworkId(number.to_be_bytes()));
                assert!(is_network_bridge(&bridge), "{bridge}");
                for name in derived(&bridge).into_iter().chain([bridge]) {
                    assert!(is_valid(&name) && seen.insert(name.clone()), "{name}");
                }
            }
        }
        assert_eq!(network_bridge("mesh", &NetworkId::DEFAULT), "mesh");
        let one = NetworkId([1; 16]);
        assert_eq!(network_bridge("mesh", &one), network_bridge("mesh", &one));
        for no in [
            "mn",
            "mn012345678",
            "mn01234567890",
            "mnABCDEF0123",
            "mv0123456789",
            "mn01234567-t",
        ] {
            assert!(!is_network_bridge(no), "{no}");
        }
    }
}
