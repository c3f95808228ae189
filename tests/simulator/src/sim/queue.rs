//! Event queue, ordered by time, and by insertion among equal times.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use mesh_proto::time::Instant;

#[derive(Debug)]
struct QueuedEvent<E> {
    at: Instant,
    number: u64,
    event: E,
}

impl<E> QueuedEvent<E> {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl<E> PartialEq for QueuedEvent<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for QueuedEvent<E> {}

impl<E> PartialOrd for QueuedEvent<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for QueuedEvent<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Pending events of a run.
#[derive(Debug)]
pub(crate) struct EventQueue<E> {
    heap: BinaryHeap<Reverse<QueuedEvent<E>>>,
    entered: u64,
}

impl<E> EventQueue<E> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            entered: 0,
        }
    }

    pub(crate) fn push(&mut self, at: Instant, event: E) {
        let number = self.entered;
        self.entered += 1;
        self.heap.push(Reverse(QueuedEvent { at, number, event }));
    }

    /// Returns the next event, if it is due at `end` or earlier.
    pub(crate) fn pop_until(&mut self, end: Instant) -> Option<(Instant, E)> {
        if self.heap.peek()?.0.at > end {
            return None;
        }
        self.heap.pop().map(|Reverse(e)| (e.at, e.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_orders_and_entry_breaks_ties() {
        let at = Instant::from_nanos;
        let mut queue = EventQueue::new();
        for (time, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b')] {
            queue.push(at(time), event);
        }
        let mut seen = String::new();
        while let Some((_, event)) = queue.pop_until(at(5)) {
            seen.push(event);
        }
        assert_eq!(seen, "abcd");
        queue.push(at(9), 'e');
        assert!(queue.pop_until(at(8)).is_none());
    }
}
