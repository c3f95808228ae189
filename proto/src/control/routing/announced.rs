//! Announcements of containers, as the lanes look them up; MACs that flap, and addresses that several routers announce.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::announced::Claim;
use crate::fdb::Owner;
use crate::ids::{Mac, PeerId};
use crate::limits::MAX_CLAIMS;
use crate::time::Instant;
use crate::topology::bodies::Attached;
use crate::topology::lsdb::Lsdb;
use crate::topology::record::SignedRecord;
use crate::wire::topic::{RecordKey, Topic};

use super::{RemoteAttached, Routing, RoutingEffect, contests};
use crate::control::gossip::Gossip;
use crate::control::note::Note;

impl Routing {
    /// Hands the host and the lanes what routers newly announce, or announce no more; those out of reach announce nothing.
    pub(crate) fn hand_out_announced(&mut self, gossip: &Gossip, now: Instant) {
        for peer in core::mem::take(&mut self.stale.announced) {
            let is_there = peer == self.me || self.routes.is_reachable(&peer);
            let record = |topic| gossip.lsdb().get(RecordKey::new(peer, topic)).cloned();
            let containers = record(Topic::ATTACHED).filter(|_| is_there);
            let router = record(Topic::IDENTITY);
            let attached = containers.as_ref().map_or(&[][..], SignedRecord::attached);
            if !self.announce(peer, attached, gossip, now) {
                self.warn(format!(
                    "the containers of {} are more than this router has room for ({MAX_CLAIMS} addresses in all); ARP for them goes to everybody",
                    gossip.display(&peer)
                ));
            }
            if peer != self.me {
                let records = router.zip(containers);
                let attached = RemoteAttached { peer, records };
                self.effects
                    .push_back(RoutingEffect::RemoteAttached(attached));
            }
        }
    }

    /// Hands the lanes what a router newly announces, and takes note of what came and went. Returns false without room.
    fn announce(
        &mut self,
        peer: PeerId,
        attached: &[Attached],
        gossip: &Gossip,
        now: Instant,
    ) -> bool {
        let owner = self.owner_of(peer);
        let claims = claims(attached);
        let announced = self.forwarder.announced();
        let old: BTreeMap<Mac, u32> = announced.said_by(owner).collect();
        let new: BTreeSet<Mac> = claims.iter().map(|claim| claim.mac).collect();
        let before = |mac: &Mac| {
            let owner = announced.claim_of(*mac).map(|(owner, _)| owner);
            (*mac, owner.map(|owner| self.peer_of(owner)))
        };
        let came = new.iter().filter(|mac| !old.contains_key(mac));
        let came: Vec<_> = came.map(before).collect();
        let room = announced.set(owner, claims, now);
        for (mac, moves) in old.iter().filter(|(mac, _)| !new.contains(mac)) {
            self.mobility.went(*mac, peer, *moves, now);
        }
        for (mac, before) in came {
            if let Some(from) = self.mobility.came(mac, peer, before, now) {
                self.forwarder.announced().doubt(mac, now);
                self.flapping(mac, (from, peer), gossip, now);
            }
        }
        room
    }

    /// Returns these containers, each with the number of its moves to announce.
    pub(crate) fn with_moves(&self, attached: &[Attached], lsdb: &Lsdb) -> Vec<Attached> {
        let said = lsdb.attached(&self.me);
        let moves = |mac: Mac| {
            if let Some(same) = said.iter().find(|a| a.mac == mac) {
                return same.moves;
            }
            let live = self.forwarder.announced().claim_of(mac);
            let live = live.map(|(owner, moves)| (self.peer_of(owner), moves));
            self.mobility.next(mac, self.me, live)
        };
        let with = |one: &Attached| Attached {
            moves: moves(one.mac),
            ..one.clone()
        };
        attached.iter().map(with).collect()
    }

    // MACs that flap

    /// Takes note of the MACs that the MAC table saw move too often.
    pub(crate) fn tick_flaps(&mut self, gossip: &Gossip, now: Instant) {
        for (mac, (a, b)) in self.forwarder.take_flapping() {
            let between = (self.peer_of(a), self.peer_of(b));
            self.flapping(mac, between, gossip, now);
        }
    }

    fn flapping(&mut self, mac: Mac, between: (PeerId, PeerId), gossip: &Gossip, now: Instant) {
        if self.mobility.flaps(mac, between, now) {
            self.warn(flap_words(mac, between, gossip));
        }
    }

    /// Returns the warnings of MACs that flap, for the report.
    pub(crate) fn flap_warnings(&self, gossip: &Gossip, now: Instant) -> Vec<String> {
        let flapping = self.mobility.flapping(now);
        flapping
            .map(|(mac, between)| flap_words(mac, between, gossip))
            .collect()
    }

    // Contests

    /// Settles contests by the rightful owners of addresses.
    pub(crate) fn settle_contests(
        &mut self,
        rightful: impl Fn(Ipv4Addr) -> Option<PeerId>,
        now: Instant,
    ) {
        let me = self.me;
        let rightful = |ip| Some(owner_of(rightful(ip)?, me));
        self.contests
            .settle(self.forwarder.announced(), rightful, now);
    }

    /// Warns of addresses that several routers have begun to announce.
    pub(crate) fn tick_contests(&mut self, gossip: &Gossip, now: Instant) {
        for contest in self.contests.news(self.forwarder.announced(), now) {
            let name = |owner| gossip.display(&self.peer_of(owner));
            let words = contests::words(&contest, self.forwarder.announced(), name, now);
            self.warn(words);
        }
    }

    /// Returns the warnings of contests, for the report.
    pub(crate) fn contest_warnings(&self, gossip: &Gossip, now: Instant) -> Vec<String> {
        let name = |owner| gossip.display(&self.peer_of(owner));
        contests::warnings(self.forwarder.announced(), name, now)
    }

    fn warn(&mut self, text: String) {
        self.effects
            .push_back(RoutingEffect::Note(Note::Warn(text)));
    }

    fn peer_of(&self, owner: Owner) -> PeerId {
        match owner {
            Owner::Local => self.me,
            Owner::Peer(peer) => peer,
        }
    }

    fn owner_of(&self, peer: PeerId) -> Owner {
        owner_of(peer, self.me)
    }
}

fn owner_of(peer: PeerId, me: PeerId) -> Owner {
    match peer == me {
        true => Owner::Local,
        false => Owner::Peer(peer),
    }
}

/// Returns the claims of a router's containers, as lanes look them up.
fn claims(attached: &[Attached]) -> Vec<Claim> {
    let claim = |a: &Attached| Claim {
        ip: a.addr.addr(),
        mac: a.mac,
        moves: a.moves,
    };
    attached.iter().map(claim).collect()
}

fn flap_words(mac: Mac, (a, b): (PeerId, PeerId), gossip: &Gossip) -> String {
    let (a, b) = (gossip.display(&a), gossip.display(&b));
    format!(
        "MAC {mac} flaps between {a} and {b}; give containers there different addresses, or end a bridge that joins the two beside the mesh"
    )
}
