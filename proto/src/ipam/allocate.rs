//! Requests of this router's containers: any address of a subnet, or this very one; and their end.

use core::fmt;
use core::ops::RangeInclusive;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::journal::Entry;
use super::slices::Run;
use super::state::{State, USED};
use super::wire::{Denial, Message, Want};
use super::{Fault, Ipam, Output};
use crate::ids::PeerId;
use crate::limits::{
    IPAM_ASK_AGAIN, IPAM_ASK_TIMEOUT, IPAM_FOUND_WAIT, MAX_CONTAINER_ID, MAX_GRANT, MAX_HELD,
    MAX_IPAM_REQUESTS,
};
use crate::time::Instant;

/// The shell's number of one allocation or claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Why there is no address. The text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not in the range.
    #[error("{0} is not in the range of addresses, {1}")]
    OutsideRange(Ipv4Net, Ipv4Net),
    /// Fewer than two addresses for hosts.
    #[error("{0} is too small a subnet; the smallest is a /30")]
    TooSmall(Ipv4Net),
    /// Not an address for a host.
    #[error("{0} is the network's own address or its last one; pick another")]
    NotAHost(Ipv4Addr),
    /// More than [`MAX_CONTAINER_ID`] bytes.
    #[error("the container's id is too long")]
    LongId,
    /// More than [`MAX_HELD`] addresses or [`MAX_IPAM_REQUESTS`] requests.
    #[error("this router has too many addresses or requests")]
    Limit,
    /// This router is leaving.
    #[error("this router is handing its space over; it allocates nothing any more")]
    Leaving,
    /// A container of this router has it.
    #[error("{0} is held by container {1} on this host")]
    Held(Ipv4Addr, String),
    /// A container of another router has it.
    #[error("{0} is held by container {1} of router {2}")]
    HeldThere(Ipv4Addr, String, PeerId),
    /// A router has it, which knows its container.
    #[error("{0} is held on router {1}")]
    HeldBy(Ipv4Addr, PeerId),
    /// Every address of the subnet is taken.
    #[error("no address of {0} is free on any router")]
    Exhausted(Ipv4Net),
    /// Its owner cannot be reached.
    #[error(
        "{0} is in the space of router {1}, which cannot be reached; if it is gone for good: mesh rmpeer {1}"
    )]
    OwnerUnreachable(Ipv4Addr, PeerId),
    /// The slice is claimed by two routers.
    #[error(
        "{0} is in space that router {1} claims too; wait until both are connected, or if that one is gone for good: mesh rmpeer {1}"
    )]
    Contested(Ipv4Addr, PeerId),
    /// The time given is over.
    #[error("no address in time: {0}")]
    Timeout(Wait),
    /// Cancelled, or its container was released.
    #[error("the request was cancelled")]
    Cancelled,
}

/// What a request waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The smallest router of a mesh without a map, to take the range.
    Founder(PeerId),
    /// The routers that the operator named; after this moment the request goes on alone.
    Others(Instant),
    /// The answer of an owner.
    Owner(PeerId),
    /// The agreement of all reachable routers to what this one takes over.
    Agreement,
    /// Another router's concession.
    Contest(PeerId),
    /// Nobody reachable has space; so many owners cannot be reached, of which this is one.
    Space(usize, Option<PeerId>),
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Founder(peer) => write!(f, "router {peer} is to take the range of addresses"),
            Self::Others(_) => f.write_str("none of the routers named at launch answers yet"),
            Self::Owner(peer) => write!(f, "router {peer}, which has free space, does not answer"),
            Self::Agreement => f.write_str("other routers have to agree to a take-over"),
            Self::Contest(peer) => write!(
                f,
                "router {peer} claims the space too; if it is gone for good: mesh rmpeer {peer}"
            ),
            Self::Space(n, Some(peer)) => write!(
                f,
                "no reachable router has free space, {n} cannot be reached; if they are gone for good: mesh rmpeer {peer}"
            ),
            Self::Space(_, None) => f.write_str("no router has free space"),
        }
    }
}

