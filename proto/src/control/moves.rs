//! Containers that move between routers: how often each did, which records say; and MACs that move back and forth.
//!
//! Of two routers that announce one MAC the one with more moves is right (as in RFC 7432 section 15): whoever attaches a
//! container that was elsewhere says one more than was said there. What moves too often is asked of everybody instead of
//! being answered for, and named to the operator, as is what the MAC table sees move too often.

use std::collections::{BTreeMap, BTreeSet};

use crate::fdb::Owner;
use crate::ids::{Mac, PeerId};
use crate::limits::{FLAP_MOVES, FLAP_SHOWN, FLAP_WINDOW, MAX_FLAPS, MAX_MOVED, MOVED_MEMORY};
use crate::time::Instant;
use crate::topology::bodies::Attached;

use super::{Control, Note};

/// What is remembered of MACs that moved or went.
#[derive(Debug, Default)]
pub(super) struct Moves {
    past: BTreeMap<Mac, Past>,
    flaps: BTreeMap<Mac, Flap>,
}

/// Where a MAC was last.
#[derive(Clone, Copy, Debug)]
struct Past {
    owner: PeerId,
    moves: u32,
    at: Instant,
    /// Moves since `first`.
    count: u32,
    first: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Flap {
    between: (PeerId, PeerId),
    last: Instant,
}

impl Moves {
    /// How often a MAC will have moved once `me` attaches it; `live` is who announces it now, and what that one says.
    pub(super) fn next(&self, mac: Mac, me: PeerId, live: Option<(PeerId, u32)>) -> u32 {
        let past = self.past.get(&mac).map(|past| (past.owner, past.moves));
        let last = live.into_iter().chain(past).max_by_key(|(_, moves)| *moves);
        match last {
            Some((owner, moves)) if owner != me => moves.saturating_add(1),
            Some((_, moves)) => moves,
            None => 0,
        }
    }

    /// `owner` announces the MAC no more.
    fn went(&mut self, mac: Mac, owner: PeerId, moves: u32, now: Instant) {
        if let Some(past) = self.remember(mac, owner, now) {
            past.owner = owner;
            past.moves = moves;
        }
    }

    /// `owner` announces the MAC, which `before` announced until now. Where it came from, if it moves too often.
    fn came(
        &mut self,
        mac: Mac,
        owner: PeerId,
        before: Option<PeerId>,
        now: Instant,
    ) -> Option<PeerId> {
        let from = before.or(self.past.get(&mac).map(|past| past.owner))?;
        if from == owner {
            return None;
        }
        let past = self.remember(mac, from, now)?;
        if now.since(past.first) > FLAP_WINDOW {
            past.first = now;
            past.count = 0;
        }
        past.owner = owner;
        past.count += 1;
        (past.count > FLAP_MOVES).then_some(from)
    }

    fn remember(&mut self, mac: Mac, owner: PeerId, now: Instant) -> Option<&mut Past> {
        if self.past.len() >= MAX_MOVED && !self.past.contains_key(&mac) {
            self.past.retain(|_, p| now.since(p.at) < MOVED_MEMORY);
            if self.past.len() >= MAX_MOVED {
                return None;
            }
        }
        let past = self.past.entry(mac).or_insert(Past {
            owner,
            moves: 0,
            at: now,
            count: 0,
            first: now,
        });
        past.at = now;
        Some(past)
    }

    /// Notes that a MAC flaps; true when that is news.
    fn flaps(&mut self, mac: Mac, between: (PeerId, PeerId), now: Instant) -> bool {
        self.flaps.retain(|_, f| now.since(f.last) < FLAP_SHOWN);
        if self.flaps.len() >= MAX_FLAPS && !self.flaps.contains_key(&mac) {
            return false;
        }
        let flap = Flap { between, last: now };
        self.flaps.insert(mac, flap).is_none()
    }
}

impl Control {
    /// What is said of these containers, each with how often it moved.
    pub(super) fn with_moves(&self, attached: &[Attached]) -> Vec<Attached> {
        let said = self.gossip.lsdb().attached(&self.me);
        let moves = |mac: Mac| {
            if let Some(same) = said.iter().find(|a| a.mac == mac) {
                return same.moves;
            }
            let live = self.forwarder.announced().claim_of(mac);
            let live = live.map(|(owner, moves)| (self.peer_of(owner), moves));
            self.moves.next(mac, self.me, live)
        };
        let with = |one: &Attached| Attached {
            moves: moves(one.mac),
            ..one.clone()
        };
        attached.iter().map(with).collect()
    }

