//! Table of claims without its lock. Trees instead of hash tables, because the announcing routers choose the keys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{AnnouncedLimits, Claim, Contest, Place};
use crate::fdb::Owner;
use crate::ids::Mac;
use crate::limits::MOVE_SETTLES;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Table {
    limits: AnnouncedLimits,
    by_owner: BTreeMap<Owner, Vec<Claim>>,
    by_ip: BTreeMap<(IpAddr, Owner), Said>,
    by_mac: BTreeMap<(Mac, Owner), Said>,
    /// Addresses that several owners claim.
    contested: BTreeSet<IpAddr>,
    /// Rightful owners, as far as known, of contested addresses.
    rightful: BTreeMap<IpAddr, Owner>,
    claims: usize,
}

/// Claim of one owner about an address or a MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    mac: Mac,
    moves: u32,
    since: Instant,
}

impl Table {
    pub(super) fn new(limits: AnnouncedLimits) -> Self {
        Self {
            limits,
            by_owner: BTreeMap::new(),
            by_ip: BTreeMap::new(),
            by_mac: BTreeMap::new(),
            contested: BTreeSet::new(),
            rightful: BTreeMap::new(),
            claims: 0,
        }
    }

    /// Replaces the claims of `owner`. Returns the addresses with changed claims; `None` if there is no room.
    pub(super) fn set(
        &mut self,
        owner: Owner,
        mut claims: Vec<Claim>,
        now: Instant,
    ) -> Option<Vec<IpAddr>> {
        claims.sort_unstable();
        claims.dedup_by_key(|claim| claim.ip);
        let old = self.take(owner);
        if self.claims + claims.len() > self.limits.claims {
            return None;
        }
        let mut news = Vec::new();
        for claim in &claims {
            let before = old.get(&claim.ip).filter(|said| said.says(claim));
            if before.is_none() {
                news.push(claim.ip);
            }
            let since = before.map_or(now, |said| said.since);
            self.enter(owner, claim, since);
        }
        self.claims += claims.len();
        if !claims.is_empty() {
            self.by_owner.insert(owner, claims);
        }
        Some(news)
    }

    fn enter(&mut self, owner: Owner, claim: &Claim, since: Instant) {
        let said = Said {
            mac: claim.mac,
            moves: claim.moves,
            since,
        };
        self.by_ip.insert((claim.ip, owner), said);
        let of_mac = self.by_mac.entry((claim.mac, owner)).or_insert(said);
        of_mac.moves = of_mac.moves.max(claim.moves);
        of_mac.since = of_mac.since.min(since);
        self.note_contest(claim.ip);
    }

    /// Removes the claims of `owner`, and returns them.
    fn take(&mut self, owner: Owner) -> BTreeMap<IpAddr, Said> {
        let old = self.by_owner.remove(&owner).unwrap_or_default();
        self.claims -= old.len();
        let mut said = BTreeMap::new();
        for claim in old {
            said.extend(self.by_ip.remove(&(claim.ip, owner)).map(|s| (claim.ip, s)));
            self.by_mac.remove(&(claim.mac, owner));
            self.note_contest(claim.ip);
        }
        said
    }

    fn note_contest(&mut self, ip: IpAddr) {
        if self.of_ip(ip).nth(1).is_some() {
            self.contested.insert(ip);
        } else {
            self.contested.remove(&ip);
        }
    }

    pub(super) fn place(&self, ip: IpAddr, now: Instant) -> Option<Place> {
        let (owner, said) = if self.contested.contains(&ip) {
            self.right_one(ip, now)?
        } else {
            self.of_ip(ip).next()?
        };
        let mac = said.mac;
        Some(Place { owner, mac })
    }

    /// Returns the winner of several claims.
    ///
    /// Claims of one MAC: that with the highest sequence number, while the others may be about to be withdrawn.
    /// Otherwise that of the rightful owner, because sequence numbers of different MACs cannot be compared.
    fn right_one(&self, ip: IpAddr, now: Instant) -> Option<(Owner, Said)> {
        let claims = || self.of_ip(ip);
        let (_, one) = claims().next()?;
        if claims().all(|(_, said)| said.mac == one.mac) && is_fresh(claims(), now) {
            return newest(claims());
        }
        let rightful = self.rightful.get(&ip)?;
        claims().find(|(owner, _)| owner == rightful)
    }

    pub(super) fn owner(&self, mac: Mac, now: Instant) -> Option<Owner> {
        let claims = || self.of_mac(mac);
        let is_clear = claims().nth(1).is_none() || is_fresh(claims(), now);
        let (owner, _) = newest(claims()).filter(|_| is_clear)?;
        Some(owner)
    }