/// A request that waits.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) id: RequestId,
    pub(super) container: String,
    pub(super) want: Want,
    pub(super) prefix: u8,
    pub(super) since: Instant,
    pub(super) deadline: Instant,
    pub(super) why: Wait,
    /// Who was asked last, and when.
    asked: Option<(PeerId, Instant)>,
    /// Owners that have nothing, or did not answer.
    tried: BTreeSet<PeerId>,
    /// All that were tried said so themselves.
    all_full: bool,
    /// No owner is asked before.
    rest: Instant,
}

enum Step {
    Done(Ipv4Addr),
    Failed(Refusal),
    Wait(Wait),
}

impl Ipam {
    /// Wants any free address of `subnet` for a container: the lowest of those this router owns, and the same again
    /// for the same container. The end is [`Output::Allocated`] or, at `deadline` at the latest, [`Output::Failed`].
    ///
    /// # Errors
    /// [`Refusal`] for what cannot succeed.
    pub fn allocate(
        &mut self,
        id: RequestId,
        container: &str,
        subnet: Ipv4Net,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), Refusal> {
        if !self.range().contains(&subnet) {
            return Err(Refusal::OutsideRange(subnet, self.range()));
        }
        if subnet.prefix_len() > 30 {
            return Err(Refusal::TooSmall(subnet));
        }
        let want = Want::Subnet(subnet.trunc());
        self.open(id, container, want, subnet.prefix_len(), deadline, now)
    }

    /// Wants this very address for a container; the prefix length is that of its subnet. Ends as [`Ipam::allocate`].
    ///
    /// # Errors
    /// [`Refusal`] for what cannot succeed; [`Refusal::OutsideRange`] is for the shell to ignore: such addresses are not
    /// kept here.
    pub fn claim(
        &mut self,
        id: RequestId,
        container: &str,
        addr: Ipv4Net,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), Refusal> {
        if !self.range().contains(&addr.addr()) {
            return Err(Refusal::OutsideRange(addr, self.range()));
        }
        if addr.prefix_len() <= 30
            && (addr.addr() == addr.network() || addr.addr() == addr.broadcast())
        {
            return Err(Refusal::NotAHost(addr.addr()));
        }
        let want = Want::Address(addr.addr());
        self.open(id, container, want, addr.prefix_len(), deadline, now)
    }

    /// The container is gone for good: its addresses are free, its requests are over.
    pub fn release(&mut self, container: &str, now: Instant) {
        let addrs = self.state.containers.get(container).cloned();
        for addr in addrs.unwrap_or_default() {
            self.record(&Entry::Release { addr });
        }
        let requests = self.requests.iter();
        let mine = requests.filter(|(_, request)| request.container == container);
        let mine: Vec<u64> = mine.map(|(number, _)| *number).collect();
        for number in mine {
            self.close(number, Err(Refusal::Cancelled));
        }
        self.pump(now);
        self.flush(now);
    }

    /// One address of a container is free.
    pub fn release_address(&mut self, container: &str, addr: Ipv4Addr, now: Instant) {
        let held = self.state.held.get(&addr);
        if held.is_some_and(|held| held.container == container) {
            self.record(&Entry::Release { addr });
            self.pump(now);
            self.flush(now);
        }
    }

    /// A request is not wanted any more. An address that it got meanwhile stays with the container.
    pub fn cancel(&mut self, id: RequestId, now: Instant) {
        let number = self.requests.iter().find(|(_, request)| request.id == id);
        if let Some(number) = number.map(|(number, _)| *number) {
            self.close(number, Err(Refusal::Cancelled));
            self.flush(now);
        }
    }

    /// Takes the range now, if this router would do so for a request (`prime`).
    pub fn prime(&mut self, now: Instant) {
        if self.state.has_no_map() {
            let _ = self.found(now, now);
            self.flush(now);
        }
    }

