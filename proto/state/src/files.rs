//! Names of the files in a state directory.

/// Keys and boot epoch.
pub const IDENTITY: &str = "identity";
/// Targets, as typed.
pub const TARGETS: &str = "targets";
/// Peers given to the last start.
pub const GIVEN: &str = "given";
/// Targets that must not be dialled.
pub const FORGOTTEN: &str = "forgotten";
/// Neighbours to reconnect to.
pub const NEIGHBOURS: &str = "neighbours";
/// Signing key that each peer name is bound to.
pub const PINS: &str = "pins";
/// Journal of addresses.
pub const ADDRESSES: &str = "addresses";
/// Journal that could not be used, from then on; the boot epoch follows.
pub const ADDRESSES_SET_ASIDE: &str = "addresses.bad-";
/// Journal of addresses in networks besides `default`; there is none before the first of them is used.
pub const NETWORK_ADDRESSES: &str = "network-addresses";
/// Such a journal that could not be used, from then on; the boot epoch follows.
pub const NETWORK_ADDRESSES_SET_ASIDE: &str = "network-addresses.bad-";
/// The table of attachments.
pub const ATTACHMENTS: &str = "attachments";
/// Names changed by the operator.
pub const NAMES: &str = "names";
/// Networks of the mesh, and labels.
pub const NETWORKS: &str = "networks";
/// Lock of the directory.
pub const LOCK: &str = "lock";
/// Log file, created by `mesh launch`.
pub const LOG: &str = "router.log";
/// Previous log file after rotation.
pub const OLD_LOG: &str = "router.log.1";

/// State files, except the journals of addresses.
pub const FILES: [&str; 12] = [
    IDENTITY,
    TARGETS,
    GIVEN,
    FORGOTTEN,
    NEIGHBOURS,
    PINS,
    ATTACHMENTS,
    NAMES,
    NETWORKS,
    LOCK,
    LOG,
    OLD_LOG,
];

/// Returns the name of the file that is written before it takes the place of `name`.
pub fn temporary(name: &str) -> String {
    format!(".{name}.tmp")
}

/// Returns true if a file of this name is a journal of addresses, or an earlier one that was set aside.
pub fn is_journal(name: &str) -> bool {
    let journals = [
        (ADDRESSES, ADDRESSES_SET_ASIDE),
        (NETWORK_ADDRESSES, NETWORK_ADDRESSES_SET_ASIDE),
    ];
    journals.iter().any(|(journal, set_aside)| {
        name == *journal || name == temporary(journal) || name.starts_with(set_aside)
    })
}

/// Returns true if a file of this name is a router's.
pub fn is_state(name: &str) -> bool {
    let final_name = name.strip_prefix('.').and_then(|n| n.strip_suffix(".tmp"));
    FILES.contains(&final_name.unwrap_or(name)) || is_journal(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_router_are_told_from_others() {
        for name in [
            "identity",
            ".targets.tmp",
            "router.log.1",
            "addresses",
            ".addresses.tmp",
            "addresses.bad-7",
            "network-addresses",
            ".network-addresses.tmp",
            "network-addresses.bad-7",
        ] {
            assert!(is_state(name), "{name}");
        }
        for name in ["mesh.toml", "key", ".tmp", "identity.tmp", "addresses.old"] {
            assert!(!is_state(name), "{name}");
        }
    }
}
