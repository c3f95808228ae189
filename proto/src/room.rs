//! Release of memory after a burst: a router has many queues, and rarely needs more than one of them at once.

use std::collections::VecDeque;

/// Capacity that an empty queue or buffer keeps: enough for a mesh without changes.
const KEPT_ENTRIES: usize = 32;
const KEPT_BYTES: usize = 1024;

/// Reduces the capacity of an empty queue to [`KEPT_ENTRIES`] at most.
pub(crate) fn give_back_entries<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > KEPT_ENTRIES {
        *queue = VecDeque::new();
    }
}

/// Reduces the capacity of an empty buffer to [`KEPT_BYTES`] at most.
pub(crate) fn give_back_bytes(buffer: &mut Vec<u8>) {
    if buffer.is_empty() && buffer.capacity() > KEPT_BYTES {
        *buffer = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_queues_release_memory_and_used_ones_keep_it() {
        let (mut small, mut large) = (Vec::with_capacity(100), Vec::with_capacity(10_000));
        large.push(1);
        give_back_bytes(&mut large);
        assert!(large.capacity() >= 10_000);
        large.clear();
        give_back_bytes(&mut large);
        give_back_bytes(&mut small);
        assert_eq!(large.capacity(), 0);
        assert!(small.capacity() >= 100);

        let mut queue: VecDeque<u32> = (0..1_000).collect();
        give_back_entries(&mut queue);
        assert_eq!(queue.len(), 1_000);
        queue.clear();
        give_back_entries(&mut queue);
        assert_eq!(queue.capacity(), 0);
    }
}
