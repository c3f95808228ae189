//! Statements of others and their claims, as they come into this router's state.

use super::super::durable::{Fault, JournalEntry, SliceClaim};
use super::super::slices::SliceRun;
use super::super::wire::{ForeignClaim, IpamStatement, Pin};
use super::Registry;
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::time::Instant;

impl Registry {
    /// Takes the statement of a router. Returns, if it says that this router was removed, up to which statement.
    /// `is_waiting` says that requests of this router are open.
    pub(crate) fn merge(
        &mut self,
        origin: PeerId,
        statement: &IpamStatement,
        is_reachable: bool,
        is_waiting: bool,
        now: Instant,
    ) -> Option<Version> {
        let is_back = self.note_reachable(origin, is_reachable, now);
        if !self.peers.knows(&origin) {
            return None;
        }
        if !self.peers.keep(origin, statement) {
            if is_back {
                self.reconsider(origin, is_waiting);
            }
            return None;
        }
        if statement.range != self.range() {
            return None;
        }
        let mut removed_here = None;
        for (peer, version) in &statement.fences {
            if *peer == self.me() {
                removed_here = removed_here.max(Some(*version));
            } else {
                self.take_fence(*peer, *version);
            }
        }
        for run in &statement.own {
            self.learn(origin, run);
        }
        self.learn_all(&statement.others);
        self.settle_grants(origin, statement);
        self.end_leases(origin, statement);
        self.take_pins(origin, &statement.pins);
        self.evaluate(origin, is_waiting);
        removed_here
    }

    /// Notes whether there is a path to a router. Returns whether that is news.
    pub(crate) fn set_reachable(
        &mut self,
        peer: PeerId,
        is_reachable: bool,
        is_waiting: bool,
        now: Instant,
    ) -> bool {
        let is_news = self.note_reachable(peer, is_reachable, now);
        if is_news {
            self.reconsider(peer, is_waiting);
        }
        is_news
    }

    fn note_reachable(&mut self, peer: PeerId, is_reachable: bool, now: Instant) -> bool {
        let state = self.durable.state();
        let is_needed = |id: &PeerId| state.involves(id);
        self.peers
            .note_reachable(peer, is_reachable, is_needed, now)
    }

    /// Takes note that a router can be reached, or cannot any more: its statement counts, or what others state of its
    /// removal.
    fn reconsider(&mut self, peer: PeerId, is_waiting: bool) {
        if self.peers.is_member(&peer) {
            let pins = self.peers.statement(&peer).map(|s| s.pins.clone());
            self.take_pins(peer, &pins.unwrap_or_default());
            self.evaluate(peer, is_waiting);
            return;
        }
        if let Some(version) = self.removed(&peer) {
            self.take_fence(peer, version);
        }
    }

    /// Takes note that another router removed one. If that one can be reached, or stated something since, it lives.
    fn take_fence(&mut self, peer: PeerId, version: Version) {
        let known = self.state().fence_of(&peer);
        let statement = self.peers.statement(&peer);
        let lives = statement.is_some_and(|s| s.version > version);
        // What nothing here depends on is not kept; pins are held against what others recall, too.
        let counts = statement.is_some() || self.state().involves(&peer);
        let is_known = known.is_some_and(|v| v >= version);
        if !is_known && !lives && counts && !self.peers.is_member(&peer) {
            self.record(&JournalEntry::Fence { peer, version });
        }
    }

    /// Keeps the claims that outrank what is known.
    pub(crate) fn learn(&mut self, owner: PeerId, run: &SliceRun) {
        let ver = run.ver;
        let claim = SliceClaim { owner, ver };
        let claims = self.state().claims();
        let keeps = |s: &u16| {
            self.durable.has_fault(Fault::NoConcession) && claims.owns(*s) && owner != self.me()
        };
        let news = claims.existing(run).filter(|slice| {
            let known = claims.get(*slice);
            known.is_none_or(|k| claim.outranks(&k)) && !keeps(slice)
        });
        for run in SliceRun::collect(news.map(|s| (s, ver))) {
            self.record(&JournalEntry::Claim { owner, run });
        }
    }

    /// Keeps those of several claims that outrank what is known.
    pub(crate) fn learn_all(&mut self, claims: &[ForeignClaim]) {
        for claim in claims {
            self.learn(claim.owner, &claim.run);
        }
    }

    /// Ends grants that the receiver states as its own.
    fn settle_grants(&mut self, origin: PeerId, statement: &IpamStatement) {
        let claims = self.state().claims();
        let own = statement.own.iter();
        let own = own.flat_map(|run| claims.existing(run).map(|s| (s, run.ver)));
        let granted: Vec<u16> = own
            .filter(|(s, ver)| {
                let is_enough = claims.get(*s).is_some_and(|c| c.ver <= *ver);
                claims.grants().get(s) == Some(&origin) && is_enough
            })
            .map(|(s, _)| s)
            .collect();
        for slice in granted {
            self.record(&JournalEntry::Granted { slice });
        }
    }

