//! The record of this router: the newest statements of all spaces that passed their gates, and when it is told.

use std::collections::BTreeMap;

use super::plan::SpaceId;
use super::record;
use super::space::AddressSpace;
use super::tag::SpaceTag;
use mesh_proto::limits::IPAM_STATEMENT_INTERVAL;
use mesh_proto::time::Instant;

/// The record of this router.
#[derive(Debug, Default)]
pub(super) struct OwnRecord {
    /// The newest statement about `default`.
    default: Option<Vec<u8>>,
    told: Option<Vec<u8>>,
    /// A statement changed since it was told.
    is_stale: bool,
    /// The moment when it was told last.
    at: Instant,
    left_out: usize,
}

impl OwnRecord {
    /// Takes the newest statement about `default`.
    pub(super) fn set_default(&mut self, statement: Vec<u8>) {
        self.default = Some(statement);
    }

    /// Takes note that a statement changed. Returns whether nothing was told before.
    pub(super) fn restate(&mut self) -> bool {
        self.is_stale = true;
        self.told.is_none()
    }

    /// Returns whether a statement changed since the record was told.
    pub(super) fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Returns when it is to be told again, if a statement changed.
    pub(super) fn due(&self) -> Option<Instant> {
        let next = match self.told {
            Some(_) => self.at + IPAM_STATEMENT_INTERVAL,
            None => Instant::ZERO,
        };
        self.is_stale.then_some(next)
    }

    /// Returns the record to tell now: with the statements of spaces with containers here first, if there is no room for
    /// all.
    pub(super) fn tell(
        &mut self,
        spaces: &BTreeMap<SpaceId, AddressSpace>,
        now: Instant,
    ) -> Vec<u8> {
        let stated = spaces.iter().filter_map(|(id, space)| {
            let statement = space.statement.as_deref()?;
            Some((!space.is_used(), *id, statement))
        });
        let mut stated: Vec<(bool, SpaceId, &[u8])> = stated.collect();
        stated.sort_by_key(|(is_unused, id, _)| (*is_unused, *id));
        let stated = stated
            .into_iter()
            .map(|(_, id, bytes)| (SpaceTag::of(&id), bytes));
        let (bytes, left_out) = record::fit(self.default.clone(), stated);
        *self = Self {
            default: self.default.take(),
            told: Some(bytes.clone()),
            is_stale: false,
            at: now,
            left_out,
        };
        bytes
    }

    /// Returns the record that was told last, unless a statement changed since.
    pub(super) fn told(&self) -> Option<&[u8]> {
        let told = self.told.as_deref();
        told.filter(|_| !self.is_stale)
    }

    /// Returns how many statements had no room in it.
    pub(super) fn left_out(&self) -> usize {
        self.left_out
    }
}
