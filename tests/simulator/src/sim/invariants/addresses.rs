//! I1: no address is held by two containers. I2: each slice has one owner that allocates from it. I13: an address
//! confirmed to a container survives every crash. S6: no space leaks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use mesh_ipam::Ipam;
use mesh_proto::ids::PeerId;
use mesh_proto::network::NetworkId;

use super::{Check, Violation};
use crate::sim::families;
use crate::sim::network::HostId;

const UNIQUE: &str = "I1 no address twice";
const OWNER: &str = "I2 one owner of each slice";
const AGREED: &str = "I3 one map of addresses";
const LEAK: &str = "S6 no space leaks";
/// Invariant that is checked after a restart.
pub(crate) const TOLD: &str = "I13 what was told is kept";

/// A container with its address.
#[derive(Clone, Debug)]
pub(crate) struct AddressHolder<'a> {
    pub(crate) host: HostId,
    pub(crate) network: NetworkId,
    pub(crate) name: &'a str,
    pub(crate) addr: Ipv4Addr,
}

/// Returns the addresses that two containers have in one network, with both.
pub(crate) fn doubles<'a>(
    holders: impl Iterator<Item = AddressHolder<'a>>,
) -> Vec<(AddressHolder<'a>, AddressHolder<'a>)> {
    let mut first: BTreeMap<(NetworkId, Ipv4Addr), AddressHolder<'a>> = BTreeMap::new();
    let mut out = Vec::new();
    for holder in holders {
        let key = (holder.network, holder.addr);
        match first.get(&key) {
            Some(other) => out.push((other.clone(), holder)),
            None => drop(first.insert(key, holder)),
        }
    }
    out
}

pub(crate) fn twice(first: &AddressHolder<'_>, second: &AddressHolder<'_>) -> Violation {
    let AddressHolder {
        host, name, addr, ..
    } = first;
    let detail = format!(
        "{addr} is held by {name} on {host} and by {} on {}",
        second.name, second.host
    );
    Violation::new(UNIQUE, detail)
}

pub(crate) fn unreported(holder: &AddressHolder<'_>) -> Violation {
    let AddressHolder { host, addr, .. } = holder;
    let detail = format!("router {host} does not report that {addr} is held twice");
    Violation::new(UNIQUE, detail)
}

/// Checks that no slice is used by two routers.
pub(crate) fn one_owner(
    usable: impl Iterator<Item = (HostId, impl Iterator<Item = u16>)>,
) -> Check {
    let mut owners: BTreeMap<u16, HostId> = BTreeMap::new();
    for (host, slices) in usable {
        for slice in slices {
            if let Some(other) = owners.insert(slice, host) {
                let detail = format!("slice {slice} is given out by {other} and by {host}");
                return Err(Violation::new(OWNER, detail));
            }
        }
    }
    Ok(())
}

/// Checks that all routers have the same map of owners.
pub(crate) fn one_map(ipams: &[(HostId, &Ipam)]) -> Check {
    let Some((first, rest)) = ipams.split_first() else {
        return Ok(());
    };
    match rest.iter().find(|(_, i)| i.digest() != first.1.digest()) {
        Some((host, _)) => {
            let detail = format!("routers {} and {host} have different maps", first.0);
            Err(Violation::new(AGREED, detail))
        }
        None => Ok(()),
    }
}

/// Checks that, of every router's slices, the allocated addresses are held by a container, and the others can be
/// allocated.
pub(crate) fn nothing_leaks(ipams: &[(HostId, &Ipam)]) -> Check {
    let held: BTreeSet<Ipv4Addr> = ipams
        .iter()
        .flat_map(|(_, ipam)| ipam.allocations().map(|a| a.addr))
        .collect();
    for (host, ipam) in ipams {
        let usable: BTreeSet<u16> = ipam.usable().collect();
        if let Some(mine) = ipam.own().find(|slice| !usable.contains(slice)) {
            let detail = format!("slice {mine} of router {host} cannot be used");
            return Err(Violation::new(LEAK, detail));
        }
        let leased = ipam.remote_leases().map(|(addr, _)| addr);
        let slice_of = |addr: &Ipv4Addr| ipam.slicing().slice_of(*addr);
        let inside = |addr: &Ipv4Addr| slice_of(addr).is_some_and(|s| usable.contains(&s));
        if let Some(addr) = leased.filter(inside).find(|addr| !held.contains(addr)) {
            let detail = format!("router {host} keeps {addr} for a container that is not there");
            return Err(Violation::new(LEAK, detail));
        }
    }
    Ok(())
}

/// Checks that routers hold exactly the addresses of their containers.
pub(crate) fn all_held<'a>(
    ipams: impl Iterator<Item = (HostId, &'a Ipam)>,
    real: &BTreeSet<(HostId, Ipv4Addr)>,
) -> Check {
    for (host, ipam) in ipams {
        let held: BTreeSet<Ipv4Addr> = families::known(ipam).map(|(addr, _)| addr).collect();
        let here = real.iter().filter(|(h, _)| *h == host).map(|(_, a)| *a);
        let here: BTreeSet<Ipv4Addr> = here.collect();
        if let Some(addr) = held.symmetric_difference(&here).next() {
            let detail = format!("router {host} is wrong about {addr} of its own containers");
            return Err(Violation::new(LEAK, detail));
        }
    }
    Ok(())
}

/// Checks that all space belongs to reachable routers.
pub(crate) fn all_owned(ipams: &[(HostId, &Ipam)]) -> Check {
    for (host, ipam) in ipams {
        let lost = ipam.owners().into_iter().find(|o| !o.reachable);
        if let Some(owner) = lost {
            let gone: PeerId = owner.peer;
            let detail = format!("router {host} sees {} slices with {gone}", owner.slices);
            return Err(Violation::new(LEAK, detail));
        }
    }
    Ok(())
}