    fn open(
        &mut self,
        id: RequestId,
        container: &str,
        want: Want,
        prefix: u8,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), Refusal> {
        if container.len() > MAX_CONTAINER_ID {
            return Err(Refusal::LongId);
        }
        if self.leaving.is_some() {
            return Err(Refusal::Leaving);
        }
        if self.requests.len() >= MAX_IPAM_REQUESTS || self.state.held.len() >= MAX_HELD {
            return Err(Refusal::Limit);
        }
        let number = self.next_number;
        self.next_number += 1;
        let request = Request {
            id,
            container: container.to_owned(),
            want,
            prefix,
            since: now,
            deadline,
            why: Wait::Space(0, None),
            asked: None,
            tried: BTreeSet::new(),
            all_full: true,
            rest: now,
        };
        self.requests.insert(number, request);
        self.advance(number, now);
        self.flush(now);
        Ok(())
    }

    /// Looks at all that waits.
    pub(super) fn pump(&mut self, now: Instant) {
        let numbers: Vec<u64> = self.requests.keys().copied().collect();
        for number in numbers {
            self.advance(number, now);
        }
    }

    fn advance(&mut self, number: u64, now: Instant) {
        let Some(request) = self.requests.get(&number).cloned() else {
            return;
        };
        let step = match request.want {
            _ if self.leaving.is_some() => Step::Failed(Refusal::Leaving),
            Want::Subnet(subnet) => self.step_subnet(number, &request, subnet, now),
            Want::Address(addr) => self.step_address(number, &request, addr, now),
        };
        match step {
            Step::Done(addr) => self.close(number, Ok(addr)),
            Step::Failed(why) => self.close(number, Err(why)),
            Step::Wait(why) if now >= request.deadline => {
                self.close(number, Err(Refusal::Timeout(why)));
            }
            Step::Wait(why) => {
                if let Some(request) = self.requests.get_mut(&number) {
                    request.why = why;
                }
            }
        }
    }

    fn close(&mut self, number: u64, result: Result<Ipv4Addr, Refusal>) {
        let Some(done) = self.requests.remove(&number) else {
            return;
        };
        self.published.changed = true;
        let request = done.id;
        self.emit(match result {
            Ok(addr) => Output::Allocated {
                request,
                addr,
                prefix: done.prefix,
            },
            Err(why) => Output::Failed { request, why },
        });
    }

    fn step_subnet(
        &mut self,
        number: u64,
        request: &Request,
        subnet: Ipv4Net,
        now: Instant,
    ) -> Step {
        if let Some(addr) = self.again(request, subnet) {
            return Step::Done(addr);
        }
        if self.state.held.len() >= MAX_HELD {
            return Step::Failed(Refusal::Limit);
        }
        if self.state.has_no_map()
            && let Some(wait) = self.found(request.since, now)
        {
            return self.ask_founder(number, request, wait, now);
        }
        if let Some(addr) = self.find_free(subnet) {
            self.hold(addr, request);
            return Step::Done(addr);
        }
        self.ask_for_space(number, request, subnet, now)
    }

    /// The address the container has in this subnet.
    fn again(&self, request: &Request, subnet: Ipv4Net) -> Option<Ipv4Addr> {
        let addrs = self.state.containers.get(&request.container)?;
        let fits = |addr: &&Ipv4Addr| {
            let held = self.state.held.get(*addr);
            subnet.contains(*addr) && held.is_some_and(|held| held.prefix == request.prefix)
        };
        addrs.iter().find(fits).copied()
    }

    /// The lowest free address of a subnet in slices that may be used.
    pub(super) fn find_free(&self, subnet: Ipv4Net) -> Option<Ipv4Addr> {
        let size = self.state.slicing.size();
        let slices = self.state.slicing.slices_of(subnet);
        for slice in slices.filter(|s| self.may_use(*s)) {
            let is_full = self.state.used[usize::from(slice)] >= size;
            if is_full && !self.has_fault(Fault::NoPins) {
                continue;
            }
            let mut hosts = hosts(&self.state, slice, subnet);
            if let Some(addr) = hosts.find(|addr| !self.excludes(Ipv4Addr::from(*addr))) {
                return Some(Ipv4Addr::from(addr));
            }
        }
        None
    }

