//! Acceptance of frames between ports of the bridges of networks, where br_netfilter sends them through FORWARD: one
//! chain of the mesh with a rule for each bridge. Packets that the host routes from one bridge to another match none.

use std::collections::BTreeSet;

use super::Changed;
use super::chain::{Chain, JumpPosition};
use crate::SysError;
use crate::ifname;

/// Accepts frames within each of these bridges and removes the rules of others; without any, the chain is removed. It
/// is named after the main bridge `base`. Idempotent; repairs changes made by others.
///
/// # Errors
/// The error of a program, after the other was tried.
pub fn ensure(base: &str, bridges: &BTreeSet<String>) -> Result<Changed, SysError> {
    ifname::check(base)?;
    bridges
        .iter()
        .try_for_each(|bridge| ifname::check(bridge))?;
    let name = chain_name(base);
    let rules: Vec<String> = bridges
        .iter()
        .map(|bridge| format!("-i {bridge} -o {bridge} -j ACCEPT"))
        .collect();
    let (mut changed, mut result) = (Changed::Absent, Ok(()));
    for program in ["iptables", "ip6tables"] {
        let chain = Chain {
            program,
            table: "filter",
            name: &name,
            from: "FORWARD",
            place: JumpPosition::First,
        };
        match chain.keep(&rules) {
            Ok(Changed::Absent) => {}
            Ok(Changed::No) if changed == Changed::Yes => {}
            Ok(done) => changed = done,
            Err(error) => result = result.and(Err(error)),
        }
    }
    result.map(|()| changed)
}

/// Removes the chain.
///
/// # Errors
/// Like [`ensure`].
pub fn remove(base: &str) -> Result<Changed, SysError> {
    ensure(base, &BTreeSet::new())
}

/// Returns a name of at most 24 bytes; 28 are allowed.
fn chain_name(base: &str) -> String {
    format!("mesh-nets-{base}")
}

#[cfg(test)]
mod tests {
    use super::super::{change, ensure_forward_accept, list, remove_forward_accept};
    use super::*;
    use crate::testing::{NamedNetns, needs_root};

    #[test]
    fn each_bridge_has_a_rule_beside_that_of_the_main_bridge() {
        if needs_root("each_bridge_has_a_rule_beside_that_of_the_main_bridge") {
            return;
        }
        NamedNetns::new().run(|| {
            let both = BTreeSet::from(["mn0000000001".to_owned(), "mn0000000002".to_owned()]);
            if ensure("mesh", &both).unwrap() == Changed::Absent {
                println!("skipped, no iptables here");
                return;
            }
            ensure_forward_accept("mesh").unwrap();
            // The two agree on their places.
            assert_eq!(ensure("mesh", &both).unwrap(), Changed::No);
            assert_eq!(ensure_forward_accept("mesh").unwrap().ipv4, Changed::No);
            let rules = list("iptables", "mesh-nets-mesh").unwrap().unwrap();
            assert_eq!(rules.matches("ACCEPT").count(), 2, "{rules}");
            assert!(
                !rules.contains("-i mn0000000001 -o mn0000000002"),
                "{rules}"
            );
            let one = BTreeSet::from(["mn0000000002".to_owned()]);
            assert_eq!(ensure("mesh", &one).unwrap(), Changed::Yes);
            change("iptables", &["-F", "mesh-nets-mesh"]).unwrap();
            assert_eq!(ensure("mesh", &one).unwrap(), Changed::Yes);
            assert_eq!(remove("mesh").unwrap(), Changed::Yes);
            assert_eq!(remove("mesh").unwrap(), Changed::No);
            remove_forward_accept("mesh").unwrap();
            let forward = list("iptables", "FORWARD").unwrap().unwrap();
            assert!(!forward.contains("mesh"), "{forward}");
        });
    }
}
