//! The own statement: what to tell everybody, and when.
//!
//! A claim of a router that does not state it (it cannot be reached, or was granted the slice a moment ago) is stated by
//! the smallest of the reachable routers that know of it. So everybody learns everything, and it is said once.

use std::collections::BTreeMap;

use super::durable::SliceClaim;
use super::effect::IpamEffect;
use super::registry::Registry;
use super::slices::SliceRun;
use super::wire::{ForeignClaim, IpamStatement};
use mesh_proto::ids::{PeerId, Version};
use mesh_proto::limits::IPAM_STATEMENT_INTERVAL;
use mesh_proto::time::Instant;

/// The last statement, and the need for a new one.
#[derive(Debug)]
pub(crate) struct Publisher {
    last: Option<IpamStatement>,
    /// The moment of the last statement.
    at: Instant,
    /// The revision that was looked at last.
    seen: Option<u64>,
    /// The statement must be repeated as a newer one, even if nothing changed.
    must_repeat: bool,
}

impl Publisher {
    /// Makes the publisher of a router that stated nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            last: None,
            at: Instant::ZERO,
            seen: None,
            must_repeat: false,
        }
    }

    /// Returns the newest statement, as bytes; `None` before the first.
    pub(crate) fn statement(&self) -> Option<Vec<u8>> {
        self.last.as_ref().map(IpamStatement::encode)
    }

    /// Sees to it that the newest statement is newer than `version`.
    pub(crate) fn outdo(&mut self, version: Version) {
        if self.last.as_ref().is_some_and(|s| s.version <= version) {
            self.must_repeat = true;
        }
    }

    /// Returns when the next statement is due: not before something changed, as `revision` says.
    pub(crate) fn due(&self, revision: u64) -> Instant {
        let is_changed = self.must_repeat || self.seen != Some(revision);
        match (is_changed, &self.last) {
            (false, _) => Instant::FAR_FUTURE,
            (true, None) => Instant::ZERO,
            (true, Some(_)) => self.at + IPAM_STATEMENT_INTERVAL,
        }
    }

    /// States what there is, if a statement is due and says anything new. All requests below `settled` are over.
    pub(crate) fn publish(
        &mut self,
        registry: &mut Registry,
        settled: u64,
        revision: u64,
        now: Instant,
    ) {
        if self.due(revision) > now {
            return;
        }
        self.seen = Some(revision);
        let seq = self.last.as_ref().map_or(0, |s| s.version.seq);
        let mut statement = build(registry, settled, seq);
        if self.last.as_ref() == Some(&statement) && !self.must_repeat {
            return;
        }
        self.must_repeat = false;
        statement.version.seq = seq + 1;
        registry.emit(IpamEffect::Statement(statement.encode()));
        self.last = Some(statement);
        self.at = now;
    }
}

/// Returns the statement that there is to make now.
fn build(registry: &Registry, settled: u64, seq: u64) -> IpamStatement {
    let (claims, leases) = (registry.state().claims(), registry.state().leases());
    let is_empty = |s: &u16| claims.is_usable(*s) && leases.in_slice(*s) == 0;
    let empty = claims.slices().filter(is_empty).count();
    let empty = u32::try_from(empty).unwrap_or(u32::MAX);
    IpamStatement {
        version: Version {
            epoch: registry.epoch(),
            seq,
        },
        range: registry.range(),
        settled,
        live: leases.is_live(),
        free: u8::try_from(empty.checked_ilog2().map_or(0, |log| log + 1)).unwrap_or(0),
        own: claims.runs(claims.slices().filter(|s| claims.owns(*s))),
        others: unstated_claims(registry),
        pins: registry.pins_outside(),
        fences: unstated_fences(registry),
        conflicts: registry.own_conflicts(),
    }
}

