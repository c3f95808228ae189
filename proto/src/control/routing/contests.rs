//! Contests: addresses that several routers announce at once. Which of them is right, where that can be known, and what
//! operators are told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::arp_proxy::{ArpProxy, Contest, Location};
use crate::fdb::Owner;
use crate::ids::PeerId;
use crate::limits::{CONTEST_CHECK_INTERVAL, MAX_CONTESTS_SHOWN};
use crate::network::NetworkId;
use crate::time::Instant;

/// Returns the router that may have an address of a network, as far as that is known.
pub type RightfulRouter<'a> = &'a dyn Fn(NetworkId, IpAddr) -> Option<PeerId>;

/// Contested addresses of one network of which the operator was told.
#[derive(Debug, Default)]
pub(crate) struct Contests {
    told: BTreeSet<IpAddr>,
    next_look: Instant,
}

impl Contests {
    /// Settles contests by the rightful owners of addresses; looks once a second.
    pub(crate) fn settle(
        &mut self,
        announced: &ArpProxy,
        rightful: impl Fn(IpAddr) -> Option<Owner>,
        now: Instant,
    ) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + CONTEST_CHECK_INTERVAL;
        let contested = announced.contested();
        let contested = contested.into_iter();
        let settled = contested.filter_map(|ip| Some((ip, rightful(ip)?)));
        let settled: BTreeMap<IpAddr, Owner> = settled.collect();
        announced.settle(settled);
    }

    /// Returns the contests that have begun since the last call.
    pub(crate) fn news(&mut self, announced: &ArpProxy, now: Instant) -> Vec<Contest> {
        let mut contests = announced.contests(MAX_CONTESTS_SHOWN, now);
        let lasting: BTreeSet<IpAddr> = contests.iter().map(|contest| contest.ip).collect();
        self.told.retain(|ip| lasting.contains(ip));
        contests.retain(|contest| self.told.insert(contest.ip));
        contests
    }
}

/// Returns the warnings of all contests in one network, for the report.
pub(crate) fn warnings(
    network: NetworkId,
    announced: &ArpProxy,
    name: impl Fn(Owner) -> String,
    now: Instant,
) -> Vec<String> {
    let contests = announced.contests(MAX_CONTESTS_SHOWN + 1, now);
    let shown = contests.iter().take(MAX_CONTESTS_SHOWN);
    let mut lines: Vec<String> = shown
        .map(|c| words(network, c, announced, &name, now))
        .collect();
    if contests.len() > MAX_CONTESTS_SHOWN {
        let place = in_network(network);
        lines.push(format!(
            "more addresses{place} are announced by several routers at once"
        ));
    }
    lines
}

/// Returns the warning of a contest.
pub(crate) fn words(
    network: NetworkId,
    contest: &Contest,
    announced: &ArpProxy,
    name: impl Fn(Owner) -> String,
    now: Instant,
) -> String {
    let by = |location: &Location| format!("by {} (MAC {})", name(location.owner), location.mac);
    let by: Vec<String> = contest.locations.iter().map(by).collect();
    let (ip, place, by) = (contest.ip, in_network(network), by.join(" and "));
    match announced.locate(ip, now) {
        Some(location) => format!(
            "{ip}{place} is announced {by}; believed is {}, which owns its slice of the range. On the other: mesh detach",
            name(location.owner)
        ),
        None => format!(
            "{ip}{place} is announced {by}; nobody is believed, and everybody is asked for it. To end that, on one of them: mesh detach"
        ),
    }
}

/// Returns ` in network …`; nothing for the network `default`.
pub(super) fn in_network(network: NetworkId) -> String {
    match network.is_default() {
        true => String::new(),
        false => format!(" in network {network}"),
    }
}
