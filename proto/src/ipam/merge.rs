//! Statements of others: claims, pins, removals, contested slices.

use std::net::Ipv4Addr;

use super::journal::Entry;
use super::slices::Run;
use super::state::{Loan, next};
use super::wire::{Foreign, Pin, Statement};
use super::{Fault, Ipam};
use crate::ids::{PeerId, Version};
use crate::time::Instant;

impl Ipam {
    pub(super) fn merge(
        &mut self,
        origin: PeerId,
        statement: &Statement,
        reachable: bool,
        now: Instant,
    ) {
        let is_back = self.note_reachable(origin, reachable, now);
        let Some(peer) = self.peers.get_mut(&origin) else {
            return;
        };
        let known = peer.statement.as_ref().map(|s| s.version);
        if known.is_some_and(|version| statement.version <= version) {
            if is_back {
                self.meet(origin);
            }
            return;
        }
        peer.statement = Some(statement.clone());
        self.published.changed = true;
        if statement.range != self.range() {
            return;
        }
        for (peer, version) in &statement.fences {
            self.take_fence(*peer, *version);
        }
        for run in &statement.own {
            self.learn(origin, run);
        }
        self.learn_all(&statement.others);
        self.settle_gives(origin, statement);
        self.end_loans(origin, statement);
        self.take_pins(origin, &statement.pins);
        self.evaluate(origin);
    }

    /// A router can be reached, or cannot any more: what it said counts, or what others said of its removal.
    pub(super) fn meet(&mut self, peer: PeerId) {
        if self.is_member(&peer) {
            let pins = self.statement_of(&peer).map(|s| s.pins.clone());
            self.take_pins(peer, &pins.unwrap_or_default());
            self.evaluate(peer);
            return;
        }
        if let Some(version) = self.removed(&peer) {
            self.take_fence(peer, version);
        }
    }

    /// Up to which statement a router is removed, as far as this one or a reachable one knows.
    fn removed(&self, peer: &PeerId) -> Option<Version> {
        let theirs = self.members().flat_map(|(_, s)| s.fences.iter());
        let theirs = theirs.filter(|(id, _)| id == peer).map(|(_, v)| *v);
        theirs.max().max(self.state.fence_of(peer))
    }

    /// Keeps the claims that outrank what is known.
    pub(super) fn learn(&mut self, owner: PeerId, run: &Run) {
        let ver = run.ver;
        let claim = super::state::Claim { owner, ver };
        let keeps = |s: &u16| {
            self.has_fault(Fault::NoConcession) && self.state.owns(*s) && owner != self.config.me
        };
        let news = self.state.existing(run).filter(|slice| {
            let known = self.state.claim_of(*slice);
            known.is_none_or(|k| claim.outranks(&k)) && !keeps(slice)
        });
        for run in Run::collect(news.map(|s| (s, ver))) {
            self.record(&Entry::Claim { owner, run });
        }
    }

    pub(super) fn learn_all(&mut self, claims: &[Foreign]) {
        for claim in claims {
            self.learn(claim.owner, &claim.run);
        }
    }

    /// Contests what a reachable router claims below us, and ends contests that it gave up.
    pub(super) fn evaluate(&mut self, rival: PeerId) {
        let Some(statement) = self.statement_of(&rival) else {
            return;
        };
        let mut claims = vec![false; self.state.map.len()];
        for slice in statement
            .own
            .iter()
            .flat_map(|run| self.state.existing(run))
        {
            claims[usize::from(slice)] = true;
        }
        let is_live = statement.live;
        if self.is_member(&rival) && !self.has_fault(Fault::NoContest) {
            for slice in self.state.slices() {
                let given_by = self.state.owned[usize::from(slice)];
                let contests = self.state.contests.get(&slice);
                let is_known = contests.is_some_and(|rivals| rivals.contains(&rival));
                let doubted = given_by.is_some() && given_by != Some(Some(rival));
                if claims[usize::from(slice)] && doubted && !is_known {
                    self.record(&Entry::Contest { slice, rival });
                }
            }
        }
        let contested = self.contested_by(&rival);
        for slice in contested.iter().filter(|s| !claims[usize::from(**s)]) {
            let (slice, rival) = (*slice, rival);
            self.record(&Entry::Conceded { slice, rival });
        }
        if is_live && !self.is_live() && self.requests.is_empty() && self.is_member(&rival) {
            self.give_in(rival);
        }
    }