    /// Hands the lanes what a router newly announces, and notes what came and went.
    pub(super) fn announce(&mut self, peer: PeerId, attached: &[Attached], now: Instant) -> bool {
        let owner = self.owner_of(peer);
        let claims = super::publish::claims(attached);
        let announced = self.forwarder.announced();
        let old: BTreeMap<Mac, u32> = announced.said_by(owner).collect();
        let new: BTreeSet<Mac> = claims.iter().map(|claim| claim.mac).collect();
        let before = |mac: &Mac| {
            (
                *mac,
                announced.claim_of(*mac).map(|(who, _)| self.peer_of(who)),
            )
        };
        let came: Vec<_> = new
            .iter()
            .filter(|mac| !old.contains_key(mac))
            .map(before)
            .collect();
        let room = announced.set(owner, claims, now);
        for (mac, moves) in old.iter().filter(|(mac, _)| !new.contains(mac)) {
            self.moves.went(*mac, peer, *moves, now);
        }
        for (mac, before) in came {
            if let Some(from) = self.moves.came(mac, peer, before, now) {
                self.forwarder.announced().doubt(mac, now);
                self.flapping(mac, (from, peer), now);
            }
        }
        room
    }

    /// Looks at what the MAC table saw move too often.
    pub(super) fn tick_flaps(&mut self, now: Instant) {
        for (mac, (a, b)) in self.forwarder.take_flapping() {
            let between = (self.peer_of(a), self.peer_of(b));
            self.flapping(mac, between, now);
        }
    }

    fn flapping(&mut self, mac: Mac, between: (PeerId, PeerId), now: Instant) {
        if self.moves.flaps(mac, between, now) {
            self.note(Note::Warn(self.flap_in_words(mac, between)));
        }
    }

    fn flap_in_words(&self, mac: Mac, (a, b): (PeerId, PeerId)) -> String {
        let (a, b) = (self.display(&a), self.display(&b));
        format!(
            "MAC {mac} flaps between {a} and {b}; give containers there different addresses, or end a bridge that joins the two beside the mesh"
        )
    }

    /// What flaps, for the report.
    pub(super) fn flap_warnings(&self, now: Instant) -> impl Iterator<Item = String> {
        let fresh = self.moves.flaps.iter();
        fresh
            .filter(move |(_, flap)| now.since(flap.last) < FLAP_SHOWN)
            .map(|(mac, flap)| self.flap_in_words(*mac, flap.between))
    }

    pub(super) fn peer_of(&self, owner: Owner) -> PeerId {
        match owner {
            Owner::Local => self.me,
            Owner::Peer(peer) => peer,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    const A: PeerId = PeerId([1; 16]);
    const B: PeerId = PeerId([2; 16]);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(1_000 + secs)
    }

    #[test]
    fn each_move_counts_one_more_than_the_last_place_said() {
        let mut moves = Moves::default();
        assert_eq!(moves.next(MAC, A, None), 0);
        moves.went(MAC, A, 4, at(0));
        assert_eq!(moves.next(MAC, A, None), 4, "it did not move");
        assert_eq!(moves.next(MAC, B, None), 5);
        assert_eq!(moves.next(MAC, B, Some((A, 7))), 8, "who has it now counts");
        assert_eq!(moves.next(MAC, B, Some((A, u32::MAX))), u32::MAX);
    }

    #[test]
    fn only_many_moves_in_a_short_time_are_flapping() {
        let hop = |moves: &mut Moves, n: u64, every: u64| {
            let (from, to) = if n.is_multiple_of(2) { (A, B) } else { (B, A) };
            let now = at(n * every);
            moves.went(MAC, from, 0, now);
            moves.came(MAC, to, None, now)
        };
        let mut quick = Moves::default();
        let flaps: Vec<_> = (0..7).map(|n| hop(&mut quick, n, 10)).collect();
        assert_eq!(flaps[..5], [None; 5]);
        assert_eq!(flaps[5..], [Some(B), Some(A)]);
        let mut slow = Moves::default();
        assert!((0..20).all(|n| hop(&mut slow, n, 60).is_none()));
        assert_eq!(quick.came(MAC, A, Some(A), at(80)), None, "no move");
    }

    #[test]
    fn a_full_memory_forgets_what_is_old_and_takes_no_more() {
        let mut moves = Moves::default();
        for n in 0..=u16::try_from(MAX_MOVED).unwrap() {
            let [x, y] = n.to_be_bytes();
            moves.went(Mac([2, 0, 0, 1, x, y]), A, 1, at(0));
        }
        assert_eq!(moves.past.len(), MAX_MOVED);
        moves.went(MAC, A, 1, at(0) + MOVED_MEMORY);
        assert_eq!(moves.past.len(), 1);
    }

    #[test]
    fn what_flaps_is_news_once_and_again_after_a_while() {
        let mut moves = Moves::default();
        assert!(moves.flaps(MAC, (A, B), at(0)));
        assert!(!moves.flaps(MAC, (A, B), at(30)));
        assert!(moves.flaps(MAC, (A, B), at(30) + FLAP_SHOWN));
        for n in 0..=u8::try_from(MAX_FLAPS).unwrap() {
            moves.flaps(Mac([4, 0, 0, 0, 0, n]), (A, B), at(100));
        }
        assert_eq!(moves.flaps.len(), MAX_FLAPS);
    }
}
