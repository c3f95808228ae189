//! Queue of frames that wait for a session, so that the first ping of a conversation is not lost.

use std::collections::{BTreeMap, VecDeque};

use crate::ids::PeerId;
use crate::limits::{MAX_PENDING_FRAMES, PENDING_AGE};
use crate::time::Instant;
use crate::wire::datagram::InnerFrame;

/// A waiting frame.
#[derive(Clone, Debug)]
pub(in crate::forward) struct PendingFrame {
    since: Instant,
    partial: bool,
    pub(in crate::forward) bytes: Box<[u8]>,
}

impl PendingFrame {
    pub(in crate::forward) fn frame(&self) -> InnerFrame<'_> {
        InnerFrame {
            bytes: &self.bytes,
            partial: self.partial,
        }
    }
}

/// Waiting frames by peer, in order of arrival. Bounded per peer and in bytes; a full queue refuses the newest frame.
#[derive(Clone, Debug)]
pub(in crate::forward) struct PendingFrames {
    max_bytes: usize,
    queues: BTreeMap<PeerId, VecDeque<PendingFrame>>,
    bytes: usize,
}

impl PendingFrames {
    /// Creates empty queues for at most `max_bytes` of frames.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            queues: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Appends a copy of `frame`. Returns false if the queue is full.
    pub(in crate::forward) fn push(
        &mut self,
        peer: PeerId,
        frame: InnerFrame<'_>,
        now: Instant,
    ) -> bool {
        let waiting = self.queues.get(&peer).map_or(0, VecDeque::len);
        let total = self.bytes + frame.bytes.len();
        if waiting >= MAX_PENDING_FRAMES || total > self.max_bytes {
            return false;
        }
        self.bytes = total;
        let queue = self.queues.entry(peer).or_default();
        queue.push_back(PendingFrame {
            since: now,
            partial: frame.partial,
            bytes: frame.bytes.into(),
        });
        true
    }

    /// Drops the frames that waited too long, and returns their number.
    pub(in crate::forward) fn expire(&mut self, now: Instant) -> u64 {
        let mut expired = 0;
        for queue in self.queues.values_mut() {
            while let Some(kept) = queue
                .front()
                .filter(|kept| now.since(kept.since) >= PENDING_AGE)
            {
                self.bytes -= kept.bytes.len();
                queue.pop_front();
                expired += 1;
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        expired
    }

    /// Takes all frames for `peer`.
    pub(in crate::forward) fn take(&mut self, peer: PeerId) -> VecDeque<PendingFrame> {
        let frames = self.queues.remove(&peer).unwrap_or_default();
        self.bytes -= frames.iter().map(|kept| kept.bytes.len()).sum::<usize>();
        frames
    }

    /// Returns true if no frame waits.
    pub(in crate::forward) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Returns the peers that have waiting frames.
    pub(in crate::forward) fn peers(&self) -> Vec<PeerId> {
        self.queues.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::limits::MAX_PENDING_BYTES;

    const A: PeerId = PeerId([1; 16]);
    const B: PeerId = PeerId([2; 16]);
    const T0: Instant = Instant::from_nanos(0);

    fn whole(bytes: &[u8]) -> InnerFrame<'_> {
        InnerFrame::complete(bytes)
    }

    #[test]
    fn frames_come_back_in_order_and_once() {
        let mut pending = PendingFrames::new(MAX_PENDING_BYTES);
        assert!(pending.is_empty());
        for n in 0..3 {
            assert!(pending.push(A, whole(&[n; 5]), T0));
        }
        assert!(pending.push(B, whole(b"other"), T0));
        assert_eq!(pending.peers(), [A, B]);
        let frames: Vec<u8> = pending.take(A).iter().map(|kept| kept.bytes[0]).collect();
        assert_eq!(frames, [0, 1, 2]);
        assert!(pending.take(A).is_empty());
        assert_eq!(pending.bytes, 5);
    }

    #[test]
    fn the_queue_of_a_peer_is_bounded() {
        let mut pending = PendingFrames::new(MAX_PENDING_BYTES);
        for _ in 0..MAX_PENDING_FRAMES {
            assert!(pending.push(A, whole(b"x"), T0));
        }
        assert!(!pending.push(A, whole(b"x"), T0));
        assert!(pending.push(B, whole(b"x"), T0));
    }

    #[test]
    fn the_bytes_of_all_queues_are_bounded() {
        let mut pending = PendingFrames::new(MAX_PENDING_BYTES);
        let frame = vec![0; 9_000];
        let mut kept = 0;
        for n in 0..=255 {
            for _ in 0..10 {
                kept += usize::from(pending.push(PeerId([n; 16]), whole(&frame), T0));
            }
        }
        assert_eq!(kept, MAX_PENDING_BYTES / 9_000);
        assert!(pending.bytes <= MAX_PENDING_BYTES);
        pending.expire(T0 + PENDING_AGE);
        assert_eq!(pending.bytes, 0);
    }

    #[test]
    fn old_frames_expire_young_ones_stay() {
        let mut pending = PendingFrames::new(MAX_PENDING_BYTES);
        pending.push(A, whole(b"old"), T0);
        pending.push(B, whole(b"old"), T0);
        pending.push(A, whole(b"young"), T0 + Duration::from_nanos(1));
        assert_eq!(
            pending.expire(T0 + PENDING_AGE - Duration::from_nanos(1)),
            0
        );
        assert_eq!(pending.expire(T0 + PENDING_AGE), 2);
        assert_eq!(pending.peers(), [A]);
        assert_eq!(&*pending.take(A)[0].bytes, b"young");
    }
}