    /// Nobody holds an address of ours, but some hold addresses of the rival's: the space is the rival's.
    fn give_in(&mut self, rival: PeerId) {
        let contested = self.contested_by(&rival);
        let slices = contested.iter().filter(|s| self.state.owns(**s));
        let slices = slices.filter_map(|s| Some((*s, next(self.state.claim_of(*s)?.ver))));
        for run in Run::collect(slices) {
            self.record(&Entry::Give { to: rival, run });
        }
    }

    fn contested_by(&self, rival: &PeerId) -> Vec<u16> {
        let contests = self.state.contests.iter();
        let contests = contests.filter(|(_, rivals)| rivals.contains(rival));
        contests.map(|(slice, _)| *slice).collect()
    }

    fn settle_gives(&mut self, origin: PeerId, statement: &Statement) {
        let state = &self.state;
        let own = statement
            .own
            .iter()
            .flat_map(|run| state.existing(run).map(|s| (s, run.ver)));
        let taken: Vec<u16> = own
            .filter(|(s, ver)| {
                let enough = state.claim_of(*s).is_some_and(|c| c.ver <= *ver);
                state.gives.get(s) == Some(&origin) && enough
            })
            .map(|(s, _)| s)
            .collect();
        for slice in taken {
            self.record(&Entry::Taken { slice });
        }
    }

    /// What the origin neither holds nor may still be waiting for is free again.
    fn end_loans(&mut self, origin: PeerId, statement: &Statement) {
        let lent = self
            .state
            .loans
            .iter()
            .filter(|(_, loan)| loan.to == origin);
        let over: Vec<Ipv4Addr> = lent
            .filter(|(addr, loan)| {
                is_settled(statement, addr, loan) || self.has_fault(Fault::HastyUnlend)
            })
            .filter(|(addr, _)| !lists(statement, addr))
            .map(|(addr, _)| *addr)
            .collect();
        for addr in over {
            self.record(&Entry::Unlend { addr });
            // Another may hold it too: then it is that one's now.
            if let Some(slice) = self.state.slicing.slice_of(addr) {
                self.collect_pins(&[slice]);
            }
        }
    }

    /// Whether the holder's newest statement says that it does not hold a pin (any more).
    pub(super) fn is_over(&self, pin: &Pin, holder: PeerId) -> bool {
        if holder == self.config.me {
            return !self.state.held.contains_key(&pin.addr);
        }
        let is_removed = |v: Version| pin.epoch <= v.epoch;
        if !self.is_member(&holder) && self.removed(&holder).is_some_and(is_removed) {
            return true;
        }
        let loan = Loan {
            to: holder,
            epoch: pin.epoch,
            number: pin.number,
        };
        let statement = self.statement_of(&holder);
        statement.is_some_and(|s| is_settled(s, &pin.addr, &loan) && !lists(s, &pin.addr))
    }

    /// Excludes addresses of our slices that `origin` says are held.
    pub(super) fn take_pins(&mut self, origin: PeerId, pins: &[Pin]) {
        for pin in pins {
            let to = pin.holder.unwrap_or(origin);
            let slice = self.state.slicing.slice_of(pin.addr);
            let is_ours = slice.is_some_and(|s| self.state.owner(s) == Some(self.config.me));
            let is_known = self.state.loans.contains_key(&pin.addr);
            if is_ours && !is_known && to != self.config.me && !self.is_over(pin, to) {
                let (addr, epoch, number) = (pin.addr, pin.epoch, pin.number);
                self.record(&Entry::Lend {
                    addr,
                    to,
                    epoch,
                    number,
                });
            }
        }
    }

    /// Excludes what is known to be held in slices that became ours.
    pub(super) fn collect_pins(&mut self, slices: &[u16]) {
        let mut pins = Vec::new();
        for (origin, peer) in &self.peers {
            for pin in peer.statement.iter().flat_map(|s| &s.pins) {
                let slice = self.state.slicing.slice_of(pin.addr);
                if slice.is_some_and(|s| slices.binary_search(&s).is_ok()) {
                    pins.push((*origin, *pin));
                }
            }
        }
        for (origin, pin) in pins {
            self.take_pins(origin, &[pin]);
        }
    }
}

fn lists(statement: &Statement, addr: &Ipv4Addr) -> bool {
    let mut own = statement.pins.iter().filter(|pin| pin.holder.is_none());
    own.any(|pin| pin.addr == *addr)
}

/// Whether the request that led to a loan is over, as its holder's statement says.
fn is_settled(statement: &Statement, _addr: &Ipv4Addr, loan: &Loan) -> bool {
    let epoch = statement.version.epoch;
    epoch > loan.epoch || (epoch == loan.epoch && statement.settled > loan.number)
}
