//! The own statement: what to tell everybody, and when.
//!
//! A claim of a router that does not state it (it cannot be reached, or was given the slice a moment ago) is stated by the
//! smallest of the reachable routers that know of it. So everybody learns everything, and it is said once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::slices::Run;
use super::state::Claim;
use super::wire::{Conflict, Foreign, Pin, Statement};
use super::{Fault, Ipam, Output};
use crate::ids::{PeerId, Version};
use crate::limits::{IPAM_STATEMENT_INTERVAL, MAX_ADDRESS_CONFLICTS, MAX_IPAM_PINS};
use crate::time::Instant;

/// What was stated last.
#[derive(Debug)]
pub(super) struct Published {
    /// Something may have to be stated.
    pub(super) changed: bool,
    last: Option<Statement>,
    at: Instant,
    /// It has to be stated anew, even if nothing changed.
    again: bool,
}

impl Default for Published {
    fn default() -> Self {
        Self {
            changed: true,
            last: None,
            at: Instant::ZERO,
            again: false,
        }
    }
}

impl Published {
    /// Sees to it that the newest statement is newer than `version`.
    pub(super) fn outdo(&mut self, version: Version) {
        if self.last.as_ref().is_some_and(|s| s.version <= version) {
            self.again = true;
            self.changed = true;
        }
    }

    pub(super) fn due(&self, _of: &Ipam) -> Instant {
        match (self.changed, &self.last) {
            (false, _) => Instant::FAR_FUTURE,
            (true, None) => Instant::ZERO,
            (true, Some(_)) => self.at + IPAM_STATEMENT_INTERVAL,
        }
    }
}

impl Ipam {
    /// The newest statement, as bytes; `None` before the first.
    pub fn statement(&self) -> Option<Vec<u8>> {
        self.published.last.as_ref().map(Statement::encode)
    }

    pub(super) fn publish(&mut self, now: Instant) {
        if self.published.due(self) > now {
            return;
        }
        self.published.changed = false;
        let seq = self.published.last.as_ref().map_or(0, |s| s.version.seq);
        let mut statement = self.build(seq);
        if self.published.last.as_ref() == Some(&statement) && !self.published.again {
            return;
        }
        self.published.again = false;
        statement.version.seq = seq + 1;
        self.emit(Output::Statement(statement.encode()));
        self.published.last = Some(statement);
        self.published.at = now;
    }

    fn build(&self, seq: u64) -> Statement {
        let state = &self.state;
        let own = state.slices().filter(|s| state.owns(*s));
        let own = own.filter_map(|s| state.claim_of(s).map(|claim| (s, claim.ver)));
        let empty = state
            .slices()
            .filter(|s| state.usable(*s) && state.is_empty(*s));
        let empty = u32::try_from(empty.count()).unwrap_or(u32::MAX);
        Statement {
            version: Version {
                epoch: self.config.epoch,
                seq,
            },
            range: self.range(),
            settled: self.settled(),
            live: self.is_live(),
            free: u8::try_from(empty.checked_ilog2().map_or(0, |log| log + 1)).unwrap_or(0),
            own: Run::collect(own),
            others: self.unstated(),
            pins: self.pins_outside(),
            fences: self.unstated_fences(),
            conflicts: self.own_conflicts(),
        }
    }

    /// The number below which all requests are over.
    pub(super) fn settled(&self) -> u64 {
        let first = self.requests.keys().next();
        first.copied().unwrap_or(self.next_number)
    }

    pub(super) fn is_live(&self) -> bool {
        !self.state.held.is_empty() || !self.state.loans.is_empty()
    }

