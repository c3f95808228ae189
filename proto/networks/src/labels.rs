//! Labels of the networks in which this router has containers.
//!
//! A datagram names the network by the label that its receiver assigned. One that is late, or whose sender has not yet
//! heard of a change, must never reach another network. So labels are assigned one after the other, and one that is
//! free again rests for [`LABEL_QUARANTINE`]: long enough for all datagrams, and for the records of routers that were
//! out of reach to be forgotten. The same network gets its label back at any time.

use core::num::NonZeroU16;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::limits::{LABEL_QUARANTINE, MAX_RESTING_LABELS, MAX_USED_NETWORKS};
use mesh_proto::network::NetworkId;
use mesh_proto::time::Instant;

/// Label that is free again.
#[derive(Clone, Copy, Debug)]
struct RestingLabel {
    label: NonZeroU16,
    /// Time for which it had rested when it was noted.
    rested: Duration,
    noted: Instant,
}

/// Labels in use, and labels that rest.
#[derive(Debug)]
pub(crate) struct LabelTable {
    used: BTreeMap<NetworkId, NonZeroU16>,
    resting: BTreeMap<NetworkId, RestingLabel>,
    /// Label that is tried next.
    next: NonZeroU16,
}

/// Reason why there is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LabelError {
    /// [`MAX_USED_NETWORKS`] are in use.
    TooMany,
    /// [`MAX_RESTING_LABELS`] rest.
    Resting,
}

impl RestingLabel {
    fn rested(&self, now: Instant) -> Duration {
        self.rested + now.since(self.noted)
    }
}

impl LabelTable {
    /// Creates a table without labels, of which `next` is assigned first: a random one, as labels of an earlier run of
    /// this router may be forgotten here and remembered elsewhere.
    pub(crate) fn new(next: u16) -> Self {
        Self {
            used: BTreeMap::new(),
            resting: BTreeMap::new(),
            next: NonZeroU16::new(next).unwrap_or(NonZeroU16::MIN),
        }
    }

    /// Returns the label of a network in which this router has containers from now on; the same as before, if it has
    /// one.
    ///
    /// # Errors
    /// [`LabelError`]; nothing is changed.
    pub(crate) fn join(&mut self, id: NetworkId, now: Instant) -> Result<NonZeroU16, LabelError> {
        if let Some(label) = self.used.get(&id) {
            return Ok(*label);
        }
        if self.used.len() >= MAX_USED_NETWORKS {
            return Err(LabelError::TooMany);
        }
        let label = match self.resting.remove(&id) {
            Some(resting) => resting.label,
            None => self.assign(now)?,
        };
        self.used.insert(id, label);
        Ok(label)
    }

    /// Ends the use of a label. Returns true if it was in use.
    pub(crate) fn leave(&mut self, id: &NetworkId, now: Instant) -> bool {
        let Some(label) = self.used.remove(id) else {
            return false;
        };
        self.rest(*id, label, Duration::ZERO, now);
        true
    }

    fn assign(&mut self, now: Instant) -> Result<NonZeroU16, LabelError> {
        self.resting
            .retain(|_, resting| resting.rested(now) < LABEL_QUARANTINE);
        // Each of those in use may come to rest.
        if self.resting.len() + self.used.len() >= MAX_RESTING_LABELS {
            return Err(LabelError::Resting);
        }
        let resting = self.resting.values().map(|resting| resting.label);
        let taken: BTreeSet<NonZeroU16> = self.used.values().copied().chain(resting).collect();
        while taken.contains(&self.next) {
            self.next = after(self.next);
        }
        let label = self.next;
        self.next = after(label);
        Ok(label)
    }

    /// Restores a label that rests; one in use when the router ended rests from zero. Returns false if it is that of
    /// another network.
    pub(crate) fn restore(
        &mut self,
        id: NetworkId,
        label: NonZeroU16,
        rested: Duration,
        now: Instant,
    ) -> bool {
        let is_twice = self.resting.values().any(|resting| resting.label == label);
        if !is_twice {
            self.rest(id, label, rested, now);
        }
        !is_twice
    }

    fn rest(&mut self, id: NetworkId, label: NonZeroU16, rested: Duration, now: Instant) {
        let resting = RestingLabel {
            label,
            rested,
            noted: now,
        };
        self.resting.insert(id, resting);
    }

    /// Restores the label that is tried next.
    pub(crate) fn set_next(&mut self, next: NonZeroU16) {
        self.next = next;
    }

    /// Returns the networks in use with their labels.
    pub(crate) fn used(&self) -> &BTreeMap<NetworkId, NonZeroU16> {
        &self.used
    }

    /// Returns the labels to be stored: network, label, and time for which it has rested.
    pub(crate) fn stored(
        &self,
        now: Instant,
    ) -> impl Iterator<Item = (NetworkId, NonZeroU16, Duration)> {
        let used = self.used.iter();
        let used = used.map(|(id, label)| (*id, *label, Duration::ZERO));
        let resting = self.resting.iter();
        used.chain(resting.map(move |(id, r)| (*id, r.label, r.rested(now))))
    }

    /// Returns the label that is tried next.
    pub(crate) fn next(&self) -> NonZeroU16 {
        self.next
    }
}

fn after(label: NonZeroU16) -> NonZeroU16 {
    label.checked_add(1).unwrap_or(NonZeroU16::MIN)
}
