//! Names of interfaces: validity, and derived names.

use std::io;

use crate::SysError;

/// Longest name of an interface in bytes (IFNAMSIZ − 1).
pub const MAX_IFNAME: usize = 15;

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

/// Returns the names of the port's veth pair: (in the bridge, the router's end).
///
/// Bridges whose names agree in the first 9 bytes and differ after them would share a prefix, so longer names are
/// hashed.
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
    if bridge.len() <= 9 {
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
}
