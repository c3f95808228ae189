//! DNS: on every router of a component, names resolve to the containers that have them (D1, when quiet), and names of
//! unreachable routers are hidden (D2, always).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mesh_names::Names;
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;

use super::{Check, Violation};
use crate::sim::network::HostId;

const TRUE: &str = "D1 names are true";
const REACH: &str = "D2 names are of routers within reach";

/// Checks that the answered names are exactly the existing ones.
pub(crate) fn are_true(
    host: HostId,
    names: &Names,
    truth: &BTreeMap<String, BTreeSet<IpAddr>>,
) -> Check {
    for (name, addresses) in truth {
        let known = names.zone().network(&NetworkId::DEFAULT);
        let held = known.holders(name).iter();
        let held: BTreeSet<IpAddr> = held
            .flat_map(|h| h.entry.addresses.iter().copied())
            .collect();
        if held != *addresses {
            let detail = format!("on router {host} {name} leads to {held:?}, not {addresses:?}");
            return Err(Violation::new(TRUE, detail));
        }
    }
    match names
        .zone()
        .iter()
        .find(|(_, held)| !truth.contains_key(held.name().as_str()))
    {
        Some((_, held)) => {
            let detail = format!(
                "router {host} shows {}, which is gone",
                held.name().as_str()
            );
            Err(Violation::new(TRUE, detail))
        }
        None => Ok(()),
    }
}

/// Checks that the origin of every answered name is reachable.
pub(crate) fn within_reach(host: HostId, names: &Names, reachable: &BTreeSet<PeerId>) -> Check {
    let mut shown = names.zone().iter();
    match shown.find(|(_, held)| !reachable.contains(&held.origin)) {
        Some((_, held)) => {
            let detail = format!(
                "router {host} shows {} of {}, which it cannot reach",
                held.name().as_str(),
                held.origin
            );
            Err(Violation::new(REACH, detail))
        }
        None => Ok(()),
    }
}