    /// Contests what a reachable router claims below this one, and ends contests that it gave up.
    fn evaluate(&mut self, rival: PeerId, is_waiting: bool) {
        let Some(statement) = self.peers.statement(&rival) else {
            return;
        };
        let claims = self.state().claims();
        let stated = claims.mark(&statement.own);
        let is_live = statement.live;
        let is_member = self.peers.is_member(&rival);
        let mut contests = Vec::new();
        if is_member && !self.durable.has_fault(Fault::NoContest) {
            contests.extend(claims.slices().filter(|slice| {
                let granter = claims.granter(*slice);
                let is_doubted = granter.is_some() && granter != Some(Some(rival));
                let rivals = claims.rivals(*slice);
                let is_known = rivals.is_some_and(|rivals| rivals.contains(&rival));
                stated[usize::from(*slice)] && is_doubted && !is_known
            }));
        }
        for slice in contests {
            self.record(&JournalEntry::Contest { slice, rival });
        }
        let contested = self.state().claims().contested_by(&rival);
        for slice in contested.iter().filter(|s| !stated[usize::from(**s)]) {
            let (slice, rival) = (*slice, rival);
            self.record(&JournalEntry::Conceded { slice, rival });
        }
        let may_give_in = is_live && !self.state().leases().is_live() && !is_waiting;
        if may_give_in && is_member {
            self.give_in(rival);
        }
    }

    /// Evaluates all other routers.
    pub(crate) fn evaluate_all(&mut self, is_waiting: bool) {
        for peer in self.peers.ids() {
            self.evaluate(peer, is_waiting);
        }
    }

    /// Grants a rival all that it contests: no address of this router's is leased, but some of the rival's are.
    fn give_in(&mut self, rival: PeerId) {
        let claims = self.state().claims();
        let contested = claims.contested_by(&rival).into_iter();
        let runs = claims.raised(contested.filter(|s| claims.owns(*s)));
        for run in runs {
            self.record(&JournalEntry::Grant { to: rival, run });
        }
    }

    /// Takes the slices that their owner granted.
    pub(crate) fn take_grant(
        &mut self,
        from: PeerId,
        runs: &[SliceRun],
        pins: &[Pin],
        is_waiting: bool,
    ) {
        let claims = self.state().claims();
        let mut taken = Vec::new();
        for run in runs {
            let granted = claims.mine(run.ver);
            let is_good = |slice: &u16| {
                let known = claims.get(*slice);
                let is_from_owner = known.is_some_and(|k| k.owner == from && granted.outranks(&k));
                let is_expected = known == Some(granted) && !claims.owns(*slice);
                is_from_owner || is_expected
            };
            let slices = claims.existing(run).filter(is_good);
            taken.extend(slices.map(|slice| (slice, run.ver)));
        }
        if taken.is_empty() {
            return;
        }
        // The claim first, so that pins count as this router's; the excluded addresses before the slice can be used.
        for run in SliceRun::collect(taken.iter().copied()) {
            self.learn(self.me(), &run);
        }
        self.take_pins(from, pins);
        let slices: Vec<u16> = taken.iter().map(|(s, _)| *s).collect();
        self.collect_pins(&slices);
        for run in SliceRun::collect(taken) {
            let from = Some(from);
            self.record(&JournalEntry::Own { from, run });
        }
        self.evaluate_all(is_waiting);
    }

    /// Assigns the slices of a dead router to its successor, and ends its leases. Returns how many slices.
    pub(crate) fn reassign(&mut self, dead: PeerId, successor: PeerId) -> usize {
        let claims = self.state().claims();
        let theirs = claims.slices().filter(|s| claims.owner(*s) == Some(dead));
        let theirs: Vec<u16> = theirs.collect();
        for run in claims.raised(theirs.iter().copied()) {
            self.learn(successor, &run);
        }
        let stated = self.peers.statement(&dead).map(|s| s.version);
        let leases = self.state().leases().all_remote().values();
        // Perhaps nothing is known of it but its leases.
        let leased = leases
            .filter(|lease| lease.to == dead)
            .map(|lease| Version {
                epoch: lease.epoch,
                seq: 0,
            });
        let fence = self.state().fence_of(&dead);
        let version = stated.max(fence).max(leased.max()).unwrap_or_default();
        let peer = dead;
        self.record(&JournalEntry::Fence { peer, version });
        theirs.len()
    }

    /// Takes slices that all others agreed to.
    pub(crate) fn take_agreed(&mut self, runs: &[SliceRun], is_waiting: bool) {
        let claims = self.state().claims();
        let slices = runs.iter().flat_map(|run| claims.existing(run));
        let slices: Vec<u16> = slices.collect();
        self.collect_pins(&slices);
        for run in runs {
            let run = *run;
            self.record(&JournalEntry::Own { from: None, run });
        }
        self.evaluate_all(is_waiting);
    }
}
