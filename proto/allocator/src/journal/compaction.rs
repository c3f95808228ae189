//! The time at which the journal is replaced by a snapshot.

/// A journal shorter than this is not compacted, in bytes.
const COMPACT_FROM: usize = 1024 * 1024;
/// A journal this many times as long as it was after the last compaction is compacted.
const COMPACT_AT: usize = 4;

/// Decides when the journal is compacted.
#[derive(Debug)]
pub struct Compaction {
    /// Bytes of the journal after it was last compacted; none while that is under way.
    compact: Option<usize>,
    is_due: bool,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            compact: None,
            // Also cuts off what a crash left at the end.
            is_due: true,
        }
    }
}

impl Compaction {
    /// Notes that an entry could not be handed to the disk, or that nothing is written any more: only a snapshot helps.
    pub fn demand(&mut self) {
        self.is_due = true;
    }

    /// Notes the length of the journal on disk, in bytes.
    pub fn note_length(&mut self, length: usize) {
        let compact = *self.compact.get_or_insert(length);
        self.is_due |= length > COMPACT_FROM.max(COMPACT_AT * compact);
    }

    /// Returns true if the journal is to be compacted now.
    pub fn is_due(&self) -> bool {
        self.is_due
    }

    /// Notes that the journal is being compacted.
    pub fn begin(&mut self) {
        self.is_due = false;
        self.compact = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_compacted_at_the_start_and_when_it_is_long() {
        let mut compaction = Compaction::default();
        assert!(compaction.is_due());
        compaction.begin();
        compaction.note_length(300_000);
        compaction.note_length(1_200_000);
        assert!(!compaction.is_due());
        compaction.note_length(1_200_001);
        assert!(compaction.is_due());
        compaction.begin();
        assert!(!compaction.is_due());
        compaction.note_length(1_000);
        compaction.note_length(COMPACT_FROM);
        assert!(!compaction.is_due());
        compaction.demand();
        assert!(compaction.is_due());
    }
}
