//! Requests that this router cannot meet alone: it takes the range, or asks owners one after the other.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::journal::Entry;
use super::refusal::{Refusal, Wait};
use super::request::{Request, Step};
use super::wire::{Denial, Message, Want};
use super::{Fault, Ipam};
use crate::ids::PeerId;
use crate::limits::{IPAM_ASK_AGAIN, IPAM_ASK_TIMEOUT, IPAM_FOUND_WAIT, MAX_GRANT};
use crate::time::Instant;

impl Ipam {
    /// Takes the range if nobody has it and nobody else should; otherwise says what to wait for.
    pub(super) fn found(&mut self, since: Instant, now: Instant) -> Option<Wait> {
        let smallest = self.members().map(|(id, _)| *id).min();
        match smallest {
            Some(id) if id < self.config.me && !self.has_fault(Fault::EverybodyFounds) => {
                return Some(Wait::Founder(id));
            }
            None if self.expecting && now < since + IPAM_FOUND_WAIT => {
                return Some(Wait::Others(since + IPAM_FOUND_WAIT));
            }
            _ => {}
        }
        let run = self.state.slicing.all(1);
        self.record(&Entry::Own { from: None, run });
        None
    }

    pub(super) fn ask_founder(
        &mut self,
        number: u64,
        request: &Request,
        wait: Wait,
        now: Instant,
    ) -> Step {
        if let Wait::Founder(founder) = wait {
            self.ask(number, request, founder, now);
        }
        Step::Wait(wait)
    }

    /// Asks an owner, again if it did not answer in time.
    pub(super) fn ask(&mut self, number: u64, request: &Request, to: PeerId, now: Instant) {
        let is_asked = request
            .asked
            .is_some_and(|(who, at)| who == to && now.since(at) < IPAM_ASK_TIMEOUT);
        if is_asked || now < request.rest {
            return;
        }
        let owned = self.state.owned.iter().flatten().count();
        let slices = u16::try_from(owned / 2).unwrap_or(MAX_GRANT);
        self.send(
            to,
            &Message::Ask {
                epoch: self.config.epoch,
                number,
                want: request.want,
                slices: slices.clamp(1, MAX_GRANT),
            },
        );
        if let Some(request) = self.requests.get_mut(&number) {
            request.asked = Some((to, now));
        }
    }

    /// Asks one owner after the other, those with most free space first.
    pub(super) fn ask_for_space(
        &mut self,
        number: u64,
        request: &Request,
        subnet: Ipv4Net,
        now: Instant,
    ) -> Step {
        let slices = self.state.slicing.slices_of(subnet);
        let owners: BTreeSet<PeerId> = slices.clone().filter_map(|s| self.state.owner(s)).collect();
        let is_asked = |(_, at): &(PeerId, Instant)| now.since(*at) < IPAM_ASK_TIMEOUT;
        if let Some((who, _)) = request.asked.filter(is_asked)
            && self.is_member(&who)
            && !request.tried.contains(&who)
        {
            return Step::Wait(Wait::Owner(who));
        }
        let mut request = request.clone();
        if let Some((who, _)) = request.asked
            && owners.contains(&who)
            && request.tried.insert(who)
        {
            request.all_full = false;
        }
        let mut next: Option<(u8, PeerId)> = None;
        for (id, statement) in self.members().filter(|(id, _)| owners.contains(id)) {
            let better = next.is_none_or(|(free, _)| statement.free > free);
            if better && !request.tried.contains(id) {
                next = Some((statement.free, *id));
            }
        }
        if now < request.rest {
            return Step::Wait(request.why);
        }
        if let Some((_, owner)) = next {
            self.ask(number, &request, owner, now);
            if let Some(kept) = self.requests.get_mut(&number) {
                (kept.tried, kept.all_full) = (request.tried, request.all_full);
            }
            return Step::Wait(Wait::Owner(owner));
        }
        self.no_space(number, &request, &owners, subnet, now)
    }