    fn unstated(&self) -> Vec<Foreign> {
        let mut stated: Vec<Option<Claim>> = vec![None; self.state.map.len()];
        let mut note = |owner: PeerId, run: &Run| {
            let ver = run.ver;
            for slice in self.state.existing(run) {
                let claim = Claim { owner, ver };
                let known = &mut stated[usize::from(slice)];
                if known.is_none_or(|k| claim.outranks(&k)) {
                    *known = Some(claim);
                }
            }
        };
        for (id, statement) in self.members() {
            statement.own.iter().for_each(|run| note(*id, run));
            if *id < self.config.me {
                let others = statement.others.iter();
                others.for_each(|other| note(other.owner, &other.run));
            }
        }
        let mut by_owner: BTreeMap<PeerId, Vec<(u16, u32)>> = BTreeMap::new();
        for slice in self.state.slices().filter(|s| !self.state.owns(*s)) {
            let claim = self.state.claim_of(slice);
            if let Some(claim) = claim.filter(|c| stated[usize::from(slice)] != Some(*c)) {
                let slices = by_owner.entry(claim.owner).or_default();
                slices.push((slice, claim.ver));
            }
        }
        let mut out = Vec::new();
        for (owner, slices) in by_owner {
            out.extend(
                Run::collect(slices)
                    .into_iter()
                    .map(|run| Foreign { owner, run }),
            );
        }
        out
    }

    fn unstated_fences(&self) -> Vec<(PeerId, Version)> {
        let smaller = self.members().filter(|(id, _)| **id < self.config.me);
        let stated: BTreeMap<PeerId, Version> = smaller
            .flat_map(|(_, s)| s.fences.iter().copied())
            .collect();
        let fences = self.state.fences.iter();
        let fences = fences.filter(|(id, v)| stated.get(id).is_none_or(|known| known < v));
        fences.copied().collect()
    }

    /// Addresses held in slices that are not ours: by our containers, and those we lent before we lost the slice.
    fn pins_outside(&self) -> Vec<Pin> {
        let is_outside = |addr: &Ipv4Addr| {
            let slice = self.state.slicing.slice_of(*addr);
            slice.is_some_and(|s| !self.state.owns(s))
        };
        let held = self.state.held.keys().filter(|addr| is_outside(addr));
        let held = held.map(|addr| Pin {
            addr: *addr,
            holder: None,
            epoch: self.config.epoch,
            number: 0,
        });
        let lent = self.state.loans.iter().filter(|(addr, _)| is_outside(addr));
        let lent = lent.map(|(addr, loan)| Pin {
            addr: *addr,
            holder: Some(loan.to),
            epoch: loan.epoch,
            number: loan.number,
        });
        held.chain(lent).take(MAX_IPAM_PINS).collect()
    }

    /// Addresses of our slices that two routers hold: what is pinned there against what we know of.
    pub(super) fn own_conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = BTreeSet::new();
        for (addr, loan) in &self.state.loans {
            let owned = self.state.slicing.slice_of(*addr);
            if owned.is_some_and(|s| self.state.owns(s)) && self.state.held.contains_key(addr) {
                conflicts.insert(Conflict {
                    addr: *addr,
                    first: self.config.me,
                    second: loan.to,
                });
            }
        }
        for (origin, peer) in &self.peers {
            let pins = peer.statement.iter().flat_map(|s| &s.pins);
            for pin in pins {
                let holder = pin.holder.unwrap_or(*origin);
                let slice = self.state.slicing.slice_of(pin.addr);
                if !slice.is_some_and(|s| self.state.owns(s)) || self.is_over(pin, holder) {
                    continue;
                }
                let first = match self.state.loans.get(&pin.addr) {
                    _ if self.state.held.contains_key(&pin.addr) => self.config.me,
                    Some(loan) => loan.to,
                    None => continue,
                };
                if first != holder {
                    conflicts.insert(Conflict {
                        addr: pin.addr,
                        first,
                        second: holder,
                    });
                }
            }
        }
        conflicts.into_iter().take(MAX_ADDRESS_CONFLICTS).collect()
    }

    pub(super) fn excludes(&self, addr: Ipv4Addr) -> bool {
        self.state.held.contains_key(&addr)
            || (self.state.loans.contains_key(&addr) && !self.has_fault(Fault::NoPins))
    }
}
