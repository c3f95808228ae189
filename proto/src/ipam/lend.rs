//! The owner's side of requests: an empty slice or two, or one address; and grants until they have arrived.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use super::journal::Entry;
use super::slices::Run;
use super::state::{Claim, next};
use super::wire::{Denial, Message, Pin, Want};
use super::{Fault, Ipam};
use crate::ids::PeerId;
use crate::limits::{IPAM_RESEND, MAX_GRANT, MAX_IPAM_PINS, MAX_LOANS};
use crate::time::Instant;

use std::net::Ipv4Addr;

impl Ipam {
    /// Answers a request. It may be old, and it may have been answered before.
    pub(super) fn answer(
        &mut self,
        from: PeerId,
        (epoch, number): (u64, u64),
        want: Want,
        slices: u16,
        now: Instant,
    ) {
        // Without the asker's statement a loan could not be ended.
        let Some(statement) = self.statement_of(&from).filter(|_| self.is_member(&from)) else {
            return;
        };
        let known = statement.version.epoch;
        let is_old = epoch < known || (epoch == known && number < statement.settled);
        if is_old || self.leaving.is_some() {
            return;
        }
        if self.state.has_no_map() && self.found(now, now).is_some() {
            return;
        }
        let answer = match want {
            Want::Subnet(subnet) => self.give_space(from, (epoch, number), subnet, slices),
            Want::Address(addr) => Some(self.give_address(from, (epoch, number), addr)),
        };
        match answer {
            Some(Ok(addr)) => self.send(
                from,
                &Message::Lent {
                    epoch,
                    number,
                    addr,
                },
            ),
            Some(Err(why)) => self.send(from, &Message::Denied { epoch, number, why }),
            None => self.send_grant(from),
        }
    }

    /// `None` for slices.
    fn give_space(
        &mut self,
        to: PeerId,
        (epoch, number): (u64, u64),
        subnet: Ipv4Net,
        slices: u16,
    ) -> Option<Result<Ipv4Addr, Denial>> {
        let known = self.state.slicing.slices_of(subnet);
        let is_given = |s: u16| self.state.gives.get(&s) == Some(&to);
        if known.clone().any(is_given) {
            return None;
        }
        let same = |(addr, loan): &(&Ipv4Addr, &super::state::Loan)| {
            let slice = self.state.slicing.slice_of(**addr);
            (loan.to, loan.epoch, loan.number) == (to, epoch, number)
                && subnet.contains(*addr)
                && slice.is_some_and(|s| self.state.owns(s))
        };
        if let Some((addr, _)) = self.state.loans.iter().find(same) {
            return Some(Ok(*addr));
        }
        let is_empty = |s: &u16| self.state.usable(*s) && self.state.is_empty(*s);
        let empty: Vec<u16> = known.clone().filter(is_empty).collect();
        if empty.len() >= 2 {
            let wanted = usize::from(slices.clamp(1, MAX_GRANT)).min(empty.len() / 2);
            let given = &empty[empty.len() - wanted..];
            self.give(to, given);
            return None;
        }
        if !known.clone().any(|s| self.state.owns(s)) {
            return Some(Err(Denial::NotMine));
        }
        let contested = known
            .clone()
            .any(|s| self.state.owns(s) && !self.state.usable(s));
        Some(match self.find_free(subnet) {
            Some(addr) if self.state.loans.len() < MAX_LOANS => {
                Ok(self.lend(addr, to, epoch, number))
            }
            None if contested => Err(Denial::Contested),
            _ => Err(Denial::Full),
        })
    }

    fn give_address(
        &mut self,
        to: PeerId,
        (epoch, number): (u64, u64),
        addr: Ipv4Addr,
    ) -> Result<Ipv4Addr, Denial> {
        let slice = self.state.slicing.slice_of(addr).ok_or(Denial::NotMine)?;
        if !self.state.owns(slice) {
            return Err(Denial::NotMine);
        }
        if let Some(held) = self.state.held.get(&addr) {
            return Err(Denial::Held(held.container.clone()));
        }
        if let Some(loan) = self.state.loans.get(&addr)
            && loan.to != to
        {
            return Err(Denial::HeldBy(loan.to));
        }
        if !self.state.usable(slice) {
            return Err(Denial::Contested);
        }
        if self.state.loans.len() >= MAX_LOANS {
            return Err(Denial::Full);
        }
        Ok(self.lend(addr, to, epoch, number))
    }

