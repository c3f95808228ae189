//! Names of peers that are looked up before the router dials them. A name that does not resolve is most likely a typo.

use mesh_proto::control::targets::{DialTo, parse_target};
use mesh_proto::limits::DEFAULT_PORT;

/// Most names that are looked up, all at once; further ones are skipped.
const MAX_NAMES: usize = 64;

/// Name of a peer's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupName {
    /// Peer as typed.
    pub typed: String,
    /// Name to look up.
    pub host: String,
    /// Port of the peer.
    pub port: u16,
}

/// Returns the names to look up, each once; addresses need no look-up.
pub fn names(peers: &[String]) -> Vec<LookupName> {
    let mut names: Vec<LookupName> = Vec::new();
    for typed in peers {
        let Ok(DialTo::Name { host, port }) = parse_target(typed, DEFAULT_PORT) else {
            continue;
        };
        if names.len() < MAX_NAMES && names.iter().all(|name| name.typed != *typed) {
            let typed = typed.clone();
            names.push(LookupName { typed, host, port });
        }
    }
    names
}

/// Returns the remark on a peer whose name does not resolve.
pub fn unresolved(peer: &str) -> String {
    format!(
        "peer {peer}: the name does not resolve; it is tried again and again, see `mesh status connections`"
    )
}

/// Returns the remark on a peer about whose name the resolver said nothing for some seconds.
pub fn unanswered(peer: &str, seconds: u64) -> String {
    format!(
        "peer {peer}: no answer from the resolver in {seconds} s; it is asked again and again, see `mesh status connections`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_looked_up_and_each_once() {
        let peers = ["host2", "10.0.0.1", "host3:7000", "host2", "[fd00::1]:6783"];
        let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
        let found: Vec<_> = names(&peers)
            .into_iter()
            .map(|name| (name.typed, name.host, name.port))
            .collect();
        let expected = [
            ("host2", "host2", DEFAULT_PORT),
            ("host3:7000", "host3", 7000),
        ];
        let expected = expected.map(|(a, b, port)| (a.to_owned(), b.to_owned(), port));
        assert_eq!(found, expected);
    }

    #[test]
    fn there_is_a_limit() {
        let peers: Vec<String> = (0..100).map(|n| format!("host{n}")).collect();
        assert_eq!(names(&peers).len(), MAX_NAMES);
    }
}
