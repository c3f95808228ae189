//! The claim vote: this router asks all others whether it may take slices that the map calls its own and that nobody
//! granted it. It owns them when all agreed.

use core::time::Duration;
use std::collections::BTreeSet;

use super::registry::Registry;
use super::slices::SliceRun;
use super::wire::{ForeignClaim, IpamMessage, Pin};
use mesh_proto::ids::PeerId;
use mesh_proto::limits::{IPAM_BOOTSTRAP_WAIT, IPAM_RESEND, IPAM_TAKE_DELAY};
use mesh_proto::time::Instant;

/// One question to all reachable routers.
#[derive(Debug)]
struct ClaimRound {
    number: u64,
    runs: Vec<SliceRun>,
    agreed: BTreeSet<PeerId>,
    /// The moment of its beginning; it is asked a while later.
    began: Instant,
    /// The moment when it was asked last.
    asked: Option<Instant>,
}

/// The rounds of this router, one at a time.
#[derive(Debug)]
pub(crate) struct ClaimVote {
    round: Option<ClaimRound>,
    /// The number of the last round. Numbers are unique over all epochs: an answer to an earlier start counts for nothing.
    last: u64,
}

impl ClaimVote {
    /// Makes the rounds of an epoch.
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            round: None,
            last: epoch << 32,
        }
    }

    /// Goes over to a later epoch.
    pub(crate) fn raise_epoch(&mut self, epoch: u64) {
        self.last = self.last.max(epoch << 32);
    }

    /// Returns whether a round is under way.
    pub(crate) fn is_open(&self) -> bool {
        self.round.is_some()
    }

    /// Begins a round if there are slices to take, asks, and ends it when all have agreed. `is_waiting` says that requests
    /// of this router are open.
    pub(crate) fn advance(&mut self, registry: &mut Registry, is_waiting: bool, now: Instant) {
        let claims = registry.state().claims();
        let is_open = |s: &u16| claims.is_mine(*s) && !claims.owns(*s);
        let runs = claims.runs(claims.slices().filter(is_open));
        if runs.is_empty() {
            self.round = None;
            return;
        }
        let round = self.round.take().filter(|round| round.runs == runs);
        let round = round.unwrap_or_else(|| {
            self.last += 1;
            ClaimRound::new(self.last, runs, now)
        });
        self.round = round.advance(registry, is_waiting, now);
    }

    /// Takes the answer of a router to the round `number`: its agreement, higher claims, and leases there.
    pub(crate) fn handle_answer(
        &mut self,
        registry: &mut Registry,
        from: PeerId,
        number: u64,
        over: &[ForeignClaim],
        pins: &[Pin],
    ) -> bool {
        let Some(round) = self.round.as_mut().filter(|r| r.number == number) else {
            return false;
        };
        round.agreed.insert(from);
        registry.learn_all(over);
        registry.take_pins(from, pins);
        true
    }

    /// Answers the round of another router: it may take the slices unless this one knows of a higher claim.
    pub(crate) fn answer(registry: &mut Registry, from: PeerId, number: u64, runs: &[SliceRun]) {
        for run in runs {
            registry.learn(from, run);
        }
        let claims = registry.state().claims();
        let slices = runs.iter().flat_map(|run| claims.existing(run));
        let over = slices.filter_map(|slice| {
            let claim = claims.get(slice).filter(|c| c.owner != from)?;
            let (first, count, ver) = (slice, 1, claim.ver);
            let run = SliceRun { first, count, ver };
            let owner = claim.owner;
            Some(ForeignClaim { owner, run })
        });
        let over = over.collect();
        let pins = registry.pins_in(runs);
        registry.send(from, &IpamMessage::Agreed { number, over, pins });
    }
}

/// Returns the time before others are asked: a grant may come, and the routers that the operator named may be met. In a
/// network other than `default` nobody takes the range, so this is where one that lost its journal waits for the others.
fn delay(registry: &Registry) -> Duration {
    let peers = registry.peers();
    let is_lonely = peers.is_expecting() && peers.members().next().is_none();
    match is_lonely && registry.slicing().is_subnet() {
        true => IPAM_BOOTSTRAP_WAIT,
        false => IPAM_TAKE_DELAY,
    }
}

impl ClaimRound {
    fn new(number: u64, runs: Vec<SliceRun>, began: Instant) -> Self {
        Self {
            number,
            runs,
            agreed: BTreeSet::new(),
            began,
            asked: None,
        }
    }