/// Returns claims of other routers that neither these nor smaller routers state.
fn unstated_claims(registry: &Registry) -> Vec<ForeignClaim> {
    let claims = registry.state().claims();
    let mut stated: Vec<Option<SliceClaim>> = vec![None; claims.slices().len()];
    let mut note = |owner: PeerId, run: &SliceRun| {
        let ver = run.ver;
        for slice in claims.existing(run) {
            let claim = SliceClaim { owner, ver };
            let known = &mut stated[usize::from(slice)];
            if known.is_none_or(|k| claim.outranks(&k)) {
                *known = Some(claim);
            }
        }
    };
    for (id, statement) in registry.peers().members() {
        statement.own.iter().for_each(|run| note(*id, run));
        if *id < registry.me() {
            let others = statement.others.iter();
            others.for_each(|other| note(other.owner, &other.run));
        }
    }
    let mut by_owner: BTreeMap<PeerId, Vec<(u16, u32)>> = BTreeMap::new();
    for slice in claims.slices().filter(|s| !claims.owns(*s)) {
        let claim = claims.get(slice);
        if let Some(claim) = claim.filter(|c| stated[usize::from(slice)] != Some(*c)) {
            let slices = by_owner.entry(claim.owner).or_default();
            slices.push((slice, claim.ver));
        }
    }
    let of_owner = |(owner, slices): (PeerId, Vec<(u16, u32)>)| {
        let runs = SliceRun::collect(slices).into_iter();
        runs.map(move |run| ForeignClaim { owner, run })
    };
    by_owner.into_iter().flat_map(of_owner).collect()
}

/// Returns removals that smaller routers do not state.
fn unstated_fences(registry: &Registry) -> Vec<(PeerId, Version)> {
    let members = registry.peers().members();
    let smaller = members.filter(|(id, _)| **id < registry.me());
    let stated: BTreeMap<PeerId, Version> = smaller
        .flat_map(|(_, s)| s.fences.iter().copied())
        .collect();
    let fences = registry.state().fences().iter();
    let fences = fences.filter(|(id, v)| stated.get(id).is_none_or(|known| known < v));
    fences.copied().collect()
}

#[cfg(test)]
mod tests {
    use super::super::output::IpamOutput;
    use super::super::tests::parts::{NOW, effects, owner, registry};
    use super::*;

    fn publish(publisher: &mut Publisher, registry: &mut Registry, now: Instant) -> Vec<u64> {
        let revision = registry.revision();
        publisher.publish(registry, 1, revision, now);
        let effects = effects(registry).into_iter();
        let versions = effects.filter_map(|effect| match effect {
            IpamOutput::Statement(bytes) => {
                Some(IpamStatement::decode(&bytes).unwrap().version.seq)
            }
            _ => None,
        });
        versions.collect()
    }

    #[test]
    fn a_change_is_stated_once_and_not_too_soon_after_the_last_one() {
        let (mut publisher, mut registry) = (Publisher::new(), registry());
        assert_eq!(publisher.due(registry.revision()), Instant::ZERO);
        assert_eq!(publish(&mut publisher, &mut registry, NOW), [1]);
        assert_eq!(publisher.due(registry.revision()), Instant::FAR_FUTURE);
        registry.bootstrap(NOW, NOW);
        let due = NOW + IPAM_STATEMENT_INTERVAL;
        assert_eq!(publisher.due(registry.revision()), due);
        assert!(publish(&mut publisher, &mut registry, NOW).is_empty());
        assert_eq!(publish(&mut publisher, &mut registry, due), [2]);
        let last = IpamStatement::decode(&publisher.statement().unwrap()).unwrap();
        assert_eq!((last.own.len(), last.free), (1, 5));
    }

    #[test]
    fn a_statement_that_a_removal_names_is_outdone() {
        let (mut publisher, mut registry) = (Publisher::new(), owner());
        publish(&mut publisher, &mut registry, NOW);
        let version = |seq| Version { epoch: 1, seq };
        publisher.outdo(version(0));
        assert_eq!(publisher.due(registry.revision()), Instant::FAR_FUTURE);
        publisher.outdo(version(1));
        let due = NOW + IPAM_STATEMENT_INTERVAL;
        assert_eq!(publish(&mut publisher, &mut registry, due), [2]);
    }
}