    fn lend(&mut self, addr: Ipv4Addr, to: PeerId, epoch: u64, number: u64) -> Ipv4Addr {
        self.mark_used(addr);
        self.record(&Entry::Lend {
            addr,
            to,
            epoch,
            number,
        });
        addr
    }

    /// Gives slices away: from here on they are not ours, whatever becomes of the message.
    pub(super) fn give(&mut self, to: PeerId, slices: &[u16]) {
        let versions = slices
            .iter()
            .filter_map(|s| Some((*s, next(self.state.claim_of(*s)?.ver))));
        for run in Run::collect(versions) {
            if self.has_fault(Fault::KeepGiven) {
                let pins = Vec::new();
                let runs = vec![run];
                self.send(to, &Message::Grant { runs, pins });
            } else {
                self.record(&Entry::Give { to, run });
            }
        }
    }

    fn send_grant(&mut self, to: PeerId) {
        let given = self.state.gives.iter().filter(|(_, peer)| **peer == to);
        let given = given.filter_map(|(s, _)| Some((*s, self.state.claim_of(*s)?.ver)));
        let runs = Run::collect(given);
        if !runs.is_empty() {
            let pins = self.pins_in(&runs);
            self.send(to, &Message::Grant { runs, pins });
        }
    }

    /// Repeats grants that did not arrive.
    pub(super) fn resend(&mut self, now: Instant) {
        if now.since(self.resent) < IPAM_RESEND {
            return;
        }
        self.resent = now;
        let gives: BTreeMap<PeerId, ()> =
            self.state.gives.values().map(|peer| (*peer, ())).collect();
        for to in gives.into_keys() {
            if self.is_member(&to) {
                self.send_grant(to);
            }
        }
    }

    /// Who holds addresses in these slices, as far as this router knows. What its own containers hold is over when a
    /// later statement does not list it; earlier statements did not have to.
    pub(super) fn pins_in(&mut self, runs: &[Run]) -> Vec<Pin> {
        let mut inside = vec![false; self.state.map.len()];
        for slice in runs.iter().flat_map(|run| self.state.existing(run)) {
            inside[usize::from(slice)] = true;
        }
        let is_inside = |addr: &Ipv4Addr| {
            let slice = self.state.slicing.slice_of(*addr);
            slice.is_some_and(|s| inside[usize::from(s)])
        };
        let held = self.state.held.keys().filter(|addr| is_inside(addr));
        let mut pins: Vec<Pin> = held
            .map(|addr| Pin {
                addr: *addr,
                holder: None,
                epoch: self.config.epoch,
                number: self.next_number,
            })
            .collect();
        if !pins.is_empty() {
            self.next_number += 1;
            self.published.changed = true;
        }
        let lent = self.state.loans.iter().filter(|(addr, _)| is_inside(addr));
        pins.extend(lent.map(|(addr, loan)| Pin {
            addr: *addr,
            holder: Some(loan.to),
            epoch: loan.epoch,
            number: loan.number,
        }));
        pins.truncate(MAX_IPAM_PINS);
        pins
    }

    /// Takes what the owner of slices gave.
    pub(super) fn take_grant(&mut self, from: PeerId, runs: &[Run], pins: &[Pin]) {
        let mut taken = Vec::new();
        for run in runs {
            for slice in self.state.existing(run) {
                let given = Claim {
                    owner: self.config.me,
                    ver: run.ver,
                };
                let known = self.state.claim_of(slice);
                let from_owner = known.is_some_and(|k| k.owner == from && given.outranks(&k));
                let is_expected = known == Some(given) && !self.state.owns(slice);
                if from_owner || is_expected {
                    taken.push((slice, run.ver));
                }
            }
        }
        if taken.is_empty() {
            return;
        }
        // The claim first, so that pins count as ours; the excluded addresses before the slice can be used.
        for run in Run::collect(taken.iter().copied()) {
            self.learn(self.config.me, &run);
        }
        self.take_pins(from, pins);
        let slices: Vec<u16> = taken.iter().map(|(s, _)| *s).collect();
        self.collect_pins(&slices);
        for run in Run::collect(taken) {
            let from = Some(from);
            self.record(&Entry::Own { from, run });
        }
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.evaluate(peer));
    }
}
