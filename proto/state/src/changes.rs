//! Changes of state files that wait for the disk: only the newest value of each file, in the order of their first change.

use core::mem::{discriminant, take};
use std::collections::VecDeque;

use mesh_proto::control::{Forgotten, StoredNeighbour};

use crate::content::KeyPins;

/// New content of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// Boot epoch, raised during a run.
    Epoch(u64),
    /// Targets as typed.
    Targets(Vec<String>),
    /// Targets that must not be dialled.
    Forgotten(Vec<Forgotten>),
    /// Neighbours to reconnect to.
    Neighbours(Vec<StoredNeighbour>),
    /// Signing key that each peer name is bound to.
    Pins(KeyPins),
}

impl StateChange {
    /// Returns the content in words.
    pub fn subject(&self) -> &'static str {
        match self {
            Self::Epoch(_) => "the epoch",
            Self::Targets(_) => "the targets",
            Self::Forgotten(_) => "what was forgotten",
            Self::Neighbours(_) => "the neighbours",
            Self::Pins(_) => "a peer's key",
        }
    }

    fn is_same_file(&self, other: &Self) -> bool {
        discriminant(self) == discriminant(other)
    }
}

/// At most one change of each kind.
#[derive(Debug, Default)]
pub struct PendingChanges {
    changes: VecDeque<StateChange>,
    /// Changes that could not be written.
    failed: Vec<StateChange>,
    /// The reason for the last of them.
    error: Option<String>,
}

impl PendingChanges {
    /// Takes a newer value in place of one of the same kind.
    pub fn put(&mut self, change: StateChange) {
        self.failed.retain(|c| !c.is_same_file(&change));
        let mut waiting = self.changes.iter_mut();
        match waiting.find(|c| c.is_same_file(&change)) {
            Some(waiting) => *waiting = change,
            None => self.changes.push_back(change),
        }
    }

    /// Returns true if no change waits to be tried.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns the next change to write.
    pub fn next_change(&mut self) -> Option<StateChange> {
        self.changes.pop_front()
    }

    /// Keeps a change that could not be written, unless there is a newer value.
    pub fn fail(&mut self, change: StateChange, error: String) {
        if !self.changes.iter().any(|c| c.is_same_file(&change)) {
            self.failed.push(change);
        }
        self.error = Some(error);
    }

    /// Has everything tried again that failed.
    pub fn retry(&mut self) {
        let failed = take(&mut self.failed);
        self.changes.extend(failed);
    }

    /// Returns true if a change could not be written.
    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Returns the result once everything was tried.
    ///
    /// # Errors
    /// The reason why the last change that failed could not be written.
    pub fn result(&mut self) -> Result<(), String> {
        if self.failed.is_empty() {
            self.error = None;
        }
        self.error.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(n: u64) -> StateChange {
        StateChange::Targets(vec![n.to_string()])
    }

    #[test]
    fn each_file_gets_its_newest_value_in_order() {
        let mut pending = PendingChanges::default();
        for n in 1..=100 {
            pending.put(StateChange::Epoch(n));
            pending.put(targets(n));
        }
        assert_eq!(pending.next_change(), Some(StateChange::Epoch(100)));
        assert_eq!(pending.next_change(), Some(targets(100)));
        assert!(pending.is_empty() && pending.next_change().is_none());
        assert_eq!(pending.result(), Ok(()));
    }

    #[test]
    fn a_change_that_failed_is_tried_again_unless_there_is_a_newer_one() {
        let mut pending = PendingChanges::default();
        pending.put(targets(1));
        let change = pending.next_change().unwrap();
        pending.fail(change, "disk full".to_owned());
        assert!(pending.has_failed());
        assert_eq!(pending.result(), Err("disk full".to_owned()));
        pending.retry();
        let change = pending.next_change().unwrap();
        assert_eq!(change, targets(1));
        pending.put(targets(2));
        pending.fail(change, "disk full".to_owned());
        assert!(!pending.has_failed(), "there is a newer one");
        assert_eq!(pending.next_change(), Some(targets(2)));
        assert_eq!(pending.result(), Ok(()));
    }
}
