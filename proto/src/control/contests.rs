//! Addresses that several routers announce at once: who is right where that can be known, and what operators are told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::announced::{Contest, Place};
use crate::fdb::Owner;
use crate::ids::PeerId;
use crate::limits::{LOOK_AT_CONTESTS, MAX_CONTESTS_SHOWN};
use crate::time::Instant;

use super::{Control, Note};

#[derive(Debug, Default)]
pub(super) struct Contests {
    /// Those that are in the log.
    told: BTreeSet<IpAddr>,
    next_look: Instant,
}

impl Control {
    /// Believes the rightful owners of addresses that several routers announce; asks `rightful` for them once a
    /// second; to be called whenever that may have changed.
    pub fn settle_contests(&mut self, rightful: impl Fn(Ipv4Addr) -> Option<PeerId>, now: Instant) {
        if now < self.contests.next_look {
            return;
        }
        self.contests.next_look = now + LOOK_AT_CONTESTS;
        let contested = self.forwarder.announced().contested();
        let settled = contested.into_iter().filter_map(|ip| match ip {
            IpAddr::V4(v4) => Some((ip, self.owner_of(rightful(v4)?))),
            IpAddr::V6(_) => None,
        });
        let settled: BTreeMap<IpAddr, Owner> = settled.collect();
        self.forwarder.announced().settle(settled);
    }

    /// Tells of addresses that several routers have begun to announce.
    pub(super) fn tick_contests(&mut self, now: Instant) {
        let contests = self.forwarder.announced().contests(MAX_CONTESTS_SHOWN, now);
        let lasting: BTreeSet<IpAddr> = contests.iter().map(|contest| contest.ip).collect();
        self.contests.told.retain(|ip| lasting.contains(ip));
        for contest in contests {
            if self.contests.told.insert(contest.ip) {
                let words = self.contest_in_words(&contest, now);
                self.note(Note::Warn(words));
            }
        }
    }

    /// What is contested, for the report.
    pub(super) fn contest_warnings(&self, now: Instant) -> Vec<String> {
        let announced = self.forwarder.announced();
        let contests = announced.contests(MAX_CONTESTS_SHOWN + 1, now);
        let shown = contests.iter().take(MAX_CONTESTS_SHOWN);
        let mut lines: Vec<String> = shown.map(|c| self.contest_in_words(c, now)).collect();
        if contests.len() > MAX_CONTESTS_SHOWN {
            lines.push("more addresses are announced by several routers at once".to_owned());
        }
        lines
    }

    fn contest_in_words(&self, contest: &Contest, now: Instant) -> String {
        let by = |place: &Place| {
            let name = self.display(&self.peer_of(place.owner));
            format!("by {name} (MAC {})", place.mac)
        };
        let by: Vec<String> = contest.places.iter().map(by).collect();
        let (ip, by) = (contest.ip, by.join(" and "));
        match self.forwarder.announced().place(ip, now) {
            Some(place) => format!(
                "{ip} is announced {by}; believed is {}, which owns its slice of the range. On the other: mesh detach",
                self.display(&self.peer_of(place.owner))
            ),
            None => format!(
                "{ip} is announced {by}; nobody is believed, and everybody is asked for it. To end that, on one of them: mesh detach"
            ),
        }
    }

    pub(super) fn owner_of(&self, peer: PeerId) -> Owner {
        if peer == self.me {
            Owner::Local
        } else {
            Owner::Peer(peer)
        }
    }
}
