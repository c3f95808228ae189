//! Space of routers that are gone: removal, the agreement of the others, handing over before leaving.

use core::fmt;
use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::journal::Entry;
use super::refusal::Namer;
use super::slices::Run;
use super::state::next;
use super::wire::{Foreign, Message, Pin};
use super::{Ipam, Output};
use crate::ids::{PeerId, Version};
use crate::limits::{IPAM_DEAD_AFTER, IPAM_FOUND_WAIT, IPAM_RESEND, IPAM_TAKE_DELAY};
use crate::time::Instant;

/// A question to all reachable routers: may we take these slices?
#[derive(Debug)]
pub(super) struct Round {
    number: u64,
    runs: Vec<Run>,
    agreed: BTreeSet<PeerId>,
    /// When it is first asked, and was last.
    from: Instant,
    asked: Option<Instant>,
}

/// What a removal did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Who gets the space.
    pub beneficiary: PeerId,
    /// How many slices.
    pub slices: usize,
}

/// Why a router is not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveError {
    /// This router.
    Myself,
    /// It can be reached.
    Alive(PeerId),
    /// This router does not know yet who lives.
    JustStarted,
    /// It owns and holds nothing.
    Unknown(PeerId),
    /// Unreachable for so many seconds only; so many are needed.
    TooSoon(PeerId, u64, u64),
    /// This may be the smaller part of a mesh that is cut in two: how many can be reached, of how many.
    NoMajority(PeerId, usize, usize),
}

impl RemoveError {
    /// One line, with what to do; routers as `name` calls them.
    pub fn words(&self, name: Namer<'_>) -> String {
        match self {
            Self::Myself => {
                "this router cannot remove itself; `mesh reset` hands its space over".to_owned()
            }
            Self::Alive(peer) => format!(
                "{} can be reached, so it is not removed; `mesh reset` there hands its space over",
                name(peer)
            ),
            Self::JustStarted => {
                "this router has just started and does not know yet who else lives; try again in a few seconds"
                    .to_owned()
            }
            Self::Unknown(peer) => format!("{} has no space here", name(peer)),
            Self::TooSoon(peer, silent, enough) => format!(
                "{} has been unreachable for {silent} s, and may be cut off only; wait until {enough} s, or use --force if it is surely off: if it is not, addresses may be given out twice",
                name(peer)
            ),
            Self::NoMajority(peer, reachable, all) => format!(
                "only {reachable} of {all} routers can be reached, which is no majority; use --force if {} is surely off: if it is not, addresses may be given out twice",
                name(peer)
            ),
        }
    }
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words(&PeerId::to_string))
    }
}

impl core::error::Error for RemoveError {}

impl Ipam {
    /// Removes a router that is gone for good: its space goes to a survivor, and what it had borrowed is free. Removing
    /// it again, here or elsewhere, changes nothing.
    ///
    /// # Errors
    /// [`RemoveError`]; `force` overrides the last two.
    pub fn remove(
        &mut self,
        dead: PeerId,
        force: bool,
        now: Instant,
    ) -> Result<Removal, RemoveError> {
        if dead == self.config.me {
            return Err(RemoveError::Myself);
        }
        let peer = self.peers.get(&dead);
        if peer.is_some_and(|peer| peer.reachable) {
            return Err(RemoveError::Alive(dead));
        }
        if now.since(self.started) < IPAM_FOUND_WAIT {
            return Err(RemoveError::JustStarted);
        }
        let beneficiary = self.beneficiary(dead);
        // What it said may yet lead to loans, when a take-over under way ends.
        let said = self.statement_of(&dead).map(|s| s.version);
        let spoke = said.is_some() && said > self.state.fence_of(&dead);
        if !self.matters(&dead) && !spoke {
            let slices = 0;
            return match self.state.fence_of(&dead) {
                Some(_) => Ok(Removal {
                    beneficiary,
                    slices,
                }),
                None => Err(RemoveError::Unknown(dead)),
            };
        }
        let silent = now.since(peer.map_or(self.started, |peer| peer.since));
        if !force && silent < IPAM_DEAD_AFTER {
            let (silent, enough) = (silent.as_secs(), IPAM_DEAD_AFTER.as_secs());
            return Err(RemoveError::TooSoon(dead, silent, enough));
        }
        let (reachable, all) = self.majority();
        if !force && reachable * 2 <= all {
            return Err(RemoveError::NoMajority(dead, reachable, all));
        }
        let slices = self.take_over(dead, beneficiary);
        self.pump(now);
        self.flush(now);
        Ok(Removal {
            beneficiary,
            slices,
        })
    }

