//! Names of interfaces: what the kernel takes, and the names derived from others.

use std::io;

use crate::SysError;

/// Longest name of an interface, in bytes (IFNAMSIZ − 1).
pub const MAX_IFNAME: usize = 15;

/// Whether the kernel would take `name` for an interface (`dev_valid_name`), and it is safe as a part of a path.
pub fn is_valid(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_IFNAME
        && name != "."
        && name != ".."
        && !name
            .bytes()
            .any(|b| b == b'/' || b == b':' || b == 0 || b.is_ascii_whitespace())
}

/// Refuses a name that is not [`is_valid`].
///
/// # Errors
/// Invalid input, naming `name`.
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

/// A name of 14 bytes, `mv` and 48 bits of a hash of `parts`: the same parts give the same name on every run.
pub fn hashed(parts: &[&str]) -> String {
    format!("mv{:012x}", fnv1a(parts) & 0xffff_ffff_ffff)
}

/// The two ends of the veth pair of the router's port: (in the bridge, the router's).
///
/// Bridges whose names agree in the first 9 bytes and differ after them share a prefix, so longer names are hashed.
pub fn port_pair(bridge: &str) -> (String, String) {
    let stem = port_stem(bridge);
    (format!("{stem}-p"), format!("{stem}-r"))
}

/// The TAP that is the router's port in place of the pair; hashed as [`port_pair`].
pub fn tap_port(bridge: &str) -> String {
    format!("{}-t", port_stem(bridge))
}

/// The VXLAN devices of a bridge: (over IPv4, over IPv6); hashed as [`port_pair`].
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

/// FNV-1a, 64 bits, with a separator after each part; not a defence against chosen input, only a short name.
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
