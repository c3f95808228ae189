//! Contests: addresses that several routers announce at once. Which of them is right, where that can be known, and what
//! operators are told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::announced::{Announcements, Contest, Place};
use crate::fdb::Owner;
use crate::limits::{CONTEST_CHECK_INTERVAL, MAX_CONTESTS_SHOWN};
use crate::time::Instant;

/// Contested addresses of which the operator was told.
#[derive(Debug, Default)]
pub(crate) struct Contests {
    told: BTreeSet<IpAddr>,
    next_look: Instant,
}

impl Contests {
    /// Settles contests by the rightful owners of addresses; looks once a second.
    pub(crate) fn settle(
        &mut self,
        announced: &Announcements,
        rightful: impl Fn(Ipv4Addr) -> Option<Owner>,
        now: Instant,
    ) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + CONTEST_CHECK_INTERVAL;
        let contested = announced.contested();
        let settled = contested.into_iter().filter_map(|ip| match ip {
            IpAddr::V4(v4) => Some((ip, rightful(v4)?)),
            IpAddr::V6(_) => None,
        });
        let settled: BTreeMap<IpAddr, Owner> = settled.collect();
        announced.settle(settled);
    }

    /// Returns the contests that have begun since the last call.
    pub(crate) fn news(&mut self, announced: &Announcements, now: Instant) -> Vec<Contest> {
        let mut contests = announced.contests(MAX_CONTESTS_SHOWN, now);
        let lasting: BTreeSet<IpAddr> = contests.iter().map(|contest| contest.ip).collect();
        self.told.retain(|ip| lasting.contains(ip));
        contests.retain(|contest| self.told.insert(contest.ip));
        contests
    }
}

/// Returns the warnings of all contests, for the report.
pub(crate) fn warnings(
    announced: &Announcements,
    name: impl Fn(Owner) -> String,
    now: Instant,
) -> Vec<String> {
    let contests = announced.contests(MAX_CONTESTS_SHOWN + 1, now);
    let shown = contests.iter().take(MAX_CONTESTS_SHOWN);
    let mut lines: Vec<String> = shown.map(|c| words(c, announced, &name, now)).collect();
    if contests.len() > MAX_CONTESTS_SHOWN {
        lines.push("more addresses are announced by several routers at once".to_owned());
    }
    lines
}

/// Returns the warning of a contest.
pub(crate) fn words(
    contest: &Contest,
    announced: &Announcements,
    name: impl Fn(Owner) -> String,
    now: Instant,
) -> String {
    let by = |place: &Place| format!("by {} (MAC {})", name(place.owner), place.mac);
    let by: Vec<String> = contest.places.iter().map(by).collect();
    let (ip, by) = (contest.ip, by.join(" and "));
    match announced.place(ip, now) {
        Some(place) => format!(
            "{ip} is announced {by}; believed is {}, which owns its slice of the range. On the other: mesh detach",
            name(place.owner)
        ),
        None => format!(
            "{ip} is announced {by}; nobody is believed, and everybody is asked for it. To end that, on one of them: mesh detach"
        ),
    }
}