    fn no_space(
        &mut self,
        number: u64,
        request: &Request,
        owners: &BTreeSet<PeerId>,
        subnet: Ipv4Net,
        now: Instant,
    ) -> Step {
        let mut slices = self.state.slicing.slices_of(subnet);
        let mine = |s: &u16| self.state.owner(*s) == Some(self.config.me);
        let doubted = slices
            .clone()
            .find(|s| mine(s) && self.state.contests.contains_key(s));
        let pending = slices.any(|s| mine(&s) && !self.state.owns(s))
            || self.is_to_change_hands(owners, subnet);
        let absent = owners
            .iter()
            .filter(|id| **id != self.config.me && !self.is_member(id));
        let absent: Vec<PeerId> = absent.copied().collect();
        let known = self.state.map.iter().all(Option::is_some);
        if absent.is_empty() && doubted.is_none() && !pending && request.all_full && known {
            return Step::Failed(Refusal::Exhausted(subnet));
        }
        if let Some(kept) = self.requests.get_mut(&number) {
            kept.tried.clear();
            kept.asked = None;
            kept.all_full = true;
            kept.rest = now + IPAM_ASK_AGAIN;
        }
        let rivals = doubted.and_then(|s| self.state.contests.get(&s));
        Step::Wait(match rivals.and_then(BTreeSet::first) {
            _ if pending => Wait::Agreement,
            Some(rival) => Wait::Contest(*rival),
            None => Wait::Space(absent.len(), absent.first().copied()),
        })
    }

    /// Whether a reachable router is to have space of the subnet, and does not say so itself yet: what it denied was asked
    /// of what it had.
    fn is_to_change_hands(&self, owners: &BTreeSet<PeerId>, subnet: Ipv4Net) -> bool {
        let heirs: BTreeSet<&PeerId> = owners.iter().filter(|id| self.is_member(id)).collect();
        let mut said = BTreeSet::new();
        for heir in &heirs {
            let own = self.statement_of(heir).map_or(&[][..], |s| &s.own);
            let own = own.iter().flat_map(|run| self.state.existing(run));
            said.extend(own.filter(|s| self.state.owner(*s).as_ref() == Some(*heir)));
        }
        let mut slices = self.state.slicing.slices_of(subnet);
        let to_have = |s: &u16| self.state.owner(*s).is_some_and(|id| heirs.contains(&id));
        slices.any(|s| to_have(&s) && !said.contains(&s))
    }

    pub(super) fn take_loan(
        &mut self,
        from: PeerId,
        epoch: u64,
        number: u64,
        addr: Ipv4Addr,
        now: Instant,
    ) {
        let Some(request) = self.requests.get(&number).cloned() else {
            return;
        };
        let fits = match request.want {
            Want::Address(wanted) => wanted == addr,
            Want::Subnet(subnet) => {
                subnet.contains(&addr) && addr != subnet.network() && addr != subnet.broadcast()
            }
        };
        let slice = self.state.slicing.slice_of(addr);
        // Who lost the slice meanwhile has nothing to lend. What it took a moment ago it may not have stated yet.
        let is_owner = slice.is_some_and(|s| self.state.owner(s).is_none_or(|o| o == from));
        let is_free = !self.state.held.contains_key(&addr);
        if epoch == self.config.epoch && fits && is_owner && is_free {
            self.hold(addr, &request);
            self.close(number, Ok(addr));
        }
        self.pump(now);
    }

    pub(super) fn take_denial(&mut self, from: PeerId, number: u64, why: Denial, now: Instant) {
        let Some(request) = self.requests.get_mut(&number) else {
            return;
        };
        if request.asked.map(|(who, _)| who) != Some(from) {
            return;
        }
        match (request.want, why) {
            (Want::Address(addr), Denial::Held(container)) => {
                self.close(number, Err(Refusal::HeldThere(addr, container, from)));
            }
            (Want::Address(addr), Denial::HeldBy(peer)) => {
                self.close(number, Err(Refusal::HeldBy(addr, peer)));
            }
            // The owner changes, or is about to: its statement will tell.
            (Want::Address(_), _) => request.rest = now + IPAM_ASK_TIMEOUT,
            (Want::Subnet(_), Denial::Full) => {
                request.tried.insert(from);
            }
            (Want::Subnet(_), _) => {
                request.tried.insert(from);
                request.all_full = false;
            }
        }
    }
}
