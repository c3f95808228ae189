//! The report about names and their server that operators see.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_names::ZoneEntry;
use mesh_proto::api::{ControlReport, DnsEntry};
use mesh_proto::network::NetworkId;

use crate::server::counters::DnsCounts;
use crate::update::KnownNames;

/// Returns one row per name, container and address, in order; `shown` returns the name of a network, empty for `default`.
pub fn entries(
    held: &[(NetworkId, ZoneEntry)],
    router: &ControlReport,
    shown: impl Fn(&NetworkId) -> String,
) -> Vec<DnsEntry> {
    let peers: BTreeMap<&str, Arc<str>> = router
        .peers
        .iter()
        .map(|p| {
            let shown = format!("{}({})", p.name, p.nick_name);
            (p.id.as_str(), shown.into())
        })
        .collect();
    let mut entries: Vec<DnsEntry> = held
        .iter()
        .flat_map(|(network, held)| {
            let network = shown(network);
            let id = held.origin.to_string();
            let peer = peers.get(id.as_str()).map_or(&*id, |p| p).to_owned();
            let line = move |address| DnsEntry {
                network: network.clone(),
                name: held.entry.name.to_string(),
                address,
                container: held.entry.container.clone(),
                peer: peer.clone(),
            };
            held.entry.addresses.iter().copied().map(line)
        })
        .collect();
    entries.sort();
    entries
}

/// Returns the counters that are not zero, with their names; `known` are all names, if there is a server.
pub fn counters(counts: DnsCounts, known: Option<&KnownNames>) -> BTreeMap<String, u64> {
    let refused = known.map_or(0, |known| known.refused);
    let all = [
        ("statements refused", refused),
        ("answered", counts.answered),
        ("forwarded", counts.forwarded),
        ("forwarded, no answer", counts.failed),
        ("refused, too many at once", counts.overflowed),
        ("dropped, no query", counts.dropped),
        ("dropped, from a stranger", counts.strangers),
        ("answers lost, no room", counts.unsent),
    ];
    let some = all.into_iter().filter(|(_, n)| *n > 0);
    some.map(|(what, n)| (what.to_owned(), n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_shown_once_they_count() {
        let counts = DnsCounts {
            answered: 3,
            unsent: 1,
            ..DnsCounts::default()
        };
        let known = KnownNames {
            held: Vec::new(),
            hidden: 0,
            refused: 2,
        };
        let shown = counters(counts, Some(&known));
        let shown: Vec<(&str, u64)> = shown.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        let want = [
            ("answered", 3),
            ("answers lost, no room", 1),
            ("statements refused", 2),
        ];
        assert_eq!(shown, want);
        assert!(counters(DnsCounts::default(), None).is_empty());
    }
}