    /// Asks the routers that have not agreed. Without any, takes the slices, and the round is over.
    fn advance(mut self, registry: &mut Registry, is_waiting: bool, now: Instant) -> Option<Self> {
        if now < self.began + delay(registry) {
            return Some(self);
        }
        let missing = registry.peers().members().map(|(id, _)| *id);
        let missing: Vec<PeerId> = missing.filter(|id| !self.agreed.contains(id)).collect();
        if missing.is_empty() {
            registry.take_agreed(&self.runs, is_waiting);
            return None;
        }
        if self.asked.is_none_or(|at| now.since(at) >= IPAM_RESEND) {
            self.asked = Some(now);
            for to in missing {
                let (number, runs) = (self.number, self.runs.clone());
                registry.send(to, &IpamMessage::Agree { number, runs });
            }
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::durable::{DurableState, JournalEntry};
    use super::super::slices::Slicing;
    use super::super::tests::parts::{LARGER, ME, NOW, SMALLER, meet, messages, registry, run};
    use super::*;

    /// A registry whose map calls half of the slices this router's, which nobody granted it.
    fn claimed() -> (Registry, SliceRun) {
        let mut registry = registry();
        let run = run(0, 8);
        registry.record(&JournalEntry::Claim { owner: ME, run });
        (registry, run)
    }

    #[test]
    fn a_router_alone_owns_after_a_grant_could_have_come() {
        let ((mut registry, _), mut vote) = (claimed(), ClaimVote::new(1));
        vote.advance(&mut registry, false, NOW);
        assert!(vote.is_open() && registry.state().claims().owned() == 0);
        vote.advance(&mut registry, false, NOW + IPAM_TAKE_DELAY);
        assert!(!vote.is_open());
        assert_eq!(registry.state().claims().owned(), 8);
    }

    #[test]
    fn all_members_must_agree_and_are_asked_again_until_then() {
        let ((mut registry, run), mut vote) = (claimed(), ClaimVote::new(1));
        for peer in [SMALLER, LARGER] {
            meet(&mut registry, peer, 1, Vec::new());
        }
        vote.advance(&mut registry, false, NOW);
        let asked = NOW + IPAM_TAKE_DELAY;
        vote.advance(&mut registry, false, asked);
        let number = (1 << 32) + 1;
        let runs = vec![run];
        let question = IpamMessage::Agree { number, runs };
        let to_both = [(SMALLER, question.clone()), (LARGER, question.clone())];
        assert_eq!(messages(&mut registry), to_both);
        assert!(!vote.handle_answer(&mut registry, SMALLER, number - 1, &[], &[]));
        assert!(vote.handle_answer(&mut registry, SMALLER, number, &[], &[]));
        vote.advance(&mut registry, false, asked + IPAM_RESEND);
        assert_eq!(messages(&mut registry), [(LARGER, question)]);
        assert!(vote.handle_answer(&mut registry, LARGER, number, &[], &[]));
        vote.advance(&mut registry, false, asked + IPAM_RESEND);
        assert_eq!(registry.state().claims().owned(), 8);
    }

    #[test]
    fn a_higher_claim_ends_the_round_and_pins_are_excluded_first() {
        let ((mut registry, _), mut vote) = (claimed(), ClaimVote::new(1));
        meet(&mut registry, LARGER, 1, Vec::new());
        vote.advance(&mut registry, false, NOW);
        let higher = SliceRun {
            first: 0,
            count: 7,
            ver: 2,
        };
        let over = ForeignClaim {
            owner: SMALLER,
            run: higher,
        };
        let pin = Pin {
            addr: [10, 32, 0, 120].into(),
            router: None,
            epoch: 1,
            number: 1,
        };
        let number = (1 << 32) + 1;
        assert!(vote.handle_answer(&mut registry, LARGER, number, &[over], &[pin]));
        let leases = registry.state().leases();
        assert_eq!(leases.remote(&pin.addr).unwrap().to, LARGER);
        assert_eq!(registry.state().claims().owner(0), Some(SMALLER));
        // One slice is left, for which a round of its own begins.
        vote.advance(&mut registry, false, NOW + IPAM_TAKE_DELAY);
        assert!(vote.is_open() && registry.state().claims().owned() == 0);
    }

    #[test]
    fn an_answer_names_higher_claims() {
        let (mut registry, run) = claimed();
        let theirs = SliceRun { ver: 1, ..run };
        ClaimVote::answer(&mut registry, LARGER, 3, &[theirs]);
        let sent = messages(&mut registry);
        let [
            (
                LARGER,
                IpamMessage::Agreed {
                    number: 3, over, ..
                },
            ),
        ] = &sent[..]
        else {
            panic!("{sent:?}");
        };
        assert!(over.len() == 8 && over.iter().all(|claim| claim.owner == ME));
        ClaimVote::answer(&mut registry, SMALLER, 4, &[theirs]);
        let sent = messages(&mut registry);
        let [
            (
                SMALLER,
                IpamMessage::Agreed {
                    number: 4, over, ..
                },
            ),
        ] = &sent[..]
        else {
            panic!("{sent:?}");
        };
        assert!(
            over.is_empty(),
            "of equal versions the smaller owner's is higher"
        );
        assert_eq!(registry.state().claims().owner(0), Some(SMALLER));
    }
    #[test]
    fn a_founder_without_journal_waits_for_the_routers_that_were_named() {
        for (is_expecting, wait) in [(true, IPAM_BOOTSTRAP_WAIT), (false, IPAM_TAKE_DELAY)] {
            let slicing = Slicing::of_subnet("10.32.0.0/24".parse().unwrap()).unwrap();
            let mut registry = Registry::new(DurableState::open(ME, slicing, []).unwrap(), 1);
            registry.record(&JournalEntry::Claim {
                owner: ME,
                run: run(0, 16),
            });
            registry.set_expecting(is_expecting);
            let mut vote = ClaimVote::new(1);
            vote.advance(&mut registry, false, NOW);
            let before = NOW + (wait - Duration::from_millis(1));
            vote.advance(&mut registry, false, before);
            assert_eq!(registry.state().claims().owned(), 0);
            vote.advance(&mut registry, false, NOW + wait);
            assert_eq!(registry.state().claims().owned(), 16);
        }
    }
}
