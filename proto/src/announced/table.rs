//! The table itself, without its lock. Trees, not hashes: whoever announces chooses the keys.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{AnnouncedLimits, Claim, Place};
use crate::fdb::Owner;
use crate::ids::Mac;
use crate::limits::CONTRADICTED_FOR;
use crate::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Table {
    limits: AnnouncedLimits,
    by_owner: BTreeMap<Owner, Vec<Claim>>,
    by_ip: BTreeMap<(IpAddr, Owner), (Mac, u32)>,
    by_mac: BTreeMap<(Mac, Owner), u32>,
    /// Until when an address is contradicted.
    contradicted: BTreeMap<IpAddr, Instant>,
    claims: usize,
}

impl Table {
    pub(super) fn new(limits: AnnouncedLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    pub(super) fn set(&mut self, owner: Owner, mut claims: Vec<Claim>) -> bool {
        claims.sort_unstable();
        claims.dedup_by_key(|claim| claim.ip);
        let old = self.take(owner);
        if self.claims + claims.len() > self.limits.claims {
            return false;
        }
        for claim in &claims {
            self.by_ip
                .insert((claim.ip, owner), (claim.mac, claim.moves));
            let moves = self.by_mac.entry((claim.mac, owner)).or_default();
            *moves = claim.moves.max(*moves);
            // News about an address; what was seen before is not about this.
            if old.binary_search(claim).is_err() {
                self.contradicted.remove(&claim.ip);
            }
        }
        self.claims += claims.len();
        if !claims.is_empty() {
            self.by_owner.insert(owner, claims);
        }
        true
    }

    /// Takes out what `owner` announces.
    fn take(&mut self, owner: Owner) -> Vec<Claim> {
        let old = self.by_owner.remove(&owner).unwrap_or_default();
        for claim in &old {
            self.by_ip.remove(&(claim.ip, owner));
            self.by_mac.remove(&(claim.mac, owner));
        }
        self.claims -= old.len();
        old
    }

    pub(super) fn place(&self, ip: IpAddr, now: Instant) -> Option<Place> {
        if self.contradicted.get(&ip).is_some_and(|until| now < *until) {
            return None;
        }
        let claims = self.by_ip.range((ip, FIRST)..=(ip, LAST));
        let claims = claims.map(|((_, owner), (mac, moves))| (*moves, (*owner, *mac)));
        let (owner, mac) = newest(claims)?;
        Some(Place { owner, mac })
    }

    pub(super) fn owner(&self, mac: Mac) -> Option<Owner> {
        let claims = self.by_mac.range((mac, FIRST)..=(mac, LAST));
        newest(claims.map(|((_, owner), moves)| (*moves, *owner)))
    }

    pub(super) fn claim_of(&self, mac: Mac) -> Option<(Owner, u32)> {
        let claims = self.by_mac.range((mac, FIRST)..=(mac, LAST));
        let claims = claims.map(|((_, owner), moves)| (*owner, *moves));
        claims.rev().max_by_key(|(_, moves)| *moves)
    }

    pub(super) fn said_by(&self, owner: Owner) -> Vec<(Mac, u32)> {
        let claims = self.by_owner.get(&owner).into_iter().flatten();
        claims.map(|claim| (claim.mac, claim.moves)).collect()
    }

    pub(super) fn doubt(&mut self, mac: Mac, now: Instant) {
        let claims = self.by_owner.values().flatten();
        let ips: Vec<IpAddr> = claims.filter(|c| c.mac == mac).map(|c| c.ip).collect();
        ips.into_iter().for_each(|ip| self.contradict(ip, now));
    }

    /// Whether nobody announces `ip`, or somebody announces it at `mac`.
    pub(super) fn agrees(&self, ip: IpAddr, mac: Mac) -> bool {
        let mut claims = self.by_ip.range((ip, FIRST)..=(ip, LAST)).peekable();
        claims.peek().is_none() || claims.any(|(_, (announced, _))| *announced == mac)
    }

    /// Whether noting a contradiction again would change little.
    pub(super) fn is_freshly_contradicted(&self, ip: IpAddr, now: Instant) -> bool {
        let until = self.contradicted.get(&ip);
        until.is_some_and(|until| until.since(now) > CONTRADICTED_FOR / 2)
    }

    pub(super) fn contradict(&mut self, ip: IpAddr, now: Instant) {
        if self.contradicted.len() >= self.limits.contradicted
            && !self.contradicted.contains_key(&ip)
        {
            let oldest = self.contradicted.iter().min_by_key(|(_, until)| **until);
            if let Some(oldest) = oldest.map(|(ip, _)| *ip) {
                self.contradicted.remove(&oldest);
            }
        }
        self.contradicted.insert(ip, now + CONTRADICTED_FOR);
    }

    pub(super) fn has_old(&self, now: Instant) -> bool {
        self.contradicted.values().any(|until| *until <= now)
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        self.contradicted.retain(|_, until| *until > now);
    }

    pub(super) fn len(&self) -> usize {
        self.claims
    }

    /// Asserts that all indices tell the same story.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let claims = || {
            let all = self.by_owner.iter();
            all.flat_map(|(owner, claims)| claims.iter().map(|c| (*owner, *c)))
        };
        assert_eq!(self.claims, claims().count());
        assert!(self.claims <= self.limits.claims);
        assert!(self.contradicted.len() <= self.limits.contradicted);
        assert_eq!(self.by_ip.len(), self.claims);
        for (owner, claim) in claims() {
            assert_eq!(self.by_ip[&(claim.ip, owner)], (claim.mac, claim.moves));
            assert!(self.by_mac[&(claim.mac, owner)] >= claim.moves);
        }
        let mut macs: Vec<_> = claims().map(|(owner, c)| (c.mac, owner)).collect();
        macs.sort_unstable();
        macs.dedup();
        assert!(macs.iter().eq(self.by_mac.keys()));
    }
}

/// The lowest and the highest owner there can be.
const FIRST: Owner = Owner::Local;
const LAST: Owner = Owner::Peer(crate::ids::PeerId([0xff; 16]));

/// What the claim with the most moves says; `None` when there is none, or another with as many.
fn newest<T>(claims: impl Iterator<Item = (u32, T)>) -> Option<T> {
    let mut best: Option<(u32, Option<T>)> = None;
    for (moves, says) in claims {
        best = match best {
            Some((most, kept)) if most > moves => Some((most, kept)),
            Some((most, _)) if most == moves => Some((most, None)),
            _ => Some((moves, Some(says))),
        };
    }
    best?.1
}