    fn take_over(&mut self, dead: PeerId, beneficiary: PeerId) -> usize {
        let theirs = self.state.slices().filter_map(|s| {
            let claim = self.state.claim_of(s).filter(|c| c.owner == dead)?;
            Some((s, next(claim.ver)))
        });
        let theirs: Vec<(u16, u32)> = theirs.collect();
        let slices = theirs.len();
        for run in Run::collect(theirs) {
            self.learn(beneficiary, &run);
        }
        let known = self.statement_of(&dead).map(|s| s.version);
        let loans = self.state.loans.values().filter(|loan| loan.to == dead);
        // Perhaps nothing is known of it but its loans.
        let borrowed = loans.map(|loan| Version {
            epoch: loan.epoch,
            seq: 0,
        });
        let fence = self.state.fence_of(&dead);
        let version = known.max(fence).max(borrowed.max()).unwrap_or_default();
        self.fence(dead, version);
        slices
    }

    /// Who gets a dead router's space: the reachable one whose hash together with the dead one is highest. Routers that
    /// reach the same ones name the same.
    fn beneficiary(&self, dead: PeerId) -> PeerId {
        let me = self.config.me;
        let weight = |id: &PeerId| {
            let hash = Sha256::new().chain_update(b"mesh heir v1");
            let hash = hash.chain_update(dead.0).chain_update(id.0).finalize();
            <[u8; 32]>::from(hash)
        };
        let members = self.members().map(|(id, _)| *id);
        let all = members.chain([me]).filter(|id| *id != dead);
        all.max_by_key(weight).unwrap_or(me)
    }

    /// How many of the routers that own anything, or can be reached, can be reached; and how many there are.
    pub(super) fn majority(&self) -> (usize, usize) {
        let mut reachable: BTreeSet<PeerId> = self.members().map(|(id, _)| *id).collect();
        reachable.insert(self.config.me);
        let owners = self.state.map.iter().flatten().map(|claim| claim.owner);
        let all: BTreeSet<PeerId> = owners.chain(reachable.iter().copied()).collect();
        (reachable.len(), all.len())
    }

    /// Removes routers that have been gone for longer than the operator wants to wait.
    pub(super) fn reclaim(&mut self, now: Instant) {
        let Some(after) = self.config.auto_reclaim else {
            return;
        };
        let owners: BTreeSet<PeerId> = self.state.map.iter().flatten().map(|c| c.owner).collect();
        for dead in owners {
            let since = self.peers.get(&dead).map_or(self.started, |p| p.since);
            if dead != self.config.me && now.since(since) >= after.max(IPAM_DEAD_AFTER) {
                // Refused without a majority; tried again at the next look.
                let _ = self.remove(dead, false, now);
            }
        }
    }

    /// Another router removed one. If that one can be reached, or said something since, it lives.
    pub(super) fn take_fence(&mut self, peer: PeerId, version: Version) {
        if peer == self.config.me {
            // So that all others see that it was not the last word.
            self.published.outdo(version);
            return;
        }
        let is_known = self.state.fence_of(&peer).is_some_and(|v| v >= version);
        let is_newer = |s: &super::Statement| s.version > version;
        let lives = self.statement_of(&peer).is_some_and(is_newer);
        // What nothing here depends on is not kept; pins are held against what others recall, too.
        let counts = self.matters(&peer) || self.statement_of(&peer).is_some();
        if !is_known && !lives && counts && !self.is_member(&peer) {
            self.fence(peer, version);
        }
    }

    fn fence(&mut self, peer: PeerId, version: Version) {
        self.record(&Entry::Fence { peer, version });
    }