    pub(super) fn claim_of(&self, mac: Mac) -> Option<(Owner, u32)> {
        let claims: Vec<_> = self.of_mac(mac).collect();
        let last = claims.into_iter().rev().max_by_key(|(_, said)| said.moves);
        last.map(|(owner, said)| (owner, said.moves))
    }

    pub(super) fn said_by(&self, owner: Owner) -> Vec<(Mac, u32)> {
        let claims = self.by_owner.get(&owner).into_iter().flatten();
        claims.map(|claim| (claim.mac, claim.moves)).collect()
    }

    pub(super) fn addresses_at(&self, mac: Mac) -> Vec<IpAddr> {
        let claims = self.by_owner.values().flatten();
        claims.filter(|c| c.mac == mac).map(|c| c.ip).collect()
    }

    pub(super) fn is_settled(&self, rightful: &BTreeMap<IpAddr, Owner>) -> bool {
        self.rightful == *rightful
    }

    pub(super) fn settle(&mut self, rightful: BTreeMap<IpAddr, Owner>) {
        self.rightful = rightful;
    }

    pub(super) fn contested(&self) -> Vec<IpAddr> {
        self.contested.iter().copied().collect()
    }

    pub(super) fn contests(&self, limit: usize, now: Instant) -> Vec<Contest> {
        let lasting = self.contested.iter().copied();
        let lasting = lasting.filter(|ip| !is_fresh(self.of_ip(*ip), now));
        let contest = |ip| Contest {
            ip,
            places: self
                .of_ip(ip)
                .map(|(owner, said)| Place {
                    owner,
                    mac: said.mac,
                })
                .collect(),
        };
        lasting.take(limit).map(contest).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.claims
    }

    fn of_ip(&self, ip: IpAddr) -> impl Iterator<Item = (Owner, Said)> {
        let claims = self.by_ip.range((ip, FIRST)..=(ip, LAST));
        claims.map(|((_, owner), said)| (*owner, *said))
    }

    fn of_mac(&self, mac: Mac) -> impl Iterator<Item = (Owner, Said)> {
        let claims = self.by_mac.range((mac, FIRST)..=(mac, LAST));
        claims.map(|((_, owner), said)| (*owner, *said))
    }

    /// Asserts that all indices are consistent.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let claims = || {
            let all = self.by_owner.iter();
            all.flat_map(|(owner, claims)| claims.iter().map(|c| (*owner, *c)))
        };
        assert_eq!(self.claims, claims().count());
        assert!(self.claims <= self.limits.claims);
        assert_eq!(self.by_ip.len(), self.claims);
        for (owner, claim) in claims() {
            assert!(self.by_ip[&(claim.ip, owner)].says(&claim));
            assert!(self.by_mac[&(claim.mac, owner)].moves >= claim.moves);
            let several = claims().filter(|(_, c)| c.ip == claim.ip).count() > 1;
            assert_eq!(self.contested.contains(&claim.ip), several);
        }
        assert!(self.contested.len() * 2 <= self.claims);
        let mut macs: Vec<_> = claims().map(|(owner, c)| (c.mac, owner)).collect();
        macs.sort_unstable();
        macs.dedup();
        assert!(macs.iter().eq(self.by_mac.keys()));
    }
}

impl Said {
    fn says(&self, claim: &Claim) -> bool {
        (self.mac, self.moves) == (claim.mac, claim.moves)
    }
}

/// Lowest and highest owner.
const FIRST: Owner = Owner::Local;
const LAST: Owner = Owner::Peer(crate::ids::PeerId([0xff; 16]));

/// Returns true if the latest of these claims is recent, so that others may be about to be withdrawn.
fn is_fresh(claims: impl Iterator<Item = (Owner, Said)>, now: Instant) -> bool {
    let last = claims.map(|(_, said)| said.since).max();
    last.is_some_and(|last| now.since(last) < MOVE_SETTLES)
}

/// Returns the claim with the highest sequence number; `None` if there is none or the highest is not unique.
fn newest(claims: impl Iterator<Item = (Owner, Said)>) -> Option<(Owner, Said)> {
    let mut best: Option<(u32, Option<(Owner, Said)>)> = None;
    for claim in claims {
        let moves = claim.1.moves;
        best = match best {
            Some((most, kept)) if most > moves => Some((most, kept)),
            Some((most, _)) if most == moves => Some((most, None)),
            _ => Some((moves, Some(claim))),
        };
    }
    best?.1
}