    pub(super) fn may_use(&self, slice: u16) -> bool {
        self.state.usable(slice)
            || (self.has_fault(Fault::NoAgreement)
                && self.state.owner(slice) == Some(self.config.me))
    }

    fn hold(&mut self, addr: Ipv4Addr, request: &Request) {
        self.mark_used(addr);
        self.record(&Entry::Hold {
            addr,
            prefix: request.prefix,
            explicit: matches!(request.want, Want::Address(_)),
            container: request.container.clone(),
        });
    }

    /// Says, before the first address of a slice is given out, that the slice is used.
    pub(super) fn mark_used(&mut self, addr: Ipv4Addr) {
        let Some(first) = self.state.slicing.slice_of(addr) else {
            return;
        };
        let owned = self.state.owned[usize::from(first)];
        let claim = self.state.claim_of(first);
        if let (Some(from), Some(claim)) = (owned, claim)
            && claim.ver & USED == 0
        {
            let (count, ver) = (1, claim.ver | USED);
            let run = Run { first, count, ver };
            self.record(&Entry::Own { from, run });
        }
    }

    fn step_address(
        &mut self,
        number: u64,
        request: &Request,
        addr: Ipv4Addr,
        now: Instant,
    ) -> Step {
        if let Some(held) = self.state.held.get(&addr) {
            return match held.container == request.container {
                true => Step::Done(addr),
                false => Step::Failed(Refusal::Held(addr, held.container.clone())),
            };
        }
        if self.state.has_no_map()
            && let Some(wait) = self.found(request.since, now)
        {
            return self.ask_founder(number, request, wait, now);
        }
        let Some(slice) = self.state.slicing.slice_of(addr) else {
            return Step::Failed(Refusal::NotAHost(addr));
        };
        let Some(owner) = self.state.owner(slice) else {
            return Step::Wait(Wait::Space(0, None));
        };
        if owner != self.config.me {
            if !self.is_member(&owner) {
                return Step::Failed(Refusal::OwnerUnreachable(addr, owner));
            }
            self.ask(number, request, owner, now);
            return Step::Wait(Wait::Owner(owner));
        }
        if let Some(loan) = self.state.loans.get(&addr)
            && !self.has_fault(Fault::NoPins)
        {
            return Step::Failed(Refusal::HeldBy(addr, loan.to));
        }
        if let Some(rivals) = self.state.contests.get(&slice) {
            let rival = rivals.first().copied().unwrap_or(owner);
            return match self.is_member(&rival) {
                true => Step::Wait(Wait::Contest(rival)),
                false => Step::Failed(Refusal::Contested(addr, rival)),
            };
        }
        if !self.may_use(slice) {
            return Step::Wait(Wait::Agreement);
        }
        self.hold(addr, request);
        Step::Done(addr)
    }

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

    fn ask_founder(&mut self, number: u64, request: &Request, wait: Wait, now: Instant) -> Step {
        if let Wait::Founder(founder) = wait {
            self.ask(number, request, founder, now);
        }
        Step::Wait(wait)
    }

    /// Asks an owner, again if it did not answer in time.
    fn ask(&mut self, number: u64, request: &Request, to: PeerId, now: Instant) {
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
    fn ask_for_space(
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
        let pending = slices.any(|s| mine(&s) && !self.state.owns(s));
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
        // Who lost the slice meanwhile has nothing to lend.
        let is_owner = slice.is_some_and(|s| self.state.owner(s) == Some(from));
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

/// The addresses of a slice that a host of `subnet` may have, as numbers.
fn hosts(state: &State, slice: u16, subnet: Ipv4Net) -> RangeInclusive<u32> {
    let slice = state.slicing.net(slice);
    let first = u32::from(subnet.network()).saturating_add(1);
    let last = u32::from(subnet.broadcast()).saturating_sub(1);
    u32::from(slice.network()).max(first)..=u32::from(slice.broadcast()).min(last)
}