    /// Slices that the map calls ours and that nobody gave us: all others must agree first.
    pub(super) fn ask_agreement(&mut self, now: Instant) {
        let mine = self.state.slices().filter_map(|s| {
            let claim = self.state.claim_of(s)?;
            let is_open = claim.owner == self.config.me && !self.state.owns(s);
            is_open.then_some((s, claim.ver))
        });
        let runs = Run::collect(mine);
        if runs.is_empty() {
            self.round = None;
            return;
        }
        if self.round.as_ref().is_none_or(|round| round.runs != runs) {
            self.rounds += 1;
            self.round = Some(Round {
                number: self.rounds,
                runs,
                agreed: BTreeSet::new(),
                from: now + IPAM_TAKE_DELAY,
                asked: None,
            });
        }
        self.advance_round(now);
    }

    fn advance_round(&mut self, now: Instant) {
        let Some(round) = self.round.as_ref().filter(|round| now >= round.from) else {
            return;
        };
        let (number, runs) = (round.number, round.runs.clone());
        let missing = self.members().map(|(id, _)| *id);
        let missing: Vec<PeerId> = missing.filter(|id| !round.agreed.contains(id)).collect();
        if missing.is_empty() {
            return self.finish_round(&runs);
        }
        if round.asked.is_some_and(|at| now.since(at) < IPAM_RESEND) {
            return;
        }
        for to in missing {
            let runs = runs.clone();
            self.send(to, &Message::Agree { number, runs });
        }
        if let Some(round) = self.round.as_mut() {
            round.asked = Some(now);
        }
    }

    fn finish_round(&mut self, runs: &[Run]) {
        self.round = None;
        let slices = runs.iter().flat_map(|run| self.state.existing(run));
        let slices: Vec<u16> = slices.collect();
        self.collect_pins(&slices);
        for run in runs {
            let run = *run;
            self.record(&Entry::Own { from: None, run });
        }
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.evaluate(peer));
    }

    /// Whether we agree that another router takes slices: yes, unless we know of a higher claim.
    pub(super) fn agree(&mut self, from: PeerId, number: u64, runs: &[Run]) {
        for run in runs {
            self.learn(from, run);
        }
        let slices = runs.iter().flat_map(|run| self.state.existing(run));
        let mut over = Vec::new();
        for slice in slices {
            if let Some(claim) = self.state.claim_of(slice).filter(|c| c.owner != from) {
                let (first, count, ver) = (slice, 1, claim.ver);
                let run = Run { first, count, ver };
                over.push(Foreign {
                    owner: claim.owner,
                    run,
                });
            }
        }
        let pins = self.pins_in(runs);
        self.send(from, &Message::Agreed { number, over, pins });
    }

    pub(super) fn take_agreement(
        &mut self,
        from: PeerId,
        number: u64,
        over: &[Foreign],
        pins: &[Pin],
        now: Instant,
    ) {
        if self
            .round
            .as_ref()
            .is_none_or(|round| round.number != number)
        {
            return;
        }
        self.learn_all(over);
        self.take_pins(from, pins);
        if let Some(round) = self.round.as_mut() {
            round.agreed.insert(from);
        }
        self.ask_agreement(now);
    }

    pub(super) fn hand_over(&mut self) {
        if self.members().next().is_none() {
            return;
        }
        let owned = self.state.slices().filter(|s| self.state.owns(*s));
        let owned: Vec<u16> = owned.collect();
        let members = self.members().map(|(id, _)| *id);
        let members: BTreeSet<PeerId> = members.collect();
        let heir = self.beneficiary(self.config.me);
        let heir = if members.contains(&heir) {
            Some(heir)
        } else {
            members.first().copied()
        };
        if let Some(heir) = heir {
            self.give(heir, &owned);
        }
    }

    pub(super) fn finish_leaving(&mut self, now: Instant) {
        let Some(until) = self.leaving else { return };
        let owned = self.state.owned.iter().flatten().count();
        let orphaned = owned + self.state.gives.len();
        if until != Instant::FAR_FUTURE && (self.state.gives.is_empty() || now >= until) {
            self.leaving = Some(Instant::FAR_FUTURE);
            self.emit(Output::Left { orphaned });
        }
    }
}
