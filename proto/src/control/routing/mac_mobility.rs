//! MAC mobility: how often each container moved between routers, as records say (RFC 7432 section 15), and MACs that flap.
//!
//! Of two routers that announce one MAC the one with the higher number is right: a router that attaches a container which was
//! elsewhere announces one more than was announced there. For a MAC that moves too often all routers are asked, and the
//! operator is warned, as for one that the MAC table sees move too often.

use std::collections::BTreeMap;

use crate::ids::{Mac, PeerId};
use crate::limits::{FLAP_MOVES, FLAP_SHOWN, FLAP_WINDOW, MAX_FLAPS, MOBILE_MAC_MEMORY};
use crate::time::Instant;

/// MACs of one network that moved or went.
#[derive(Debug)]
pub(crate) struct MacMobility {
    /// MACs that are remembered at most.
    room: usize,
    last: BTreeMap<Mac, LastSeen>,
    flaps: BTreeMap<Mac, Flap>,
}

/// Last router of a MAC.
#[derive(Clone, Copy, Debug)]
struct LastSeen {
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

impl MacMobility {
    /// Creates an empty memory for at most `room` MACs.
    pub(crate) fn new(room: usize) -> Self {
        Self {
            room,
            last: BTreeMap::new(),
            flaps: BTreeMap::new(),
        }
    }

    /// Returns the number to announce when `me` attaches a MAC; `live` is the router that announces it now, with its number.
    pub(crate) fn next(&self, mac: Mac, me: PeerId, live: Option<(PeerId, u32)>) -> u32 {
        let past = self.last.get(&mac).map(|past| (past.owner, past.moves));
        let last = live.into_iter().chain(past).max_by_key(|(_, moves)| *moves);
        match last {
            Some((owner, moves)) if owner != me => moves.saturating_add(1),
            Some((_, moves)) => moves,
            None => 0,
        }
    }

    /// Takes note that `owner` withdrew a MAC.
    pub(crate) fn went(&mut self, mac: Mac, owner: PeerId, moves: u32, now: Instant) {
        if let Some(past) = self.remember(mac, owner, now) {
            past.owner = owner;
            past.moves = moves;
        }
    }

    /// Takes note that `owner` announces a MAC, which `before` announced until now. Returns the router from which it came, if it
    /// moves too often.
    pub(crate) fn came(
        &mut self,
        mac: Mac,
        owner: PeerId,
        before: Option<PeerId>,
        now: Instant,
    ) -> Option<PeerId> {
        let from = before.or(self.last.get(&mac).map(|past| past.owner))?;
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

    /// Returns the MACs that flap, and between which routers.
    pub(crate) fn flapping(&self, now: Instant) -> impl Iterator<Item = (Mac, (PeerId, PeerId))> {
        let fresh = self.flaps.iter();
        fresh
            .filter(move |(_, flap)| now.since(flap.last) < FLAP_SHOWN)
            .map(|(mac, flap)| (*mac, flap.between))
    }

    fn remember(&mut self, mac: Mac, owner: PeerId, now: Instant) -> Option<&mut LastSeen> {
        if self.last.len() >= self.room && !self.last.contains_key(&mac) {
            self.last.retain(|_, p| now.since(p.at) < MOBILE_MAC_MEMORY);
            if self.last.len() >= self.room {
                return None;
            }
        }
        let past = self.last.entry(mac).or_insert(LastSeen {
            owner,
            moves: 0,
            at: now,
            count: 0,
            first: now,
        });
        past.at = now;
        Some(past)
    }

    /// Takes note that a MAC flaps. Returns true if that is news.
    pub(crate) fn flaps(&mut self, mac: Mac, between: (PeerId, PeerId), now: Instant) -> bool {
        self.flaps.retain(|_, f| now.since(f.last) < FLAP_SHOWN);
        if self.flaps.len() >= MAX_FLAPS && !self.flaps.contains_key(&mac) {
            return false;
        }
        let flap = Flap { between, last: now };
        self.flaps.insert(mac, flap).is_none()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::limits::MAX_MOBILE_MACS;

    const A: PeerId = PeerId([1; 16]);
    const B: PeerId = PeerId([2; 16]);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(1_000 + secs)
    }

    #[test]
    fn each_move_counts_one_more_than_the_last_place_said() {
        let mut mobility = MacMobility::new(MAX_MOBILE_MACS);
        assert_eq!(mobility.next(MAC, A, None), 0);
        mobility.went(MAC, A, 4, at(0));
        assert_eq!(mobility.next(MAC, A, None), 4, "it did not move");
        assert_eq!(mobility.next(MAC, B, None), 5);
        assert_eq!(
            mobility.next(MAC, B, Some((A, 7))),
            8,
            "who has it now counts"
        );
        assert_eq!(mobility.next(MAC, B, Some((A, u32::MAX))), u32::MAX);
    }

    #[test]
    fn only_many_moves_in_a_short_time_are_flapping() {
        let hop = |mobility: &mut MacMobility, n: u64, every: u64| {
            let (from, to) = if n.is_multiple_of(2) { (A, B) } else { (B, A) };
            let now = at(n * every);
            mobility.went(MAC, from, 0, now);
            mobility.came(MAC, to, None, now)
        };
        let mut quick = MacMobility::new(MAX_MOBILE_MACS);
        let flaps: Vec<_> = (0..7).map(|n| hop(&mut quick, n, 10)).collect();
        assert_eq!(flaps[..5], [None; 5]);
        assert_eq!(flaps[5..], [Some(B), Some(A)]);
        let mut slow = MacMobility::new(MAX_MOBILE_MACS);
        assert!((0..20).all(|n| hop(&mut slow, n, 60).is_none()));
        assert_eq!(quick.came(MAC, A, Some(A), at(80)), None, "no move");
    }

    #[test]
    fn a_full_memory_forgets_what_is_old_and_takes_no_more() {
        let mut mobility = MacMobility::new(MAX_MOBILE_MACS);
        for n in 0..=u16::try_from(MAX_MOBILE_MACS).unwrap() {
            let [x, y] = n.to_be_bytes();
            mobility.went(Mac([2, 0, 0, 1, x, y]), A, 1, at(0));
        }
        assert_eq!(mobility.last.len(), MAX_MOBILE_MACS);
        mobility.went(MAC, A, 1, at(0) + MOBILE_MAC_MEMORY);
        assert_eq!(mobility.last.len(), 1);
    }

    #[test]
    fn what_flaps_is_news_once_and_again_after_a_while() {
        let mut mobility = MacMobility::new(MAX_MOBILE_MACS);
        assert!(mobility.flaps(MAC, (A, B), at(0)));
        assert!(!mobility.flaps(MAC, (A, B), at(30)));
        assert!(mobility.flaps(MAC, (A, B), at(30) + FLAP_SHOWN));
        for n in 0..=u8::try_from(MAX_FLAPS).unwrap() {
            mobility.flaps(Mac([4, 0, 0, 0, 0, n]), (A, B), at(100));
        }
        assert_eq!(mobility.flaps.len(), MAX_FLAPS);
    }
}
