//! The gate between this router and the rest of the world: no effect passes before all that led to it is on disk.

use std::collections::VecDeque;

/// Journal entries on their way to the disk, and effects that wait for them.
///
/// An effect waits for every entry recorded before it. The gate keeps effects to itself until then, and [`Durable`], the
/// only form in which they leave it, is made nowhere else.
#[derive(Debug)]
pub(crate) struct SyncGate<T> {
    /// The number of the newest entry.
    recorded: u64,
    /// All entries up to this one are on disk.
    synced: u64,
    entries: VecDeque<(u64, Vec<u8>)>,
    /// Each with the entry that it waits for.
    effects: VecDeque<(u64, T)>,
}

/// An effect with everything that led to it on disk. Only [`SyncGate::poll`] makes one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Durable<T>(T);

/// The next thing that leaves a gate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Released<T> {
    /// An entry to append to the journal and to sync.
    Entry {
        /// Its number, one more than that of the entry before.
        position: u64,
        bytes: Vec<u8>,
    },
    /// An effect to carry out.
    Effect(Durable<T>),
}

impl<T> Durable<T> {
    /// Returns the effect.
    pub(crate) fn into_inner(self) -> T {
        self.0
    }
}

impl<T> SyncGate<T> {
    /// Makes an open gate: nothing is recorded yet.
    pub(crate) fn new() -> Self {
        Self {
            recorded: 0,
            synced: 0,
            entries: VecDeque::new(),
            effects: VecDeque::new(),
        }
    }

    /// Takes an entry for the journal.
    pub(crate) fn record(&mut self, entry: Vec<u8>) {
        self.recorded += 1;
        self.entries.push_back((self.recorded, entry));
    }

    /// Keeps an effect back until all entries recorded so far are on disk.
    pub(crate) fn hold_back(&mut self, effect: T) {
        self.effects.push_back((self.recorded, effect));
    }

    /// Notes that all entries up to `position` are on disk.
    pub(crate) fn note_synced(&mut self, position: u64) {
        self.synced = self.synced.max(position.min(self.recorded));
    }

    /// Returns the number of the newest entry.
    pub(crate) fn position(&self) -> u64 {
        self.recorded
    }

    /// Returns the number of effects that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.effects.len()
    }

    /// Lets the next entry pass, or else the next effect if it may.
    pub(crate) fn poll(&mut self) -> Option<Released<T>> {
        if let Some((position, bytes)) = self.entries.pop_front() {
            return Some(Released::Entry { position, bytes });
        }
        let (awaited, _) = self.effects.front()?;
        if *awaited > self.synced {
            return None;
        }
        let (_, effect) = self.effects.pop_front()?;
        Some(Released::Effect(Durable(effect)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(position: u64) -> Option<Released<char>> {
        let bytes = vec![0];
        Some(Released::Entry { position, bytes })
    }

    fn effect(effect: char) -> Option<Released<char>> {
        Some(Released::Effect(Durable(effect)))
    }

    #[test]
    fn an_effect_waits_for_the_entries_before_it_and_for_no_others() {
        let mut gate = SyncGate::new();
        gate.hold_back('a');
        gate.record(vec![0]);
        gate.hold_back('b');
        gate.record(vec![0]);
        gate.hold_back('c');
        assert_eq!(gate.poll(), entry(1));
        assert_eq!(gate.poll(), entry(2));
        assert_eq!(gate.poll(), effect('a'), "nothing was recorded before it");
        assert_eq!(gate.poll(), None);
        gate.note_synced(1);
        assert_eq!(gate.poll(), effect('b'));
        assert_eq!(gate.poll(), None);
        assert_eq!(gate.waiting(), 1);
        gate.note_synced(2);
        assert_eq!(gate.poll(), effect('c'));
        assert_eq!(gate.poll(), None);
    }

    #[test]
    fn a_sync_counts_for_what_was_recorded_only_and_is_never_taken_back() {
        let mut gate = SyncGate::new();
        gate.record(vec![0]);
        gate.note_synced(9);
        gate.record(vec![0]);
        gate.hold_back('a');
        gate.note_synced(1);
        assert_eq!((gate.poll(), gate.poll()), (entry(1), entry(2)));
        assert_eq!(gate.poll(), None, "the second entry is not on disk");
        gate.note_synced(2);
        gate.note_synced(1);
        assert_eq!(gate.poll(), effect('a'));
    }
}
